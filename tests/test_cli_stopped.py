"""Ctrl-C while a gateway asks to be left alone: commands end at once and tell what is left open."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from kling_ledger import Ledger, Money
from kling_ledger.ledger import State
from tests.cli import Cli, Said, finish
from tests.sandbox_rig import UNITS, body
from tests.waiting import until
from tests.witness.account import Account, Poll, Script
from tests.witness.gateway import Dialect
from tests.witness.server import serve
from tests.witness_ledger import GATEWAYS, KEYS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has another Ctrl-C")

WISH_S = 30
"""For how long the gateway asks to be left alone."""

WITHIN_S = 20.0
"""Within which a command has to end: a second, and room for a machine that has other work."""

MANY = 12


@dataclass(frozen=True)
class Scene:
    name: str
    cli: Cli
    address: str
    dialect: Dialect

    def words(self, *words: str) -> list[str]:
        return [*words, "--base-url", self.address, "--poll-every", "0.05", "--format", "json"]

    def manifest(self) -> list[str]:
        rows = [
            {"provider": self.name, "request": body(self.name, f"row {at}")} for at in range(MANY)
        ]
        (self.cli.folder / "clips.jsonl").write_text("\n".join(map(json.dumps, rows)))
        words = ["batch", "clips.jsonl", "--wallet", "team", "--concurrency", str(MANY)]
        return self.words(*words)

    def stopped(self, words: list[str], *, polls: int) -> tuple[Said, float]:
        """Start a command, stop it once the gateway was asked so often; say how long it took."""
        process = self.cli.start(*words)
        until(lambda: self.asked() >= polls or process.poll() is not None)
        assert process.poll() is None, finish(process)
        # Until what was answered has arrived, and the pause has begun.
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        said = finish(process)
        return said, time.monotonic() - began

    def asked(self) -> int:
        """How many polls were answered so far."""
        tasks = list(self.dialect.account.tasks.values())
        return sum(len(task.script.polls) - len(task.polls) for task in tasks)

    def left_open(self) -> set[str]:
        with Ledger(str(self.cli.database)) as ledger:
            assert ledger.verify().findings == ()
            return {one.id for one in ledger.reservations.open()}


@contextmanager
def scene(name: str, folder: Path) -> Iterator[Scene]:
    account = Account(100_000_000_000, remembers_keys=name == "runapi")
    dialect = GATEWAYS[name](account, KEYS[name], retry_after=str(WISH_S))
    account.next_job(Script(polls=(Poll.BUSY,) * 50))
    cli = Cli(folder, {f"{name.upper()}_API_KEY": KEYS[name]})
    with Ledger(str(cli.database)) as ledger:
        ledger.wallets.create("team", UNITS[name])
        ledger.wallets.fund("team", Money.parse(f"100000 {UNITS[name]}"))
    with serve(dialect) as address:
        yield Scene(name, cli, address, dialect)


@pytest.mark.parametrize("name", ["runapi", "crun"])
def test_a_run_ends_at_once_and_says_that_its_job_is_open(tmp_path: Path, name: str):
    with scene(name, tmp_path) as found:
        (tmp_path / "body.json").write_text(json.dumps(body(name)))
        words = found.words("run", "--provider", name, "--request", "body.json", "--wallet", "team")
        said, took_s = found.stopped(words, polls=1)
        assert took_s < WITHIN_S
        assert said.code == 5
        assert {said.json["id"]} == found.left_open()
        assert said.json["state"] == "submitted"
        assert said.json["id"] in said.err


@pytest.mark.parametrize("name", ["runapi", "crun"])
def test_a_batch_ends_at_once_and_counts_what_is_open(tmp_path: Path, name: str):
    with scene(name, tmp_path) as found:
        said, took_s = found.stopped(found.manifest(), polls=MANY)
        assert took_s < WITHIN_S
        assert said.code == 5
        assert said.json["running"] == len(found.left_open()) == MANY


@pytest.mark.parametrize("name", ["runapi", "crun"])
def test_a_resume_ends_at_once_and_names_each_job_that_is_open(tmp_path: Path, name: str):
    with scene(name, tmp_path) as found:
        _, _ = found.stopped(found.manifest(), polls=MANY)
        polls = found.asked()
        said, took_s = found.stopped(found.words("resume", "--grace", "0"), polls=polls + MANY)
        assert took_s < WITHIN_S
        assert said.code == 5
        rows = said.json
        assert {row["id"] for row in rows if row["state"] == State.SUBMITTED} == found.left_open()
        assert len(rows) == MANY
        assert "no open reservations" not in said.err
