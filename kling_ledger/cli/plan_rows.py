"""A plan as rows for people and programs: clips, totals, sellers. Amounts are text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kling_pricing.money import USD, plain, plain_or_none
from kling_pricing.plans import (
    CannotMakeAll,
    Cost,
    Plan,
    PlannedClip,
    Seller,
    ShownRate,
    Unpriced,
)
from kling_pricing.plans.takes import number_in_words

UNKNOWN: Final = "unknown"
PARTS: Final = ("low", "expected", "high")
ROW_COLUMNS: Final = (
    *("row", "id", "provider", "model", "action", "seconds", "takes", "failure_rate", "failures"),
    *("each", *PARTS, "unit", "usd_low", "usd_expected", "usd_high"),
    *("notes", "error", "error_code"),
)
_FAILURES: Final[Mapping[bool | None, str]] = {True: "charged", False: "free", None: UNKNOWN}


def parts(cost: Cost | None, prefix: str = "") -> dict[str, str | None]:
    """Return the three figures of a cost, each None if unknown."""
    amounts = (None, None, None) if cost is None else cost.parts
    return {
        f"{prefix}{name}": plain_or_none(amount)
        for name, amount in zip(PARTS, amounts, strict=True)
    }


def plan_rows(planned: Plan) -> list[dict[str, Any]]:
    """Return every row of a plan in order; rows without a price have the reason."""
    return [
        _clip(row) if isinstance(row, PlannedClip) else _without_price(row) for row in planned.rows
    ]


def _clip(row: PlannedClip) -> dict[str, Any]:
    quoted, wanted = row.quote, row.wanted
    seconds = quoted.priced.seconds
    return {
        "row": wanted.place,
        "id": wanted.id,
        "provider": quoted.clip.provider,
        "model": quoted.clip.model,
        "action": quoted.clip.action,
        "seconds": None if seconds is None else str(seconds),
        "takes": number_in_words(wanted.takes),
        "failure_rate": number_in_words(wanted.failure_rate),
        "failures": _FAILURES[row.charges_failures],
        "each": plain(quoted.amount.amount),
        **parts(row.cost),
        "unit": quoted.unit,
        **parts(row.usd, "usd_"),
        "notes": list(row.assumptions),
        "error": None,
        "error_code": None,
    }


def _without_price(row: Unpriced) -> dict[str, Any]:
    wanted = row.wanted
    blank: dict[str, Any] = dict.fromkeys(ROW_COLUMNS)
    said = {name: wanted.fields.get(name) for name in ("provider", "model", "action")}
    return {
        **blank,
        **{name: None if value is None else str(value) for name, value in said.items()},
        "row": wanted.place,
        "id": wanted.id,
        "notes": [],
        "error": row.error.message,
        "error_code": row.error.code,
    }


def totals(planned: Plan, rate: ShownRate | None) -> list[dict[str, Any]]:
    """Return the cost of all priced rows and the mean of one: by unit, in US dollars, and as shown.

    Empty if no row has a price.
    """
    return [
        {"of": of, **parts(cost.per(count) if is_each else cost), "unit": cost.unit}
        for cost, count in _sums(planned, rate)
        for of, is_each in ((_all(count, len(planned.rows)), False), ("one accepted clip", True))
    ]


def _all(count: int, rows: int) -> str:
    if count == rows:
        return "1 clip" if rows == 1 else f"all {rows} clips"
    return f"{count} of {rows} clips"


def _sums(planned: Plan, rate: ShownRate | None) -> Iterator[tuple[Cost, int]]:
    for unit, cost in planned.costs.items():
        yield cost, sum(row.quote.unit == unit for row in planned.clips)
    usd = planned.usd
    if usd is None:
        return
    if list(planned.costs) != [USD]:
        yield usd, len(planned.clips)
    if rate is not None:
        yield rate.shown(usd), len(planned.clips)


def seller_row(seller: Seller) -> dict[str, Any]:
    """Return the row of a provider that can make the whole plan."""
    return {
        "provider": seller.provider,
        "models": list(seller.models),
        **parts(seller.cost),
        "unit": seller.cost.unit,
        **parts(seller.usd, "usd_"),
        "rows_missing": 0,
        "reason": None,
    }


def unable_row(one: CannotMakeAll) -> dict[str, Any]:
    """Return the row of a provider that cannot make the whole plan, with the reason."""
    return {
        "provider": one.provider,
        "models": [],
        **parts(None),
        "unit": None,
        **parts(None, "usd_"),
        "rows_missing": one.rows,
        "reason": f"row {one.first}: {one.reason}",
    }


def for_people(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str] = PARTS
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return rows with a single `cost` if low, expected and high are equal in every row.

    Unknown figures are `unknown`. Also returns the names of the figures' columns.
    """
    known = [row for row in rows if row[names[-1]] is not None]
    if all(len({row[name] for name in names}) == 1 for row in known):
        return [{**row, "cost": row[names[-1]]} for row in rows], ["cost"]
    told = [
        {**row, **{name: UNKNOWN for name in names if row[name] is None}} if row in known else row
        for row in rows
    ]
    return [dict(row) for row in told], list(names)
