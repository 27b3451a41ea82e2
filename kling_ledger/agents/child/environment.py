"""Environment: the environment of a guarded program: a proxy, certificate authorities, no keys."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kling_ledger.providers.registry import provider_facts

PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
EXCEPTIONS: Final = "NO_PROXY"

REPLACED: Final = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "NIX_SSL_CERT_FILE",
    "CARGO_HTTP_CAINFO",
    "BUNDLE_SSL_CA_CERT",
    "HTTPLIB2_CA_CERTS",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
)
"""Variables whose file replaces a program's own authorities."""

ADDED: Final = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
"""Variables whose file is added to them."""

_SHORTEST_KEY: Final = 8
"""Shorter values are not treated as keys: they may occur anywhere."""

_LOOPBACK: Final = "localhost,127.0.0.1,::1"


@dataclass(frozen=True, slots=True)
class Keys:
    """The providers' real keys, by provider, and the token that replaces each of them.

    The token is useless outside this run: a program that bypasses the proxy has no key to spend
    with.
    """

    by_provider: Mapping[str, str]
    token: str

    def taken_out_of(self, text: str) -> str:
        """Return a text with every key replaced by the token."""
        for key in self.by_provider.values():
            if len(key) >= _SHORTEST_KEY:
                text = text.replace(key, self.token)
        return text


def child_environment(
    environ: Mapping[str, str],
    *,
    proxy: str,
    keys: Keys,
    authorities: Authorities,
    has_loopback: bool,
) -> dict[str, str]:
    """Return the environment of a guarded program.

    Loopback bypasses the proxy, because nothing is guarded there and some clients cannot use one
    for this machine; unless an opened address, such as a sandbox, is on loopback. Other exceptions
    are removed: one could name an opened host, and our proxy applies them itself.
    """
    child = {name: keys.taken_out_of(value) for name, value in environ.items()}
    for provider in keys.by_provider:
        child[provider_facts(provider).key_variable] = keys.token
    for name in PROXIES:
        child[name] = child[name.lower()] = proxy
    child[EXCEPTIONS] = child[EXCEPTIONS.lower()] = "" if has_loopback else _LOOPBACK
    child["NODE_USE_ENV_PROXY"] = "1"
    return {**child, **authorities.variables(environ)}


class Authorities:
    """The certificate files that a program trusts: its previous ones, and ours.

    They are written to a folder. Each variable trusts what it named before, plus our authority, and
    nothing else.
    """

    def __init__(self, folder: Path, authority: bytes) -> None:
        self._folder = folder
        self._authority = authority
        self._files: dict[str, Path] = {}

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return each variable that programs read, with its new file."""
        system = _system_authorities()
        replaced = {name: self._with_ours(environ.get(name) or system) for name in REPLACED}
        added = {name: self._with_ours(environ.get(name) or "") for name in ADDED}
        return {name: str(file) for name, file in {**replaced, **added}.items()}

    def _with_ours(self, before: str) -> Path:
        """Return a file with our authority added to those trusted before."""
        if before not in self._files:
            file = self._folder / f"authorities-{len(self._files) + 1}.pem"
            file.write_bytes(b"\n".join([*_contents(before), self._authority]))
            self._files[before] = file
        return self._files[before]


def _contents(named: str) -> Iterator[bytes]:
    """Yield the contents of a certificate file, or of each file in a folder, if they exist.

    A variable with a missing file trusted nothing, and now trusts only us.
    """
    path = Path(named)
    if named and path.is_dir():
        yield from (file.read_bytes() for file in sorted(path.glob("*.pem")))
    elif named and path.is_file():
        yield path.read_bytes()


def _system_authorities() -> str:
    """Return the file of this machine's authorities, or else the one that comes with httpx."""
    paths = ssl.get_default_verify_paths()
    # `cafile` follows SSL_CERT_FILE, only one of several variables; this does not.
    if Path(paths.openssl_cafile).is_file():
        return paths.openssl_cafile
    import certifi

    return certifi.where()
