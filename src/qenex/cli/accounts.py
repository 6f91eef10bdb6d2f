"""`qenex account`: create, show, list, history."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any, Final

import numpy as np
import typer

from qenex.assets import Assets
from qenex.cli.chart import AccountCode
from qenex.cli.engine_book import open_book
from qenex.cli.output import Home, Json, Output, example, table
from qenex.cli.reading import pages
from qenex.cli.rows_text import account_document, check_created, parse_account, transfer_document
from qenex.client.ids import new_account_id
from qenex.errors import AccountNotFound
from qenex.kernel import (
    ACCOUNT,
    ACCOUNT_FILTER,
    BATCH_MAX,
    AccountFilterFlags,
    AccountFlags,
    from_ints,
)

_WHICH: Final = typer.Argument(metavar="ACCOUNT", help="Its address, or its id in decimal digits.")
_Account = Annotated[str, _WHICH]
_Limit = Annotated[int, typer.Option(min=1, max=BATCH_MAX, help="How many at most.")]


def add_to(app: typer.Typer) -> None:
    """Adds the group of commands."""
    group = typer.Typer(help="Accounts.", no_args_is_help=True)
    app.add_typer(group, name="account")
    group.command("create", epilog=example("qenex account create --asset EUR --no-overdraft"))(_create)
    group.command("show", epilog=example("qenex account show 0x51454e5891d21Ac8DD574CFB00000000000003e8"))(_show)
    group.command("list", epilog=example("qenex account list --asset QXC --limit 20"))(_list)
    group.command("history", epilog=example("qenex account history 0x51454e5891d21Ac8DD574CFB00000000000003e8"))(
        _history
    )


def _create(
    home: Home = None,
    *,
    asset: Annotated[str, typer.Option(help="What it holds: EUR, USD, QXC ...")],
    account_id: Annotated[
        str | None, typer.Option("--id", help="Its id, so that a retry makes no second one.", show_default="a new one")
    ] = None,
    code: Annotated[int, typer.Option(min=1, max=65_535, help="Kind of account.")] = int(AccountCode.DEPOSIT),
    overdraft: Annotated[
        bool, typer.Option("--overdraft/--no-overdraft", help="Whether it may be debited beyond its credits.")
    ] = False,
    history: Annotated[
        bool, typer.Option("--history/--no-history", help="Keep its balance after each transfer.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Create an account. With the same id again it changes nothing."""
    number = new_account_id() if account_id is None else parse_account(account_id)
    rows = np.zeros(1, dtype=ACCOUNT)
    rows["id"], rows["ledger"], rows["code"] = from_ints([number]), Assets().find(asset).number, code
    flags = AccountFlags.HISTORY if history else AccountFlags.NONE
    rows["flags"] = flags if overdraft else flags | AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
    with open_book(home) as book:
        created = check_created(book.create_accounts(rows)[0], number)
        document = account_document(book.lookup_accounts([number])[0])
    word = "created" if created else "was there already"
    Output(as_json=as_json).show(document | {"new": created}, f"account {document['address']} {word}")


def _show(account: _Account, home: Home = None, *, as_json: Json = False) -> None:
    """Show an account and its balances."""
    number = parse_account(account)
    with open_book(home, read_only=True) as book:
        rows = book.lookup_accounts([number])
    if not len(rows):
        raise AccountNotFound(number)
    document = account_document(rows[0])
    Output(as_json=as_json).show(document, _one("Account", document))


def _list(
    home: Home = None,
    *,
    asset: Annotated[str | None, typer.Option(help="Only accounts of this asset.", show_default="all")] = None,
    limit: _Limit = 100,
    as_json: Json = False,
) -> None:
    """List accounts in the order in which they were created."""
    ledger = Assets().find(asset).number if asset else 0
    with open_book(home, read_only=True) as book:
        rows = islice((row for page in pages(book.query_accounts, ledger=ledger) for row in page), limit)
        documents = [account_document(row) for row in rows]
    columns = ("address", "asset", "kind", "posted", "available")
    shown = _many("Accounts", documents, columns, columns[3:])
    Output(as_json=as_json).show(documents, shown, *_limited(documents, limit))


def _history(account: _Account, home: Home = None, *, limit: _Limit = 100, as_json: Json = False) -> None:
    """List an account's transfers, newest first."""
    number = parse_account(account)
    filters = np.zeros(1, dtype=ACCOUNT_FILTER)
    filters["account_id"], filters["limit"] = from_ints([number]), limit
    filters["flags"] = AccountFilterFlags.DEBITS | AccountFilterFlags.CREDITS | AccountFilterFlags.REVERSED
    with open_book(home, read_only=True) as book:
        if not len(book.lookup_accounts([number])):
            raise AccountNotFound(number)
        documents = [transfer_document(row) for row in book.account_transfers(filters)]
    columns = ("booked", "from", "to", "amount", "asset", "id")
    shown = _many("Transfers", documents, columns, ("amount",))
    Output(as_json=as_json).show(documents, shown, *_limited(documents, limit))


def _limited(documents: list[dict[str, Any]], limit: int) -> tuple[str, ...]:
    """A word for people where the limit may have cut something off."""
    return (f"{limit:,} shown; if there are more, --limit shows them",) if len(documents) == limit else ()


def _one(title: str, document: dict[str, Any]) -> object:
    return table(title, ("field", "value"), document.items())


def _many(title: str, documents: list[dict[str, Any]], columns: tuple[str, ...], right: tuple[str, ...]) -> object:
    return table(title, columns, ([document[name] for name in columns] for document in documents), right=right)
