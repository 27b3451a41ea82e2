"""The formats of a report: by name or by file extension, to a file or a terminal.

Each format is a module of kling_reports.render with `write(report, file)`; the terminal's is
`write(report, file, *, width, is_terminal)`, the page's `render(report) -> bytes`. FORMS maps each
format to its module and its file extensions. Files appear complete or not at all.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from kling_ledger.cli.output import say
from kling_ledger.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_reports.report import Report

FORMS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "table": ("terminal", (".txt",)),
    "json": ("json", (".json",)),
    "jsonl": ("jsonl", (".jsonl", ".ndjson")),
    "csv": ("csv", (".csv",)),
    "parquet": ("parquet", (".parquet",)),
    "xlsx": ("xlsx", (".xlsx",)),
    "html": ("html", (".html", ".htm")),
}
"""Every format: the module of kling_reports.render that writes it, and its file extensions."""

ONE_TABLE: Final = ("csv", "jsonl", "parquet")
"""The formats that hold a single table."""

_ON_A_TERMINAL: Final = ("table", "json", "jsonl", "csv")
_NEVER_FOLDED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Out:
    """Where a report goes: a file, or a folder with a file for each of its tables."""

    path: Path
    is_folder: bool


class OutType(click.ParamType[Out]):
    """The value of `--out`: a folder if it exists as one, or if it ends with a slash."""

    name = "out"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Out:  # noqa: ARG002
        """Return where to write; only checks whether a folder exists."""
        path = Path(value)
        return Out(path, str(value).endswith(("/", "\\")) or path.is_dir())


def form_of(form: str | None, out: Out | None) -> str:
    """Return the requested format, by its name or by a file extension.

    ConfigError for an unknown extension, and for a format that a terminal cannot show.
    """
    known = form or _by_ending(out)
    if out is None and known not in _ON_A_TERMINAL:
        raise ConfigError(
            f"{known} is written to a file", hint=f"name it with --out report.{known}"
        )
    return known


def write(answered: Report, form: str, out: Out | None = None, *, table: str | None = None) -> None:
    """Write a report, or one of its tables, in a format of FORMS to files or standard output.

    ConfigError, listing the tables, for an unknown table.
    """
    if table is not None:
        answered = _only(answered, table)
    if out is None:
        _write_in(form, answered, sys.stdout.buffer)
        _say_what_is_left_out(answered, form)
    elif out.is_folder:
        _write_folder(answered, form, out.path)
    else:
        with whole(out.path) as file:
            _write_in(form, answered, file)
        say(f"wrote {out.path}")
        _say_what_is_left_out(answered, form)


def write_bytes(written: bytes, out: Path | None) -> None:
    """Write finished bytes to a file, and say so, or to standard output."""
    if out is None:
        click.echo(written, nl=False)
        return
    with whole(out) as file:
        file.write(written)
    say(f"wrote {out}")


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears only when complete; anything else, such as a pipe, is written
    directly.

    Disk errors name the file.
    """
    from kling_ledger.tabular.files import whole_file

    with _told_of(path):
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                yield file
        else:
            # Replace the target of a link, not the link.
            with whole_file(path.resolve()) as beside, beside.open("wb") as file:
                yield file


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _write_in(form: str, answered: Report, file: IO[bytes]) -> None:
    module: Any = import_module(f"kling_reports.render.{FORMS[form][0]}")
    if form == "html":
        file.write(module.render(answered))
    elif form == "table":
        is_terminal = file.isatty()
        module.write(answered, file, width=_width(is_terminal=is_terminal), is_terminal=is_terminal)
    else:
        module.write(answered, file)
    file.flush()


def _write_folder(answered: Report, form: str, folder: Path) -> None:
    """Write each table to a file with its name: all of them, or none."""
    from kling_ledger.tabular.files import whole_folder

    ending = FORMS[form][1][0]
    names = [f"{table.name}{ending}" for table in answered.tables]
    with whole_folder(folder, keeps=True) as made:
        for table, name in zip(answered.tables, names, strict=True):
            with _told_of(folder / name), (made / name).open("wb") as file:
                _write_in(form, answered.only(table.name), file)
    say(f"wrote {', '.join(names)} to {folder}")


def _only(answered: Report, name: str) -> Report:
    names = [table.name for table in answered.tables]
    if name not in names:
        raise ConfigError(
            f"the report {answered.name} has no table {name!r}", hint=f"it has {', '.join(names)}"
        )
    return answered.only(name)


def _say_what_is_left_out(answered: Report, form: str) -> None:
    """Print which tables a single-table format left out: otherwise nobody would notice."""
    first, *others = (table.name for table in answered.tables)
    if form in ONE_TABLE and others:
        say(
            f"note: this is only the table {first}; there {'is' if len(others) == 1 else 'are'} "
            f"also {', '.join(others)}: name one with --table, or write all with --out FOLDER/"
        )


def _by_ending(out: Out | None) -> str:
    if out is None:
        return "table"
    if out.is_folder:
        return "csv"
    for form, (_, endings) in FORMS.items():
        if out.path.suffix.lower() in endings:
            return form
    known = ", ".join(ending for _, endings in FORMS.values() for ending in endings)
    raise ConfigError(
        f"unknown extension: {out.path.name}", hint=f"use --format, or one of {known}"
    )


def _width(*, is_terminal: bool) -> int:
    """Return how wide the terminal is; a file or a pipe has no width, and nothing is cut there."""
    return shutil.get_terminal_size().columns if is_terminal else _NEVER_FOLDED
