"""Forecasts: when a budget gets one, what it says, and how good such forecasts were.

A forecast continues the average daily spending since the window began. Half a minute says nothing
about a month, so there is none before a tenth of the window has passed (at least a day if the
window is longer than one, because work has a daily rhythm; three days without a window), and none
before ten jobs: from then on, one expensive clip moves it by only about a tenth. Each forecast is
graded by a back-test: the same method applied to earlier windows of the same budget, each cut where
it was as far in as the present one is now, compared with what was finally used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kling_ledger.ledger.ids import to_us
from kling_reports.division import WHOLE_PPM

DAY_US: Final = 86_400_000_000
FEWEST_JOBS: Final = 10
"""The fewest jobs, each costing or holding something, that a forecast can rest on."""

_ENDLESS_US: Final = 3 * DAY_US
_LAST: Final = datetime(9999, 1, 1, tzinfo=UTC)
NOT_GRADED: Final = "not graded yet"
"""Stands for what a forecast was graded on, if there is nothing."""


def is_early(*, jobs: int, elapsed_us: int, whole_us: int | None) -> bool:
    """Whether it is too early for a forecast; `whole_us` is None for a budget without an end."""
    return jobs < FEWEST_JOBS or elapsed_us < _least_us(whole_us)


def daily(spent: int, elapsed_us: int) -> int:
    """Return the average daily spending, in millionths, to the nearest."""
    return _nearest(spent * DAY_US, elapsed_us)


def at_end(*, spent: int, reserved: int, elapsed_us: int, rest_us: int) -> int:
    """Return what will be used at the end, in millionths: reserved amounts count as spent."""
    return spent + reserved + _nearest(spent * max(rest_us, 0), elapsed_us)


def runs_out_at(*, left: int, spent: int, elapsed_us: int, now_us: int) -> int | None:
    """Return when nothing will be left; None for never, and if nothing is left already."""
    if left <= 0 or spent <= 0:
        return None
    out = now_us + left * elapsed_us // spent
    return out if out < to_us(_LAST) else None


def grade(pasts: Iterable[Mapping[Any, Any]]) -> tuple[int | None, str]:
    """Return the median error of past forecasts, in millionths, and what they were tested on.

    `pasts` are rows of doors.windows.pasts of one budget. If no earlier window allows a forecast,
    the present one so far is used; if that does not either, it is not graded yet.
    """
    errors: dict[bool, list[int]] = {True: [], False: []}
    for past in pasts:
        error = _error_ppm(past)
        if error is not None:
            errors[past["seen_at"] < past["ends_at"]].append(error)
    if errors[False]:
        count = len(errors[False])
        return _median(errors[False]), f"{count} earlier window{'s' if count > 1 else ''}"
    if errors[True]:
        return _median(errors[True]), "this window so far"
    return None, NOT_GRADED


def _error_ppm(past: Mapping[Any, Any]) -> int | None:
    """Return a forecast's error as a share of what was used; None if there was no forecast."""
    begins, cut, seen, ends = (
        to_us(past[name].to_pydatetime()) for name in ("begins_at", "cut_at", "seen_at", "ends_at")
    )
    spent, reserved, used = (int(past[f"{name}_micro"]) for name in ("spent", "reserved", "used"))
    if is_early(jobs=int(past["jobs"]), elapsed_us=cut - begins, whole_us=ends - begins):
        return None
    told = at_end(spent=spent, reserved=reserved, elapsed_us=cut - begins, rest_us=seen - cut)
    return None if used <= 0 else _nearest(abs(told - used) * WHOLE_PPM, used)


def _median(errors: list[int]) -> int:
    """Return the median; between two middle values, their mean rounded half up."""
    ordered, half = sorted(errors), len(errors) // 2
    return ordered[half] if len(errors) % 2 else (ordered[half - 1] + ordered[half] + 1) // 2


def _least_us(whole_us: int | None) -> int:
    if whole_us is None:
        return _ENDLESS_US
    tenth = -(-whole_us // 10)
    # A day may have 25 hours, when the clocks go back.
    return max(tenth, DAY_US) if whole_us >= 2 * DAY_US else tenth


def _nearest(part: int, by: int) -> int:
    return (2 * part + by) // (2 * by)
