"""Markers: words in square brackets in a prompt that steer that one job.

To rehearse a failure, write into the prompt what should go wrong. Markers combine.

How the job ends:

- `[fail]` the job fails and is not charged; `[fail moderation]` says why, in any one word
- `[revive]` or `[revive 2]` it fails, and so many seconds later it has succeeded and is charged
- `[takes 5]` the job takes so many seconds; decimals are allowed
- `[never]` the job stays in progress for ever
- `[cost 0.8]` the job is charged that amount, whatever was quoted; at most six decimals
- `[cost 120%]` the job is charged that share of what was quoted
- `[charge twice]` the job is charged two times

How an answer goes wrong. FAULT is an HTTP status from 400 to 599 or one of these words: `cut` (the
connection is closed instead of an answer), `half` (closed in the middle of it), `hang` (no answer
ever comes), `malformed` (no JSON), `moderation` (the content is refused). 429 comes with
`Retry-After`.

- `[refuse 429]` the create is answered so and no job is made; `[refuse 429 2]` the first two times
- `[lose cut]` the job is made, and then its create is answered so
- `[poll 500]` the first poll is answered so; `[poll 500 3]` the first three, and further `[poll]`
  markers go on from there
- `[file cut]` the first download of the clip is answered so, or the first so many
- `[estimate 500]` asking for the price is answered so; `[estimate 150%]` it is that share of ours
- `[malformed]` is `[lose malformed] [poll malformed]`
- `[state archived]` every poll names that state; `[state archived 2]` only the first two that are
  answered
- `[latency 0.5]` every answer about the job comes so many seconds late

Callbacks:

- `[callback twice]` each is sent two times
- `[callback reordered]` the last state comes first, what was before it follows
- `[callback never]` none is sent

Anything else in square brackets is part of the prompt. Of the same marker written twice the last
one counts, `[never]` wins over `[takes]`, and `[poll]`, `[file]` and `[callback]` add up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from kling_pricing.money import Money, round_to

CUT: Final = "cut"
HALF: Final = "half"
HANG: Final = "hang"
MALFORMED: Final = "malformed"
MODERATION: Final = "moderation"

_MARKER: Final = re.compile(r"\[([a-z]+)((?: [A-Za-z0-9_.%-]{1,40}){0,2})\]")
_SECONDS: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_AMOUNT: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")
_SHARE: Final = re.compile(r"([0-9]{1,4})%")
_FAULT: Final = re.compile(rf"[45][0-9]{{2}}|{CUT}|{HALF}|{HANG}|{MALFORMED}|{MODERATION}")
_TIMES: Final = re.compile(r"[1-9][0-9]{0,3}")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_ORDERS: Final = frozenset({"twice", "reordered", "never"})


@dataclass(frozen=True, slots=True)
class Fault:
    """How some answers go wrong: an HTTP status or a word, this many `times`; None is always."""

    word: str
    times: int | None = None

    @property
    def status(self) -> int | None:
        """The HTTP status of the answer; None if the fault is a word."""
        return int(self.word) if self.word.isdecimal() else None

    def strikes(self, number: int) -> bool:
        """Whether the attempt of this number, counted from 1, goes wrong."""
        return self.times is None or number <= self.times


@dataclass(frozen=True, slots=True)
class Price:
    """An amount in the provider's unit, or a share of the usual price."""

    amount: Decimal | None = None
    share: Decimal = Decimal(1)

    def of(self, usual: Money) -> Money:
        """Return the amount, given the usual one, to the millionth."""
        amount = round_to(usual.amount * self.share) if self.amount is None else self.amount
        return Money(amount, usual.unit)


@dataclass(frozen=True, slots=True)
class Markers:
    """What a prompt's markers ask for; None means not given.

    Times are in seconds: `takes_s` is infinite for a job that never ends, `revives_s` counts from
    the failure. The faults in `polls` and `files` occur one after the other, each as often as it
    says.
    """

    fails: bool = False
    fail_word: str | None = None
    revives: bool = False
    revives_s: float | None = None
    takes_s: float | None = None
    cost: Price | None = None
    charges: int = 1
    refuse: Fault | None = None
    lose: Fault | None = None
    polls: tuple[Fault, ...] = ()
    files: tuple[Fault, ...] = ()
    estimate: Fault | Price | None = None
    state: Fault | None = None
    latency_s: float = 0.0
    callbacks: frozenset[str] = frozenset()

    def cost_of(self, quoted: Money) -> Money:
        """Return what the job is charged each time, given the quoted amount."""
        return quoted if self.cost is None else self.cost.of(quoted)

    def poll_fault(self, number: int) -> Fault | None:
        """Return what goes wrong with the poll of this number, counted from 1."""
        return _at(self.polls, number)

    def state_word(self, number: int) -> str | None:
        """Return the state that the poll of this number names; failed polls do not count."""
        answered = number - sum(fault.times or 0 for fault in self.polls)
        return self.state.word if self.state is not None and self.state.strikes(answered) else None

    def file_fault(self, number: int) -> Fault | None:
        """Return what goes wrong with the download of this number, counted from 1."""
        return _at(self.files, number)


NO_MARKERS: Final = Markers()


def read_markers(prompt: object) -> Markers:
    """Read the markers in a prompt; none if there is no prompt."""
    markers = NO_MARKERS
    if not isinstance(prompt, str):
        return markers
    for word, rest in _MARKER.findall(prompt):
        read = _READERS.get(word)
        markers = markers if read is None else read(markers, rest.split()) or markers
    return markers


def written_markers(prompt: str) -> tuple[str, ...]:
    """Return the markers in a prompt as written, without text that only looks like one."""
    found = (match.group() for match in _MARKER.finditer(prompt))
    return tuple(text for text in found if read_markers(text) != NO_MARKERS)


def _at(faults: Iterable[Fault], number: int) -> Fault | None:
    for fault in faults:
        if fault.strikes(number):
            return fault
        number -= fault.times or 0
    return None


# --- one reader per word: it returns the markers with the word applied, or None for prompt text ---

_Words = list[str]
_Reader = Callable[[Markers, _Words], "Markers | None"]


def _read_fail(markers: Markers, words: _Words) -> Markers | None:
    if len(words) > 1 or not all(map(_WORD.fullmatch, words)):
        return None
    return replace(markers, fails=True, fail_word=words[0] if words else None)


def _read_revive(markers: Markers, words: _Words) -> Markers | None:
    seconds = _seconds(words)
    if words and seconds is None:
        return None
    return replace(markers, fails=True, revives=True, revives_s=seconds)


def _read_takes(markers: Markers, words: _Words) -> Markers | None:
    seconds = _seconds(words)
    if seconds is None or markers.takes_s == math.inf:
        return None
    return replace(markers, takes_s=seconds)


def _read_never(markers: Markers, words: _Words) -> Markers | None:
    return None if words else replace(markers, takes_s=math.inf)


def _read_cost(markers: Markers, words: _Words) -> Markers | None:
    price = _price(words)
    return None if price is None else replace(markers, cost=price)


def _read_charge(markers: Markers, words: _Words) -> Markers | None:
    return replace(markers, charges=2) if words == ["twice"] else None


def _read_refuse(markers: Markers, words: _Words) -> Markers | None:
    fault = _fault(words, usual=None)
    return None if fault is None else replace(markers, refuse=fault)


def _read_lose(markers: Markers, words: _Words) -> Markers | None:
    fault = _fault(words, usual=1)
    if fault is None or len(words) > 1 or fault.word == MODERATION:
        return None
    return replace(markers, lose=fault)


def _read_poll(markers: Markers, words: _Words) -> Markers | None:
    fault = _fault(words, usual=1)
    return None if fault is None else replace(markers, polls=(*markers.polls, fault))


def _read_file(markers: Markers, words: _Words) -> Markers | None:
    fault = _fault(words, usual=1)
    return None if fault is None else replace(markers, files=(*markers.files, fault))


def _read_estimate(markers: Markers, words: _Words) -> Markers | None:
    asked = (_fault(words, usual=None) if len(words) == 1 else None) or _price(words)
    return None if asked is None else replace(markers, estimate=asked)


def _read_malformed(markers: Markers, words: _Words) -> Markers | None:
    once = Fault(MALFORMED, 1)
    return None if words else replace(markers, lose=once, polls=(*markers.polls, once))


def _read_state(markers: Markers, words: _Words) -> Markers | None:
    if not words or not _WORD.fullmatch(words[0]):
        return None
    times = _times(words[1:], usual=None)
    return None if times == 0 else replace(markers, state=Fault(words[0], times))


def _read_latency(markers: Markers, words: _Words) -> Markers | None:
    seconds = _seconds(words)
    return None if seconds is None else replace(markers, latency_s=seconds)


def _read_callback(markers: Markers, words: _Words) -> Markers | None:
    if len(words) != 1 or words[0] not in _ORDERS:
        return None
    return replace(markers, callbacks=markers.callbacks | {words[0]})


_READERS: Final[Mapping[str, _Reader]] = {
    "fail": _read_fail,
    "revive": _read_revive,
    "takes": _read_takes,
    "never": _read_never,
    "cost": _read_cost,
    "charge": _read_charge,
    "refuse": _read_refuse,
    "lose": _read_lose,
    "poll": _read_poll,
    "file": _read_file,
    "estimate": _read_estimate,
    "malformed": _read_malformed,
    "state": _read_state,
    "latency": _read_latency,
    "callback": _read_callback,
}


def _seconds(words: _Words) -> float | None:
    return float(words[0]) if len(words) == 1 and _SECONDS.fullmatch(words[0]) else None


def _price(words: _Words) -> Price | None:
    if len(words) != 1:
        return None
    if share := _SHARE.fullmatch(words[0]):
        return Price(share=Decimal(share[1]) / 100)
    return Price(Decimal(words[0])) if _AMOUNT.fullmatch(words[0]) else None


def _fault(words: _Words, *, usual: int | None) -> Fault | None:
    if not words or not _FAULT.fullmatch(words[0]):
        return None
    times = _times(words[1:], usual=usual)
    return None if times == 0 else Fault(words[0], times)


def _times(words: _Words, *, usual: int | None) -> int | None:
    """Return a number of times: the default without a word, 0 if the word is not a number."""
    if not words:
        return usual
    return int(words[0]) if _TIMES.fullmatch(words[0]) else 0
