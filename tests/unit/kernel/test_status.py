"""The statuses, flags and rows of Python are those of Rust."""

import re
from pathlib import Path

import numpy as np
import pytest

from qenex import kernel
from qenex.kernel import rows, status

CRATE = Path(__file__).parents[3] / "crates" / "kernel" / "src"
STATUS_RS = (CRATE / "status.rs").read_text(encoding="utf-8")
ROW_RS = (CRATE / "row.rs").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "enum", [status.CreateAccountStatus, status.CreateTransferStatus, status.SetAccountTermsStatus]
)
def test_statuses_have_the_kernels_numbers_in_the_kernels_order(enum: type[status.Status]) -> None:
    body = re.search(rf"    {enum.__name__} \{{(.*?)\n    \}}", STATUS_RS, re.DOTALL)
    assert body is not None
    kernel_statuses = [
        (text, int(number.replace("_", ""), 0)) for number, text in re.findall(r'= (\w+), "(\w+)";', body[1])
    ]
    assert [(str(member), member.value) for member in enum] == kernel_statuses


def test_transient_statuses_are_the_kernels() -> None:
    body = re.search(r"fn is_transient.*?matches!\((.*?)\)\n", STATUS_RS, re.DOTALL)
    assert body is not None
    names = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper() for name in re.findall(r"Self::(\w+)", body[1])}
    assert {member.name for member in status.TRANSIENT} == names


@pytest.mark.parametrize(
    ("module", "flags"),
    [
        ("account_flags", rows.AccountFlags),
        ("transfer_flags", rows.TransferFlags),
        ("restrictions", rows.Restrictions),
    ],
)
def test_flags_have_the_kernels_bits(module: str, flags: type[rows.AccountFlags]) -> None:
    body = re.search(rf"pub mod {module} \{{(.*?)\n\}}", ROW_RS, re.DOTALL)
    assert body is not None
    constants = re.findall(r"const (\w+): u\d+ = (?:1 << )?(\d+);", body[1])
    # `1` and `1 << n` are the only two ways in which the bits are written.
    bits = {name: 1 << int(number) for name, number in constants if name not in ("ALL", "LINKED", "NO_DEBIT")}
    first = {"restrictions": "NO_DEBIT"}.get(module, "LINKED")
    assert {flag.name: flag.value for flag in flags} == bits | {first: 1}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("Account", rows.ACCOUNT),
        ("Transfer", rows.TRANSFER),
        ("EventResult", rows.EVENT_RESULT),
        ("AccountFilter", rows.ACCOUNT_FILTER),
        ("QueryFilter", rows.QUERY_FILTER),
        ("AccountBalance", rows.ACCOUNT_BALANCE),
        ("ChangeEventsFilter", rows.CHANGE_EVENTS_FILTER),
        ("ChangeEvent", rows.CHANGE_EVENT),
        ("ChangedAccount", rows.CHANGED_ACCOUNT),
        ("AccountTerms", rows.ACCOUNT_TERMS),
        ("BalanceAt", rows.BALANCE_AT),
        ("Outcome", rows.OUTCOME),
        ("Id", rows.ID),
    ],
)
def test_rows_are_laid_out_as_the_kernels(name: str, dtype: np.dtype[np.void]) -> None:
    body = re.search(rf"    {name}, (\d+) \{{(.*?)\n    \}}", ROW_RS, re.DOTALL)
    assert body is not None
    assert dtype.itemsize == int(body[1])
    python_names = {
        "u128": rows.U128,
        "u64": np.dtype("<u8"),
        "u32": np.dtype("<u4"),
        "u16": np.dtype("<u2"),
        "u8": np.dtype("u1"),
        "ChangedAccount": rows.CHANGED_ACCOUNT,
    }
    fields = []
    for field, kind in re.findall(r"^        (\w+): ([^,\n]+),$", body[2], re.MULTILINE):
        array = re.fullmatch(r"\[u8; (\d+)\]", kind)
        fields.append((field, np.dtype(("u1", int(array[1]))) if array else python_names[kind]))
    assert dtype == np.dtype(fields)


def test_limits_are_the_kernels() -> None:
    for name in ("BATCH_MAX", "CHANGE_EVENTS_MAX", "CODE_INSTITUTION"):
        number = re.search(rf"const {name}: \w+ = ([\d_]+);", ROW_RS)
        assert number is not None
        assert getattr(kernel, name) == int(number[1])
    assert "TIMESTAMP_MAX: u64 = (1 << 63) - 1;" in ROW_RS
    assert kernel.TIMESTAMP_MAX == 2**63 - 1
