"""A file of card payments as rows for the ledger, and what its days add up to.

Pure: the same rows in the files give the same ids, whatever the files are called and in whatever order they stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from qenex.cli.chart import AccountCode, TransferCode, derive_half
from qenex.errors import InvalidFile
from qenex.kernel import ACCOUNT, TRANSFER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Rows = NDArray[np.void]
    Integers = NDArray[np.int64]

CENTS: Final = 100
"""Minor units of one whole: amounts of the files have two decimals."""

AMOUNT_MAX: Final = 10**9
"""Largest amount of one payment. Up to it floats lie far closer together than cents, so that none is ambiguous."""

DUST: Final = 4
"""Steps between neighbouring floats by which an amount may miss its cents. Public files have such dust: 85.65 was
computed there as 5 times 17.13, which is 85.64999999999999, one step short."""

_INTEGERS: Final = ("TRANSACTION_ID", "CUSTOMER_ID", "TERMINAL_ID")
_COLUMNS: Final = (*_INTEGERS, "TX_DATETIME", "TX_AMOUNT")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Payments as transfers, ready to be posted."""

    identity: int
    """128 bits from the content; `user_data_128` of every transfer."""
    accounts: Rows
    """`ACCOUNT` rows: the customers, then the terminals, each in order of their numbers."""
    transfers: Rows
    """`TRANSFER` rows in order of time. The low half of an id is the file's TRANSACTION_ID."""
    days: pl.DataFrame
    """`day`, `payments`, `amount_minor`: computed by polars from the files alone."""


def read(paths: Sequence[Path], ledger: int) -> Dataset:
    """Reads files of card payments (the columns of `qenex.cli.generator.SCHEMA`; labels of fraud may be missing).

    Args:
        paths: Parquet files, together one dataset.
        ledger: asset of the accounts; it has two decimals.

    Raises:
        InvalidFile: a column is missing or of another type, a value is missing or negative, an amount is not in whole
            cents, a TRANSACTION_ID stands twice. Names the column and the first payment concerned.
    """
    name = ", ".join(str(path) for path in paths)
    frame = _read_columns(paths)
    _check(frame, name)
    frame = frame.sort("TX_DATETIME", "TRANSACTION_ID")
    number, customer, terminal = (frame[column].cast(pl.Int64).to_numpy() for column in _INTEGERS)
    time_ns = frame["TX_DATETIME"].cast(pl.Datetime("ns")).cast(pl.Int64).to_numpy()
    cents = _cents(frame, name)
    digest = sha256(b"qenex-payments-v1")
    for column in (number, time_ns, customer, terminal, cents):
        digest.update(column.astype("<i8").tobytes())
    identity = digest.digest()[:16]

    customers, customer_at = np.unique(customer, return_inverse=True)
    terminals, terminal_at = np.unique(terminal, return_inverse=True)
    accounts = np.concatenate(
        [
            _accounts(identity, "customer", customers, ledger, AccountCode.CARD),
            _accounts(identity, "terminal", terminals, ledger, AccountCode.MERCHANT),
        ]
    )
    transfers = np.zeros(len(frame), dtype=TRANSFER)
    transfers["id"]["hi"] = derive_half("qenex-payment-v1", identity)
    transfers["id"]["lo"] = number
    transfers["debit_account_id"] = accounts["id"][customer_at]
    transfers["credit_account_id"] = accounts["id"][len(customers) + terminal_at]
    transfers["amount"]["lo"] = cents
    transfers["user_data_128"] = np.frombuffer(identity, dtype=TRANSFER["user_data_128"])
    transfers["user_data_64"] = time_ns
    transfers["ledger"] = ledger
    transfers["code"] = TransferCode.CARD_PAYMENT
    return Dataset(int.from_bytes(identity, "little"), accounts, transfers, _days(frame))


def days_of(transfers: Rows) -> pl.DataFrame:
    """`day`, `payments`, `amount_minor` of recorded transfers, by their time of value, in order of days.

    Raises:
        OverflowError: an amount is above 2^63-1 minor units.
    """
    if transfers["amount"]["hi"].any() or (transfers["amount"]["lo"] >> np.uint64(63)).any():
        raise OverflowError("an amount of these transfers is above 2^63-1 minor units")
    frame = pl.DataFrame(
        {
            "day": transfers["user_data_64"].astype("datetime64[ns]"),
            "amount_minor": transfers["amount"]["lo"].astype(np.int64),
        }
    )
    return (
        frame.group_by(pl.col("day").dt.date())
        .agg(pl.len().cast(pl.Int64).alias("payments"), pl.col("amount_minor").sum())
        .sort("day")
    )


def _days(frame: pl.DataFrame) -> pl.DataFrame:
    """The same from the files, by another way: polars reads each amount's digits as a decimal, and adds decimals."""
    amount = pl.col("TX_AMOUNT").cast(pl.String).cast(pl.Decimal(38, 2))
    return (
        frame.group_by(pl.col("TX_DATETIME").dt.date().alias("day"))
        .agg(pl.len().cast(pl.Int64).alias("payments"), (amount.sum() * CENTS).cast(pl.Int64).alias("amount_minor"))
        .sort("day")
    )


def _read_columns(paths: Sequence[Path]) -> pl.DataFrame:
    frames = []
    for path in paths:
        try:
            schema = pl.read_parquet_schema(path)
            _check_types(schema, path)
            frames.append(pl.read_parquet(path, columns=list(_COLUMNS)).select(_COLUMNS))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InvalidFile(path, f"cannot be read as Parquet: {error}") from error
    try:
        return pl.concat(frames, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise InvalidFile(", ".join(map(str, paths)), f"the files differ in their columns: {error}") from error


def _check_types(schema: dict[str, pl.DataType], path: Path) -> None:
    wanted = dict.fromkeys(_INTEGERS, "an integer") | {"TX_DATETIME": "a time without zone (UTC)"}
    wanted["TX_AMOUNT"] = "a 64-bit float"
    for column, what in wanted.items():
        if column not in schema:
            raise InvalidFile(path, f"has no column {column}; there are {', '.join(schema)}")
        kind = schema[column]
        fits = (
            kind.is_integer()
            if column in _INTEGERS
            else kind == pl.Float64
            if column == "TX_AMOUNT"
            else isinstance(kind, pl.Datetime) and kind.time_zone is None
        )
        if not fits:
            raise InvalidFile(path, f"column {column} is {kind}, it should be {what}")


def _check(frame: pl.DataFrame, name: str) -> None:
    if frame.is_empty():
        raise InvalidFile(name, "holds no payments")
    for column in _COLUMNS:
        if frame[column].null_count():
            raise InvalidFile(name, f"column {column} has {frame[column].null_count()} values missing")
    for column in _INTEGERS:
        low, high = _range(frame[column].cast(pl.Int128))
        if low < 0 or high >= 2**63:
            raise InvalidFile(name, f"column {column} goes from {low} to {high}, it should lie in 0 to 2^63-1")
    first, last = _range(frame["TX_DATETIME"].dt.year().cast(pl.Int128))
    if first < 1970 or last > 2261:
        raise InvalidFile(
            name, f"column TX_DATETIME goes from the year {first} to {last}, it should lie in 1970 to 2261"
        )
    if twice := frame["TRANSACTION_ID"].is_duplicated().sum():
        number = frame.filter(pl.col("TRANSACTION_ID").is_duplicated())["TRANSACTION_ID"][0]
        raise InvalidFile(name, f"{twice} payments share a TRANSACTION_ID with another, the first is {number}")


def _range(numbers: pl.Series) -> tuple[int, int]:
    low, high = numbers.min(), numbers.max()
    if not isinstance(low, int) or not isinstance(high, int):
        raise TypeError(f"{numbers.name} has no smallest and largest number")
    return low, high


def _cents(frame: pl.DataFrame, name: str) -> Integers:
    """Amounts in cents: each float must be the one nearest to a decimal of two digits, but for `DUST`."""
    given = frame["TX_AMOUNT"].to_numpy()
    within = (given >= 0) & (given <= AMOUNT_MAX)  # false for NaN
    amount = np.where(within, given, 0)
    cents = np.rint(amount * CENTS)
    wrong = np.flatnonzero(~within | (np.abs(cents / CENTS - amount) > DUST * np.spacing(amount)))
    if len(wrong):
        payment = frame.row(int(wrong[0]), named=True)
        raise InvalidFile(
            name,
            f"TX_AMOUNT of TRANSACTION_ID {payment['TRANSACTION_ID']} is {payment['TX_AMOUNT']!r}, it should be from 0"
            f" to {AMOUNT_MAX} with at most two decimals ({len(wrong)} of {len(amount)} payments are not)",
        )
    whole: Integers = cents.astype(np.int64)
    return whole


def _accounts(identity: bytes, kind: str, numbers: Integers, ledger: int, code: AccountCode) -> Rows:
    """An account for each number. High half: whose it is; low half: the asset. Low half 0 is the party."""
    rows = np.zeros(len(numbers), dtype=ACCOUNT)
    whose = [
        derive_half("qenex-party-v1", identity, kind.encode("ascii"), number.to_bytes(8, "little"))
        for number in numbers.tolist()
    ]
    rows["id"]["hi"] = rows["user_data_128"]["hi"] = whose
    rows["id"]["lo"] = ledger
    rows["ledger"] = ledger
    rows["code"] = code
    return rows
