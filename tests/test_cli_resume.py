"""`kling-ledger resume`: what was left open ends, or the next step is named for a person."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kling_ledger.ledger import State
from kling_ledger.sandbox import PROVIDERS
from kling_pricing import Money
from tests.cli import Cli, Said, finish
from tests.metering import SETTINGS, House, house
from tests.sandbox_rig import PRICES, body
from tests.waiting import until

KEYS = {f"{name.upper()}_API_KEY": SETTINGS.key_of(name) for name in PROVIDERS}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path, dict(KEYS))


@pytest.fixture
def here(cli: Cli) -> Iterator[House]:
    """A ledger where the command looks for it, and a sandbox that its jobs are at."""
    with house(str(cli.database)) as made:
        yield made


def resume(cli: Cli, *more: str) -> Said:
    return cli("resume", "--grace", "0", "--poll-every", "0.05", *more)


def test_everything_that_can_be_finished_is_finished(cli: Cli, here: House):
    here.reserved("crun")
    for provider in PROVIDERS:
        here.submitted(provider)
    lost = here.sent("runapi", "lost")
    here.sandbox.finish()
    said = resume(cli, "--format", "json")
    assert said.code == 0
    assert [row["did"] for row in said.json].count("ended: committed") == 5
    assert {row["state"] for row in said.json} == {"committed", "rolled_back"}
    assert here.state(lost) is State.COMMITTED
    assert len(here.tasks("runapi")) == 2
    assert here.standing("crun") == (PRICES["crun"], "0")
    assert "no open reservations" in resume(cli).err


def test_what_nobody_can_decide_stays_in_doubt_and_a_person_decides(cli: Cli, here: House):
    kept, given_up, dear = (here.sent("crun", prompt) for prompt in ("a lake", "a hill", "a sea"))
    said = resume(cli)
    assert said.code == 5
    assert f"kling-ledger reservation submitted {kept.id} TASK" in said.err
    assert len(here.tasks("crun")) == 3
    here.sandbox.finish()
    task_id = here.tasks("crun")[0]["id"]
    assert cli("reservation", "submitted", kept.id, task_id).code == 0
    assert cli("reservation", "rollback", given_up.id, "--reason", "not in the console").code == 0
    words = ("reservation", "commit", dear.id, "--amount", "140 crun-credit", "--reason", "invoice")
    assert cli(*words).code == 0
    assert resume(cli).code == 0
    assert [here.state(one) for one in (kept, given_up, dear)] == [
        State.COMMITTED,
        State.ROLLED_BACK,
        State.COMMITTED,
    ]
    assert here.ledger.reservations.get(dear.id).settled_by == "person"
    assert here.standing("crun") == ("275", "0")


def test_a_named_one_is_looked_at_however_young_it_is(cli: Cli, here: House):
    found, other = here.reserved("crun"), here.reserved("crun", "a hill")
    said = cli("resume", found.id, "--format", "json")
    assert (said.code, said.json["state"]) == (4, "rolled_back")
    assert here.state(other) is State.RESERVED


def test_what_is_young_is_left_alone(cli: Cli, here: House):
    found = here.submitting("runapi")
    said = cli("resume")
    assert said.code == 5
    assert "may still be in progress" in said.out
    assert here.state(found) is State.SUBMITTING
    assert here.tasks("runapi") == []


def test_only_one_providers_jobs_are_looked_at_where_it_is_named(cli: Cli, here: House):
    ours, other = here.submitted("crun"), here.submitted("evolink")
    here.sandbox.finish()
    assert resume(cli, "--provider", "crun").code == 0
    assert (here.state(ours), here.state(other)) == (State.COMMITTED, State.SUBMITTED)


def test_a_job_that_still_runs_is_waited_for_or_asked_for_once(cli: Cli, here: House):
    here.submitted("crun", "a lake [takes 3]")
    said = resume(cli, "--no-wait")
    assert (said.code, "it is still running" in said.out) == (5, True)
    assert resume(cli).code == 0


def test_the_key_of_one_provider_is_not_sent_to_another(cli: Cli, here: House):
    here.submitted("crun")
    here.submitted("evolink")
    said = resume(cli, "--api-key", SETTINGS.key_of("crun"))
    assert said.code == 2
    assert "--provider" in said.err
    here.sandbox.finish()
    words = ("--api-key", SETTINGS.key_of("crun"), "--provider", "crun")
    del cli.environ["CRUN_API_KEY"]
    assert resume(cli, *words).code == 0


def test_without_a_key_the_others_are_finished_and_this_one_is_told(cli: Cli, here: House):
    here.submitted("crun")
    here.submitted("evolink")
    here.sandbox.finish()
    del cli.environ["CRUN_API_KEY"]
    said = resume(cli, "--format", "json")
    assert said.code == 5
    rows = {row["provider"]: row for row in said.json}
    assert "CRUN_API_KEY" in rows["crun"]["problem"]
    assert rows["evolink"]["state"] == "committed"


def test_ctrl_c_ends_the_waiting_and_leaves_the_jobs_open(cli: Cli, here: House):
    for number in range(12):
        here.submitted("crun", f"a lake {number} [never]")
    process = cli.start("resume", "--grace", "0", "--poll-every", "0.05", "--format", "json")

    def is_polling() -> bool:
        assert process.poll() is None
        return bool(sum(task["polls"] for task in here.tasks("crun")) >= 30)

    until(is_polling)
    process.send_signal(signal.SIGINT)
    said = finish(process)
    assert said.code == 5
    assert "open jobs are unchanged" in said.err
    assert {one.state for one in here.ledger.reservations.open()} == {State.SUBMITTED}


def test_each_run_looks_first_at_what_was_left_open_at_the_same_provider(cli: Cli, here: House):
    left = here.submitted("runapi")
    other = here.submitted("crun")
    unsent = here.sent("crun", "lost")
    here.sandbox.finish()
    words = ("run", "--provider", "runapi", "--request", "-", "--wallet", "runapi")
    said = cli(*words, "--base-url", here.sandbox.url, stdin=json.dumps(body("runapi")))
    assert said.code == 0
    assert f"earlier job {left.id}: ended: committed" in said.err
    # At a sandbox all providers have one address: another one's jobs are left to its own runs.
    assert (here.state(other), here.state(unsent)) == (State.SUBMITTED, State.SUBMITTING)
    assert len(here.tasks("runapi")) == 2


def test_many_jobs_that_need_a_person_are_told_of_in_a_few_lines(cli: Cli, here: House):
    for number in range(5):
        here.ledger.mark_in_doubt(here.sent("crun", f"lost {number}").id, "no answer")
    old = here.ledger.reservations.latest()
    here.ledger.wallets.create("others", "crun-credit")
    here.ledger.wallets.fund("others", Money.parse("1000 crun-credit"))
    meter = replace(here.meter("crun"), wallet="others")
    theirs = here.ledger.mark_submitting(meter.reserve(body("crun", "theirs")).id)
    here.ledger.mark_in_doubt(theirs.id, "no answer")
    # Where a key is known again they would be sent again.
    words = ("run", "--provider", "crun", "--request", "-", "--wallet", "crun")
    said = cli(*words, "--base-url", here.sandbox.url, stdin=json.dumps(body("crun", "a hill")))
    assert theirs.id not in said.err
    assert sum(f"earlier job {one.id}: " in said.err for one in old) == 3
    assert "2 more jobs need a person: kling-ledger resume" in said.err


BODY = """{"model": "kling-3.0", "prompt": "a hill", "duration_seconds": 5,
"output_resolution": "720p"}"""
