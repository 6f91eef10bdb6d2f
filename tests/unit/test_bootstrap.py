"""A home: made once, closed to others, never overwritten."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from qenex.bootstrap import book_folder, initialise, owner_token
from qenex.errors import CredentialExposed, CredentialMissing, InvalidHome

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_home_is_closed_to_others(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    settings = initialise(home).settings
    for folder in (settings.home, settings.books_folder, settings.run_folder):
        assert folder.stat().st_mode & 0o777 == 0o700
    for file in (settings.file, settings.owner_token_file):
        assert file.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in home.iterdir()} == {"books", "run", "owner.token", "qenex.toml"}


def test_the_credential_is_random_and_has_256_bits(tmp_path: Path) -> None:
    tokens = {owner_token(initialise(tmp_path / name).settings) for name in "abc"}
    assert len(tokens) == 3
    assert all(re.fullmatch(r"qnx_owner_[0-9a-f]{64}", token) for token in tokens)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    first = initialise(tmp_path)
    token = owner_token(first.settings)
    first.settings.file.write_text("http_port = 1\n")
    second = initialise(tmp_path)
    assert second.created == ()
    assert owner_token(second.settings) == token
    assert second.settings.http_port == 1


def test_many_at_once_agree_on_one_credential(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: owner_token(initialise(tmp_path).settings), range(32)))
    assert len(tokens) == 1
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_credential_that_others_can_read_is_refused(tmp_path: Path) -> None:
    settings = initialise(tmp_path).settings
    settings.owner_token_file.chmod(0o640)
    with pytest.raises(CredentialExposed, match=r"owner.token: mode 640 .*chmod 600"):
        owner_token(settings)
    with pytest.raises(CredentialExposed, match="chmod 600"):
        initialise(tmp_path)


@pytest.mark.parametrize("place", [".", "books", "run", "qenex.toml"])
def test_a_home_that_others_may_write_to_is_refused(tmp_path: Path, place: str) -> None:
    initialise(tmp_path)
    (tmp_path / place).chmod(0o770)
    right = "600" if place.endswith("toml") else "700"
    with pytest.raises(InvalidHome, match=rf"{tmp_path / place}: mode 770 .*`chmod {right}` it"):
        initialise(tmp_path)
    (tmp_path / place).chmod(0o755)
    initialise(tmp_path)


@pytest.mark.parametrize("content", ["", "qnx_owner_", "qnx_owner_" + "g" * 64, "hello", "qnx_owner_" + "0" * 63, "é"])
def test_a_damaged_credential_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    settings = initialise(tmp_path).settings
    settings.owner_token_file.write_text(content)
    with pytest.raises(InvalidHome, match=re.escape(str(settings.owner_token_file))):
        initialise(tmp_path)
    assert settings.owner_token_file.read_text() == content


def test_a_missing_credential_says_what_makes_one(tmp_path: Path) -> None:
    settings = initialise(tmp_path).settings
    settings.owner_token_file.unlink()
    with pytest.raises(CredentialMissing, match="qenex init"):
        owner_token(settings)


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "books").write_text("")
    with pytest.raises(InvalidHome, match="books: is a file, a folder is needed"):
        initialise(tmp_path)
    with pytest.raises(InvalidHome, match="is a file"):
        initialise(tmp_path / "books" / "home")


def test_a_folder_that_cannot_be_made_is_named() -> None:
    with pytest.raises(InvalidHome, match="/proc/nowhere: cannot be made: "):
        initialise("/proc/nowhere")


def test_the_book_is_chosen_once(tmp_path: Path) -> None:
    settings = initialise(tmp_path).settings
    folder = book_folder(settings)
    assert re.fullmatch("[0-9a-f]{32}", folder.name)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert book_folder(settings) == folder


def test_two_books_or_a_misnamed_one_are_refused(tmp_path: Path) -> None:
    settings = initialise(tmp_path).settings
    (settings.books_folder / "mine").mkdir()
    with pytest.raises(InvalidHome, match="32 hexadecimal digits"):
        book_folder(settings)
    (settings.books_folder / ("0" * 32)).mkdir()
    with pytest.raises(InvalidHome, match="serves one book, here are 2"):
        book_folder(settings)
