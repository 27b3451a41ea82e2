"""`kling-ledger plan`: what a storyboard will cost; `plan diff` is in plan_diff.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any, Final

import click

from kling_ledger.cli.books import book_option
from kling_ledger.cli.clip_options import Instant
from kling_ledger.cli.inputs import gathered
from kling_ledger.cli.output import format_option, print_csv, print_json, print_many, print_table
from kling_ledger.cli.plan_options import (
    notes_of,
    planning_options,
    say_misspelt,
    say_notes,
    say_unpriced,
    unpriced_code,
    usual,
)
from kling_ledger.cli.plan_rows import (
    ROW_COLUMNS,
    UNKNOWN,
    for_people,
    plan_rows,
    seller_row,
    totals,
    unable_row,
)
from kling_pricing.library import Library
from kling_pricing.money import USD, Money, plain
from kling_pricing.plans import Fit, Plan, Sellers, ShownRate, fits, sellers_of
from kling_pricing.plans import plan as planned_of
from kling_pricing.plans.budget import MEASURES, Measure

SHOWN_ROWS: Final = 1_000
"""How many rows a table shows; other formats have all."""

_SAID: Final[dict[Measure, str]] = {"low": "at least", "expected": "as expected", "high": "at most"}


class _Plan(click.Command):
    """`plan FILE`, and `plan diff A B`, which is a command of its own."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        if args[:1] != ["diff"]:
            return super().make_context(info_name, args, parent, **extra)
        from kling_ledger.cli.plan_diff import diff

        context: click.Context = diff.make_context(f"{info_name} diff", args[1:], parent, **extra)
        return context


@dataclass(frozen=True, slots=True)
class Showing:
    """The display currency and its rate, as the options say them."""

    show_in: str | None
    rate: str | None
    rate_date: datetime | None
    rate_source: str | None

    def read(self) -> ShownRate | None:
        """Return the rate, None if none is given; UsageError if a part of it is missing."""
        needed = {"--show-in": self.show_in, "--rate": self.rate, "--rate-date": self.rate_date}
        missing = [name for name, value in needed.items() if value is None]
        if len(missing) == len(needed) and self.rate_source is None:
            return None
        if self.show_in is None or self.rate is None or self.rate_date is None:
            raise click.UsageError(f"--show-in needs your own rate: give {missing[0]} too")
        day: date = self.rate_date.date()
        source = self.rate_source or "given with --rate"
        return ShownRate.parse(self.rate, unit=self.show_in.upper(), day=day, source=source)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A priced plan with its answers."""

    plan: Plan
    rate: ShownRate | None
    budget: Money | None
    fits: dict[Measure, Fit]
    sellers: Sellers | None


@click.command(cls=_Plan)
@click.argument("file")
@planning_options
@click.option(
    "--sellers", "asks_sellers", is_flag=True, help="Price the whole plan at every provider."
)
@click.option(
    "--budget", metavar="AMOUNT", help='Show how many rows this pays for, such as "50 USD".'
)
@click.option("--show-in", metavar="UNIT", help="Show US dollars in another currency, such as EUR.")
@click.option("--rate", metavar="RATE", help='The rate for --show-in, such as "0.91 EUR/USD".')
@click.option("--rate-date", type=Instant(), metavar="DAY", help="The date of the rate.")
@click.option("--rate-source", metavar="TEXT", help="The source of the rate.")
@click.option("--at", type=Instant(), metavar="INSTANT", help="Use the prices of this day (UTC).")
@book_option
@format_option
@gathered(Showing, "showing")
def plan(
    file: str,
    *,
    takes: Fraction,
    failure_rate: Fraction,
    id_column: str,
    at: datetime | None,
    library: Library,
    form: str,
    asks_sellers: bool,
    budget: str | None,
    showing: Showing,
) -> int:
    """Show what a storyboard or a batch will cost, including takes and failures.

    \b
    kling-ledger plan storyboard.csv --takes 3 --failure-rate 10% --sellers
    kling-ledger plan storyboard.csv --budget "50 USD" --show-in EUR \\
        --rate "0.91 EUR/USD" --rate-date 2026-11-20
    kling-ledger plan diff before.csv after.csv --format markdown

    FILE is a manifest, as for `quote --manifest` and `batch`: .csv, .jsonl or .parquet; - for
    stdin. Each row is one accepted clip. Its columns `takes` (how many takes must finish for it)
    and `failure_rate` (the share of submissions that fail) override the options.

    low leaves out the cost of failed takes and high includes it, unless the provider says whether
    it charges for them; expected includes it only if it does. Fractions of a millionth are rounded
    up, once per row. --budget pays for rows in order, at their high cost.

    \b
    Exit codes: 0 every row has a price, 2 some rows are bad input, 7 some rows have no known price.
    """
    from kling_ledger.manifests.planning import read_storyboard

    rate = showing.read()
    purse = None if budget is None else Money.parse(budget, default_unit=USD)
    board = read_storyboard(file, usual(takes, failure_rate), id_column=id_column)
    say_misspelt(board)
    found = planned_of(board.rows, at=at or datetime.now(UTC), library=library)
    _print(
        _Answer(
            found,
            rate,
            purse,
            {} if purse is None else {name: fits(found, purse, measure=name) for name in MEASURES},
            sellers_of(found, library=library) if asks_sellers and not found.unpriced else None,
        ),
        form,
    )
    say_unpriced(found.unpriced)
    if asks_sellers and found.unpriced:
        click.echo(
            "error: no provider is known to make every clip: some rows have no price", err=True
        )
    return unpriced_code(found.unpriced)


def _print(answer: _Answer, form: str) -> None:
    if form == "json":
        print_json(_as_dict(answer))
    elif form == "csv":
        print_csv(plan_rows(answer.plan), ROW_COLUMNS)
    else:
        _print_tables(answer)


def _as_dict(answer: _Answer) -> dict[str, Any]:
    """Return the whole answer for JSON: amounts are text, unknown ones null."""
    found = answer.plan
    return {
        "at": found.at.isoformat(),
        "clips": len(found.rows),
        "priced": len(found.clips),
        "rows": plan_rows(found),
        "totals": totals(found, answer.rate),
        "rate": _rate(answer.rate),
        "budget": None if answer.budget is None else str(answer.budget),
        "fits": {name: _fit(one) for name, one in answer.fits.items()},
        "sellers": _sellers(answer.sellers),
        "notes": notes_of(found),
    }


def _rate(rate: ShownRate | None) -> dict[str, str] | None:
    if rate is None:
        return None
    day = rate.day.isoformat()
    return {"unit": rate.unit, "rate": rate.written, "date": day, "source": rate.source}


def _fit(one: Fit) -> dict[str, Any]:
    left = {"left": plain(one.left.amount), "unit": one.left.unit}
    return {"rows": one.rows, **left, "stopped_by": one.stopped_by, "reason": one.reason}


def _sellers(sellers: Sellers | None) -> list[dict[str, Any]] | None:
    if sellers is None:
        return None
    return [*map(seller_row, sellers.offers), *map(unable_row, sellers.unable)]


def _print_tables(answer: _Answer) -> None:
    found = answer.plan
    priced = [row for row in plan_rows(found) if row["error"] is None]
    _print_clips(priced)
    sums, figures = for_people(totals(found, answer.rate))
    if sums:
        print_table(sums, ["of", *figures, "unit"])
    if answer.rate is not None:
        rate = answer.rate
        click.echo(f"{rate.unit} at {rate.written} of {rate.day}, {rate.source}")
    _print_fits(answer)
    if answer.sellers is not None:
        _print_sellers(answer.sellers)
    say_notes(notes_of(found))


def _print_clips(priced: Sequence[dict[str, Any]]) -> None:
    rows, figures = for_people(priced[:SHOWN_ROWS])
    columns = ["row", "id", "provider", "model", "takes", "failures", "each", *figures, "unit"]
    if all(row["id"] is None for row in rows):
        columns.remove("id")
    if all(row["failure_rate"] == "0" for row in rows):
        columns.remove("failures")
    # The unit column always stays: amounts of several units share a column. The id column may go,
    # since the row has a number.
    optional = ("each", "failures", "id")
    print_many(rows, columns, "table", empty="no row has a price", optional=optional)
    if len(priced) > SHOWN_ROWS:
        click.echo(f"the first {SHOWN_ROWS} of {len(priced)} rows; --format csv has all", err=True)


def _print_fits(answer: _Answer) -> None:
    """Print what the budget pays for at the high figure, and at the others if they differ."""
    if answer.budget is None:
        return
    rows = len(answer.plan.rows)
    said = {
        name: f"{one.rows} of {rows} rows fit, {one.left} is left"
        for name, one in answer.fits.items()
    }
    for name in reversed(MEASURES):
        if name == "high" or said[name] != said["high"]:
            reason = answer.fits[name].reason
            because = "" if reason is None else f"; row {answer.fits[name].stopped_by}: {reason}"
            click.echo(f"budget {answer.budget}, {_SAID[name]}: {said[name]}{because}")


def _print_sellers(sellers: Sellers) -> None:
    names = ("usd_low", "usd_expected", "usd_high")
    rows, figures = for_people([seller_row(one) for one in sellers.offers], names)
    if figures == ["cost"]:
        rows, figures = [{**row, "usd": row["cost"]} for row in rows], ["usd"]
    unsaid = dict.fromkeys(figures, UNKNOWN)
    shown = [
        {**row, **(unsaid if row["usd_high"] is None else {}), "amount": row["high"]}
        for row in rows
    ]
    columns = ["provider", "models", *figures, "amount", "unit"]
    empty = "no provider can make every clip"
    print_many(shown, columns, "table", empty=empty, optional=("unit", "amount"))
    for one in map(unable_row, sellers.unable):
        click.echo(f"unable: {one['provider']}: {one['reason']}", err=True)
