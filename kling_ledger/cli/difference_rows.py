"""The difference of two plans as a sentence, as rows, or as a comment.

If rows name the `file` they are from, a table and a comment have a column for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import click

from kling_ledger.cli.output import print_csv, print_json, print_many
from kling_ledger.cli.plan_options import named, notes_of, say_notes
from kling_ledger.cli.plan_rows import PARTS, UNKNOWN, for_people, parts
from kling_pricing.counting import counted
from kling_pricing.errors import on_one_line
from kling_pricing.money import USD, Money, plain
from kling_pricing.plans import Change, Cost, Difference, PlannedClip
from kling_pricing.plans.difference import Kind
from kling_pricing.plans.takes import number_in_words

_KINDS: Final[tuple[Kind, ...]] = ("added", "removed", "changed", "same")
_COLUMNS: Final = (
    *("change", "row", "id", "provider", "model", "takes", "unit", "before", "after"),
    *PARTS,
    *("usd_low", "usd_expected", "usd_high", "error"),
)
Row = dict[str, Any]

form_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "markdown"]),
    default="table",
    show_default=True,
    help="The output format; markdown is for a pull request.",
)


def print_difference(found: Difference, rows: Sequence[Row], form: str) -> None:
    """Print a difference with its rows; CSV also has the unchanged ones."""
    different = [row for row in rows if row["change"] != "same"]
    if form == "json":
        print_json(_as_dict(found, different))
    elif form == "csv":
        print_csv(rows, (*_file_column(rows), *_COLUMNS))
    elif form == "markdown":
        click.echo("\n".join(_markdown(found, different)))
    else:
        _print_tables(found, different)


def _file_column(rows: Sequence[Row]) -> list[str]:
    return ["file"] if any("file" in row for row in rows) else []


def _as_dict(found: Difference, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the difference for JSON: amounts are text, unknown ones null."""
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
        "rows": list(rows),
        "notes": list(dict.fromkeys([*notes_of(found.before), *notes_of(found.after)])),
    }


def headline(found: Difference) -> str:
    """Return one sentence on what the change adds, in US dollars if known, else by unit."""
    if found.unpriced:
        rows = counted(len(found.unpriced), "row has", "rows have")
        return f"what this change adds is unknown: {rows} no price"
    costs = [found.usd] if found.usd is not None else list((found.costs or {}).values())
    told = [
        _said(cost) for cost in costs if any(part is None or part.amount for part in cost.parts)
    ]
    return f"this change {' and '.join(told)}" if told else "this change adds nothing"


def _said(cost: Cost) -> str:
    likely = cost.expected
    if likely is None or likely != cost.high or likely != cost.low:
        # No bounds: the difference of the high figures may be less than that of the low ones.
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


def change_rows(changes: Sequence[Change]) -> list[Row]:
    """Return every change as rows: their amounts are text."""
    return [row for change in changes for row in _of(change)]


def _of(change: Change) -> Iterator[Row]:
    """Yield a row for each unit of a change: two if the provider changed.

    Only the first has the amount in US dollars, so that a sum counts it once.
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
    """Return the highest cost of one side of a change; None if it is missing or has no price."""
    if not isinstance(row, PlannedClip) or (unit is not None and row.quote.unit != unit):
        return None
    return plain(row.cost.high.amount)


def _print_tables(found: Difference, different: Sequence[Row]) -> None:
    rows, figures = for_people(different)
    renamed = [{**row, "difference": row.get("cost")} for row in rows]
    shown = ["difference"] if figures == ["cost"] else figures
    named_by = [*_file_column(rows), "row", "id"]
    columns = ["change", *named_by, "provider", "model", "before", "after", *shown, "unit"]
    if all(row["id"] is None for row in rows):
        columns.remove("id")
    if rows:
        optional = ("before", "after", "low", "expected")
        print_many(renamed, columns, "table", empty="", optional=optional)
    click.echo(_counted(found))
    click.echo(headline(found))
    say_notes(list(dict.fromkeys([*notes_of(found.before), *notes_of(found.after)])))


def _counted(found: Difference) -> str:
    counts = ", ".join(f"{count} {kind}" for kind, count in _counts(found).items())
    return f"rows: {counts}"


def _markdown(found: Difference, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a comment for a pull request."""
    summary = headline(found)
    yield f"**{summary[:1].upper()}{summary[1:]}.**"
    yield ""
    if rows:
        names = [*_file_column(rows), "change", "row", "provider", "model"]
        yield f"| {' | '.join(names)} | before | after | difference | unit |"
        yield f"|{'---|' * len(names)}---:|---:|---:|---|"
    for row in rows:
        cells = [
            *([row["file"]] if "file" in row else []),
            *(row["change"], named(row["row"], row["id"]), row["provider"], row["model"]),
            *(row["before"], row["after"], row["high"] or UNKNOWN, row["unit"]),
        ]
        yield f"| {' | '.join(_cell(cell) for cell in cells)} |"
    if rows:
        yield ""
    for row in rows:
        if row["error"] is not None:
            where = [*([row["file"]] if "file" in row else []), named(row["row"], row["id"])]
            yield f"- {_cell(', '.join(where))} has no price: {_cell(row['error'])}"
    if any(row["error"] is not None for row in rows):
        yield ""
    yield f"{_counted(found)}; amounts are the highest possible for each row."


def _cell(value: object) -> str:
    """Escape a cell so that nothing in it ends the cell or becomes markup."""
    text = "" if value is None else on_one_line(str(value))
    return "".join(f"\\{one}" if one in "|\\`*_[]<>#" else one for one in text)
