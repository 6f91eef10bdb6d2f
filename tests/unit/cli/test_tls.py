"""`qenex tls self-signed`: a certificate that verifies, for what was asked for and nothing else."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from qenex.cli.tls import DAYS, make
from qenex.errors import InvalidField


def _verified(ca: bytes, certificate: bytes, subject: x509.GeneralName) -> None:
    policy = PolicyBuilder().store(Store([x509.load_pem_x509_certificate(ca)]))
    policy.build_server_verifier(subject).verify(x509.load_pem_x509_certificate(certificate), [])


def test_it_holds_for_its_names_and_addresses_and_no_others() -> None:
    pair = make(["bank.example", "192.0.2.1", "::1"])
    for name in ("192.0.2.1", "::1"):
        _verified(pair.ca, pair.certificate, x509.IPAddress(ipaddress.ip_address(name)))
    _verified(pair.ca, pair.certificate, x509.DNSName("bank.example"))
    for other in (x509.DNSName("www.bank.example"), x509.IPAddress(ipaddress.ip_address("192.0.2.2"))):
        with pytest.raises(VerificationError):
            _verified(pair.ca, pair.certificate, other)
    with pytest.raises(VerificationError):
        _verified(make(["bank.example"]).ca, pair.certificate, x509.DNSName("bank.example"))


def test_it_is_a_servers_for_a_short_time_and_signs_nothing() -> None:
    certificate = x509.load_pem_x509_certificate(make(["bank.example"]).certificate)
    held = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert held.days == DAYS
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize("name", ["", "bank example", "*.example", "a..b", "bänk.example", "bank.example/", "x." * 130])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidField, match="neither a name of a machine nor an address"):
        make(["bank.example", name])
