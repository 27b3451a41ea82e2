"""Rows: what a row of a manifest says, in the same words wherever a table of clips is read.

A row has a provider and either the fields of a clip or `request`, the provider's own JSON body.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from kling_ledger.tabular.table import Row, Table
from kling_pricing.clip import ACTIONS, CLIP_FIELDS
from kling_pricing.errors import MISSING, ClipError, Problem
from kling_pricing.gateways import Request, parse_body, read_request
from kling_pricing.money import read_decimal

_FLAGS: Final = ("sound", "multi_shot", "voice", "video_input", "elements")
_NUMBERS: Final = ("seconds", "input_seconds", "cfg_scale")
_WORDS: Final = {
    **dict.fromkeys(("true", "on", "yes", "1"), True),
    **dict.fromkeys(("false", "off", "no", "0"), False),
}
_BODY_SAYS: Final = "nothing: the request body says it already"


def said_by(row: Row, table: Table) -> Mapping[str, Any]:
    """Return what a row says, by column. Where cells are text, each is read as its column asks.

    A blank cell says nothing. Raises RequestError for a `request` that is no JSON object.
    """
    if table.kind in {"json", "jsonl"}:
        return row.cells
    cells = {name: one.strip() if isinstance(one, str) else one for name, one in row.cells.items()}
    return {name: _typed(name, cell) for name, cell in cells.items() if cell != ""}


def _typed(name: str, cell: Any) -> Any:
    """Read a cell of text as what its column holds; what it cannot be is left to be refused."""
    if not isinstance(cell, str):
        return cell
    if name == "request":
        return parse_body(cell)
    if name in _FLAGS:
        return _WORDS.get(cell.lower(), cell)
    return _number(cell) if name in _NUMBERS else cell


def _number(cell: str) -> object:
    try:
        return int(cell) if cell.isdigit() else Decimal(cell)
    except ArithmeticError:
        return cell


def exact(value: object) -> object:
    """Read a JSON float by its writing: 5.0 is 5, and 5.5 is exactly 5.5."""
    if not isinstance(value, float):
        return value
    return int(value) if value.is_integer() else read_decimal(value)


def own_body(said: Mapping[str, Any]) -> Request:
    """Read a row's `request` as the body that its provider would take.

    Raises ClipError where the row says beside it what the body says, or names no provider;
    RequestError and NoPriceError for a body that the provider would not take.
    """
    twice = [name for name in CLIP_FIELDS if name in said and name not in {"provider", "action"}]
    problems = [Problem(name, said[name], _BODY_SAYS) for name in twice]
    provider, action = said.get("provider"), said.get("action")
    if not isinstance(provider, str):
        problems.append(Problem("provider", said.get("provider", MISSING), "a name"))
    if not isinstance(action, str | None):
        problems.append(Problem("action", action, ", ".join(ACTIONS)))
    if problems:
        raise ClipError(problems)
    return read_request(str(provider), said["request"], action=action)
