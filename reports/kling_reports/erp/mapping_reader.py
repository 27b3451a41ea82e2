"""Reads a mapping file; anything missing, repeated or meaningless is an error."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Iterable
from collections.abc import Mapping as Words
from dataclasses import fields
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from kling_ledger.errors import ConfigError
from kling_reports.erp.documents import DOCUMENT_FIELDS, EACH, SPLITS
from kling_reports.erp.mapping import (
    FIELD,
    KINDS,
    AccountRule,
    Condition,
    CostCenterRule,
    FileColumn,
    FileForm,
    Mapping,
)
from kling_reports.erp.rows import FIELDS, FIRST_LINE_FIELDS

EXAMPLES: Final = Path(__file__).parent / "examples"
"""The folder of the examples, one file each."""

_SECTIONS: Final = ("file", "documents", "accounts", "cost_centers", "columns", "currencies")
_CONDITIONS: Final = tuple(field.name for field in fields(Condition))
_CHOICES: Final[Words[str, tuple[Any, ...]]] = {
    "layout": ("lines", "pairs"),
    "decimal": (".", ","),
    "decimals": (0, 1, 2, 3, 4, 5, 6),
    "quote": ("needed", "all"),
    "header": (True, False),
}
_LINE_ENDS: Final = {"crlf": "\r\n", "lf": "\n"}
_RATE: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,15})?")


def read(path: Path) -> Mapping:
    """Read a mapping file. Raises ConfigError for what is not one."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from error


def parse(text: str) -> Mapping:
    """Return the mapping in a TOML text. Raises ConfigError."""
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}") from error
    _check_names("the mapping", said, _SECTIONS)
    documents = _table(said, "documents")
    _check_names("[documents]", documents, ("each", "number", "split"))
    form = _form(_table(said, "file"), _list(said, "columns"))
    return Mapping(
        form=form,
        each=_one_of("each", documents.get("each", "job"), EACH),
        number=_template("number", documents.get("number", "{period}-{count}"), DOCUMENT_FIELDS),
        split=tuple(_one_of("split", word, SPLITS) for word in _list(documents, "split")),
        accounts=tuple(_account(rule) for rule in _list(said, "accounts")),
        cost_centers=tuple(_cost_center(rule) for rule in _list(said, "cost_centers")),
        currencies=dict(_currencies(_table(said, "currencies"))),
    )


def example(name: str) -> str:
    """Return an example of a mapping file; ConfigError, which lists them, for another name."""
    known = sorted(path.stem for path in EXAMPLES.glob("*.toml"))
    if name not in known:
        raise ConfigError(f"unknown example {name!r}", hint=f"use {', '.join(known)}")
    return (EXAMPLES / f"{name}.toml").read_text(encoding="utf-8")


def _form(said: Words[str, Any], columns: list[Any]) -> FileForm:
    names = [field.name for field in fields(FileForm) if field.name != "columns"]
    _check_names("[file]", said, names)
    given = dict(said)
    for name, allowed in _CHOICES.items():
        if name in given:
            _one_of(name, given[name], allowed)
    for name in ("separator", "date", "encoding", "debit", "credit"):
        if name in given:
            _text(name, given[name])
    _check_file(given)
    if "line_end" in given:
        given["line_end"] = _LINE_ENDS[_one_of("line_end", given["line_end"], _LINE_ENDS)]
    first = tuple(
        _template("first_lines", line, FIRST_LINE_FIELDS) for line in _list(said, "first_lines")
    )
    form = FileForm(**{**given, "first_lines": first, "columns": tuple(map(_column, columns))})
    if not form.columns:
        raise ConfigError("there are no columns", hint="write [[columns]] with name and value")
    return form


def _check_file(said: Words[str, Any]) -> None:
    if len(said.get("separator", ",")) != 1 or said.get("separator") in {'"', "\n", "\r"}:
        raise ConfigError("separator must be one character", hint='such as ",", ";" or "\\t"')
    if said.get("separator", ",") == said.get("decimal", "."):
        raise ConfigError("separator and decimal are the same character")
    try:
        codecs.lookup(said.get("encoding", "utf-8"))
        date(2026, 10, 31).strftime(said.get("date", "%Y"))
    except (LookupError, ValueError) as error:
        raise ConfigError(f"the file cannot be written like this: {error}") from error


def _column(said: Any) -> FileColumn:
    _check_names("[[columns]]", said, ("name", "value", "quoted"))
    return FileColumn(
        _text("name", said.get("name")),
        _template("value", said.get("value"), FIELDS),
        _one_of("quoted", said.get("quoted", False), (True, False)),
    )


def _account(said: Any) -> AccountRule:
    _check_names("[[accounts]]", said, (*_CONDITIONS, "code"))
    of = _one_of("of", said.get("of"), KINDS)
    return AccountRule(_condition({**said, "of": of}), _text("code", said.get("code")))


def _cost_center(said: Any) -> CostCenterRule:
    allowed = [name for name in _CONDITIONS if name != "of"]
    _check_names("[[cost_centers]]", said, (*allowed, "code", "from_label"))
    if ("code" in said) == ("from_label" in said):
        raise ConfigError("a cost centre needs a code or from_label")
    given = {name: _text(name, said[name]) for name in ("code", "from_label") if name in said}
    return CostCenterRule(_condition(said), given.get("code"), given.get("from_label"))


def _condition(said: Words[str, Any]) -> Condition:
    return Condition(**{name: _text(name, said[name]) for name in _CONDITIONS if name in said})


def _currencies(said: Words[str, Any]) -> Iterable[tuple[str, tuple[str, Decimal]]]:
    for unit, given in said.items():
        _check_names(f"currencies.{unit}", given, ("currency", "rate"))
        rate = _text("rate", given.get("rate"))
        if not _RATE.fullmatch(rate) or not Decimal(rate):
            raise ConfigError(f"not a rate: {rate!r}", hint='write it as rate = "0.005"')
        yield unit, (_text("currency", given.get("currency")), Decimal(rate))


def _template(name: str, said: Any, known: Iterable[str]) -> str:
    text = _text(name, said)
    for field in FIELD.findall(text):
        is_label = re.fullmatch("label:[A-Za-z0-9_.-]+", field) and "label:NAME" in known
        if field not in known and not is_label:
            raise ConfigError(
                f"{name} {text!r} has no field {{{field}}}",
                hint=f"use {', '.join(f'{{{one}}}' for one in known)}",
            )
    return text


def _text(name: str, said: Any) -> str:
    if not isinstance(said, str):
        raise ConfigError(f"{name} is a text, got {said!r}", hint=f'write {name} = "..."')
    return said


def _one_of(name: str, said: Any, allowed: Iterable[Any]) -> Any:
    if not any(said == one and type(said) is type(one) for one in allowed):
        shown = ", ".join(str(one).lower() for one in allowed)
        raise ConfigError(f"{name} cannot be {said!r}", hint=f"use one of: {shown}")
    return said


def _check_names(place: str, said: Any, allowed: Iterable[str]) -> None:
    if not isinstance(said, dict):
        raise ConfigError(f"{place} must be a table")
    unknown = [name for name in said if name not in allowed]
    if unknown:
        raise ConfigError(
            f"{place} knows no {', '.join(unknown)}", hint=f"it takes {', '.join(allowed)}"
        )


def _table(said: Words[str, Any], name: str) -> Words[str, Any]:
    found = said.get(name, {})
    if not isinstance(found, dict):
        raise ConfigError(f"[{name}] must be a table")
    return found


def _list(said: Words[str, Any], name: str) -> list[Any]:
    found = said.get(name, [])
    if not isinstance(found, list):
        raise ConfigError(f"{name} must be a list")
    return found
