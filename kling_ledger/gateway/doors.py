"""Doors: which of a provider's addresses start jobs, poll them, or are known to be free.

A door is derived from the provider's own dialect, so paths are defined once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from urllib.parse import parse_qs, unquote

from kling_ledger.gateway.paths import PathError, alike
from kling_ledger.gateway.settings import PROVIDERS
from kling_ledger.providers.http_provider import Dialect
from kling_ledger.providers.registry import wire

READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that only read."""


@dataclass(frozen=True, slots=True)
class Submit:
    """A request that starts a job; `action` is None if only the body defines it."""

    action: str | None = None


@dataclass(frozen=True, slots=True)
class Poll:
    """A poll of one task."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Other:
    """Anything else. `is_free` says that it is known to cost nothing."""

    is_free: bool


Way = Submit | Poll | Other


@dataclass(frozen=True)
class Door:
    """One provider's addresses. `aliases` also start jobs; `free` are writes that cost nothing."""

    dialect: Dialect
    aliases: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = field(default=())
    """Below these paths every write counts as a job, so none is passed through."""

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.dialect.facts.name

    def way(self, method: str, path: str, query: str) -> Way:
        """Classify a request. Raises PathError for one that resembles a submission."""
        if method == "POST" and (found := self._submits.fullmatch(path)):
            return Submit(found.groupdict().get("action"))
        if method in READS:
            return self._read(method, path, query)
        loose = alike(path)
        # Several providers may share one upstream address.
        if any(door.is_nearly_a_submit(loose) for door in DOORS.values()):
            raise PathError("start jobs by POST at the documented address")
        return Other(is_free=loose in self.free)

    def is_nearly_a_submit(self, loose: str) -> bool:
        """Whether a lenient server may start a job at a path, as read by `alike`."""
        is_below = loose.startswith(self.prefixes or ("\0",))
        return is_below or self._submits_alike.fullmatch(loose) is not None

    def _read(self, method: str, path: str, query: str) -> Way:
        found = self._polls.fullmatch(path)
        if found is None and self._polls_alike.fullmatch(alike(path)):
            # Otherwise the owner of the task would not be checked.
            raise PathError("poll tasks at the documented address")
        if method != "GET" or found is None:
            return Other(is_free=True)
        return Poll(found["task_id"]) if self._asks_by is None else self._read_by(query)

    def _read_by(self, query: str) -> Way:
        asks_by = self._asks_by or ""
        times = unquote(query).lower().count(asks_by)
        named = parse_qs(query).get(asks_by, [])
        if times == len(named) == 1:
            return Poll(named[0])
        if times:
            raise PathError(f"{asks_by} names one task, once")
        return Other(is_free=True)

    @cached_property
    def _submits(self) -> re.Pattern[str]:
        paths = (self.dialect.submit_path, *self.aliases)
        return re.compile("|".join(map(_pattern, paths)))

    @cached_property
    def _submits_alike(self) -> re.Pattern[str]:
        return re.compile(self._submits.pattern, re.IGNORECASE)

    @cached_property
    def _polls_alike(self) -> re.Pattern[str]:
        return re.compile(self._polls.pattern, re.IGNORECASE)

    @cached_property
    def _polls(self) -> re.Pattern[str]:
        return re.compile(_pattern(self.dialect.task_path.partition("?")[0]))

    @cached_property
    def _asks_by(self) -> str | None:
        """Return the query parameter with the task id, or None if the path has it."""
        return self.dialect.task_path.partition("?")[2].partition("=")[0] or None


def _pattern(path: str) -> str:
    """Write a path as a regular expression with its `{names}` as groups."""
    return re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))


DOORS: Final[Mapping[str, Door]] = {
    name: Door(
        wire(name),
        aliases={"uniall": ("/v1/videos/generations",)}.get(name, ()),
        free={
            "runapi": ("/api/v1/price_quotes",),
            "crun": ("/api/v1/client/job/estimatetask", "/job/estimate-credits"),
        }.get(name, ()),
        prefixes={"runapi": ("/api/v1/kling/",)}.get(name, ()),
    )
    for name in PROVIDERS
}
"""The door of each provider.

Sources: https://docs.uniall.ai/models/video/kling (the address for compatible clients),
https://github.com/runapi-ai/core-sdk and https://github.com/CrunTeam/crun-agent-skills, checked
2026-11-20.
"""
