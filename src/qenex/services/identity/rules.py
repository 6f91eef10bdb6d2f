"""What is right about principals and API keys. No clock, no randomness, no I/O."""

from __future__ import annotations

import ipaddress
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from qenex.errors import ApiKeyEnded, Forbidden, GrantTooWide, InvalidField, Unauthenticated
from qenex.principals import Action, Role
from qenex.services.identity.messages import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qenex.principals import Principal
    from qenex.services.identity.messages import ApiKey, CreatePrincipal, Identity, IssueApiKey, Kind

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SECOND_NS: Final = 1_000_000_000
DAY_NS: Final = 86_400 * SECOND_NS
LIFETIME_NS: Final = 90 * DAY_NS
"""How long a key is valid where nothing else is asked for."""
LIFETIME_MAX_NS: Final = 365 * DAY_NS
OVERLAP_MAX_S: Final = 7 * 86_400
ADDRESSES_MAX: Final = 50
NAME_MAX: Final = 100
"""Characters of a name."""

PREFIXES: Final = {True: "qnx_live_", False: "qnx_test_"}
"""Begin every key, so that a scanner for leaked secrets, and a person, know it when they see it."""
SECRET_DIGITS: Final = 43
"""Digits of 256 bits to the base 62."""
CHECKSUM_DIGITS: Final = 6
_HINT: Final = 13
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KNOWN_DIGITS: Final = frozenset(_DIGITS)
_ID_PREFIXES: Final[dict[Kind, str]] = {"user": "usr", "service": "svc", "customer": "cus"}
_ID_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"


def id_of(prefix: str, milliseconds: int, random: bytes) -> str:
    """An id that sorts by its time: 48 bits of milliseconds, 80 random bits, to the base 32."""
    number = milliseconds << 80 | int.from_bytes(random[:10], "big")
    return f"{prefix}_{_in_digits(number, 26, _ID_DIGITS)}"


def principal_id(kind: Kind, milliseconds: int, random: bytes) -> str:
    """An id of a new principal."""
    return id_of(_ID_PREFIXES[kind], milliseconds, random)


def key_text(random: bytes, *, is_live: bool) -> str:
    """The key of 32 random bytes: prefix, 43 digits, and a checksum of both in 6."""
    body = PREFIXES[is_live] + _in_digits(int.from_bytes(random, "big"), SECRET_DIGITS, _DIGITS)
    return body + _checksum(body)


def key_hint(text: str) -> str:
    """What of a key may be shown for ever: the prefix and 4 of 43 digits, which leaves 232 bits unknown."""
    return text[:_HINT]


def is_key(text: str) -> bool:
    """Whether a text can be a key: prefix, length, digits and checksum; says nothing about whether there is such a key.

    What is mistyped, cut off or invented is refused by it, without a look at the records.
    """
    if (
        not text.startswith(tuple(PREFIXES.values()))
        or len(text) != len(PREFIXES[True]) + SECRET_DIGITS + CHECKSUM_DIGITS
    ):
        return False
    return _KNOWN_DIGITS.issuperset(text[len(PREFIXES[True]) :]) and text[-CHECKSUM_DIGITS:] == _checksum(
        text[:-CHECKSUM_DIGITS]
    )


def check_new(command: CreatePrincipal) -> None:
    """Refuses a principal that cannot be.

    Raises:
        InvalidField: saying which field, and what would be right.
    """
    check_name(command.name)
    check_roles(command.kind, command.roles)
    if (command.party is not None) != (command.kind == "customer"):
        raise InvalidField("/party", "a customer has one, and nobody else does")
    if command.party is not None and not 0 < command.party < 2**128:
        raise InvalidField("/party", "1 to 2^128-1 is wanted: the user_data_128 of the party's accounts")


def check_roles(kind: Kind, roles: frozenset[Role]) -> None:
    """Refuses roles that somebody of this kind cannot have.

    Raises:
        InvalidField: saying what would be right.
    """
    if kind == "customer" and roles != {Role.CUSTOMER}:
        raise InvalidField("/roles", "a customer has the role customer and no other")
    if kind != "customer" and Role.CUSTOMER in roles:
        raise InvalidField("/roles", "only a principal of kind customer has the role customer")
    if kind == "service" and Role.OWNER in roles:
        raise InvalidField("/roles", "a service account cannot be owner; a person has to answer for a book")


def check_name(name: str) -> None:
    """Refuses a name that a person could not read.

    Raises:
        InvalidField: saying what would be right.
    """
    if not 0 < len(name) <= NAME_MAX or not name.isprintable() or name != name.strip():
        raise InvalidField("/name", f"1 to {NAME_MAX} printable characters are wanted, without space at the ends")


def check_may_give(actor: Principal, roles: frozenset[Role]) -> None:
    """Refuses that somebody gives roles that he does not have, or rules over somebody who has them.

    An owner has them all. The role customer is less than any other, so that everybody but customers can give it.

    Raises:
        GrantTooWide: naming the roles.
    """
    if Role.OWNER in actor.roles:
        return
    less = frozenset() if actor.kind == "customer" else frozenset({Role.CUSTOMER})
    if too_much := roles - actor.roles - less:
        raise GrantTooWide(f"role {role}" for role in too_much)


def check_may_rule(actor: Principal, identity: Identity) -> None:
    """Refuses that somebody changes another who is more than he.

    Raises:
        GrantTooWide: naming the roles that he lacks.
    """
    if actor.id != identity.id:
        check_may_give(actor, identity.roles)


def check_may_issue(
    actor: Principal, powers: frozenset[Action], identity: Identity, scopes: frozenset[Action], *, is_live: bool
) -> None:
    """Refuses a key that would let its holder do what whoever asks for it may not.

    Args:
        actor: asks for it.
        powers: what the actor's roles allow.
        identity: will act with it.
        scopes: of the key.
        is_live: whether it is for more than tests.

    Raises:
        GrantTooWide: naming what is too much.
        Forbidden: the key is another user's.
    """
    check_may_rule(actor, identity)
    if identity.kind == "user" and actor.id != identity.id:
        raise Forbidden("An API key of a user is made by that user, for it acts in the user's name.")
    allowed = powers if actor.scopes is None else powers & actor.scopes
    if too_much := scopes - allowed:
        raise GrantTooWide(f"scope {scope}" for scope in too_much)
    if is_live and not actor.is_live:
        raise GrantTooWide(["a live key by a key for tests"])


def check_key(command: IssueApiKey, now_ns: int) -> tuple[str, ...]:
    """Refuses a key that cannot be; its networks, as they are kept.

    Raises:
        InvalidField: saying which field, and what would be right.
    """
    check_name(command.name)
    if not command.scopes:
        raise InvalidField("/scopes", f"at least one is wanted of {', '.join(Action)}")
    if command.expires_ns is not None and not now_ns < command.expires_ns <= now_ns + LIFETIME_MAX_NS:
        raise InvalidField("/expires_at", f"a time in the next {LIFETIME_MAX_NS // DAY_NS} days is wanted")
    if len(command.addresses) > ADDRESSES_MAX:
        raise InvalidField("/addresses", f"{ADDRESSES_MAX} are taken at most")
    return tuple(_network_text(text) for text in command.addresses)


def check_overlap(overlap_s: int) -> None:
    """Refuses an overlap that is too long.

    Raises:
        InvalidField: saying what would be right.
    """
    if not 0 <= overlap_s <= OVERLAP_MAX_S:
        raise InvalidField("/overlap_s", f"0 to {OVERLAP_MAX_S} seconds are wanted")


def check_not_ended(api_key: ApiKey, now_ns: int) -> None:
    """Refuses work on a key that is over.

    Raises:
        ApiKeyEnded: it is revoked, has expired, or was replaced.
    """
    if api_key.revoked_ns is not None or api_key.expires_ns <= now_ns or api_key.replaced_by is not None:
        raise ApiKeyEnded(api_key.id)


def rotated(api_key: ApiKey, new_id: str, now_ns: int, overlap_s: int) -> ApiKey:
    """The old key, valid for the overlap and never longer than it was."""
    return replace(api_key, expires_ns=min(api_key.expires_ns, now_ns + overlap_s * SECOND_NS), replaced_by=new_id)


def networks(api_key: ApiKey) -> tuple[Network, ...]:
    """The networks of a key, ready to be compared with."""
    return tuple(ipaddress.ip_network(text) for text in api_key.addresses)


def check_usable(api_key: ApiKey, identity: Identity, now_ns: int) -> None:
    """Refuses a key that is over, or whose principal is suspended. Who is told so has proved that he has the key.

    Raises:
        Unauthenticated: saying why.
    """
    if api_key.revoked_ns is not None:
        raise Unauthenticated(f"The API key {api_key.id} is revoked.")
    check_not_expired(api_key.id, api_key.expires_ns, now_ns)
    if identity.state != State.ACTIVE:
        raise Unauthenticated(f"The principal {identity.id} is suspended.")


def check_not_expired(api_key: str, expires_ns: int, now_ns: int) -> None:
    """Refuses a key that has expired.

    Raises:
        Unauthenticated: saying so.
    """
    if expires_ns <= now_ns:
        raise Unauthenticated(f"The API key {api_key} has expired or was replaced.")


def check_address(api_key: str, allowed: Sequence[Network], address: str | None) -> None:
    """Refuses a key that is used from elsewhere than it may be.

    Raises:
        Unauthenticated: saying so.
    """
    if not allowed:
        return
    try:
        peer = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        peer = None
    if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
        peer = peer.ipv4_mapped
    if peer is None or not any(peer in network for network in allowed):
        raise Unauthenticated(f"The API key {api_key} cannot be used from this address.")


def _network_text(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise InvalidField("/addresses", f"{text[:64]!r} is no address or network (192.0.2.0/24): {error}") from None


def _checksum(body: str) -> str:
    return _in_digits(zlib.crc32(body.encode("ascii")), CHECKSUM_DIGITS, _DIGITS)


def _in_digits(number: int, count: int, digits: str) -> str:
    """A number to the base of these digits, filled up with zeros."""
    text = ""
    for _ in range(count):
        number, digit = divmod(number, len(digits))
        text = digits[digit] + text
    return text
