"""Forecasts: when one may be made of a budget, what it says, and how good such forecasts were.

A forecast goes on at what was spent a day since the window began. Half a minute of a month says
nothing of it, so there is none before a tenth of the window has passed (a day at least of a window
that is longer than one: work has the rhythm of a day), or three days without a window, and before
ten jobs: one dear clip more or less then moves it by about a tenth.

Each is graded by a back-test: the same method on earlier windows of the same budget, each cut where
it was as far in as the present one is now, against what was used of it in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kling_ledger.ledger.ids import to_us
from kling_reports.division import WHOLE_PPM

DAY_US: Final = 86_400_000_000
FEWEST_JOBS: Final = 10
"""How many jobs that cost or hold something a forecast rests on at least."""

_ENDLESS_US: Final = 3 * DAY_US
_LAST: Final = datetime(9999, 1, 1, tzinfo=UTC)
NOT_GRADED: Final = "not graded yet"
"""What stands in place of what a forecast was graded on, where there is nothing."""


def is_early(*, jobs: int, elapsed_us: int, whole_us: int | None) -> bool:
    """Whether it is too early for a forecast; `whole_us` is None for a budget without end."""
    return jobs < FEWEST_JOBS or elapsed_us < _least_us(whole_us)


def daily(spent: int, elapsed_us: int) -> int:
    """Return what was spent a day, in millionths, to the nearest."""
    return _nearest(spent * DAY_US, elapsed_us)


def at_end(*, spent: int, reserved: int, elapsed_us: int, rest_us: int) -> int:
    """Return what will be used at the end, in millionths: what is reserved counts as spent."""
    return spent + reserved + _nearest(spent * max(rest_us, 0), elapsed_us)


def runs_out_at(*, left: int, spent: int, elapsed_us: int, now_us: int) -> int | None:
    """Return when nothing will be left; None for never, and where nothing is left already."""
    if left <= 0 or spent <= 0:
        return None
    out = now_us + left * elapsed_us // spent
    return out if out < to_us(_LAST) else None


def grade(pasts: Iterable[Mapping[Any, Any]]) -> tuple[int | None, str]:
    """Return the median error of forecasts of a past, in millionths, and what they were of.

    `pasts` are rows of doors.windows.pasts of one budget. Without an earlier window that allows a
    forecast, the present one so far has to do; without that too, it is not graded yet.
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
    """Return how far off a forecast was, as a share of what was used; None where none was made."""
    begins, cut, seen, ends = (
        to_us(past[name].to_pydatetime()) for name in ("begins_at", "cut_at", "seen_at", "ends_at")
    )
    spent, reserved, used = (int(past[f"{name}_micro"]) for name in ("spent", "reserved", "used"))
    if is_early(jobs=int(past["jobs"]), elapsed_us=cut - begins, whole_us=ends - begins):
        return None
    told = at_end(spent=spent, reserved=reserved, elapsed_us=cut - begins, rest_us=seen - cut)
    return None if used <= 0 else _nearest(abs(told - used) * WHOLE_PPM, used)


def _median(errors: list[int]) -> int:
    """Return the middle one, or what lies half way between the two middle ones, half up."""
    ordered, half = sorted(errors), len(errors) // 2
    return ordered[half] if len(errors) % 2 else (ordered[half - 1] + ordered[half] + 1) // 2


def _least_us(whole_us: int | None) -> int:
    if whole_us is None:
        return _ENDLESS_US
    tenth = -(-whole_us // 10)
    # A day itself may have 25 hours, when the clocks go back.
    return max(tenth, DAY_US) if whole_us >= 2 * DAY_US else tenth


def _nearest(part: int, by: int) -> int:
    return (2 * part + by) // (2 * by)
