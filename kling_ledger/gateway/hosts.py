"""Hosts: which network addresses clients can make the gateway call.

A name is looked up once, and the checked address is the one that is called: changing the name's
address afterwards has no effect.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LookUp = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a host as texts; raises OSError if it has none."""

_V4: Final = ipaddress.IPv4Address
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_NOT_FOR_US: Final = (
    # Reserved for protocols, including a cloud's metadata service; 6to4 relays; and the address at
    # which another cloud answers its own machines, which looks like a public one.
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv4Network("192.88.99.0/24"),
    ipaddress.IPv4Network("168.63.129.16/32"),
)
_LOOK_UPS: Final = 16


class UnreachableError(OSError):
    """A host without an address, or without one in time."""


class ForbiddenError(Exception):
    """A host that the gateway never calls: nothing was sent."""


def is_public(address: Address) -> bool:
    """Whether an address is public, and so is every address embedded in it."""
    if isinstance(address, _V4):
        special = address.is_multicast or address.is_reserved
        return address.is_global and not special and not _is_among(address, _NOT_FOR_US)
    if address.scope_id is not None:
        return False
    inner = [*_inside(address)]
    if inner:
        return all(map(is_public, inner))
    return address in _UNICAST and address.is_global


def may_be_public(host: str) -> bool:
    """Whether a host is a name or a public address."""
    try:
        return is_public(ipaddress.ip_address(host))
    except ValueError:
        return True


def is_loopback(address: Address) -> bool:
    """Whether an address is on this machine."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def look_up(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host, as this machine resolves them. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Hosts:
    """Resolves hosts, and decides which addresses may be called. Safe to share between threads.

    System look-ups have no time limit; here they are abandoned after a while.
    """

    def __init__(self, look_up: LookUp = look_up) -> None:
        self._look_up = look_up
        self._threads = ThreadPoolExecutor(_LOOK_UPS, thread_name_prefix="look-up")

    def addresses(
        self, host: str, port: int, *, may_be_local: bool, within_s: float | None
    ) -> list[str]:
        """Return the addresses that may be called for a host.

        If one of them is forbidden, all are: a mix is suspicious. Raises ForbiddenError, or
        UnreachableError if there is none.
        """
        found = [_read(text) for text in self._found(host, port, within_s)]
        if not found:
            raise UnreachableError("the name has no address")
        is_local = may_be_local and all(map(is_loopback, found))
        if not is_local and not all(map(is_public, found)):
            raise ForbiddenError("it is, or leads to, an address that is not public")
        return [str(address) for address in found]

    def close(self) -> None:
        """Stop looking up names."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _found(self, host: str, port: int, within_s: float | None) -> Sequence[str]:
        looked_up = self._threads.submit(self._look_up, host, port)
        try:
            return looked_up.result(within_s)
        except TookTooLong:
            looked_up.cancel()
            raise UnreachableError("looking up the name timed out") from None
        except (OSError, UnicodeError) as error:
            raise UnreachableError("the name was not found") from error


def _read(text: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise ForbiddenError("its address cannot be read") from None


def _inside(address: ipaddress.IPv6Address) -> Iterator[Address]:
    """Yield the IPv4 addresses that an IPv6 address leads to."""
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64:
        yield _V4(int(address) & 0xFFFFFFFF)


def _is_among(address: ipaddress.IPv4Address, networks: Sequence[ipaddress.IPv4Network]) -> bool:
    return any(address in network for network in networks)
