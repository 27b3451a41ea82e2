"""Markup: elements of HTML and SVG whose text is escaped unless it is markup already."""

from __future__ import annotations

import html
from typing import Final

_HELD_APART: Final = {"class_": "class"}


class Markup(str):
    """Text that is already markup: it is inserted into other markup unchanged."""

    __slots__ = ()


def tag(name: str, /, *inside: str, **attributes: object) -> Markup:
    """Return an element with its content; attributes that are None or False are left out.

    `class_` becomes `class`; in any other attribute's name, `_` becomes `-`.
    """
    return Markup(f"<{name}{_written(attributes)}>{joined(*inside)}</{name}>")


def void(name: str, /, **attributes: object) -> Markup:
    """Return an element that has no content, such as `rect`."""
    return Markup(f"<{name}{_written(attributes)}/>")


def joined(*parts: str) -> Markup:
    """Return parts joined, escaping those that are plain text."""
    return Markup("".join(map(_escaped, parts)))


def _escaped(part: str) -> str:
    return part if isinstance(part, Markup) else html.escape(part, quote=False)


def _written(attributes: dict[str, object]) -> str:
    return "".join(
        f" {_HELD_APART.get(name, name.replace('_', '-'))}"
        + ("" if value is True else f'="{html.escape(str(value))}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
