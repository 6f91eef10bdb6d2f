"""Where the client finds the engine and its credential."""

from __future__ import annotations

import json
import os
import ssl
from typing import TYPE_CHECKING

import pytest

from qenex.client.credentials import Address, find_address, find_credential
from qenex.errors import CredentialExposed, CredentialMissing, InvalidFile, InvalidHome, InvalidSettings
from tests.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("bank.example:7401", Address("bank.example", 7401)),
        ("bank.example", Address("bank.example", 7400)),
        ("[::1]:7402", Address("::1", 7402)),
        ("[::1]", Address("::1", 7400)),
    ],
)
def test_addresses_are_read(text: str, address: Address) -> None:
    assert find_address(text) == address
    assert find_address(str(address)) == address


def test_an_address_by_tls_is_read_with_what_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca.pem").write_bytes(Authority().pem)
    (tmp_path / "none.pem").write_text("none")
    for text, host, port in (("tls://bank.example", "bank.example", 7443), ("tls://[::1]:7555", "::1", 7555)):
        found = find_address(text, ca=tmp_path / "ca.pem")
        assert (found.host, found.port) == (host, port)
        assert found.context is not None
        assert found.context.verify_mode is ssl.CERT_REQUIRED
        assert found.context.check_hostname
        assert str(found) == f"tls://{Address(host, port)}"
    assert find_address("bank.example").context is None
    monkeypatch.setenv("QENEX_ADDRESS", "tls://bank.example")
    for name in ("none.pem", "absent.pem"):
        monkeypatch.setenv("QENEX_CA", str(tmp_path / name))
        with pytest.raises(InvalidFile, match=f"{name}: cannot be used for TLS"):
            find_address()
        with pytest.raises(InvalidFile, match=f"{name}: cannot be used for TLS"):
            find_address(ca=tmp_path / "ca.pem", certificate=tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":7400",
        "tls://",
        "tls://host:",
        "tls://:7443",
        "host:",
        "host:0",
        "host:65536",
        "host:http",
        "host:-1",
        "host:\u0663",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match="host:port is wanted"):
        find_address(text)


def test_the_address_given_wins_over_the_variable_over_the_engine_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_address(home=tmp_path) == Address("127.0.0.1", 7400)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "engine.json").write_text(json.dumps({"pid": 1, "binary": "127.0.0.1:7555"}))
    assert find_address(home=tmp_path).port == 7555
    monkeypatch.setenv("QENEX_ADDRESS", "127.0.0.1:7666")
    assert find_address(home=tmp_path).port == 7666
    assert find_address("127.0.0.1:7777", tmp_path).port == 7777


def test_a_damaged_address_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "engine.json").write_text("{")
    with pytest.raises(InvalidHome, match=r"engine\.json"):
        find_address(home=tmp_path)


@pytest.mark.parametrize("place", [".", "run", "run/engine.json"])
@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_an_address_that_others_could_have_written_is_refused(tmp_path: Path, place: str, mode: int) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "engine.json").write_text(json.dumps({"binary": "127.0.0.1:7555"}))
    (tmp_path / place).chmod(mode)
    right = "600" if place.endswith("json") else "700"
    with pytest.raises(InvalidHome, match=rf"{tmp_path / place}: mode {mode:o} .*`chmod {right}` it"):
        find_address(home=tmp_path)
    assert find_address("127.0.0.1:7777", tmp_path).port == 7777, "what is given is not looked for"
    (tmp_path / place).chmod(int(right, 8))
    assert find_address(home=tmp_path).port == 7555


def test_a_credential_in_a_home_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "owner.token").write_text("qnx_owner_secret\n")
    (tmp_path / "owner.token").chmod(0o600)
    tmp_path.chmod(0o777)
    with pytest.raises(InvalidHome, match=rf"{tmp_path}: mode 777 .*`chmod 700` it"):
        find_credential(tmp_path)


@pytest.mark.parametrize("place", [".", "run", "run/engine.json", "owner.token"])
def test_what_belongs_to_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "engine.json").write_text(json.dumps({"binary": "127.0.0.1:7555"}))
    (tmp_path / "owner.token").write_text("qnx_owner_secret\n")
    (tmp_path / "owner.token").chmod(0o600)
    ours, theirs = os.geteuid(), os.geteuid() + 4_321
    if ours == 0:
        os.chown(tmp_path / place, theirs, -1)
        ours = theirs + 1
    else:
        ours, theirs = theirs, ours
    find = find_credential if place == "owner.token" else find_address
    # root may use anybody's, as in a container whose home is a folder of the machine.
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    find(home=tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: ours)
    with pytest.raises(InvalidHome, match=rf"{tmp_path / place}: belongs to user {theirs}, .* user {ours}"):
        find(home=tmp_path)


def test_the_credential_must_be_the_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "owner.token"
    with pytest.raises(CredentialMissing, match=r"QENEX_HOME; `qenex init` makes"):
        find_credential(tmp_path)
    path.write_text("qnx_owner_secret\n")
    path.chmod(0o640)
    with pytest.raises(CredentialExposed, match="chmod 600"):
        find_credential(tmp_path)
    path.chmod(0o600)
    assert find_credential(tmp_path) == "qnx_owner_secret"
    monkeypatch.setenv("QENEX_HOME", str(tmp_path))
    assert find_credential() == "qnx_owner_secret"
    path.write_text("two words")
    with pytest.raises(InvalidHome):
        find_credential(tmp_path)
    monkeypatch.setenv("QENEX_CREDENTIAL", "given")
    assert find_credential(tmp_path) == "given"
