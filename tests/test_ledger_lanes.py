"""Lanes: a group of callers is written in few transactions, and each is told of its own."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from kling_ledger.errors import DatabaseError, RefusedError
from kling_ledger.ledger.engines.lanes import Lanes
from kling_ledger.ledger.engines.transaction import Batch, Outcome, Stamp

PATIENCE_S = 30
CALLERS = 200
STAMP = Stamp(0, "tester", None, 0)


def decide(_: object, items: Sequence[int], __: object) -> Callable[[int], int]:
    return list(items).__getitem__


def in_turn(_: object, __: object) -> Any:
    """Says that batches can be decided in turn; the server of these tests does it."""


@dataclass
class Server:
    """A server that has room for so many, or is away from its so-manieth transaction on."""

    room: int = CALLERS + 1
    away_from: int = CALLERS
    asked: list[str] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    is_held: threading.Event = field(default_factory=threading.Event)
    may_go: threading.Event = field(default_factory=threading.Event)

    def write(self, batch: Batch[int, int]) -> Callable[[int], int]:
        if batch.items == [0]:
            # The first caller keeps the lane busy until all others wait.
            self.is_held.set()
            self.may_go.wait(PATIENCE_S)
        return self._took("alone", batch.items)

    def write_merged(self, batch: Batch[int, int]) -> Callable[[int], int]:
        return self._took("as one", batch.items)

    def write_in_turn(self, batches: Sequence[Batch[int, int]]) -> Sequence[Outcome]:
        self._ask("in turn", len(batches))
        outcomes: list[Outcome] = []
        for batch in batches:
            if batch.items[0] % 50 == 1:
                outcomes.append(None)
            elif len(self.written) < self.room:
                self.written.extend(batch.items)
                outcomes.append(list(batch.items).__getitem__)
            else:
                outcomes.append(RefusedError("no room"))
        return outcomes

    def _took(self, how: str, items: Sequence[int]) -> Callable[[int], int]:
        self._ask(how, len(items))
        if len(self.written) + len(items) > self.room:
            raise RefusedError("no room")
        self.written.extend(items)
        return list(items).__getitem__

    def _ask(self, how: str, many: int) -> None:
        self.asked.append(f"{how} {many}")
        if len(self.asked) > self.away_from:
            raise DatabaseError("the server is away", retryable=True)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CALLERS + 1) as pool:
        yield pool


def told(server: Server, threads: ThreadPoolExecutor) -> Counter[str]:
    """Let all callers come while the first is being written; say what they were told."""
    lanes = Lanes(server.write, server.write_merged, server.write_in_turn)

    def call(number: int) -> str:
        batch = Batch(decide, [number], STAMP, in_turn)
        try:
            assert lanes.writer_of(batch).run(batch)(0) == number
        except (DatabaseError, RefusedError) as error:
            return type(error).__name__
        return "written"

    first = threads.submit(call, 0)
    assert server.is_held.wait(PATIENCE_S)
    others = [threads.submit(call, number) for number in range(1, CALLERS + 1)]
    writer = lanes.writer_of(Batch(decide, [0], STAMP, in_turn))
    while writer._queue.qsize() < CALLERS:
        pass
    server.may_go.set()
    said = Counter(one.result(PATIENCE_S) for one in others)
    assert first.result(PATIENCE_S) == "written"
    lanes.close()
    # Whoever was told so is written once, and nobody else is.
    assert len(server.written) == len(set(server.written)) == said["written"] + 1
    return said


def test_of_a_large_group_a_few_are_written_first(threads):
    server = Server()
    assert told(server, threads) == {"written": CALLERS}
    assert server.asked == ["alone 1", "as one 64", "as one 136"]


def test_once_a_few_have_met_the_limit_the_others_are_decided_in_turn_at_once(threads):
    server = Server(room=31)
    assert told(server, threads) == {"written": 30, "RefusedError": CALLERS - 30}
    # Of two hundred numbers four are told to run by themselves: there is no room for them either.
    alone = ["alone 1"] * 4
    before, *after = server.asked
    assert before == "alone 1"
    assert [one for one in after if one != "alone 1"] == ["as one 64", "in turn 64", "in turn 136"]
    assert [one for one in after if one == "alone 1"] == alone


def test_a_server_that_goes_away_has_written_for_those_before_and_for_nobody_after(threads):
    server = Server(away_from=2)
    assert told(server, threads) == {"written": 64, "DatabaseError": CALLERS - 64}
    # It was waited for once, on behalf of all.
    assert server.asked == ["alone 1", "as one 64", "as one 136"]
