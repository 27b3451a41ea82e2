"""Certificates: an authority for one run, valid only for the opened hosts.

Its key signs one certificate and is dropped: nobody can sign another, and it is never on disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from kling_ledger.agents.child.opened import address_of
from kling_ledger.errors import ConfigError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

LIVES: Final = timedelta(days=7)
"""The longest run: after that the certificate has expired and the program is refused."""

_EARLIER: Final = timedelta(minutes=5)
"""How far behind a child's clock may be, as in a container."""

_EVERY_ADDRESS: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))


@dataclass(frozen=True, slots=True)
class Issued:
    """A run's PEM files: the authority's certificate, the hosts' certificate, and its key.

    The key is encrypted with the given passphrase.
    """

    authority: bytes
    certificate: bytes
    key: bytes


def issue(hosts: Sequence[str], *, now: datetime, passphrase: bytes) -> Issued:
    """Create an authority that is valid only for these hosts, and their certificate.

    Hosts are names or IP addresses. Raises ConfigError if the required package is not installed.
    """
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise ConfigError(
            "certificates need the package cryptography",
            hint="pip install 'kling-ledger[agents]'",
        ) from None
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _authority(authority_key, hosts, now)
    certificate = _certificate(key, hosts, now, authority, authority_key)
    pem = serialization.Encoding.PEM
    return Issued(
        authority.public_bytes(pem),
        certificate.public_bytes(pem),
        key.private_bytes(
            pem,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase),
        ),
    )


def _authority(
    key: ec.EllipticCurvePrivateKey, hosts: Sequence[str], now: datetime
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    name = _named("kling-ledger exec, this run only")
    return (
        _builder(key.public_key(), name, name, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(_constraints(hosts), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    hosts: Sequence[str],
    now: datetime,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    issuer = authority_key.public_key()
    return (
        _builder(key.public_key(), _named("kling-ledger exec"), authority.subject, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(list(_general(hosts))), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    public: ec.EllipticCurvePublicKey, subject: x509.Name, issuer: x509.Name, now: datetime
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + LIVES)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _constraints(hosts: Sequence[str]) -> x509.NameConstraints:
    """Permit only these hosts.

    A kind of name without a constraint is not limited at all: if no IP address is opened, all are
    excluded.
    """
    from cryptography import x509

    addresses = [ip_network(host) for host in hosts if address_of(host) is not None]
    names = [x509.DNSName(host) for host in hosts if address_of(host) is None]
    return x509.NameConstraints(
        permitted_subtrees=[*names, *map(x509.IPAddress, addresses)],
        excluded_subtrees=None if addresses else [*map(x509.IPAddress, _EVERY_ADDRESS)],
    )


def _general(hosts: Sequence[str]) -> Iterator[x509.GeneralName]:
    from cryptography import x509

    for host in hosts:
        address = address_of(host)
        yield x509.DNSName(host) if address is None else x509.IPAddress(address)


def _named(name: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
