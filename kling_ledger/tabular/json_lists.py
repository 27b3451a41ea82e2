"""Lists in JSON: every list of objects in a document, with all cells as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any, Final

from kling_ledger.tabular.cells import Written, json_text
from kling_ledger.tabular.grids import trimmed

_MORE: Final = ("hasmore", "hasnext", "hasnextpage")
_NEXT: Final = ("nextcursor", "nextpage", "nextpagetoken", "nexttoken")
_COUNTS: Final = ("totalcount", "totalitems", "totalrecords", "totalrows")
_PAGES: Final = frozenset({"page", "pagesize", "perpage", "limit", "offset", "pagenum"})


def lists_in(document: Any, path: str = "") -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Return every list of objects, with the keys that lead to it; none within another's rows.

    A document without such a list, if it is an object, becomes the only row of one.
    """
    found = list(_lists(document, path))
    if not found and isinstance(document, dict):
        found = [("", [document])]
    yield from found


def _lists(value: Any, path: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _lists(inner, f"{path}.{key}" if path else key)


def error_in(document: Any) -> str | None:
    """Return the error that a document reports, or None."""
    if not isinstance(document, dict):
        return None
    said = [value for key, value in document.items() if key.lower() in {"error", "errors"}]
    return next((json_text(value) for value in said if value), None)


def tells_of_more(document: Any, count: int) -> bool:
    """Whether a document is one page of several, with more rows than `count` in total."""
    if not isinstance(document, dict):
        return False
    said = {re.sub("[_-]", "", key).lower(): value for key, value in document.items()}
    if any(said.get(key) is True for key in _MORE) or any(said.get(key) for key in _NEXT):
        return True
    # A `total` may be an amount, but next to page numbers it counts rows.
    totals = _COUNTS if _PAGES.isdisjoint(said) else (*_COUNTS, "total")
    if any(type(said.get(key)) is int and said[key] > count for key in totals):
        return True
    return any(tells_of_more(value, count) for value in document.values())


def texts_in(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of a document outside its lists."""
    said = flat({key: value for key, value in document.items() if not isinstance(value, list)})
    return {key: text for key, text in said.items() if not text.startswith("[")}


def flat(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of an object: a nested value is named `a.b`; a list is one cell."""
    cells: dict[str, str] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            cells.update({f"{key}.{inner}": text for inner, text in flat(value).items()})
        else:
            cells[key] = cell_of(value)
    return cells


def cell_of(value: object) -> str:
    """Return a value as text; a number is marked as one."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, Written):
        return value
    if isinstance(value, (int, float, Decimal)):
        return Written(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    return trimmed(value) if isinstance(value, str) else json_text(value)
