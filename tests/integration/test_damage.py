"""Bits of a book's files are not as they were written: the journal refuses, what is derived is made anew."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from qenex import QenexClient
from qenex.client.embedded import EmbeddedEngine
from qenex.errors import BookDamaged, EngineError, OperationFailed
from qenex.exits import ExitCode
from tests.conftest import START_SECONDS, new_engine
from tests.integration.books import Place, answers, checkpoint_places, fill, journal_places, segment_places

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = 16_384
"""Sealed files are judged in pages of this size: one bit in each of a section's is enough for it to be noticed."""

NOT_ASKED_FOR = ("header", "section 1")
"""What says the same as the footer, and what only the retry of an old request needs."""


@contextmanager
def damaged(path: Path, *places: int) -> Iterator[None]:
    """A bit is flipped at each of these bytes; they are set right again afterwards."""

    def flip() -> None:
        with path.open("r+b") as file:
            for at in places:
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1 << at % 8]))

    flip()
    yield
    flip()


def middle(place: Place) -> list[int]:
    """Its first byte, its last, and one between."""
    last = place.offset + place.length - 1
    return sorted({place.offset, (place.offset + last) // 2, last})


# The journal


@pytest.fixture(scope="module")
def small_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of a few groups that was ended cleanly."""
    path = tmp_path_factory.mktemp("book")
    with QenexClient.embedded(path) as client:
        payer, payee = (client.create_account("EUR", flags=0) for _ in range(2))
        for amount in ("1", "2"):
            client.execute(client.create_transaction(payer.id, payee.id, amount, "EUR"))
        client.hold(payer.id, payee.id, "5", "EUR")
    return path


def test_a_bit_in_any_region_of_the_journal_stops_the_start_with_file_and_byte(small_book: Path) -> None:
    files = sorted((small_book / "journal").glob("*.qxj"))[:-1]  # the last is prepared and empty
    regions = [(path, *region) for path in files for region in journal_places(path)]
    assert len(regions) > 30
    for path, place, named in regions:
        for at in middle(place) if place.length else []:
            with damaged(path, at), pytest.raises(BookDamaged, match=rf"{path.name} is damaged at byte {named}: "):
                EmbeddedEngine(small_book)
    EmbeddedEngine(small_book).close()


def test_a_bit_in_the_mark_of_a_clean_end_or_in_a_prepared_file_stops_the_start(small_book: Path) -> None:
    clean = small_book / "journal" / "clean"
    for at in (0, 9, 20, 40, 60, 100, 200, 255):
        with damaged(clean, at), pytest.raises(BookDamaged, match=r"journal/clean is damaged at byte 0"):
            EmbeddedEngine(small_book)
    prepared = max((small_book / "journal").glob("*.qxj"))
    with damaged(prepared, 5_000), pytest.raises(BookDamaged, match=prepared.name):
        EmbeddedEngine(small_book)
    EmbeddedEngine(small_book).close()


def test_the_process_says_so_in_one_line_and_ends_with_the_code_for_it(tmp_path: Path) -> None:
    engine = new_engine(tmp_path).start()
    with QenexClient(home=tmp_path) as client:
        client.create_account("EUR", account_id=7)
    assert engine.stop() == ExitCode.OK
    (journal,) = tmp_path.glob("books/*/journal/000000000002.qxj")
    with damaged(journal, 4_096 + 300):
        process = engine._launch()
        assert process.wait(START_SECONDS) == ExitCode.DAMAGED
        assert f"{journal.name} is damaged at byte 4096" in engine.log()
        assert len(engine.log().splitlines()) == 1
    engine.start()
    with QenexClient(home=tmp_path) as client:
        assert client.get_account(7).id == 7
    engine.kill()


def test_after_a_kill_only_the_last_group_may_be_torn_and_it_is_kept_and_said(tmp_path: Path) -> None:
    engine = new_engine(tmp_path).start()
    with QenexClient(home=tmp_path) as client:
        for account in (1, 2, 3):
            client.create_account("EUR", account_id=account)
    engine.kill()
    (journal,) = tmp_path.glob("books/*/journal/000000000002.qxj")
    groups = [place for place, _ in journal_places_until_zeros(journal) if place.name.endswith(" rows")]
    before, last = groups[-2].offset, groups[-1].offset
    with damaged(journal, before):
        assert engine._launch().wait(START_SECONDS) == ExitCode.DAMAGED
    with journal.open("r+b") as file:
        file.seek(last)
        file.write(b"\xff")
    engine.start()
    assert "a crash tore group" in engine.log()
    assert list(journal.parent.glob("cut-*.bin"))
    with QenexClient(home=tmp_path) as client:
        assert client.get_account(2).id == 2
        assert client.status().accounts == 2, "the last group's is gone"
    engine.kill()


def journal_places_until_zeros(path: Path) -> list[tuple[Place, int]]:
    """The groups of a file whose end was not cut."""
    content = path.read_bytes()
    at = 4_096
    while content[at : at + 8] == b"QENEXGR1":
        end = at + 256 + int.from_bytes(content[at + 104 : at + 108], "little")
        at = end + -end % 4_096
    whole = path.with_suffix(".copy")
    whole.write_bytes(content[:at])
    places = journal_places(whole)
    whole.unlink()
    return places


# What is derived from it


@pytest.fixture(scope="module")
def full_book(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A book with a sealed segment and a checkpoint, and what it answers."""
    path = tmp_path_factory.mktemp("full")
    with QenexClient.embedded(path) as client:
        fill(client)
        while not client.status().checkpoint_entry:
            pass
    with QenexClient.embedded(path) as client:
        return path, answers(client)


def ask(path: Path) -> tuple[str, tuple[str, ...], str]:
    """Opens a book and asks: the answers, what was said of how it was found, what stopped it if that happened."""
    engine = EmbeddedEngine(path)
    said, stopped = "", ""
    client = QenexClient(engine=engine, patience_s=1)
    try:
        said = answers(client)
    except EngineError:
        pass  # why, it says when it is closed
    finally:
        try:
            client.close()
        except OperationFailed as error:
            stopped = str(error)
    return said, engine.notes, stopped


def sealed_file(book: Path) -> Path:
    return book / "segments" / "000000000000.qxs"


def test_damage_anywhere_in_a_sealed_segment_never_shows_and_is_made_good_from_the_journal(
    full_book: tuple[Path, str],
) -> None:
    book, expected = full_book
    path = sealed_file(book)
    whole = path.read_bytes()
    places = segment_places(path)
    assert len(places) > 25
    for place in places:
        pages = range(place.offset, place.offset + place.length, PAGE if place.name.startswith("section") else 1_500)
        with path.open("r+b") as file:
            for at in pages:
                file.seek(at)
                file.write(bytes([whole[at] ^ 1 << at % 8]))
        said, notes, stopped = ask(book)
        if stopped:
            # It was read in the middle of the work: the engine stops rather than answer.
            assert f"{path.name} is damaged" in stopped, place
            assert "by replaying it, which the next start does" in stopped, place
            path.with_name(f"{path.name}.damaged").unlink()
            said, notes, stopped = ask(book)
        assert place.name in NOT_ASKED_FOR or any(path.name in note for note in notes), f"{place}: nobody noticed"
        assert (said, stopped) == (expected, ""), place
        if place.name in NOT_ASKED_FOR:
            path.write_bytes(whole)
        assert path.read_bytes() == whole, f"{place}: made anew, byte for byte"


def test_damage_anywhere_in_a_checkpoint_costs_a_replay_and_nothing_else(full_book: tuple[Path, str]) -> None:
    book, expected = full_book
    path = max((book / "checkpoints").glob("*.qxc"))
    whole = path.read_bytes()
    places = checkpoint_places(path)
    assert len(places) > 4
    for place in places:
        for at in middle(place):
            with damaged(path, at):
                bent = path.read_bytes()
                said, notes, stopped = ask(book)
                # The engine makes it anew, unless it is asked to stop first.
                assert path.read_bytes() in (whole, bent), (place, at)
                path.write_bytes(bent)
            assert (said, stopped) == (expected, ""), (place, at)
            assert any(path.name in note and "passed over" in note for note in notes), (place, at)
    assert ask(book) == (expected, (), "")


def test_an_engine_process_that_meets_damage_stops_says_so_and_is_well_after_the_next_start(
    full_book: tuple[Path, str], tmp_path: Path
) -> None:
    book, expected = full_book
    engine = new_engine(tmp_path)
    name = engine.settings.books_folder / journal_book(book)
    shutil.copytree(book, name)
    path = sealed_file(name)
    (transfers,) = [place for place in segment_places(path) if place.name == "section 4"]
    with path.open("r+b") as file:
        for at in range(transfers.offset, transfers.offset + transfers.length, PAGE):
            file.seek(at)
            file.write(b"\xff\xff")
    engine.start()
    with QenexClient(home=tmp_path, patience_s=1) as client, pytest.raises(EngineError):
        answers(client)
    assert engine.ended() == ExitCode.UNAVAILABLE
    assert f"{path.name} is damaged" in engine.log()
    engine.start()
    with QenexClient(home=tmp_path) as client:
        assert answers(client) == expected
    assert engine.stop() == ExitCode.OK


def test_without_anything_derived_all_of_it_comes_from_the_journal(full_book: tuple[Path, str]) -> None:
    book, expected = full_book
    whole = sealed_file(book).read_bytes()
    shutil.rmtree(book / "segments")
    shutil.rmtree(book / "checkpoints")
    assert ask(book) == (expected, (), "")
    assert sealed_file(book).read_bytes() == whole


def journal_book(book: Path) -> str:
    """The id of a book, from its journal."""
    return (book / "journal" / "000000000001.qxj").read_bytes()[16:32].hex()
