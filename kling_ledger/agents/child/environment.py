"""Environment: what a guarded program is given in place of ours: a proxy, authorities, no keys."""

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
"""Variables whose file stands in place of the authorities that a program knows."""

ADDED: Final = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
"""Variables whose file comes on top of them."""

_SHORTEST_KEY: Final = 8
"""A shorter word is no key: it may stand anywhere."""

_LOOPBACK: Final = "localhost,127.0.0.1,::1"


@dataclass(frozen=True, slots=True)
class Keys:
    """The providers' real keys, by provider, and the token that stands in for each of them.

    The token is worth nothing outside of this run: a program that goes around the proxy has no key
    to spend with.
    """

    by_provider: Mapping[str, str]
    token: str

    def taken_out_of(self, text: str) -> str:
        """Return a text with the token wherever a key stood."""
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

    Loopback goes around the proxy, as nothing is guarded there and some clients cannot speak to
    this machine through one; not where an opened address is on loopback, such as a sandbox. Other
    exceptions are emptied: one of them could name an opened host, and our proxy knows them.
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
    """The files of certificates that a program trusts: those that it had, and ours.

    They are written to a folder. What a variable named before stays trusted under that variable,
    and nothing that it did not name becomes so.
    """

    def __init__(self, folder: Path, authority: bytes) -> None:
        self._folder = folder
        self._authority = authority
        self._files: dict[str, Path] = {}

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return each variable that programs read, with the file that it names from now on."""
        system = _system_authorities()
        replaced = {name: self._with_ours(environ.get(name) or system) for name in REPLACED}
        added = {name: self._with_ours(environ.get(name) or "") for name in ADDED}
        return {name: str(file) for name, file in {**replaced, **added}.items()}

    def _with_ours(self, before: str) -> Path:
        """Return a file with our authority after those that were trusted before."""
        if before not in self._files:
            file = self._folder / f"authorities-{len(self._files) + 1}.pem"
            file.write_bytes(b"\n".join([*_contents(before), self._authority]))
            self._files[before] = file
        return self._files[before]


def _contents(named: str) -> Iterator[bytes]:
    """Yield what a file of certificates holds, or each file of a folder, as far as they are there.

    Whoever named a file that is not there trusted nobody, and trusts us alone from now on.
    """
    path = Path(named)
    if named and path.is_dir():
        yield from (file.read_bytes() for file in sorted(path.glob("*.pem")))
    elif named and path.is_file():
        yield path.read_bytes()


def _system_authorities() -> str:
    """Return the file of the authorities that this machine trusts, or those that httpx brings."""
    paths = ssl.get_default_verify_paths()
    # `cafile` follows SSL_CERT_FILE, which is one variable of many; this does not.
    if Path(paths.openssl_cafile).is_file():
        return paths.openssl_cafile
    import certifi

    return certifi.where()
