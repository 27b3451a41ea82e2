"""The tables of a close pack: the month's own transfers, and the facts of jobs that never change.

The format of the month's seal decides which tables and columns a pack has, so a month's pack never
changes. A new table goes only into the newest layout.
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
"""Makes a layout's own checks in a unit: each is a figure, its value in the journal, and its value
in the pack. It gets what the journal has reserved in that unit."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The content of a pack: its tables by file name, its checks and its FOCUS files by name.

    Each table comes with the function that makes it. `focus` names the FOCUS file of the charges.
    """

    tables: Mapping[str, Callable[[Sources], Table]]
    checks: Checks
    focus: Callable[[Sources, Mapping[str, Decimal]], dict[str, bytes]]
    more_checks: Callable[[Sources, Mapping[str, Table], bytes], Iterator[purchased.Compared]]


def by_provider(of: Sources) -> Table:
    """Add up what each provider was paid and returned in the month, to compare with its bill."""
    # The journal's account names the provider paid; the job may have none.
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
    """Return the layout of packs whose month was sealed in a format; None is the first format."""
    return _LAYOUTS[seal_format]
