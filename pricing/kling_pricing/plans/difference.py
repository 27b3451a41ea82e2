"""Difference: how much more one plan costs than another, row by row and in total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from kling_pricing.errors import ClipError, Problem
from kling_pricing.money import USD
from kling_pricing.plans.cost import Cost
from kling_pricing.plans.plan import Plan, PlannedClip, Unpriced

Row = PlannedClip | Unpriced
Kind = Literal["added", "removed", "changed", "same"]


@dataclass(frozen=True, slots=True)
class Change:
    """One row in two plans: before, after, or both where they are the same row.

    `changed` means that its cost differs or is unknown; a row with other content but the same cost
    is `same`.
    """

    before: Row | None
    after: Row | None

    @property
    def kind(self) -> Kind:
        """Whether it was added, removed, changed or stayed the same."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "same" if _price(self.before) == _price(self.after) else "changed"

    @property
    def row(self) -> Row:
        """The row as it is now, or as it was."""
        row = self.before if self.after is None else self.after
        if row is None:
            raise AssertionError("a change is of one row at least")
        return row

    @property
    def unpriced(self) -> tuple[Unpriced, ...]:
        """Its sides without a price."""
        return tuple(row for row in (self.before, self.after) if isinstance(row, Unpriced))

    @property
    def usd(self) -> Cost | None:
        """How much more it costs in US dollars; None if that is unknown."""
        return Cost.total(
            side for row, sign in ((self.after, 1), (self.before, -1)) for side in _usd(row, sign)
        )

    @property
    def costs(self) -> dict[str, Cost] | None:
        """How much more it costs, by unit; None if a side has no price."""
        if self.unpriced:
            return None
        return _difference(_costs(self.after), _costs(self.before))


@dataclass(frozen=True, slots=True)
class Difference:
    """Two plans compared. `changes` has every row of both; those of the second plan come first."""

    changes: tuple[Change, ...]
    before: Plan
    after: Plan

    @property
    def unpriced(self) -> tuple[Unpriced, ...]:
        """Rows of either plan without a price: while there are any, the difference is unknown."""
        return (*self.before.unpriced, *self.after.unpriced)

    @property
    def costs(self) -> dict[str, Cost] | None:
        """How much more the second plan costs, by unit; None if a row has no price."""
        if self.unpriced:
            return None
        return _difference(self.after.costs, self.before.costs)

    @property
    def usd(self) -> Cost | None:
        """How much more the second plan costs in US dollars; None if that is unknown."""
        if self.unpriced:
            return None
        after, before = _usd_of(self.after), _usd_of(self.before)
        return None if after is None or before is None else after - before

    def of_kind(self, kind: Kind) -> tuple[Change, ...]:
        """Return the rows of one kind."""
        return tuple(change for change in self.changes if change.kind == kind)


def difference(before: Plan, after: Plan, *, by_id: bool = False) -> Difference:
    """Compare two plans row by row, matched by id, or by content if they have no ids.

    Rows with the same content are matched in order. Raises ClipError if rows are matched by id and
    one has none, or two rows of a plan share one.
    """
    if by_id:
        _check_ids(before)
        _check_ids(after)
    earlier = _by_key(before.rows, by_id=by_id)
    changes = [
        Change(earlier.pop(key, None), row) for key, row in _by_key(after.rows, by_id=by_id).items()
    ]
    removed = [Change(row, None) for row in earlier.values()]
    return Difference((*changes, *removed), before, after)


def _check_ids(plan: Plan) -> None:
    names = [row.wanted.id for row in plan.rows]
    counts = Counter(names)
    problems = [
        Problem(f"row {row.wanted.place} id", row.wanted.id, "an id that no other row has")
        for row in plan.rows
        if row.wanted.id is None or counts[row.wanted.id] > 1
    ]
    if problems:
        raise ClipError(problems)


def _by_key(rows: Iterable[Row], *, by_id: bool) -> dict[Hashable, Row]:
    seen: Counter[Hashable] = Counter()
    found: dict[Hashable, Row] = {}
    for row in rows:
        content: Hashable = row.wanted.id if by_id else row.wanted.content
        found[content, seen[content]] = row
        seen[content] += 1
    return found


def _price(row: Row) -> object:
    # Two unknown prices are not equal: neither amount is known.
    return (row.cost, row.usd) if isinstance(row, PlannedClip) else object()


def _costs(row: Row | None) -> dict[str, Cost]:
    return {row.quote.unit: row.cost} if isinstance(row, PlannedClip) else {}


def _usd(row: Row | None, sign: int) -> tuple[Cost | None, ...]:
    """Return one side of a change in US dollars, with its sign; zero if there is no such side."""
    if row is None:
        return ()
    usd = row.usd if isinstance(row, PlannedClip) else None
    return (None if usd is None else usd if sign > 0 else -usd,)


def _usd_of(plan: Plan) -> Cost | None:
    return plan.usd if plan.rows else Cost.zero(USD)


def _difference(after: Mapping[str, Cost], before: Mapping[str, Cost]) -> dict[str, Cost]:
    units = dict.fromkeys([*after, *before])
    return {
        unit: after.get(unit, Cost.zero(unit)) - before.get(unit, Cost.zero(unit)) for unit in units
    }
