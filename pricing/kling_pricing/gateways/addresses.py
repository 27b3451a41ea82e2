"""Addresses that a provider's servers can reach: which schemes, how long, no private host."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from kling_pricing.gateways.checks import Value

_NUMBER_HOST = re.compile(r"(0x[0-9a-f]+|[0-9]+)(\.(0x[0-9a-f]+|[0-9]+)){0,3}", re.IGNORECASE)
_LOCAL_NAMES = ("localhost", "local", "internal")


def web_address(*schemes: str, most: int | None = None) -> Value:
    """Check an address with one of the schemes on a public host, of at most so many characters."""
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
        # Read for its error alone: a port that is no number is only refused when it is looked at.
        parts.port  # noqa: B018 - reading it refuses a port that is none
    except ValueError:
        return False
    return parts.scheme in schemes and host is not None and _is_public(host.rstrip("."))


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        pass
    # Names are not looked up: prices know no network. Those that can only be local are refused.
    is_local = host == "" or host.rsplit(".", 1)[-1] in _LOCAL_NAMES
    # Browsers and libc read 2130706433 and 0x7f.1 as 127.0.0.1, though ipaddress does not.
    return not is_local and _NUMBER_HOST.fullmatch(host) is None
