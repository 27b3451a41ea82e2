"""Progress of a batch: done, running, failed, spent, reserved, left, time to go."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from kling_ledger.cli.output import say
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.jobs.batch_jobs import BatchJob, Outcome

_TELL_EVERY_S: Final = 10.0
"""The longest time between two lines where there is no live display."""

_TELL_EVERY_SHARE: Final = 0.1
"""The share of the jobs after which a line is always written."""

_WIDTH: Final = 40
"""About how many columns a live display takes: few terminals are narrower."""

_STATES: Final = ("done", "running", "failed", "charged_without_clip", "in_doubt", "waiting")
_OVER: Final = ("done", "failed", "charged_without_clip", "in_doubt")
_AMOUNTS: Final = ("spent", "reserved", "left")


class Progress:
    """The figures of a batch, updated as outcomes change. One thread may update, another read."""

    def __init__(self, jobs: Iterable[BatchJob], known: Mapping[int, Outcome]) -> None:
        self._figures: Counter[tuple[str, str]] = Counter()
        self._outcomes: dict[int, Outcome] = {}
        self._lock = Lock()
        self.total = 0
        for job in jobs:
            self.total += 1
            self._add(_of_waiting(job))
        for outcome in known.values():
            self.change(outcome)
        self._known = self.over
        self._started_at = time.monotonic()

    def change(self, outcome: Outcome) -> None:
        """Record the present outcome of a job."""
        place = outcome.job.place
        with self._lock:
            before = self._outcomes.get(place)
            self._add(_of_waiting(outcome.job) if before is None else _of(before), -1)
            self._add(_of(outcome))
            self._outcomes[place] = outcome

    def summary(self) -> dict[str, Any]:
        """Return the figures: counts, and amounts as text by unit."""
        with self._lock:
            figures = dict(self._figures)
        return {
            "jobs": self.total,
            **{state: figures.get((state, ""), 0) for state in _STATES},
            **{name: _amounts(figures, name) for name in _AMOUNTS},
            "eta": _span(self._left_s()),
        }

    @property
    def over(self) -> int:
        """How many jobs are finished for this run."""
        return sum(self._figures[state, ""] for state in _OVER)

    def _add(self, figures: Mapping[tuple[str, str], int], times: int = 1) -> None:
        for name, figure in figures.items():
            self._figures[name] += times * figure

    def _left_s(self) -> float | None:
        """Return how long the rest will take, judging by the jobs of this run."""
        over = self.over
        if over <= self._known or over == self.total:
            return None
        took_s = time.monotonic() - self._started_at
        return took_s / (over - self._known) * (self.total - over)


def _of_waiting(job: BatchJob) -> dict[tuple[str, str], int]:
    amount: Any = job.cost
    return {("waiting", ""): 1, ("left", amount.unit): amount.micro}


def _of(outcome: Outcome) -> dict[tuple[str, str], int]:
    """Return what an outcome adds to the figures: its state, and its amounts by unit."""
    figures = {(_state(outcome), ""): 1}
    found = outcome.reservation
    if found is not None:
        figures["reserved", found.held.unit] = found.held.micro
        if found.committed is not None:
            figures["spent", found.committed.unit] = found.committed.micro
    return figures


def _state(outcome: Outcome) -> str:
    """Return a job's state; a job that a provider accepted is running, polled or not."""
    found = outcome.reservation
    if found is not None and found.is_open and found.state != "in_doubt":
        return "running"
    if outcome.is_running:
        return "running"
    if outcome.is_done:
        return "done"
    if outcome.is_charged_without_clip:
        return "charged_without_clip"
    return "in_doubt" if outcome.is_open else "failed"


@dataclass(frozen=True, slots=True)
class Display:
    """Where progress is shown: call `changed` after each change, and `say` to print a line."""

    changed: Callable[[], None]
    say: Callable[[str], None]


@contextmanager
def shown(progress: Progress) -> Iterator[Display]:
    """Show progress while a batch runs: live on a terminal, an occasional line elsewhere."""
    if not sys.stderr.isatty():
        yield Display(_Lines(progress), say)
        return
    from rich.console import Console
    from rich.live import Live

    def view() -> Any:
        return _view(progress)

    def say_above(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    console = Console(stderr=True)
    with Live(console=console, get_renderable=view, refresh_per_second=5):
        yield Display(lambda: None, say_above)


class _Lines:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._count_on()

    def __call__(self) -> None:
        """Write a line if one is due."""
        over = self._progress.over
        if time.monotonic() >= self._next_at or over >= self._next_over:
            self._count_on()
            say(_line(self._progress.summary()))

    def _count_on(self) -> None:
        self._next_at = time.monotonic() + _TELL_EVERY_S
        step = max(1, round(self._progress.total * _TELL_EVERY_SHARE))
        self._next_over = self._progress.over + step


def _line(now: Mapping[str, Any]) -> str:
    shown = (state for state in _STATES if now[state] or state != "charged_without_clip")
    counts = ", ".join(f"{now[state]} {state.replace('_', ' ')}" for state in shown)
    amounts = "".join(f", {name} {now[name]}" for name in _AMOUNTS if now[name] != "0")
    return f"{counts}{amounts}" + (f", {now['eta']} to go" if now["eta"] else "")


def _view(progress: Progress) -> Any:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    now = progress.summary()
    no_clip = now["charged_without_clip"]
    # Short lines: a terminal that is made narrower wraps long ones, and the next redraw leaves the
    # wrapped part behind.
    ended = Text.assemble(
        (f"{now['done']} done", "green"),
        (f"   {now['failed']} failed", "red" if now["failed"] else "dim"),
        (f"   {no_clip} charged without clip", "red") if no_clip else "",
        (f"   {now['in_doubt']} in doubt", "yellow") if now["in_doubt"] else "",
    )
    to_go = f"   {now['eta']} to go" if now["eta"] else ""
    others = f"{now['running']} running   {now['waiting']} waiting{to_go}"
    money = (f"{name} {now[name]}" for name in _AMOUNTS)
    # A bar does not end its own line.
    bar = Table.grid()
    total = max(progress.total, 1)
    bar.add_row(ProgressBar(total=total, completed=progress.over, width=_WIDTH))
    lines = [ended, Text(others), *(Text(line, style="dim") for line in money)]
    for line in lines:
        line.no_wrap, line.overflow = True, "crop"
    return Group(bar, *lines)


def _amounts(figures: Mapping[tuple[str, str], int], name: str) -> str:
    found = [
        Money.from_micro(micro, unit)
        for (of, unit), micro in figures.items()
        if of == name and micro
    ]
    return ", ".join(str(amount) for amount in found) or "0"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    # Rounded up: while anything is left, the time is never 0.
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
