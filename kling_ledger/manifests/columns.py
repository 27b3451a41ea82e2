"""Columns: what the header of a manifest names, and which of our columns a foreign name means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any, Final

from kling_ledger.tabular.table import checked_columns, first_repeated
from kling_pricing.clip import CLIP_FIELDS
from kling_pricing.gateways.writing import Inputs
from kling_pricing.spellings import trimmed

INPUTS: Final = tuple(
    field.name
    for field in fields(Inputs)
    if field.name not in {"shots", "elements", "reference_image_urls"}
)
"""The inputs of a clip that a row may have; anything else needs a `request`."""

OF_A_JOB: Final = ("request", "project", "key", "labels")
"""What a row may have besides its clip."""

LABEL: Final = "label:"
"""The prefix of a column of labels."""

_OF_A_PLAN: Final = ("takes", "failure_rate")
_KNOWN: Final = frozenset({*CLIP_FIELDS, *INPUTS, *OF_A_JOB, *_OF_A_PLAN})
_MEANT: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("duration", "duration_s", "duration_seconds", "length", "length_s", "secs"), "seconds"
    ),
    **dict.fromkeys(("audio", "with_audio", "enable_sound", "generate_audio"), "sound"),
    **dict.fromkeys(("output_resolution", "quality", "size"), "resolution"),
    **dict.fromkeys(("model_name", "model_id"), "model"),
    "vendor": "provider",
}
"""Names that gateways and other tools use for our columns."""


@lru_cache(maxsize=1024)
def column_of(written: str) -> str:
    """Return our name for a column, in any letter case and spacing; otherwise as written."""
    name = trimmed(written)
    said = re.sub(r"[\s-]+", "_", name).lower()
    if said in _KNOWN:
        return said
    if said.startswith(LABEL):
        return LABEL + name[len(LABEL) :].strip()
    return name


def columns_of(written: Iterable[str], name: str) -> Sequence[str]:
    """Return the names of a table's columns; ConfigError if two are the same column."""
    return checked_columns([column_of(column) for column in written], name)


def meant_by(column: str) -> str | None:
    """Return the clip field that a column seems to mean, or None."""
    said = column_of(column).lower()
    if said in _KNOWN:
        return None
    if (meant := _MEANT.get(re.sub(r"[\s-]+", "_", said))) is not None:
        return meant
    return next(iter(difflib.get_close_matches(said, CLIP_FIELDS, n=1, cutoff=0.81)), None)


def named(cells: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the cells of one row under our names; ValueError if two keys are the same column."""
    found = {column_of(column): cell for column, cell in cells.items()}
    if len(found) < len(cells):
        raise ValueError(f"the column {first_repeated(map(column_of, cells))} appears twice")
    return found
