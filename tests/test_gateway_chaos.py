"""64 clients, a sandbox that misbehaves, a gateway that is killed twice: the ledger is the truth.

Clients are plain `http.client`. What they were told is held to the sandbox's own truth, and every
limit to the journal: nothing of the gateway's code is in the arithmetic.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self

import psycopg
import pytest

from kling_ledger import Ledger, Scope
from kling_pricing import Money
from tests.gateway_witness import (
    KEYS,
    Program,
    authorised,
    command,
    finish,
    gateway_environ,
    make_ledger,
    rows,
    running,
    start,
    truth,
)
from tests.ledgers import plain_url
from tests.sandbox_rig import HOLDS, PATHS, PROVIDERS, UNITS, body

CLIENTS: Final = 64
TELL_COST: Final = ("runapi", "crun")
"""Who says with a job's end what it cost; elsewhere the quote or what was held is what is known."""
PHASES: Final = 3
"""How long the gateway lives three times: it is killed at the end of the first two."""
CLIPS: Final = 60
"""For how many clips each budget and, at first, each wallet is good: fewer than clients ask for."""


@dataclass
class Told:
    """What clients were told, all of them together."""

    taken: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The tasks that were named for a prompt."""
    statuses: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, prompt: str, what: str, task_id: str | None = None) -> None:
        with self.lock:
            self.statuses[what] += 1
            if task_id is not None:
                self.taken[prompt].add(task_id)

    @property
    def named(self) -> int:
        """How many tasks clients know."""
        with self.lock:
            return sum(map(len, self.taken.values()))


class Client:
    """One client: it creates jobs and asks for them, impatient, forgetful and at times rude."""

    def __init__(self, number: int, address: tuple[str, int], token: str, told: Told) -> None:
        self._number = number
        self._provider = PROVIDERS[number % len(PROVIDERS)]
        self._address = address
        self._token = token
        self._told = told
        self._chance = random.Random(number)  # noqa: S311 - it need not be a secret
        self._made = 0

    def run(self, is_over: threading.Event) -> None:
        while not is_over.is_set():
            with suppress(OSError, http.client.HTTPException):
                self._one(time.monotonic())

    def _one(self, now: float) -> None:
        self._made += 1
        prompt, headers = f"client {self._number} job {self._made}", {}
        if self._chance.random() < 0.2:
            # Several clients of a provider ask for the same under one key, at about the same time.
            prompt = f"shared {self._provider} {int(now * 2)}"
            headers = {"Idempotency-Key": prompt.replace(" ", "-")}
        reply = self._ask("POST", PATHS[self._provider][0], body(self._provider, prompt), headers)
        if reply is None:
            self._told.note(prompt, "nothing")
            time.sleep(0.2)
            return
        status, content = reply
        task_id = self._task_in(status, content)
        self._told.note(prompt, f"create {status}", task_id)
        for _ in range(self._chance.randrange(4) if task_id else 0):
            self._ask("GET", PATHS[self._provider][1].format(id=task_id))
            time.sleep(0.05)

    def _ask(
        self, method: str, path: str, said: object = None, more: dict[str, str] | None = None
    ) -> tuple[int, Any] | None:
        connection = http.client.HTTPConnection(*self._address, timeout=20)
        try:
            content = b"" if said is None else json.dumps(said).encode()
            headers = {**dict(authorised(self._provider, self._token)), **(more or {})}
            headers["Content-Type"] = "application/json"
            connection.request(method, f"/{self._provider}{path}", content or None, headers)
            if self._chance.random() < 0.05:
                return None
            reply = connection.getresponse()
            status, received = reply.status, reply.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        try:
            found = json.loads(received)
        except ValueError:
            return status, None
        if self._provider == "crun" and isinstance(found, dict):
            return int(found.get("code", status)), found
        return status, found

    def _task_in(self, status: int, content: Any) -> str | None:
        if status != 200 or not isinstance(content, dict):
            return None
        found = (content.get("data") or {}) if self._provider == "crun" else content
        return found.get("id") or found.get("task_id")


@dataclass
class Scene:
    """A sandbox, a ledger with limits that bind, and a gateway that comes back on its port."""

    folder: Path
    database: str
    sandbox: Program
    tokens: dict[str, str]
    port: int
    gateway: Program | None = None

    def start(self) -> None:
        words = ("gateway", "--port", str(self.port), "--upstream", self.sandbox.url)
        environ = gateway_environ(self.database)
        log = self.folder / "gateway.log"
        self.gateway = start(log, *words, "--poll-every", "0.2", "--timeout", "60", **environ)

    def kill(self) -> None:
        assert self.gateway is not None
        self.gateway.kill()

    def tasks(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {(one["provider"], one["id"]): one for one in truth(self.sandbox)["tasks"]}

    def reservations(self) -> list[dict[str, Any]]:
        return rows(
            self.database,
            "SELECT id, provider, state, task_id, reserved_micro, held_micro, committed_micro,"
            " request, problem FROM reservation",
        )

    def resume(self) -> None:
        for provider in PROVIDERS:
            said = ("--provider", provider, "--base-url", self.sandbox.url, "--grace", "0")
            pace = ("--poll-every", "0.05", "--timeout", "20", "--format", "json")
            ended = command("resume", *said, *pace, **gateway_environ(self.database))
            assert ended.returncode in {0, 4, 5}, ended.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def set_limits(database: str) -> None:
    """Give each provider's jobs a budget, and one day's of their token, smaller than is asked."""
    with Ledger(database) as ledger:
        for name, unit in UNITS.items():
            limit = Money(Money.parse(f"{HOLDS[name]} {unit}").amount * CLIPS, unit)
            ledger.budgets.set(f"{name}-all", limit, scope=Scope(provider=name))
            label = Scope(label=f"token={name}")
            ledger.budgets.set(f"{name}-day", limit, scope=label, window="day")


class Watch:
    """Looks at the rows of wallets and budgets all the while, as anybody may."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._stopped = threading.Event()
        self.looks = 0
        self.beyond: list[str] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(0.05):
            self.looks += 1
            for row in rows(self._database, STANDING):
                # Whatever a provider charged beyond what was held may stand beyond a limit.
                if row["used"] - row["beyond"] > row["most"]:
                    self.beyond.append(str(row))


JOURNAL: Final = """
    SELECT transfer.id, kind, wallet_id, amount_micro, debit_account, credit_account FROM transfer
    JOIN arrival ON arrival.transfer_id = transfer.id ORDER BY arrival.number
"""
BEYOND: Final = "('overrun', 'late_commit')"
STANDING: Final = f"""
    SELECT wallet.name AS name, wallet.reserved_micro AS used, wallet.posted_micro AS most,
        (SELECT COALESCE(SUM(amount_micro), 0) FROM transfer
         WHERE transfer.wallet_id = wallet.id AND kind IN {BEYOND}) AS beyond
    FROM wallet
    UNION ALL
    SELECT budget.name AS name, held_micro + spent_micro AS used, limit_micro AS most,
        (SELECT COALESCE(SUM(amount_micro), 0) FROM transfer
         JOIN reservation ON reservation.id = reservation_id
         WHERE kind IN {BEYOND} AND budget.name LIKE reservation.provider || '-%') AS beyond
    FROM budget_window JOIN budget ON budget.id = budget_id
"""


def number_transfers(database: str) -> None:
    """Let the database number transfers as they are posted: ids are drawn before that.

    Whoever posts one has to hold the rows of its budgets and its wallet when it is numbered, so
    that of each of them the numbers are the order in which it moved. On PostgreSQL rows are written
    before balances are taken, which may wait for another's: they are numbered at the COMMIT.
    """
    if database.startswith("postgresql"):
        with psycopg.connect(plain_url(database), autocommit=True) as server:
            server.execute("CREATE TABLE arrival (number BIGSERIAL, transfer_id TEXT)")
            server.execute(
                "CREATE FUNCTION arrived() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " INSERT INTO arrival (transfer_id) VALUES (NEW.id); RETURN NEW; END $$"
            )
            server.execute(
                "CREATE CONSTRAINT TRIGGER arrives AFTER INSERT ON transfer"
                " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION arrived()"
            )
        return
    with closing(sqlite3.connect(database, isolation_level=None)) as file:
        file.execute("CREATE TABLE arrival (number INTEGER PRIMARY KEY, transfer_id TEXT)")
        file.execute(
            "CREATE TRIGGER arrives AFTER INSERT ON transfer BEGIN"
            " INSERT INTO arrival (transfer_id) VALUES (NEW.id); END"
        )


def passed_limits(database: str) -> list[str]:
    """Walk the journal in its order; return where a wallet or a budget was passed."""
    limits = {row["name"]: row["limit_micro"] for row in rows(database, "SELECT * FROM budget")}
    wallets = {row["id"]: row["name"] for row in rows(database, "SELECT id, name FROM wallet")}
    available: Counter[str] = Counter()
    used: Counter[str] = Counter()
    forced: Counter[str] = Counter()
    passed = []
    for row in rows(database, JOURNAL):
        name, amount = wallets[row["wallet_id"]], row["amount_micro"]
        account = f"wallet/{row['wallet_id']}/available"
        if row["credit_account"] == account:
            available[name] += amount
        if row["debit_account"] == account:
            available[name] -= amount
        if row["kind"] in {"overrun", "late_commit"}:
            forced[name] += amount
        if row["kind"] in {"reserve", "overrun", "late_commit", "reopen"}:
            used[name] += amount
        if row["kind"] in {"return", "roll_back", "expire", "refund"}:
            used[name] -= amount
        if available[name] + forced[name] < 0:
            passed.append(f"wallet {name} at {row['id']}: {available[name]}")
        if name in UNITS and used[name] - forced[name] > limits[f"{name}-all"]:
            passed.append(f"budget {name} at {row['id']}: {used[name]}")
    return passed


@dataclass
class Compared:
    """Where the ledger and the sandbox differ, and what only a person or a bill can tell."""

    wrong: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)


def compare(scene: Scene, told: Told) -> Compared:
    """Hold every task to its reservation and every reservation to its task."""
    found, tasks = Compared(), scene.tasks()
    ours = scene.reservations()
    known = {(one["provider"], one["task_id"]): one for one in ours if one["task_id"]}
    for prompt, count in Counter(one["prompt"] for one in tasks.values()).items():
        if count > 1:
            found.wrong.append(f"submitted {count} times: {prompt}")
    for name, task in tasks.items():
        if name not in known:
            _compare_lost(found, task, ours)
    for one in ours:
        _compare_one(found, one, tasks)
    for prompt, named in told.taken.items():
        if len(named) > 1:
            found.wrong.append(f"{prompt} was said to be {named}")
        for task_id in named:
            if not any(task_id == known_id for _, known_id in known):
                found.wrong.append(f"told {task_id}, which the ledger does not know")
    return found


def _compare_lost(found: Compared, task: dict[str, Any], ours: Iterable[dict[str, Any]]) -> None:
    """A task that no reservation names: a person looks it up, if its credits are still held."""
    said = json.dumps(task["prompt"])
    held = [one for one in ours if one["provider"] == task["provider"] and said in one["request"]]
    if task["provider"] == "runapi" or not any(
        one["state"] == "in_doubt" and one["held_micro"] > 0 and not one["task_id"] for one in held
    ):
        found.wrong.append(f"lost: {task} beside {held}")
    found.counted["a task whose name was lost"] += 1


def _compare_one(
    found: Compared, one: dict[str, Any], tasks: dict[tuple[str, str], dict[str, Any]]
) -> None:
    state = one["state"]
    if state not in {"committed", "rolled_back", "in_doubt"}:
        found.wrong.append(f"still open: {one}")
    if one["task_id"] is None:
        if state == "committed":
            found.wrong.append(f"paid without a task: {one}")
        found.counted[f"{state} without a task"] += 1
        return
    task = tasks.get((one["provider"], one["task_id"]))
    if task is None:
        found.wrong.append(f"no such task: {one}")
        return
    if state == "in_doubt":
        if one["held_micro"] <= 0:
            found.wrong.append(f"in doubt, and nothing held: {one}")
        found.counted[f"in doubt, {one['provider']}: {one['problem']}"[:90]] += 1
    else:
        _compare_cost(found, one, task)


def _compare_cost(found: Compared, one: dict[str, Any], task: dict[str, Any]) -> None:
    charged = int(Decimal(task["charged"]) * 1_000_000)
    spent, script = one["committed_micro"] or 0, " ".join(task["script"])
    if spent == charged:
        return
    if one["state"] == "committed":
        is_told = one["provider"] in TELL_COST or "[cost" not in script
        what = "a cost that only a bill tells"
    else:
        is_told, what = "[revive" not in script, "failed, and charged later"
    if is_told:
        found.wrong.append(f"charged {charged}, by the ledger {one}, {script}")
    found.counted[what] += 1


def play(scene: Scene, tasks: int, seed: int) -> Told:
    """Let all clients loose, kill the gateway twice in the midst of it, and bring it back.

    Each time it lives until clients know so many tasks more, however long a machine takes for that.
    """
    told, chance = Told(), random.Random(seed)  # noqa: S311
    is_over = threading.Event()
    address = ("127.0.0.1", scene.port)
    clients = [
        Client(number, address, scene.tokens[PROVIDERS[number % 4]], told)
        for number in range(CLIENTS)
    ]
    threads = [threading.Thread(target=one.run, args=(is_over,), daemon=True) for one in clients]
    scene.start()
    for thread in threads:
        thread.start()
    try:
        for phase in range(PHASES):
            if phase > 0:
                scene.kill()
                scene.start()
            _fund_until(scene, told, told.named + tasks)
            time.sleep(chance.uniform(0, 0.3))
    finally:
        is_over.set()
    for thread in threads:
        thread.join()
    return told


def _fund_until(scene: Scene, told: Told, tasks: int) -> None:
    """Give the wallets a clip now and then: they never have enough, and never stand still."""
    with Ledger(scene.database) as ledger:
        while told.named < tasks:
            for name, unit in UNITS.items():
                ledger.wallets.fund(name, Money.parse(f"{HOLDS[name]} {unit}"))
            time.sleep(0.2)


@pytest.mark.parametrize(("tasks", "seed"), [(15, 1), pytest.param(60, 2, marks=pytest.mark.slow)])
def test_nothing_is_lost_and_no_limit_passed_whoever_fails(
    database_url: str, tmp_path: Path, tasks: int, seed: int
):
    tokens = make_ledger(database_url, amount="0.000001")
    number_transfers(database_url)
    set_limits(database_url)
    with Ledger(database_url) as ledger:
        for name, unit in UNITS.items():
            amount = Money.parse(f"{HOLDS[name]} {unit}").amount * CLIPS / 6
            ledger.wallets.fund(name, Money(amount, unit))
    words = ("sandbox", "--port", "0", "--job-seconds", "0.3", "--balance", "1000000 USD")
    more = ("--misbehave", str(seed), "--hang-seconds", "1")
    with ExitStack() as stack:
        sandbox = stack.enter_context(running(tmp_path / "sandbox.log", *words, *more))
        scene = Scene(tmp_path, database_url, sandbox, tokens, free_port())
        with Watch(database_url) as watch:
            try:
                told = play(scene, tasks, seed)
            finally:
                assert scene.gateway is not None
                scene.gateway.stop()
        finish(sandbox)
        scene.resume()
        found = compare(scene, told)
        print(len(scene.tasks()), told.statuses, found.counted, watch.looks)  # noqa: T201
        assert found.wrong == []
        assert watch.beyond == []
        assert passed_limits(database_url) == []
        assert len(scene.tasks()) >= PHASES * tasks
        assert watch.looks > 10
        said = scene.gateway.said
        assert not [one for one in (*KEYS.values(), *tokens.values()) if one in said]
        with Ledger(database_url) as ledger:
            assert ledger.verify().findings == ()
