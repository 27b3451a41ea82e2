"""Lists: the latest reservations that match some filters, page by page, newest first.

Each page uses the index of the filter with the fewest matches, so that it takes as long in a large
ledger as in a small one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

from kling_ledger.errors import NotFoundError
from kling_ledger.ledger import labels as label_words
from kling_ledger.ledger.engines.transaction import Transaction, plain
from kling_ledger.ledger.reservations import SELECT, Reservation, from_row
from kling_ledger.ledger.scopes import within_project
from kling_ledger.ledger.states import OPEN_STATES, RESTING_STATES, State

_FEW: Final = 1000
"""Below this many matches, an index in another order may lead: its rows are read and sorted."""
_MANY: Final = 10_000
"""The most matches that are counted, in an index alone, to choose the leading filter."""
_LABELLED: Final = (
    " FROM reservation_label AS labelled CROSS JOIN reservation"
    " WHERE reservation.id = labelled.reservation_id AND labelled.label = :label"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which reservations to list; None is any. `project` and `label` are as a budget covers them.

    `since_us` is inclusive, `until_us` exclusive.
    """

    state: State | None = None
    wallet: str | None = None
    project: str | None = None
    provider: str | None = None
    account: str | None = None
    model: str | None = None
    label: str | None = None
    since_us: int | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class _Filter:
    """A condition on reservations, and the table in which its matches are counted.

    `is_in_order`: its index has the reservations in the order of a list.
    """

    condition: str
    values: Mapping[str, Any]
    counted_in: str = "reservation"
    counted_by: str = ""
    is_in_order: bool = True

    def count(self, transaction: Transaction) -> int:
        """Return how many reservations match, counting no further than `_MANY`."""
        condition = self.counted_by or self.condition
        row = transaction.row(
            "SELECT COUNT(*) AS found FROM"
            f" (SELECT 1 AS one FROM {self.counted_in} WHERE {condition} LIMIT {_MANY}) AS counted",
            **self.values,
        )
        return int(row["found"]) if row else 0


@dataclass(slots=True)
class _Query:
    """A statement under construction: its source, its conditions and their values."""

    source: str = " FROM reservation WHERE 1 = 1"
    at: str = "reservation.created_at"
    id: str = "reservation.id"
    conditions: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, condition: str, **values: Any) -> None:
        """Add a condition and its values."""
        self.conditions.append(condition)
        self.values.update(values)

    def text(self) -> str:
        """Return the statement."""
        where = "".join(f" AND {one}" for one in self.conditions)
        return f"{SELECT}{self.source}{where} ORDER BY {self.at} DESC, {self.id} DESC LIMIT :limit"


def latest(
    transaction: Transaction, wanted: Wanted, *, after: str | None, limit: int
) -> list[Reservation]:
    """Return the latest matching reservations, newest first.

    `after` is the last reservation of an earlier page. Raises NotFoundError if it does not exist,
    and ConfigError for an invalid label.
    """
    filters = list(_filters(transaction, wanted))
    leading = _leading(transaction, filters)
    query = _Query() if leading is None else _led_by(leading)
    for one in filters:
        if one is not leading:
            # No index is considered for a condition of this form.
            query.add(f"({one.condition}) IS TRUE", **one.values)
    if after is not None:
        _begin_after(transaction, query, after)
    elif leading is None:
        _begin_at_the_last(query, filters)
    if wanted.since_us is not None:
        query.add(f"{query.at} >= :since", since=wanted.since_us)
    if wanted.until_us is not None:
        query.add(f"{query.at} < :until", until=wanted.until_us)
    rows = transaction.rows(query.text(), limit=max(limit, 0), **query.values)
    return [from_row(row) for row in rows]


def _filters(transaction: Transaction, wanted: Wanted) -> Iterator[_Filter]:
    if wanted.label is not None:
        label_words.read_label(wanted.label)
        yield _Filter(
            "replace(labels, :within, '') <> labels",
            {"within": label_words.within(wanted.label), "label": wanted.label},
            counted_in="reservation_label",
            counted_by="label = :label",
        )
    if wanted.project is not None:
        condition, values = within_project(plain(wanted.project))
        is_folder = wanted.project.endswith("/")
        yield _Filter(condition, values, is_in_order=not is_folder)
    if wanted.state is not None:
        # An index on some states is found only by the condition that it was created with.
        among = OPEN_STATES if wanted.state not in RESTING_STATES else RESTING_STATES
        words = ", ".join(f"'{state}'" for state in among)
        yield _Filter(f"state = '{State(wanted.state)}' AND state IN ({words})", {})
    if wanted.wallet is not None:
        yield _Filter("wallet_id = :wallet", {"wallet": _wallet_id(transaction, wanted.wallet)})
    for name in ("account", "model", "provider"):
        asked = getattr(wanted, name)
        if asked is not None:
            yield _Filter(f"{name} = :{name}", {name: plain(asked)})


def _leading(transaction: Transaction, filters: Sequence[_Filter]) -> _Filter | None:
    """Return the filter whose index to use; None to go by time alone."""
    if not filters or (len(filters) == 1 and filters[0].is_in_order):
        return filters[0] if filters else None
    counts = [one.count(transaction) for one in filters]
    by_count = sorted(zip(counts, filters, strict=True), key=itemgetter(0))
    return next((one for found, one in by_count if one.is_in_order or found < _FEW), None)


def _led_by(leading: _Filter) -> _Query:
    if leading.counted_in == "reservation_label":
        at, id_ = "labelled.created_at", "labelled.reservation_id"
        return _Query(_LABELLED, at, id_, [], {"label": leading.values["label"]})
    return _Query(conditions=[leading.condition], values=dict(leading.values))


def _begin_after(transaction: Transaction, query: _Query, after: str) -> None:
    row = transaction.row("SELECT created_at FROM reservation WHERE id = :id", id=plain(after))
    if row is None:
        raise NotFoundError("reservation", after)
    query.add(
        f"{query.at} <= :last_at AND ({query.at} < :last_at OR {query.id} < :last_id)",
        last_at=row["created_at"],
        last_id=after,
    )


def _begin_at_the_last(query: _Query, filters: Sequence[_Filter]) -> None:
    """Start at the latest match instead of now: an index knows when that was."""
    for one in filters:
        query.add(
            f"{query.at} <= (SELECT MAX(created_at) FROM reservation WHERE {one.condition})",
            **one.values,
        )


def _wallet_id(transaction: Transaction, name: str) -> str | None:
    row = transaction.row(
        "SELECT id FROM wallet WHERE name = :name OR id = :name", name=plain(name)
    )
    return None if row is None else row["id"]
