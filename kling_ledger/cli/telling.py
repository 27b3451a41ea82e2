"""Telling: an error as a person reads it, and as one JSON object where JSON was asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from kling_ledger.cli.hints import hint_for
from kling_pricing.errors import MOST_TOLD, KlingError
from kling_pricing.money import Money, plain


def tell_error(error: KlingError, code: int) -> None:
    """Tell a person of an error and what may help; with --format json, tell programs too."""
    hint = hint_for(error)
    problems = getattr(error, "problems", None)
    for line in told(problems or (error.message,)):
        click.echo(f"error: {line}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    facts = {name: _fact(value) for name, value in vars(error).items() if name[0] != "_"}
    tell_programs(
        {
            **facts,
            "code": error.code,
            "message": error.message,
            "hint": hint,
            "retryable": error.retryable,
            "exit_code": code,
        }
    )


def told(lines: Sequence[object]) -> list[str]:
    """Return the first of many lines, and how many there are more: nobody reads them all."""
    shown = [str(line) for line in lines[:MOST_TOLD]]
    more = len(lines) - len(shown)
    return [*shown, f"and {more:,} more"] if more else shown


def tell_programs(facts: dict[str, Any]) -> None:
    """Print the facts of an error as JSON on stdout, where --format json was asked for."""
    if _wants_json(sys.argv[1:]):
        click.echo(json.dumps({"error": facts}, indent=2, ensure_ascii=False))


def _wants_json(words: list[str]) -> bool:
    formats = [
        word.partition("=")[2] if "=" in word else following
        for word, following in zip(words, [*words[1:], ""], strict=True)
        if word == "--format" or word.startswith("--format=")
    ]
    return formats[-1:] == ["json"]


def _fact(value: object) -> Any:
    """Return a fact of an error for JSON: amounts are strings beside their unit, as everywhere."""
    if isinstance(value, Money):
        return {"amount": plain(value.amount), "unit": value.unit}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [*map(_fact, value[:MOST_TOLD]), *told(value)[MOST_TOLD:]]
    if value is None or isinstance(value, (bool, int)):
        return value
    return str(value)
