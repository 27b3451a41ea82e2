"""Settlement: each job ends as its provider says, though no client ever asks for it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.errors import NoKeyError, OtherAddressError
from kling_ledger.gateway import settlement as settlements
from kling_ledger.gateway.settlement import Settlement
from kling_ledger.gateway.sweep import PAGE
from kling_ledger.jobs.meter import Meter
from kling_ledger.ledger import Job, Reservation, State
from kling_ledger.ledger.unwritten import leave_note
from kling_ledger.providers.registry import connect
from kling_ledger.sandbox import SandboxSettings
from tests.database_away import cut, let_in
from tests.ledgers import money, transfers, usd
from tests.metering import SETTINGS, House, house
from tests.postgres import PostgresServer
from tests.sandbox_rig import PRICES, PROVIDERS, UNITS
from tests.settling import ended, in_state, sent, settling, wired
from tests.waiting import until

KNOW_NO_REPEATS = ("crun", "evolink", "uniall")
every_provider = pytest.mark.parametrize("provider", PROVIDERS)


@pytest.fixture
def here(tmp_path: Path, empty_file: Path) -> Iterator[House]:
    with house(str(shutil.copy(empty_file, tmp_path / "ledger.sqlite"))) as made:
        yield made


@pytest.fixture
def anywhere(empty_url: str) -> Iterator[House]:
    """The same on each engine in turn."""
    with house(empty_url) as made:
        yield made


# --- jobs that the gateway submits ----------------------------------------------------------


@every_provider
def test_a_job_is_charged_though_nobody_asks_for_it(anywhere: House, provider: str):
    with settling(anywhere) as settlement:
        found = sent(anywhere, provider, "a lake")
        settlement.expect(found, wired(anywhere, provider))
        assert ended(anywhere, found).state is State.COMMITTED
        until(lambda: settlement.followed == 0)
        assert settlement.problem is None
    assert anywhere.standing(provider) == (PRICES[provider], "0")


def test_a_job_that_failed_gives_everything_back(here: House):
    with settling(here) as settlement:
        found = sent(here, "crun", "a lake [fail moderation]")
        settlement.expect(found, wired(here, "crun"))
        assert ended(here, found).state is State.ROLLED_BACK
    assert here.standing("crun") == ("0", "0")


def test_what_it_really_cost_is_charged_and_a_provider_that_fails_for_a_while_is_asked_again(
    here: House,
):
    with settling(here) as settlement:
        found = sent(here, "runapi", "a lake [cost 0.8] [poll 500 3] [poll cut 2] [poll malformed]")
        settlement.expect(found, wired(here, "runapi"))
        assert ended(here, found).committed == usd("0.8")


def test_an_unanswered_submission_is_sent_again_under_its_key_and_makes_one_task(anywhere: House):
    with settling(anywhere) as settlement:
        found = sent(anywhere, "runapi", "a lake [lose cut]")
        assert (found.state, found.task_id) == (State.IN_DOUBT, None)
        settlement.expect(found, wired(anywhere, "runapi"))
        assert ended(anywhere, found).state is State.COMMITTED
    (task,) = anywhere.tasks("runapi")
    assert (task["key"], task["prompt"]) == (found.id, "a lake [lose cut]")
    assert anywhere.standing("runapi") == (PRICES["runapi"], "0")


def test_one_that_is_refused_for_a_while_is_sent_until_it_is_taken(here: House):
    with settling(here) as settlement:
        found = sent(here, "runapi", "a lake [refuse cut 3]")
        assert found.state is State.IN_DOUBT
        settlement.expect(found, wired(here, "runapi"))
        assert ended(here, found).state is State.COMMITTED
    assert len(here.tasks("runapi")) == 1


@pytest.mark.parametrize("provider", KNOW_NO_REPEATS)
def test_where_a_repeat_could_be_charged_too_nothing_is_sent_again(here: House, provider: str):
    with settling(here) as settlement:
        found = sent(here, provider, "a lake [lose cut]")
        settlement.expect(found, wired(here, provider))
        until(lambda: settlement.followed == 0)
        other = sent(here, provider, "a lake")
        settlement.expect(other, wired(here, provider))
        ended(here, other)
        assert here.state(found) is State.IN_DOUBT
        # The task that a person has found is followed to its end.
        (task,) = [one for one in here.tasks(provider) if one["prompt"] == "a lake [lose cut]"]
        here.ledger.mark_submitted(found.id, task["id"])
        assert ended(here, found).state is State.COMMITTED
    assert len(here.tasks(provider)) == 2


def test_a_job_without_a_verdict_is_in_doubt_and_its_late_end_is_found(anywhere: House):
    with settling(anywhere, longest_s=0.3) as settlement:
        found = sent(anywhere, "crun", "a lake [takes 60]")
        settlement.expect(found, wired(anywhere, "crun"))
        in_state(anywhere, found, State.IN_DOUBT)
        doubtful = anywhere.ledger.reservations.get(found.id)
        (before,) = anywhere.tasks("crun")
        until(lambda: anywhere.tasks("crun")[0]["polls"] > before["polls"] + 3)
        # That it still runs is known: it is asked for, and not doubted anew each time.
        assert anywhere.ledger.reservations.get(found.id) == doubtful
        anywhere.sandbox.finish()
        assert ended(anywhere, found).state is State.COMMITTED
    assert anywhere.standing("crun") == (PRICES["crun"], "0")


def test_an_end_that_contradicts_itself_stays_in_doubt_and_is_asked_for_now_and_then(here: House):
    with settling(here) as settlement:
        found = sent(here, "uniall", "a lake [fail]")
        settlement.expect(found, wired(here, "uniall"))
        in_state(here, found, State.IN_DOUBT)
        polls = here.tasks("uniall")[0]["polls"]
        until(lambda: here.tasks("uniall")[0]["polls"] > polls)
    assert here.standing("uniall") == ("0", PRICES["uniall"])


def test_what_others_have_settled_is_not_asked_for(here: House):
    found = sent(here, "crun", "a lake [takes 60]")
    with settling(here, poll_every_s=0.3, sweep_every_s=60) as settlement:
        settlement.expect(found, wired(here, "crun"))
        here.ledger.commit(found.id, money("135 crun-credit"))
        until(lambda: settlement.followed == 1)
        until(lambda: settlement.followed == 0)
    assert here.tasks("crun")[0]["polls"] == 0


def test_what_is_forgotten_is_not_asked_for(here: House):
    def polls() -> list[int]:
        return [one["polls"] for one in here.tasks("crun")]

    sent(here, "crun", "an earlier lake [takes 60]")
    with settling(here, poll_every_s=60.0, sweep_every_s=60) as settlement:
        # What is open at the start is asked for at once, and could be the next one.
        until(lambda: polls() == [1])
        found = sent(here, "crun", "a lake [takes 60]")
        settlement.expect(found, wired(here, "crun"))
        until(lambda: settlement.followed == 2)
        settlement.forget(found.id)
        settlement.forget("res_unknown")
        until(lambda: settlement.followed == 1)
    assert polls() == [1, 0]


def test_it_returns_at_once_while_a_provider_hangs_and_others_are_asked_meanwhile(tmp_path: Path):
    hanging = SandboxSettings(job_s=0.02, hang_s=20)
    with house(str(tmp_path / "ledger.sqlite"), hanging) as here, settling(here) as settlement:
        for _ in range(12):
            slow = sent(here, "crun", "a lake [poll hang]")
            settlement.expect(slow, wired(here, "crun"))
        until(lambda: sum(one["polls"] for one in here.tasks("crun")) >= 4)
        found = sent(here, "evolink", "a lake")
        settlement.expect(found, wired(here, "evolink"))
        assert ended(here, found, within_s=hanging.hang_s - 5).state is State.COMMITTED
        with ThreadPoolExecutor(1) as pool:
            pool.submit(settlement.close).result(timeout=hanging.hang_s - 5)
        assert here.state(slow) is State.SUBMITTED


# --- what was open before -------------------------------------------------------------------


@every_provider
def test_a_restart_settles_what_was_open(anywhere: House, provider: str):
    never_sent = anywhere.reserved(provider)
    taken = sent(anywhere, provider, "a river")
    lost = anywhere.sent(provider, "a lake")
    with settling(anywhere):
        assert ended(anywhere, never_sent).state is State.ROLLED_BACK
        assert ended(anywhere, taken).state is State.COMMITTED
        if provider == "runapi":
            assert ended(anywhere, lost).state is State.COMMITTED
        else:
            in_state(anywhere, lost, State.IN_DOUBT)
    assert len(anywhere.tasks(provider)) == 2


def test_a_restart_in_the_middle_goes_on(anywhere: House):
    with settling(anywhere) as first:
        found = sent(anywhere, "crun", "a lake [takes 60]")
        first.expect(found, wired(anywhere, "crun"))
        until(lambda: anywhere.tasks("crun")[0]["polls"] > 1)
    assert anywhere.state(found) is State.SUBMITTED
    anywhere.sandbox.finish()
    with settling(anywhere):
        assert ended(anywhere, found).state is State.COMMITTED


def test_more_jobs_than_a_page_are_all_settled(here: House):
    for provider in ("crun", "evolink"):
        found = [sent(here, provider, f"job {number}") for number in range(3 * PAGE + 1)]
    with settling(here) as settlement:
        until(lambda: here.ledger.reservations.open() == [])
        until(lambda: settlement.followed == 0)
    assert len(found) == 61
    for provider in ("crun", "evolink"):
        charged, reserved = here.standing(provider)
        assert (Decimal(charged), reserved) == (61 * Decimal(PRICES[provider]), "0")


def test_what_may_be_under_way_is_left_to_its_sender(here: House):
    reserved, submitting = here.reserved("crun"), here.submitting("runapi")
    found = sent(here, "crun", "a lake")
    with settling(here, grace_s=60):
        assert ended(here, found).state is State.COMMITTED
        assert here.state(reserved) is State.RESERVED
        assert here.state(submitting) is State.SUBMITTING
    assert here.tasks("runapi") == []


def test_a_scripts_own_job_is_left_to_it(here: House):
    own = here.ledger.reserve("crun", money("1 crun-credit"), job=Job(provider="crun"))
    with settling(here):
        found = sent(here, "crun", "a lake")
        assert ended(here, found).state is State.COMMITTED
    assert here.state(own) is State.RESERVED


def test_a_task_that_only_a_file_names_is_followed(here: House):
    lost = here.sent("crun")
    (task,) = here.tasks("crun")
    leave_note(here.ledger.database.url, lost.id, task["id"])
    with settling(here, grace_s=60):
        assert ended(here, lost).committed == money("135 crun-credit")


def test_those_that_are_too_many_are_asked_for_in_turn(
    here: House, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(settlements, "MOST_FOLLOWED", 5)
    for number in range(2 * PAGE):
        sent(here, "crun", f"job {number} [takes 60]")
    with settling(here) as settlement:
        until(lambda: all(one["polls"] for one in here.tasks("crun")))
        assert settlement.followed <= 5 + PAGE
        here.sandbox.finish()
        until(lambda: here.ledger.reservations.open() == [])


# --- keys of callers ------------------------------------------------------------------------


def other_meter(here: House, key: str = "another-key") -> Meter:
    """A caller's meter at Crun, with a key that the gateway does not have."""
    reached = connect("crun", api_key=key, base_url=here.sandbox.url, timeout_s=5)
    return replace(wired(here, "crun"), provider=reached)


def nothing_at_hand(found: Reservation) -> Meter:
    raise NoKeyError("CRUN_API_KEY")


def test_a_job_whose_key_is_not_at_hand_waits_and_goes_on_once_its_caller_comes(anywhere: House):
    found = sent(anywhere, "crun", "a lake")
    place = wired(anywhere, "crun").place
    with settling(anywhere, meter_for=nothing_at_hand) as settlement:
        until(lambda: settlement.waiting_for_key() == {place: 1})
        assert anywhere.tasks("crun")[0]["polls"] == 0
        with closing(other_meter(anywhere).provider) as provider:
            settlement.known(replace(wired(anywhere, "crun"), provider=provider))
        settlement.known(wired(anywhere, "crun"))
        assert ended(anywhere, found).state is State.COMMITTED
        until(lambda: settlement.waiting_for_key() == {})


def test_a_callers_key_is_kept_no_longer_than_its_jobs_run(here: House):
    running = sent(here, "crun", "a lake [takes 60]")
    with settling(here, meter_for=nothing_at_hand, sweep_every_s=60) as settlement:
        settlement.expect(running, wired(here, "crun"))
        until(lambda: settlement.followed == 1)
        assert settlement.meter_for(running).place == wired(here, "crun").place
        here.sandbox.finish()
        assert ended(here, running).state is State.COMMITTED
        until(lambda: settlement.followed == 0)
        with pytest.raises(NoKeyError):
            settlement.meter_for(running)
        assert settlement._callers == {}


def test_nothing_is_asked_for_under_another_accounts_key(here: House):
    found = sent(here, "crun", "a lake")
    with closing(other_meter(here).provider) as provider:
        other = replace(wired(here, "crun"), provider=provider)
        assert other.place != wired(here, "crun").place
        with settling(here, meter_for=lambda _: other) as settlement:
            until(lambda: sum(settlement.waiting_for_key().values()) == 1)
    assert here.tasks("crun")[0]["polls"] == 0
    assert here.state(found) is State.SUBMITTED


def test_a_job_at_another_address_is_not_the_gateways(here: House):
    found = sent(here, "crun", "a lake")

    def elsewhere(one: Reservation) -> Meter:
        raise OtherAddressError(one.id, address=one.job.address, asked="https://api.crun.ai")

    with settling(here, meter_for=elsewhere) as settlement:
        time.sleep(0.5)
        assert settlement.waiting_for_key() == {}
    assert here.state(found) is State.SUBMITTED


# --- trouble --------------------------------------------------------------------------------


def test_a_fault_of_ours_is_told_and_jobs_go_on(here: House):
    faults = [ValueError("a fault")] * 2

    def faulty(found: Reservation) -> Meter:
        if faults:
            raise faults.pop()
        return wired(here, "crun")

    found = sent(here, "crun", "a lake")
    with settling(here, meter_for=faulty) as settlement:
        until(lambda: settlement.problem == "ValueError: a fault")
        assert settlement.is_alive
        assert ended(here, found).state is State.COMMITTED
        until(lambda: settlement.problem is None)


def test_the_thread_begins_again_where_it_broke(here: House, monkeypatch: pytest.MonkeyPatch):
    broken = threading.Event()
    hear = Settlement._hear

    def once(self: Settlement) -> None:
        if not broken.is_set():
            broken.set()
            raise RuntimeError("it broke")
        hear(self)

    monkeypatch.setattr(Settlement, "_hear", once)
    with settling(here) as settlement:
        found = sent(here, "crun", "a lake")
        settlement.expect(found, wired(here, "crun"))
        assert ended(here, found).state is State.COMMITTED
        assert broken.is_set()


def test_a_database_that_is_away_is_waited_for(postgres: PostgresServer):
    url = postgres.new_database()
    with house(url) as here:
        found = sent(here, "crun", "a lake [takes 60]")
        with settling(here) as settlement:
            settlement.expect(found, wired(here, "crun"))
            until(lambda: here.tasks("crun")[0]["polls"] > 0)
            cut(url)
            try:
                here.sandbox.finish()
                polls = here.tasks("crun")[0]["polls"]
                time.sleep(3)
                assert settlement.is_alive
            finally:
                let_in(url)
            assert here.tasks("crun")[0]["polls"] <= polls + 1
            assert ended(here, found).state is State.COMMITTED
            until(lambda: settlement.problem is None)


def test_a_closed_settlement_that_never_began_is_closed(here: House):
    settlement = Settlement(here.ledger, meter_for=here.meter_for)
    settlement.close()
    assert not settlement.is_alive


# --- two gateways on one ledger -------------------------------------------------------------


@pytest.mark.parametrize("count", [40])
def test_two_settlements_settle_each_job_once(anywhere: House, count: int):
    with settling(anywhere) as first, settling(anywhere) as second:
        for number in range(count):
            one = sent(anywhere, "runapi", f"job {number} [lose cut]" if number % 4 else "a lake")
            for each in (first, second):
                each.expect(one, wired(anywhere, "runapi"))
        until(lambda: anywhere.ledger.reservations.open() == [])
    assert len(anywhere.tasks("runapi")) == count
    charged = [line for line in transfers(anywhere.ledger) if line.startswith("commit")]
    assert charged == [f"commit {PRICES['runapi']}"] * count
    assert anywhere.standing("runapi") == (
        f"{(count * Decimal(PRICES['runapi'])).normalize():f}",
        "0",
    )


# --- the truth ------------------------------------------------------------------------------


def misbehave(here: House, provider: str, numbers: range, settlement: Settlement) -> None:
    """Submit jobs as a gateway does, and ask for none of them."""

    def one(number: int) -> None:
        found = sent(here, provider, f"job {number}")
        if found.is_open and number % 3:
            settlement.expect(found, wired(here, provider))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, numbers))


def assert_true(here: House, provider: str) -> None:
    """Each job whose task is known stands as the sandbox's does; nothing was taken twice."""
    tasks = {task["id"]: task for task in here.tasks(provider)}
    prompts = [task["prompt"] for task in tasks.values()]
    assert len(prompts) == len(set(prompts))
    ours = here.ledger.reservations.at_provider(provider)
    with_task = [one for one in ours if one.task_id is not None]
    assert [said for one in with_task for said in untrue(one, tasks.pop(one.task_id or ""))] == []
    assert [one.id for one in ours if one.task_id is None and one.spent.micro] == []
    lost = [one for one in ours if one.state is State.IN_DOUBT and one.task_id is None]
    # Where a submission cannot be repeated, a task whose name got lost is one of a job in doubt.
    assert len(tasks) <= len(lost)
    assert (provider, lost) == (provider, lost if provider in KNOW_NO_REPEATS else [])
    assert here.ledger.verify().findings == ()


def untrue(one: Reservation, task: dict[str, Any]) -> Iterator[str]:
    """Tell of a job that does not stand as its provider told: late news, and second charges, are
    what reconciliation finds."""
    script = " ".join(task["script"])
    charged, spent = Decimal(task["charged"]), one.spent.amount
    told = f"{task['prompt']} {script}: {task['state']} at {charged}, {one.state} at {spent}"
    if "[charge twice]" in script:
        charged /= 2
    if one.job.provider in {"evolink", "uniall"} and charged:
        # What it costs is told nowhere: the quote stands until there is a bill.
        charged = Decimal(task["quoted"])
    if one.state is State.IN_DOUBT:
        if not is_contradiction(one):
            yield told
    elif spent != charged and not ("[revive" in script and one.state is State.ROLLED_BACK):
        yield told


def battery(url: str, provider: str, count: int) -> None:
    settings = replace(SETTINGS, misbehave="settle", balance=usd("1000000"))
    with house(url, settings) as here:
        unit = UNITS[provider]
        here.ledger.wallets.fund(provider, money(f"1000000 {unit}"))
        with settling(here) as settlement:
            misbehave(here, provider, range(count), settlement)
            until(lambda: settled(here, provider), within_s=300)
        assert_true(here, provider)


def settled(here: House, provider: str) -> bool:
    """Whether nothing is open that an answer of the provider could end.

    What the sandbox holds back for ever ends now; a submission that is repeated may be such a job.
    """
    here.sandbox.finish()
    is_known = provider == "runapi"
    return not [
        one
        for one in here.ledger.reservations.open()
        if (one.task_id is not None and not is_contradiction(one))
        or (one.task_id is None and is_known)
        or one.state is not State.IN_DOUBT
    ]


def is_contradiction(one: Reservation) -> bool:
    """Whether its provider has said an end that only a person can weigh."""
    return one.state is State.IN_DOUBT and "no verdict" not in (one.problem or "")


@every_provider
def test_each_job_of_a_misbehaving_batch_ends_as_the_truth_says(tmp_path: Path, provider: str):
    battery(str(tmp_path / "ledger.sqlite"), provider, 60)


def test_so_it_does_on_the_server(database_url: str):
    battery(database_url, "runapi", 30)


@pytest.mark.slow
@every_provider
def test_so_does_each_of_two_thousand(tmp_path: Path, provider: str):
    battery(str(tmp_path / "ledger.sqlite"), provider, 2000)
