"""The tables of a close pack: of a month's own transfers, and of jobs only what never changes.

Which tables a pack has, and with which columns, follows from the format of its month's seal: a
month's pack never changes. A new table goes into the newest layout alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from kling_reports import reconciliation, statement
from kling_reports.close_pack import before_figures, controls, figures, purchased
from kling_reports.close_pack.sources import Sources
from kling_reports.doors import posted
from kling_reports.groups import Group
from kling_reports.posted import added_up
from kling_reports.report import Table

Checks = Callable[[Sources, Mapping[str, Table], str, int], Iterator[tuple[str, int, int]]]
"""What makes a layout's own checks in a unit: a figure, as the journal has it, as the pack has it.
They are given what the journal has reserved in that unit."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What is in a pack: its tables by the names of their files, each with what makes it; their
    checks; and its FOCUS files by name, of which `focus` are the charges."""

    tables: Mapping[str, Callable[[Sources], Table]]
    checks: Checks
    focus: Callable[[Sources, Mapping[str, Decimal]], dict[str, bytes]]
    more_checks: Callable[[Sources, Mapping[str, Table], bytes], Iterator[purchased.Compared]]


def by_provider(of: Sources) -> Table:
    """Add up what each provider was paid and gave back in the month, to lay beside its bill."""
    # The journal's account says who was paid; the job's own provider may be missing.
    sums = posted.posted(of.database, by=["paid_to"], period=of.month)
    paid = Group("provider", "paid_to", "text")
    return added_up(sums, [paid], name="reconciliation", title="By provider")


_ALWAYS: Final[Mapping[str, Callable[[Sources], Table]]] = {
    "statement": lambda of: of.summary,
    "statement-lines": lambda of: statement.entries(of.moved, of.summary.frame),
    "spend": lambda of: of.spend,
    "reconciliation": by_provider,
    "corrections": lambda of: reconciliation.corrected(of.corrections),
}
_FIRST: Final = Layout(
    {**_ALWAYS, "variance": before_figures.variance, "accruals": before_figures.accruals},
    before_figures.checks,
    purchased.focus_before,
    purchased.no_checks,
)
_THIRD: Final = Layout(
    {
        **_ALWAYS,
        "variance": figures.variance,
        "accruals": figures.accruals,
        "roll-forward": figures.roll_forward,
        "purchases": purchased.purchases,
        "controls": controls.controls,
        "limits": controls.limits_changed,
    },
    figures.checks,
    purchased.focus,
    purchased.checks,
)
_LAYOUTS: Final[Mapping[int | None, Layout]] = {None: _FIRST, 1: _FIRST, 2: _FIRST, 3: _THIRD}


def layout_of(seal_format: int | None) -> Layout:
    """Return the layout of the packs of months whose seals have a format; None is the first."""
    return _LAYOUTS[seal_format]
