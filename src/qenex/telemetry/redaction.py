"""Takes out of a text whatever looks like a credential.

It would rather take out too much: a log that lacks a word is a nuisance, one that has a credential is a breach. All
patterns are open towards the end, so that half of a secret is known by its beginning, and none can be made slow.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

REDACTED: Final = "[redacted]"
TEXT_MAX: Final = 16_384
"""Characters of one text that are kept; the rest is cut off first."""

_SENSITIVE: Final = (
    r"(?:pass(?:word|wd|phrase)|secret|token|pepper|credential|cookie|authorization|api[_-]?key|private[_-]?key|"
    r"code[_-]?verifier|assertion|session[_-]?id|recovery[_-]?codes?|totp|otp|csrf|dpop|signature)"
)
_NAME: Final = re.compile(_SENSITIVE, re.IGNORECASE)

_TOKENS: Final = re.compile(
    # Credentials of QENEX; what they begin with may be told, it says where to look.
    r"(?P<qenex>qnx(?:_|%5f)[a-z]{1,16})(?:_|%5f)[\w%-]+"
    # JSON Web Tokens and what is encrypted in the same form: their first part is always an object.
    r"|eyJ[\w-]{8,}(?:\.[\w-]*)*"
    # Keys and certificates, to their end or that of the text.
    r"|-----BEGIN [A-Z0-9 ]{1,40}-----(?:(?!-----END ).)*(?:-----END [A-Z0-9 ]{1,40}-----)?"
    # What a scheme of the header Authorization is followed by.
    r"|\b(?P<scheme>bearer|basic|dpop|digest|negotiate)(?:\s|%20|\+)+[\w.~+/=%-]{6,}"
    # Hashes of passwords, which can be guessed at.
    r"|\$(?:argon2\w{1,2}|2[aby]|scrypt|pbkdf2[\w-]*)\$[^\s\"']+"
    # User and password in an address.
    r"|(?P<url>[a-z][a-z0-9+.-]{0,20}://)[^\s/?#\"'@]*@",
    re.IGNORECASE | re.DOTALL,
)
_HEADERS: Final = re.compile(
    r"(?P<name>(?:proxy-)?authorization|(?:set-)?cookie|dpop|x-api-key|x-csrf-token)"
    r"(?P<between>[\"']?\s*(?:[:=,]|=>)\s*b?)(?P<quote>[\"']?)[^\r\n\"']+",
    re.IGNORECASE,
)
_PAIRS: Final = re.compile(
    rf"(?P<name>{_SENSITIVE}[\w-]{{0,40}})(?P<between>[\"']?\s{{0,8}}(?:[:=]|%3d|=>)\s{{0,8}}b?)"
    r"(?:\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|(?!\[redacted)[^\s,;&\"')}\]]+)",
    re.IGNORECASE,
)
_IGNORABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufe00-\ufe0f\ufeff]+")
"""Control characters and those that show nothing: between the letters of a secret they hide it from a pattern only."""


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret, whatever it looks like."""
    return _NAME.search(name) is not None


def redact(text: str) -> str:
    """The text without what looks like a credential.

    Control characters stay as they are: whoever writes the text somewhere escapes them.
    """
    if len(text) > TEXT_MAX:
        text = f"{text[:TEXT_MAX]}... ({len(text)} characters)"
    text = _PAIRS.sub(_pair, _HEADERS.sub(_header, _TOKENS.sub(_token, text)))
    if _IGNORABLE.search(text):
        text = _hidden(_hidden(text, _TOKENS, _token), _PAIRS, _pair)
    return text


def holds_secret(text: str) -> bool:
    """Whether something that cannot be mistaken for anything but a credential is left: the last look at a line."""
    return any(not (found["url"] and found[0].endswith(f"//{REDACTED}@")) for found in _TOKENS.finditer(text))


def _token(found: re.Match[str]) -> str:
    if found["qenex"]:
        return f"{found['qenex']}_{REDACTED}"
    if found["scheme"]:
        return f"{found['scheme']} {REDACTED}"
    return f"{found['url']}{REDACTED}@" if found["url"] else REDACTED


def _header(found: re.Match[str]) -> str:
    return f"{found['name']}{found['between']}{found['quote']}{REDACTED}"


def _pair(found: re.Match[str]) -> str:
    return f"{found['name']}{found['between']}{REDACTED}"


def _hidden(text: str, pattern: re.Pattern[str], replacement: Callable[[re.Match[str]], str]) -> str:
    """The same for what characters that show nothing are strewn into."""
    bare: list[str] = []
    places: list[int] = []
    at = 0
    for begin, end in [*(gap.span() for gap in _IGNORABLE.finditer(text)), (len(text), len(text))]:
        bare.append(text[at:begin])
        places.extend(range(at, begin))
        at = end
    for found in reversed(list(pattern.finditer("".join(bare)))):
        begin, end = places[found.start()], places[found.end() - 1] + 1
        if _IGNORABLE.search(text, begin, end):
            text = text[:begin] + replacement(found) + text[end:]
    return text
