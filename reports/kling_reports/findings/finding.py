"""Finding: one sentence with its figures and the row that proves it, and which come first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

MOST: Final = 7
"""The findings that a page has room for: nobody reads more."""

MOST_OF_A_RULE: Final = 3
"""The most findings of one rule: one bad week must not hide everything else."""

RULES: Final = (
    "over budget",
    "unusual day",
    "in doubt",
    "budget runs out",
    "failures",
    "change",
    "quotes",
    "not confirmed",
    "concentration",
)
"""Every rule, most urgent first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found: `sentence`, the amount that it is about, and the row that proves it.

    `table` is the name of a table, `row` has the values of some of the row's columns.
    `amount_micro` is in millionths of `unit`.
    """

    rule: str
    sentence: str
    amount_micro: int
    unit: str
    table: str
    row: Mapping[str, Any]


def ranked(found: Iterable[Finding]) -> list[Finding]:
    """Return the findings that matter most: by rule, as RULES has them, then by amount.

    At most MOST_OF_A_RULE per rule, and MOST in total.
    """
    ordered = sorted(
        found, key=lambda one: (RULES.index(one.rule), -abs(one.amount_micro), one.sentence)
    )
    taken: Counter[str] = Counter()
    kept = []
    for one in ordered:
        taken[one.rule] += 1
        if taken[one.rule] <= MOST_OF_A_RULE:
            kept.append(one)
    return kept[:MOST]


def named(value: Any, word: str) -> str:
    """Return a name for a sentence: `(no project)` if none was given."""
    return f"(no {word})" if value is None or pd.isna(value) else str(value)


def whole_percent(part: int, whole: int) -> str:
    """Return a share in whole percent, half up: `38 %`; below one percent, `less than 1 %`."""
    percent = (200 * part + whole) // (2 * whole)
    return f"{percent:,} %" if percent or not part else "less than 1 %"
