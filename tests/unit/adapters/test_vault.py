"""Secrets open in their own place only, and their digests say nothing without the key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qenex.adapters.database import Vault
from qenex.bootstrap import initialise
from qenex.errors import CredentialExposed, CredentialMissing, InvalidHome, RecordsDamaged

if TYPE_CHECKING:
    from pathlib import Path

VAULT = Vault(bytes(range(32)))
PLACE = {"table": "secrets", "column": "seed", "book": b"\x01" * 16, "id": "usr_1"}


@given(st.binary(max_size=200))
def test_a_secret_comes_back_where_it_was_sealed(secret: bytes) -> None:
    sealed = VAULT.seal(secret, **PLACE)
    assert VAULT.open(sealed, **PLACE) == secret
    assert len(secret) < 4 or secret not in sealed
    assert VAULT.seal(secret, **PLACE) != sealed, "nobody can see that two secrets are the same"


@pytest.mark.parametrize(
    "other", [{"table": "secret"}, {"column": "sees"}, {"book": b"\x02" * 16}, {"id": "usr_2"}, {"id": ""}]
)
def test_a_secret_that_was_moved_does_not_open(other: dict[str, object]) -> None:
    sealed = VAULT.seal(b"secret", **PLACE)
    with pytest.raises(RecordsDamaged, match=r"cannot be opened"):
        VAULT.open(sealed, **PLACE | other)
    with pytest.raises(RecordsDamaged):
        Vault(bytes(32)).open(sealed, **PLACE)


def test_the_parts_of_a_place_do_not_run_into_one_another() -> None:
    sealed = VAULT.seal(b"secret", table="a", column="b", book=b"cd", id="e")
    with pytest.raises(RecordsDamaged):
        VAULT.open(sealed, table="a", column="b", book=b"c", id="de")


@given(st.data())
def test_a_secret_that_was_changed_does_not_open(data: st.DataObject) -> None:
    sealed = bytearray(VAULT.seal(b"secret", **PLACE))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(RecordsDamaged):
        VAULT.open(bytes(sealed), **PLACE)
    with pytest.raises(RecordsDamaged):
        VAULT.open(bytes(sealed[:at]), **PLACE)


def test_a_digest_is_the_same_for_the_same_secret_purpose_and_key_only() -> None:
    digests = {
        VAULT.digest(b"secret", "api key"),
        VAULT.digest(b"secret", "recovery code"),
        VAULT.digest(b"Secret", "api key"),
        Vault(bytes(32)).digest(b"secret", "api key"),
    }
    assert VAULT.digest(b"secret", "api key") in digests
    assert len(digests) == 4


def test_the_fingerprint_tells_keys_apart() -> None:
    assert re.fullmatch("[0-9a-f]{16}", VAULT.id)
    assert VAULT.id != Vault(bytes(32)).id
    assert bytes(range(8)).hex() != VAULT.id


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = initialise(tmp_path).settings.records_key_file
    Vault.of_file(path)
    path.chmod(0o640)
    with pytest.raises(CredentialExposed, match="chmod 600"):
        Vault.of_file(path)


@pytest.mark.parametrize("content", ["", "0" * 63, "g" * 64, "é"])
def test_a_damaged_key_is_refused(tmp_path: Path, content: str) -> None:
    path = initialise(tmp_path).settings.records_key_file
    path.write_text(content)
    with pytest.raises(InvalidHome, match=re.escape(str(path))):
        Vault.of_file(path)
    path.unlink()
    with pytest.raises(CredentialMissing, match="qenex init"):
        Vault.of_file(path)
