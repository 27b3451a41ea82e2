"""Rows: what a row of a manifest says, the same wherever a table of clips is read.

A row has a provider and either the fields of a clip or `request`, the provider's own JSON body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kling_ledger.errors import ConfigError
from kling_ledger.manifests.columns import named
from kling_ledger.tabular.table import Row, Table
from kling_pricing.clip import ACTIONS, CLIP_FIELDS
from kling_pricing.errors import MISSING, ClipError, NoPriceError, Problem
from kling_pricing.gateways import Request, parse_body, read_request
from kling_pricing.library import Library
from kling_pricing.spellings import read_cell

Said = Mapping[str, Any]


def said_by(row: Row, table: Table) -> Said:
    """Return what a row says, under our column names.

    A null cell is not given, nor is a blank one where cells are text. A text `request` is read as
    JSON. Raises ConfigError for an invalid row, and RequestError for a `request` that is not a JSON
    object.
    """
    if row.problem is not None:
        raise ConfigError(f"{row.place}: {row.problem}")
    try:
        cells = named(row.cells)
    except ValueError as error:
        raise ConfigError(f"{row.place}: {error}") from None
    if not table.is_json:
        cells = {name: _stripped(cell) for name, cell in cells.items()}
    said = {name: cell for name, cell in cells.items() if cell is not None}
    if isinstance(said.get("request"), str):
        said["request"] = parse_body(said["request"])
    return said


def _stripped(cell: object) -> object:
    return (cell.strip() or None) if isinstance(cell, str) else cell


def clip_fields(said: Said, library: Library) -> dict[str, Any]:
    """Return the clip fields of a row, each read by the rules of its column.

    Without an action, it is the model's first one, as for a single quote.
    """
    read = {name: read_cell(name, said[name]) for name in CLIP_FIELDS if name in said}
    found = {name: value for name, value in read.items() if value is not None}
    if "action" not in found:
        action = first_action(found.get("provider"), found.get("model"), library)
        found |= {} if action is None else {"action": action}
    return found


def first_action(provider: object, model: object, library: Library) -> str | None:
    """Return the first action of a model, None for an unknown model."""
    if not (isinstance(provider, str) and isinstance(model, str)):
        return None
    try:
        actions = library.book(provider).actions_of(model)
    except NoPriceError:
        return None
    return actions[0] if actions else None


def own_body(said: Said) -> Request:
    """Read a row's `request` as a body that its provider accepts.

    The row may repeat what the body says. Raises ClipError if it contradicts the body or names no
    provider; RequestError and NoPriceError for a body that the provider would not accept.
    """
    provider = read_cell("provider", said.get("provider"))
    action = read_cell("action", said.get("action"))
    if not isinstance(provider, str):
        raise ClipError([Problem("provider", said.get("provider", MISSING), "a name")])
    if not isinstance(action, str | None):
        raise ClipError([Problem("action", action, ", ".join(ACTIONS))])
    request = read_request(provider, said["request"], action=action)
    _refuse_contradictions(said, request)
    return request


def _refuse_contradictions(said: Said, request: Request) -> None:
    problems = [
        Problem(name, said[name], f"{_words(getattr(request.clip, name))}, from its request")
        for name in CLIP_FIELDS
        if not _agree(read_cell(name, said.get(name)), getattr(request.clip, name))
    ]
    if problems:
        raise ClipError(problems)


def _agree(said: object, body: object) -> bool:
    # True == 1, but a flag and a number never match.
    is_alike = isinstance(said, bool) == isinstance(body, bool)
    return said is None or (is_alike and said == body)


def _words(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value or "nothing")
