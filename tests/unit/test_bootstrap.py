"""A home: made once, closed to others, never overwritten."""

from __future__ import annotations

import errno
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qenex.bootstrap import SPARE_BYTES, initialise, owner_token, system_token, write_run_file
from qenex.client.credentials import find_address
from qenex.errors import CredentialExposed, CredentialMissing, InvalidHome, StorageFailed


def test_a_new_home_is_closed_to_others(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    settings = initialise(home).settings
    for folder in (settings.home, settings.books_folder, settings.run_folder, settings.keys_folder):
        assert folder.stat().st_mode & 0o777 == 0o700
    for file in (
        settings.file,
        settings.owner_token_file,
        settings.system_token_file,
        settings.records_key_file,
    ):
        assert file.stat().st_mode & 0o777 == 0o600
    made = {"books", "keys", "run", "owner.token", "qenex.toml", "system.token"}
    assert {path.name for path in home.iterdir()} == made


def test_the_credential_is_random_and_has_256_bits(tmp_path: Path) -> None:
    tokens = {owner_token(initialise(tmp_path / name).settings) for name in "abc"}
    assert len(tokens) == 3
    assert all(re.fullmatch(r"qnx_owner_[0-9a-f]{64}", token) for token in tokens)
    assert re.fullmatch(r"qnx_system_[0-9a-f]{64}", system_token(initialise(tmp_path / "a").settings))


def test_no_key_is_made_beside_records_that_it_would_not_open(tmp_path: Path) -> None:
    settings = initialise(tmp_path).settings
    settings.records_key_file.unlink()
    settings.records_file.write_bytes(b"")
    with pytest.raises(CredentialMissing, match=r"records\.key: the key of records\.sqlite is gone"):
        initialise(tmp_path)


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


@pytest.mark.parametrize("place", [".", "books", "keys", "run", "qenex.toml"])
def test_a_home_that_others_may_write_to_is_refused(tmp_path: Path, place: str) -> None:
    initialise(tmp_path)
    (tmp_path / place).chmod(0o770)
    right = "600" if place.endswith("toml") else "700"
    with pytest.raises(InvalidHome, match=rf"{tmp_path / place}: mode 770 .*`chmod {right}` it"):
        initialise(tmp_path)
    (tmp_path / place).chmod(0o755)
    initialise(tmp_path)


def test_on_a_full_disk_a_run_file_takes_the_space_that_was_kept_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = initialise(tmp_path).settings

    def full(path: Path, _: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as on_a_full_disk:
        on_a_full_disk.setattr(Path, "write_bytes", full)
        write_run_file(settings.engine_file, {"pid": 1, "binary": "127.0.0.1:7400"})
        assert find_address(home=tmp_path) == ("127.0.0.1", 7400)
        assert settings.engine_file.stat().st_size == SPARE_BYTES, "written where space was, not anew"
        with pytest.raises(StorageFailed, match=r"engine\.json: cannot be written: No space left"):
            write_run_file(settings.engine_file, {"pid": 2})
    assert json.loads(settings.engine_file.read_bytes())["pid"] == 1, "whole or not at all"
    write_run_file(settings.engine_file, {"pid": 3})
    assert settings.engine_file.stat().st_size < SPARE_BYTES
    initialise(tmp_path)
    kept = {path.name: path.stat().st_size for path in settings.run_folder.iterdir()}
    del kept["engine.json"]
    assert kept == {f".spare-{name}.json": SPARE_BYTES for name in ("engine", "http", "front")}


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


def test_a_credential_that_is_lost_beside_a_book_is_replaced_only_where_that_is_asked_for(tmp_path: Path) -> None:
    settings = initialise(tmp_path).settings
    book, lost = settings.books_folder / ("0" * 32), owner_token(settings)
    book.mkdir()
    settings.owner_token_file.unlink()
    with pytest.raises(CredentialMissing, match=f"{book.name} is gone.* --replace-lost-credential"):
        initialise(tmp_path)
    assert not settings.owner_token_file.exists()
    assert initialise(tmp_path, replace_lost_credential=True).created == (settings.owner_token_file,)
    made = owner_token(settings)
    assert made != lost
    assert initialise(tmp_path, replace_lost_credential=True).created == ()
    assert owner_token(settings) == made, "one that is there stays"


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "books").write_text("")
    with pytest.raises(InvalidHome, match="books: is a file, a folder is needed"):
        initialise(tmp_path)
    with pytest.raises(InvalidHome, match="is a file"):
        initialise(tmp_path / "books" / "home")


def test_a_folder_that_cannot_be_made_is_named() -> None:
    with pytest.raises(InvalidHome, match="/proc/nowhere: cannot be made: "):
        initialise("/proc/nowhere")
