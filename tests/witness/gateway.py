"""What the four gateways have in common: scripts become replies, each in its own dialect."""

from __future__ import annotations

import gzip
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, ClassVar

from .account import Account, Create, End, Poll, Task
from .server import HANGS_UP, Gateway, Reply, Request, proxy_page


class Trouble(Enum):
    """The reasons for which a gateway says no."""

    DENIED = auto()
    POOR = auto()
    MISSING = auto()
    CONFLICT = auto()
    INVALID = auto()
    BUSY = auto()
    BROKEN = auto()


class BadInputError(Exception):
    """A request body that the gateway's documents forbid."""


@dataclass
class Dialect(ABC):
    """A gateway on one account.

    `new_id` names the nth task where it is not named as documented, `wire_id` is that name as JSON
    has it; `retry_after` goes with each 429; with `names_task_in_errors`, a 500 for a task that was
    taken says which. What was asked of an address that nobody documents is kept in `strays`.
    """

    account: Account
    api_key: str
    new_id: Callable[[int], str] | None = None
    wire_id: Callable[[str], Any] = str
    retry_after: str | None = None
    names_task_in_errors: bool = False
    odd_word: str = "queued_for_review"
    strays: list[str] = field(default_factory=list)
    unit: ClassVar[str]
    words: ClassVar[Mapping[Poll | End, str]]
    """The gateway's own words for the states of a task."""

    # Each gateway's own way of saying things.

    @abstractmethod
    def documented_id(self, number: int) -> str:
        """Name a task as the documents do."""

    @abstractmethod
    def is_allowed(self, request: Request) -> bool:
        """Whether the key came in the documented header."""

    @abstractmethod
    def route(self, request: Request) -> Reply | None:
        """Answer a request whose key is right; None for an address that is not documented."""

    @abstractmethod
    def trouble(self, trouble: Trouble, message: str, task: Task | None = None) -> Reply:
        """Say no, in the documented body."""

    @abstractmethod
    def taken(self, task: Task) -> Reply:
        """Say that a task was taken."""

    @abstractmethod
    def told(self, task: Task, word: str, end: End | None) -> Reply:
        """Say how a task stands."""

    # What is common to all.

    def answer(self, request: Request) -> Reply:
        """Answer one request."""
        if not self.is_allowed(request):
            return self.trouble(Trouble.DENIED, "the key is missing or wrong")
        try:
            reply = self.route(request)
        except BadInputError as error:
            return self.trouble(Trouble.INVALID, str(error))
        if reply is None:
            self.strays.append(f"{request.method} {request.path}")
            return self.trouble(Trouble.MISSING, "no such address")
        return reply

    def create(self, body: object, price: int, key: str | None = None) -> Reply:
        """Create a task, or do what the script says instead."""
        step, task = self.account.create(body, price, self.new_id or self.documented_id, key)
        match step:
            case Create.TAKE if task:
                return self.taken(task)
            case Create.TAKE_AND_SEND_HALF if task:
                return replace(self.taken(task), keeps=0.5)
            case Create.TAKE_AND_FAIL:
                return self.trouble(Trouble.BROKEN, "something went wrong", self._named(task))
            case Create.TAKE_AND_CUT | Create.CUT:
                return HANGS_UP
            case Create.TAKE_AND_PROXY_FAILS | Create.PROXY_FAILS:
                return proxy_page(502, "502 Bad Gateway")
            case _:
                return self.trouble(_REFUSALS[step], f"no task: {step.name}")

    def _named(self, task: Task | None) -> Task | None:
        return task if self.names_task_in_errors else None

    def look_up(self, task_id: str) -> Reply:
        """Tell how a task stands, or do what its script says instead."""
        task = self.account.tasks.get(task_id)
        if task is None:
            return self.trouble(Trouble.MISSING, "no such task")
        step = self.account.poll(task)
        match step:
            case Poll.CUT:
                return HANGS_UP
            case Poll.PROXY_FAILS:
                return proxy_page(503, "503 Service Temporarily Unavailable")
            case Poll.FAIL | Poll.BUSY | Poll.MISSING:
                return self.trouble(_POLL_TROUBLES[step], "not now")
            case Poll.ODD:
                return self.told(task, self.odd_word, None)
            case End():
                return self.told(task, self.words[step], step)
            case _:
                return self.told(task, self.words[step], None)

    def busy_headers(self, trouble: Trouble) -> dict[str, str]:
        """The headers that go with a refusal."""
        if trouble is Trouble.BUSY and self.retry_after is not None:
            return {"Retry-After": self.retry_after}
        return {}


_REFUSALS = {
    Create.FAIL: Trouble.BROKEN,
    Create.BUSY: Trouble.BUSY,
    Create.REFUSE: Trouble.INVALID,
    Create.POOR: Trouble.POOR,
    Create.CONFLICT: Trouble.CONFLICT,
}

_POLL_TROUBLES = {
    Poll.FAIL: Trouble.BROKEN,
    Poll.BUSY: Trouble.BUSY,
    Poll.MISSING: Trouble.MISSING,
}


@dataclass(frozen=True, slots=True)
class Zipping:
    """A gateway behind something that compresses whatever it says."""

    gateway: Gateway

    def answer(self, request: Request) -> Reply:
        """Answer one request, compressed."""
        reply = self.gateway.answer(request)
        if not reply.keeps:
            return reply
        headers = {**reply.headers, "Content-Encoding": "gzip"}
        return replace(reply, content=gzip.compress(reply.encoded), headers=headers)


def plain(micro: int) -> int | float:
    """An amount of millionths as a JSON number: whole where it is whole."""
    return micro // 1_000_000 if micro % 1_000_000 == 0 else micro / 1_000_000


def require(holds: object, message: str) -> None:
    """Refuse a body unless something holds."""
    if not holds:
        raise BadInputError(message)
