"""The tree of errors, spec/errors.toml and the contracts it stands for say the same."""

import pickle
import re
import tomllib
from pathlib import Path

import pytest

from qenex import errors
from qenex.errors import BY_CODE, EngineError, QenexError, Rejected
from qenex.kernel import to_address

ROOT = Path(__file__).parents[2]
LISTED = tomllib.loads((ROOT / "spec/errors.toml").read_text(encoding="utf-8"))


def test_every_error_is_listed_with_its_facts() -> None:
    known = {
        code: {
            "http_status": kind.http_status,
            "iso_reason": kind.iso_reason,
            "text": kind.text,
            **({"number": kind.number} if issubclass(kind, EngineError) and kind.number else {}),
        }
        for code, kind in BY_CODE.items()
    }
    assert known == LISTED


def test_every_refusal_of_the_kernel_has_an_error() -> None:
    source = (ROOT / "crates/kernel/src/status.rs").read_text(encoding="utf-8")
    statuses = set(re.findall(r'= \w+, "(\w+)";', source)) - {"created", "applied"}
    assert len(statuses) > 70
    refusals = {code for code, kind in BY_CODE.items() if issubclass(kind, Rejected)}
    assert refusals == statuses


def test_every_error_of_the_protocol_has_its_number() -> None:
    section = (ROOT / "spec/protocol.md").read_text(encoding="utf-8").split("## 5. Errors")[1].split("\n## ")[0]
    rows = {code: int(number) for number, code in re.findall(r"^\| (\d+) \| (\w+) \|", section, re.MULTILINE)}
    assert len(rows) >= 24
    assert {code: k.number for code, k in BY_CODE.items() if issubclass(k, EngineError) and k.number} == rows


def test_the_code_is_the_name_of_the_class() -> None:
    renamed = {"failed": "OperationFailed"}
    for code, kind in BY_CODE.items():
        assert kind.__name__ == renamed.get(code, "".join(part.capitalize() for part in code.split("_")))
        assert getattr(errors, kind.__name__) is kind


def test_iso_reasons_and_statuses_are_ones_that_exist() -> None:
    for kind in BY_CODE.values():
        assert re.fullmatch(r"[A-Z]{2}[0-9]{2}|NARR|CURR", kind.iso_reason)
        assert 400 <= kind.http_status < 600


def test_a_code_belongs_to_one_class() -> None:
    with pytest.raises(TypeError, match="both claim the code busy"):
        type("Again", (QenexError,), {}, code="busy")


def test_an_error_carries_its_values_and_survives_pickling() -> None:
    error = errors.ExceedsCredits(7, account_id=3, available_minor=50, requested_minor=80, row=2, timestamp_ns=9)
    assert error.values == {
        "row_id": 7,
        "account_id": 3,
        "address": to_address(3),
        "available_minor": 50,
        "requested_minor": 80,
        "row": 2,
        "timestamp_ns": 9,
    }
    assert "50 minor units available, 80 minor units requested" in str(error)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # made a line above
    assert (type(again), again.values, str(again)) == (type(error), error.values, str(error))


def test_an_account_is_named_by_its_address() -> None:
    account = 1_000
    for kind in BY_CODE.values():
        if issubclass(kind, errors.AccountRefused):
            error = kind(7, account_id=account)
            assert error.address == to_address(account)
            assert to_address(account) in str(error)
            assert str(account) not in str(error).replace(to_address(account), "")
    assert to_address(account) in str(errors.AccountNotFound(account))
    assert to_address(account) in str(errors.HistoryNotKept(account))


def test_every_error_is_documented_with_its_facts() -> None:
    page = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\w+) \| (.*) \|$", page, re.MULTILINE)
    assert [(code, int(status), reason, text) for code, status, reason, text in rows] == [
        (code, facts["http_status"], facts["iso_reason"], facts["text"]) for code, facts in sorted(LISTED.items())
    ]


def test_every_error_is_raised_somewhere() -> None:
    """In Rust by name. Refusals and errors of the protocol are made from their numbers, and have tests for that."""
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("src/qenex", "crates/bindings/src")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".rs") and "errors" not in path.relative_to(ROOT / folder).parts[:1]
    )
    by_number = {code for code, k in BY_CODE.items() if issubclass(k, Rejected) or getattr(k, "number", 0)}
    unraised = {
        code
        for code, kind in BY_CODE.items()
        if code not in by_number
        and not re.search(rf'\b{kind.__name__}\(|raise {kind.__name__}\b|"{kind.__name__}"', source)
    }
    # These two are raised where a process opens the files of a book.
    assert unraised <= {"book_locked", "book_damaged"}
