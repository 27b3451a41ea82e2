"""Texts: what help and docstrings say, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from typing import Final

GENERATED: Final = "<!-- generated: python -m docs.generate -->"
"""The mark of a page that nobody edits."""


def escaped(text: str) -> str:
    """Return a text on one line in which nothing is taken for HTML, emphasis or a link."""
    return re.sub(r"([*_\[\]])(?!\w)|(?<!\w)([*_\[\]])", r"\\\1\2", _safe(" ".join(text.split())))


def _safe(text: str) -> str:
    """Escape `<` outside of code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(one if one.startswith("`") else one.replace("<", "&lt;") for one in parts)


def cell(text: str) -> str:
    """Return a text for a cell of a table."""
    return escaped(text).replace("|", "\\|")


def as_prose(text: str, examples: str = "python") -> str:
    """Return a help text or a docstring: paragraphs joined, lists and examples as they are."""
    paragraphs = re.split(r"\n[ \t]*\n", cleandoc(text.replace("\f", "")))
    return "\n\n".join(_paragraph(one, examples) for one in paragraphs if one.strip("\b\n "))


def _paragraph(text: str, examples: str) -> str:
    """Return one paragraph; one that click leaves alone, or that is indented, is an example."""
    kept = text.startswith("\b\n")
    lines = text.removeprefix("\b\n").split("\n")
    if kept and not any("kling-ledger" in line for line in lines):
        kept = False
    if kept or all(line.startswith("    ") for line in lines):
        return "\n".join([f"```{examples}", *_dedented(lines), "```"])
    if all(line.startswith(("- ", "  ")) for line in lines):
        return "\n".join(map(_safe, lines))
    return escaped(text.removeprefix("\b\n"))


def _dedented(lines: list[str]) -> Iterator[str]:
    least = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return (line[least:] for line in lines)
