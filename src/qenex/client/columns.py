"""Tables to rows: a DataFrame, a table of Arrow or a mapping of columns becomes `TRANSFER` rows.

Nothing is imported for it: a table has `columns` or `keys()`, a column has `to_numpy()` or is a sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qenex.client.ids import new_ids
from qenex.client.values import account_id_of
from qenex.errors import InvalidRows
from qenex.kernel import TRANSFER, from_ints

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from qenex.assets import Asset, Assets

WIDE: Final = ("id", "pending_id", "user_data_128")
"""Columns of 128-bit numbers."""
NARROW: Final = ("user_data_64", "user_data_32", "timeout", "code", "flags")
"""Columns of shorter numbers, in the row's own names."""
OTHERS: Final = ("from_address", "to_address", "debit_account_id", "credit_account_id", "amount", "amount_minor")
KNOWN: Final = frozenset({*WIDE, *NARROW, *OTHERS, "currency", "ledger"})
_EXACT_FLOATS: Final = 10**15
"""Below it a float has only one shortest decimal form with so many digits, so that whole columns can be checked."""


def transfer_rows(table: Any, assets: Assets, currency: str | int) -> NDArray[np.void]:  # noqa: ANN401  # any table
    """`TRANSFER` rows from a table.

    Args:
        table: columns `from_address` (or `debit_account_id`), `to_address` (or `credit_account_id`), and `amount` in
            major units or `amount_minor`; optionally `currency` (or `ledger`), `id`, `code` and the row's other fields.
        assets: the registry.
        currency: of every row, where the table has no such column.

    Raises:
        InvalidRows: a column is missing, unknown, or of another length.
        InvalidInput: a value cannot be used, as for `create_transaction`.
    """
    columns = {str(name): _column(table[name]) for name in _names(table)}
    unknown = sorted(set(columns) - KNOWN)
    if unknown:
        raise InvalidRows(f"unknown columns: {', '.join(unknown)}; there are: {', '.join(sorted(KNOWN))}")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise InvalidRows(f"the columns have different lengths, or there are none: {lengths}")
    rows = np.zeros(lengths.popitem()[1], TRANSFER)
    rows["id"] = new_ids(len(rows)) if "id" not in columns else _numbers(columns["id"], "id")
    rows["code"] = 1
    for side, address in (("debit_account_id", "from_address"), ("credit_account_id", "to_address")):
        given = _one_of(columns, address, side)
        rows[side] = from_ints([account_id_of(value) for value in _values(given)])
    for name in ("pending_id", "user_data_128"):
        if name in columns:
            rows[name] = _numbers(columns[name], name)
    for name in NARROW:
        if name in columns:
            rows[name] = _narrow(columns[name], name)
    _amounts(rows, columns, assets, currency)
    return rows


def _amounts(rows: NDArray[np.void], columns: dict[str, NDArray[Any]], assets: Assets, currency: str | int) -> None:
    """Fills in `ledger` and `amount`."""
    named = columns.get("currency", columns.get("ledger"))
    codes = np.full(len(rows), 0) if named is None else np.unique(named, return_inverse=True)[1]
    kinds = [currency] if named is None else np.unique(named).tolist()
    _one_of(columns, "amount", "amount_minor")
    for at, kind in enumerate(kinds):
        asset, chosen = assets.find(kind), codes == at
        rows["ledger"][chosen] = asset.number
        if "amount_minor" in columns:
            rows["amount"][chosen] = _numbers(columns["amount_minor"][chosen], "amount_minor")
        else:
            rows["amount"][chosen] = _minor(columns["amount"][chosen], asset)


def _minor(amounts: NDArray[Any], asset: Asset) -> NDArray[np.void]:
    """Amounts in major units as a column in minor ones, exactly."""
    # A shorter float has several shortest forms of so many digits: it goes the slow way, which takes it for what it is.
    if amounts.dtype == np.float64 and asset.scale <= 15:
        factor = 10.0**asset.scale
        with np.errstate(over="ignore"):  # what is too large is refused below
            minor = np.rint(amounts * factor)
        # A float is its shortest decimal form; that has no more digits than the asset where dividing gives it back.
        if bool(np.all((minor >= 0) & (minor < _EXACT_FLOATS) & (minor / factor == amounts))):
            return from_ints(minor.astype("<u8"))
    return from_ints([asset.to_minor(value) for value in _values(amounts)])


def _one_of(columns: dict[str, NDArray[Any]], first: str, second: str) -> NDArray[Any]:
    if (first in columns) == (second in columns):
        raise InvalidRows(f"one of the columns {first} and {second} is wanted")
    return columns[first if first in columns else second]


def _numbers(column: NDArray[Any], name: str) -> NDArray[np.void]:
    try:
        return from_ints(column if column.dtype.kind in "iu" else list(_values(column)))
    except (TypeError, OverflowError) as error:
        raise InvalidRows(f"column {name}: {error}") from None


def _narrow(column: NDArray[Any], name: str) -> NDArray[Any]:
    limit = np.iinfo(TRANSFER[name]).max
    if column.dtype.kind not in "iu" or (len(column) and not 0 <= column.min() <= column.max() <= limit):
        raise InvalidRows(f"column {name}: integers from 0 to {limit} are wanted")
    return column


def _values(column: NDArray[Any]) -> list[Any]:
    """The values of a column as Python's own."""
    values: list[Any] = column.tolist()
    return values


def _names(table: Any) -> list[Any]:  # noqa: ANN401  # any table
    names = getattr(table, "column_names", None) or getattr(table, "columns", None)
    if names is not None:
        return list(names)
    keys: Callable[[], Any] | None = getattr(table, "keys", None)
    if keys is None:
        raise InvalidRows(f"a table or TRANSFER rows are wanted, not {type(table).__name__}")
    return list(keys())


def _column(given: Any) -> NDArray[Any]:  # noqa: ANN401  # whatever the table keeps
    wide = str(getattr(given, "dtype", "")) in ("Int128", "UInt128")  # polars has numbers that numpy has not
    if hasattr(given, "to_numpy") and not wide:
        return np.asarray(given.to_numpy())
    if isinstance(given, np.ndarray):
        return given
    values = given.to_list() if hasattr(given, "to_list") else list(given)
    kinds = {type(value) for value in values}
    # Only where all are of one plain kind may numpy choose the dtype: it would turn mixed ones to floats or text.
    if (kinds == {int} and max(values) < 1 << 63) or kinds == {float}:
        return np.asarray(values)
    column = np.empty(len(values), object)
    column[:] = values
    return column
