"""The forms that a report is written in: by name, by the ending of a file, to a file or a terminal.

Each form is a module of kling_reports.render with `render(report) -> bytes`; the terminal's is
`render(report, *, width, is_terminal) -> str`. FORMS says which form is which module, and which
ending of a file's name asks for it.
"""

from __future__ import annotations

import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from kling_ledger.cli.output import say
from kling_ledger.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_reports.report import Report

FORMS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "table": ("terminal", (".txt",)),
    "json": ("json", (".json",)),
    "csv": ("csv", (".csv",)),
    "parquet": ("parquet", (".parquet",)),
    "xlsx": ("xlsx", (".xlsx",)),
    "html": ("html", (".html", ".htm")),
}
"""Every form: the module of kling_reports.render that writes it, and the files that ask for it."""

_ON_A_TERMINAL: Final = ("table", "json", "csv")
_NEVER_FOLDED: Final = 10_000


def form_of(form: str | None, out: Path | None) -> str:
    """Return the form that is asked for, by its name or by the ending of a file.

    ConfigError for an ending that no form has, and for a form that no terminal shows.
    """
    known = form or _by_ending(out)
    if out is None and known not in _ON_A_TERMINAL:
        raise ConfigError(
            f"{known} is written to a file", hint=f"name it with --out report.{known}"
        )
    return known


def write(answered: Report, form: str, out: Path | None = None) -> None:
    """Write a report in a form of FORMS, to a file or to standard output."""
    render = import_module(f"kling_reports.render.{FORMS[form][0]}").render
    if form == "table":
        is_terminal = out is None and sys.stdout.isatty()
        text: str = render(answered, width=_width(), is_terminal=is_terminal)
        write_bytes(text.encode(), out)
    else:
        write_bytes(render(answered), out)


def write_bytes(written: bytes, out: Path | None) -> None:
    """Write what is finished to a file, and say so, or to standard output."""
    if out is None:
        click.echo(written, nl=False)
        return
    out.write_bytes(written)
    say(f"wrote {out}")


def _by_ending(out: Path | None) -> str:
    if out is None:
        return "table"
    for form, (_, endings) in FORMS.items():
        if out.suffix.lower() in endings:
            return form
    known = ", ".join(ending for _, endings in FORMS.values() for ending in endings)
    raise ConfigError(f"no form is known for {out.name}", hint=f"use --format, or one of {known}")


def _width() -> int:
    """Return how wide the terminal is; a file or a pipe has no width, and nothing is cut there."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _NEVER_FOLDED
