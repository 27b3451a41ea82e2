"""Two people, two API keys, one ledger: each job is charged once, on the account that asked.

Seeded scripts: Ada and Ben run, batch, resume and call the library, two at a time; their processes
die at random points, and the other one goes on. The gateway knows two accounts and keeps the truth
of each; what the ledger says by account has to be that.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kling_ledger import Ledger
from kling_ledger.errors import KlingError
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.watch import Patience
from kling_ledger.ledger import Reservation, State
from kling_ledger.providers.registry import connect
from kling_pricing import Money
from tests.kill_worker import KillWorker, kill_worker_running
from tests.sandbox_rig import UNITS, body
from tests.sweeps import sampled
from tests.witness.account import Account
from tests.witness.gateway import Dialect
from tests.witness.server import Reply, Request, serve
from tests.witness_ledger import GATEWAYS

PEOPLE = ("ada", "ben")
FUNDS = "100000"
LATEST_POINT = 260
"""More than the points that a short command passes: some are not killed."""

Workers = dict[str, KillWorker]


@dataclass(frozen=True)
class TwoAccounts:
    """A gateway with an account for each person; a key opens its own account and no other."""

    dialects: dict[str, Dialect]

    def answer(self, request: Request) -> Reply:
        """Let the account answer whose key was sent."""
        allowed = [one for one in self.dialects.values() if one.is_allowed(request)]
        nobody = next(iter(self.dialects.values()))
        return (allowed[0] if allowed else nobody).answer(request)


def api_key(person: str) -> str:
    return f"ak_{person * 8}"


def new_dialect(gateway: str, person: str) -> Dialect:
    """An account of one person, whose tasks have names of its own."""
    account = Account(100_000_000_000, remembers_keys=gateway == "runapi")
    return GATEWAYS[gateway](account, api_key(person), lambda number: f"{person}-task-{number}")


@dataclass
class Script:
    """One script: who does what, drawn from its number."""

    number: int
    gateway: str
    folder: Path
    url: str
    dialects: dict[str, Dialect]
    workers: Workers
    random: Random
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Who asked for which prompt: each of them is to be charged at most once."""
    left: dict[str, list[list[str]]] = field(default_factory=lambda: {one: [] for one in PEOPLE})
    killed: int = 0

    def play(self) -> None:
        """Do a few things, two at a time, and let each person finish what is theirs."""
        for number in range(self.random.randint(2, 4)):
            doing = {person: self._drawn(person, number) for person in PEOPLE}
            with ThreadPoolExecutor(2) as both:
                self.killed += sum(both.map(self._do, doing, doing.values()))
        for person in PEOPLE:
            for words in self.left[person]:
                if self.random.random() < 0.5:
                    self._command(person, words, 0)
        # Whoever goes on with what they did not begin changes nothing of it.
        for person in (*reversed(PEOPLE), *PEOPLE):
            self._command(person, ["resume", *self._pace()], 0)

    def _drawn(self, person: str, number: int) -> tuple[list[str], int]:
        """Draw what a person does, and at which point it dies; 0 lets it come to its end."""
        prompt = f"{self.number}-{number} of {person}"
        what = self.random.choice(["run", "run", "batch", "resume", "library"])
        at = self.random.randint(1, LATEST_POINT) if self.random.random() < 0.7 else 0
        names = [f"{prompt} {one}" for one in ("one", "two")] if what == "batch" else [prompt]
        if what != "resume":
            self.asked.update((person, name) for name in names)
        return [what, *names], at

    def _do(self, person: str, drawn: tuple[list[str], int]) -> bool:
        (what, *prompts), at = drawn
        if what == "library":
            self._library(person, prompts[0], stage=at % 4)
            return False
        if what == "resume":
            return self._command(person, ["resume", *self._pace()], at)
        words = self._words(what, prompts)
        is_killed = self._command(person, words, at)
        if is_killed:
            self.left[person].append(words)
        return is_killed

    def _words(self, what: str, prompts: list[str]) -> list[str]:
        pay = ["--wallet", "team", "--format", "json", *self._pace()]
        file = self.folder / f"{prompts[0]}.jsonl"
        if what == "run":
            file.write_text(json.dumps(body(self.gateway, prompts[0])))
            asked = ["--provider", self.gateway, "--request", str(file), "--key", prompts[0]]
            return ["run", *asked, *pay]
        rows = [{"provider": self.gateway, "request": body(self.gateway, one)} for one in prompts]
        file.write_text("\n".join(map(json.dumps, rows)))
        return ["batch", str(file), "--polls-per-second", "1000", *pay]

    def _pace(self) -> list[str]:
        return ["--base-url", self.url, "--poll-every", "0.05", "--timeout", "20", "--grace", "0"]

    def _command(self, person: str, words: list[str], at: int) -> bool:
        environ = {
            "KLING_LEDGER_DB": str(self.folder / "ledger.sqlite"),
            "KLING_LEDGER_ACTOR": person,
            f"{self.gateway.upper()}_API_KEY": api_key(person),
        }
        folder = self.folder / person
        folder.mkdir(exist_ok=True)
        named = [words[0], "--account", person, *words[1:]]
        return self.workers[person](folder, environ, named, kill_at=at).is_killed

    def _library(self, person: str, prompt: str, *, stage: int) -> None:
        """Call the library, and leave it at a stage as a crash would; at the last, come to its end.

        What it raises is for a caller to see: nobody is refused here for want of credits.
        """
        asked = body(self.gateway, prompt)
        with Ledger(str(self.folder / "ledger.sqlite"), actor=person) as ledger:
            provider = connect(
                self.gateway, api_key=api_key(person), base_url=self.url, timeout_s=5
            )
            quick = Patience(poll_every_s=0.01, longest_s=20, sender_s=0)
            meter = Meter(ledger, provider, wallet="team", account=person, patience=quick)
            try:
                reservation = meter.reserve(asked, key=prompt)
                if stage == 1:
                    ledger.mark_submitting(reservation.id)
                if stage == 2:
                    meter.submit(reservation, asked)
                if stage == 3:
                    with suppress(KlingError):
                        meter.carry_on(reservation, asked)
            finally:
                provider.close()

    # The law.

    def check(self) -> None:
        """By the gateway's own truth: each job once, at who asked for it, and the same sums."""
        for dialect in self.dialects.values():
            dialect.account.finish()
        taken = Counter(
            (person, _prompt(task.body))
            for person, dialect in self.dialects.items()
            for task in dialect.account.tasks.values()
        )
        assert taken <= self.asked, f"script {self.number}: {taken - self.asked}"
        with Ledger(str(self.folder / "ledger.sqlite")) as ledger:
            assert ledger.verify().findings == ()
            jobs = ledger.reservations.latest(limit=1000)
        for person, dialect in self.dialects.items():
            self._check_account(person, dialect, [one for one in jobs if _is_of(one, person)])
        assert all(_is_of(one, "ada") or _is_of(one, "ben") for one in jobs)

    def _check_account(self, person: str, dialect: Dialect, jobs: list[Reservation]) -> None:
        told = f"script {self.number}, {person}"
        known = {one.task_id for one in jobs}
        lost = [task for task in dialect.account.tasks.values() if task.id not in known]
        still_open = [one for one in jobs if one.is_open]
        if self.gateway == "runapi":
            assert (lost, still_open) == ([], []), told
        # Where a submission cannot be repeated, its lost reply leaves one job in doubt, and its
        # credits with it.
        assert len(lost) <= len(still_open), told
        assert {one.state for one in still_open} <= {State.IN_DOUBT}, told
        charged = sum(task.charged for task in dialect.account.tasks.values())
        settled = sum(one.spent.micro for one in jobs)
        assert settled == charged - sum(task.charged for task in lost), told
        by_task = {one.task_id: one.spent.micro for one in jobs if one.task_id}
        for task in dialect.account.tasks.values():
            assert task in lost or by_task[task.id] == task.charged, told


def _is_of(found: Reservation, person: str) -> bool:
    return found.job.account == person


def _prompt(asked: Any) -> str:
    return str(asked.get("prompt") or asked["input"]["prompt"])


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with kill_worker_running() as ada, kill_worker_running() as ben:
        yield {"ada": ada, "ben": ben}


@pytest.fixture(scope="module")
def funded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A ledger for each gateway, with one wallet that pays for both people; to be copied."""
    made = {}
    for gateway in ("runapi", "crun"):
        made[gateway] = tmp_path_factory.mktemp(gateway) / "ledger.sqlite"
        with Ledger(str(made[gateway])) as ledger:
            ledger.wallets.create("team", UNITS[gateway])
            ledger.wallets.fund("team", Money.parse(f"{FUNDS} {UNITS[gateway]}"))
    return made


def played(number: int, workers: Workers, funded: dict[str, Path], folder: Path) -> Script:
    random = Random(f"two people {number}")  # noqa: S311 - nothing is secret here
    gateway = "crun" if number % 3 == 2 else "runapi"
    dialects = {person: new_dialect(gateway, person) for person in PEOPLE}
    folder.mkdir()
    shutil.copyfile(funded[gateway], folder / "ledger.sqlite")
    with serve(TwoAccounts(dialects)) as url:
        script = Script(number, gateway, folder, url, dialects, workers, random)
        script.play()
    script.check()
    return script


def check_many(
    numbers: range, workers: Workers, funded: dict[str, Path], folder: Path, *, least_killed: int
) -> None:
    ran = [played(number, workers, funded, folder / str(number)) for number in numbers]
    assert sum(script.killed for script in ran) >= least_killed
    taken = [len(dialect.account.tasks) for script in ran for dialect in script.dialects.values()]
    assert sum(taken) > len(ran), "hardly anything was sent: nothing was shown"


@pytest.mark.parametrize("part", sampled(range(3), every=2))
def test_each_job_of_two_people_is_charged_once_on_the_account_that_asked(
    workers: Workers, funded: dict[str, Path], tmp_path: Path, part: int
):
    check_many(range(part, 30, 3), workers, funded, tmp_path, least_killed=5)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(12))
def test_three_hundred_scripts_of_two_people(
    workers: Workers, funded: dict[str, Path], tmp_path: Path, part: int
):
    check_many(range(part, 300, 12), workers, funded, tmp_path, least_killed=10)
