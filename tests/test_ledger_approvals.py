"""Approvals: a person is asked once about a job, decides once, and it is good for one job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from kling_ledger.errors import (
    ApprovalClosedError,
    ApprovalsWaitError,
    ConfigError,
    NotFoundError,
)
from kling_ledger.ledger import Asked, Job, Ledger
from kling_ledger.ledger.approvals import Approval
from kling_pricing.errors import AmountError
from tests.ledgers import NOON, Clock, dump, found, money, unchanged, usd

JOB = Job(provider="runapi", model="kling-3.0", action="text_to_video", payload_hash="a" * 64)
ASKED = Asked("film", usd("5"), job=JOB, project="film/teaser")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(empty_url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger(empty_url, clock=clock, actor="agent") as opened:
        for wallet in ("film", "other"):
            opened.wallets.create(wallet, "USD")
            opened.wallets.fund(wallet, usd("100"))
        yield opened
        assert opened.verify().is_clean


def ask(ledger: Ledger, asked: Asked = ASKED, *, by: str = "agent", **given) -> Approval:
    return ledger.approvals.ask(asked, said="a clip", asked_by=by, **given)


def test_a_question_keeps_what_a_person_has_to_know(ledger):
    made = ask(ledger)
    assert made.id.startswith("apr_")
    assert ledger.approvals.get(made.id) == made
    assert (made.wallet, made.project, made.provider) == ("film", "film/teaser", "runapi")
    assert (made.model, made.action, made.said) == ("kling-3.0", "text_to_video", "a clip")
    assert (made.asked, made.ceiling) == (usd("5"), usd("5"))
    assert (made.asked_by, made.asked_at) == ("agent", NOON)
    assert made.expires_at == NOON + timedelta(hours=1)
    assert (made.verdict, made.decided_by, made.reservation_id) == (None, None, None)


def test_nothing_is_held_while_a_person_is_asked(ledger):
    ask(ledger)
    assert ledger.wallets.get("film").reserved == usd("0")


def test_the_same_job_is_asked_about_once(ledger):
    first = ask(ledger)
    with unchanged(ledger):
        assert ask(ledger) == first
        assert ask(ledger, replace(ASKED, amount=usd("4"))) == first


@pytest.mark.parametrize(
    "other",
    [
        replace(ASKED, amount=usd("5.000001")),
        replace(ASKED, job=replace(JOB, payload_hash="b" * 64)),
        replace(ASKED, job=replace(JOB, provider="crun")),
        replace(ASKED, wallet="other"),
        replace(ASKED, project="film/trailer"),
        replace(ASKED, project=None),
    ],
    ids=["price", "payload", "provider", "wallet", "project", "no project"],
)
def test_another_job_is_another_question(ledger, other):
    first = ask(ledger)
    ledger.approvals.grant(first.id)
    assert ask(ledger, other).id != first.id


def test_what_another_asked_is_not_ones_own(ledger):
    first = ask(ledger)
    ledger.approvals.grant(first.id)
    other = ask(ledger, by="another agent")
    assert (other.id != first.id, other.verdict) == (True, None)


def test_a_wallet_may_be_named_by_its_id(ledger):
    first = ask(ledger)
    by_id = replace(ASKED, wallet=ledger.wallets.get("film").id)
    assert ask(ledger, by_id) == first
    assert first.is_of(by_id)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (replace(ASKED, job=replace(JOB, payload_hash=None)), ConfigError),
        (replace(ASKED, job=replace(JOB, provider=None)), ConfigError),
        (replace(ASKED, amount=money("5 crun-credit")), AmountError),
        (replace(ASKED, wallet="nobody"), NotFoundError),
    ],
)
def test_what_cannot_be_known_again_is_not_asked_about(ledger, asked, error):
    with unchanged(ledger), pytest.raises(error):
        ask(ledger, asked)


def test_whoever_decides_is_kept_beside_whoever_asked(ledger, empty_url, clock):
    made = ask(ledger)
    clock.forward(minutes=5)
    with Ledger(empty_url, clock=clock, actor="ada") as hers:
        granted = hers.approvals.grant(made.id, reason="the client waits", ceiling=usd("6"))
    assert (granted.verdict, granted.decided_by, granted.asked_by) == ("granted", "ada", "agent")
    assert (granted.decided_at, granted.reason) == (clock.now, "the client waits")
    assert (granted.asked, granted.ceiling) == (usd("5"), usd("6"))
    assert ledger.approvals.get(made.id) == granted


@pytest.mark.parametrize("first", ["grant", "deny"])
@pytest.mark.parametrize("second", ["grant", "deny"])
def test_it_is_decided_once_and_the_second_is_told_by_whom(ledger, empty_url, clock, first, second):
    made = ask(ledger)
    with Ledger(empty_url, clock=clock, actor="ada") as hers:
        getattr(hers.approvals, first)(made.id)
    with unchanged(ledger), pytest.raises(ApprovalClosedError) as caught:
        getattr(ledger.approvals, second)(made.id)
    verdict = {"grant": "granted", "deny": "denied"}[first]
    assert (caught.value.by, caught.value.verdict) == ("ada", verdict)
    assert f"was {verdict} by ada at 2026-03-18 12:00 UTC" in caught.value.message


def test_it_can_be_decided_before_it_expires_and_not_then(ledger, clock):
    early, late = ask(ledger), ask(ledger, replace(ASKED, wallet="other"))
    clock.forward(seconds=3599)
    assert ledger.approvals.grant(early.id).standing_at(clock.now) == "granted"
    clock.forward(seconds=1)
    with unchanged(ledger), pytest.raises(ApprovalClosedError, match="expired at 2026-03-18 13:00"):
        ledger.approvals.grant(late.id)
    assert ledger.approvals.get(early.id).standing_at(clock.now) == "expired"


def test_what_has_expired_is_asked_again(ledger, clock):
    first = ask(ledger, lives_s=60)
    clock.forward(seconds=60)
    assert ask(ledger).id != first.id


def test_a_no_stands_until_it_expires_whatever_the_job_costs_by_then(ledger, clock):
    first = ask(ledger)
    ledger.approvals.deny(first.id, reason="too long")
    again = ask(ledger, replace(ASKED, amount=usd("9")))
    assert (again.id, again.verdict, again.reason) == (first.id, "denied", "too long")
    clock.forward(hours=1)
    assert ask(ledger).verdict is None


@pytest.mark.parametrize(
    ("ceiling", "is_taken"),
    [("4.999999 USD", False), ("5 USD", True), ("7 USD", True), ("9 crun-credit", False)],
)
def test_a_ceiling_is_at_least_what_was_asked(ledger, ceiling, is_taken):
    made = ask(ledger)
    if is_taken:
        assert ledger.approvals.grant(made.id, ceiling=money(ceiling)).ceiling == money(ceiling)
        return
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.approvals.grant(made.id, ceiling=money(ceiling))


def test_what_is_reserved_under_its_key_has_used_it(ledger, clock):
    made = ledger.approvals.grant(ask(ledger).id)
    assert made.standing_at(clock.now) == "granted"
    reserved = ledger.reserve_many([replace(ASKED, key=made.key)])[0]
    used = ledger.approvals.get(made.id)
    assert (used.reservation_id, used.standing_at(clock.now)) == (reserved.id, "used")
    # Another take of the same clip is another question.
    assert ask(ledger).id != made.id


def test_lists_have_the_oldest_first_and_what_can_be_decided(ledger, clock):
    granted = ask(ledger)
    clock.forward(seconds=1)
    expired = ask(ledger, replace(ASKED, project=None), lives_s=1)
    clock.forward(seconds=1)
    waiting = ask(ledger, replace(ASKED, wallet="other"))
    ledger.approvals.grant(granted.id)
    told = [one.id for one in ledger.approvals.all()]
    assert told == [granted.id, expired.id, waiting.id]
    assert ledger.approvals.all(undecided_only=True) == [waiting]


@pytest.mark.parametrize("name", ["", "apr_none", "apr\0none", "wal_x'; DROP TABLE approval; --"])
def test_an_id_that_nobody_has_is_not_found(ledger, name):
    with unchanged(ledger):
        for call in (ledger.approvals.get, ledger.approvals.grant, ledger.approvals.deny):
            with pytest.raises(NotFoundError):
                call(name)


def test_what_others_say_is_kept_as_every_engine_can(ledger):
    hostile = "\0\ud800\x1b[2J\r\n\u202e" + "x" * 5000
    made = ledger.approvals.ask(ASKED, said=hostile, asked_by=hostile)
    assert ledger.approvals.ask(ASKED, said="again", asked_by=hostile) == made
    assert (len(made.said), len(made.asked_by)) == (500, 200)
    assert made.said.startswith("???[2J???xxx")


def test_a_hundred_questions_of_one_asker_wait_and_no_more(ledger, clock):
    def number(n: int) -> Asked:
        return replace(ASKED, job=replace(JOB, payload_hash=f"{n:064}"))

    waiting = [ask(ledger, number(n)) for n in range(100)]
    with (
        unchanged(ledger),
        pytest.raises(ApprovalsWaitError, match="100 jobs of agent already wait"),
    ):
        ask(ledger, number(100))
    # What waits already is found, others may ask, and one that is decided makes room.
    assert ask(ledger, number(7)) == waiting[7]
    ask(ledger, number(100), by="another agent")
    ledger.approvals.deny(waiting[0].id)
    ask(ledger, number(100))
    with pytest.raises(ApprovalsWaitError):
        ask(ledger, number(101))
    clock.forward(hours=1)
    ask(ledger, number(101))


def test_of_many_who_ask_at_once_one_question_is_made(ledger):
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: ask(ledger).id, range(16)))
    assert len(set(made)) == 1
    assert len(ledger.approvals.all()) == 1


def test_of_many_who_decide_at_once_one_does_and_all_others_hear_who(ledger, empty_url, clock):
    made = ask(ledger)

    def decide(number: int) -> str:
        with Ledger(empty_url, clock=clock, actor=f"person {number}") as own:
            way = own.approvals.grant if number % 2 else own.approvals.deny
            try:
                return f"done by {way(made.id).decided_by}"
            except ApprovalClosedError as error:
                return f"told of {error.by}"

    with ThreadPoolExecutor(8) as pool:
        told = Counter(pool.map(decide, range(8)))
    winner = ledger.approvals.get(made.id).decided_by
    assert told == {f"done by {winner}": 1, f"told of {winner}": 7}


def test_an_approval_is_never_deleted(ledger):
    ask(ledger)
    before = dump(ledger)

    def delete(transaction) -> None:
        transaction.be_alone()
        transaction.run("DELETE FROM approval")

    with pytest.raises(Exception, match="never deleted"):
        ledger.database.write(delete)
    assert dump(ledger) == before


def test_the_database_itself_knows_no_third_verdict(ledger):
    made = ask(ledger)
    with pytest.raises(Exception, match=r"approval_(verdict|is_decided)"):
        ledger.database.write(
            lambda transaction: (
                transaction.be_alone(),
                transaction.run(
                    "UPDATE approval SET verdict = 'perhaps' WHERE id = :id", id=made.id
                ),
            )
        )
    assert found(ledger, "SELECT verdict FROM approval") == [{"verdict": None}]
