"""Recent: the last refusals and how many there were, however many come and from wherever."""

from __future__ import annotations

import threading

from kling_ledger.gateway.events import Kind
from kling_ledger.gateway.recent import Recent
from tests.gateway_exchanges import AT, PROMPT, body_error, exchange, over_budget, refused, usd


def test_a_refusal_is_kept_with_who_asked_for_what_and_why_not():
    recent = Recent()
    recent(exchange())
    recent(refused())
    (kept,) = recent.refusals
    assert (kept.number, kept.at, kept.code) == (1, AT, "budget")
    assert (kept.caller, kept.wallet, kept.project) == ("openclaw", "team", "film/teaser")
    assert (kept.provider, kept.model, kept.action) == ("runapi", "kling-3.0", "text_to_video")
    assert kept.asked == usd("0.675")
    assert kept.reason.startswith("budget daily: limit 2 USD, spent 1.5 USD")
    assert kept.hint == "up to 0.5 USD would be admitted now; or raise it temporarily"


def test_only_the_last_are_kept_the_latest_first_and_all_are_counted():
    recent = Recent(keep=3)
    for number in range(10):
        recent(refused(over_budget(f"daily-{number}")))
    recent(refused(body_error("x")))
    recent(exchange(kind=Kind.POLL))
    assert [one.number for one in recent.refusals] == [11, 10, 9]
    assert recent.counts.requests == {Kind.SUBMIT: 11, Kind.POLL: 1}
    assert recent.counts.refusals == {"budget": 10, "request": 1}


def test_what_a_body_held_is_not_kept():
    recent = Recent()
    recent(refused(body_error(PROMPT, 7)))
    (kept,) = recent.refusals
    assert kept.reason == "$.field0: allowed: something else; $.field1: allowed: something else"
    assert kept.hint is None
    assert PROMPT[:10] not in repr(kept)


def test_many_threads_are_counted_to_the_last():
    recent = Recent(keep=5)

    def work() -> None:
        for _ in range(500):
            recent(refused())
            assert len(recent.refusals) <= 5

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert recent.counts.refusals == {"budget": 4000}
    assert [one.number for one in recent.refusals] == [4000, 3999, 3998, 3997, 3996]
