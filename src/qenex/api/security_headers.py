"""The headers that keep a browser from being turned against its user, each with its reason.

`API` goes on every answer, `PAGE` on those that are shown to people (`/docs`, sign-in, consent), which bring their own
Content-Security-Policy; a header that the answer has already is left as it is. `secure` adds what only makes sense
where the connection is encrypted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qenex.api.exchange import Headers

API: Final[Headers] = [
    # A body is what it is said to be: JSON that somebody else wrote is never run as a script or shown as a page.
    (b"x-content-type-options", b"nosniff"),
    # An answer is data: where it is shown nevertheless, nothing in it runs or is loaded, and no page frames it.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    # The address can name accounts and transfers, which is nobody else's business.
    (b"referrer-policy", b"no-referrer"),
    # Other sites cannot have our answers in their process, where flaws of processors could be used to look at them.
    (b"cross-origin-resource-policy", b"same-origin"),
    # What is said of accounts is kept by no cache on the way; an answer that may be kept says so itself.
    (b"cache-control", b"no-store"),
]

PAGE: Final[Headers] = [
    *(pair for pair in API if pair[0] != b"content-security-policy"),
    # Every page states exactly what it loads; this is for one that forgot.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"),
    # For browsers that know no frame-ancestors: what a person confirms must not lie invisible under something else.
    (b"x-frame-options", b"DENY"),
    # A window that another site opened on us is cut off from it, and ours from theirs.
    (b"cross-origin-opener-policy", b"same-origin"),
    # Pages load nothing from elsewhere, so that they can be cut off completely.
    (b"cross-origin-embedder-policy", b"require-corp"),
    # Our process is ours alone, not one that is shared with other sites of the same domain.
    (b"origin-agent-cluster", b"?1"),
    # Nothing that we show needs a camera, a place or a payment; passkeys are allowed to our own pages only.
    (
        b"permissions-policy",
        (
            b"camera=(), display-capture=(), geolocation=(), microphone=(), midi=(), payment=(), usb=(), "
            b"publickey-credentials-create=(self), publickey-credentials-get=(self)"
        ),
    ),
]
"""The last four speak of windows and documents, which answers of the API are not: there they would only be bytes."""

HSTS: Final = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")
"""A browser that came by https once never comes by http again (two years), whatever a network tells it. Not `preload`:
that is the decision of whoever owns the domain. Browsers disregard it on http, where a stranger could have put it."""


def complete(headers: Headers, *, page: bool = False, secure: bool = False) -> None:
    """Adds to an answer's headers those that it has not.

    Args:
        headers: in lower case; added to in place.
        page: whether people see it.
        secure: whether it goes over TLS (the scope's scheme is https or wss).
    """
    have = {name for name, _ in headers}
    headers.extend(pair for pair in (PAGE if page else API) if pair[0] not in have)
    if secure and HSTS[0] not in have:
        headers.append(HSTS)
