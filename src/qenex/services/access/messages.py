"""What is asked of the policies, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qenex.principals import Action


class Phase(StrEnum):
    """What a transfer does to the money."""

    SINGLE = "single"
    """Moves it at once."""
    HOLD = "hold"
    """Holds it back until it is posted or voided."""
    POST = "post"
    """Moves what was held."""
    VOID = "void"
    """Releases what was held."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account, as far as the door knows it.

    `party` and `code` may be left unknown where `Access.looks_at_accounts` says that no policy asks for them; where
    one does, what is unknown is a denial.
    """

    id: int
    party: int | None = None
    """`user_data_128`, whose it is; 0 is nobody's."""
    code: int | None = None
    ledger: int = 0


@dataclass(frozen=True, slots=True)
class Party:
    """Everything of one party: lists that are limited to its accounts, their transfers and their events."""

    number: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """One transfer. To post or to void is asked with the accounts and, where it posts all, the amount of the hold."""

    debit: Account
    credit: Account
    ledger: int
    amount_minor: int
    phase: Phase = Phase.SINGLE
    day_minor: int | None = None
    """What the principal has moved today in this asset, this transfer included; `None` where nobody has counted."""


@dataclass(frozen=True, slots=True)
class Key:
    """A credential of a program, there or to be made."""

    holder: str
    """The id of the principal whose it is."""
    is_live: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """What an action is done to."""

    book: bytes
    what: Account | Party | Transfer | Key | None = None
    """`None` is the book as a whole: lists of everything, users, webhooks, reports; the installation in the system
    book."""
    is_live: bool = True
    """False in a book for tests, whose money is nobody's."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policies say to one request."""

    allowed: bool
    policies: tuple[str, ...]
    """The ids of those that decided: permits of what is allowed, forbids of what is forbidden, none where nothing
    allows."""
    digest: bytes
    """32 bytes over the policy set, every fact that its policies could look at, and the outcome: the journal carries
    it, and whoever has the files and the entry can compute it again."""
    reason: str
    """For a person; it names nothing that whoever asked has not said."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How much of one asset may be moved, in minor units; `None` is without a ceiling."""

    transfer_minor: int | None
    day_minor: int | None


@dataclass(frozen=True, slots=True)
class Capability:
    """What a session of the binary door may do, decided once, when it is opened.

    It never allows more than the policies do, and less where a policy looks at whose an account is or what kind it is,
    which the engine does not ask: those actions are `withheld`.
    """

    book: bytes
    actions: frozenset[Action]
    operations: frozenset[str]
    """Names of spec/protocol.md section 4."""
    ceilings: Mapping[int, Ceiling]
    """By ledger: what transfers may move. A ledger that is not here is refused, unless `other` says how."""
    other: Ceiling | None
    """For every ledger that is not in `ceilings`."""
    withheld: Mapping[Action, str]
    """What the role or the scope has and this door has not, with the reason."""
    digest: bytes
    """32 bytes over the policy set and what was compiled, for the journal."""


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A file as it was read."""

    name: str
    """Where it is, for people."""
    text: str


@dataclass(frozen=True, slots=True)
class PolicySource:
    """All that a book's policies are made of: what is shipped, and what the book adds."""

    schema: PolicyFile
    policies: tuple[PolicyFile, ...]
    tests: tuple[PolicyFile, ...]
    """The book's own where it adds anything: what it forbids, the tests that are shipped may expect to be allowed."""
    bands: PolicyFile
    tested: frozenset[str]
    """Names of the files whose every policy a test has to show deciding."""


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """One policy, for people."""

    id: str
    effect: str
    reason: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something wrong in a file, and where."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test of a policy set, and how it came out."""

    name: str
    file: str
    line: int
    complaint: str
    """Empty where it came out as expected."""
