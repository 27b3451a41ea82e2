"""`kling-ledger config`: every setting and where it comes from; the settings file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from kling_ledger.cli.checkup import named_by
from kling_ledger.cli.keys import without_password
from kling_ledger.cli.output import database_option, format_option, print_many, say
from kling_ledger.config import database_url
from kling_ledger.errors import ConfigError
from kling_ledger.settings_file import (
    FILE_VARIABLE,
    KEYS,
    Settings,
    checked,
    parsed,
    read_settings,
    settings_path,
)
from kling_pricing.own_books import BOOKS_VARIABLE, books_folder

_COLUMNS: Final = ("setting", "value", "origin", "meaning")
_USUAL: Final = {"format": "table", "timeout": 900.0, "poll_every": 2.0}
_FIRST_TABLE: Final = re.compile(r"^\s*\[", re.MULTILINE)


@click.group(invoke_without_command=True)
@database_option
@format_option
@click.pass_context
def config(context: click.Context, db: str | None, form: str) -> None:
    """Show every setting and where it comes from; set or unset one.

    \b
    kling-ledger config
    kling-ledger config set wallet team
    kling-ledger config set base_url.runapi http://127.0.0.1:8765
    kling-ledger config unset wallet

    Options win over environment variables, variables over the file, and the file over the defaults.
    The file is TOML and holds no secrets: API keys are environment variables. Scripts that open
    Ledger() also read the database and the providers' addresses from it.
    """
    if context.invoked_subcommand is None:
        rows = list(_rows(db))
        print_many(rows, _COLUMNS, form, empty="", optional=("meaning",))


@config.command()
def path() -> None:
    """Print the path of the settings file, whether or not it exists."""
    click.echo(settings_path())


@config.command("set")
@click.argument("key")
@click.argument("value")
def set_(key: str, value: str) -> None:
    """Set KEY to VALUE in the settings file; the rest of the file is unchanged."""
    key = key.replace("-", "_")
    kind = KEYS.get(key, ("text", ""))[0]
    _write(key, checked(key, _number(value) if kind == "seconds" else value, settings_path()))
    say(f"written: {settings_path()}")


@config.command()
@click.argument("key")
def unset(key: str) -> None:
    """Remove KEY from the settings file."""
    key = key.replace("-", "_")
    if key not in read_settings().values:
        raise ConfigError(f"{settings_path()} does not set {key}", hint="kling-ledger config")
    _write(key, None)
    say(f"written: {settings_path()}")


def settings_told() -> list[dict[str, Any]]:
    """Return every setting with its value and its origin. Raises ConfigError for a wrong file."""
    return list(_rows(None))


def _rows(db: str | None) -> Iterator[dict[str, Any]]:
    settings = read_settings()
    for key, (_, meaning) in KEYS.items():
        value, origin = _found(key, settings, db)
        yield {"setting": key, "value": value, "origin": origin, "meaning": meaning}


def _found(key: str, settings: Settings, db: str | None) -> tuple[str | None, str]:
    """Return the value of a setting and its origin."""
    if key == "db":
        shown = without_password(database_url(db))
        return shown, named_by(db, settings.path, in_file=settings.text("db") is not None)
    if key == "books" and os.environ.get(BOOKS_VARIABLE):
        return books_folder(), BOOKS_VARIABLE
    if key in settings.values:
        return str(settings.values[key]), settings.path
    if key == "books":
        return books_folder(), "default"
    usual = _own_address(key) if key.startswith("base_url.") else _USUAL.get(key)
    return (None, "not set") if usual is None else (str(usual), "default")


def _own_address(key: str) -> str:
    from kling_ledger.providers.registry import FACTS

    return FACTS[key.removeprefix("base_url.")].base_url


def _number(value: str) -> object:
    try:
        return float(value.removesuffix("s"))
    except ValueError:
        return value


def _write(key: str, value: str | float | None) -> None:
    """Write one key of the file, in its line or in a new one; ConfigError if that is not safe.

    The result is parsed before the file is replaced.
    """
    from kling_ledger.tabular.files import whole_file

    # Settings files are often symbolic links: keep the link, write its target.
    file = Path(os.path.realpath(settings_path()))
    before = file.read_text("utf-8-sig") if file.exists() else ""
    text = _changed(before, key, value)
    expected = dict(parsed(before, str(file)))
    expected.pop(key, None)
    if parsed(text, str(file)) != {**expected, **({} if value is None else {key: value})}:
        raise ConfigError(
            f"{file}: {key} is written in a form that this command cannot edit",
            hint="edit the file by hand",
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as beside:
            beside.write_text(text, "utf-8")
    except OSError as error:
        hint = f"choose another file with --config or {FILE_VARIABLE}"
        raise ConfigError(f"{file} cannot be written: {error.strerror}", hint=hint) from None


def _changed(text: str, key: str, value: str | float | None) -> str:
    """Return a document with a key changed, added at the end of its table, or removed."""
    table, _, name = key.rpartition(".")
    written = "" if value is None else f"{name} = {json.dumps(value, ensure_ascii=False)}\n"
    head, body, tail = _around(text, table)
    line = re.compile(rf"^[ \t]*{re.escape(name)}[ \t]*=.*\n?", re.MULTILINE)
    if line.search(body):
        return head + line.sub(lambda _: written, body, count=1) + tail
    gap = "" if not (head + body) or (head + body).endswith("\n") else "\n"
    return f"{head}{body}{gap}{written}{tail}"


def _around(text: str, table: str) -> tuple[str, str, str]:
    """Split a document into the part before a table's lines, those lines, and the rest."""
    head = ""
    if table:
        opened = re.search(rf"^[ \t]*\[{table}\][ \t]*\n?", text, re.MULTILINE)
        if opened is None:
            gap = "" if not text or text.endswith("\n") else "\n"
            return f"{text}{gap}[{table}]\n", "", ""
        head, text = text[: opened.end()], text[opened.end() :]
    following = _FIRST_TABLE.search(text)
    end = following.start() if following else len(text)
    return head, text[:end], text[end:]
