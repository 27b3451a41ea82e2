"""Crashes: whoever dies, wherever, leaves a ledger that is right and calls that can be repeated."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import cycle, pairwise
from pathlib import Path

import pytest

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger import State
from tests.ledger_failpoints import WAITING, Original
from tests.ledger_operations import CLIP, OPERATIONS, digest_of, opened
from tests.ledger_worker import Nursery, nursery_running
from tests.ledgers import SLOTS
from tests.sweeps import sampled

PARTS = 2
"""How many processes share the points of one sweep."""

_HEADER, _FRAME = 32, 24 + 4096
"""The bytes of SQLite's write-ahead log: its header, and each page with a header of its own."""

NewUrl = Callable[[], str]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with nursery_running() as running:
        yield running


@pytest.fixture
def new_file(tmp_path: Path) -> NewUrl:
    def new() -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return f"sqlite:///{folder}/ledger.sqlite"

    return new


@pytest.fixture(scope="module")
def on_server(postgres) -> NewUrl:
    """The addresses of as many databases as a sweep has parts: each is restored when used again."""
    return cycle([postgres.new_database() for _ in range(PARTS)]).__next__


@pytest.fixture(scope="module")
def with_slots(postgres) -> NewUrl:
    """The same for ledgers that have slots."""
    return cycle([postgres.new_database() for _ in range(PARTS)]).__next__


def killed(
    nursery: Nursery,
    new_url: NewUrl,
    operation: str,
    *,
    without: Sequence[str] = (),
    last: int = 0,
    parts: int = PARTS,
    slots: int = 0,
) -> tuple[list[str], list[int]]:
    """Sweep over an operation; return all its points, and those at which processes were killed."""
    said = nursery.run(
        [
            {
                "do": "kill_at_each_point",
                "url": new_url(),
                "operation": operation,
                "first": first,
                "step": parts,
                "without": list(without),
                "last": last,
                "processes": PARTS,
                "slots": slots,
            }
            for first in range(PARTS)
        ]
    )
    assert [answer["wrong"] for answer in said] == [[]] * PARTS
    points: list[str] = said[0]["points"]
    return points, [point for answer in said for point in answer["killed"]]


@pytest.mark.parametrize("operation", sampled(OPERATIONS, every=3))
def test_a_process_killed_before_any_statement_of_a_file_is_as_if_it_was_late(
    nursery, new_file, operation
):
    points, at = killed(nursery, new_file, operation)
    assert sorted(at) == list(range(1, len(points) + 1))
    assert "COMMIT" in points


@pytest.mark.parametrize("parts", [12, pytest.param(PARTS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("operation", ["create", "upgrade"])
def test_a_process_killed_before_a_statement_that_makes_tables_is_as_if_it_was_late(
    nursery, new_file, operation, parts
):
    points, at = killed(nursery, new_file, operation, parts=parts)
    assert len(at) >= PARTS * (len(points) // parts)
    assert "COMMIT" in points


def killed_in_exchanges(
    nursery: Nursery, new_url: NewUrl, operation: str, *, share: int, slots: int = 0
) -> None:
    """Kill processes in one of so many exchanges with a server, and in each of the last four."""
    points, at = killed(
        nursery,
        new_url,
        operation,
        without=sorted(WAITING),
        last=4,
        parts=share * PARTS,
        slots=slots,
    )
    meant = {place + 1 for place in range(len(points)) if place % (share * PARTS) < PARTS}
    # How soon a refusal is noticed among statements sent together differs from run to run.
    assert len(at) >= len(meant)
    assert len(meant - set(at)) <= 2


@pytest.mark.parametrize("share", [6, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_process_killed_in_any_exchange_with_a_server_is_as_if_it_was_late(
    nursery, on_server, operation, share
):
    killed_in_exchanges(nursery, on_server, operation, share=share)


@pytest.mark.parametrize("share", [12, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_process_killed_in_any_exchange_with_slots_is_as_if_it_was_late(
    nursery, with_slots, operation, share
):
    killed_in_exchanges(nursery, with_slots, operation, share=share, slots=SLOTS)


def test_a_process_killed_while_it_makes_the_tables_of_a_server_is_as_if_it_was_late(
    nursery, postgres
):
    points, at = killed(
        nursery, postgres.new_database, "create", without=sorted(WAITING), last=4, parts=20
    )
    assert len(points) > 50
    assert len(at) >= 2 * (len(points) // 20)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_process_killed_in_any_wait_for_a_server_is_as_if_it_was_late(
    nursery, on_server, operation
):
    points, at = killed(nursery, on_server, operation)
    assert len(at) >= 0.8 * len(points)


# --- a server that ends sessions ---------------------------------------------------------------


def lost(nursery: Nursery, new_url: NewUrl, operation: str, *, parts: int = PARTS) -> Counter[str]:
    """End the sessions of an operation at its points; return how often what came of it."""
    said = nursery.run(
        [
            {
                "do": "lose_connection_at_each_point",
                "url": new_url(),
                "operation": operation,
                "first": first,
                "step": parts,
            }
            for first in range(PARTS)
        ]
    )
    assert [answer["wrong"] for answer in said] == [[]] * PARTS
    return Counter({name: sum(answer[name] for answer in said) for name in ("errors", "unnoticed")})


@pytest.mark.parametrize("operation", sampled(OPERATIONS, every=3))
def test_a_call_whose_session_the_server_ends_is_made_once(nursery, on_server, operation):
    """By itself, or it is our error and can be repeated: never twice, and never told wrongly."""
    assert lost(nursery, on_server, operation, parts=6).total() >= 1


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_session_that_the_server_ends_anywhere_can_be_repeated(nursery, on_server, operation):
    assert lost(nursery, on_server, operation).total() > 2


def test_a_ledger_recovers_once_each_of_its_sessions_was_ended(postgres):
    url = postgres.new_database()
    with closing(Original(url, "reserve")) as original, closing(opened(url, 1000)) as ledger:
        busy = 8

        def reserve(number: int) -> bool:
            try:
                ledger.reserve("team", CLIP, key=f"key {number % busy}")
            except DatabaseError as error:
                return not error.retryable
            return True

        with ThreadPoolExecutor(busy) as threads:
            assert all(threads.map(reserve, range(busy)))
            original.end_sessions()
            # Each session that was ended is noticed by one call at most.
            worked = [one for _ in range(busy) for one in threads.map(reserve, range(busy))]
        assert worked.count(False) <= busy
        assert all(worked[-busy:])
        assert ledger.verify().is_clean
        keys = [one.labels.get("is") for one in ledger.reservations.latest(state=State.RESERVED)]
        assert keys.count(None) == busy


# --- a write-ahead log that was cut short ------------------------------------------------------


@pytest.fixture(params=[None, 30], ids=["all in the log", "a checkpoint on the way"])
def history(request, nursery, tmp_path) -> tuple[Path, list[str]]:
    """A database whose process died, and the digest of its state after each call."""
    path, log = tmp_path / "died.sqlite", tmp_path / "log"
    said = nursery.run(
        [
            {
                "do": "write_history",
                "path": str(path),
                "log": str(log),
                "calls": 60,
                "checkpoint_at": request.param,
            }
        ]
    )
    assert said == [{"signal": signal.SIGKILL}]
    return path, log.read_text().split()


def cuts(size: int, chance: random.Random, count: int) -> list[int]:
    """Offsets in a log: anywhere, and at the ends of frames and one byte beside them."""
    anywhere = [chance.randrange(size) for _ in range(count)]
    frames = chance.sample(range((size - _HEADER) // _FRAME), count // 3)
    ends = [_HEADER + _FRAME * frame + beside for frame in frames for beside in (-1, 0, 1)]
    return sorted({0, 1, _HEADER - 1, _HEADER, size - 1, size, *anywhere, *ends})


def reopened(path: Path, log: bytes) -> str:
    """The digest of a database with another log, which is clean."""
    copied = path.with_name("reopened.sqlite")
    for end in ("-shm", "-wal"):
        Path(f"{copied}{end}").unlink(missing_ok=True)
    copied.write_bytes(path.read_bytes())
    Path(f"{copied}-wal").write_bytes(log)
    with closing(opened(str(copied), 1)) as ledger:
        assert ledger.verify().is_clean
        return digest_of(ledger)


@pytest.mark.parametrize("tail", ["cut", "torn"])
def test_a_log_that_was_cut_short_gives_a_state_that_was_acknowledged(history, tail):
    path, states = history
    log = Path(f"{path}-wal").read_bytes()
    chance = random.Random(2026)  # noqa: S311 - the same offsets every time, no secret
    found: list[int] = []
    for offset in cuts(len(log), chance, 45):
        rest = chance.randbytes(len(log) - offset) if tail == "torn" else b""
        found.append(states.index(reopened(path, log[:offset] + rest)))
    assert found == sorted(found)
    assert found[-1] == len(states) - 1
    assert len(set(found)) > 20


@pytest.mark.slow
def test_a_log_that_was_cut_at_the_end_of_any_frame_gives_a_state_that_was_acknowledged(history):
    path, states = history
    log = Path(f"{path}-wal").read_bytes()
    ends = range(_HEADER, len(log) + 1, _FRAME)
    found = [states.index(reopened(path, log[:offset])) for offset in ends]
    assert all(after - before in {0, 1} for before, after in pairwise(found))
    assert found[-1] == len(states) - 1
