"""Addresses: which are on this machine (callbacks go only there), and which are public."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from unicodedata import normalize
from urllib.parse import urlsplit, urlunsplit

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def is_loopback(address: object) -> bool:
    """Whether a value is an http or https address on this machine."""
    if not isinstance(address, str) or not address.isascii() or not address.isprintable():
        return False
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and parts.hostname in _LOOPBACK


def is_public(address: object, *schemes: str) -> bool:
    """Whether a value is an address with one of the schemes that is not plainly internal."""
    if not isinstance(address, str):
        return False
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    if parts.scheme not in schemes or not parts.hostname:
        return False
    # Full-width digits and letters resolve to the same address.
    host = normalize("NFKC", parts.hostname).replace("\u3002", ".")
    try:
        return ip_address(host).is_global
    except ValueError:
        # A name: where it leads is known only when it is called, which the sandbox never does.
        return host != "localhost"


def redirected(address: str, to: str) -> str:
    """Return the address to call instead: another host, with its path if it has one."""
    aim, named = urlsplit(to), urlsplit(address)
    if aim.path.strip("/") or aim.query:
        return to
    return urlunsplit((aim.scheme, aim.netloc, named.path or "/", named.query, ""))
