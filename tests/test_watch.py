"""Following a job: what says nothing of it is asked again until its time is up, politely."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from kling_ledger import Ledger, Meter
from kling_ledger.errors import PollError, ProviderError
from kling_ledger.jobs.recovery import NextStep, Recovery
from kling_ledger.jobs.watch import Patience, Watch
from kling_ledger.ledger import Job, Reservation, State
from kling_ledger.providers.attempts import LONGEST_WISH_S
from kling_ledger.providers.base import Pacing
from kling_ledger.providers.registry import FACTS, connect
from kling_pricing.money import Money
from tests.loopback import Answer, answering
from tests.providers import BODIES, KEY, NAMES, created, task

DONE = {"runapi": "completed", "crun": "success", "evolink": "completed", "uniall": "completed"}


class Follows:
    """Submits one job each at gateways that then give the answers of a test."""

    def __init__(self, ledger: Ledger, stack: ExitStack) -> None:
        self.ledger = ledger
        self.troubles: list[ProviderError] = []
        self._stack = stack

    def meter(self, name: str, *answers: Answer, longest_s: float = 900.0) -> Meter:
        server = self._stack.enter_context(answering((200, created(name)), *answers))
        pacing = Pacing(sleep=lambda _: None)
        provider = connect(name, api_key=KEY, base_url=server.url, timeout_s=2, pacing=pacing)
        self._stack.enter_context(closing(provider))
        self.ledger.wallets.create(name, FACTS[name].unit)
        self.ledger.wallets.fund(name, Money.parse(f"1000 {FACTS[name].unit}"))
        patience = Patience(poll_every_s=0.01, longest_s=longest_s, repeat_s=0.01)
        return Meter(
            self.ledger,
            provider,
            wallet=name,
            asks_estimate=False,
            patience=patience,
            on_trouble=self.troubles.append,
        )

    def submitted(self, meter: Meter) -> Reservation:
        name = meter.provider.name
        job = Job(
            provider=name,
            action="text_to_video",
            address=meter.provider.address,
            account=meter.place.account,
            request=json.dumps(BODIES[name]),
        )
        reservation = self.ledger.reserve(name, Money.parse(f"1 {FACTS[name].unit}"), job=job)
        meter.submit(reservation, BODIES[name])
        return self.ledger.reservations.get(reservation.id)


@pytest.fixture
def follows(ledger: Ledger) -> Iterator[Follows]:
    with ExitStack() as stack:
        yield Follows(ledger, stack)


def missing(name: str) -> Answer:
    return 404, {"code": 404, "message": "no such task", "error": {"message": "no such task"}}


@pytest.mark.parametrize("name", NAMES)
def test_what_nobody_understands_for_long_is_in_doubt_with_the_word(follows: Follows, name: str):
    meter = follows.meter(name, (200, task(name, "archived")), longest_s=0.3)
    ended = meter.follow(follows.submitted(meter).id)
    assert ended.state is State.IN_DOUBT
    assert "archived" in (ended.problem or "")
    assert "no verdict within 0.3 s" in (ended.problem or "")


@pytest.mark.parametrize("name", NAMES)
def test_a_task_that_is_unknown_for_long_is_in_doubt_with_the_404(follows: Follows, name: str):
    meter = follows.meter(name, missing(name), longest_s=0.5)
    ended = meter.follow(follows.submitted(meter).id)
    assert ended.state is State.IN_DOUBT
    assert "404" in (ended.problem or "")
    assert follows.troubles == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("answer", ["missing", "odd"])
def test_a_single_look_that_says_nothing_changes_nothing(follows: Follows, name: str, answer: str):
    odd = (200, task(name, "archived"))
    meter = follows.meter(name, missing(name) if answer == "missing" else odd)
    found = follows.submitted(meter)
    (looked,) = Recovery(follows.ledger, lambda _: meter, now=found.created_at).run([found])
    assert looked.reservation == found
    assert ("404" if answer == "missing" else "archived") in looked.did
    assert looked.next_step is None


@pytest.mark.parametrize("name", NAMES)
def test_a_job_in_doubt_that_is_said_nothing_of_is_one_for_a_person(follows: Follows, name: str):
    meter = follows.meter(name, (200, task(name, "archived")))
    found = follows.submitted(meter)
    found = follows.ledger.mark_in_doubt(found.id, "no answer")
    (looked,) = Recovery(follows.ledger, lambda _: meter, now=found.created_at).run([found])
    assert looked.reservation.state is State.IN_DOUBT
    assert looked.next_step is NextStep.ASK_ABOUT_TASK


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("status", [401, 403])
def test_who_is_not_let_in_stops_asking_at_once(follows: Follows, name: str, status: int):
    answer = (status, {"code": status, "error": {"message": "no"}})
    meter = follows.meter(name, answer)
    watch = Watch(meter, follows.submitted(meter))
    assert watch.ask() is None
    assert watch.reservation.state is State.SUBMITTED


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("word", ["failed", "FAILED "])
def test_a_failure_gives_back_only_where_it_is_known_to_be_free(
    follows: Follows, name: str, word: str
):
    meter = follows.meter(name, (200, task(name, word)))
    ended = meter.follow(follows.submitted(meter).id)
    free = FACTS[name].frees_failures
    assert ended.state is (State.ROLLED_BACK if free else State.IN_DOUBT)


# --- wishes to be left alone ------------------------------------------------------------------


def wishes(name: str, wish: str) -> dict[str, Answer]:
    busy: tuple[int, Any] = (429, {"code": 429, "error": {"type": "rate_limit_error"}})
    return {
        "running": (200, task(name, "pending"), {"Retry-After": wish}),
        "busy": (*busy, {"Retry-After": wish}),
        "missing": (404, {"code": 404, "error": {"message": "no"}}, {"Retry-After": wish}),
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["running", "busy", "missing"])
@pytest.mark.parametrize(
    "wish", ["61", "3600", "9000000000", "1e300", "Fri, 31 Dec 9999 00:00:00 GMT"]
)
def test_a_long_wish_is_cut_short_and_said_once(follows: Follows, name: str, kind: str, wish: str):
    meter = follows.meter(name, wishes(name, wish)[kind])
    watch = Watch(meter, follows.submitted(meter))
    assert [watch.ask() for _ in range(3)] == [LONGEST_WISH_S] * 3
    told = [error for error in follows.troubles if "asks for a pause" in error.problem]
    assert len(told) == 1
    assert isinstance(told[0], PollError)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wish", ["60", "7", "0", "-5", "nan", "inf", "-inf", "soon", "1e999"])
def test_any_other_wish_is_heeded_or_none(follows: Follows, name: str, wish: str):
    meter = follows.meter(name, wishes(name, wish)["running"])
    watch = Watch(meter, follows.submitted(meter))
    assert watch.ask() == (float(wish) if wish in {"60", "7"} else 0.01)
    assert follows.troubles == []
