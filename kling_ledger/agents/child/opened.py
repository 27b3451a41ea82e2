"""Opened: the provider addresses that a run intercepts; all others are left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

from kling_ledger.errors import ConfigError
from kling_ledger.providers.registry import provider_facts
from kling_pricing.gateways import GATEWAYS

HTTP_PORT: Final = 80
HTTPS_PORT: Final = 443

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    # Its published client names this one. Source: https://github.com/CrunTeam/crun-agent-skills,
    # checked 2026-11-20.
    "crun": ("api.crunai.com",),
}
"""Other names under which a provider takes jobs."""

_LONGEST_NAME: Final = 253
Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Opened:
    """One intercepted address, and whether it uses TLS.

    It has several providers only if all of them are reached there, as in a sandbox.
    """

    providers: tuple[str, ...]
    is_tls: bool


@dataclass(frozen=True, slots=True)
class Origin:
    """A host in its normal form, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Directory:
    """Which addresses are opened, by origin.

    `upstreams` has, by provider, the address to use instead of its own. A provider's own names are
    opened even then: requests to them go to that address too. Raises ConfigError for an address
    that cannot be opened.
    """

    def __init__(self, upstreams: Mapping[str, str]) -> None:
        self._opened: dict[Origin, Opened] = {}
        for provider in GATEWAYS:
            own = urlsplit(provider_facts(provider).base_url).hostname or ""
            for host in (own, *ALIASES.get(provider, ())):
                self._open(provider, Origin(host, HTTPS_PORT), is_tls=True)
                self._open(provider, Origin(host, HTTP_PORT), is_tls=False)
        self._own_names = frozenset(origin.host for origin in self._opened)
        for provider, address in upstreams.items():
            origin, is_tls = _origin_of(address)
            self._open(provider, origin, is_tls=is_tls)

    def find(self, origin: Origin) -> Opened | None:
        """Return what is opened at an origin, or None.

        All names of this machine count as one at the same port.
        """
        if not is_loopback(origin.host):
            return self._opened.get(origin)
        here = (one for there, one in self._opened.items() if _is_here(there, origin.port))
        return next(here, None)

    def is_own_name(self, host: str) -> bool:
        """Whether a host is a provider's own: no request to it passes unmetered, at any port."""
        return host in self._own_names

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that are opened, names and addresses, in order."""
        return tuple(sorted({origin.host for origin in self._opened}))

    @property
    def ports_of_addresses(self) -> frozenset[int]:
        """The ports at which IP addresses are opened; a name may resolve to one of them."""
        return frozenset(one.port for one in self._opened if address_of(one.host) is not None)

    @property
    def has_loopback(self) -> bool:
        """Whether an address of this machine is opened."""
        return any(map(is_loopback, self.hosts))

    def _open(self, provider: str, origin: Origin, *, is_tls: bool) -> None:
        there = self._opened.get(origin)
        providers = (provider,) if there is None else (*there.providers, provider)
        self._opened[origin] = Opened(tuple(dict.fromkeys(providers)), is_tls)


def _is_here(origin: Origin, port: int) -> bool:
    return origin.port == port and is_loopback(origin.host)


def host_of(written: str) -> str | None:
    """Return a host in its normal form, or None for an invalid one.

    Lower case, without the final dot of a full name and the brackets of IPv6; an IPv4 address of
    this machine wrapped in IPv6 is unwrapped. Names must be ASCII: otherwise other spellings that
    resolve to the same name would not be recognised.
    """
    host = written.removeprefix("[").removesuffix("]") if written[:1] == "[" else written
    address = address_of(host)
    if address is not None:
        return str(getattr(address, "ipv4_mapped", None) or address)
    name = host.removesuffix(".").lower()
    is_plain = name.isascii() and name.replace("-", "").replace(".", "").replace("_", "").isalnum()
    if not is_plain or len(name) > _LONGEST_NAME or ":" in host:
        return None
    # A resolver reads "127.1" and "2130706433" as addresses, never as names.
    return None if name.rpartition(".")[2].isdigit() or name.startswith("0x") else name


def address_of(host: str) -> Address | None:
    """Return a host as an IP address, or None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    address = address_of(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    # The unspecified address means this machine.
    return address.is_loopback or address.is_unspecified


def _origin_of(address: str) -> tuple[Origin, bool]:
    """Return the origin of a provider's address, and whether TLS is spoken there."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise _no_address(address) from None
    host = host_of(parts.hostname or "")
    if parts.scheme not in {"http", "https"} or host is None or parts.path not in {"", "/"}:
        raise _no_address(address)
    is_tls = parts.scheme == "https"
    return Origin(host, port or (HTTPS_PORT if is_tls else HTTP_PORT)), is_tls


def _no_address(address: str) -> ConfigError:
    return ConfigError(
        f"cannot guard {address!r}",
        hint="use an https:// or http:// address with no path",
    )
