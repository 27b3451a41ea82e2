"""Addresses that a provider's servers can reach: which schemes, how long, no private host."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from kling_pricing.gateways.checks import Value

_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_LONGEST_LABEL = 63
_LOCAL_NAMES = ("localhost", "local", "internal")


def web_address(*schemes: str, most: int | None = None) -> Value:
    """Check an address: one of the schemes, a public host, and at most `longest` characters."""
    limit = f", at most {most} characters" if most else ""
    return Value(
        f"a public {' or '.join(schemes)} address{limit}",
        lambda value: (
            isinstance(value, str)
            and (most is None or len(value) <= most)
            and _is_reachable(value, schemes)
        ),
    )


def _is_reachable(address: str, schemes: tuple[str, ...]) -> bool:
    if not address.isprintable() or " " in address:
        return False
    try:
        parts = urlsplit(address)
        host = parts.hostname
        # Read only for its error: an invalid port is refused when it is accessed.
        parts.port  # noqa: B018 - reading it refuses a port that is none
    except ValueError:
        return False
    return parts.scheme in schemes and host is not None and _is_public(_looked_up(host))


def _looked_up(host: str) -> str:
    """Return a host as a resolver reads it; an empty one if none could."""
    try:
        # Other digits, letters and dots become plain ones: １０.0.0.1 is 10.0.0.1.
        plain = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
    return plain.lower().rstrip(".")


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        pass
    # Names are not looked up: prices use no network. Names that can only be local are refused.
    labels = host.split(".")
    is_name = all(0 < len(label) <= _LONGEST_LABEL for label in labels)
    # Browsers and libc read 2130706433 and 0x7f.1 as 127.0.0.1, though ipaddress does not. To them,
    # a name that ends in a number is an address or nothing.
    return is_name and labels[-1] not in _LOCAL_NAMES and _NUMBER.fullmatch(labels[-1]) is None
