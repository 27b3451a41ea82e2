"""What replies have in common: JSON that may not be any, amounts, links, times and verdicts.

Nothing here knows a provider. What cannot be read is None or a reason, never a zero.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from enum import IntEnum
from typing import Any, Final

from kling_ledger.errors import CallbackError
from kling_ledger.providers.base import Callback, TaskState, TaskStatus
from kling_ledger.providers.http import Reply
from kling_pricing.errors import AmountError, on_one_line
from kling_pricing.money import Money, read_decimal, round_to

Json = dict[str, Any]
"""A JSON object whose numbers are read as they were written, never as floats."""

LARGEST_CALLBACK: Final = 1024 * 1024
"""The most bytes of a callback that are read."""

_TASK_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}")
_MOST_LINKS: Final = 100


_LONGEST_REASON: Final = 300


class Verdict(IntEnum):
    """What an answer says of the request that it answers, in the order of doubt."""

    TAKEN = 0
    REFUSED = 1
    """Not taken for certain; the same request would be refused again."""
    LATER = 2
    """Not taken for certain; the same request may be taken later."""
    UNKNOWN = 3
    """It may have been taken."""


HTTP_VERDICTS: Final[Mapping[int, Verdict]] = {
    400: Verdict.REFUSED,
    401: Verdict.REFUSED,
    402: Verdict.REFUSED,
    403: Verdict.REFUSED,
    404: Verdict.REFUSED,
    405: Verdict.REFUSED,
    410: Verdict.REFUSED,
    413: Verdict.REFUSED,
    415: Verdict.REFUSED,
    422: Verdict.REFUSED,
    429: Verdict.LATER,
}
"""What HTTP itself says of a status. After any other error something may have been taken.

408 is not among them, because the request may still have been read, and neither is 409, which
says that something was taken before.
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply with its body as a JSON object, None where it is none."""

    status: int
    headers: Mapping[str, str]
    body: Json | None

    @classmethod
    def of(cls, reply: Reply) -> Answer:
        """Read a reply; whatever its body is, that is no error yet."""
        return cls(reply.status, reply.headers, json_object(reply.content))


def verdict_of_status(answer: Answer, verdicts: Mapping[int, Verdict]) -> Verdict:
    """Return what a table says of an HTTP status; a success needs a JSON object to be one."""
    if 200 <= answer.status < 300:
        return Verdict.TAKEN if answer.body is not None else Verdict.UNKNOWN
    return verdicts.get(answer.status, Verdict.UNKNOWN)


def json_object(content: bytes) -> Json | None:
    """Return a JSON object, None for everything else."""
    try:
        body = json.loads(content, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, ArithmeticError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def inner(body: object, *path: str) -> Any:
    """Return what stands at a path of keys, None where it does not."""
    for key in path:
        body = body.get(key) if isinstance(body, dict) else None
    return body


def text_at(body: object, *path: str) -> str | None:
    """Return the text at a path, None where there is none or an empty one."""
    found = inner(body, *path)
    return found if isinstance(found, str) and found.strip() else None


def amount_of(written: object, unit: str, *, per_unit: int = 1) -> Money:
    """Read an amount that was written in parts of a unit, `per_unit` of them making one.

    It is rounded to the millionth, half up. Raises AmountError for what is no number, is below
    zero, beyond all measure, or would vanish by the rounding.
    """
    try:
        exact = read_decimal(written) / per_unit
        rounded = Money(round_to(exact), unit)
    except ArithmeticError:
        raise AmountError("amount", got=written, allowed="an amount of money") from None
    if exact < 0 or (exact > 0 and rounded.amount == 0):
        raise AmountError("amount", got=written, allowed="0, or a millionth and more")
    return rounded


def settled_cost(written: object, unit: str, *, name: str) -> tuple[Money | None, str | None]:
    """Return what a provider says that it charged, or why that cannot be read."""
    if written is None:
        return None, f"the reply names no {name}"
    try:
        return amount_of(written, unit), None
    except AmountError as error:
        return None, f"{name} cannot be read: {error}"


def links_in(written: object) -> tuple[str, ...]:
    """Return the web addresses in a list, or the one that stands alone; anything else is left."""
    found = written if isinstance(written, list) else [written]
    return tuple(
        link
        for link in found[:_MOST_LINKS]
        if isinstance(link, str) and link.startswith(("https://", "http://")) and link.isprintable()
    )


def percentage(written: object) -> int | None:
    """Return a progress from 0 to 100, None for anything else."""
    if isinstance(written, bool) or not isinstance(written, (int, Decimal)):
        return None
    return int(written) if 0 <= written <= 100 else None


def instant_of(seconds: object) -> datetime | None:
    """Return the instant that seconds since 1970 name, None where that cannot be read."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, Decimal)):
        return None
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def asked_pause_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return what `Retry-After` asks for, seconds or a date; None where it asks nothing."""
    written = headers.get("Retry-After")
    if not written:
        return None
    try:
        seconds = float(written)
    except ValueError:
        seconds = _seconds_until(written, now)
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def read_task_id(written: object) -> str | None:
    """Return a task's id, None for what cannot be asked for in an address."""
    return written if isinstance(written, str) and _TASK_ID.fullmatch(written) else None


def task_status(
    written_state: object,
    states: Mapping[str, TaskState],
    *,
    cost: Money | None = None,
    unread: str | None = None,
    failure: str | None = None,
    videos: tuple[str, ...] = (),
    videos_expire_at: datetime | None = None,
    progress: int | None = None,
) -> TaskStatus:
    """Put together what a task's state allows to be said: only an end has a cost or links.

    `unread` says why a cost cannot be read, `failure` is the provider's reason.
    """
    failure = failure and on_one_line(failure)[:_LONGEST_REASON]
    word = written_state.lower() if isinstance(written_state, str) else None
    state = TaskState.UNKNOWN if word is None else states.get(word, TaskState.UNKNOWN)
    if state is TaskState.COMPLETED:
        return TaskStatus(
            state,
            cost=cost,
            videos=videos,
            problem=unread,
            word=word,
            progress=progress,
            videos_expire_at=videos_expire_at if videos else None,
        )
    if state is TaskState.FAILED:
        return TaskStatus(state, cost=cost, problem=failure or "no reason given", word=word)
    if state is TaskState.RUNNING:
        return TaskStatus(state, word=word, progress=progress)
    because = f": {failure}" if failure else ""
    return TaskStatus(state, problem=f"unknown task status {word!r}{because}", word=word)


def read_posted(
    provider: str,
    payload: bytes,
    *,
    task_id: Callable[[Json], object],
    status: Callable[[Json], TaskStatus],
) -> Callback:
    """Read a task that a provider posted. Raises CallbackError where it is none."""
    if len(payload) > LARGEST_CALLBACK:
        raise CallbackError(provider, f"a callback of more than {LARGEST_CALLBACK} bytes")
    task = json_object(payload)
    if task is None:
        raise CallbackError(provider, "the callback is no JSON object")
    found = read_task_id(task_id(task))
    if found is None:
        raise CallbackError(provider, "the callback names no task")
    return Callback(provider, found, replace(status(task), reply=task))


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _seconds_until(written: str, now: datetime) -> float:
    try:
        at = parsedate_to_datetime(written)
    except ValueError:
        return math.nan
    return (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
