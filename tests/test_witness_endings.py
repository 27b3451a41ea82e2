"""Ends that contradict themselves, at each gateway: what they book and what the command says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.ledger import Reservation
from tests.test_witness_command import command, only_job, run
from tests.witness.account import Create, End, Script, Task
from tests.witness.crun import Crun
from tests.witness.evolink import EvoLink
from tests.witness.gateway import Dialect
from tests.witness.runapi import RunApi
from tests.witness.server import Reply, Request
from tests.witness.uniall import UniAll
from tests.witness_ledger import (
    KEYS,
    REQUESTS,
    TYPICAL,
    WALLET,
    Bench,
    Opens,
    check_agrees,
    check_in_doubt,
    check_rules,
    opening,
)

DONE, FAILED, IN_DOUBT, WITHOUT_CLIP = 0, 4, 5, 8
BROKEN = {"code": "generation_failed", "message": "it broke"}


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opens]:
    with opening(tmp_path) as opens:
        yield opens


def said_of(reply: Reply, **more: Any) -> Reply:
    """Return a reply with other fields at its top; None takes one away."""
    content = {**reply.content, **more}
    return replace(reply, content={name: one for name, one in content.items() if one is not None})


class BrokenEvoLink(EvoLink):
    def told(self, task: Task, word: str, end: End | None) -> Reply:
        return said_of(super().told(task, word, end), results=[], error=BROKEN)


class TellingEvoLink(BrokenEvoLink):
    """It repeats in the task what it reserved, which is what it charges."""

    def told(self, task: Task, word: str, end: End | None) -> Reply:
        usage = self.taken(task).content["usage"]
        return said_of(super().told(task, word, end), usage=usage)


class SilentEvoLink(EvoLink):
    """It says at no time what it reserved."""

    def taken(self, task: Task) -> Reply:
        return said_of(super().taken(task), usage=None)


class BrokenUniAll(UniAll):
    def told(self, task: Task, word: str, end: End | None) -> Reply:
        return said_of(super().told(task, word, end), video_url=None, error=BROKEN)


class BrokenRunApi(RunApi):
    def told(self, task: Task, word: str, end: End | None) -> Reply:
        return said_of(super().told(task, word, end), videos=[], usage=None, error="it broke")


class BrokenCrun(Crun):
    def told(self, task: Task, word: str, end: End | None) -> Reply:
        said = super().told(task, word, end)
        data = {**said.content["data"], "result": {"code": 501, "message": "it broke"}}
        return said_of(said, data=data)


class FreeCrun(BrokenCrun):
    """Completed with an error, and not charged."""

    def told(self, task: Task, word: str, end: End | None) -> Reply:
        said = super().told(task, word, end)
        return said_of(said, data={**said.content["data"], "credits": 0})


class FailingWithClip(UniAll):
    def told(self, task: Task, word: str, end: End | None) -> Reply:
        link = f"https://files.example/{task.id}.mp4"
        return said_of(super().told(task, word, end), video_url=link)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("uniall", BrokenUniAll), ("evolink", BrokenEvoLink), ("runapi", BrokenRunApi)],
)
def test_completed_with_an_error_and_without_a_cost_is_in_doubt_with_its_reason(
    opened: Opens, name: str, kind: type[Dialect]
) -> None:
    found = opened(name, kind=kind)
    assert run(found).code == IN_DOUBT
    job = only_job(found)
    check_in_doubt(found, job)
    assert job.problem.startswith("it is completed, but with an error: ")
    assert "it broke" in job.problem
    assert job.problem.endswith("; it is completed, but has no clip")


@pytest.mark.parametrize(("name", "kind"), [("evolink", TellingEvoLink), ("crun", BrokenCrun)])
def test_completed_with_an_error_and_a_cost_is_charged_and_exits_with_8(
    opened: Opens, name: str, kind: type[Dialect]
) -> None:
    found = opened(name, kind=kind)
    said = run(found)
    assert said.code == WITHOUT_CLIP, said.err
    job = only_job(found)
    check_agrees(found, job)
    assert job.settled_by == "provider"
    assert "it broke" in said.err


def test_completed_at_nothing_without_a_clip_exits_with_4_because_all_came_back(
    opened: Opens,
) -> None:
    found = opened("crun", kind=FreeCrun)
    assert run(found, Script(settled=0)).code == FAILED
    check_agrees(found, only_job(found))


def test_a_failure_with_a_clip_is_in_doubt_and_keeps_the_clip(opened: Opens) -> None:
    found = opened("uniall", kind=FailingWithClip)
    assert run(found, Script(end=End.FAILED)).code == IN_DOUBT
    job = only_job(found)
    check_in_doubt(found, job)
    assert len(job.videos) == 1


def test_evolink_that_says_nothing_of_money_is_booked_by_quote(opened: Opens) -> None:
    found = opened("evolink", kind=SilentEvoLink)
    assert run(found).code == DONE
    check_agrees(found, only_job(found))
    assert only_job(found).settled_by == "quote"


# What EvoLink reserved is held at once.


def begun(found: Bench, reserved: int) -> Reservation:
    found.account.next_job(Script(reserved=reserved))
    found.leave("job", sends=True)
    return found.of_keys(["job"])["job"]


@pytest.mark.parametrize("reserved", [13_500_000, 27_000_000, 108_000_000])
def test_what_evolink_reserved_is_held_before_the_job_runs(opened: Opens, reserved: int) -> None:
    found = opened("evolink")
    job = begun(found, reserved)
    assert (job.state, job.held.micro) == ("submitted", reserved)
    assert job.provider_held is not None
    assert found.standing() == (0, reserved)


def test_more_than_the_wallet_has_is_held_all_the_same(opened: Opens) -> None:
    found = opened("evolink", funded="30")
    job = begun(found, 108_000_000)
    assert found.standing() == (0, 108_000_000)
    assert job.problem == "reserved 108 evolink-credit, 4 x what was held (27 evolink-credit)"
    assert run(found).code == 3
    found.recover()
    check_rules(found)
    ended = found.reservation(job.id)
    assert (ended.spent.micro, ended.settled_by) == (108_000_000, "provider")


def test_what_was_reserved_above_the_ceiling_is_said(opened: Opens) -> None:
    found = opened("evolink")
    said = run(found, Script(reserved=30_000_000), "--max-cost", "28 evolink-credit")
    assert said.code == DONE
    assert "above the ceiling of 28 evolink-credit" in said.err
    check_agrees(found, only_job(found))


@pytest.mark.parametrize("reserved", [200_000, 27_000_000 * 10_000])
def test_a_reservation_of_another_scale_is_told_and_not_held(opened: Opens, reserved: int) -> None:
    found = opened("evolink")
    found.account.funded = 10**15
    job = begun(found, reserved)
    assert job.held == job.amount
    assert "27 evolink-credit stays held" in (job.problem or "")


# A batch.


def batch(found: Bench, *rows: Script) -> Any:
    body = json.loads((REQUESTS / f"{TYPICAL[found.name]}.json").read_text())
    manifest = found.path.with_name("clips.jsonl")
    lines = [
        {"provider": found.name, "request": {**body, "prompt": f"clip {number}"}}
        for number, _ in enumerate(rows)
    ]
    manifest.write_text("\n".join(json.dumps(line) for line in lines))
    found.account.next_job(rows[0])
    return command(
        found,
        *("batch", str(manifest), "--wallet", WALLET, "--base-url", found.url),
        *("--poll-every", "0.05", "--format", "json"),
    )


def test_rows_that_were_charged_without_a_clip_are_counted_and_exit_with_8(opened: Opens) -> None:
    found = opened("evolink", kind=TellingEvoLink)
    said = batch(found, Script(), Script())
    assert said.code == WITHOUT_CLIP, said.err
    summary = json.loads(said.out)
    assert (summary["done"], summary["failed"], summary["charged_without_clip"]) == (0, 0, 2)
    assert "2 charged, without a clip" in said.err
    check_rules(found)


def test_rows_that_failed_and_were_not_charged_exit_with_4(opened: Opens) -> None:
    said = batch(opened("runapi"), Script(end=End.FAILED), Script(end=End.FAILED))
    assert said.code == FAILED, said.err
    assert json.loads(said.out)["charged_without_clip"] == 0


# Two people, one ledger, a key each.

ADA = "key-of-ada"


class TwoKeys(RunApi):
    """It knows Ada's key as well; Ben's is the bench's own."""

    def is_allowed(self, request: Request) -> bool:
        known = {f"Bearer {key}" for key in (ADA, KEYS["runapi"])}
        return request.headers.get("authorization") in known or super().is_allowed(request)


def left_by_ben(found: Bench, *, was_taken: bool) -> Reservation:
    """Leave Ben's job as a crash does: he does not know whether it was taken, or he does."""
    found.account.next_job(Script(create=() if was_taken else (Create.TAKE_AND_CUT,) * 9))
    found.leave("ben", sends=True)
    return found.of_keys(["ben"])["ben"]


@pytest.mark.parametrize("was_taken", [False, True])
@pytest.mark.parametrize("what", ["run", "batch", "resume", "resume it"])
def test_nobody_touches_what_somebody_else_left_open(
    opened: Opens, monkeypatch: pytest.MonkeyPatch, what: str, *, was_taken: bool
) -> None:
    found = opened("runapi", kind=TwoKeys)
    before = left_by_ben(found, was_taken=was_taken)
    sent = len(found.account.bodies)
    monkeypatch.setitem(KEYS, "runapi", ADA)
    quick = ("--grace", "0", "--poll-every", "0.05")
    if what == "run":
        assert run(found, Script()).code == DONE
    elif what == "batch":
        assert batch(found, Script()).code == DONE
    else:
        asked = [before.id] if what == "resume it" else []
        said = command(found, "resume", *asked, *quick)
        assert said.code != DONE
        assert "account" in said.out + said.err
    assert found.reservation(before.id) == before
    assert len(found.account.bodies) == sent + (what in {"run", "batch"})
    assert found.findings() == []
