"""Markers: words in square brackets in a prompt that steer that one job.

A script is rehearsed by writing into the prompt what should go wrong:

- `[fail]` the job fails and is not charged
- `[takes 5]` the job takes so many seconds; decimals are allowed
- `[cost 0.8]` the job is charged that amount, whatever was quoted; at most six decimals
- `[never]` the job stays in progress for ever
- `[refuse 429]` the create is answered with that HTTP status, 400 to 599, and no job is made;
  429 comes with `Retry-After: 1`

Anything else in square brackets is part of the prompt. Of the same marker written twice the
last one counts, and `[never]` wins over `[takes]`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

_MARKER: Final = re.compile(
    r"\[(?:(?P<fail>fail)|(?P<never>never)"
    r"|takes (?P<takes>[0-9]{1,9}(?:\.[0-9]{1,9})?)"
    r"|cost (?P<cost>[0-9]{1,6}(?:\.[0-9]{1,6})?)"
    r"|refuse (?P<refuse>[45][0-9]{2}))\]"
)


@dataclass(frozen=True, slots=True)
class Markers:
    """What a prompt's markers ask for; None means that the prompt does not say.

    `takes_s` is in seconds and infinite for a job that never ends; `cost` is in the unit that
    the provider charges in.
    """

    fails: bool = False
    takes_s: float | None = None
    cost: Decimal | None = None
    refuse_status: int | None = None


def read_markers(prompt: object) -> Markers:
    """Read the markers in a prompt; no prompt, no markers."""
    if not isinstance(prompt, str):
        return Markers()
    found: dict[str, str] = {}
    for match in _MARKER.finditer(prompt):
        found |= {name: text for name, text in match.groupdict().items() if text is not None}
    takes_s = float(found["takes"]) if "takes" in found else None
    return Markers(
        fails="fail" in found,
        takes_s=math.inf if "never" in found else takes_s,
        cost=Decimal(found["cost"]) if "cost" in found else None,
        refuse_status=int(found["refuse"]) if "refuse" in found else None,
    )
