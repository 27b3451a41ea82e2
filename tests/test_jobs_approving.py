"""Approving: above a sum nothing is reserved that no person granted, and each grant once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from kling_ledger.errors import (
    ApprovalDeniedError,
    ApprovalNeededError,
    ConfigError,
    ConflictError,
    InsufficientCreditsError,
    RefusedError,
)
from kling_ledger.jobs.approving import approved, in_words
from kling_ledger.ledger import Asked, Job, Ledger, Reservation
from tests.ledgers import Clock, unchanged, usd

JOB = Job(
    provider="runapi",
    model="kling-3.0",
    action="text_to_video",
    seconds="5",
    resolution="1080p",
    sound=True,
    request='{"prompt": "a secret lake"}',
    payload_hash="a" * 64,
)
ASKED = Asked("film", usd("5"), job=JOB, project="film/teaser")
ABOVE = usd("2")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(empty_url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger(empty_url, clock=clock, actor="agent") as opened:
        opened.wallets.create("film", "USD")
        opened.wallets.fund("film", usd("12"))
        yield opened
        assert opened.verify().is_clean


def let_in(ledger: Ledger, asked: Asked = ASKED, **given) -> Asked:
    return approved(ledger, asked, **{"above": ABOVE, "asked_by": "agent", **given})


def reserve(ledger: Ledger, asked: Asked = ASKED, **given) -> Reservation:
    return ledger.reserve_many([let_in(ledger, asked, **given)])[0]


def refused(ledger: Ledger, asked: Asked = ASKED, **given) -> ApprovalNeededError:
    with pytest.raises(ApprovalNeededError) as caught:
        reserve(ledger, asked, **given)
    return caught.value


def granted(ledger: Ledger, asked: Asked = ASKED, **given) -> str:
    """Ask about a job, grant it, and return the approval's id."""
    return ledger.approvals.grant(refused(ledger, asked).approval, **given).id


@pytest.mark.parametrize("above", [None, usd("5"), usd("5.000001")])
def test_up_to_the_sum_nobody_is_asked(ledger, above):
    with unchanged(ledger):
        assert let_in(ledger, above=above) is ASKED


def test_above_the_sum_a_person_is_asked_and_nothing_is_reserved(ledger):
    error = refused(ledger, above=usd("4.999999"))
    (question,) = ledger.approvals.all()
    assert question.id == error.approval
    assert (error.code, error.retryable) == ("approval_needed", False)
    assert isinstance(error, RefusedError)
    assert (error.asked, error.above, error.fits) == (usd("5"), usd("4.999999"), usd("4.999999"))
    assert error.command == f"kling-ledger approval grant {question.id}"
    assert error.message == (
        "the job costs 5 USD; above 4.999999 USD a person must approve it:"
        f" {question.id} waits until 2026-03-18 13:00 UTC"
    )
    assert ledger.reservations.latest() == []


def test_the_person_reads_the_job_in_words_and_never_its_prompt(ledger):
    refused(ledger)
    (question,) = ledger.approvals.all()
    assert question.said == "kling-3.0 text_to_video at runapi, 5 s, 1080p, with sound"
    assert in_words(Asked("film", usd("5"), job=Job(provider="crun"))) == "a job at crun"


def test_what_was_granted_is_reserved_once_without_naming_it(ledger):
    approval = granted(ledger)
    made = reserve(ledger)
    assert ledger.approvals.get(approval).reservation_id == made.id
    # The same job again is another take, and another question.
    assert refused(ledger).approval != approval
    assert ledger.wallets.get("film").reserved == usd("5")


def test_whoever_names_a_used_approval_is_given_its_one_reservation(ledger, clock):
    approval = granted(ledger)
    made = reserve(ledger)
    clock.forward(hours=2)
    assert reserve(ledger, approval=approval) == made
    assert reserve(ledger, replace(ASKED, amount=usd("9")), approval=approval) == made
    assert ledger.wallets.get("film").reserved == usd("5")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"job": replace(JOB, payload_hash="b" * 64)}, "is for another job"),
        ({"job": replace(JOB, provider="crun")}, "is for another job"),
        ({"wallet": "other"}, "is for another job"),
        ({"project": "film/trailer"}, "is for another job"),
    ],
)
@pytest.mark.parametrize("is_used", [False, True])
def test_an_approval_lets_no_other_job_in(ledger, changed, said, is_used):
    ledger.wallets.create("other", "USD")
    ledger.wallets.fund("other", usd("12"))
    approval = granted(ledger)
    if is_used:
        reserve(ledger)
    other = replace(ASKED, **changed)
    error = refused(ledger, other, approval=approval)
    assert error.approval != approval
    assert f"({approval} {said})" in error.message


def test_the_ledger_itself_refuses_another_job_under_the_key_of_an_approval(ledger):
    key = let_in(ledger, approval=granted(ledger)).key
    ledger.reserve_many([replace(ASKED, key=key)])
    other = replace(ASKED, key=key, job=replace(JOB, payload_hash="b" * 64))
    with unchanged(ledger), pytest.raises(ConflictError, match="payload"):
        ledger.reserve_many([other])


def test_a_caller_cannot_take_the_key_of_an_approval(ledger):
    key = f"approval/{granted(ledger)}"
    for above in (None, ABOVE, usd("9")):
        with unchanged(ledger), pytest.raises(ConfigError, match="that prefix is for approvals"):
            let_in(ledger, replace(ASKED, key=key), above=above)


def test_a_price_that_rises_beyond_the_ceiling_is_asked_about_anew(ledger):
    approval = granted(ledger, ceiling=usd("6"))
    over = replace(ASKED, amount=usd("6.000001"))
    error = refused(ledger, over, approval=approval)
    assert error.approval != approval
    assert f"({approval} is granted for at most 6 USD)" in error.message
    assert refused(ledger, over).approval == error.approval
    assert reserve(ledger, replace(ASKED, amount=usd("6")), approval=approval).amount == usd("6")


def test_an_approval_that_has_expired_lets_nobody_in(ledger, clock):
    approval = granted(ledger)
    clock.forward(hours=1)
    error = refused(ledger, approval=approval)
    assert error.approval != approval
    assert f"({approval} has expired)" in error.message
    assert refused(ledger).approval == error.approval


def test_it_is_good_until_the_last_moment(ledger, clock):
    granted(ledger)
    clock.forward(seconds=3599.999999)
    assert reserve(ledger).amount == usd("5")


def test_what_nobody_has_decided_yet_is_said(ledger):
    first = refused(ledger)
    again = refused(ledger, approval=first.approval)
    assert again.approval == first.approval
    assert f"({first.approval} is not decided yet)" in again.message


def test_a_no_is_told_with_its_reason_and_asks_nobody_again(ledger):
    approval = refused(ledger).approval
    ledger.approvals.deny(approval, reason="too long")
    for named in (None, approval):
        with unchanged(ledger), pytest.raises(ApprovalDeniedError) as caught:
            reserve(ledger, approval=named)
        assert caught.value.message == f"agent denied {approval}, this job at 5 USD: too long"
        assert (caught.value.code, caught.value.fits) == ("approval_denied", ABOVE)


def test_an_approval_that_is_nowhere_is_no_approval(ledger):
    hostile = "apr_" + "x" * 10_000
    error = refused(ledger, approval=hostile)
    assert "no such approval: apr_xxxx" in error.message
    assert len(error.message) < 300


def test_what_another_was_granted_is_used_by_naming_it_alone(ledger):
    approval = granted(ledger)
    assert refused(ledger, asked_by="another agent").approval != approval
    made = reserve(ledger, asked_by="another agent", approval=approval)
    assert ledger.approvals.get(approval).reservation_id == made.id


def test_a_job_that_the_wallet_refused_is_tried_again_under_its_approval(ledger):
    ledger.reserve("film", usd("10"))
    approval = granted(ledger)
    for named in (None, approval):
        with unchanged(ledger), pytest.raises(InsufficientCreditsError):
            reserve(ledger, approval=named)
    ledger.wallets.fund("film", usd("3"))
    assert reserve(ledger).id == ledger.approvals.get(approval).reservation_id


def test_what_a_callers_own_key_has_reserved_needs_no_approval_again(ledger):
    keyed = replace(ASKED, key="mine")
    made = reserve(ledger, keyed, above=None)
    with unchanged(ledger):
        assert reserve(ledger, keyed) == made


def test_a_callers_own_key_gives_the_approved_job_again_without_the_approval(ledger):
    keyed = replace(ASKED, key="mine")
    approval = granted(ledger, keyed)
    made = reserve(ledger, keyed)
    assert ledger.approvals.get(approval).reservation_id == made.id
    with unchanged(ledger):
        assert reserve(ledger, keyed) == made
        assert reserve(ledger, keyed, approval=approval) == made
        # Under another key it is the one job of its approval all the same.
        assert reserve(ledger, replace(ASKED, key="other"), approval=approval) == made
        assert reserve(ledger, approval=approval) == made
    with unchanged(ledger), pytest.raises(ConflictError, match="payload"):
        reserve(ledger, replace(keyed, job=replace(JOB, payload_hash="b" * 64)))


def test_callers_with_keys_of_their_own_share_one_approval_and_one_reservation(ledger):
    approval = granted(ledger)
    ledger.wallets.fund("film", usd("100"))

    def one(number: int) -> str:
        return reserve(ledger, replace(ASKED, key=f"key {number}"), approval=approval).id

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(one, range(16)))) == 1
    assert len(ledger.reservations.latest()) == 1


def test_one_call_may_ask_twice_under_one_approval(ledger):
    key = let_in(ledger, approval=granted(ledger)).key
    asked = [replace(ASKED, key=own, approval=key) for own in ("a", None, "b")]
    made = ledger.reserve_many(asked)
    assert len({one.id for one in made}) == 1
    assert ledger.wallets.get("film").reserved == usd("5")


@pytest.mark.parametrize("names_it", [True, False])
def test_many_with_one_granted_approval_reserve_once(ledger, names_it):
    approval = granted(ledger)
    ledger.wallets.fund("film", usd("100"))

    def one(_: int) -> str:
        try:
            return reserve(ledger, approval=approval if names_it else None).id
        except ApprovalNeededError:
            return ""

    with ThreadPoolExecutor(16) as pool:
        told = set(pool.map(one, range(16)))
    (made,) = ledger.reservations.latest()
    assert told - {""} == {made.id}
    # Whoever does not name it may come too late to be given it, and is asked about another take.
    assert "" not in told or not names_it
    assert ledger.wallets.get("film").reserved == usd("5")
