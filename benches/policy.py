"""How long does it take to decide whether something is allowed?

The policies that are shipped and as many of a book's own as make 60, spread over roles and actions, that look at
accounts, amounts and principals. Requests are drawn as doors make them: programs write, customers read what is theirs.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benches._run import Figures, Table, flags, folder
from qenex.adapters.cedar import Cedar
from qenex.adapters.policy_files import PolicyFolders
from qenex.principals import Action, Principal, Role
from qenex.services.access import Access, Account, Target, Transfer

if TYPE_CHECKING:
    from qenex.services.access.rules.policy_set import PolicySet

POLICIES: Final = 60
TARGET_P50_MS, TARGET_P99_MS = 0.12, 0.3
BOOK: Final = bytes(range(16))
CONDITIONS: Final = (
    "context.band > 3 && resource.asset == {asset}",
    'context.phase == "post" && principal.id == "svc_{at}"',
    "resource.debit.code == {at}",
    'principal.strength == "password_totp" && context.band > 2 && resource.credit.code == {at}',
)


class Silent:
    """A bench that fails says so itself."""

    def policies_failed(self, book: bytes, complaint: str) -> None:
        """Ends it."""
        raise SystemExit(f"{book.hex()}: {complaint}")


def main() -> None:
    """Runs it."""
    asked = flags(__doc__, rounds=5)
    count = int(asked.of(50_000, 500))
    table = Table(
        "A decision",
        f"{POLICIES} policies; {count:,} decisions a round by owner, operators and customers on 10,000 accounts. "
        "Evaluated: what is remembered is forgotten before each decision. As doors ask: remembered where nothing that "
        "a policy could look at differs.",
        asked,
    )
    names = ("asked p50", "asked p99", "evaluated p50", "evaluated p99", "compiled")
    found = {name: Figures() for name in names}
    with tempfile.TemporaryDirectory(dir=folder()) as books:
        _write(Path(books))
        for seed in range(asked.rounds):
            access = Access(PolicyFolders(Path(books)), Cedar(), Silent())
            before = time.perf_counter()
            access.load(BOOK)
            found["compiled"].add((time.perf_counter() - before) * 1e3)
            policies = access.policies(BOOK)
            if len(policies.policies) != POLICIES:
                raise SystemExit(f"there are {len(policies.policies)} policies")
            requests = _draw(random.Random(seed), count)  # noqa: S311  # who asks for what
            for name, forgetting in (("asked", None), ("evaluated", policies)):
                p50, p99 = _time(access, requests if forgetting is None else requests[: count // 5], forgetting)
                found[f"{name} p50"].add(p50)
                found[f"{name} p99"].add(p99)
    table.at_most("evaluated: p50", found["evaluated p50"], "ms", TARGET_P50_MS)
    table.at_most("evaluated: p99", found["evaluated p99"], "ms", TARGET_P99_MS)
    table.at_most("as doors ask: p50", found["asked p50"], "ms", TARGET_P50_MS)
    table.at_most("as doors ask: p99", found["asked p99"], "ms", TARGET_P99_MS)
    table.add("read, compiled and tested", found["compiled"], "ms")
    table.limit("one core: Cedar's evaluation of the policies that can apply, and JSON on the way to it.")
    table.show()


def _write(books: Path) -> None:
    """Policies of a book, each with the test that shows it deciding."""
    shipped = len(Access(PolicyFolders(books), Cedar(), Silent()).policies(BOOK).policies)
    path = books / BOOK.hex() / "policies"
    path.mkdir(parents=True)
    rules, tests = [], []
    roles = ("operator", "owner", "customer")
    for at in range(POLICIES - shipped):
        role, asset = roles[at % len(roles)], ("EUR", "USD", "JPY")[at % 3]
        condition = CONDITIONS[at % len(CONDITIONS)].format(at=at, asset=f'"{asset}"')
        if at % 5 == 4:  # the reading customers have some of their own
            role, condition = "customer", f"resource.debit.code == {at} && resource.credit.code == {at}"
        action = "transfers:read" if at % 5 == 4 else "transfers:write"
        rules.append(
            f'@id("own-{at}")\n'
            f'forbid (principal in Role::"{role}", action == Action::"{action}", resource is Transfer)\n'
            f"when {{ {condition} }};\n"
        )
        tests.append(
            f'[[test]]\nname = "{at}"\naction = "{action}"\nexpect = "deny"\npolicy = "own-{at}"\n'
            f'principal = {{ id = "svc_{at}", roles = ["{role}"], party = "7", strength = "password_totp" }}\n'
            f'resource = {{ kind = "transfer", debit = {{ party = "7", code = {at} }}, credit = {{ code = {at} }}, '
            f'asset = "{asset}", amount = "9999999999", phase = "post" }}\n'
        )
    (path / "own.cedar").write_text("\n".join(rules), encoding="utf-8")
    (path / "own.test.toml").write_text("\n".join(tests), encoding="utf-8")


def _draw(draw: random.Random, count: int) -> list[tuple[Principal, Action, Target]]:
    """Requests, half of them writes."""
    operators = [Principal(BOOK, f"svc_{at}", "service", frozenset({Role.OPERATOR}), "key_1") for at in range(20)]
    customers = [
        Principal(BOOK, f"cus_{at}", "customer", frozenset({Role.CUSTOMER}), "ses_1", party=at)
        for at in range(1, 1_001)
    ]
    owner = Principal(BOOK, "owner", "owner", frozenset({Role.OWNER}), "owner")
    requests = []
    for _ in range(count):
        debit, credit = (Account(at, party=at % 1_000 + 1, code=2_000) for at in draw.sample(range(1, 10_001), 2))
        what = Transfer(debit, credit, draw.choice((978, 840, 392)), int(10 ** draw.uniform(1, 8)))
        kind = draw.random()
        if kind < 0.5:
            who, action = (owner if kind < 0.1 else draw.choice(operators)), Action.TRANSFERS_WRITE
        else:
            who, action = customers[(debit.party or 1) - 1], Action.TRANSFERS_READ
        requests.append((who, action, Target(BOOK, what)))
    return requests


def _time(
    access: Access, requests: list[tuple[Principal, Action, Target]], forgetting: PolicySet | None
) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    took = []
    for principal, action, target in requests:
        if forgetting is not None:
            forgetting.forget()
        before = time.perf_counter_ns()
        access.decide(principal, action, target)
        took.append(time.perf_counter_ns() - before)
    times = np.array(took) / 1e6
    return float(np.percentile(times, 50)), float(np.percentile(times, 99))


if __name__ == "__main__":
    main()
