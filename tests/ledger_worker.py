"""Processes of their own on a ledger: one nursery imports everything once and forks them.

As a program it reads one JSON list of commands a line, gives each to a new process, lets them all
begin at once, and answers with one JSON list. As a module it is what tests speak to it with.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import select
import signal
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

from kling_ledger.errors import ConflictError, NotFoundError, RefusedError, StateError
from kling_ledger.ledger import Asked, Ledger
from kling_pricing.errors import AmountError
from kling_pricing.money import Money
from tests import ledger_failpoints, server_load

Answer = dict[str, Any]

ROOT: Final = Path(__file__).parents[1]
PATIENCE_S: Final = 120
"""How long a test waits for its processes; whoever takes longer is stuck."""


# --- what a process can be told to do ----------------------------------------------------------


def verify(ledger: Ledger) -> Answer:
    return {"is_clean": ledger.verify().is_clean}


def create_wallet(ledger: Ledger, wallet: str, unit: str) -> Answer:
    return {"wallet": ledger.wallets.create(wallet, unit).id}


def fund(ledger: Ledger, wallet: str, amount: str, key: str) -> Answer:
    return {"posted": str(ledger.wallets.fund(wallet, Money.parse(amount), key=key).posted)}


def reserve(
    ledger: Ledger,
    wallet: str,
    amount: str,
    tries: int,
    project: str | None = None,
    threads: int = 1,
    batch: int = 1,
) -> Answer:
    """Reserve again and again; say how often it was admitted and what refused the others."""
    asked = [Asked(wallet, Money.parse(amount), project=project)] * batch

    def one(_: int) -> str:
        try:
            ledger.reserve_many(asked)
        except RefusedError as error:
            return error.code
        return "admitted"

    with ThreadPoolExecutor(threads) as pool:
        return dict(Counter(pool.map(one, range(tries))))


def reserve_in_run(
    ledger: Ledger, token: str, amount: str, runs: list[str], tries: int, threads: int
) -> Answer:
    """Reserve again and again under a token, in each run in turn; say what came of it."""
    known = ledger.tokens.get(token)
    asked = Asked("", Money.parse(amount))

    def one(number: int) -> str:
        try:
            run = runs[number % len(runs)]
            ledger.reserve_many([ledger.tokens.bound(known, asked, run=run)])
        except RefusedError as error:
            return error.code
        return "admitted"

    with ThreadPoolExecutor(threads) as pool:
        return dict(Counter(pool.map(one, range(tries))))


def reserve_with_key(ledger: Ledger, wallet: str, amount: str, key: str, threads: int) -> Answer:
    """Reserve under one key from many threads at once."""

    def one(_: int) -> str:
        return ledger.reserve(wallet, Money.parse(amount), key=key).id

    with ThreadPoolExecutor(threads) as pool:
        return {"ids": list(pool.map(one, range(threads)))}


def end(
    ledger: Ledger, reservation: str, ways: list[str], threads: int, calls: int, amount: str
) -> Answer:
    """End one reservation from many threads at once, each call in one of the ways, in turn."""
    money = Money.parse(amount)
    calling: dict[str, Callable[[], object]] = {
        "commit": lambda: ledger.commit(reservation, money),
        "part": lambda: ledger.commit(reservation, money, is_part=True, key="part"),
        "refund": lambda: ledger.refund(reservation, money, reason="dark", key="refund"),
        "roll_back": lambda: ledger.roll_back(reservation, "the provider says that it failed"),
        "expire": ledger.expire,
        "submit": lambda: ledger.mark_submitting(reservation),
    }

    def one(number: int) -> str:
        way = ways[number % len(ways)]
        try:
            calling[way]()
        except StateError:
            return f"{way} refused"
        return way

    with ThreadPoolExecutor(threads) as pool:
        return dict(Counter(pool.map(one, range(calls))))


def live(ledger: Ledger, wallet: str, seed: int, calls: int) -> Answer:
    """Call anything at random, much of it impossible; say what came of it."""
    chance = random.Random(seed)  # noqa: S311 - a history to repeat, no secret
    outcomes: Counter[str] = Counter()
    for _ in range(calls):
        try:
            _anything(ledger, wallet, chance)
            outcomes["done"] += 1
        except (RefusedError, StateError, ConflictError, AmountError, NotFoundError) as error:
            outcomes[error.code] += 1
    return dict(outcomes)


def _anything(ledger: Ledger, wallet: str, chance: random.Random) -> object:
    amount = Money.from_micro(chance.randrange(1, 900_000), "USD")
    key = f"key {chance.randrange(40)}"
    latest = ledger.reservations.latest(limit=12)
    one = chance.choice(latest).id if latest else "res_none"
    over_at = datetime.now(UTC) + timedelta(milliseconds=chance.randrange(60))
    project = chance.choice([None, "film/teaser", "film/trailer", "app"])
    choices: list[Callable[[], object]] = [
        lambda: ledger.reserve(wallet, amount, key=key, project=project),
        lambda: ledger.reserve(wallet, amount, expires_at=over_at, project=project),
        lambda: ledger.mark_submitting(one),
        lambda: ledger.mark_submitted(one, f"task of {one}"),
        lambda: ledger.mark_in_doubt(one, "no answer"),
        lambda: ledger.commit(one, amount),
        lambda: ledger.commit(one, amount, is_part=True, key=f"part of {one}"),
        lambda: ledger.roll_back(one, "it failed"),
        lambda: ledger.refund(one, amount, reason="half a clip", key=f"refund of {one}"),
        ledger.expire,
        lambda: ledger.wallets.fund(wallet, amount, key=key),
        lambda: ledger.wallets.adjust(wallet, amount, reason="it was counted"),
        lambda: ledger.budgets.set("films", amount + amount, mode=chance.choice(["hard", "warn"])),
    ]
    return chance.choice(choices)()


def use_slots(ledger: Ledger, counts: list[int]) -> Answer:
    """Share the ledger out among another number of slots, again and again."""
    for count in counts:
        ledger.use_slots(count)
    return {"switched": len(counts)}


def pairs(ledger: Ledger, wallet: str, amount: str, count: int) -> Answer:
    """Reserve and commit, so many times."""
    for _ in range(count):
        ledger.commit(ledger.reserve(wallet, Money.parse(amount)).id, Money.parse(amount))
    return {"pairs": count}


def interrupted(
    ledger: Ledger, amount: str, threads: int, calls: int, seed: int, times: int
) -> Answer:
    """Reserve in many threads, the first of which is interrupted again and again.

    It makes each of its calls until it succeeds, under a key, interrupted up to so many `times` at
    an attempt; the others have no key, and nothing may happen to them. Each tells its own wallet
    how often it reserved.
    """
    money = Money.parse(amount)
    storm = _Storm(seed, times)

    def work(number: int) -> None:
        for _ in range(calls):
            ledger.reserve("others", money)

    with ThreadPoolExecutor(threads) as pool:
        working = [pool.submit(work, number) for number in range(threads)]
        for number in range(calls):
            for attempt in itertools.count():
                try:
                    storm.rise(attempt)
                    ledger.reserve("interrupted", money, key=f"{os.getpid()}-{number}")
                    storm.left = 0
                    break
                except KeyboardInterrupt:
                    storm.left = 0
        for one in working:
            one.result()
    return {"interrupts": storm.interrupts}


class _Storm:
    """Ctrl-C after Ctrl-C: at some time in a call, then quickly while that is cleared away."""

    def __init__(self, seed: int, times: int) -> None:
        self.left = 0
        self.interrupts = 0
        self._times = times
        self._chance = random.Random(seed)  # noqa: S311 - a history to repeat, no secret
        signal.signal(signal.SIGALRM, self._strike)

    def rise(self, attempt: int) -> None:
        """Let the first come soon, at a later attempt of a call later: else none would succeed."""
        self.left = self._times
        self._wait(self._chance.uniform(0.00002, 0.003) * 1.5**attempt)

    def _strike(self, *_: object) -> None:
        if self.left:
            self.left -= 1
            self.interrupts += 1
            if self.left:
                self._wait(self._chance.uniform(0.000005, 0.00006))
            raise KeyboardInterrupt

    @staticmethod
    def _wait(seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)


def show(ledger: Ledger, reservation: str) -> Answer:
    return {"state": ledger.reservations.get(reservation).state}


def submit_and_die(ledger: Ledger, reservation: str) -> Answer:
    """Mark a reservation as submitting and end at once: nothing is closed, nothing is flushed."""
    ledger.mark_submitting(reservation)
    os._exit(9)


COMMANDS: Final[dict[str, Callable[..., Answer]]] = {
    command.__name__: command
    for command in (
        verify,
        create_wallet,
        fund,
        reserve,
        reserve_in_run,
        reserve_with_key,
        end,
        live,
        use_slots,
        pairs,
        interrupted,
        show,
        submit_and_die,
    )
}
"""What is done on a ledger that was opened before all began."""

ALONE: Final[dict[str, Callable[..., Answer]]] = {
    command.__name__: command
    for command in (
        ledger_failpoints.kill_at_each_point,
        ledger_failpoints.lose_connection_at_each_point,
        ledger_failpoints.write_history,
        server_load.load,
    )
}
"""What opens its ledger itself."""


# --- the nursery -------------------------------------------------------------------------------


class _Start:
    """Lets processes begin together: each says that it is ready, then waits for all the others."""

    def __init__(self) -> None:
        self._ready, self._is_ready = os.pipe()
        self._go, self._let_go = os.pipe()

    def wait(self) -> None:
        """Wait in a child until everybody is ready."""
        os.close(self._let_go)
        os.write(self._is_ready, b".")
        os.close(self._is_ready)
        os.read(self._go, 1)

    def give(self) -> None:
        """Let the children go once each of them is ready or dead."""
        os.close(self._is_ready)
        while os.read(self._ready, 1):
            pass
        os.close(self._let_go)
        os.close(self._ready)
        os.close(self._go)


def _fork(values: Answer, start: _Start) -> tuple[int, IO[str]]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, os.fdopen(reading)
    status = 1
    try:
        answer = json.dumps(_answer(values, start.wait)).encode()
        while answer:
            answer = answer[os.write(writing, answer) :]
        status = 0
    except BaseException:  # noqa: BLE001 - a child must end here, whatever happened
        traceback.print_exc()
    finally:
        os._exit(status)


def _answer(values: Answer, wait: Callable[[], None]) -> Answer:
    name = values.pop("do")
    try:
        if name in ALONE:
            wait()
            return ALONE[name](**values)
        if values.pop("opens_together", False):
            wait()
            wait = _go_on
        with Ledger(values.pop("path")) as ledger:
            wait()
            return COMMANDS[name](ledger, **values)
    except Exception as error:  # noqa: BLE001 - the test is told, and fails
        return {"error": f"{type(error).__name__}: {error}"}


def _go_on() -> None:
    """Wait for nobody."""


def _together(commands: Sequence[Answer]) -> list[Answer]:
    start = _Start()
    children = [_fork(values, start) for values in commands]
    start.give()
    return [_end(pid, said) for pid, said in children]


def _end(pid: int, said: IO[str]) -> Answer:
    with said:
        text = said.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status)}
    answer: Answer = json.loads(text) if text else {"exit": os.WEXITSTATUS(status)}
    return answer


def _serve() -> None:
    # A process that outlives its start would keep the answers of the next ones waiting.
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_together(json.loads(line))) + "\n")
        sys.stdout.flush()


class Nursery:
    """The nursery as a test speaks to it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.ledger_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )

    def run(self, commands: Sequence[Answer]) -> list[Answer]:
        """Give each command to a process of its own, all at once, and return their answers.

        One that was killed answers with its signal; no other may fail.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("the nursery was started with pipes")
        self._process.stdin.write(json.dumps(list(commands)) + "\n")
        self._process.stdin.flush()
        is_done, _, _ = select.select([self._process.stdout], [], [], PATIENCE_S)
        assert is_done, f"stuck for {PATIENCE_S} s: {commands[0]}"
        answers: list[Answer] = json.loads(self._process.stdout.readline())
        assert not [answer for answer in answers if "error" in answer], answers
        return answers

    def end(self) -> int:
        """End the nursery, and whatever it started that still runs."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            return self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            return self._process.wait()
        finally:
            if self._process.stdout is not None:
                self._process.stdout.close()


@contextmanager
def nursery_running() -> Iterator[Nursery]:
    """A nursery for as long as some tests run."""
    nursery = Nursery()
    try:
        yield nursery
    finally:
        status = nursery.end()
    assert status == 0


if __name__ == "__main__":
    _serve()
