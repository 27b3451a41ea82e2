"""RunAPI's live price schedule: its rows read as prices.

Either every key of a row is understood, or the row is reported with what was not: a misread price
is worse than an unread one.
Source: https://github.com/runapi-ai/core-sdk go/pricing/client_test.go and
https://github.com/runapi-ai/mcp data/pricing.json, 2026-07-23, checked 2026-11-20.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from kling_pricing.book_values import Options
from kling_pricing.entry import Content
from kling_pricing.errors import AmountError
from kling_pricing.money import read_decimal
from kling_pricing.vocabulary import ACTIONS, OptionValue

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


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One row: the prices of a model for an action, in US dollars per `per`.

    `prices` maps options to a price. It is empty if the row is withdrawn (it says that none is
    available), or if `problem` says what was not understood.
    """

    model: str
    action: str
    per: str
    prices: tuple[tuple[Options, Decimal], ...]
    is_produced: bool = False
    problem: str | None = None
    is_withdrawn: bool = False


class _UnknownShapeError(Exception):
    """A row that is not in the documented form."""


def read_schedules(rows: Iterable[object]) -> tuple[Scheduled, ...]:
    """Read the rows of a schedule; only those of other services are left out."""
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
    return Scheduled(
        model,
        action,
        per,
        prices,
        is_produced="duration_source" in config,
        is_withdrawn=row.get("pricing_status", "available") != "available",
    )


def _read(row: Content) -> tuple[str, tuple[tuple[Options, Decimal], ...]]:
    _known("model", row.get("model"), when=_MODEL.fullmatch(str(row.get("model"))) is not None)
    # Querying a job is free and is not a clip: the row is read but has no price.
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
        # Cents may have decimals: 13.5 cents are 0.135 USD; a float is read by its written digits.
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
