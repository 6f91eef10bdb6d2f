"""Files of payments as rows: exact amounts, ids that depend on content alone, totals by two ways."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from qenex.cli import dataset
from qenex.cli.chart import AccountCode, TransferCode, derive_half
from qenex.cli.generator import Population, payments
from qenex.errors import InvalidFile
from qenex.kernel import to_ints

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EUR = 978


def utc(*parts: int) -> datetime:
    """A time as the files have it: UTC, without saying so."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[misc,arg-type]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of three payments, of which columns can be replaced or, by None, left out."""

    def write(name: str = "payments.parquet", **columns: Any) -> Path:
        frame: dict[str, Any] = {
            "TRANSACTION_ID": [0, 1, 2],
            "TX_DATETIME": [utc(2018, 4, 1, 0, 0, 31), utc(2018, 4, 1, 23, 59, 59), utc(2018, 4, 2)],
            "CUSTOMER_ID": [596, 4961, 596],
            "TERMINAL_ID": [3156, 3412, 3412],
            "TX_AMOUNT": [57.16, 0.0, 85.64999999999999],
        } | columns
        path = tmp_path / name
        pl.DataFrame({key: value for key, value in frame.items() if value is not None}).write_parquet(path)
        return path

    return write


def test_a_payment_becomes_a_transfer_from_customer_to_terminal(make: Callable[..., Path]) -> None:
    data = dataset.read([make()], EUR)
    ids = to_ints(data.accounts["id"])
    assert to_ints(data.transfers["debit_account_id"]) == [ids[0], ids[1], ids[0]]
    assert to_ints(data.transfers["credit_account_id"]) == [ids[2], ids[3], ids[3]]
    assert to_ints(data.transfers["amount"]) == [5716, 0, 8565]
    assert data.transfers["user_data_64"].tolist() == [
        1_522_540_831_000_000_000,
        1_522_627_199_000_000_000,
        1_522_627_200_000_000_000,
    ]
    assert set(to_ints(data.transfers["user_data_128"])) == {data.identity}
    assert data.transfers["id"]["lo"].tolist() == [0, 1, 2]
    assert set(data.transfers["code"]) == {TransferCode.CARD_PAYMENT}
    assert set(data.transfers["ledger"]) == set(data.accounts["ledger"]) == {EUR}
    assert data.accounts["code"].tolist() == [AccountCode.CARD] * 2 + [AccountCode.MERCHANT] * 2
    for field in ("pending_id", "user_data_32", "timeout", "flags", "timestamp"):
        assert not np.ascontiguousarray(data.transfers[field]).view("u1").any()


def test_ids_of_accounts_share_the_high_half_of_their_party(make: Callable[..., Path]) -> None:
    accounts = dataset.read([make()], EUR).accounts
    assert len(set(accounts["id"]["hi"].tolist())) == 4
    assert accounts["id"]["hi"].tolist() == accounts["user_data_128"]["hi"].tolist()
    assert set(accounts["id"]["lo"]) == {EUR}
    assert not accounts["user_data_128"]["lo"].any()


def test_ids_depend_on_the_rows_and_on_nothing_else(make: Callable[..., Path], tmp_path: Path) -> None:
    one = dataset.read([make()], EUR)
    other = tmp_path / "renamed, reversed, recompressed, of other types"
    rows = pl.read_parquet(make()).reverse().with_columns(pl.col("CUSTOMER_ID").cast(pl.Int16))
    rows.write_parquet(other, compression="lz4")
    two = dataset.read([other], EUR)
    assert one.identity == two.identity
    assert one.transfers.tobytes() == two.transfers.tobytes()
    assert one.accounts.tobytes() == two.accounts.tobytes()


def test_a_dataset_may_stand_in_several_files(make: Callable[..., Path], tmp_path: Path) -> None:
    whole = pl.read_parquet(make())
    first, second = tmp_path / "first", tmp_path / "second"
    whole.head(1).write_parquet(first)
    whole.tail(2).with_columns(pl.col("TX_DATETIME").cast(pl.Datetime("ms"))).write_parquet(second)
    assert dataset.read([second, first], EUR).identity == dataset.read([make()], EUR).identity


def test_another_payment_makes_other_ids(make: Callable[..., Path]) -> None:
    one, two = dataset.read([make()], EUR), dataset.read([make(TX_AMOUNT=[57.16, 0.0, 85.64])], EUR)
    assert not set(to_ints(one.transfers["id"])) & set(to_ints(two.transfers["id"]))
    assert not set(to_ints(one.accounts["id"])) & set(to_ints(two.accounts["id"]))


def test_derived_halves_cannot_be_made_equal_by_moving_bytes_between_parts() -> None:
    assert derive_half("p", b"ab", b"c") != derive_half("p", b"a", b"bc")
    assert derive_half("p", b"ab", b"c") != derive_half("pab", b"c")
    preimage = b"\x01\0\0\0p\x02\0\0\0ab\x01\0\0\0c"
    assert derive_half("p", b"ab", b"c") == int.from_bytes(sha256(preimage).digest()[:8], "little")


def test_days_of_the_file_and_of_the_transfers_agree(make: Callable[..., Path]) -> None:
    data = dataset.read([make()], EUR)
    assert data.days.rows() == [(utc(2018, 4, 1).date(), 2, 5716), (utc(2018, 4, 2).date(), 1, 8565)]
    assert dataset.days_of(data.transfers[::-1].copy()).equals(data.days)


def test_days_of_generated_payments_agree(tmp_path: Path) -> None:
    path = tmp_path / "generated.parquet"
    pl.concat(payments(Population(300, 500, 20, 5))).write_parquet(path)
    data = dataset.read([path], EUR)
    assert dataset.days_of(data.transfers).equals(data.days)
    data.transfers["amount"]["lo"][7] += np.uint64(1)
    assert not dataset.days_of(data.transfers).equals(data.days)


def test_every_amount_up_to_the_largest_is_read_to_the_cent(make: Callable[..., Path]) -> None:
    cents = [1, 7, 29, 100_000_000_000]
    numbers = list(range(4))
    path = make(
        TRANSACTION_ID=numbers,
        TX_DATETIME=[utc(2018, 4, 1)] * 4,
        CUSTOMER_ID=numbers,
        TERMINAL_ID=numbers,
        TX_AMOUNT=[0.01, 0.07, 0.29, 1e9],
    )
    data = dataset.read([path], EUR)
    assert to_ints(data.transfers["amount"]) == cents
    assert data.days["amount_minor"].to_list() == [sum(cents)]


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"TX_AMOUNT": [57.16, 0.005, 1.0]}, r"TX_AMOUNT of TRANSACTION_ID 1 is 0.005.*two decimals \(1 of 3"),
        ({"TX_AMOUNT": [57.16, -0.01, 1.0]}, "TRANSACTION_ID 1 is -0.01"),
        ({"TX_AMOUNT": [57.16, float("nan"), 1.0]}, "TRANSACTION_ID 1 is nan"),
        ({"TX_AMOUNT": [57.16, 1.0, float("inf")]}, "TRANSACTION_ID 2 is inf"),
        ({"TX_AMOUNT": [57.16, 1.0, 1e9 + 1]}, "TRANSACTION_ID 2 is 1000000001.0"),
        ({"TX_AMOUNT": [57.16, 1.0, 1.0000000001]}, "TRANSACTION_ID 2 is 1.0000000001"),
        ({"TX_AMOUNT": [57.16, None, 1.0]}, "TX_AMOUNT has 1 values missing"),
        ({"TX_AMOUNT": ["57.16", "1", "1"]}, "TX_AMOUNT is String, it should be a 64-bit float"),
        ({"TX_AMOUNT": None}, "has no column TX_AMOUNT; there are TRANSACTION_ID"),
        ({"TRANSACTION_ID": [0, 1, 1]}, "2 payments share a TRANSACTION_ID with another, the first is 1"),
        ({"TRANSACTION_ID": [0, 1, -1]}, "TRANSACTION_ID goes from -1 to 1"),
        ({"CUSTOMER_ID": [0.5, 1.0, 2.0]}, "CUSTOMER_ID is Float64, it should be an integer"),
        ({"TX_DATETIME": [utc(1969, 12, 31), utc(2018, 1, 1), utc(2018, 1, 1)]}, "from the year 1969"),
        ({"TX_DATETIME": ["2018", "2018", "2018"]}, "TX_DATETIME is String, it should be a time without zone"),
    ],
)
def test_what_cannot_be_posted_is_named(make: Callable[..., Path], columns: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidFile, match=named):
        dataset.read([make(**columns)], EUR)


def test_a_file_that_is_none_or_no_parquet_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match=r"nowhere.parquet: cannot be read"):
        dataset.read([tmp_path / "nowhere.parquet"], EUR)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InvalidFile, match="text: cannot be read as Parquet"):
        dataset.read([tmp_path / "text"], EUR)


def test_a_file_without_payments_is_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    pl.read_parquet(make()).head(0).write_parquet(tmp_path / "empty")
    with pytest.raises(InvalidFile, match="holds no payments"):
        dataset.read([tmp_path / "empty"], EUR)
