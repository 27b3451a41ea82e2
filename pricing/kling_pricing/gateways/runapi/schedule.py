"""RunAPI's live price schedule: its rows read as prices, and written as a user's price book.

A row is either understood to the last key or reported with what was not: a price that is read
wrongly is worse than one that is not read.
Source: https://github.com/runapi-ai/core-sdk go/pricing/client_test.go and
https://github.com/runapi-ai/mcp data/pricing.json, 2026-07-23, checked 2026-11-20.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from kling_pricing.book_reader import BookText, merged
from kling_pricing.clip import ACTIONS, OptionValue
from kling_pricing.errors import AmountError, BookError
from kling_pricing.money import plain, read_decimal

Options = Mapping[str, OptionValue]
Content = dict[str, Any]

CANONICAL_URL: Final = "https://runapi.ai/api/v1/price_schedules?service=kling"
"""Where RunAPI publishes its schedule."""

_SIZES: Final[Mapping[str, OptionValue]] = {
    "720p": "720p",
    "1080p": "1080p",
    "4k": "4k",
    "std": "720p",
    "standard": "720p",
    "pro": "1080p",
}
_SWITCH: Final[Mapping[str, OptionValue]] = {"false": False, "true": True}
_KEYS: Final[Mapping[str, tuple[str, Mapping[str, OptionValue]]]] = {
    "enable_sound": ("sound", _SWITCH),
    "output_resolution": ("resolution", _SIZES),
    "resolution": ("resolution", _SIZES),
    "mode": ("resolution", _SIZES),
    "duration_seconds": ("seconds", {str(seconds): seconds for seconds in range(1, 61)}),
    "character_orientation": ("orientation", {"image": "image", "video": "video"}),
}
_PER: Final[Mapping[str, str]] = {
    "per_second": "second",
    "second": "second",
    "per_call": "clip",
    "per_request": "clip",
}
_CONFIG_KEYS: Final = frozenset({"keys", "matrix", "key", "overrides", "duration_source"})
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,99}")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_UNSAID_S: Final = 60
_LIVE: Final = "live-schedule"


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One row: the prices of a model for an action, in US dollars per `per`.

    `prices` goes from options to a price. None are there where the row says that none is available,
    or where `problem` says what of the row was not understood.
    """

    model: str
    action: str
    per: str
    prices: tuple[tuple[Options, Decimal], ...]
    is_produced: bool = False
    problem: str | None = None


class _UnknownShapeError(Exception):
    """A row that is not as documented."""


def read_schedules(rows: Iterable[object]) -> tuple[Scheduled, ...]:
    """Read the rows of a schedule; those of other services are left out, no other is."""
    return tuple(
        _scheduled(row)
        for row in rows
        if not (isinstance(row, dict) and row.get("service", "kling") != "kling")
    )


def _scheduled(row: object) -> Scheduled:
    if not isinstance(row, dict):
        return Scheduled("?", "?", "?", (), problem="the row is no object")
    model, action = str(row.get("model"))[:100], str(row.get("action"))[:100]
    try:
        per, prices = _read(row)
    except _UnknownShapeError as error:
        return Scheduled(model, action, "?", (), problem=str(error))
    config = row.get("billing_config") or {}
    return Scheduled(model, action, per, prices, is_produced="duration_source" in config)


def _read(row: Content) -> tuple[str, tuple[tuple[Options, Decimal], ...]]:
    _known("model", row.get("model"), when=_MODEL.fullmatch(str(row.get("model"))) is not None)
    if _is_free_query(row):
        return "clip", ()
    _known("action", row.get("action"), when=row.get("action") in ACTIONS)
    if row.get("pricing_status", "available") != "available":
        return "?", ()
    _known("currency", row.get("currency"), when=row.get("currency") == "USD")
    _known("billing_unit", row.get("billing_unit"), when=str(row.get("billing_unit")) in _PER)
    config = row.get("billing_config")
    _known("billing_config", config, when=config is None or isinstance(config, dict))
    return _PER[row["billing_unit"]], tuple(_prices(row, config or {}))


def _is_free_query(row: Content) -> bool:
    is_query = str(row.get("action")).endswith("_query")
    return is_query and row.get("unit_price_cents") == 0 and not row.get("billing_config")


def _prices(row: Content, config: Content) -> Iterator[tuple[Options, Decimal]]:
    unknown = sorted(str(key) for key in config if key not in _CONFIG_KEYS)
    _known("billing_config", ", ".join(unknown), when=not unknown)
    if "keys" in config or "matrix" in config:
        keys = config.get("keys")
        _known("keys", keys, when=isinstance(keys, list) and bool(keys) and "key" not in config)
        yield from _cells(config.get("matrix"), list(keys or ()), {})
    elif "key" in config or "overrides" in config:
        yield from _cells(config.get("overrides"), [config.get("key")], {})
    else:
        yield {}, _usd(row.get("unit_price_cents"))


def _cells(
    table: object, keys: Sequence[object], so_far: Options
) -> Iterator[tuple[Options, Decimal]]:
    if not keys:
        yield so_far, _usd(table)
        return
    _known("key", keys[0], when=isinstance(keys[0], str) and keys[0] in _KEYS)
    name, words = _KEYS[str(keys[0])]
    _known("key", keys[0], when=name not in so_far)
    if not isinstance(table, dict) or not table:
        raise _UnknownShapeError(f"expected an object by {keys[0]}, got {_short(table)}")
    for word, inner in table.items():
        _known(str(keys[0]), word, when=str(word).lower() in words)
        yield from _cells(inner, keys[1:], {**so_far, name: words[str(word).lower()]})


def _usd(cents: object) -> Decimal:
    try:
        usd = read_decimal(cents) / 100
    except AmountError:
        raise _UnknownShapeError(f"expected a price in cents, got {_short(cents)}") from None
    if not 0 < usd < 10**6 or usd != round(usd, 6):
        raise _UnknownShapeError(f"{_short(cents)} cents is no price")
    return usd


def _known(what: str, got: object, *, when: bool) -> None:
    if not when:
        raise _UnknownShapeError(f"{what} {_short(got)} is not known")


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


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
    return "".join(f"# {_one_line(line)}\n" for line in head) + "\n" + _toml(content)


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
        if old["from"] < self._as_of:
            self._rates().setdefault(rate_id, {})["until"] = self._as_of
        elif rate_id in self._bundled.get("rates", {}):
            problem = f"it begins on {old['from']}: a schedule of {self._as_of} cannot follow it"
            raise BookError("the live schedule", f"rates.{rate_id}", problem)
        else:
            del self._rates()[rate_id]
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


def _toml(content: Content) -> str:
    """Write a TOML document: each rate and source under its own heading."""
    lines = [f"{key} = {_value(value)}" for key, value in content.items() if key not in _HEADED]
    for section in _HEADED:
        for name, entry in content.get(section, {}).items():
            lines += ["", f"[{section}.{_key(name)}]"]
            lines += [f"{_key(key)} = {_value(value)}" for key, value in entry.items()]
    return "\n".join(lines) + "\n"


_HEADED: Final = ("sources", "rates")


def _value(value: object) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(str(key))} = {_value(one)}" for key, one in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else str(value)


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _text(name)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
