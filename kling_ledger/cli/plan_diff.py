"""`kling-ledger plan diff`: what a change of a storyboard, of prices or of a book adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final

import click

from kling_ledger.cli.books import book_option
from kling_ledger.cli.clip_options import Instant
from kling_ledger.cli.output import print_csv, print_json, print_many
from kling_ledger.cli.plan_options import (
    named,
    notes_of,
    planning_options,
    say_misspelt,
    say_notes,
    say_unpriced,
    unpriced_code,
    usual,
)
from kling_ledger.cli.plan_rows import PARTS, UNKNOWN, for_people, parts
from kling_pricing.errors import on_one_line
from kling_pricing.library import Library, open_library
from kling_pricing.money import USD, Money, plain
from kling_pricing.plans import Change, Cost, Difference, Plan, PlannedClip, difference
from kling_pricing.plans import plan as planned_of
from kling_pricing.plans.difference import Kind
from kling_pricing.plans.takes import number_in_words

_KINDS: Final[tuple[Kind, ...]] = ("added", "removed", "changed", "same")
_COLUMNS: Final = (
    *("change", "row", "id", "provider", "model", "takes", "unit", "before", "after"),
    *PARTS,
    *("usd_low", "usd_expected", "usd_high", "error"),
)


@click.command()
@click.argument("a")
@click.argument("b", required=False)
@planning_options
@click.option("--at", type=Instant(), metavar="INSTANT", help="Price A as on that day (UTC).")
@click.option("--at-b", type=Instant(), metavar="INSTANT", help="Price B so; as A unless given.")
@book_option
@click.option(
    "--book-b",
    "books_b",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="A price book of your own for B; as for A unless given. May be repeated.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "markdown"]),
    default="table",
    show_default=True,
    help="How to print the result; markdown is for a pull request.",
)
def diff(
    a: str,
    b: str | None,
    *,
    takes: Fraction,
    failure_rate: Fraction,
    id_column: str,
    at: datetime | None,
    at_b: datetime | None,
    library: Library,
    books_b: Sequence[str],
    form: str,
) -> int:
    """Say what B costs more than A: two manifests, or one at two dates or with two books.

    \b
    kling-ledger plan diff before.csv after.csv --format markdown
    kling-ledger plan diff clips.csv --at 2026-11-01 --at-b 2026-12-01
    kling-ledger plan diff clips.csv --book-b offer.toml

    Rows are matched by their id where both have that column, else by what they say. Without B it
    is A again. The difference is exact; where a row has no price it is not known, and the row is
    named.

    \b
    Exit codes: 0 every row has a price, 2 some rows are bad input, 7 for some no price is known.
    """
    from kling_ledger.manifests.planning import read_storyboard

    if b is None and at_b is None and not books_b:
        raise click.UsageError(
            "give a second manifest, or --at-b, or --book-b: else nothing differs"
        )
    common = usual(takes, failure_rate)
    before = read_storyboard(a, common, id_column=id_column)
    after = before if b is None else read_storyboard(b, common, id_column=id_column)
    for board in [before] if b is None else [before, after]:
        say_misspelt(board)
    instant = at or datetime.now(UTC)
    theirs = open_library(*books_b) if books_b else library
    found = difference(
        planned_of(before.rows, at=instant, library=library),
        planned_of(after.rows, at=at_b or instant, library=theirs),
        by_id=before.has_ids and after.has_ids,
    )
    _print(found, form)
    for planned, name in ((found.before, a), (found.after, b or a)):
        say_unpriced(planned.unpriced, source=name)
    return unpriced_code(found.unpriced)


def _print(found: Difference, form: str) -> None:
    if form == "json":
        print_json(_as_dict(found))
    elif form == "csv":
        print_csv(_rows(found.changes), _COLUMNS)
    elif form == "markdown":
        click.echo("\n".join(_markdown(found)))
    else:
        _print_tables(found)


def _as_dict(found: Difference) -> dict[str, Any]:
    """Return the difference for JSON: amounts are text, what is not known is null."""
    units = None
    if found.costs is not None:
        units = {unit: parts(cost) for unit, cost in found.costs.items()}
    return {
        "summary": headline(found),
        "at": found.before.at.isoformat(),
        "at_b": found.after.at.isoformat(),
        "usd": None if found.usd is None else parts(found.usd),
        "units": units,
        "counts": _counts(found),
        "rows": [row for row in _rows(found.changes) if row["change"] != "same"],
        "notes": list(dict.fromkeys([*notes_of(found.before), *notes_of(found.after)])),
    }


def headline(found: Difference) -> str:
    """Say in one sentence what the change adds, in US dollars if that is known, else by unit."""
    if found.unpriced:
        count = len(found.unpriced)
        rows = "1 row has" if count == 1 else f"{count} rows have"
        return f"what this change adds is not known: {rows} no price"
    costs = [found.usd] if found.usd is not None else list((found.costs or {}).values())
    told = [
        _said(cost) for cost in costs if any(part is None or part.amount for part in cost.parts)
    ]
    return f"this change {' and '.join(told)}" if told else "this change adds nothing"


def _said(cost: Cost) -> str:
    likely = cost.expected
    if likely is None or likely != cost.high or likely != cost.low:
        # No bounds: the difference of two highest figures may be less than that of two lowest.
        named_parts = zip(PARTS, cost.parts, strict=True)
        words = [f"{name} {UNKNOWN if one is None else _signed(one)}" for name, one in named_parts]
        return f"adds {', '.join(words)}"
    verb = "adds" if likely.amount > 0 else "saves"
    return f"{verb} {_as_money(Money(abs(likely.amount), likely.unit))}"


def _signed(money: Money) -> str:
    return f"-{_as_money(money * -1)}" if money.amount < 0 else _as_money(money)


def _as_money(money: Money) -> str:
    """Write an amount exactly; dollars and cents with two decimals, as people do."""
    if money.unit == USD and money.amount == round(money.amount, 2):
        return f"{money:.2f}"
    return str(money)


def _counts(found: Difference) -> dict[str, int]:
    return {kind: len(found.of_kind(kind)) for kind in _KINDS}


def _rows(changes: Sequence[Change]) -> list[dict[str, Any]]:
    return [row for change in changes for row in _of(change)]


def _of(change: Change) -> Iterator[dict[str, Any]]:
    """Yield a row for each unit that a change is in: two, where the provider is another one now.

    What it is in US dollars stands in the first of them alone, so that a sum counts it once.
    """
    wanted, usd = change.row.wanted, change.usd
    costs: list[tuple[str | None, Cost | None]] = [*(change.costs or {}).items()]
    known = {
        "change": change.kind,
        "row": wanted.place,
        "id": wanted.id,
        "provider": _text(wanted.fields.get("provider")),
        "model": _text(wanted.fields.get("model")),
        "takes": number_in_words(wanted.takes),
    }
    for unit, cost in costs or [(None, None)]:
        yield {
            **known,
            "unit": unit,
            "before": _side(change.before, unit),
            "after": _side(change.after, unit),
            **parts(cost),
            **parts(usd, "usd_"),
            "error": "; ".join(row.error.message for row in change.unpriced) or None,
        }
        usd = None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _side(row: object, unit: str | None) -> str | None:
    """Return what a side of a change costs at most; None where it is not there or has no price."""
    if not isinstance(row, PlannedClip) or (unit is not None and row.quote.unit != unit):
        return None
    return plain(row.cost.high.amount)


def _print_tables(found: Difference) -> None:
    different = [row for row in _rows(found.changes) if row["change"] != "same"]
    rows, figures = for_people(different)
    renamed = [{**row, "difference": row.get("cost")} for row in rows]
    shown = ["difference"] if figures == ["cost"] else figures
    columns = ["change", "row", "id", "provider", "model", "before", "after", *shown, "unit"]
    if all(row["id"] is None for row in rows):
        columns.remove("id")
    if rows:
        optional = ("before", "after", "low", "expected")
        print_many(renamed, columns, "table", empty="", optional=optional)
    click.echo(_counted(found))
    click.echo(headline(found))
    _say_notes(found.before, found.after)


def _say_notes(*plans: Plan) -> None:
    say_notes(list(dict.fromkeys(note for one in plans for note in notes_of(one))))


def _counted(found: Difference) -> str:
    counts = ", ".join(f"{count} {kind}" for kind, count in _counts(found).items())
    return f"rows: {counts}"


def _markdown(found: Difference) -> Iterator[str]:
    """Yield the lines of a comment for a pull request."""
    summary = headline(found)
    yield f"**{summary[:1].upper()}{summary[1:]}.**"
    yield ""
    rows = [row for row in _rows(found.changes) if row["change"] != "same"]
    if rows:
        yield "| change | row | provider | model | before | after | difference | unit |"
        yield "|---|---|---|---|---:|---:|---:|---|"
    for row in rows:
        cells = [
            *(row["change"], named(row["row"], row["id"]), row["provider"], row["model"]),
            *(row["before"], row["after"], row["high"] or UNKNOWN, row["unit"]),
        ]
        yield f"| {' | '.join(_cell(cell) for cell in cells)} |"
    if rows:
        yield ""
    yield f"{_counted(found)}; amounts are the highest that each row can come to."


def _cell(value: object) -> str:
    """Write a cell in which nothing ends the cell or becomes markup."""
    text = "" if value is None else on_one_line(str(value))
    return "".join(f"\\{one}" if one in "|\\`*_[]<>#" else one for one in text)
