"""The command line against the witness: what it books, and what it exits with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.witness.account import Create, End, Poll, Script
from tests.witness_ledger import (
    KEYS,
    NAMES,
    REQUESTS,
    TYPICAL,
    WALLET,
    Bench,
    Opens,
    charged,
    check_agrees,
    check_given_back,
    check_in_doubt,
    opening,
)

COMMAND = str(Path(sys.executable).with_name("kling-ledger"))

DONE = 0
BAD_INPUT = 2
REFUSED_BY_US = 3
FAILED = 4
IN_DOUBT = 5
CHARGED_WITHOUT_CLIP = 8
"""Exit codes, as the reference has them."""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opens]:
    with opening(tmp_path) as opens:
        yield opens


@dataclass(frozen=True)
class Said:
    """What a finished command left behind."""

    code: int
    out: str
    err: str

    @property
    def job(self) -> dict[str, Any]:
        """The reservation that it printed."""
        printed: dict[str, Any] = json.loads(self.out)
        return printed


def command(found: Bench, *words: str) -> Said:
    """Run the command on a bench's ledger, with the gateway's key in the environment."""
    environment = {
        **os.environ,
        "KLING_LEDGER_DB": str(found.path),
        f"{found.name.upper()}_API_KEY": KEYS[found.name],
    }
    finished = subprocess.run(
        [COMMAND, *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return Said(finished.returncode, finished.stdout, finished.stderr)


def run(found: Bench, script: Script | None = None, *more: str, request: str = "") -> Said:
    """Run one request from its file by a script."""
    found.account.next_job(script or Script())
    body = request or str(REQUESTS / f"{TYPICAL[found.name]}.json")
    return command(
        found,
        *("run", "--provider", found.name, "--request", body, "--wallet", WALLET),
        *("--base-url", found.url, "--poll-every", "0.05", "--format", "json", *more),
    )


def only_job(found: Bench) -> Any:
    (job,) = found.reservations()
    return job


@pytest.mark.parametrize("name", NAMES)
def test_a_job_that_is_done_exits_with_0_and_costs_what_was_charged(
    opened: Opens, name: str
) -> None:
    found = opened(name)
    said = run(found, Script(polls=(Poll.WAIT, Poll.WORK)))
    assert said.code == DONE, said.err
    check_agrees(found, only_job(found))
    assert said.job["state"] == "committed"


@pytest.mark.parametrize("name", ["evolink", "runapi"])
def test_a_job_that_failed_exits_with_4_and_its_credits_are_back(opened: Opens, name: str) -> None:
    found = opened(name)
    said = run(found, Script(end=End.FAILED))
    assert said.code == FAILED, said.err
    check_given_back(found, only_job(found))


@pytest.mark.parametrize(("name", "settled"), [("crun", 301_500_000), ("runapi", 1)])
def test_a_job_that_cost_more_or_less_is_booked_at_that(
    opened: Opens, name: str, settled: int
) -> None:
    found = opened(name)
    said = run(found, Script(settled=settled))
    assert said.code == DONE, said.err
    check_agrees(found, only_job(found))


def test_a_failure_that_was_charged_does_not_exit_as_one_that_was_not(opened: Opens) -> None:
    found = opened("crun")
    said = run(found, Script(end=End.FAILED_AND_CHARGED, settled=35_000_000))
    check_agrees(found, only_job(found))
    assert said.code == CHARGED_WITHOUT_CLIP, "4 says that its credits came back"


@pytest.mark.parametrize("name", ["crun", "uniall"])
def test_a_lost_reply_exits_with_5_and_keeps_the_credits(opened: Opens, name: str) -> None:
    found = opened(name)
    said = run(found, Script(create=(Create.TAKE_AND_CUT,)))
    assert said.code == IN_DOUBT, said.err
    check_in_doubt(found, only_job(found))


def test_a_time_out_exits_with_5_and_resume_books_the_end(opened: Opens) -> None:
    found = opened("crun")
    said = run(found, Script(polls=(Poll.WORK,) * 8), "--timeout", "0.2")
    assert said.code == IN_DOUBT, said.err
    check_in_doubt(found, only_job(found))
    resumed = command(found, "resume", "--wait", "--grace", "0", "--poll-every", "0.05")
    check_agrees(found, only_job(found))
    assert resumed.code == DONE, resumed.err


@pytest.mark.parametrize("name", ["crun", "evolink"])
def test_an_account_that_is_empty_at_the_gateway_exits_with_4(opened: Opens, name: str) -> None:
    found = opened(name)
    found.account.funded = 1
    said = run(found)
    assert said.code == FAILED, said.err
    check_given_back(found, only_job(found))


def test_a_wallet_that_holds_too_little_exits_with_3_and_asks_for_no_task(
    opened: Opens,
) -> None:
    found = opened("runapi", funded="0.674999")
    assert run(found).code == REFUSED_BY_US
    assert found.account.bodies == []
    assert found.reservations() == []


def test_a_ceiling_exits_with_3_and_asks_for_no_task(opened: Opens) -> None:
    found = opened("crun")
    assert run(found, None, "--max-cost", "269 crun-credit").code == REFUSED_BY_US
    assert found.account.bodies == []


def test_a_body_with_a_key_twice_exits_with_2_and_asks_for_no_task(opened: Opens) -> None:
    found = opened("crun")
    twice = str(REQUESTS / "crun_element_duplicate_keys.json")
    assert run(found, request=twice).code == BAD_INPUT
    assert found.account.bodies == []


def test_the_same_key_again_is_the_same_job(opened: Opens) -> None:
    found = opened("evolink")
    assert run(found, None, "--key", "shot-7").code == DONE
    assert run(found, None, "--key", "shot-7").code == DONE
    check_agrees(found, only_job(found))
    assert command(found, "verify").code == DONE


@pytest.mark.parametrize("name", ["crun", "runapi"])
def test_what_was_booked_agrees_with_the_gateways_own_record(opened: Opens, name: str) -> None:
    found = opened(name)
    for settled in (None, 400_000, 900_000):
        found.run(Script(settled=settled))
    found.run(Script(end=End.FAILED))
    said = command(found, "reconcile", "--provider", name, "--base-url", found.url)
    assert said.code == DONE, said.out + said.err
    assert sum(charged(job) for job in found.reservations()) == found.account.charged
