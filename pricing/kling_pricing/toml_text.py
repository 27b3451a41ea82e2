"""A price book's content written as TOML text, for people to read and edit."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Final

from kling_pricing.book_values import day_or_instant
from kling_pricing.entry import Content

_HEADED: Final = ("sources", "rates")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


def book_as_toml(content: Content) -> str:
    """Write a TOML document: each rate and source under its own heading."""
    lines = [f"{key} = {_value(value)}" for key, value in content.items() if key not in _HEADED]
    for section in _HEADED:
        for name, entry in content.get(section, {}).items():
            lines += ["", f"[{section}.{_key(name)}]"]
            lines += [f"{_key(key)} = {_value(value)}" for key, value in entry.items()]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(str(key))} = {_value(one)}" for key, one in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return day_or_instant(value)
    return _text(value) if isinstance(value, str) else str(value)


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _text(name)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
