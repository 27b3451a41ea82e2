"""One value of a report as text: exact for programs, laid out for people, harmless in a sheet."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from kling_pricing.money import plain
from kling_reports.report import Cell, Column, Kind, Report

JOB: Final = "reservation_id"
"""The column that says which job a row is of."""

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
    """Return what people read where a job was given no such word: `(no project)`.

    A blank would look like a mistake. None for a column in which it says what it should.
    """
    word, _, name = column.partition(":")
    said = name if word == "label" else _WORDS.get(word)
    return said and f"(no {said})"


def written(value: Cell, kind: Kind) -> str | int | bool | None:
    """Return a value as JSON holds it: amounts as decimal strings, times as ISO 8601 has them."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, Decimal):
        return plain(value)
    return value.isoformat()[:7] if kind == "month" else value.isoformat()


def harmless(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: with a quote before one's first sign.

    Source: OWASP ASVS 5.0 1.2.10, checked 2026-11-20; a CR, LF and the full-width signs besides.
    """
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def visible(text: str) -> str:
    """Return text in one line, in which nothing steers a terminal or turns its direction."""
    return _CONTROL.sub(" ", text)


def shown(value: Cell, column: Column) -> str:
    """Return a value as a person reads it, blank if unknown.

    An amount has all of its places and two at least; a percentage is rounded to one.
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
    """Return what a report is called, of which ledger: `studio: Overview`."""
    name = visible(report.ledger)
    return f"{name}: {visible(report.title)}" if name else visible(report.title)


def is_duration(column: Column) -> bool:
    """Whether a column counts how long something lasts, as `age_seconds`; not a clip's seconds."""
    return column.kind == "seconds" and column.name.endswith("_seconds")


def facts(report: Report) -> list[tuple[str, str]]:
    """Return what a reader has to know of how the question was asked, as pairs of text."""
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
    """Write an instant in a zone: only its day where the day begins, seconds where it has some."""
    local = at.astimezone(ZoneInfo(zone))
    if not (local.hour or local.minute or local.second):
        return f"{local:%Y-%m-%d}"
    return f"{local:%Y-%m-%d %H:%M}{f':{local:%S}' if local.second else ''}"


def _lasting(seconds: int) -> str:
    """Write a stretch of time to the second: `159 d 10:26:59`."""
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3_600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days:,} d {clock}" if days else clock


def _amount(value: Decimal) -> str:
    whole, _, places = f"{value:,.6f}".partition(".")
    return f"{whole}.{places.rstrip('0'):0<{_LEAST_PLACES}}"
