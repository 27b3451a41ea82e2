"""Scripts: the misbehaviour that a seed stands for, written in the same markers as a prompt's.

The same seed gives the same script on every machine and Python version. To report a script that
breaks something, pass on its seed or write its markers into a prompt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

_CREATE: Final = (
    *("[refuse 402]", "[refuse 422]", "[refuse moderation]", "[refuse 429 1]", "[refuse 429]"),
    *("[refuse 500 1]", "[refuse 503 1]", "[refuse cut 1]", "[refuse hang 1]"),
    *("[lose 500]", "[lose 502]", "[lose 503]", "[lose 504]", "[lose cut]", "[lose half]"),
    *("[lose hang]", "[lose malformed]"),
)
_POLL: Final = (
    *("[poll 500 {n}]", "[poll 502 {n}]", "[poll 503 {n}]", "[poll 429 1]", "[poll cut {n}]"),
    *("[poll half {n}]", "[poll malformed {n}]", "[poll hang 1]", "[poll 404 1]"),
    *("[state archived {n}]", "[state archived]", "[state in_review {n}]"),
)
_END: Final = (
    *("[fail]", "[fail moderation]", "[revive]", "[never]"),
    *("[cost 50%]", "[cost 80%]", "[cost 99%]", "[cost 101%]", "[cost 150%]", "[cost 300%]"),
)
_CALLBACK: Final = ("[callback twice]", "[callback reordered]", "[callback never]")


def script(seed: int | str) -> tuple[str, ...]:
    """Return the markers that a seed stands for; some seeds stand for none.

    No script draws `[takes]`: the sandbox's settings say how long jobs take.
    """
    return tuple(_drawn(_Dice(str(seed))))


def job_seed(seed: int | str, prompt: str) -> str:
    """Return the seed of one job in a seeded sandbox: jobs with equal prompts get one script."""
    return f"{seed}/{prompt}"


def _drawn(dice: _Dice) -> Iterator[str]:
    if dice.below(3) == 0:
        yield dice.one_of(_CREATE)
    for _ in range(max(0, dice.below(4) - 1)):
        yield dice.one_of(_POLL).format(n=1 + dice.below(3))
    if dice.below(2) == 0:
        yield dice.one_of(_END)
    if dice.below(4) == 0:
        yield dice.one_of(_CALLBACK)
    if dice.below(8) == 0:
        yield "[latency 0.05]"


class _Dice:
    """Integers that depend only on a text; the standard library's generator may change."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._drawn = 0

    def below(self, end: int) -> int:
        """Return a number from 0 to below a limit."""
        self._drawn += 1
        text = f"{self._seed}#{self._drawn}"
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % end

    def one_of(self, choices: Sequence[str]) -> str:
        """Return one of a few."""
        return choices[self.below(len(choices))]
