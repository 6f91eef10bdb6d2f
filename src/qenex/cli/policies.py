"""`qenex policies check`, `test`, `show`: who may do what in a book, before it comes into force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from qenex import bootstrap
from qenex.cli.output import Home, Json, Output, example, table
from qenex.errors import BookMissing, InvalidHome, InvalidId, PolicyTestsFailed
from qenex.settings import Settings

if TYPE_CHECKING:
    from qenex.services.access import Access
    from qenex.services.access.messages import Outcome

_NO_BOOK: Final = bytes(15) + b"\1"
"""Has no folder, and so the policies that are shipped."""

Book = Annotated[
    str | None,
    typer.Option(
        "--book", metavar="ID", help="Book, in 32 hexadecimal digits.", show_default="the home's, if it has one book"
    ),
]


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    policies = typer.Typer(help="Who may do what in a book.", no_args_is_help=True)
    app.add_typer(policies, name="policies")
    policies.command("check", epilog=example("qenex policies check"))(_check)
    policies.command("test", epilog=example("qenex policies test --json"))(_test)
    policies.command("show", epilog=example("qenex policies show"))(_show)


def _check(home: Home = None, book: Book = None, *, as_json: Json = False) -> None:
    """Hold the policies, bands and tests of a book to the schema, without running the tests."""
    found, _ = _access(home).check(_book(home, book))
    Output(as_json=as_json).show(
        {"digest": found.digest.hex(), "policies": len(found.policies)},
        f"{len(found.policies)} policies fit the schema; together they are {found.digest.hex()}",
    )


def _test(home: Home = None, book: Book = None, *, as_json: Json = False) -> None:
    """Run the tests of a book's policies. Exit code 1 where one comes out otherwise, or a policy has none."""
    found, outcomes = _access(home).check(_book(home, book))
    wrong = [outcome for outcome in outcomes if outcome.complaint]
    Output(as_json=as_json).show(
        {"digest": found.digest.hex(), "tests": [_outcome(outcome) for outcome in outcomes]},
        *(f"ok  {outcome.name}" for outcome in outcomes if not outcome.complaint),
        f"{len(outcomes) - len(wrong)} of {len(outcomes)} came out as expected",
    )
    if wrong:
        raise PolicyTestsFailed([f"{each.file}:{each.line}: {each.name}: {each.complaint}" for each in wrong])


def _show(home: Home = None, book: Book = None, *, as_json: Json = False) -> None:
    """List the policies of a book, where each stands, and the digest that decisions are recorded with."""
    found, _ = _access(home).check(_book(home, book))
    policies = list(found.policies.values())
    rows = [(each.id, each.effect, f"{each.file}:{each.line}", each.reason) for each in policies]
    Output(as_json=as_json).show(
        {
            "digest": found.digest.hex(),
            "policies": [
                {"id": each.id, "effect": each.effect, "file": each.file, "line": each.line, "reason": each.reason}
                for each in policies
            ],
        },
        table("Policies", ("policy", "effect", "where", "reason"), rows),
        f"digest {found.digest.hex()}",
    )


def _outcome(outcome: Outcome) -> dict[str, object]:
    return {"name": outcome.name, "file": outcome.file, "line": outcome.line, "complaint": outcome.complaint}


class _Silent:
    """Nobody listens to a command's alarm: it prints what is wrong itself."""

    def policies_failed(self, book: bytes, complaint: str) -> None:
        """Nothing."""


def _access(home: str | None) -> Access:
    return bootstrap.access(Settings.load({"home": home}), _Silent())


def _book(home: str | None, book: str | None) -> bytes:
    """The book that is meant; in a home without books one that has the shipped policies only."""
    folder = Settings.load({"home": home}).books_folder
    if book is not None:
        if len(book) != 32 or set(book) - set("0123456789abcdef"):
            raise InvalidId(book, "a book's id has 32 hexadecimal digits")
        if not (folder / book).is_dir():
            raise BookMissing(folder / book, "there is no such folder")
        return bytes.fromhex(book)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if len(names) > 1:
        raise InvalidHome(f"{folder}: here are {len(names)} books, say which one with --book: {', '.join(names)}")
    return bytes.fromhex(names[0]) if names else _NO_BOOK
