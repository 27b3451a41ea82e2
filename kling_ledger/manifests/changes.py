"""Changes: what the manifests and request bodies that differ between two git states add in cost."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain

from kling_ledger.errors import ConfigError
from kling_ledger.manifests.planning import Usual, read_storyboard
from kling_ledger.manifests.revisions import ChangedFile, States
from kling_pricing.clip import CLIP_FIELDS
from kling_pricing.errors import ClipError, PricingError, Problem, RequestError
from kling_pricing.gateways import parse_body, read_request
from kling_pricing.library import Library
from kling_pricing.plans import Difference, Wanted, difference, plan
from kling_pricing.plans.plan import Plan


@dataclass(frozen=True, slots=True)
class Bodies:
    """Where a provider's own request bodies are; `action` applies to those that do not give it."""

    provider: str
    pattern: str
    action: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What to look for, how to read it, and by which prices: those of an instant and a library."""

    manifests: Sequence[str]
    bodies: Sequence[Bodies]
    usual: Usual
    id_column: str
    at: datetime
    library: Library


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that differs, and what that adds in cost."""

    name: str
    difference: Difference


_Side = tuple[tuple[Wanted, ...], bool]
"""The clips of one side of a file, and whether each has an id."""
_Read = Callable[[str, bytes], _Side]


def changes_between(states: States, asked: Asked) -> tuple[FileChange, ...]:
    """Price both sides of every file that differs.

    Unreadable content becomes a row without a price. Raises ConfigError for a file that matches
    patterns of two kinds: it would be counted twice.
    """
    found: dict[str, FileChange] = {}
    for patterns, read in _kinds(asked):
        for file in states.changed(patterns):
            if file.name in found:
                raise ConfigError(
                    f"{file.name}: two patterns match it, for different providers or actions"
                )
            found[file.name] = FileChange(file.name, _compared(file, read, asked))
    return tuple(found[name] for name in sorted(found))


def in_all(files: Sequence[FileChange], at: datetime) -> Difference:
    """Return the differences of all files as one difference."""
    found = [file.difference for file in files]
    rows = chain.from_iterable
    return Difference(
        tuple(rows(one.changes for one in found)),
        Plan(tuple(rows(one.before.rows for one in found)), at),
        Plan(tuple(rows(one.after.rows for one in found)), at),
    )


def _kinds(asked: Asked) -> Iterator[tuple[Sequence[str], _Read]]:
    # To git, an empty list of patterns means every file.
    if asked.manifests:
        yield asked.manifests, partial(_storyboard, asked)
    for bodies in asked.bodies:
        yield [bodies.pattern], partial(_body, asked, bodies)


def _compared(file: ChangedFile, read: _Read, asked: Asked) -> Difference:
    before, had_ids = _side(file.old_name, file.before, read)
    after, has_ids = _side(file.name, file.after, read)
    plans = [plan(rows, at=asked.at, library=asked.library) for rows in (before, after)]
    is_on_both = file.before is not None and file.after is not None
    try:
        return difference(plans[0], plans[1], by_id=is_on_both and had_ids and has_ids)
    except ClipError:
        # Two rows share an id: which was which is unknown, and the sum is the same either way.
        return difference(plans[0], plans[1])


def _side(name: str, content: bytes | None, read: _Read) -> _Side:
    if content is None:
        return (), False
    try:
        return read(name, content)
    except (ConfigError, PricingError) as error:
        return (Wanted(1, {}, error=error),), False


def _storyboard(asked: Asked, name: str, content: bytes) -> _Side:
    given = io.BytesIO(content)
    # A header alone is an empty storyboard: it costs nothing.
    board = read_storyboard(
        name, asked.usual, id_column=asked.id_column, content=given, may_be_empty=True
    )
    return board.rows, board.has_ids


def _body(asked: Asked, bodies: Bodies, _name: str, content: bytes) -> _Side:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RequestError([Problem("$", "other bytes", "text in UTF-8")]) from None
    request = read_request(bodies.provider, parse_body(text), action=bodies.action)
    fields = {field: getattr(request.clip, field) for field in CLIP_FIELDS}
    wanted = Wanted(
        1,
        fields,
        id="body",
        takes=asked.usual.takes,
        failure_rate=asked.usual.failure_rate,
        assumptions=request.assumptions,
    )
    # With an id, a body with new content is a change, not a removal and an addition.
    return (wanted,), True
