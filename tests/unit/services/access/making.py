"""What tests of access need: policies in a folder, principals, an alarm that remembers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qenex.adapters.cedar import Cedar
from qenex.adapters.policy_files import PolicyFolders
from qenex.principals import Action, Principal, Role
from qenex.services.access import Access, Account, Target, Transfer

if TYPE_CHECKING:
    from pathlib import Path

BOOK = bytes(range(16))
EUR = 978


@dataclass
class Heard:
    """An alarm that remembers."""

    complaints: list[str] = field(default_factory=list)

    def policies_failed(self, book: bytes, complaint: str) -> None:
        assert len(book) == 16
        self.complaints.append(complaint)


def access(books: Path, alarm: Heard | None = None) -> Access:
    return Access(PolicyFolders(books), Cedar(), alarm or Heard())


def write(books: Path, book: bytes = BOOK, **files: str) -> Path:
    """Policies of a book: `rules=` is rules.cedar, `rules_test=` rules.test.toml, `bands=` bands.toml."""
    folder = books / book.hex() / "policies"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        stem, _, kind = name.partition("_")
        suffix = {"test": ".test.toml"}.get(kind, ".toml" if stem == "bands" else ".cedar")
        (folder / f"{stem}{suffix}").write_text(text, encoding="utf-8")
    return folder


def person(*roles: Role, **facts: Any) -> Principal:
    given = {"book": BOOK, "id": "usr_1", "kind": "user", "credential": "ses_1", "roles": frozenset(roles)}
    return Principal(**(given | facts))


def transfer(amount_minor: int = 100, *, debit: int = 7, credit: int = 8, **facts: Any) -> Target:
    sides = Account(1, party=debit, code=1), Account(2, party=credit, code=1)
    live = facts.pop("is_live", True)
    return Target(BOOK, Transfer(*sides, facts.pop("ledger", EUR), amount_minor, **facts), live)


WRITE, READ = Action.TRANSFERS_WRITE, Action.TRANSFERS_READ
LARGE = """
@id("no-large-transfers")
@reason("transfers beyond 10,000 need an approval")
forbid (principal in Role::"operator", action == Action::"transfers:write", resource)
when { context.band >= 2 };
"""
LARGE_TEST = """
[[test]]
name = "an operator moves 10,000"
principal = { roles = ["operator"] }
action = "transfers:write"
resource = { kind = "transfer", amount = "10000" }
expect = "allow"

[[test]]
name = "and not a cent more"
principal = { roles = ["operator"] }
action = "transfers:write"
resource = { kind = "transfer", amount = "10000.01" }
expect = "deny"
policy = "no-large-transfers"
"""
