"""What replies have in common: possibly invalid JSON, amounts, links, times and verdicts.

Nothing here is specific to a provider. What cannot be read is None or a reason, never zero.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from enum import IntEnum
from typing import Any, Final
from unicodedata import category
from urllib.parse import urljoin

from kling_ledger.errors import CallbackError
from kling_ledger.providers.base import Callback, TaskState, TaskStatus
from kling_ledger.providers.http import Reply
from kling_pricing.errors import AmountError, on_one_line
from kling_pricing.money import Money, read_decimal, round_to

Json = dict[str, Any]
"""A JSON object whose numbers are exact, never floats."""

LARGEST_CALLBACK: Final = 1024 * 1024
"""The most bytes of a callback that are read."""

NOT_FOUND: Final = 404

LONGEST_TASK_ID: Final = 512
"""The most characters of a task's id."""

_CONTROL: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_OF_A_REQUEST: Final = re.compile(r"(req|request|err|error|trace)[-_.:]", re.IGNORECASE)
_WHOLE: Final = re.compile(r"\d{1,9}(\.0+)?")
_FINE: Final = ("success", "ok")
_MOST_LINKS: Final = 100
_IS_PATH: Final = re.compile(r"[./]|[^\s:?#]+\.[A-Za-z0-9]{2,5}([?#]|$)")
_LONGEST_REASON: Final = 300


class Verdict(IntEnum):
    """What an answer says of its request, in increasing order of doubt."""

    TAKEN = 0
    REFUSED = 1
    """Certainly not taken; the same request would be refused again."""
    LATER = 2
    """Certainly not taken; the same request may be taken later."""
    UNKNOWN = 3
    """It may have been taken."""


_REFUSING: Final = (
    # It should have gone elsewhere, and redirects are not followed.
    *(300, 301, 302, 305, 307, 308, 421),
    # The request or the caller was refused.
    *(400, 401, 402, 403, 404, 405, 410, 422, 451),
    # A proxy demands authentication.
    *(407, 511),
    # The request's form was refused: length, size, address, media type, range, headers, protocol.
    *(411, 413, 414, 415, 416, 417, 426, 428, 431),
)
HTTP_VERDICTS: Final[Mapping[int, Verdict]] = {
    **dict.fromkeys(_REFUSING, Verdict.REFUSED),
    429: Verdict.LATER,
}
"""What HTTP itself says of a status. After any other error, the request may have been taken.

Left out: 303, because it points to the result of work that was done; 406, because the work may
precede an answer that cannot be written; 408 and 425, because the request may still be read; 409,
because something was taken before; 499, because only the caller has gone; and every number that
HTTP does not explain for a request like ours, such as 304, 412 or 418.
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply with its body as a JSON object, None if it is not one."""

    status: int
    headers: Mapping[str, str]
    body: Json | None

    @classmethod
    def of(cls, reply: Reply) -> Answer:
        """Read a reply; an unreadable body is not yet an error."""
        return cls(reply.status, reply.headers, json_object(reply.content))


def verdict_of_status(answer: Answer, verdicts: Mapping[int, Verdict]) -> Verdict:
    """Return a table's verdict on an HTTP status; a success counts only with a JSON object."""
    if 200 <= answer.status < 300:
        return Verdict.TAKEN if answer.body is not None else Verdict.UNKNOWN
    return verdicts.get(answer.status, Verdict.UNKNOWN)


def json_object(content: bytes) -> Json | None:
    """Return a JSON object, or None for anything else."""
    try:
        body = json.loads(content, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, ArithmeticError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def inner(body: object, *path: str) -> Any:
    """Return the value at a path of keys, or None if there is none."""
    for key in path:
        body = body.get(key) if isinstance(body, dict) else None
    return body


def whole_number(written: object) -> int | None:
    """Return a whole number written as 200, 200.0 or "200"; None for anything else."""
    if isinstance(written, bool) or not isinstance(written, (int, float, Decimal, str)):
        return None
    text = str(written).strip()
    return int(text.partition(".")[0]) if _WHOLE.fullmatch(text) else None


def text_at(body: object, *path: str) -> str | None:
    """Return the text at a path, or None if it is missing or empty."""
    found = inner(body, *path)
    return found if isinstance(found, str) and found.strip() else None


def amount_of(written: object, unit: str, *, per_unit: int = 1) -> Money:
    """Read an amount written in fractions of a unit, `per_unit` to the unit.

    It is rounded to the millionth, half up. Raises AmountError for anything that is not a number,
    is negative or too large, or would be rounded to zero.
    """
    try:
        exact = read_decimal(written) / per_unit
        rounded = Money(round_to(exact), unit)
    except ArithmeticError:
        raise AmountError("amount", got=written, allowed="an amount of money") from None
    if exact < 0 or (exact > 0 and rounded.amount == 0):
        raise AmountError("amount", got=written, allowed="0, or at least a millionth")
    return rounded


def settled_cost(written: object, unit: str, *, name: str) -> tuple[Money | None, str | None]:
    """Return what a provider says it charged, or why that cannot be read."""
    if written is None:
        return None, f"the reply has no {name}"
    try:
        return amount_of(written, unit), None
    except AmountError as error:
        return None, f"{name} cannot be read: {error}"


def links_in(written: object) -> tuple[str, ...]:
    """Return the links in a list, or a single link; anything else is ignored.

    They may be relative: `absolute` completes them.
    """
    found = written if isinstance(written, list) else [written]
    return tuple(link for link in found[:_MOST_LINKS] if isinstance(link, str) and _may_lead(link))


def absolute(links: Iterable[str], address: str | None) -> tuple[str, ...]:
    """Return links as web addresses, completing relative ones with a gateway's own address.

    Without an address, relative links are left out.
    """
    resolved = [link if address is None else _at(address, link) for link in links]
    return tuple(link for link in resolved if link.lower().startswith(("https://", "http://")))


def percentage(written: object) -> int | None:
    """Return a progress from 0 to 100, or None for anything else."""
    if isinstance(written, bool) or not isinstance(written, (int, Decimal)):
        return None
    return int(written) if 0 <= written <= 100 else None


def instant_of(seconds: object) -> datetime | None:
    """Return the instant of a number of seconds since 1970; None if it cannot be read."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, Decimal)):
        return None
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def asked_pause_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds that `Retry-After`, a number or a date, asks for; None if none."""
    written = headers.get("Retry-After")
    if not written:
        return None
    try:
        seconds = float(written)
    except ValueError:
        seconds = _seconds_until(written, now)
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def read_task_id(written: object) -> str | None:
    """Return a task's id as text, or None for an invalid one."""
    if isinstance(written, bool) or not isinstance(written, (int, str)):
        return None
    text = str(written)
    is_text = text.strip() and not any(category(letter) in _CONTROL for letter in text)
    return text if is_text and len(text) <= LONGEST_TASK_ID else None


def first_id(task: Json, *names: str) -> str | None:
    """Return a task's id from the first of these names that has one."""
    found = (read_task_id(task.get(name)) for name in names)
    return next((id_ for id_ in found if id_ is not None), None)


def only_object(written: object) -> Json:
    """Return an object, or the only one in a list; an empty one for anything else."""
    if isinstance(written, list) and len(written) == 1:
        written = written[0]
    return written if isinstance(written, dict) else {}


def task_or_data(body: Json, *names: str) -> Json:
    """Return the object that names a task in a reply: the reply itself, or its `data`."""
    data = only_object(body.get("data"))
    return data if first_id(body, *names) is None and first_id(data, *names) else body


def is_of_a_request(task: Json, answer: Answer) -> bool:
    """Whether the `id` in an error is that of the error or its request, and so not of a task."""
    id_ = read_task_id(task.get("id"))
    if id_ is None or read_task_id(task.get("task_id")) is not None:
        return False
    told = [inner(answer.body, *path) for path in (("request_id",), ("error", "request_id"))]
    told += [inner(answer.body, "error", "id"), answer.headers.get("X-Request-Id")]
    kinds = {task.get(name) for name in ("object", "type") if isinstance(task.get(name), str)}
    return id_ in map(read_task_id, told) or bool(
        _OF_A_REQUEST.match(id_) or kinds & {"error", "request"}
    )


def error_in(written: object) -> str | None:
    """Return an error in words, or None if the field says that there is none."""
    if isinstance(written, str):
        return written.strip() or None
    if isinstance(written, list):
        return next(filter(None, map(error_in, written)), None)
    if not isinstance(written, dict):
        return f"error {written}" if written else None
    code, message = written.get("code"), written.get("message")
    if whole_number(code) in {0, 200} or (code is None and message in _FINE):
        return None
    parts = [str(part).strip() for part in (code, message) if isinstance(part, (int, str))]
    unexplained = "an error without a message" if any(written.values()) else None
    return ": ".join(part for part in parts if part) or unexplained


def task_status(
    written_state: object,
    states: Mapping[str, TaskState],
    *,
    cost: Money | None = None,
    unread: str | None = None,
    names_cost: bool = False,
    failure: str | None = None,
    videos: tuple[str, ...] = (),
    videos_expire_at: datetime | None = None,
    progress: int | None = None,
) -> TaskStatus:
    """Build a TaskStatus with what its state allows: only a finished task has a cost or links.

    `unread` says why no cost can be read; `names_cost` that the answer names one; `failure` is the
    provider's error.
    """
    failure = failure and on_one_line(failure)[:_LONGEST_REASON]
    word = written_state.strip().lower() if isinstance(written_state, str) else None
    state = TaskState.UNKNOWN if word is None else states.get(word, TaskState.UNKNOWN)
    said = TaskStatus(state, problem=failure, has_error=failure is not None, word=word)
    if state is TaskState.COMPLETED:
        return replace(
            said,
            cost=cost,
            videos=videos,
            problem="; ".join(told for told in (failure, unread) if told) or None,
            progress=progress,
            videos_expire_at=videos_expire_at if videos else None,
        )
    if state is TaskState.FAILED and cost is None and names_cost:
        # It may have been charged, and the amount is unknown.
        return replace(said, state=TaskState.UNKNOWN, problem=f"failed, and {unread}")
    if state is TaskState.FAILED:
        return replace(said, cost=cost, videos=videos, problem=failure or "no reason given")
    if state is TaskState.RUNNING:
        return replace(said, progress=progress)
    because = f": {failure}" if failure else ""
    return replace(said, problem=f"unknown task status {word!r}{because}")


def read_posted(
    provider: str,
    payload: bytes,
    *,
    task_id: Callable[[Json], str | None],
    status: Callable[[Json], TaskStatus],
) -> Callback:
    """Read a task that a provider posted. Raises CallbackError for anything else."""
    if len(payload) > LARGEST_CALLBACK:
        raise CallbackError(provider, f"a callback of more than {LARGEST_CALLBACK} bytes")
    task = json_object(payload)
    if task is None:
        raise CallbackError(provider, "the callback is not a JSON object")
    found = task_id(task)
    if found is None:
        raise CallbackError(provider, "the callback has no task id")
    told = status(task)
    # The sender's address is unknown here, so relative links are left out.
    return Callback(provider, found, replace(told, reply=task, videos=absolute(told.videos, None)))


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _seconds_until(written: str, now: datetime) -> float:
    try:
        at = parsedate_to_datetime(written)
    except (ValueError, TypeError, OverflowError):
        return math.nan
    return (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()


def _may_lead(link: str) -> bool:
    is_whole = link.lower().startswith(("https://", "http://"))
    return link.isprintable() and (is_whole or _IS_PATH.match(link) is not None)


def _at(address: str, link: str) -> str:
    try:
        return urljoin(f"{address}/", link)
    except ValueError:
        return ""
