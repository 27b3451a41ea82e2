"""Bill columns: what a line of a bill may say, and what other people call it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from kling_ledger.errors import (
    ColumnError,
    ConfigError,
)

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "task_id": ("task_id", "task id", "taskid", "task", "job_id", "id"),
    "amount": ("amount", "cost", "credits", "charge", "charged", "price", "total"),
    "unit": ("unit", "currency"),
    "state": ("state", "status"),
    "created_at": ("created_at", "created", "submitted_at", "date", "time", "timestamp"),
    "model": ("model",),
}
"""What a line may say, and the names that its column goes by, the likeliest first."""

_NEEDED: Final = ("task_id", "amount")


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


def find_columns(found: Sequence[str], mapping: Mapping[str, str], name: str) -> dict[str, str]:
    """Return a file's name of each of our columns that it has; what is mapped goes first.

    Raises ConfigError where a mapped column is not there, or one that is needed is not found.
    """
    there = {column.strip().lower(): column for column in found}
    columns = {}
    for ours, names in COLUMNS.items():
        if ours in mapping and mapping[ours].lower() not in there:
            raise ConfigError(f"{name}: there is no column {mapping[ours]}, only {_listed(there)}")
        wanted = (mapping[ours].lower(),) if ours in mapping else names
        column = next((there[one] for one in wanted if one in there), None)
        if column is not None:
            columns[ours] = column
    for needed in _NEEDED:
        if needed not in columns:
            raise ColumnError(name, needed=needed, there=_listed(there))
    return columns


def _listed(there: Mapping[str, str]) -> str:
    return ", ".join(there.values())
