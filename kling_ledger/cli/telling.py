"""Telling: errors as text for people, and as a JSON object with --format json."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, Final

import click

from kling_ledger.cli.hints import hint_for
from kling_ledger.errors import LedgerError
from kling_ledger.errors.facts import error_dict, told
from kling_pricing.errors import KlingError

_SPEAKS_OTHERWISE: Final = {"mcp", "hook", "exec", "gateway", "callbacks", "sandbox", "demo"}
"""Commands without --format: their standard output belongs to another program."""


def tell_error(error: KlingError, code: int) -> None:
    """Print an error and its hint for people; with --format json, for programs too."""
    hint = hint_for(error) or _explained(error)
    problems = getattr(error, "problems", None)
    for line in told(problems or (error.message,)):
        click.echo(f"error: {line}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    tell_programs({**error_dict(error, hint), "exit_code": code})


def _explained(error: KlingError) -> str | None:
    """Point to `explain` for an error of the ledger without a hint of its own."""
    return f"kling-ledger explain {error.code}" if isinstance(error, LedgerError) else None


def tell_usage(error: click.ClickException) -> None:
    """Print a usage error and its hint, for people and programs."""
    from kling_ledger.cli.usage import told_usage

    message, hint = told_usage(error)
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    facts = {"code": "usage", "message": message, "hint": hint}
    tell_programs({**facts, "retryable": False, "exit_code": error.exit_code})


def tell_programs(facts: dict[str, Any]) -> None:
    """Print the facts of an error as JSON on stdout, with --format json."""
    if _wants_json(sys.argv[1:], default=_usual_form):
        click.echo(json.dumps({"error": facts}, indent=2, ensure_ascii=False))


def _wants_json(words: list[str], *, default: Callable[[], str | None]) -> bool:
    """Whether the last --format of a line is json; words after -- belong to another program."""
    own = words[: words.index("--")] if "--" in words else words
    formats = [
        word.partition("=")[2] if "=" in word else following
        for word, following in zip(own, [*own[1:], ""], strict=True)
        if word.lower().partition("=")[0] == "--format"
    ]
    asked = formats[-1] if formats else None if _SPEAKS_OTHERWISE & set(own) else default()
    return asked is not None and asked.lower() == "json"


def _usual_form() -> str | None:
    """Return the format from the settings file; None if that cannot be read."""
    from kling_ledger.settings_file import read_settings

    try:
        return read_settings().text("format")
    except KlingError:
        return None
