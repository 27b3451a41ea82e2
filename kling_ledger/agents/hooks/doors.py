"""Doors: where providers take jobs, found in a text however the address is composed.

Source: https://runapi.ai/zh-CN/openclaw-kling.md, https://github.com/CrunTeam/crun-agent-skills,
https://docs.evolink.ai/en/api-manual/ and https://docs.uniall.ai/models/video/kling, checked
2026-11-20.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from kling_ledger.agents.child.opened import ALIASES
from kling_ledger.providers.registry import FACTS

_SUBMIT: Final = re.compile(
    r"(?:(?P<runapi>/api/v1/kling/[\w-]+)"
    r"|(?P<crun>/api/v1/client/job/createtask)"
    r"|(?P<evolink>/v1/videos/generations)"
    r"|(?P<uniall>/v1/video/generations))"
    # A longer path is another address: that of a task, which is free to poll.
    r"(?!/?[\w-])"
)
_DOMAINS: Final = {
    ".".join(host.split(".")[-2:]): name
    for name, facts in FACTS.items()
    for host in (str(urlsplit(facts.base_url).hostname), *ALIASES.get(name, ()))
}
_HOST: Final = re.compile(
    r"(?<![\w-])(?:[\w-]{1,63}\.){0,8}(" + "|".join(map(re.escape, _DOMAINS)) + r")(?![\w-]|\.\w)"
)
_BEFORE: Final = re.compile(r"[^\s'\"`,=?(){};|<>]*\Z")
_FARTHEST: Final = 300
_GLUE: Final = re.compile(r"""["']\s*(?:\+\s*)?["']|(?<=\S)["'](?=\S)""")
_SENDING: Final = re.compile(r"\b(?:post|put|urlopen|fetch)\b|(?<!\S)(?:-d|--data\S*|--json|-f)\b")
_CLIENT: Final = re.compile(r"\bklingclient\b|\brunapi\.kling\b|@runapi\.ai/kling\b")
_CALLED: Final = re.compile(r"\.(?:run|create)\s*\(")
_GUARDED: Final = re.compile(r"\bmetered\s*\(|\bkling_ledger\b")


@dataclass(frozen=True, slots=True)
class Door:
    """A provider's door in a text: where it leads, and whether it is seen or only suspected."""

    provider: str
    address: str
    is_seen: bool


def door_in(text: str) -> Door | None:
    """Return the door through which a text would send a job; a seen one before a suspected one."""
    found = list(_doors(text.casefold()))
    return next((door for door in found if door.is_seen), found[0] if found else None)


def _doors(text: str) -> Iterator[Door]:
    hosts = [found[0] for found in _HOST.finditer(text)]
    versions = dict.fromkeys((text, _GLUE.sub("", text), unquote(text)))
    paths = [(one, path) for one in versions for path in _SUBMIT.finditer(one)]
    for version, path in paths:
        host = _host_before(version, path.start())
        if host is None and hosts:
            yield Door(_provider(hosts[0]), hosts[0] + path[0], is_seen=True)
        elif host is None:
            yield Door(str(path.lastgroup), path[0], is_seen=False)
        elif _HOST.fullmatch(host):
            yield Door(_provider(host), host + path[0], is_seen=True)
    if not paths:
        yield from _suspected(text)


def _suspected(text: str) -> Iterator[Door]:
    """Yield the doors of a text that hides its target: only a host, or a provider's client."""
    hosts = _HOST.finditer(text) if _SENDING.search(text) else ()
    for found in hosts:
        goes_on = text[found.end() : found.end() + 2].lstrip("/")[:1]
        if not goes_on or goes_on in "\"'`$+{ \n)":
            yield Door(_provider(found[0]), found[0], is_seen=False)
    if _CLIENT.search(text) and _CALLED.search(text) and not _GUARDED.search(text):
        is_elsewhere = "base_url" in text and not _HOST.search(text)
        if not is_elsewhere:
            yield Door("runapi", "its own client", is_seen=True)


def _provider(host: str) -> str:
    return _DOMAINS[".".join(host.split(".")[-2:])]


def _host_before(text: str, place: int) -> str | None:
    """Return the host in front of a path, or None if it cannot be read."""
    before = _BEFORE.search(text[max(0, place - _FARTHEST) : place])
    written = before[0] if before else ""
    rest = written.rpartition("://")[2].lstrip("/")
    host = rest.partition("/")[0].rpartition("@")[2]
    if not host.startswith("["):
        host = host.partition(":")[0].rstrip(".")
    is_host = "$" not in host and ("." in host or host == "localhost" or host.startswith("["))
    return host if is_host else None
