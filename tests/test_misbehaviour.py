"""Whatever a gateway does: after recovery and reconciliation the ledger says what is true.

Each seed is a script of misbehaviour that the sandbox plays to one job, the same on every machine.
A chunk of seeds is run by the meter, and every fifth of them by a batch; then the sandbox ends what
is open, recovery looks at what was left, and the provider's record, first task by task and then as
a bill, mends the rest. The sandbox alone knows the truth, and the ledger has to agree with it.

500 seeds for each gateway run every time. The longer sweep of 5,000:

    pytest -m slow tests/test_misbehaviour.py
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from kling_ledger import Ledger
from kling_ledger.evidence.apply import plan_of
from kling_ledger.evidence.entries import Entry
from kling_ledger.evidence.plan import Line, Verdict
from kling_ledger.evidence.reading import Answers
from kling_ledger.evidence.sources import BillFile, Compared, compare_bill, read
from kling_ledger.evidence.tasks import ask_tasks
from kling_ledger.jobs.batch import Batch
from kling_ledger.jobs.batch_jobs import BatchJob, attempts_to_do
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.recovery import Recovery
from kling_ledger.jobs.watch import Patience
from kling_ledger.ledger import Reservation
from kling_ledger.providers.base import Pacing
from kling_ledger.providers.registry import connect, provider_facts
from kling_ledger.sandbox import Sandbox, SandboxSettings, job_seed, script
from kling_pricing import Money
from kling_pricing.gateways import read_request
from tests.postgres import PostgresServer
from tests.sandbox_rig import PROVIDERS, body, plain_client
from tests.sweeps import sampled

SEEDS: Final = 250
MANY_SEEDS: Final = 5000
CHUNK: Final = 125
IN_BATCH: Final = 5
"""One seed in so many is run by the batch, all others by the meter."""

FUNDS: Final = 1_000_000
SEED: Final = "battery"
QUICK: Final = Patience(poll_every_s=0.01, longest_s=0.2, failing_polls=3, repeat_s=0)
SETTINGS: Final = SandboxSettings(
    hang_s=0.1,
    retry_after_s=0,
    job_s=0.02,
    balance=Money.parse("100000 USD"),
    misbehave=SEED,
)

every_provider = pytest.mark.parametrize("provider", PROVIDERS)


def prompt_of(number: int) -> str:
    return f"job {number}"


def told(prompt: str) -> str:
    """Name a job by its prompt, which follows from its seed, and by the markers that it drew."""
    return f"{prompt} {' '.join(script(job_seed(SEED, prompt)))}"


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch tries again at once what was refused for now: this sandbox has no limits to keep."""
    monkeypatch.setattr("kling_ledger.jobs.batch._PAUSE_S", 0.05)


@dataclass(frozen=True)
class Room:
    """One provider in a sandbox of its own, and a ledger whose wallet pays for its jobs."""

    provider: str
    sandbox: Sandbox
    ledger: Ledger
    meter: Meter
    http: httpx.Client
    folder: Path

    def body(self, number: int) -> dict[str, Any]:
        """A job's request: its prompt is its own, its length one of eight."""
        asked = body(self.provider, prompt_of(number))
        inner = asked.get("input", asked)
        inner["duration_seconds" if self.provider == "runapi" else "duration"] = 3 + number % 8
        return asked

    def truth(self) -> dict[str, Any]:
        address = f"{self.sandbox.url}/sandbox/truth?provider={self.provider}"
        found: dict[str, Any] = self.http.get(address).raise_for_status().json()
        return found

    def reservations(self) -> list[Reservation]:
        return self.ledger.reservations.at_provider(self.provider)

    def open(self) -> list[Reservation]:
        return self.ledger.reservations.open()

    # --- what is done to the jobs -----------------------------------------------------------

    def run_by_meter(self, numbers: list[int]) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: self.meter.run(self.body(number)), numbers))

    def run_by_batch(self, numbers: list[int]) -> None:
        jobs = []
        for number in numbers:
            request = read_request(self.provider, self.body(number))
            quoted = request.quote(
                at=datetime.now(UTC), book=self.meter.library.book(self.provider)
            )
            jobs.append(BatchJob(number, request, quoted, f"batch/{number}"))
        attempts = attempts_to_do(jobs, {})
        Batch({self.provider: self.meter}, attempts, concurrency=8, polls_per_s=1000).run()

    def recover(self) -> None:
        """End every job at the provider and look at what was left open; twice, as a repeated
        submission may have started a job that misbehaves in its turn."""
        for _ in range(2):
            self.sandbox.finish()
            recovery = Recovery(self.ledger, lambda _: self.meter, now=datetime.now(UTC), grace_s=0)
            list(recovery.run())
        self.sandbox.finish()

    def reconcile_tasks(self) -> list[Line]:
        def compared() -> list[Line]:
            return ask_tasks(self.reservations(), lambda _: self.meter)

        self._apply(compared(), "task")
        return compared()

    def reconcile_bill(self) -> list[Line]:
        """Take the provider's whole bill for the truth, once a person has answered what it asks."""
        self._say_lost_tasks()
        compared = self._compared()
        if compared.missing is not None:
            compared = self._compared(missing=compared.missing)
        self._apply(compared.lines, "bill.csv", compared.entries)
        for line in compared.lines:
            if line.verdict is Verdict.DUPLICATE and line.reservation and line.theirs:
                self._charge(line.reservation, line.theirs)
        found = self._compared().lines
        return [one for one in found if one.verdict is not Verdict.DUPLICATE]

    def _compared(self, *, missing: int | None = None) -> Compared:
        address = f"{self.sandbox.url}/sandbox/statement?provider={self.provider}"
        path = self.folder / "bill.csv"
        path.write_text(self.http.get(address).raise_for_status().text)
        place = self.meter.place
        file = BillFile(
            path,
            place.account or "",
            place.address,
            Answers(columns={"task_id": "task_id"}),
            is_complete=True,
            lag_s=0,
            missing=missing,
        )
        now = datetime.now(UTC) + timedelta(seconds=1)
        bill = read(self.ledger, self.provider, file)
        return compare_bill(self.ledger, self.provider, file, bill, now=now)

    def _say_lost_tasks(self) -> None:
        """Look every task up that got lost, as a person would: by the prompt of its job."""
        ours = self.reservations()
        known = {one.task_id for one in ours}
        lost = [one for one in ours if one.task_id is None]
        for task in self.truth()["tasks"]:
            its = [one for one in lost if _prompt(one) == task["prompt"]]
            if task["id"] not in known and its:
                # Of several attempts the one in doubt is it: the others were refused for certain.
                one = min(its, key=lambda found: not found.is_open)
                lost.remove(one)
                if one.is_open:
                    self.ledger.mark_submitted(one.id, task["id"])
                else:
                    self.ledger.record_task(one.id, task["id"])

    def _charge(self, one: Reservation, cost: Money) -> None:
        """Book both charges of a job, as a person would who has asked for the money back."""
        if one.is_open:
            self.ledger.commit(one.id, cost, settled_by="person")
        else:
            self.ledger.correct(one.id, cost, settled_by="person", reason="charged twice")

    def _apply(self, lines: list[Line], source: str, entries: Sequence[Entry] = ()) -> None:
        account = self.meter.place.account or ""
        self.ledger.evidence.apply(plan_of(self.provider, account, source, lines, entries))


@contextmanager
def room(provider: str, folder: Path, url: str | None = None) -> Iterator[Room]:
    settings = SETTINGS
    pacing = Pacing(sleep=lambda _: None, chance=lambda: 0.5)
    unit = provider_facts(provider).unit
    with (
        Sandbox(settings) as sandbox,
        Ledger(url or str(folder / "ledger.sqlite"), actor="tester") as ledger,
        plain_client() as http,
        closing(
            connect(
                provider,
                api_key=settings.key_of(provider),
                base_url=sandbox.url,
                timeout_s=5,
                pacing=pacing,
            )
        ) as reached,
    ):
        ledger.wallets.create("team", unit)
        ledger.wallets.fund("team", Money(Decimal(FUNDS), unit))
        meter = Meter(ledger, reached, wallet="team", patience=QUICK, asks_estimate=False)
        yield Room(provider, sandbox, ledger, meter, http, folder)


# --- the rules ------------------------------------------------------------------------------


def assert_true(there: Room) -> None:
    """The ledger says what really happened, job by job and in all."""
    truth = there.truth()
    account, tasks = truth["providers"][there.provider], truth["tasks"]
    ours = there.reservations()
    problems = [*_untrue(tasks, ours), *_doubted(ours), *_repeated(tasks)]
    spent = sum((_spent(one) for one in ours), Decimal(0))
    charged = Decimal(account["spent"])
    if spent != charged:
        problems.append(f"the provider charged {charged}, the ledger says {spent}")
    wallet = there.ledger.wallets.get("team")
    if wallet.posted.amount != FUNDS - charged or wallet.reserved.micro:
        problems.append(f"the wallet has {wallet.posted} and {wallet.reserved} reserved")
    problems += [str(finding) for finding in there.ledger.verify().findings]
    assert problems == [], "\n" + "\n".join(problems)


def _spent(one: Reservation) -> Decimal:
    return Decimal(0) if one.committed is None else (one.committed - one.refunded).amount


def _untrue(tasks: list[dict[str, Any]], ours: list[Reservation]) -> Iterator[str]:
    """Tell of each task whose charge is not in the ledger to the millionth, and of other money."""
    by_task = {one.task_id: one for one in ours if one.task_id is not None}
    for task in tasks:
        one = by_task.pop(task["id"], None)
        charged = Decimal(task["charged"])
        said = Decimal(0) if one is None else _spent(one)
        if said != charged:
            has = "no reservation has it" if one is None else f"{one.state} at {said}"
            yield f"{told(task['prompt'])}: charged {charged}, {has}"
    for one in ours:
        if one.task_id is None and _spent(one):
            yield f"{one.id} has no task and cost {_spent(one)}"
    for one in by_task.values():
        yield f"{one.id} has a task {one.task_id} that was never made"


def _doubted(ours: list[Reservation]) -> Iterator[str]:
    for one in ours:
        if one.is_open:
            yield f"{told(_prompt(one))}: {one.state}, {one.problem}"


def _repeated(tasks: list[dict[str, Any]]) -> Iterator[str]:
    """Tell of jobs that were submitted a second time and taken both times."""
    for prompt, count in Counter(task["prompt"] for task in tasks).items():
        if count > 1:
            yield f"{told(prompt)}: the provider took it {count} times"


def _prompt(one: Reservation) -> str:
    asked = json.loads(one.job.request or "{}")
    return str(asked.get("prompt") or asked.get("input", {}).get("prompt"))


def sweep(there: Room, numbers: range) -> None:
    by_batch = [number for number in numbers if number % IN_BATCH == 0]
    there.run_by_meter([number for number in numbers if number % IN_BATCH])
    there.run_by_batch(by_batch)
    there.recover()
    there.reconcile_tasks()
    standing = [line for line in there.reconcile_bill() if line.stands]
    assert standing == []
    assert_true(there)


@pytest.mark.parametrize("first", sampled(range(0, SEEDS, CHUNK), every=2))
@every_provider
def test_the_ledger_equals_the_truth_whatever_the_gateway_does(
    tmp_path: Path, provider: str, first: int
):
    with room(provider, tmp_path) as there:
        sweep(there, range(first, first + CHUNK))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, MANY_SEEDS, SEEDS))
@every_provider
def test_the_same_holds_for_thousands_of_scripts(tmp_path: Path, provider: str, first: int):
    with room(provider, tmp_path) as there:
        sweep(there, range(first, first + SEEDS))


@every_provider
def test_the_same_holds_on_postgresql(tmp_path: Path, provider: str, postgres: PostgresServer):
    with room(provider, tmp_path, postgres.new_database()) as there:
        sweep(there, range(25))


@pytest.mark.parametrize(
    "markers",
    [
        "[charge twice]",
        "[charge twice] [lose cut]",
        "[cost 0]",
        "[revive]",
        "[fail] [lose half]",
        "[never]",
        "[state archived]",
        "[refuse 500]",
        "[refuse hang]",
        "[lose hang] [cost 150%]",
        "[lose malformed] [revive] [poll cut 2]",
        "[poll 404 1]",
        "[malformed]",
    ],
)
@every_provider
def test_what_a_marker_asks_for_ends_in_the_truth_too(tmp_path: Path, provider: str, markers: str):
    with room(provider, tmp_path) as there:
        asked = body(provider, f"a lake {markers}")
        assert there.meter.run(asked).amount.micro > 0
        there.recover()
        there.reconcile_tasks()
        lines = there.reconcile_bill()
        assert [line for line in lines if line.stands] == []
        assert_true(there)
        # A bill outweighs what a task says of itself: asking again changes nothing.
        there.reconcile_tasks()
        assert_true(there)
