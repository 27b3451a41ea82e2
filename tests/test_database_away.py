"""The database goes away while a gateway answers: no task's name is lost, nothing is sent twice."""

from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from runapi.kling import KlingClient

from kling_ledger import Ledger, TaskNotWrittenError, metered
from kling_ledger.jobs.batch import Batch
from kling_ledger.jobs.batch_jobs import BatchJob, attempts_to_do, content_keys, known_outcomes
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.recovery import Recovery
from kling_ledger.jobs.watch import Patience
from kling_ledger.ledger import Reservation, State, unwritten
from kling_ledger.ledger.engines import postgres
from kling_ledger.providers.registry import connect
from kling_pricing import Library, Money
from kling_pricing.gateways import read_request
from tests.cli import Cli, finish
from tests.database_away import Meanwhile, back_in, cut, let_in, stoppable_server
from tests.postgres import PostgresServer
from tests.sandbox_rig import AT, UNITS, body
from tests.sweeps import sampled
from tests.witness.account import Account
from tests.witness.gateway import Dialect
from tests.witness.server import serve
from tests.witness_ledger import GATEWAYS, KEYS

# RunAPI's own client leaves its sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
    ),
    pytest.mark.usefixtures("collected"),
]

BACK_IN_S = 1.2
"""Longer than the first tries take, shorter than all of them."""


@dataclass
class Scene:
    """A gateway that has just taken a job when something happens to the ledger's database."""

    name: str
    url: str
    address: str
    dialect: Dialect
    front: Meanwhile

    def meter(self, ledger: Ledger, **more: Any) -> Meter:
        provider = connect(self.name, api_key=KEYS[self.name], base_url=self.address, timeout_s=10)
        quick = Patience(poll_every_s=0.02, longest_s=30)
        return Meter(ledger, provider, wallet="team", patience=quick, **more)

    def check_charged_once(self, ledger: Ledger, many: int = 1) -> None:
        """By the gateway's own truth: each job was taken once, and the ledger says what it cost."""
        self.dialect.account.finish()
        tasks = self.dialect.account.tasks
        assert len(tasks) == many
        jobs = ledger.reservations.latest(limit=1000)
        assert {one.task_id for one in jobs if one.task_id} == set(tasks)
        assert ledger.wallets.get("team").spent.micro == sum(
            task.charged for task in tasks.values()
        )
        assert ledger.wallets.get("team").reserved.micro == 0
        assert ledger.verify().findings == ()


Scenes = Callable[[str, str], Scene]


@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Scenes]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with ExitStack() as stack:

        def make(name: str, url: str) -> Scene:
            account = Account(100_000_000_000, remembers_keys=name == "runapi")
            dialect = GATEWAYS[name](account, KEYS[name])
            front = Meanwhile(dialect)
            address = stack.enter_context(serve(front))
            with Ledger(url) as ledger:
                ledger.wallets.create("team", UNITS[name])
                ledger.wallets.fund("team", Money.parse(f"100000 {UNITS[name]}"))
            return Scene(name, url, address, dialect, front)

        yield make


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.new_database()
    yield url
    let_in(url)


# Each way in which a job is sent


def by_run(scene: Scene, ledger: Ledger) -> None:
    meter = scene.meter(ledger)
    with closing(meter.provider):
        meter.run(body(scene.name))


def by_batch(scene: Scene, ledger: Ledger) -> None:
    meter = scene.meter(ledger)
    with closing(meter.provider):
        outcomes = batch_of(scene, meter, 1).run()
    assert [one.error for one in outcomes.values()] == [None]


def by_metered(scene: Scene, ledger: Ledger) -> None:
    client = KlingClient(api_key=KEYS["runapi"], base_url=scene.address, max_retries=0)
    given = body(scene.name)
    metered(client, ledger, wallet="team").text_to_video.run(**given)


def by_block(scene: Scene, ledger: Ledger) -> None:
    meter = scene.meter(ledger)
    cost = Money.parse("0.675 USD" if scene.name == "runapi" else "135 crun-credit")
    with closing(meter.provider), ledger.reserving(cost, wallet="team") as reserved:
        sent = meter.provider.submit("text_to_video", body(scene.name), key=reserved.id)
        reserved.submitted(sent.task_id)
        reserved.commit(cost)


def by_async_block(scene: Scene, ledger: Ledger) -> None:
    meter = scene.meter(ledger)
    cost = Money.parse("0.675 USD" if scene.name == "runapi" else "135 crun-credit")

    async def block() -> None:
        async with ledger.areserving(cost, wallet="team") as reserved:
            sent = await asyncio.to_thread(
                meter.provider.submit, "text_to_video", body(scene.name), key=reserved.id
            )
            await reserved.submitted(sent.task_id)
            await reserved.commit(cost)

    with closing(meter.provider):
        asyncio.run(block())


WAYS = {
    "run": by_run,
    "batch": by_batch,
    "metered": by_metered,
    "block": by_block,
    "async block": by_async_block,
}
PAIRS = [
    (name, way) for name in ("runapi", "crun") for way in WAYS if (name, way) != ("crun", "metered")
]


def batch_of(scene: Scene, meter: Meter, many: int, **more: Any) -> Batch:
    requests = [
        read_request(scene.name, body(scene.name, f"row {at}")) for at in range(1, many + 1)
    ]
    keys = content_keys("clips", [(request, None, None) for request in requests])
    book = Library().book(scene.name)
    jobs = [
        BatchJob(at, request, request.quote(at=AT, book=book), key)
        for at, (request, key) in enumerate(zip(requests, keys, strict=True), 1)
    ]
    known = known_outcomes(meter.ledger, jobs)
    attempts = attempts_to_do(jobs, known, retries_failed=False)
    return Batch({scene.name: meter}, attempts, **more)


@pytest.mark.parametrize(("name", "way"), sampled(PAIRS, every=2))
def test_connections_that_are_cut_while_the_gateway_answers_lose_nothing(
    scenes: Scenes, postgres_url: str, name: str, way: str
):
    scene = scenes(name, postgres_url)

    def away() -> None:
        cut(postgres_url)
        back_in(BACK_IN_S, postgres_url)

    scene.front.does = away
    with Ledger(postgres_url) as ledger:
        WAYS[way](scene, ledger)
        scene.check_charged_once(ledger)
    assert list(unwritten.notes(postgres_url)) == []


@pytest.mark.parametrize(("name", "way"), PAIRS)
def test_a_lock_that_is_held_while_the_gateway_answers_loses_nothing(
    scenes: Scenes, tmp_path: Path, name: str, way: str
):
    url = str(tmp_path / "ledger.sqlite")
    scene = scenes(name, url)
    held: list[threading.Thread] = []

    def hold() -> None:
        is_held = threading.Event()

        def holding() -> None:
            with closing(sqlite3.connect(url, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                is_held.set()
                time.sleep(BACK_IN_S)
                other.execute("ROLLBACK")

        held.append(threading.Thread(target=holding))
        held[0].start()
        is_held.wait()

    scene.front.does = hold
    with Ledger(url) as ledger:
        WAYS[way](scene, ledger)
        held[0].join()
        scene.check_charged_once(ledger)


@pytest.mark.parametrize(
    ("name", "way"), sampled([pair for pair in PAIRS if pair[1] != "batch"], 2)
)
def test_a_database_that_stays_away_leaves_the_task_in_a_file_and_in_the_error(
    scenes: Scenes, postgres_url: str, monkeypatch: pytest.MonkeyPatch, name: str, way: str
):
    monkeypatch.setattr(unwritten, "PAUSES_S", (0.05,))
    # How long it is insisted by itself is seen where a server is away, in test_ledger_lost.
    monkeypatch.setattr(postgres, "PATIENCE_S", 1.0)
    scene = scenes(name, postgres_url)
    scene.front.does = lambda: cut(postgres_url)
    with Ledger(postgres_url) as ledger:
        with pytest.raises(TaskNotWrittenError) as told:
            WAYS[way](scene, ledger)
        [task_id] = scene.dialect.account.tasks
        assert told.value.task_id == task_id
        assert told.value.reservation_id in str(told.value)
        [note] = unwritten.notes(postgres_url)
        assert (note.reservation_id, note.task_id) == (told.value.reservation_id, task_id)
        assert note.path == told.value.kept_in
        assert oct(note.path.stat().st_mode & 0o777) == "0o600"
        let_in(postgres_url)
    # As the next process would: the connections that were cut are no concern of this test.
    with Ledger(postgres_url) as again:
        [found] = unwritten.take_down(again)
        assert (found.id, found.state, found.task_id) == (
            told.value.reservation_id,
            State.SUBMITTED,
            task_id,
        )
    assert not note.path.exists()


def test_notes_of_another_ledger_and_what_is_no_note_are_left_alone(
    scenes: Scenes, postgres_url: str, tmp_path: Path
):
    scenes("crun", postgres_url)
    with Ledger(postgres_url) as ledger:
        theirs = unwritten.leave_note(postgres_url, "res_of_somebody_else", "task-1")
        assert theirs is not None
        for number, said in enumerate(("", "{", "[]", '{"reservation": "res_1"}', "\x00\xff")):
            (theirs.path.parent / f"res_{number}.task").write_text(said)
        ours = ledger.mark_submitting(ledger.reserve("team", Money.parse("1 crun-credit")).id)
        unwritten.leave_note(postgres_url, ours.id, "task-2")
        assert [one.id for one in unwritten.take_down(ledger)] == [ours.id]
        assert ledger.reservations.get(ours.id).task_id == "task-2"
    assert theirs.path.exists()
    assert len(list(theirs.path.parent.iterdir())) == 6


def test_a_note_that_contradicts_the_ledger_stays_for_a_person(scenes: Scenes, postgres_url: str):
    scenes("crun", postgres_url)
    with Ledger(postgres_url) as ledger:
        made = ledger.mark_submitting(ledger.reserve("team", Money.parse("1 crun-credit")).id)
        ledger.mark_submitted(made.id, "task-1")
        note = unwritten.leave_note(postgres_url, made.id, "task-2")
        assert note is not None
        assert unwritten.take_down(ledger) == []
        assert ledger.reservations.get(made.id).task_id == "task-1"
        assert note.path.exists()


def test_a_recovery_goes_on_when_the_database_is_back(scenes: Scenes, postgres_url: str):
    scene = scenes("crun", postgres_url)
    with Ledger(postgres_url) as ledger:
        meter = scene.meter(ledger, asks_estimate=False)
        for number in range(20):
            asked = body("crun", f"row {number}")
            meter.submit(meter.reserve(asked), asked)
        known = ledger.reservations.open()
        cut(postgres_url)
        back_in(BACK_IN_S, postgres_url)
        with closing(meter.provider):
            recovery = Recovery(ledger, lambda _: meter, datetime.now(UTC), waits=True)
            found = [one.reservation for one in recovery.run(known)]
        assert {one.state for one in found} == {State.COMMITTED}
        scene.check_charged_once(ledger, 20)


# On the command line


def run_words(scene: Scene, folder: Path) -> list[str]:
    (folder / "body.json").write_text(json.dumps(body(scene.name)))
    words = ["run", "--provider", scene.name, "--request", "body.json", "--wallet", "team"]
    return [*words, *reach(scene)]


def reach(scene: Scene) -> list[str]:
    return ["--base-url", scene.address, "--poll-every", "0.05", "--timeout", "20"]


def check_told(cli: Cli, scene: Scene, said: Any, *, has_file: bool) -> Reservation:
    """The command says how to write the task, exits 5, and the next resume needs nobody's help."""
    [task_id] = scene.dialect.account.tasks
    assert said.code == 5, said.err
    with Ledger(cli.environ["KLING_LEDGER_DB"]) as ledger:
        [found] = ledger.reservations.latest()
    assert f"kling-ledger reservation submitted {found.id} {task_id}" in said.err
    assert ("kept in" in said.err) is has_file
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
@pytest.mark.parametrize(("limit", "has_file"), [(2000, True), (0, False)])
def test_a_full_disk_leaves_the_task_in_a_file_or_on_standard_error(
    scenes: Scenes, tmp_path: Path, limit: int, has_file: bool
):
    url = str(tmp_path / "ledger.sqlite")
    scene = scenes("crun", url)
    cli = Cli(tmp_path, {"KLING_LEDGER_DB": url, "CRUN_API_KEY": KEYS["crun"]})
    words = run_words(scene, tmp_path)
    started: list[Any] = []
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    def full() -> None:
        while not started:
            time.sleep(0.01)
        # Every write beyond so many bytes of a file fails from now on, as on a full disk.
        resource.prlimit(started[0].pid, resource.RLIMIT_FSIZE, (limit, hard))

    scene.front.does = full
    started.append(cli.start(*words))
    said = finish(started[0])
    found = check_told(cli, scene, said, has_file=has_file)
    if not has_file:
        cli("reservation", "submitted", found.id, next(iter(scene.dialect.account.tasks)))
    resumed = cli("resume", "--grace", "0", *reach(scene), "--format", "json")
    assert resumed.code == 0, resumed.err
    assert list(tmp_path.glob("*.task")) == []
    with Ledger(url) as ledger:
        scene.check_charged_once(ledger)


def test_resume_writes_down_by_itself_what_a_run_could_not(
    scenes: Scenes, postgres_url: str, tmp_path: Path
):
    scene = scenes("crun", postgres_url)
    environ = {
        "KLING_LEDGER_DB": postgres_url,
        "CRUN_API_KEY": KEYS["crun"],
        "XDG_DATA_HOME": str(tmp_path / "data"),
    }
    cli = Cli(tmp_path, environ)
    scene.front.does = lambda: cut(postgres_url)
    said = finish(cli.start(*run_words(scene, tmp_path)))
    let_in(postgres_url)
    found = check_told(cli, scene, said, has_file=True)
    resumed = cli("resume", "--grace", "0", *reach(scene), "--format", "json")
    assert resumed.code == 0, resumed.err
    assert f"recorded: {found.id} is task" in resumed.err
    assert list(unwritten.notes(postgres_url)) == []
    with Ledger(postgres_url) as ledger:
        scene.check_charged_once(ledger)


@pytest.mark.slow
def test_a_batch_says_that_the_database_is_away_and_goes_on(
    scenes: Scenes, postgres_url: str, tmp_path: Path
):
    scene = scenes("crun", postgres_url)
    environ = {
        "KLING_LEDGER_DB": postgres_url,
        "CRUN_API_KEY": KEYS["crun"],
        "XDG_DATA_HOME": str(tmp_path / "data"),
    }
    cli = Cli(tmp_path, environ)
    rows = [{"provider": "crun", "request": body("crun", f"row {at}")} for at in range(3)]
    (tmp_path / "clips.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def away() -> None:
        cut(postgres_url)
        # Longer than a task is written again before the batch begins anew with its row.
        back_in(sum(unwritten.PAUSES_S) + 2, postgres_url)

    scene.front.does = away
    said = cli("batch", "clips.jsonl", "--wallet", "team", *reach(scene), "--format", "json")
    assert said.code == 0, said.err
    assert said.json["done"] == 3
    assert "it is tried again" in said.err
    with Ledger(postgres_url) as ledger:
        scene.check_charged_once(ledger, 3)


# A batch outlives it


def outlived(scenes: Scenes, *, many: int, away_s: float, name: str) -> None:
    """Stop PostgreSQL in the middle of a batch and start it again: every job ends, none twice."""
    with stoppable_server() as server:
        scene = scenes(name, server.url)
        is_stopped = threading.Event()
        started: list[threading.Thread] = []

        def away() -> None:
            """Let the database go away, and let no later job be answered before it is gone."""
            if not started:
                started.append(threading.Thread(target=back))
                server.stop()
                is_stopped.set()
                started[0].start()
            is_stopped.wait(60)

        def back() -> None:
            time.sleep(away_s)
            server.start()

        scene.front.does, scene.front.begins_at, scene.front.times = away, many // 4, many
        with Ledger(server.url) as ledger:
            meter = scene.meter(ledger, asks_estimate=False)
            batch = batch_of(scene, meter, many, polls_per_s=1000, concurrency=8)
            outcomes = batch.run()
            started[0].join()
            meter.provider.close()
        assert len(outcomes) == many
        with Ledger(server.url) as again:
            jobs = again.reservations.latest(limit=1000)
            open_ones = [one for one in jobs if one.is_open]
            assert [(one.state, one.problem) for one in open_ones] == []
            scene.check_charged_once(again, many)
        assert {one.error for one in outcomes.values()} == {None}


@pytest.mark.parametrize("name", sampled(["crun", "runapi"], every=2))
def test_a_batch_outlives_a_database_that_is_stopped_for_a_while(scenes: Scenes, name: str):
    outlived(scenes, many=60, away_s=4, name=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["runapi", "crun"])
def test_a_batch_outlives_a_database_that_is_stopped_for_a_minute(scenes: Scenes, name: str):
    outlived(scenes, many=60, away_s=60, name=name)
