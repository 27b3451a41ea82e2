"""The authority of one run: it vouches for the opened hosts alone, as others read certificates."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kling_ledger.agents.child.certificates import Issued, issue

NOW = datetime.now(UTC)
HOSTS = ("api.crun.ai", "runapi.ai")
PASSPHRASE = b"a passphrase"


def extension(
    certificate: bytes, kind: type[x509.ExtensionType]
) -> x509.Extension[x509.ExtensionType]:
    return x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(kind)


def handshake(
    folder: Path, authority: bytes, chain: bytes, name: str, password: bytes | None = None
) -> str:
    """Let Python's own TLS client meet a server with a certificate; return what went wrong."""
    (folder / "chain.pem").write_bytes(chain)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "chain.pem", password=password)
    client = ssl.create_default_context(cadata=authority.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()

    def answer() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        client.wrap_socket(ours, server_hostname=name).close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        ours.close()
        thread.join()
    return ""


def issued(*hosts: str) -> Issued:
    return issue(hosts or HOSTS, now=NOW, passphrase=PASSPHRASE)


@pytest.mark.parametrize("host", HOSTS)
def test_a_strict_client_trusts_an_opened_host(tmp_path: Path, host: str):
    made = issued()
    chain = made.certificate + made.key
    assert handshake(tmp_path, made.authority, chain, host, PASSPHRASE) == ""


@pytest.mark.parametrize("host", ["example.com", "crun.ai", "127.0.0.1"])
def test_no_client_takes_it_for_another_host(tmp_path: Path, host: str):
    made = issued()
    chain = made.certificate + made.key
    assert "mismatch" in handshake(tmp_path, made.authority, chain, host, PASSPHRASE)


def test_an_address_can_be_opened(tmp_path: Path):
    made = issued("127.0.0.1", "runapi.ai")
    chain = made.certificate + made.key
    for host in ("127.0.0.1", "runapi.ai"):
        assert handshake(tmp_path, made.authority, chain, host, PASSPHRASE) == ""


@pytest.mark.parametrize(
    "other",
    [x509.DNSName("example.com"), x509.IPAddress(__import__("ipaddress").ip_address("127.0.0.1"))],
)
def test_the_authority_cannot_vouch_for_others_even_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: x509.GeneralName
):
    """Its key is caught while it is made: what it signs for others breaks its constraints."""
    caught: list[ec.EllipticCurvePrivateKey] = []
    make = ec.generate_private_key

    def catching(curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
        caught.append(make(curve))
        return caught[-1]

    monkeypatch.setattr(ec, "generate_private_key", catching)
    made = issued()
    authority = x509.load_pem_x509_certificate(made.authority)
    own = make(ec.SECP256R1())
    forged = (
        x509.CertificateBuilder(authority.subject, authority.subject, own.public_key(), 7)
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([other]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(caught[0].public_key()),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .sign(caught[0], hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    chain = forged.public_bytes(pem)
    chain += own.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    problem = handshake(tmp_path, made.authority, chain, str(other.value))
    assert "subtree" in problem, problem


def test_the_authority_makes_no_further_ones():
    found = extension(issued().authority, x509.BasicConstraints)
    assert found.critical
    assert found.value == x509.BasicConstraints(ca=True, path_length=0)


def test_a_certificate_lives_a_week_and_starts_a_little_earlier():
    for written in (issued().authority, issued().certificate):
        found = x509.load_pem_x509_certificate(written)
        second = NOW.replace(microsecond=0)
        assert found.not_valid_before_utc == second - timedelta(minutes=5)
        assert found.not_valid_after_utc == second + timedelta(days=7)


def test_the_key_on_the_disk_is_of_no_use_without_its_passphrase():
    key = issued().key
    assert b"ENCRYPTED" in key
    with pytest.raises(TypeError):
        serialization.load_pem_private_key(key, None)


def test_every_run_has_an_authority_of_its_own():
    assert issued().authority != issued().authority
