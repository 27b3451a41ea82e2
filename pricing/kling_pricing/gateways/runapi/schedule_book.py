"""RunAPI's live schedule written as a user's price book, over the prices that hold already."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from copy import deepcopy
from datetime import datetime
from typing import Final

from kling_pricing.book_reader import BookText, merged
from kling_pricing.book_values import day_or_instant, instant_of
from kling_pricing.entry import Content
from kling_pricing.errors import BookError
from kling_pricing.gateways.runapi.schedule import CANONICAL_URL, Scheduled, read_schedules
from kling_pricing.money import plain
from kling_pricing.toml_text import book_as_toml
from kling_pricing.vocabulary import OptionValue

_LONGEST_UNSAID_S: Final = 60
_LIVE: Final = "live-schedule"
_UNLISTED: Final = "not-in-live-schedule"
_NOT_READ: Final = "# Not read: "
_WITHDRAWN: Final = "# Withdrawn: "
_NOT_LISTED: Final = "# No live price: "

TOLD: Final = (_NOT_READ, _WITHDRAWN, _NOT_LISTED)
"""How the lines of a book begin that report a price the schedule dropped, or something odd in
it."""


def schedule_book(
    schedules: Iterable[object],
    *,
    as_of: datetime,
    url: str = CANONICAL_URL,
    note: str = "",
    over: Sequence[BookText] = (),
) -> str:
    """Write the rows of a schedule as the TOML text of a user's book, with evidence `live`.

    The book goes over those of `over`: the bundled one, then the user's own, which it replaces.
    Rates that hold at `as_of`, an instant, are closed and live ones begin, so that old quotes can
    be recomputed. Prices that the schedule marks as no longer sold end; those that it does not
    list, or lists in a form that is not understood, stay and become assumptions. Raises BookError
    if no row has a price.
    """
    rows = read_schedules(schedules)
    writer = _BookWriter(as_of, url, over)
    for row in rows:
        if row.prices:
            writer.add(row)
        elif row.is_withdrawn:
            writer.withdraw(row)
    if not writer.has_added:
        raise BookError("the live schedule", "price_schedules", "no row has a price to write")
    writer.mark_unlisted(rows)
    source = {"url": url, "checked": as_of.date(), "evidence": "live", "note": note}
    head = [f"# RunAPI's live price schedule of {day_or_instant(as_of)}."]
    head += [f"{_NOT_READ}{one.model} {one.action}: {one.problem}" for one in rows if one.problem]
    head += [_WITHDRAWN + one for one in writer.withdrawn]
    head += [_NOT_LISTED + one for one in writer.unlisted]
    return (
        "".join(f"{_one_line(line)}\n" for line in head)
        + "\n"
        + book_as_toml(writer.content(source))
    )


class _BookWriter:
    """Puts live rates into the user's own book, over the prices that hold already."""

    def __init__(self, as_of: datetime, url: str, over: Sequence[BookText]) -> None:
        contents = [tomllib.loads(book.text) for book in over]
        self._as_of = as_of
        self._url = url
        self._day = day_or_instant(as_of)
        self._bundled = contents[0] if contents else {}
        self._own: Content = deepcopy(contents[1]) if len(contents) > 1 else {}
        self.has_added = False
        self.withdrawn: list[str] = []
        self.unlisted: list[str] = []

    def content(self, source: Content) -> Content:
        own = self._own
        head = {"format": 1, "provider": "runapi", "name": "RunAPI", "unit": "USD"}
        return {
            **head,
            **{key: value for key, value in own.items() if key not in {*head, "sources", "rates"}},
            "sources": {**own.get("sources", {}), _LIVE: source, **self._unlisted_source()},
            "rates": own["rates"],
        }

    def _unlisted_source(self) -> Content:
        if not self.unlisted:
            return {}
        note = f"RunAPI's live schedule of {self._day} lists no price for this: it may have ended."
        source = {"url": self._url, "checked": self._as_of.date(), "evidence": "assumed"}
        return {_UNLISTED: {**source, "note": note}}

    def add(self, row: Scheduled) -> None:
        """Start a row's prices, ending whatever held for its model and action."""
        self.has_added = True
        old_id = self._holding(row)
        old = self._rate(old_id) if old_id is not None else None
        new = _live_rate(row, old, self._as_of)
        if old_id is not None and old is not None:
            # Unchanged since an earlier pull: closing it would only start the same price again.
            if old.get("source") == _LIVE and _without_start(old) == _without_start(new):
                return
            self._close(old_id, old, row)
        self._rates()[f"{row.model} {row.action} {self._day}"] = new

    def withdraw(self, row: Scheduled) -> None:
        """End a price that RunAPI says it no longer sells."""
        old_id = self._holding(row)
        old = self._rate(old_id) if old_id is not None else None
        if old_id is not None and old is not None:
            self.withdrawn.append(f"{row.model} {row.action}")
            self._close(old_id, old, row)

    def mark_unlisted(self, rows: Sequence[Scheduled]) -> None:
        """Turn each current price that no row lists into an assumption."""
        listed = {(row.model, row.action) for row in rows if row.prices}
        for rate_id in [*self._bundled.get("rates", {}), *self._rates()]:
            rate = self._rate(str(rate_id))
            unlisted = [
                f"{model} {action}"
                for model, actions in rate.get("models", {}).items()
                for action in _actions(actions)
                if (model, action) not in listed
            ]
            if unlisted and self._lasts(rate):
                self.unlisted += unlisted
                own = self._rates().setdefault(str(rate_id), {})
                own["source"] = _UNLISTED
                own["note"] = (
                    f"RunAPI's live schedule of {self._day} lists no price of"
                    f" {', '.join(unlisted)}: it may have ended."
                )

    def _lasts(self, rate: Content) -> bool:
        until = rate.get("until")
        return until is None or instant_of(until) > self._as_of

    def _rates(self) -> Content:
        rates: Content = self._own.setdefault("rates", {})
        return rates

    def _rate(self, rate_id: str) -> Content:
        return merged(
            self._bundled.get("rates", {}).get(rate_id, {}), self._rates().get(rate_id, {})
        )

    def _holding(self, row: Scheduled) -> str | None:
        """Return the id of the rate that holds on the day for a row's model and action."""
        for rate_id in [*self._bundled.get("rates", {}), *self._rates()]:
            rate = self._rate(str(rate_id))
            if self._lasts(rate) and row.action in _actions(rate.get("models", {}).get(row.model)):
                return str(rate_id)
        return None

    def _close(self, rate_id: str, old: Content, row: Scheduled) -> None:
        """End a rate on the day, and continue whatever else it prices under another id."""
        # A rate that ended on the day it began never held: it is replaced, not closed.
        if instant_of(old["from"]) < self._as_of:
            self._rates().setdefault(rate_id, {})["until"] = self._as_of
        elif rate_id in self._bundled.get("rates", {}):
            problem = f"it begins on {old['from']}: a schedule of {self._day} cannot follow it"
            raise BookError("the live schedule", f"rates.{rate_id}", problem)
        else:
            del self._rates()[rate_id]
        # A row is one model and action, a rate may be several: the others keep their price.
        rest = _models_without(old["models"], row)
        if rest:
            self._rates()[_successor(rate_id, self._day)] = {
                **old,
                "models": rest,
                "from": self._as_of,
            }


def _live_rate(row: Scheduled, old: Content | None, as_of: datetime) -> Content:
    """Return the entry of a row's rate: the old entry with new models, prices and source."""
    before = old if old is not None else _unsaid(row)
    listed = before.get("models", {}).get(row.model)
    dimensions = list(row.prices[0][0])
    # The seller itself states its price: it is no longer disputed.
    replaced = {"prices", "base", "multipliers", "disputed"}
    return {
        **{key: value for key, value in before.items() if key not in replaced},
        "models": {row.model: _with_action(listed, row.action)},
        "from": as_of,
        "source": _LIVE,
        "note": _note(old),
        "per": "request" if row.per == "clip" and before.get("per") == "request" else row.per,
        "dimensions": dimensions,
        "prices": _nested(row, dimensions),
    }


def _with_action(listed: object, action: str) -> object:
    return {**listed, "actions": [action]} if isinstance(listed, dict) else [action]


def _note(old: Content | None) -> str:
    if old is None:
        return (
            "From RunAPI's live schedule, which does not say how long a clip may be: "
            f"up to {_LONGEST_UNSAID_S} seconds are taken."
        )
    return str(old["note"]) if old.get("source") == _LIVE else "From RunAPI's live schedule."


def _unsaid(row: Scheduled) -> Content:
    """Return what a rate needs that a schedule does not give."""
    lengths = {"min_s": 1, "max_s": _LONGEST_UNSAID_S}
    if row.is_produced:
        billing = {"count": "produced", "round": "up", "output": [lengths]}
        return {"family": row.model, "billing": billing}
    return {"family": row.model, "request": lengths}


def _nested(row: Scheduled, dimensions: Sequence[str]) -> Content | str:
    if not dimensions:
        return plain(row.prices[0][1])
    table: Content = {}
    for options, price in row.prices:
        *outer, innermost = (_word(options[name]) for name in dimensions)
        inner = table
        for word in outer:
            inner = inner.setdefault(word, {})
        inner[innermost] = plain(price)
    return table


def _word(value: OptionValue) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _actions(listed: object) -> Sequence[str]:
    actions = listed.get("actions", []) if isinstance(listed, dict) else listed
    return actions if isinstance(actions, list) else []


def _models_without(models: Content, row: Scheduled) -> Content:
    rest: Content = {}
    for model, listed in models.items():
        left = [one for one in _actions(listed) if (model, one) != (row.model, row.action)]
        if left:
            rest[model] = {**listed, "actions": left} if isinstance(listed, dict) else left
    return rest


def _successor(rate_id: str, day: str) -> str:
    return rate_id if rate_id.endswith(f" since {day}") else f"{rate_id} since {day}"


def _without_start(rate: Content) -> Content:
    return {key: value for key, value in rate.items() if key not in {"from", "until"}}


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
