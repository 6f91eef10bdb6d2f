"""`qenex tls`: certificates for trying TLS."""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qenex import bootstrap
from qenex.cli.output import Home, Json, Output, example
from qenex.errors import InvalidField, StorageFailed

DAYS: Final = 90
"""How long a certificate holds, which is long enough for trying something."""
_EARLIER: Final = timedelta(minutes=5)
"""Clocks of clients may be behind."""
LOCAL: Final = ("localhost", "127.0.0.1", "::1")


class Pair(NamedTuple):
    """A new certificate, PEM."""

    ca: bytes
    """What clients trust. Its key is gone: it has signed one certificate and can sign no other."""
    certificate: bytes
    key: bytes


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    tls = typer.Typer(no_args_is_help=True, help="Certificates for trying TLS.")
    app.add_typer(tls, name="tls")

    @tls.callback()
    def _group() -> None:
        """Certificates for trying TLS."""

    @tls.command("self-signed", epilog=example("qenex tls self-signed bank.example 192.0.2.1"))
    def self_signed(
        names: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[NAME]...",
                help="What clients call the server: names, addresses.",
                show_default="this machine's own",
            ),
        ] = None,
        *,
        home: Home = None,
        as_json: Json = False,
    ) -> None:
        """Make a certificate for trying TLS, in the folder tls of the home; a running QENEX takes it within a second.

        Nobody but you trusts it: clients need the file ca.pem (QENEX_CA). It holds for 90 days. For others get one from
        a certificate authority, and set tls_certificate and tls_key to it.
        """
        folder = bootstrap.initialise(home).settings.home / "tls"
        pair = make(names or LOCAL)
        # The key first: a front that looks in between finds one that does not go with the certificate, and waits.
        paths = {name: folder / name for name in ("server.key", "server.pem", "ca.pem")}
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            for path, content in zip(paths.values(), (pair.key, pair.certificate, pair.ca), strict=True):
                _replace(path, content)
        except OSError as error:
            raise StorageFailed(folder, f"cannot be written: {error.strerror}") from error
        certificate, key, ca = paths["server.pem"], paths["server.key"], paths["ca.pem"]
        Output(as_json=as_json).show(
            {"tls_certificate": str(certificate), "tls_key": str(key), "ca": str(ca), "days": DAYS},
            f"made {certificate} for {', '.join(names or LOCAL)}; it holds for {DAYS} days",
            f'In qenex.toml:\n  tls_certificate = "{certificate}"\n  tls_key = "{key}"',
            f"Clients trust it with QENEX_CA={ca}",
        )


def make(names: list[str] | tuple[str, ...]) -> Pair:
    """A certificate for a server of these names and addresses (ECDSA P-256), and the authority that has signed it.

    Raises:
        InvalidField: a name is none.
    """
    begin = datetime.now(UTC) - _EARLIER
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "QENEX, for trying TLS")])

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(days=DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )

    ca = (
        builder(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    server = (
        builder(x509.Name([]), key.public_key())
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(ca.public_bytes(pem), server.public_bytes(pem), private)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    labels = name.split(".")
    if not all(label and label.replace("-", "").isalnum() and label.isascii() for label in labels) or len(name) > 253:
        raise InvalidField("/names", f"{name!r} is neither a name of a machine nor an address")
    return x509.DNSName(name)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _replace(path: Path, content: bytes) -> None:
    """Puts a file there whole, mode 600, in the place of one that may be there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
