"""`qenex demo`: creates the demo bank in a running engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from qenex.cli import demo_bank
from qenex.cli.engine_book import open_book
from qenex.cli.output import Home, Json, Output, example
from qenex.errors import CheckFailed
from qenex.kernel import CreateAccountStatus, CreateTransferStatus

if TYPE_CHECKING:
    import typer
    from numpy.typing import NDArray

    from qenex.cli.reading import Book

SNIPPET: Final = """from qenex import QenexClient

client = QenexClient()
tx = client.create_transaction(
    from_address="{debtor}",
    to_address="{creditor}",
    amount=100.0,
    currency="QXC",
)
result = client.execute(tx, optimize=True)
print(f"Transaction completed: {{result.hash}}")"""
"""What a newcomer runs first."""


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("demo", epilog=example("qenex demo"))(_demo)


def create(book: Book) -> int:
    """Creates what is missing of the demo bank; how many rows that were.

    Raises:
        CheckFailed: the ledger has other accounts or transfers under its ids, or refused some.
    """
    accounts = book.create_accounts(demo_bank.accounts())["status"]
    transfers = book.create_transfers(demo_bank.transfers())["status"]
    created = _created(accounts, CreateAccountStatus.CREATED, CreateAccountStatus.EXISTS, CreateAccountStatus)
    return created + _created(
        transfers, CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS, CreateTransferStatus
    )


def snippet() -> str:
    """The first program, with addresses that work."""
    debtor, creditor = demo_bank.example_addresses()
    return SNIPPET.format(debtor=debtor, creditor=creditor)


def _created(
    statuses: NDArray[np.uint32], created: int, exists: int, names: type[CreateAccountStatus | CreateTransferStatus]
) -> int:
    refused = statuses[(statuses != created) & (statuses != exists)]
    if len(refused):
        raise CheckFailed(
            f"{len(refused)} rows of the demo bank were refused, the first with {names(int(refused[0])).name.lower()}"
        )
    return int((statuses == created).sum())


def _demo(home: Home = None, *, as_json: Json = False) -> None:
    """Create the demo bank: accounts in EUR and QXC with a history. Again, it changes nothing."""
    with open_book(home) as book:
        created = create(book)
    debtor, creditor = demo_bank.example_addresses()
    Output(as_json=as_json).show(
        {"created_rows": created, "addresses": [debtor, creditor]},
        f"the demo bank is there ({created} rows were new); two of its accounts in QXC:",
        f"  {debtor}",
        f"  {creditor}",
        "",
        snippet(),
    )
