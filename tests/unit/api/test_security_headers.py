"""What every answer carries, and what only pages do."""

from __future__ import annotations

import pytest

from qenex.api.security_headers import API, PAGE, complete


@pytest.mark.parametrize("page", [False, True])
def test_an_answer_has_every_header_once(*, page: bool) -> None:
    headers = [(b"content-type", b"text/html"), (b"content-security-policy", b"default-src 'self'")]
    complete(headers, page=page)
    names = [name for name, _ in headers]
    assert len(names) == len(set(names))
    assert set(names) >= {name for name, _ in (PAGE if page else API)}
    assert dict(headers)[b"content-security-policy"] == b"default-src 'self'", "the answer's own stays"


def test_only_an_encrypted_answer_asks_for_encryption_for_ever() -> None:
    for secure in (False, True):
        headers: list[tuple[bytes, bytes]] = []
        complete(headers, secure=secure)
        assert (b"strict-transport-security" in dict(headers)) == secure


def test_nothing_that_is_shown_can_be_framed_or_cached() -> None:
    for kind in (API, PAGE):
        policy = dict(kind)
        assert b"frame-ancestors 'none'" in policy[b"content-security-policy"]
        assert b"default-src 'none'" in policy[b"content-security-policy"]
        assert policy[b"cache-control"] == b"no-store"
        assert policy[b"x-content-type-options"] == b"nosniff"
        assert policy[b"referrer-policy"] == b"no-referrer"
        assert all(name == name.lower() for name in policy)
