"""Follow: one follower polls any number of jobs until each has ended.

A heap says which call is due next, and a rate limits how often each provider is asked. Stopping the
follower ends every pause at once. The caller's thread decides, a few threads make the calls. No job
has a thread of its own: a waiting job is an entry in the heap and holds up no other.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from queue import Empty, SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

CALLS_AT_ONCE: Final = 32
"""The most calls made at the same time; many more jobs may be followed."""

POLLS_PER_S: Final = 20.0
"""The most polls per second of one provider, unless the caller says otherwise."""

LEAVING_S: Final = 0.5
"""How long `close` waits for calls under way by default: Ctrl-C should feel immediate."""

_LONGEST_WAIT_S: Final = 0.25
_CATCH_UP_S: Final = 0.1

_Told = TypeVar("_Told")


@dataclass(frozen=True, slots=True)
class _Due(Generic[_Told]):
    """A call to make, and the provider that it asks; None if it asks nobody."""

    call: Callable[[], _Told]
    asks: str | None


@dataclass(frozen=True, slots=True)
class _Ended(Generic[_Told]):
    """What a call returned or raised, and which provider it asked."""

    asks: str | None
    told: Any
    error: BaseException | None = None

    def result(self) -> _Told:
        if self.error is not None:
            raise self.error
        told: _Told = self.told
        return told


class _Polls(Generic[_Told]):
    """The polls of one provider that are due, and when the next one may be made.

    Late polls may catch up by a tenth of a second, no more. At most `at_once` are under way at the
    same time, so that a provider that does not answer leaves threads for the others.
    """

    def __init__(self, per_s: float, at_once: int) -> None:
        self.waiting: deque[_Due[_Told]] = deque()
        self.next_at = 0.0
        self.under_way = 0
        self._every_s = 1 / per_s
        self._at_once = at_once

    @property
    def may_come(self) -> bool:
        """Whether the next poll is only waiting for its time."""
        return bool(self.waiting) and self.under_way < self._at_once

    def is_next(self, now: float) -> bool:
        return self.may_come and self.next_at <= now

    def take(self, now: float) -> _Due[_Told]:
        self.next_at = max(self.next_at, now - _CATCH_UP_S) + self._every_s
        return self.waiting.popleft()


class Follower(Generic[_Told]):
    """Makes calls when they are due, and yields what they return, until none is left.

        with Follower() as follower:
            follower.put(call, in_s=2, asks="crun")
            for told in follower:
                ...

    One thread calls `put` and iterates; it may put more calls while it does. What a call raises is
    raised in the iteration. At most `at_once` calls are under way, at most `each` to one provider.
    `stop` ends the iteration from outside; calls that are not due by then are never made.
    """

    def __init__(
        self,
        *,
        name: str = "follow",
        at_once: int = CALLS_AT_ONCE,
        each: int = CALLS_AT_ONCE,
        polls_per_s: float = POLLS_PER_S,
        stop: Event | None = None,
    ) -> None:
        self._name = name
        self._at_once = at_once
        self._stop = stop or Event()
        self._due: list[tuple[float, int, _Due[_Told]]] = []
        self._numbers = count()
        self._polls: defaultdict[str, _Polls[_Told]] = defaultdict(
            lambda: _Polls(polls_per_s, each)
        )
        self._others: deque[_Due[_Told]] = deque()
        self._under_way = 0
        self._calls: SimpleQueue[_Due[_Told] | None] = SimpleQueue()
        self._ended: SimpleQueue[_Ended[_Told]] = SimpleQueue()
        self._threads: list[Thread] = []

    def put(self, call: Callable[[], _Told], *, in_s: float = 0.0, asks: str | None = None) -> None:
        """Make a call in so many seconds; `asks` is the provider whose rate it counts against."""
        heapq.heappush(self._due, (time.monotonic() + in_s, next(self._numbers), _Due(call, asks)))

    @property
    def is_over(self) -> bool:
        """Whether no call is under way or waiting."""
        is_waiting = any(polls.waiting for polls in self._polls.values())
        return not (self._under_way or self._due or self._others or is_waiting)

    def __iter__(self) -> Iterator[_Told]:
        while not self.is_over and not self._stop.is_set():
            self._hand_out()
            try:
                ended = self._ended.get(timeout=self._pause_s())
            except Empty:
                continue
            self._under_way -= 1
            if ended.asks is not None:
                self._polls[ended.asks].under_way -= 1
            yield ended.result()

    def close(self, *, within_s: float | None = LEAVING_S) -> None:
        """Make no further calls, and wait `within_s` for those under way; None: until they end.

        A call that takes longer continues, but its result is dropped.
        """
        give_up_at = None if within_s is None else time.monotonic() + within_s
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            left_s = None if give_up_at is None else max(0.0, give_up_at - time.monotonic())
            thread.join(left_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _hand_out(self) -> None:
        """Start the calls that are due, polls first: jobs that hold credits should end first."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            due = heapq.heappop(self._due)[2]
            (self._others if due.asks is None else self._polls[due.asks].waiting).append(due)
        for polls in self._polls.values():
            while polls.is_next(now) and self._has_room():
                polls.under_way += 1
                self._make(polls.take(now))
        while self._others and self._has_room():
            self._make(self._others.popleft())

    def _make(self, due: _Due[_Told]) -> None:
        self._under_way += 1
        if self._under_way > len(self._threads):
            # Daemons: a provider's hanging call must not keep the process from ending.
            name = f"{self._name}-{len(self._threads)}"
            thread = Thread(target=_work, args=(self._calls, self._ended), name=name, daemon=True)
            # Ctrl-C may come in between: only a started thread can be joined.
            thread.start()
            self._threads.append(thread)
        self._calls.put(due)

    def _has_room(self) -> bool:
        # A call that waited for a thread would be made later than decided.
        return self._under_way < self._at_once

    def _pause_s(self) -> float:
        """Return how long nothing new is due, at most a moment: a stop must not wait for it."""
        if not self._has_room():
            return _LONGEST_WAIT_S
        dues = [self._due[0][0]] if self._due else []
        dues += [polls.next_at for polls in self._polls.values() if polls.may_come]
        left_s = min(dues, default=math.inf) - time.monotonic()
        return min(max(left_s, 0.001), _LONGEST_WAIT_S)


def _work(calls: SimpleQueue[_Due[_Told] | None], ended: SimpleQueue[_Ended[_Told]]) -> None:
    while (due := calls.get()) is not None:
        try:
            ended.put(_Ended(due.asks, due.call()))
        except BaseException as error:  # noqa: BLE001 - it is raised again where calls are told of
            ended.put(_Ended(due.asks, None, error))
