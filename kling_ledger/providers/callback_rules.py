"""Which `callback_url` each provider would call: checked before a job is reserved or sent."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from kling_ledger.providers.facts import CallbackRule, ProviderFacts
from kling_pricing.errors import Problem, RequestError
from kling_pricing.gateways.addresses import web_address


def check_callback_url(
    facts: ProviderFacts, body: Mapping[str, Any], *, address: str | None = None
) -> None:
    """Raise RequestError, naming the rule, for a `callback_url` that the provider would not call.

    A provider whose `address` is on this machine is a rehearsal, and can reach this machine.
    """
    given = body.get("callback_url")
    if given is None or _follows(facts.callback, given, address):
        return
    allowed = f"{rule_in_words(facts.callback)}, as {facts.name} documents it"
    raise RequestError([Problem("callback_url", given, allowed)])


def rule_in_words(rule: CallbackRule | None) -> str:
    """Say a rule for people: `a public https address, at most 2048 characters`."""
    if rule is None:
        return "none"
    public = "public " if rule.is_public else ""
    limit = f", at most {rule.longest} characters" if rule.longest else ""
    return f"a {public}{' or '.join(rule.schemes)} address{limit}"


def _follows(rule: CallbackRule | None, given: object, address: str | None) -> bool:
    if rule is None or not isinstance(given, str):
        return False
    if rule.is_public and not is_loopback(address):
        return web_address(*rule.schemes, most=rule.longest).allows(given)
    return _is_address(given, rule.schemes if not rule.is_public else ("https", "http"))


def _is_address(given: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(given)
    except ValueError:
        return False
    return given.isprintable() and parts.scheme in schemes and bool(parts.hostname)


def is_loopback(address: str | None) -> bool:
    """Whether an address is on this machine, as a sandbox's is."""
    return is_loopback_host(urlsplit(address or "").hostname or "")


def is_loopback_host(host: str) -> bool:
    """Whether a host is this machine; an IPv6 address comes without brackets."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
