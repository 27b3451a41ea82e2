"""Telling: an error as a person reads it, and as one JSON object where JSON was asked for."""

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
"""Commands without --format: their standard output is another program's to read."""


def tell_error(error: KlingError, code: int) -> None:
    """Tell a person of an error and what may help; with --format json, tell programs too."""
    hint = hint_for(error) or _explained(error)
    problems = getattr(error, "problems", None)
    for line in told(problems or (error.message,)):
        click.echo(f"error: {line}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    tell_programs({**error_dict(error, hint), "exit_code": code})


def _explained(error: KlingError) -> str | None:
    """Lead to what an error of the ledger means, where it says no next step itself."""
    return f"kling-ledger explain {error.code}" if isinstance(error, LedgerError) else None


def tell_usage(error: click.ClickException) -> None:
    """Tell a person, and programs too, that a line cannot be read, and what may help."""
    from kling_ledger.cli.usage import told_usage

    message, hint = told_usage(error)
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    facts = {"code": "usage", "message": message, "hint": hint}
    tell_programs({**facts, "retryable": False, "exit_code": error.exit_code})


def tell_programs(facts: dict[str, Any]) -> None:
    """Print the facts of an error as JSON on stdout, where --format json was asked for."""
    if _wants_json(sys.argv[1:], default=_usual_form):
        click.echo(json.dumps({"error": facts}, indent=2, ensure_ascii=False))


def _wants_json(words: list[str], *, default: Callable[[], str | None]) -> bool:
    """Whether the last --format of a line is json; what follows -- is another program's."""
    own = words[: words.index("--")] if "--" in words else words
    formats = [
        word.partition("=")[2] if "=" in word else following
        for word, following in zip(own, [*own[1:], ""], strict=True)
        if word.lower().partition("=")[0] == "--format"
    ]
    asked = formats[-1] if formats else None if _SPEAKS_OTHERWISE & set(own) else default()
    return asked is not None and asked.lower() == "json"


def _usual_form() -> str | None:
    """Return the form that the settings file names; None where it cannot be read."""
    from kling_ledger.settings_file import read_settings

    try:
        return read_settings().text("format")
    except KlingError:
        return None
