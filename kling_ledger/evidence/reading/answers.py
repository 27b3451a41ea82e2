"""Answers: what a person said about the form of a provider's bills, so that it is asked once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

from kling_ledger.errors import ConfigError
from kling_ledger.evidence.reading.zones import zone_named

OURS: Final = ("task_id", "amount", "unit", "state", "kind", "created_at", "model")
"""Our names for the fields of a bill's row."""

MEANINGS: Final = (
    "charge",
    "refund",
    "adjustment",
    "reservation",
    "item",
    "total",
    "payment",
    "completed",
    "failed",
    "running",
    "ignore",
)
"""What a word of a bill may mean; a row with a word to `ignore` is skipped."""

NEGATIVE: Final = "negative"
"""The key in `words` that says what negative amounts are, if no word of the bill does."""

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "numbers": ("point", "comma"),
    "dates": ("ymd", "dmy", "mdy"),
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What a person said about a bill's form.

    `columns` maps our field names to the bill's columns, `words` the bill's words to one of
    `MEANINGS`. `zone` is an IANA name or an offset such as +08:00, for stamps without a zone. With
    `itemised` the rows of one task add up. Raises ConfigError for an invalid answer.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    zone: str | None = None
    numbers: Literal["point", "comma"] | None = None
    dates: Literal["ymd", "dmy", "mdy"] | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    itemised: bool = False

    def __post_init__(self) -> None:
        for ours in self.columns:
            _check("column of ours", ours, OURS)
        for meaning in self.words.values():
            _check("meaning", meaning, MEANINGS)
        for name, choices in _CHOICES.items():
            if (said := getattr(self, name)) is not None:
                _check(f"answer for {name}", said, choices)
        if self.zone is not None:
            zone_named(self.zone)

    def to_text(self) -> str:
        """Return the answers as JSON."""
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        return json.dumps(
            {
                name: dict(value) if isinstance(value, Mapping) else value
                for name, value in said.items()
                if value
            },
            ensure_ascii=False,
            sort_keys=True,
        )

    @classmethod
    def from_text(cls, text: str) -> Answers:
        """Read what `to_text` returned. Raises ConfigError for anything else."""
        try:
            said: dict[str, Any] = json.loads(text)
            return cls(**said)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"not a saved bill profile: {error}") from None


def _check(what: str, said: str, allowed: tuple[str, ...]) -> None:
    if said not in allowed:
        raise ConfigError(f"{said!r} is no {what}", hint=f"allowed are {', '.join(allowed)}")
