"""RunAPI's live schedule written as a user's price book, over what holds already."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from copy import deepcopy
from datetime import date
from typing import Final

from kling_pricing.book_reader import BookText, merged
from kling_pricing.entry import Content
from kling_pricing.errors import BookError
from kling_pricing.gateways.runapi.schedule import CANONICAL_URL, Scheduled, read_schedules
from kling_pricing.money import plain
from kling_pricing.toml_text import book_as_toml
from kling_pricing.vocabulary import OptionValue

_LONGEST_UNSAID_S: Final = 60
_LIVE: Final = "live-schedule"


def schedule_book(
    schedules: Iterable[object],
    *,
    as_of: date,
    url: str = CANONICAL_URL,
    note: str = "",
    over: Sequence[BookText] = (),
) -> str:
    """Write the rows of a schedule as the TOML text of a user's book, with evidence `live`.

    The book is to lie over those of `over`: the bundled one, then the user's own, which it
    replaces. Rates that hold on the day are closed and live ones begin, so that old quotes can be
    worked out again; what the schedule does not price keeps its price. Raises BookError where no
    row has a price.
    """
    rows = read_schedules(schedules)
    writer = _BookWriter(as_of, over)
    for row in rows:
        if row.prices:
            writer.add(row)
    if not writer.has_added:
        raise BookError("the live schedule", "price_schedules", "no row has a price to write")
    source = {"url": url, "checked": as_of, "evidence": "live", "note": note}
    content = writer.content(source)
    unread = [f"{row.model} {row.action}: {row.problem}" for row in rows if row.problem]
    head = [f"RunAPI's live price schedule of {as_of}.", *(f"Not read: {line}" for line in unread)]
    return "".join(f"# {_one_line(line)}\n" for line in head) + "\n" + book_as_toml(content)


class _BookWriter:
    """Puts live rates into the user's own book, over what holds already."""

    def __init__(self, as_of: date, over: Sequence[BookText]) -> None:
        contents = [tomllib.loads(book.text) for book in over]
        self._as_of = as_of
        self._bundled = contents[0] if contents else {}
        self._own: Content = deepcopy(contents[1]) if len(contents) > 1 else {}
        self.has_added = False

    def content(self, source: Content) -> Content:
        own = self._own
        head = {"format": 1, "provider": "runapi", "name": "RunAPI", "unit": "USD"}
        return {
            **head,
            **{key: value for key, value in own.items() if key not in {*head, "sources", "rates"}},
            "sources": {**own.get("sources", {}), _LIVE: source},
            "rates": own["rates"],
        }

    def add(self, row: Scheduled) -> None:
        """Let a row's prices begin, after whatever held for its model and action so far."""
        self.has_added = True
        old_id = self._holding(row)
        old = self._rate(old_id) if old_id is not None else None
        new = _live_rate(row, old, self._as_of)
        if old_id is not None and old is not None:
            # Nothing changed since an earlier pull: closing it would begin the same price again.
            if old.get("source") == _LIVE and _without_start(old) == _without_start(new):
                return
            self._close(old_id, old, row)
        self._rates()[f"{row.model} {row.action} {self._as_of}"] = new

    def _rates(self) -> Content:
        rates: Content = self._own.setdefault("rates", {})
        return rates

    def _rate(self, rate_id: str) -> Content:
        return merged(
            self._bundled.get("rates", {}).get(rate_id, {}), self._rates().get(rate_id, {})
        )

    def _holding(self, row: Scheduled) -> str | None:
        """Return the id of the rate that holds for a row's model and action on the day."""
        for rate_id in [*self._bundled.get("rates", {}), *self._rates()]:
            rate = self._rate(str(rate_id))
            until = rate.get("until")
            holds = until is None or until > self._as_of
            if holds and row.action in _actions(rate.get("models", {}).get(row.model)):
                return str(rate_id)
        return None

    def _close(self, rate_id: str, old: Content, row: Scheduled) -> None:
        """End a rate on the day, and let what else it prices go on under another id."""
        # A rate that would end on the day it began never held: it is replaced, not closed.
        if old["from"] < self._as_of:
            self._rates().setdefault(rate_id, {})["until"] = self._as_of
        elif rate_id in self._bundled.get("rates", {}):
            problem = f"it begins on {old['from']}: a schedule of {self._as_of} cannot follow it"
            raise BookError("the live schedule", f"rates.{rate_id}", problem)
        else:
            del self._rates()[rate_id]
        # A row is one model and action, a rate may be several: the others keep their price.
        rest = _models_without(old["models"], row)
        if rest:
            self._rates()[_successor(rate_id, self._as_of)] = {
                **old,
                "models": rest,
                "from": self._as_of,
            }


def _live_rate(row: Scheduled, old: Content | None, as_of: date) -> Content:
    """Return the entry of a row's rate: all but models, prices and source as it was."""
    before = old if old is not None else _unsaid(row)
    listed = before.get("models", {}).get(row.model)
    dimensions = list(row.prices[0][0])
    replaced = {"prices", "base", "multipliers"}
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
    """Return what a rate needs and a schedule does not say."""
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


def _successor(rate_id: str, as_of: date) -> str:
    return rate_id if rate_id.endswith(f" since {as_of}") else f"{rate_id} since {as_of}"


def _without_start(rate: Content) -> Content:
    return {key: value for key, value in rate.items() if key not in {"from", "until"}}


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
