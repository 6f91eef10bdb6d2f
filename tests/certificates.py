"""Certificates for tests: authorities, servers, clients, and what can be wrong with them."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def thumbprint(self) -> str:
        """As RFC 8705 has it: `x5t#S256`."""
        digest = hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def write(self, folder: Path, name: str = "server") -> tuple[Path, Path]:
        """The certificate and the key, as files."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        key.touch(mode=0o600)
        key.write_bytes(self.key_pem)
        certificate.write_bytes(self.pem)
        return certificate, key

    def write_both(self, path: Path) -> Path:
        """Both in one file, as a client wants them."""
        path.write_bytes(self.pem + self.key_pem)
        return path


@dataclass
class Authority:
    """Signs certificates."""

    name: str = "test authority"
    key: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    root: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        builder = self._builder(self._name, self.key.public_key(), NOW + 10 * DAY)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        self.root = builder.add_extension(constraints, critical=True).sign(self.key, hashes.SHA256())

    @property
    def _name(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])

    @property
    def pem(self) -> bytes:
        return self.root.public_bytes(Encoding.PEM)

    def _builder(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey, until: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 10 * DAY)
            .not_valid_after(until)
        )

    def server(self, address: str = "127.0.0.1") -> Issued:
        """A server's certificate."""
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        return self._issue("server", ExtendedKeyUsageOID.SERVER_AUTH, NOW + DAY, names)

    def client(self, name: str, *, until: datetime = NOW + DAY) -> Issued:
        """A client's certificate."""
        return self._issue(name, ExtendedKeyUsageOID.CLIENT_AUTH, until)

    def _issue(
        self, name: str, usage: x509.ObjectIdentifier, until: datetime, *extensions: x509.ExtensionType
    ) -> Issued:
        key = _key()
        attributes = [(NameOID.ORGANIZATION_NAME, "Bank, of tests"), (NameOID.COMMON_NAME, name)]
        subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
        builder = self._builder(subject, key.public_key(), until)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return Issued(builder.sign(self.key, hashes.SHA256()), key)

    def revoked(self, *certificates: x509.Certificate, until: datetime = NOW + DAY) -> bytes:
        """A list of revoked certificates, PEM."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(NOW - 5 * DAY).next_update(until)
        builder = builder.add_extension(x509.CRLNumber(1), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        for certificate in certificates:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(NOW - 5 * DAY).build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)
