"""Principals and API keys, in both databases: who is known, who may give what, and what a change does everywhere."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from qenex import bootstrap
from qenex.adapters.database import open_records
from qenex.adapters.database.identities import IdentityRecords
from qenex.adapters.database.tables import API_KEYS
from qenex.errors import (
    ApiKeyEnded,
    ApiKeyNotFound,
    Forbidden,
    GrantTooWide,
    InvalidField,
    LastOwner,
    PrincipalNotFound,
    PrincipalSuspended,
    RecordsUnavailable,
    Unauthenticated,
)
from qenex.principals import Action, Principal, Role
from qenex.services.identity import rules
from qenex.services.identity.messages import (
    ChangeRoles,
    CreatePrincipal,
    IssueApiKey,
    ReactivatePrincipal,
    RevokeApiKey,
    RotateApiKey,
    SuspendPrincipal,
)
from qenex.services.identity.service import Identities
from qenex.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from qenex.adapters.database import Records
    from qenex.services.identity.messages import ApiKey, Identity, IssuedApiKey
    from qenex.services.identity.ports import Found

BOOK, OTHER_BOOK = b"\x01" * 16, b"\x02" * 16
OWNER = Principal(book=BOOK, id="owner", kind="owner", roles=frozenset({Role.OWNER}), credential="owner")
START_NS = 2**60
DAY_NS = 86_400 * 10**9
POWERS = {
    Role.OWNER: frozenset(Action),
    Role.OPERATOR: frozenset(Action) - {Action.BOOKS_WRITE},
    Role.DEVELOPER: frozenset({Action.KEYS_WRITE, Action.ACCOUNTS_READ, Action.TRANSFERS_READ}),
}


class Powers:
    def powers(self, book: bytes, roles: frozenset[Role]) -> frozenset[Action]:
        assert book == BOOK
        return frozenset().union(*(POWERS.get(role, frozenset()) for role in roles))


class CountingStore(IdentityRecords):
    """Counts the keys that are looked up."""

    looked_up = 0

    async def find_api_key(self, digest: bytes) -> Found | None:
        self.looked_up += 1
        return await super().find_api_key(digest)


@dataclass
class Node:
    """One process of the installation."""

    records: Records
    store: CountingStore
    identities: Identities
    now: list[int]

    async def key(self, identity: Identity, *, actor: Principal = OWNER, **fields: object) -> IssuedApiKey:
        usual = {"name": "a key", "scopes": frozenset({Action.ACCOUNTS_READ})}
        return await self.identities.issue_api_key(actor, IssueApiKey(identity.id, **usual | fields))

    async def service(self, *roles: Role) -> Identity:
        return await self.identities.create(OWNER, CreatePrincipal("service", "a program", frozenset(roles)))

    async def user(self, *roles: Role) -> Identity:
        return await self.identities.create(OWNER, CreatePrincipal("user", "Ada", frozenset(roles)))

    async def knows(self, secret: str, address: str | None = None) -> bool:
        try:
            await self.identities.authenticate(secret, address)
        except Unauthenticated:
            return False
        return True


async def new_node(settings: Settings, now: list[int], **options: int) -> Node:
    records = await open_records(settings)
    store = CountingStore(records)
    digest = partial(records.vault.digest, purpose="api key")
    identities = Identities(store, records.feed, Powers(), digest, clock=lambda: now[0], **options)
    await records.feed.poll()
    return Node(records, store, identities, now)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine: what was told stays current until a test says otherwise."""
    monkeypatch.setattr("qenex.adapters.database.changes.CURRENT_S", 3_600.0)


@pytest.fixture
def settings(tmp_path: Path, records_url: str) -> Settings:
    return bootstrap.initialise(Settings.load({"home": tmp_path / "home", "records_url": records_url})).settings


@pytest.fixture
async def node(settings: Settings) -> AsyncIterator[Node]:
    node = await new_node(settings, [START_NS])
    yield node
    await node.records.close()


@pytest.fixture
async def other(settings: Settings, node: Node) -> AsyncIterator[Node]:
    """Another process with the same records."""
    other = await new_node(settings, node.now)
    yield other
    await other.records.close()


def acting(identity: Identity, **fields: object) -> Principal:
    usual = {"book": identity.book, "kind": identity.kind, "roles": identity.roles, "credential": "ses_1"}
    return Principal(id=identity.id, **usual | fields)


async def test_a_key_is_its_principal_with_its_scopes(node: Node) -> None:
    customer = await node.identities.create(
        OWNER, CreatePrincipal("customer", "Łódź AG", frozenset({Role.CUSTOMER}), party=2**128 - 1)
    )
    issued = await node.key(customer, is_live=False, addresses=("10.0.0.0/8", "2001:db8::1"))
    principal = await node.identities.authenticate(issued.secret, "10.1.2.3")
    assert principal == Principal(
        book=BOOK,
        id=customer.id,
        kind="customer",
        roles=frozenset({Role.CUSTOMER}),
        credential=issued.api_key.id,
        party=2**128 - 1,
        scopes=frozenset({Action.ACCOUNTS_READ}),
        is_live=False,
    )
    assert issued.secret.startswith("qnx_test_")
    assert await node.identities.get(OWNER, customer.id) == customer
    assert await node.identities.get_api_key(OWNER, issued.api_key.id) == issued.api_key
    assert issued.api_key.addresses == ("10.0.0.0/8", "2001:db8::1/128")


async def test_the_secret_is_kept_nowhere(node: Node) -> None:
    issued = await node.key(await node.service())
    async with node.records.of(BOOK).reading() as work:
        row = dict(await work.first(work.select(API_KEYS)) or {})
    assert issued.secret not in repr(row)
    assert issued.secret not in repr(issued)
    assert issued.secret[13:] not in repr(row), "but for its hint"


async def test_a_key_that_is_used_again_is_not_looked_up_again(node: Node) -> None:
    issued = await node.key(await node.service())
    for _ in range(5):
        assert await node.knows(issued.secret)
    assert node.store.looked_up == 1


async def test_what_cannot_be_a_key_is_not_looked_up_and_what_is_unknown_once_each_time(node: Node) -> None:
    issued = await node.key(await node.service())
    for secret in ("", "é", issued.secret[:-1], issued.secret[:-1] + "~", "qnx_owner_" + "0" * 64):
        assert not await node.knows(secret)
    assert node.store.looked_up == 0
    for count in (1, 2):
        assert not await node.knows(rules.key_text(bytes(32), is_live=True))
        assert node.store.looked_up == count


async def test_no_more_keys_are_remembered_than_were_said(settings: Settings) -> None:
    node = await new_node(settings, [START_NS], remembered_max=2)
    service = await node.service()
    first, second, third = [(await node.key(service)).secret for _ in range(3)]
    for secret in (first, second, first, third, first):
        assert await node.knows(secret)
    assert node.store.looked_up == 3, "the one used longest ago made room"
    assert await node.knows(second)
    assert node.store.looked_up == 4
    await node.records.close()


@pytest.mark.parametrize("how", ["revoke", "suspend", "rotate"])
async def test_what_ends_a_key_ends_it_in_every_process(node: Node, other: Node, how: str) -> None:
    service = await node.service()
    issued, untouched = await node.key(service), await node.key(await node.service())
    for each in (node, other):
        assert await each.knows(issued.secret)
        assert await each.knows(untouched.secret)
    if how == "revoke":
        await node.identities.revoke_api_key(OWNER, RevokeApiKey(issued.api_key.id))
    elif how == "suspend":
        await node.identities.suspend(OWNER, SuspendPrincipal(service.id))
    else:
        await node.identities.rotate_api_key(OWNER, RotateApiKey(issued.api_key.id, overlap_s=0))
    await node.records.feed.poll()
    await other.records.feed.poll()
    for each in (node, other):
        assert not await each.knows(issued.secret)
        looked_up = each.store.looked_up
        assert await each.knows(untouched.secret)
        assert each.store.looked_up == looked_up, "others are still remembered"


async def test_what_this_process_ends_is_ended_when_it_answers(node: Node) -> None:
    service = await node.service()
    issued, second = await node.key(service), await node.key(service)
    assert await node.knows(issued.secret)
    assert await node.knows(second.secret)
    await node.identities.revoke_api_key(OWNER, RevokeApiKey(issued.api_key.id))
    assert not await node.knows(issued.secret)
    await node.identities.suspend(OWNER, SuspendPrincipal(service.id))
    assert not await node.knows(second.secret)
    await node.identities.reactivate(OWNER, ReactivatePrincipal(service.id))
    assert await node.knows(second.secret)


async def test_roles_that_change_are_those_of_the_key_from_then_on(node: Node, other: Node) -> None:
    service = await node.service()
    issued = await node.key(service)
    assert (await other.identities.authenticate(issued.secret, None)).roles == frozenset()
    roles = frozenset({Role.AUDITOR, Role.DEVELOPER})
    changed = await node.identities.change_roles(OWNER, ChangeRoles(service.id, roles))
    assert changed == replace(service, roles=roles)
    await other.records.feed.poll()
    assert (await other.identities.authenticate(issued.secret, None)).roles == roles


async def test_nothing_that_is_remembered_is_believed_while_changes_cannot_be_heard(node: Node) -> None:
    issued = await node.key(await node.service())
    assert await node.knows(issued.secret)
    await node.records.feed.stop()
    assert not node.records.feed.is_current
    for count in (2, 3):
        assert await node.knows(issued.secret)
        assert node.store.looked_up == count


async def test_what_changes_while_it_is_looked_up_is_not_remembered(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await node.service()
    issued = await node.key(service)
    find = node.store.find_api_key

    async def slow(digest: bytes) -> Found | None:
        found = await find(digest)
        await node.identities.suspend(OWNER, SuspendPrincipal(service.id))
        await node.records.feed.poll()
        return found

    with monkeypatch.context() as slowly:
        slowly.setattr(node.store, "find_api_key", slow)
        assert await node.knows(issued.secret), "it was valid when it was asked for"
    assert not await node.knows(issued.secret)


async def test_a_key_expires_also_where_it_is_remembered(node: Node) -> None:
    service = await node.service()
    usual, short = await node.key(service), await node.key(service, expires_ns=START_NS + 1)
    assert usual.api_key.expires_ns == START_NS + 90 * DAY_NS
    assert await node.knows(usual.secret)
    assert await node.knows(short.secret)
    node.now[0] = START_NS + 1
    assert not await node.knows(short.secret)
    node.now[0] = START_NS + 90 * DAY_NS
    assert not await node.knows(usual.secret)
    for expires_ns in (START_NS, node.now[0], node.now[0] + 365 * DAY_NS + 1):
        with pytest.raises(InvalidField, match=r"/expires_at: a time in the next 365 days"):
            await node.key(service, expires_ns=expires_ns)


@pytest.mark.parametrize(
    ("address", "is_known"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("192.0.3.7", False),
        ("2001:db8:1::5", True),
        ("2001:db9::1", False),
        ("", False),
        (None, False),
        ("unix", False),
    ],
)
async def test_a_key_is_used_from_its_addresses_only(node: Node, address: str | None, is_known: bool) -> None:  # noqa: FBT001
    issued = await node.key(await node.service(), addresses=("192.0.2.0/24", "2001:db8::/32"))
    for _ in range(2):  # looked up, and remembered
        assert await node.knows(issued.secret, address) == is_known


@pytest.mark.parametrize("address", ["", "here", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.1 "])
async def test_an_address_that_is_none_is_refused(node: Node, address: str) -> None:
    service = await node.service()
    with pytest.raises(InvalidField, match="/addresses"):
        await node.key(service, addresses=(address,))
    with pytest.raises(InvalidField, match="/addresses"):
        await node.key(service, addresses=("10.0.0.1",) * 51)


async def test_a_rotated_key_and_the_new_one_are_valid_for_the_overlap(node: Node) -> None:
    old = await node.key(await node.service(), addresses=("10.0.0.0/8",), expires_ns=START_NS + 10 * DAY_NS)
    node.now[0] += 4 * DAY_NS
    new = await node.identities.rotate_api_key(OWNER, RotateApiKey(old.api_key.id, overlap_s=86_400))
    assert (new.api_key.scopes, new.api_key.addresses) == (old.api_key.scopes, old.api_key.addresses)
    assert new.api_key.expires_ns == node.now[0] + 10 * DAY_NS, "as long as the old one was made for"
    node.now[0] += DAY_NS - 1
    assert await node.knows(old.secret, "10.1.1.1")
    assert await node.knows(new.secret, "10.1.1.1")
    node.now[0] += 1
    assert not await node.knows(old.secret, "10.1.1.1")
    assert await node.knows(new.secret, "10.1.1.1")
    with pytest.raises(ApiKeyEnded):
        await node.identities.rotate_api_key(OWNER, RotateApiKey(old.api_key.id))
    for overlap_s in (-1, 7 * 86_400 + 1):
        with pytest.raises(InvalidField, match=r"/overlap_s: 0 to 604800 seconds"):
            await node.identities.rotate_api_key(OWNER, RotateApiKey(new.api_key.id, overlap_s))


async def test_an_overlap_does_not_lengthen_a_life(node: Node) -> None:
    old = await node.key(await node.service(), expires_ns=START_NS + 5)
    await node.identities.rotate_api_key(OWNER, RotateApiKey(old.api_key.id))
    assert (await node.identities.get_api_key(OWNER, old.api_key.id)).expires_ns == START_NS + 5


async def test_when_a_key_was_used_last_is_written_now_and_then_and_forward_only(node: Node, other: Node) -> None:
    issued = await node.key(await node.service())
    await node.knows(issued.secret)
    assert (await node.identities.get_api_key(OWNER, issued.api_key.id)).used_ns is None
    node.now[0] += 5
    await other.knows(issued.secret)
    await other.identities.write_used()
    await node.identities.close()
    key = await node.identities.get_api_key(OWNER, issued.api_key.id)
    assert key.used_ns == START_NS + 5


async def test_a_use_that_could_not_be_written_is_written_later(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = await node.key(await node.service())
    await node.knows(issued.secret)

    async def refuse(_: object) -> None:
        raise RecordsUnavailable

    with monkeypatch.context() as down:
        down.setattr(node.store, "write_used", refuse)
        with pytest.raises(RecordsUnavailable):
            await node.identities.write_used()
    await node.identities.write_used()
    assert (await node.identities.get_api_key(OWNER, issued.api_key.id)).used_ns == START_NS


async def test_the_last_owner_stays(node: Node) -> None:
    one, two = await node.user(Role.OWNER), await node.user(Role.OWNER, Role.AUDITOR)
    await node.identities.suspend(OWNER, SuspendPrincipal(two.id))
    for attempt in (
        node.identities.suspend(OWNER, SuspendPrincipal(one.id)),
        node.identities.change_roles(OWNER, ChangeRoles(one.id, frozenset({Role.AUDITOR}))),
        node.identities.suspend(acting(one), SuspendPrincipal(one.id)),
    ):
        with pytest.raises(LastOwner):
            await attempt
    assert await node.identities.get(OWNER, one.id) == one
    await node.identities.reactivate(OWNER, ReactivatePrincipal(two.id))
    await node.identities.suspend(OWNER, SuspendPrincipal(one.id))
    with pytest.raises(LastOwner):
        await node.identities.change_roles(OWNER, ChangeRoles(two.id, frozenset()))


async def test_of_two_owners_who_suspend_each_other_at_once_one_stays(node: Node, other: Node) -> None:
    one, two = await node.user(Role.OWNER), await node.user(Role.OWNER)
    outcomes = await asyncio.gather(
        node.identities.suspend(acting(one), SuspendPrincipal(two.id)),
        other.identities.suspend(acting(two), SuspendPrincipal(one.id)),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Identity", "LastOwner"]


async def test_nobody_gives_a_role_that_he_has_not(node: Node) -> None:
    operator = acting(await node.user(Role.OPERATOR))
    for roles in ({Role.OWNER}, {Role.AUDITOR}, {Role.OPERATOR, Role.APPROVER}):
        with pytest.raises(GrantTooWide, match="role "):
            await node.identities.create(operator, CreatePrincipal("user", "Bob", frozenset(roles)))
    colleague = await node.identities.create(operator, CreatePrincipal("user", "Bob", frozenset({Role.OPERATOR})))
    with pytest.raises(GrantTooWide, match="role owner"):
        await node.identities.change_roles(operator, ChangeRoles(colleague.id, frozenset({Role.OWNER})))
    with pytest.raises(GrantTooWide, match="role owner"):
        await node.identities.change_roles(operator, ChangeRoles(operator.id, frozenset({Role.OWNER})))
    customer = CreatePrincipal("customer", "Carol", frozenset({Role.CUSTOMER}), party=7)
    carol = await node.identities.create(operator, customer)
    with pytest.raises(GrantTooWide, match="role customer"):
        await node.identities.create(acting(carol, party=7, roles=frozenset()), customer)


async def test_nobody_rules_over_somebody_who_is_more(node: Node) -> None:
    owner, operator = await node.user(Role.OWNER), acting(await node.user(Role.OPERATOR))
    await node.user(Role.OWNER)
    auditor = await node.service(Role.AUDITOR)
    key = await node.key(auditor)
    for attempt in (
        node.identities.suspend(operator, SuspendPrincipal(owner.id)),
        node.identities.reactivate(operator, ReactivatePrincipal(owner.id)),
        node.identities.change_roles(operator, ChangeRoles(owner.id, frozenset())),
        node.identities.suspend(operator, SuspendPrincipal(auditor.id)),
        node.identities.revoke_api_key(operator, RevokeApiKey(key.api_key.id)),
        node.identities.rotate_api_key(operator, RotateApiKey(key.api_key.id)),
        node.key(auditor, actor=operator),
    ):
        with pytest.raises(GrantTooWide):
            await attempt


async def test_no_key_can_do_more_than_whoever_asked_for_it(node: Node) -> None:
    developer = await node.user(Role.DEVELOPER)
    actor = acting(developer)
    wide = frozenset({Action.ACCOUNTS_READ, Action.TRANSFERS_READ})
    with pytest.raises(GrantTooWide, match="scope transfers:write"):
        await node.key(developer, actor=actor, scopes=frozenset({Action.TRANSFERS_WRITE}))
    made = await node.key(developer, actor=actor, scopes=wide)
    by_key = replace(actor, scopes=frozenset({Action.KEYS_WRITE, Action.ACCOUNTS_READ}))
    with pytest.raises(GrantTooWide, match="scope transfers:read"):
        await node.key(developer, actor=by_key, scopes=wide)
    with pytest.raises(GrantTooWide, match="scope transfers:read"):
        await node.identities.rotate_api_key(by_key, RotateApiKey(made.api_key.id))
    with pytest.raises(GrantTooWide, match="live key"):
        await node.key(developer, actor=replace(actor, is_live=False))
    with pytest.raises(InvalidField, match=r"/scopes: at least one"):
        await node.key(developer, actor=actor, scopes=frozenset())


async def test_a_key_in_a_persons_name_is_made_by_that_person(node: Node) -> None:
    developer = await node.user(Role.DEVELOPER)
    with pytest.raises(Forbidden, match="in the user's name"):
        await node.key(developer)
    made = await node.key(developer, actor=acting(developer))
    with pytest.raises(Forbidden):
        await node.identities.rotate_api_key(OWNER, RotateApiKey(made.api_key.id))
    await node.identities.revoke_api_key(OWNER, RevokeApiKey(made.api_key.id))


async def test_who_is_suspended_gets_no_key(node: Node) -> None:
    service = await node.service()
    key = await node.key(service)
    await node.identities.suspend(OWNER, SuspendPrincipal(service.id))
    with pytest.raises(PrincipalSuspended):
        await node.key(service)
    with pytest.raises(PrincipalSuspended):
        await node.identities.rotate_api_key(OWNER, RotateApiKey(key.api_key.id))


@pytest.mark.parametrize(
    ("command", "pointer"),
    [
        (CreatePrincipal("user", "", frozenset()), "/name"),
        (CreatePrincipal("user", " Ada", frozenset()), "/name"),
        (CreatePrincipal("user", "A\0da", frozenset()), "/name"),
        (CreatePrincipal("user", "A" * 101, frozenset()), "/name"),
        (CreatePrincipal("user", "Ada", frozenset(), party=3), "/party"),
        (CreatePrincipal("customer", "Ada", frozenset({Role.CUSTOMER})), "/party"),
        (CreatePrincipal("customer", "Ada", frozenset({Role.CUSTOMER}), party=0), "/party"),
        (CreatePrincipal("customer", "Ada", frozenset({Role.CUSTOMER}), party=2**128), "/party"),
        (CreatePrincipal("customer", "Ada", frozenset(), party=1), "/roles"),
        (CreatePrincipal("customer", "Ada", frozenset({Role.CUSTOMER, Role.OWNER}), party=1), "/roles"),
        (CreatePrincipal("user", "Ada", frozenset({Role.CUSTOMER})), "/roles"),
        (CreatePrincipal("service", "Ada", frozenset({Role.OWNER})), "/roles"),
    ],
)
async def test_who_cannot_be_is_refused_with_the_field(node: Node, command: CreatePrincipal, pointer: str) -> None:
    with pytest.raises(InvalidField) as caught:
        await node.identities.create(OWNER, command)
    assert caught.value.pointer == pointer
    assert await node.identities.list(OWNER) == []


async def test_another_books_principals_and_keys_are_not_there(node: Node) -> None:
    stranger = replace(OWNER, book=OTHER_BOOK)
    service = await node.service()
    key = await node.key(service)
    for attempt in (
        node.identities.get(stranger, service.id),
        node.identities.suspend(stranger, SuspendPrincipal(service.id)),
        node.identities.reactivate(stranger, ReactivatePrincipal(service.id)),
        node.identities.change_roles(stranger, ChangeRoles(service.id, frozenset())),
        node.key(service, actor=stranger),
    ):
        with pytest.raises(PrincipalNotFound):
            await attempt
    for of_key in (
        node.identities.get_api_key(stranger, key.api_key.id),
        node.identities.revoke_api_key(stranger, RevokeApiKey(key.api_key.id)),
        node.identities.rotate_api_key(stranger, RotateApiKey(key.api_key.id)),
    ):
        with pytest.raises(ApiKeyNotFound):
            await of_key
    assert await node.identities.list(stranger) == []
    assert await node.identities.list_api_keys(stranger) == []
    assert await node.knows(key.secret)


async def test_lists_go_on_where_they_stopped(node: Node) -> None:
    made: list[Identity] = []
    for _ in range(5):
        node.now[0] += 1_000_000
        made.append(await node.service())
    node.now[0] += 1_000_000
    user = await node.user(Role.OWNER)
    keys: list[ApiKey] = []
    for _ in range(3):
        node.now[0] += 1_000_000
        keys.append((await node.key(made[0])).api_key)
    await node.key(made[1])
    first = await node.identities.list(OWNER, limit=2)
    rest = await node.identities.list(OWNER, after=first[-1].id)
    assert [*first, *rest] == [*made, user], "in order of their making, a kind after the other"
    assert await node.identities.list(OWNER, kind="user") == [user]
    assert await node.identities.list_api_keys(OWNER, principal=made[0].id) == keys
    assert await node.identities.list_api_keys(OWNER, principal=made[0].id, after=keys[1].id) == keys[2:]


async def test_a_revoked_key_stays_revoked_with_its_first_time(node: Node) -> None:
    key = await node.key(await node.service())
    first = await node.identities.revoke_api_key(OWNER, RevokeApiKey(key.api_key.id))
    node.now[0] += 1
    assert await node.identities.revoke_api_key(OWNER, RevokeApiKey(key.api_key.id)) == first
    with pytest.raises(ApiKeyEnded):
        await node.identities.rotate_api_key(OWNER, RotateApiKey(key.api_key.id))
    with pytest.raises(Unauthenticated, match="is revoked"):
        await node.identities.authenticate(key.secret, None)


async def test_the_real_wiring_knows_a_key(settings: Settings) -> None:
    records = await open_records(settings)
    identities = bootstrap.identities(records, Powers())
    await records.feed.start()
    service = await identities.create(OWNER, CreatePrincipal("service", "a program", frozenset()))
    issued = await identities.issue_api_key(OWNER, IssueApiKey(service.id, "a key", frozenset({Action.ACCOUNTS_READ})))
    assert issued.api_key.expires_ns > time.time_ns()
    assert (await identities.authenticate(issued.secret, None)).id == service.id
    await identities.close()
    await records.close()
