"""The table of a limit stays within its bounds, and whoever is blocked stays blocked, whatever comes."""

from __future__ import annotations

from qenex.limits import Limit, LocalLimits, Policy
from qenex.limits.table import CROWD, Table

SECOND = 1_000_000_000


def limits(entries_max: int, *, rate: int = 1, burst: int = 2) -> LocalLimits:
    names = ("credential", "principal", "book", "address", "failures")
    return LocalLimits(Policy(*(Limit(name, rate, burst) for name in names)), entries_max)


def block(on: LocalLimits, address: bytes, now: int) -> None:
    while on.decide(on.asked(None, address), now, 1).allowed:
        pass


def test_a_blocked_caller_stays_blocked_while_a_million_strangers_come() -> None:
    on = limits(1_000)
    block(on, b"blocked", 0)
    for number in range(1_000_000):
        on.decide(on.asked(None, number.to_bytes(8, "big")), 0, 1)
    assert len(on.addresses) <= 1_001
    assert not on.decide(on.asked(None, b"blocked"), SECOND - 1, 1).allowed
    assert on.decide(on.asked(None, b"blocked"), SECOND, 1).allowed


def test_whoever_has_used_nothing_makes_room_first() -> None:
    on = limits(3)
    on.decide(on.asked(None, b"long ago"), 0, 1)
    on.decide(on.asked(None, b"now"), 5 * SECOND, 1)
    on.decide(on.asked(None, b"now too"), 5 * SECOND, 1)
    on.decide(on.asked(None, b"new"), 5 * SECOND, 1)
    assert set(on.addresses.times) == {b"now", b"now too", b"new"}


def test_then_whoever_has_used_least() -> None:
    on = limits(3, burst=10)
    for address, cost in ((b"much", 5), (b"little", 1), (b"some", 3)):
        on.decide(on.asked(None, address), 0, cost)
    on.decide(on.asked(None, b"new"), 0, 1)
    assert set(on.addresses.times) == {b"much", b"some", b"new"}


def test_where_all_are_blocked_the_others_share_one_entry() -> None:
    on = limits(4)
    for number in range(4):
        block(on, bytes([number]), 0)
    passed = sum(on.decide(on.asked(None, b"new %d" % number), 0, 1).allowed for number in range(100))
    assert passed == 2, "all strangers together have what one caller has"
    assert on.addresses.crowded == 100
    assert set(on.addresses.times) == {b"\0", b"\1", b"\2", b"\3", CROWD}
    assert not any(on.decide(on.asked(None, bytes([number])), 0, 1).allowed for number in range(4))
    # As soon as one of them is blocked no more, it makes room again.
    assert on.decide(on.asked(None, b"later"), SECOND, 1).allowed
    assert b"later" in on.addresses.times


def test_a_flood_of_addresses_leaves_credentials_alone() -> None:
    on = limits(2)
    table = on.credentials
    table.times[b"somebody"] = 2 * SECOND
    for number in range(100):
        on.decide(on.asked(None, bytes([number])), 0, 1)
    assert table.times == {b"somebody": 2 * SECOND}


def test_learning_keeps_the_bound() -> None:
    on = limits(4)
    for number in range(100):
        on.learn(on.asked(None, bytes([number])), [SECOND], 0)
    assert len(on.addresses) <= 5


def test_room_is_made_in_bounded_time() -> None:
    table = Table(Limit("address", 1, 1), 100_000)
    for number in range(100_000):
        table.times[number] = SECOND
    order = list(table.times)
    assert table.room("new", 0) is CROWD
    # Sixteen were looked at and put back behind the others.
    assert list(table.times) == order[16:] + order[:16]
