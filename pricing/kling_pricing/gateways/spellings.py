"""What clients write in another spelling than the documented one: understood, sent as documented.

"5" leaves no doubt that 5 is meant; whether a gateway takes the text, nobody says. So the
documented spelling is what is sent, and the quote says so. The caller's own body keeps its hash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kling_pricing.gateways.checks import Body, Table

Spellings = Mapping[str, Callable[[Any], Any]]
"""How else clients write a field, by its name: a reader that leaves alone what it does not know."""


def as_number(said: object) -> object:
    """Read a text of plain digits, such as "5", as the whole number that it says."""
    if not isinstance(said, str) or not (said.isascii() and said.isdigit()) or len(said) > 3:
        return said
    return int(said) if str(int(said)) == said else said


def as_lower(said: object) -> object:
    """Read a word in capitals, such as "1080P", as the same word without."""
    return said.lower() if isinstance(said, str) else said


def respelled(body: Body, table: Table, spellings: Spellings) -> dict[str, Any]:
    """Return the fields of a body that are sent in another spelling than the one that was written.

    What is no better in the documented spelling stays as it was written, and is refused as that.
    """
    found = {name: read(body[name]) for name, read in spellings.items() if name in body}
    return {
        name: value
        for name, value in found.items()
        if value != body[name] and not [*table.fields[name].problems(name, value)]
    }


def spelling_notes(body: Body, sent: Mapping[str, Any], inside: str = "") -> Iterator[str]:
    """Say of each field how it was written and how it is sent."""
    for name, value in sent.items():
        yield f"{inside}{name} {json.dumps(body[name])} is sent as {json.dumps(value)}"
