"""A year of a small studio: ten thousand jobs in a ledger's file, to be drawn and written.

Its last month is not over, and has what a reader should be told: a script that ran away, budgets
over their limits, a model that fails, jobs without a project, and long names.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from kling_ledger.ledger import Ledger
from kling_ledger.ledger.scopes import Scope
from kling_pricing.money import Money
from kling_reports import overview
from kling_reports.groups import read_groups
from kling_reports.query import Query
from kling_reports.report import Report

Name = TypeVar("Name", str, str | None)

NOW: Final = datetime(2026, 11, 26, 10, tzinfo=UTC)
FIRST: Final = datetime(2025, 12, 1, 8, tzinfo=UTC)
JOBS: Final = 10_000
RUNAWAY: Final = datetime(2026, 11, 17, 2, tzinfo=UTC)
RUNAWAY_JOBS: Final = 60
WORSE: Final = datetime(2026, 11, 1, tzinfo=UTC)
LONG: Final = "clients/northern-lights-broadcasting/winter-campaign-2026/episode-07-directors-cut"

_PROVIDERS: Final[dict[str, tuple[str, int, float]]] = {
    "runapi": ("USD", 135_000, 0.46),
    "evolink": ("USD", 112_500, 0.26),
    "uniall": ("USD", 128_000, 0.12),
    "crun": ("crun-credit", 27_000_000, 0.16),
}
"""For each provider its unit, what a second costs in millionths, and its share of the jobs."""
_PROJECTS: Final[dict[str | None, float]] = {
    "film/teaser": 0.26,
    "film/trailer": 0.15,
    "film/spot": 0.05,
    "ads/spring": 0.13,
    "ads/autumn": 0.12,
    "social/shorts": 0.15,
    LONG: 0.07,
    "R&D <lab>": 0.03,
    None: 0.04,
}
_BUDGETS: Final = (
    ("film", "450 USD", Scope(project="film/")),
    ("ads", "310 USD", Scope(project="ads/")),
    ("social", "135 USD", Scope(project="social/")),
    ("crun-monthly", "60000 crun-credit", Scope(provider="crun")),
    ("lab", "0 USD", Scope(project="R&D <lab>")),
    ("spare", "0 USD", Scope(project="nothing/")),
    ("everything-that-all-teams-may-spend-in-a-month", "5000 USD", Scope()),
)


def year(path: Path, *by: str) -> Report:
    """The overview of a year in a new file, on a morning before its last month ends."""
    with Ledger(str(path)) as ledger:
        wallets = {
            unit: ledger.wallets.create(name, unit).id
            for name, unit in (("studio", "USD"), ("studio-crun", "crun-credit"))
        }
        for name, limit, scope in _BUDGETS:
            ledger.budgets.set(name, Money.parse(limit), scope=scope, window="month")
        _fill(path, wallets)
        query = Query(now=NOW, by=read_groups(by))
        return replace(overview.report(ledger.database, query), ledger="northern-lights")


def _fill(path: Path, wallets: dict[str, str]) -> None:
    jobs = list(_jobs(wallets))
    places = ", ".join(f":{name}" for name in jobs[0])
    with closing(sqlite3.connect(path)) as file, file:
        file.executemany(f"INSERT INTO reservation ({', '.join(jobs[0])}) VALUES ({places})", jobs)


def _jobs(wallets: dict[str, str]) -> Iterator[dict[str, Any]]:
    chance = random.Random(20261031)  # noqa: S311 - the same year every time
    stretch = (NOW - FIRST) / JOBS
    for number in range(JOBS):
        # More as the year goes on: the root makes early jobs rarer.
        at = FIRST + stretch * JOBS * (number / JOBS) ** 0.8
        yield _job(number, at, chance, wallets)
    for number in range(RUNAWAY_JOBS):
        at = RUNAWAY + timedelta(minutes=2 * number)
        wild = {"provider": "runapi", "project": "film/spot", "actor": "render-bot"}
        job = _job(JOBS + number, at, chance, wallets, **wild)
        yield job


def _job(
    number: int, at: datetime, chance: random.Random, wallets: dict[str, str], **given: str
) -> dict[str, Any]:
    drawn = _drawn(chance, {name: share for name, (_, _, share) in _PROVIDERS.items()})
    provider = given.get("provider", drawn or "")
    unit, rate, _ = _PROVIDERS[provider]
    seconds = chance.choice((5, 5, 5, 10, 10, 15))
    quoted = rate * seconds
    model = chance.choice(("kling-2.6", "kling-3.0", "kling-3.0", "kling-3.0-omni"))
    failing = 0.4 if (provider, model) == ("evolink", "kling-2.6") and at > WORSE else 0.045
    state, cost = _end(at, quoted, chance, failing)
    held = quoted if cost is None and state != "rolled_back" else 0
    refunded = cost if cost is not None and chance.random() < 0.01 else 0
    usd = quoted if unit == "USD" else quoted // 200
    return {
        "id": f"res_{number:026d}",
        "wallet_id": wallets[unit],
        "state": state,
        "step": 4,
        "unit": unit,
        "reserved_micro": quoted,
        "held_micro": held,
        "committed_micro": cost,
        "refunded_micro": refunded,
        "usd_micro": usd,
        "usd_held_micro": usd if held else 0,
        "usd_spent_micro": 0 if cost is None else (cost - refunded) * usd // quoted,
        "settled_by": None if cost is None else chance.choice(("provider", "provider", "quote")),
        "project": given.get("project", _drawn(chance, _PROJECTS)),
        "labels": ",accepted=no," if chance.random() < 0.06 else ",",
        "provider": provider,
        "model": model,
        "action": "text_to_video",
        "seconds": str(seconds),
        "billed_seconds": seconds,
        "resolution": chance.choice(("720p", "1080p", "1080p")),
        "sound": int(chance.random() < 0.4),
        "payload_hash": f"{number:064d}",
        "task_id": f"task_{number}",
        "actor": given.get("actor", chance.choice(("ann", "ben", "render-bot"))),
        "created_at": _us(at),
        "updated_at": _us(min(at + timedelta(minutes=4), NOW)),
        "problem": "the clip could not be made" if state == "rolled_back" else None,
    }


def _end(
    at: datetime, quoted: int, chance: random.Random, failing: float
) -> tuple[str, int | None]:
    """What became of a job, and what it cost: now and then not what was quoted."""
    age = NOW - at
    if age < timedelta(hours=6) or chance.random() < 0.0012:
        return ("in_doubt" if age > timedelta(days=1) else "submitted"), None
    if chance.random() < failing:
        return "rolled_back", None
    if chance.random() < 0.03:
        return "committed", quoted + chance.choice((-2, 1, 1, 3)) * (quoted // 10)
    return "committed", quoted


def _drawn(chance: random.Random, shares: Mapping[Name, float]) -> Name:
    return chance.choices(list(shares), list(shares.values()))[0]


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)
