"""`kill -9` of `run` and of `batch`, wherever they are: nothing is sent twice, nothing is lost.

Each time a process dies at another point of its way; then `resume`, the same command again, and
`reconcile --apply` with the provider's complete bill. The ledger has to say what the provider
knows. The sandbox goes on all the while: prompts tell the jobs of one time from another's.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from kling_ledger import Ledger
from kling_ledger.ledger import Reservation, State
from kling_ledger.sandbox import Sandbox, SandboxSettings
from kling_pricing import Money
from tests.kill_worker import Ended, KillWorker, kill_worker_running
from tests.sandbox_rig import PRICES, PROVIDERS, UNITS, body
from tests.sweeps import sampled

FUNDS = 100
REPEATABLE = ("runapi",)
"""Who takes a key with a submission, so that it can be sent again."""


@pytest.fixture(scope="module")
def worker() -> Iterator[KillWorker]:
    with kill_worker_running() as running:
        yield running


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    rich = Money(Decimal(100_000), "USD")
    with Sandbox(SandboxSettings(job_s=0.05, balance=rich)) as running:
        yield running


@pytest.fixture(scope="module")
def funded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with a wallet of each provider's unit, to be copied."""
    path = tmp_path_factory.mktemp("funded") / "ledger.sqlite"
    with Ledger(str(path)) as ledger:
        for provider in PROVIDERS:
            ledger.wallets.create(provider, UNITS[provider])
            amount = Decimal(PRICES[provider]) * FUNDS
            ledger.wallets.fund(provider, Money(amount, UNITS[provider]))
    return path


@dataclass(frozen=True)
class Scene:
    """One ledger, one provider, and the jobs of one prompt."""

    worker: KillWorker
    sandbox: Sandbox
    provider: str
    folder: Path
    prompt: str

    def command(self, *words: str, kill_at: int = 0, has_key: bool = True) -> Ended:
        """Run a command on this ledger."""
        environ = {"KLING_LEDGER_DB": str(self.folder / "ledger.sqlite")}
        key = self.sandbox.settings.key_of(self.provider) if has_key else ""
        environ[f"{self.provider.upper()}_API_KEY"] = key
        return self.worker(self.folder, environ, words, kill_at=kill_at)

    def run(self, *, kill_at: int = 0) -> Ended:
        (self.folder / "body.json").write_text(json.dumps(body(self.provider, self.prompt)))
        words = ["run", "--provider", self.provider, "--request", "body.json"]
        words += ["--key", "shot", "--grace", "0"]
        return self.command(*words, *self._options(), kill_at=kill_at)

    def batch(self, *, kill_at: int = 0) -> Ended:
        rows = [
            {"provider": self.provider, "request": body(self.provider, f"{self.prompt} {name}")}
            for name in ("one", "two", "three [fail]")
        ]
        (self.folder / "clips.jsonl").write_text("\n".join(map(json.dumps, rows)))
        words = ["batch", "clips.jsonl", "--concurrency", "2", "--grace", "0"]
        paced = ["--polls-per-second", "1000"]
        return self.command(*words, *paced, *self._options(), kill_at=kill_at)

    def resume(self) -> Ended:
        return self.command("resume", "--grace", "0", *self._reach(), "--format", "json")

    def reconcile(self) -> Ended:
        """Reconcile with the whole bill of these jobs, once a person has answered what it asks."""
        self._say_lost_tasks()
        ended = self._reconciled()
        asked = re.search(r"--missing (\d+)", ended.err)
        return self._reconciled("--missing", asked[1]) if asked else ended

    def _say_lost_tasks(self) -> None:
        """Look every task up that got lost, as a person would: by the prompt of its job."""
        with Ledger(str(self.folder / "ledger.sqlite")) as ledger:
            ours = ledger.reservations.latest()
            known = {one.task_id for one in ours}
            for task in self.tasks():
                for one in ours if task["id"] not in known else ():
                    request = one.job.request or "{}"
                    if one.task_id is None and one.is_open and f'"{task["prompt"]}"' in request:
                        ledger.mark_submitted(one.id, task["id"])
                        break

    def _reconciled(self, *more: str) -> Ended:
        ours = {task["id"] for task in self.tasks()}
        bill = httpx.get(f"{self.sandbox.url}/sandbox/statement?provider={self.provider}").text
        rows = csv.DictReader(io.StringIO(bill))
        with (self.folder / "bill.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows.fieldnames or ())
            writer.writeheader()
            writer.writerows(row for row in rows if row["task_id"] in ours)
        words = ["reconcile", "--provider", self.provider, "--statement", "bill.csv", "--complete"]
        words += ["--from", "2020-01-01", "--to", datetime.now(UTC).isoformat(), *more]
        # Without a key nobody asks for the account's balance, which other scenes move meanwhile.
        words += ["--base-url", self.sandbox.url, "--lag-hours", "0", "--apply"]
        return self.command(*words, has_key=False)

    def tasks(self) -> list[dict[str, Any]]:
        """Return the tasks that the provider really took for these jobs."""
        truth = httpx.get(f"{self.sandbox.url}/sandbox/truth?provider={self.provider}").json()
        return [task for task in truth["tasks"] if task["prompt"].startswith(self.prompt)]

    def reservations(self) -> list[Reservation]:
        with Ledger(str(self.folder / "ledger.sqlite")) as ledger:
            return ledger.reservations.latest()

    def assert_ledger_is_the_truth(self) -> None:
        """The wallet paid what the provider charged, each job once, and nothing is left open."""
        tasks = self.tasks()
        charged = sum(Decimal(task["charged"]) for task in tasks)
        with Ledger(str(self.folder / "ledger.sqlite")) as ledger:
            assert ledger.verify().findings == ()
            wallet = ledger.wallets.get(self.provider)
            ours = ledger.reservations.latest()
        assert wallet.spent.amount == charged
        assert wallet.reserved.micro == 0
        assert len({task["prompt"] for task in tasks}) == len(tasks), "a job was submitted twice"
        paid = {one.task_id: one.committed for one in ours if one.state is State.COMMITTED}
        due = {task["id"]: Decimal(task["charged"]) for task in tasks if task["times_charged"]}
        assert {name: money.amount for name, money in paid.items() if money} == due

    def _reach(self) -> list[str]:
        return ["--base-url", self.sandbox.url, "--poll-every", "0.05", "--timeout", "20"]

    def _options(self) -> list[str]:
        return ["--wallet", self.provider, *self._reach(), "--format", "json"]


class Stage:
    """Makes scenes: each begins with a funded ledger and a prompt that nobody used before."""

    def __init__(self, worker: KillWorker, sandbox: Sandbox, funded: Path, folder: Path) -> None:
        self._worker = worker
        self._sandbox = sandbox
        self._funded = funded
        self._folder = folder

    def scene(self, provider: str, name: str) -> Scene:
        folder = self._folder / name
        folder.mkdir()
        shutil.copyfile(self._funded, folder / "ledger.sqlite")
        prompt = f"{self._folder.name} {name}:"
        return Scene(self._worker, self._sandbox, provider, folder, prompt)


@pytest.fixture
def stage(
    worker: KillWorker, sandbox: Sandbox, funded: Path, tmp_path_factory: pytest.TempPathFactory
) -> Stage:
    return Stage(worker, sandbox, funded, tmp_path_factory.mktemp("stage"))


def points_of(stage: Stage, provider: str, command: str) -> list[str]:
    """Return the points of a command that nobody kills."""
    scene = stage.scene(provider, "whole")
    ended: Ended = getattr(scene, command)()
    assert ended.code == (0 if command == "run" else 4), ended.err
    scene.assert_ledger_is_the_truth()
    assert "before a request" in ended.points
    return ended.points


def swept(points: Sequence[str], step: int, *, calls: bool = False) -> list[int]:
    """Return the points to die at: every so many, and wherever a call to the provider goes on."""
    every = set(range(1, len(points) + 1, step))
    if not calls:
        return sorted(every)
    before = zip(["", *points], points, strict=False)
    turns = [at for at, (was, now) in enumerate(before, 1) if was != now]
    return sorted(every | {at for at in turns if points[at - 1].endswith(("request", "reply"))})


def assert_told_what_to_do(scene: Scene, resumed: Ended) -> None:
    """Whatever is in doubt for good names the next step."""
    for row in resumed.json:
        if row["state"] == "in_doubt":
            assert "kling-ledger reservation" in row["to_do"], row


def kill_run(scene: Scene, at: int) -> bool:
    """Kill a run at a point, finish it in one of two ways, and say whether it was killed."""
    if not scene.run(kill_at=at).is_killed:
        return False
    if at % 2:
        assert_told_what_to_do(scene, scene.resume())
    again = scene.run()
    if scene.provider in REPEATABLE:
        assert again.code in {0, 4}, again.err
        [ours] = scene.reservations()
        assert len(scene.tasks()) == (1 if ours.state is State.COMMITTED else 0)
        assert at % 2 or ours.state is State.COMMITTED
    else:
        assert_told_what_to_do(scene, scene.resume())
    assert scene.reconcile().code == 0
    scene.assert_ledger_is_the_truth()
    return True


def kill_batch(scene: Scene, at: int) -> bool:
    """Kill a batch at a point, go on with it in one of two ways; say whether it was killed."""
    if not scene.batch(kill_at=at).is_killed:
        return False
    if at % 2:
        assert_told_what_to_do(scene, scene.resume())
    again = scene.batch()
    if scene.provider in REPEATABLE:
        assert again.code == 4, again.err
        found = [again.json[name] for name in ("done", "failed", "in_doubt")]
        assert found == [2, 1, 0]
        assert len(scene.tasks()) == 3
    else:
        assert again.code in {4, 5}, again.err
        in_doubt = again.json["in_doubt"]
        assert len(scene.tasks()) >= 3 - in_doubt
        assert_told_what_to_do(scene, scene.resume())
    results = (scene.folder / "clips.jsonl.results.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in results] == [1, 2, 3]
    assert scene.reconcile().code == 0
    scene.assert_ledger_is_the_truth()
    return True


KILLING = {"run": kill_run, "batch": kill_batch}


def sweep(stage: Stage, provider: str, command: str, step: int) -> int:
    """Kill a command at its points; return how often it was killed."""
    points = points_of(stage, provider, command)
    at_once = [
        KILLING[command](stage.scene(provider, str(at)), at)
        for at in swept(points, step, calls=command == "run")
    ]
    return sum(at_once)


@pytest.mark.parametrize(
    ("provider", "command", "step"),
    sampled(
        [
            ("runapi", "run", 80),
            ("evolink", "run", 120),
            ("runapi", "batch", 26),
            ("crun", "batch", 26),
            ("crun", "run", 80),
            ("uniall", "run", 120),
        ],
        every=3,
    ),
)
def test_whoever_is_killed_leaves_what_can_be_finished(
    stage: Stage, provider: str, command: str, step: int
) -> None:
    assert sweep(stage, provider, command, step) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "batch"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_there_is_no_point_at_which_to_be_killed(stage: Stage, provider: str, command: str) -> None:
    assert sweep(stage, provider, command, 1) >= 40
