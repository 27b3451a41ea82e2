"""Statements: a provider's bill as a file, CSV or JSON, read as charges.

Every bill names its columns differently: those it has are found by common names, or told with a
mapping. An amount that cannot be read is refused, with its line, never skipped.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from kling_ledger.errors import ConfigError
from kling_ledger.evidence.reconcile import Charge
from kling_ledger.providers.base import TaskState
from kling_ledger.tabular.texts import delimiter_of, read_text
from kling_pricing.errors import AmountError
from kling_pricing.money import Money, read_decimal, round_to

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "task_id": ("task_id", "task id", "taskid", "task", "job_id", "id"),
    "amount": ("amount", "cost", "credits", "charge", "charged", "price", "total"),
    "unit": ("unit", "currency"),
    "state": ("state", "status"),
    "created_at": ("created_at", "created", "submitted_at", "date", "time", "timestamp"),
    "model": ("model",),
}
"""What a line may say, and the names that its column goes by."""

_STATES: Final = {
    **dict.fromkeys(
        ("completed", "success", "succeeded", "succeed", "done", "charged", "billed", "settled"),
        TaskState.COMPLETED,
    ),
    **dict.fromkeys(("failed", "error", "cancelled", "canceled", "refunded"), TaskState.FAILED),
    **dict.fromkeys(
        ("pending", "running", "processing", "submitted", "reserved"), TaskState.RUNNING
    ),
}
_GIVEN_BACK: Final = "refunded"
_DAY_LENGTH: Final = len("2026-11-20")


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a bill, and where it stands in its file."""

    where: str
    cells: Mapping[str, Any]


def read_statement(
    path: Path, *, unit: str, mapping: Mapping[str, str] | None = None
) -> list[Charge]:
    """Read a provider's bill, whose amounts are in `unit`.

    `mapping` names the file's columns by ours, for example {"task_id": "Job", "amount": "Credits"}.
    A negative amount gives back what another line of the task charged; a line whose state says
    `refunded` charged nothing in the end. A day without a time is no instant to find a job by.
    Raises ConfigError, with the line, for what cannot be read.
    """
    text = read_text(path)
    if not text.strip():
        raise ConfigError(f"{path}: this file is empty", hint="a bill has at least its columns")
    if text.lstrip()[:1] in {"[", "{"}:
        lines = _json_lines(text, path)
        names = list(dict.fromkeys(name for line in lines for name in line.cells))
    else:
        names, lines = _csv_lines(text, path)
    columns = _columns(names, mapping or {}, path) if names else {}
    return [_charge(line, columns, unit) for line in lines]


def read_mapping(words: str | None) -> dict[str, str]:
    """Read `task_id=Job,amount=Credits`. ConfigError for what names no column of ours."""
    mapping = {}
    for word in (words or "").split(","):
        if not word.strip():
            continue
        ours, _, theirs = word.partition("=")
        if ours.strip() not in COLUMNS or not theirs.strip():
            raise ConfigError(
                f"{word.strip()!r} maps no column",
                hint=f"write OURS=THEIRS, ours being one of {', '.join(COLUMNS)}",
            )
        mapping[ours.strip()] = theirs.strip()
    return mapping


def _csv_lines(text: str, path: Path) -> tuple[list[str], list[_Line]]:
    delimiter = delimiter_of(text.partition("\n")[0])
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        lines = [_Line(f"{path}: line {reader.line_num}", cells) for cells in reader]
    except csv.Error as error:
        raise ConfigError(f"{path}: this is no CSV: {error}") from None
    names = list(reader.fieldnames or ())
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{path}: there are two columns {', '.join(twice)}")
    for line in lines:
        # The reader gives a missing cell as None, and cells beyond the columns under None.
        if None in line.cells or None in line.cells.values():
            raise ConfigError(f"{line.where}: it has not as many cells as there are columns")
    return names, lines


def _json_lines(text: str, path: Path) -> list[_Line]:
    try:
        read = _read_json(text)
    except ValueError:
        return _one_by_one(text, path)
    if isinstance(read, dict):
        # A list somewhere in an envelope: {"lines": [...]}, {"data": [...]}.
        lists = [value for value in read.values() if isinstance(value, list)]
        read = lists[0] if len(lists) == 1 else [read]
    if not isinstance(read, list) or not all(isinstance(cells, dict) for cells in read):
        raise ConfigError(f"{path}: this is no list of JSON objects")
    return [_Line(f"{path}: entry {number}", cells) for number, cells in enumerate(read, 1)]


def _one_by_one(text: str, path: Path) -> list[_Line]:
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path}: line {number}"
        if line.strip():
            try:
                cells = _read_json(line)
            except ValueError as error:
                raise ConfigError(f"{where}: this is no JSON: {error}") from None
            if not isinstance(cells, dict):
                raise ConfigError(f"{where}: this is no JSON object")
            lines.append(_Line(where, cells))
    return lines


def _read_json(text: str) -> Any:
    """Read JSON whose numbers are kept as they are written: a float would lose what is behind."""
    try:
        return json.loads(text, parse_float=str)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _columns(found: Sequence[str], mapping: Mapping[str, str], path: Path) -> dict[str, str]:
    """Return the file's name of each of our columns that it has."""
    there = {name.strip().lower(): name for name in found}
    columns = {}
    for ours, names in COLUMNS.items():
        if ours in mapping and mapping[ours].lower() not in there:
            raise ConfigError(f"{path}: there is no column {mapping[ours]}, only {_names(there)}")
        wanted = (mapping[ours].lower(),) if ours in mapping else names
        name = next((there[name] for name in wanted if name in there), None)
        if name is not None:
            columns[ours] = name
    for needed in ("task_id", "amount"):
        if needed not in columns:
            raise ConfigError(
                f"{path}: which column is the {needed}? There are {_names(there)}",
                hint=f"say so: --columns {needed}=NAME",
            )
    return columns


def _names(there: Mapping[str, str]) -> str:
    return ", ".join(there.values())


def _charge(line: _Line, columns: Mapping[str, str], unit: str) -> Charge:
    def told(ours: str) -> str:
        value = line.cells.get(columns.get(ours, ""))
        return "" if value is None else str(value).strip()

    task_id, word = told("task_id"), told("state").lower()
    if not task_id:
        raise ConfigError(f"{line.where}: it names no task")
    _check_unit(told("unit"), unit, line.where)
    amount = _amount(told("amount"), unit, line.where)
    state = _state(word, line.where)
    if amount is None and state is None:
        raise ConfigError(f"{line.where}: it names neither an amount nor a state")
    if word == _GIVEN_BACK:
        amount = Money.zero(unit)
    return Charge(
        task_id, amount, state, _instant(told("created_at"), line.where), told("model") or None
    )


def _state(word: str, where: str) -> TaskState | None:
    if word and word not in _STATES:
        raise ConfigError(
            f"{where}: {word!r} is no state that is known",
            hint=f"known are {', '.join(_STATES)}; rename the column if it is no state",
        )
    return _STATES[word] if word else None


def _check_unit(told: str, unit: str, where: str) -> None:
    """Refuse another unit than the provider's; just `credits` are its own credits."""
    short = {"credit", "credits"} if unit.endswith("-credit") else set()
    if told and told.lower() not in {unit.lower(), f"{unit}s".lower(), *short}:
        raise ConfigError(f"{where}: its unit is {told}, the provider charges in {unit}")


def _amount(text: str, unit: str, where: str) -> Money | None:
    if not text:
        return None
    try:
        return Money(round_to(read_decimal(text.removeprefix("$"))), unit)
    except AmountError as error:
        raise ConfigError(f"{where}: {error}") from None


def _instant(text: str, where: str) -> datetime | None:
    """Read an instant as ISO 8601, or as seconds or milliseconds since 1970; UTC unless it says."""
    if not text:
        return None
    try:
        if text.isdecimal():
            return datetime.fromtimestamp(int(text) / (1000 if len(text) > 10 else 1), UTC)
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise ConfigError(f"{where}: {text!r} is no instant that can be read") from None
    if len(text) == _DAY_LENGTH:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
