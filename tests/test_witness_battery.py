"""Drawn misbehaviour: whatever a gateway does, our ledger and its account never contradict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from kling_ledger.ledger.reservations import Reservation
from tests.witness.account import Create, End, Poll, Script, Task
from tests.witness_ledger import NAMES, Bench, Opens, charged, check_rules, opening

FUNDED = 1_000_000
"""What the wallet holds, in whole units: enough for every battery."""

DOUBTFUL = [
    Create.TAKE_AND_CUT,
    Create.TAKE_AND_SEND_HALF,
    Create.TAKE_AND_FAIL,
    Create.TAKE_AND_PROXY_FAILS,
    Create.CUT,
    Create.FAIL,
    Create.PROXY_FAILS,
]
CERTAIN = [Create.TAKE, Create.TAKE, Create.BUSY, Create.REFUSE]
ROUNDS = 10
"""More than any script has questions in store."""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opens]:
    with opening(tmp_path) as opens:
        yield opens


def drawn(gateway: str, number: int) -> tuple[Script, Random]:
    """Draw the script of a job: the same one for the same gateway and number, always."""
    name = f"{gateway}-{number}"
    random = Random(name)  # noqa: S311 - nothing is secret here
    names_cost = gateway in {"runapi", "crun"}
    ends = [End.COMPLETED] * 12 + [End.FAILED] * 4 + [End.NEVER]
    if gateway == "crun":
        ends += [End.FAILED_AND_CHARGED] * 2
    script = Script(
        name,
        create=tuple(
            random.choice(random.choice([CERTAIN, DOUBTFUL])) for _ in range(random.randrange(4))
        ),
        polls=tuple(random.choice(list(Poll)) for _ in range(random.randrange(5))),
        end=random.choice(ends),
        reserved=amount(random) if names_cost else None,
        settled=amount(random) if names_cost else None,
    )
    return script, random


def amount(random: Random) -> int | None:
    """Draw a sum of a millionth and more, or none: then the list price is the sum."""
    return random.randrange(1, 10 ** random.randrange(1, 10)) if random.random() < 0.4 else None


def battery(found: Bench, size: int) -> dict[str, Script]:
    """Run jobs one after another, some of them left in the middle; return their scripts."""
    scripts = {}
    meter = found.meter(longest_s=0.2)
    for number in range(size):
        script, random = drawn(found.name, number)
        scripts[script.name] = script
        if random.random() < 0.15:
            found.account.next_job(script)
            found.leave(script.name, sends=random.random() < 0.7)
        else:
            found.run(script, key=script.name, meter=meter)
    return scripts


def recover(found: Bench) -> None:
    """Ask for every open job as often as any script can put us off."""
    found.account.next_job(Script("nobody's"))
    meter = found.meter(longest_s=0.2)
    for _ in range(ROUNDS):
        found.recover(waits=False, meter=meter)


def only_task(found: Bench, name: str) -> Task | None:
    """The task of a job, None if none was taken; two would have been paid twice."""
    tasks = found.account.of(name)
    assert len(tasks) <= 1, f"{name} was sent twice and taken twice"
    return tasks[0] if tasks else None


def check_sendings(found: Bench, name: str) -> None:
    """Where keys are not known, nothing is sent again after an answer that left it in doubt."""
    steps = [step for job, step in found.account.steps if job == name]
    assert found.account.remembers_keys or set(steps[:-1]) <= {Create.BUSY}, f"{name}: {steps}"


def check_money(found: Bench, job: Reservation, task: Task | None, name: str) -> None:
    """What a job cost us is what it was charged, unless nobody could know yet."""
    if task is None or task.charged == 0:
        assert charged(job) == 0, f"{name} was not charged, and we say {charged(job)}"
        return
    expected = job.amount.micro if found.name == "uniall" else task.charged
    if job.is_open:
        assert charged(job) == 0
    else:
        assert charged(job) == expected, f"{name} was charged {task.charged}"


def may_be_open(found: Bench, job: Reservation, script: Script) -> bool:
    """Whether nobody can know how a job ended, by what the gateway publishes."""
    if script.end is End.NEVER:
        return True
    if found.name == "uniall" and script.end is End.FAILED:
        return True  # it publishes no word for a failure
    lost = job.task_id is None and bool(set(script.create) & set(DOUBTFUL))
    return lost and not found.account.remembers_keys


def check_all(found: Bench, scripts: dict[str, Script]) -> None:
    """The ledger, the account and the wallet agree on every job and in sum."""
    check_rules(found)
    assert found.account.of("nobody's") == []
    jobs = found.of_keys(list(scripts))
    assert jobs.keys() == scripts.keys()
    for name, script in scripts.items():
        check_sendings(found, name)
        check_money(found, jobs[name], only_task(found, name), name)
        assert not jobs[name].is_open or may_be_open(found, jobs[name], script), f"{name} is stuck"
    spent = sum(charged(job) for job in jobs.values())
    assert found.posted() == FUNDED * 1_000_000 - spent


@pytest.mark.parametrize("gateway", NAMES)
def test_sixty_jobs_of_a_misbehaving_gateway(opened: Opens, gateway: str) -> None:
    found = opened(gateway, funded=str(FUNDED))
    scripts = battery(found, 60)
    recover(found)
    check_all(found, scripts)


@pytest.mark.slow
@pytest.mark.parametrize("gateway", NAMES)
def test_five_hundred_jobs_of_a_misbehaving_gateway(opened: Opens, gateway: str) -> None:
    found = opened(gateway, funded=str(FUNDED))
    scripts = battery(found, 500)
    recover(found)
    check_all(found, scripts)


@pytest.mark.parametrize("gateway", NAMES)
def test_the_draw_has_every_kind_of_trouble(gateway: str) -> None:
    scripts = [drawn(gateway, number)[0] for number in range(60)]
    assert {step for script in scripts for step in script.create} == {*DOUBTFUL, *CERTAIN}
    assert {step for script in scripts for step in script.polls} == set(Poll)
    assert {End.COMPLETED, End.FAILED, End.NEVER} <= {script.end for script in scripts}
