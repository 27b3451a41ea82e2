"""One value of a report as text: exact for programs, readable for people, safe in a spreadsheet."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from kling_pricing.money import plain
from kling_reports.report import Cell, Column, Kind, Report

JOB: Final = "reservation_id"
"""The column that identifies a row's job."""

_WORDS: Final = {
    **{word: word for word in ("project", "user", "provider", "model", "wallet")},
    "actor": "user",
}

_FORMULA_STARTS: Final = tuple("=+-@\t\r\n\0＝＋－＠")
_CONTROL: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_LEAST_PLACES: Final = 2


def nameless(column: str) -> str | None:
    """Return the text shown for a job without such a word: `(no project)`.

    A blank would look like a mistake. None for a column in which a blank is right.
    """
    word, _, name = column.partition(":")
    said = name if word == "label" else _WORDS.get(word)
    return said and f"(no {said})"


def written(value: Cell, kind: Kind) -> str | int | bool | None:
    """Return a value for JSON: amounts as decimal strings, times in ISO 8601."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, Decimal):
        return plain(value)
    return value.isoformat()[:7] if kind == "month" else value.isoformat()


def harmless(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: with a quote before a leading sign.

    Source: OWASP ASVS 5.0 1.2.10, checked 2026-11-20; we add CR, LF and the full-width signs.
    """
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def visible(text: str) -> str:
    """Return text on one line without characters that control a terminal or text direction."""
    return _CONTROL.sub(" ", text)


def shown(value: Cell, column: Column) -> str:
    """Return a value as a person reads it, blank if unknown.

    An amount has all of its decimals, at least two; a percentage is rounded to one.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return f"{value * 100:,.1f} %" if column.kind == "percent" else _amount(value)
    if isinstance(value, int):
        return _lasting(value) if is_duration(column) else f"{value:,}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return str(written(value, column.kind))


def titled(report: Report) -> str:
    """Return a report's title with its ledger: `studio: Overview`."""
    name = visible(report.ledger)
    return f"{name}: {visible(report.title)}" if name else visible(report.title)


def is_duration(column: Column) -> bool:
    """Whether a column is a duration, like `age_seconds`; not a clip's seconds."""
    return column.kind == "seconds" and column.name.endswith("_seconds")


def facts(report: Report) -> list[tuple[str, str]]:
    """Return what a reader should know about the question, as pairs of text."""
    asked = [
        ("Period", report.period or _between(report)),
        ("Time zone", report.timezone),
        ("Only", " and ".join(report.filters)),
        ("Amounts", report.currency or "each in its own unit"),
        ("As of", _moment(report.generated_at, report.timezone)),
    ]
    return [(name, text) for name, text in asked if text]


def _between(report: Report) -> str:
    starts_at, ends_at = report.span.starts_at, report.span.ends_at
    start = "" if starts_at is None else f"from {_moment(starts_at, report.timezone)}"
    end = "" if ends_at is None else f"up to {_moment(ends_at, report.timezone)} (exclusive)"
    return f"{start} {end}".strip() or "all that is recorded"


def _moment(at: datetime, zone: str) -> str:
    """Write an instant in a zone: only its day at midnight, with seconds if it has any."""
    local = at.astimezone(ZoneInfo(zone))
    if not (local.hour or local.minute or local.second):
        return f"{local:%Y-%m-%d}"
    return f"{local:%Y-%m-%d %H:%M}{f':{local:%S}' if local.second else ''}"


def _lasting(seconds: int) -> str:
    """Write a duration to the second: `159 d 10:26:59`."""
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3_600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days:,} d {clock}" if days else clock


def _amount(value: Decimal) -> str:
    whole, _, places = f"{value:,.6f}".partition(".")
    return f"{whole}.{places.rstrip('0'):0<{_LEAST_PLACES}}"
