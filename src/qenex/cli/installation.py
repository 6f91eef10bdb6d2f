"""`qenex books`: the books of a running engine, made, listed, suspended. Needs the home's system credential."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qenex import bootstrap
from qenex.cli.output import Home, Json, Output, example, table, time_text
from qenex.client.system import Book, Grant, SystemClient, new_book_id
from qenex.errors import ConnectionLost, InvalidFile, InvalidId

if TYPE_CHECKING:
    from collections.abc import Iterator

_ID_BYTES = 16

BookId = Annotated[str, typer.Argument(metavar="BOOK", help="The book's id, 32 hexadecimal digits.")]


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    books = typer.Typer(help="The books of this installation: one an institution.", no_args_is_help=True)
    app.add_typer(books, name="books")
    books.command("create", epilog=example("qenex books create 'First Bank' --credential-file first-bank.token"))(
        _create
    )
    books.command("list", epilog=example("qenex books list"))(_list)
    books.command("suspend", epilog=example("qenex books suspend 0123456789abcdef0123456789abcdef"))(_suspend)
    books.command("resume", epilog=example("qenex books resume 0123456789abcdef0123456789abcdef"))(_resume)


def _create(
    name: Annotated[str, typer.Argument(help="What people call it, up to 64 bytes.")],
    home: Home = None,
    *,
    credential_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A new file (mode 600) for the owner's credential, instead of printing it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a book, and the credential of its owner, which is shown once and kept nowhere."""
    secret = bootstrap.new_credential()
    with SystemClient(home=home) as system, _kept(credential_file, secret):
        book = system.create_book(name, Grant.of_secret(secret), book=new_book_id())
    shown = {"credential": secret} if credential_file is None else {"credential_file": str(credential_file)}
    if credential_file is None:
        told = f"its owner's credential, which is not shown again:\n{secret}"
    else:
        told = f"its owner's credential is in {credential_file}"
    Output(as_json=as_json).show(_document(book) | shown, f"made book {book.id.hex()}, {book.name}; {told}")


def _list(home: Home = None, *, as_json: Json = False) -> None:
    """Show all books: their ids, names and states. What is in them is not to be seen from here."""
    with SystemClient(home=home) as system:
        books = system.list_books()
    rows = [
        (book.id.hex(), book.name, book.state.name.lower(), "yes" if book.is_open else "no", time_text(book.created_ns))
        for book in books
    ]
    Output(as_json=as_json).show(
        {"books": [_document(book) for book in books]},
        table("Books", ("id", "name", "state", "open", "created"), rows),
    )


def _suspend(book: BookId, home: Home = None, *, as_json: Json = False) -> None:
    """Let nobody into a book until it is resumed. Who is in is out at once; what was accepted is done."""
    with SystemClient(home=home) as system:
        found = system.suspend_book(_id(book))
    Output(as_json=as_json).show(_document(found), f"book {found.id.hex()}, {found.name}, is suspended")


def _resume(book: BookId, home: Home = None, *, as_json: Json = False) -> None:
    """Let those with a credential into a book again."""
    with SystemClient(home=home) as system:
        found = system.resume_book(_id(book))
    Output(as_json=as_json).show(_document(found), f"book {found.id.hex()}, {found.name}, is active")


@contextmanager
def _kept(path: Path | None, secret: str) -> Iterator[None]:
    """Keeps a secret in a new file, durably, before anything depends on it; not if what it is for comes to nothing."""
    if path is None:
        yield
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InvalidFile(path, f"cannot be made: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{secret}\n")
            file.flush()
            os.fsync(file.fileno())
        yield
    except ConnectionLost:
        raise  # there may be a book that it opens
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _id(text: str) -> bytes:
    try:
        book = bytes.fromhex(text)
    except ValueError:
        book = b""
    if len(book) != _ID_BYTES:
        raise InvalidId(text, "a book's id is 32 hexadecimal digits; `qenex books list` shows them")
    return book


def _document(book: Book) -> dict[str, object]:
    return {
        "book": book.id.hex(),
        "name": book.name,
        "state": book.state.name.lower(),
        "open": book.is_open,
        "home": book.is_home,
        "credentials": book.grants,
        "created": time_text(book.created_ns),
    }
