"""A year of a small studio: ten thousand jobs in a ledger's file, to be drawn and written."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from kling_ledger.ledger import Ledger
from kling_reports import budgets, overview
from kling_reports.doors.budgets import BUDGET_KINDS
from kling_reports.frames import frame_of
from kling_reports.groups import read_groups
from kling_reports.query import Query
from kling_reports.report import Report

NOW: Final = datetime(2026, 10, 31, 22, tzinfo=UTC)
FIRST: Final = datetime(2025, 11, 1, 8, tzinfo=UTC)
JOBS: Final = 10_000

_PROVIDERS: Final[dict[str, tuple[str, int, float]]] = {
    "runapi": ("USD", 135_000, 0.46),
    "evolink": ("USD", 112_500, 0.26),
    "uniall": ("USD", 128_000, 0.12),
    "crun": ("crun-credit", 27_000_000, 0.16),
}
"""For each provider its unit, what a second costs in millionths, and its share of the jobs."""
_PROJECTS: Final = {
    "film/teaser": 0.30,
    "film/trailer": 0.18,
    "ads/spring": 0.16,
    "ads/autumn": 0.14,
    "social/shorts": 0.17,
    "R&D <lab>": 0.05,
}


def year(path: Path, *by: str) -> Report:
    """The overview of a year in a new file, with budgets as they stand on its last evening."""
    with Ledger(str(path)) as ledger:
        wallets = {
            unit: ledger.wallets.create(name, unit).id
            for name, unit in (("studio", "USD"), ("studio-crun", "crun-credit"))
        }
        _fill(path, wallets)
        query = Query(now=NOW, by=read_groups(by))
        answered = overview.report(ledger.database, query)
    standing = budgets.budgets(frame_of(list(_budgets()), BUDGET_KINDS), NOW)
    tables = [standing if one.name == "budgets" else one for one in answered.tables]
    return Report(
        **{name: getattr(answered, name) for name in Report.__slots__ if name != "tables"},
        tables=tuple(tables),
    )


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


def _job(
    number: int, at: datetime, chance: random.Random, wallets: dict[str, str]
) -> dict[str, Any]:
    provider = _drawn(chance, {name: share for name, (_, _, share) in _PROVIDERS.items()})
    unit, rate, _ = _PROVIDERS[provider]
    seconds = chance.choice((5, 5, 5, 10, 10, 15))
    quoted = rate * seconds
    state, cost = _end(at, quoted, chance)
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
        "project": _drawn(chance, _PROJECTS),
        "labels": ",accepted=no," if chance.random() < 0.06 else ",",
        "provider": provider,
        "model": chance.choice(("kling-2.6", "kling-3.0", "kling-3.0", "kling-3.0-omni")),
        "action": "text_to_video",
        "seconds": str(seconds),
        "billed_seconds": seconds,
        "resolution": chance.choice(("720p", "1080p", "1080p")),
        "sound": int(chance.random() < 0.4),
        "payload_hash": f"{number:064d}",
        "task_id": f"task_{number}",
        "actor": chance.choice(("ann", "ben", "render-bot")),
        "created_at": _us(at),
        "updated_at": _us(min(at + timedelta(minutes=4), NOW)),
        "problem": "the clip could not be made" if state == "rolled_back" else None,
    }


def _end(at: datetime, quoted: int, chance: random.Random) -> tuple[str, int | None]:
    """What became of a job, and what it cost: now and then not what was quoted."""
    age = NOW - at
    if age < timedelta(hours=6) or chance.random() < 0.0012:
        return ("in_doubt" if age > timedelta(days=1) else "submitted"), None
    if chance.random() < 0.045:
        return "rolled_back", None
    if chance.random() < 0.03:
        return "committed", quoted + chance.choice((-2, 1, 1, 3)) * (quoted // 10)
    return "committed", quoted


def _drawn(chance: random.Random, shares: dict[str, float]) -> str:
    return chance.choices(list(shares), list(shares.values()))[0]


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def _budgets() -> Iterator[dict[str, Any]]:
    for name, covers, unit, limit, spent, reserved in (
        ("film", "project film/", "USD", 900, 431_125_000, 6_750_000),
        ("ads", "project ads/", "USD", 350, 322_875_000, 12_250_000),
        ("social", "project social/", "USD", 150, 163_500_000, 2_025_000),
        ("crun-monthly", "provider crun", "crun-credit", 60_000, 21_870_000_000, 135_000_000),
        ("lab", "project R&D <lab>", "USD", 100, 0, 0),
    ):
        yield {
            "budget": name,
            "covers": covers,
            "mode": "refuse",
            "window": "month",
            "timezone": "UTC",
            "unit": unit,
            "limit_micro": limit * 1_000_000,
            "spent_micro": spent,
            "reserved_micro": reserved,
            "begins_at": _us(datetime(2026, 10, 1, tzinfo=UTC)),
            "ends_at": _us(datetime(2026, 11, 1, tzinfo=UTC)),
            "jobs": 400,
            "out_since": None,
            "changed_at": _us(datetime(2026, 9, 30, 9, tzinfo=UTC)),
            "changed_by": "ann",
            "change": "limit: 300 USD -> 350 USD" if name == "ads" else "set",
            "change_reason": "two more spots" if name == "ads" else None,
        }
