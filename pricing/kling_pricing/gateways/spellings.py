"""Undocumented spellings that clients use: understood, but sent as documented.

"5" clearly means 5, but whether a gateway accepts the text is undocumented. So the documented
spelling is sent, and the quote says so. The caller's own body keeps its hash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kling_pricing.gateways.checks import Body, Table

Spellings = Mapping[str, Callable[[Any], Any]]
"""Other spellings of a field, by its name: a reader that leaves alone what it does not
recognise."""


def as_number(said: object) -> object:
    """Read a text of plain digits, such as "5", as a whole number."""
    if not isinstance(said, str) or not (said.isascii() and said.isdigit()) or len(said) > 3:
        return said
    return int(said) if str(int(said)) == said else said


def as_lower(said: object) -> object:
    """Read a word in capitals, such as "1080P", in lower case."""
    return said.lower() if isinstance(said, str) else said


def respelled(body: Body, table: Table, spellings: Spellings) -> dict[str, Any]:
    """Return the fields of a body that are sent in another spelling than they were written in.

    A field that is still invalid in the documented spelling stays as written, and is refused as
    such.
    """
    found = {name: read(body[name]) for name, read in spellings.items() if name in body}
    return {
        name: value
        for name, value in found.items()
        if value != body[name] and not [*table.fields[name].problems(name, value)]
    }


def spelling_notes(body: Body, sent: Mapping[str, Any], inside: str = "") -> Iterator[str]:
    """Note, for each field, how it was written and how it is sent."""
    for name, value in sent.items():
        yield f"{inside}{name} {json.dumps(body[name])} is sent as {json.dumps(value)}"
