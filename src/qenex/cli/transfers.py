"""`qenex transfer`: send, hold, post, void, show."""

from __future__ import annotations

from typing import Annotated, Final

import numpy as np
import typer

from qenex.assets import Asset, Assets
from qenex.cli.chart import TransferCode
from qenex.cli.engine_book import EngineBook, open_book
from qenex.cli.output import Home, Json, Output, example, table
from qenex.cli.rows_text import parse_account, parse_transfer, transfer_document
from qenex.client.ids import new_id
from qenex.errors import InvalidAmount, InvalidId, TransferNotFound
from qenex.kernel import HASH, TRANSFER, U128_MAX, TransferFlags, from_ints, to_int

_A: Final = "0x51454e5891d21Ac8DD574CFB00000000000003e8"
_B: Final = "0x51454e58553Df4ae0776cdAe00000000000003E8"

_From = Annotated[str, typer.Option("--from", metavar="ACCOUNT", help="Address or id of the account to debit.")]
_To = Annotated[str, typer.Option("--to", metavar="ACCOUNT", help="Address or id of the account to credit.")]
_Amount = Annotated[str, typer.Option(help="In major units, for example 12.50.")]
_Asset = Annotated[str, typer.Option(help="What it is an amount of: EUR, USD, QXC ...")]
_Id = Annotated[
    str | None,
    typer.Option("--id", help="Its id, so that a retry never pays twice.", show_default="a new one"),
]
_Pending = Annotated[str, typer.Argument(metavar="TRANSFER", help="Id of the transfer that holds the money.")]


def add_to(app: typer.Typer) -> None:
    """Adds the group of commands."""
    group = typer.Typer(help="Transfers.", no_args_is_help=True)
    app.add_typer(group, name="transfer")
    group.command("send", epilog=example(f"qenex transfer send --from {_A} --to {_B} --amount 100 --asset QXC"))(_send)
    group.command(
        "hold", epilog=example(f"qenex transfer hold --from {_A} --to {_B} --amount 5 --asset QXC --timeout 3600")
    )(_hold)
    group.command("post", epilog=example("qenex transfer post 2110254713 --amount 3.5"))(_post)
    group.command("void", epilog=example("qenex transfer void 2110254713"))(_void)
    group.command("show", epilog=example("qenex transfer show 2110254713"))(_show)


def _send(
    debtor: _From,
    creditor: _To,
    amount: _Amount,
    asset: _Asset,
    home: Home = None,
    *,
    transfer_id: _Id = None,
    as_json: Json = False,
) -> None:
    """Move money from one account to another, now."""
    found = Assets().find(asset)
    row = _new(debtor, creditor, amount, found, transfer_id)
    with open_book(home) as book:
        _create(book, row, found, "sent", as_json=as_json)


def _hold(
    debtor: _From,
    creditor: _To,
    amount: _Amount,
    asset: _Asset,
    home: Home = None,
    *,
    timeout: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seconds until it is released; 0 is never.")] = 0,
    transfer_id: _Id = None,
    as_json: Json = False,
) -> None:
    """Reserve money: the first of two phases. `post` or `void` is the second."""
    found = Assets().find(asset)
    row = _new(debtor, creditor, amount, found, transfer_id)
    row["flags"], row["timeout"] = TransferFlags.PENDING, timeout
    with open_book(home) as book:
        _create(book, row, found, "held", as_json=as_json)


def _post(
    pending: _Pending,
    home: Home = None,
    *,
    amount: Annotated[
        str | None, typer.Option(help="Post so much and release the rest.", show_default="all of it")
    ] = None,
    transfer_id: _Id = None,
    as_json: Json = False,
) -> None:
    """Move held money for good, all or a part of it."""
    with open_book(home) as book:
        held = _find(book, pending)
        asset = Assets().find(int(held["ledger"]))
        row = _resolve(held, TransferFlags.POST_PENDING_TRANSFER, transfer_id)
        helps = "`qenex transfer void` releases all of it"
        row["amount"] = from_ints([U128_MAX if amount is None else _minor(amount, asset, helps)])
        _create(book, row, asset, "posted", as_json=as_json)


def _void(pending: _Pending, home: Home = None, *, transfer_id: _Id = None, as_json: Json = False) -> None:
    """Release held money."""
    with open_book(home) as book:
        held = _find(book, pending)
        row = _resolve(held, TransferFlags.VOID_PENDING_TRANSFER, transfer_id)
        _create(book, row, Assets().find(int(held["ledger"])), "voided", as_json=as_json)


def _show(
    transfer: Annotated[str, typer.Argument(metavar="TRANSFER", help="Its id, or its hash.")],
    home: Home = None,
    *,
    as_json: Json = False,
) -> None:
    """Show a transfer as it is recorded."""
    with open_book(home, read_only=True) as book:
        document = transfer_document(_find(book, transfer))
    Output(as_json=as_json).show(document, table("Transfer", ("field", "value"), document.items()))


def _new(debtor: str, creditor: str, amount: str, found: Asset, transfer_id: str | None) -> np.ndarray:
    row = np.zeros(1, dtype=TRANSFER)
    row["id"] = from_ints([_id(transfer_id)])
    row["debit_account_id"], row["credit_account_id"] = (
        from_ints([parse_account(text)]) for text in (debtor, creditor)
    )
    row["amount"] = from_ints([_minor(amount, found, "give what should move")])
    row["ledger"], row["code"] = found.number, TransferCode.TRANSFER
    return row


def _minor(amount: str, asset: Asset, helps: str) -> int:
    """An amount in minor units, not 0.

    The ledger takes a transfer of 0 and files of payments hold some; a person who types one has made a mistake.
    """
    minor = asset.to_minor(amount)
    if not minor:
        raise InvalidAmount(amount, f"it moves nothing; {helps}")
    return minor


def _resolve(held: np.void, flag: TransferFlags, transfer_id: str | None) -> np.ndarray:
    row = np.zeros(1, dtype=TRANSFER)
    row["id"], row["pending_id"], row["flags"] = from_ints([_id(transfer_id)]), held["id"], flag
    return row


def _id(text: str | None) -> int:
    if text is None:
        return new_id()
    number = parse_transfer(text)
    if isinstance(number, bytes):
        raise InvalidId(text, "decimal digits are wanted, a hash follows from the transfer")
    return number


def _find(book: EngineBook, text: str) -> np.void:
    wanted = parse_transfer(text)
    if isinstance(wanted, bytes):
        rows = book.lookup_hashes(np.frombuffer(wanted, dtype=HASH))
    else:
        rows = book.lookup_transfers([wanted])
    if not len(rows):
        raise TransferNotFound(text)
    found: np.void = rows[0]
    return found


def _create(book: EngineBook, row: np.ndarray, asset: Asset, verb: str, *, as_json: bool) -> None:
    number = to_int(row["id"][0])
    created = book.execute(row, asset)
    document = transfer_document(book.lookup_transfers([number])[0])
    word = verb if created else f"{verb} before, nothing was done now"
    Output(as_json=as_json).show(
        document | {"new": created},
        f"{document['amount']} {document['asset']} {word}: transfer {number}",
        f"hash {document['hash']}",
    )
