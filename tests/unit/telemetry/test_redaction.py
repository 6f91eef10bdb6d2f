"""Nothing that looks like a credential gets through, however it is written; what is none does."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qenex.telemetry.redaction import TEXT_MAX, holds_secret, is_secret_name, redact

KEY = "qnx_live_" + "Ab3dEf6hIj9kLm2n" * 3
OWNER = "qnx_owner_" + "5a" * 32
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLXNvbWUtbGVuZ3Ro"
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIHNlY3JldHNlY3JldA\n-----END PRIVATE KEY-----"
PASSWORD = "correct-horse-battery"  # noqa: S105  # nobody's
BASIC = base64.b64encode(f"user:{PASSWORD}".encode()).decode()

SECRETS = {
    "Ab3dEf6hIj9k": [KEY, f"x{KEY}", f'{{"key": "{KEY}"}}', KEY.replace("_", "%5F"), KEY.upper(), f"/v1/{KEY}/x"],
    "5a5a5a5a": [OWNER, f"Bearer {OWNER}", f"(b'authorization', b'Bearer {OWNER}')", OWNER[:30]],
    "c2lnbmF0dXJl": [JWT, f"token {JWT}", f"DPoP: {JWT}", f"?id_token={JWT}&x=1"],
    "eyJzdWIi": [JWT, JWT.rpartition(".")[0]],
    "MC4CAQAwBQYDK2Vw": [
        PEM,
        PEM.replace("\n", "\\n"),
        PEM.replace("PRIVATE", "EC PRIVATE"),
        PEM[:60],
        f"key={PEM}",
        PEM.replace("\n", "\r\n"),
    ],
    PASSWORD: [
        f"password={PASSWORD}",
        f"PASSWORD: {PASSWORD}",
        f'{{"new_password": "{PASSWORD}"}}',
        f"{{'passphrase': '{PASSWORD}'}}",
        f'{{"client_secret":"x\\"{PASSWORD}"}}',
        f"https://user:{PASSWORD}@example.org/",
        f"redis://:{PASSWORD}@127.0.0.1:6379/0",
        f"Cookie: a=b; session={PASSWORD}",
        f"Set-Cookie: __Host-session={PASSWORD}; Secure",
        f"[(b'cookie', b'a={PASSWORD}')]",
        f"Authorization: Custom {PASSWORD}",
        f"Proxy-Authorization: {PASSWORD}",
        f"refresh_token={PASSWORD}&grant_type=refresh_token",
        f"code_verifier%3D{PASSWORD}",
    ],
    BASIC: [f"Authorization: Basic {BASIC}", f"basic {BASIC}", f"Basic\n {BASIC}", f"Basic%20{BASIC}"],
    "c29tZXNhbHQ": ["$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b4dWRWJTmaasR"],
}


@pytest.mark.parametrize(("secret", "text"), [(secret, text) for secret, texts in SECRETS.items() for text in texts])
def test_a_secret_is_taken_out(secret: str, text: str) -> None:
    shown = redact(f"before {text} after")
    assert secret.lower() not in shown.lower()
    assert "[redacted]" in shown
    assert shown.startswith("before ")
    assert not holds_secret(shown)


GAPS = ["\n", "\r\n", "\0", "\x1b[31m"[:1], "\t", "\x7f", "\x85", "\u200b", "\u2028", "\ufeff", "\u202e", "\xad"]


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("secret", [KEY, OWNER, JWT, PEM.replace("\n", "")], ids=["key", "owner", "jwt", "pem"])
@pytest.mark.parametrize("every", [1, 2, 5])
def test_what_shows_nothing_does_not_hide_a_secret(secret: str, gap: str, every: int) -> None:
    strewn = gap.join(secret[at : at + every] for at in range(0, len(secret), every))
    shown = redact(f"before {strewn} after")
    left = "".join(character for character in shown if character not in "".join(GAPS))
    assert secret[-12:] not in left
    assert "[redacted]" in shown


@given(st.text(), st.text(), st.sampled_from([KEY, OWNER, JWT, PEM]))
def test_a_secret_is_taken_out_wherever_it_stands(before: str, after: str, secret: str) -> None:
    assert secret not in redact(before + secret + after)


@given(st.text(max_size=200))
def test_what_was_redacted_holds_nothing_more(text: str) -> None:
    assert not holds_secret(redact(text))


@pytest.mark.parametrize(
    "unit", ["qnx_", "a://", "-----BEGIN A-----", "eyJ.", "bearer ", 'token="\\', "://a@", "$2a$", "\0"]
)
def test_a_long_text_is_cut_and_read_once(unit: str) -> None:
    # A pattern that went back over it again and again would not come to an end within the time of a test.
    shown = redact(unit * (1 << 20))
    assert len(shown) <= 12 * TEXT_MAX
    assert not holds_secret(shown)


def test_a_secret_at_the_cut_is_half_a_secret() -> None:
    assert "Ab3dEf" not in redact("x" * (TEXT_MAX - 20) + " " + KEY)


@pytest.mark.parametrize(
    "text",
    [
        "POST /api/v1/transaction",
        "account 0x00112233445566778899aabbccddeeff00112233 has 50 minor units",
        "hash " + "ab" * 32,
        "018f3c1e-7c1a-7b2e-9f0a-1b2c3d4e5f60",
        "the credential is absent or unknown.",
        "https://collector.example.org:4318/v1/traces",
        "principal usr_12345 in book 000102030405060708090a0b0c0d0e0f",
        'Traceback (most recent call last):\n  File "x.py", line 3, in call\n    raise ValueError(1)\nValueError: 1',
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_a_field_is_secret_by_its_name() -> None:
    assert all(
        map(is_secret_name, ["password", "X-Api-Key", "client_secret", "Authorization", "totp_code", "sessionId"])
    )
    assert not any(map(is_secret_name, ["status", "route", "book", "principal", "key_id", "limit"]))
