"""The meter: what becomes of the credits, whatever becomes of the job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from kling_ledger.errors import (
    CeilingError,
    ConfigError,
    InsufficientCreditsError,
    JobRefusedError,
    ProviderError,
    StateError,
)
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.watch import Patience
from kling_ledger.ledger import Ledger, Reservation, State
from kling_ledger.providers.base import Pacing
from kling_ledger.providers.runapi.dialect import RunApi, connect
from kling_ledger.sandbox import Sandbox
from kling_pricing import NoPriceError, RequestError
from tests.ledgers import usd
from tests.loopback import HANG_UP, answering

OPENED: list[RunApi] = []
QUICK = Patience(poll_every_s=0.05, longest_s=5, failing_polls=2, repeat_s=0.01)
SETTINGS: dict[str, Any] = {"wallet": "team", "patience": QUICK, "asks_estimate": False}


def body(prompt: str = "a lake", **more: Any) -> dict[str, Any]:
    return {
        "model": "kling-3.0",
        "prompt": prompt,
        "duration_seconds": 5,
        "output_resolution": "1080p",
        "enable_sound": True,
        **more,
    }


@pytest.fixture(autouse=True)
def _close_what_was_opened() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def meter(ledger: Ledger, url: str, **more: Any) -> Meter:
    provider = connect("sandbox-key", base_url=url, pacing=Pacing(sleep=lambda _: None))
    OPENED.append(provider)
    return Meter(ledger, provider, **{**SETTINGS, **more})


def assert_untouched(ledger: Ledger) -> None:
    wallet = ledger.wallets.get("team")
    assert (wallet.available, wallet.reserved, wallet.spent) == (usd("2"), usd("0"), usd("0"))
    assert ledger.verify().is_clean


def test_a_finished_job_is_committed_at_its_settled_cost(
    ledger: Ledger, team: str, sandbox: Sandbox
):
    ended = meter(ledger, sandbox.url, project="film").run(body())
    assert (ended.state, ended.committed, ended.settled_by) == (
        "committed",
        usd("0.675"),
        "provider",
    )
    assert ended.project == "film"
    assert ended.videos[0].startswith(sandbox.url)
    assert ledger.wallets.get(team).available == usd("1.325")


@pytest.mark.parametrize(("cost", "left"), [("0.6", "1.4"), ("0.8", "1.2"), ("2.5", "-0.5")])
def test_the_settled_cost_wins_over_the_quote(
    ledger: Ledger, team: str, sandbox: Sandbox, cost: str, left: str
):
    ended = meter(ledger, sandbox.url).run(body(f"a lake [cost {cost}]"))
    assert ended.committed == usd(cost)
    assert ledger.wallets.get(team).available == usd(left)
    assert ledger.verify().is_clean


def test_a_failed_job_gives_everything_back(ledger: Ledger, team: str, sandbox: Sandbox):
    ended = meter(ledger, sandbox.url).run(body("a lake [fail]"))
    assert ended.state is State.ROLLED_BACK
    assert ended.committed is None
    assert ended.problem
    assert_untouched(ledger)


@pytest.mark.parametrize("status", [401, 402, 422])
def test_a_refused_job_gives_everything_back(
    ledger: Ledger, team: str, sandbox: Sandbox, status: int
):
    ended = meter(ledger, sandbox.url).run(body(f"a lake [refuse {status}]"))
    assert ended.state is State.ROLLED_BACK
    assert_untouched(ledger)


def test_a_wallet_with_too_little_sends_nothing(ledger: Ledger, team: str):
    with answering((200, {"id": "t1"})) as server:
        with pytest.raises(InsufficientCreditsError, match=r"needed 10.05 USD, available 2 USD"):
            meter(ledger, server.url).run(body(duration_seconds=15, output_resolution="4k"))
        assert server.seen == []
    assert_untouched(ledger)


def test_a_ceiling_admits_its_own_amount_and_refuses_a_millionth_less(
    ledger: Ledger, team: str, sandbox: Sandbox
):
    assert meter(ledger, sandbox.url, ceiling=usd("1.35")).run(body()).state is State.COMMITTED
    with pytest.raises(CeilingError):
        meter(ledger, sandbox.url, ceiling=usd("1.349999")).run(body())


@pytest.mark.parametrize(
    ("wrong", "error"), [({"duration_seconds": 2}, RequestError), ({"model": "x"}, NoPriceError)]
)
def test_what_cannot_be_priced_is_neither_reserved_nor_sent(
    ledger: Ledger, team: str, wrong: dict[str, Any], error: type[Exception]
):
    with answering((200, {"id": "t1"})) as server:
        with pytest.raises(error):
            meter(ledger, server.url).run(body(**wrong))
        assert server.seen == []
    assert ledger.reservations.latest() == []


def test_submitting_is_on_disk_before_the_request_is_sent(ledger: Ledger, team: str):
    states = []
    with answering((200, {"id": "t1"})) as server:

        def look(_: Reservation) -> None:
            with Ledger(ledger.database.url) as other:
                states.append((str(other.reservations.latest()[0].state), len(server.seen)))

        spender = meter(ledger, server.url, on_change=look)
        spender.submit(spender.reserve(body()), body())
    assert states == [("reserved", 0), ("submitting", 0), ("submitted", 1)]


def test_a_lost_reply_leaves_the_credits_reserved(ledger: Ledger, team: str):
    with answering(HANG_UP) as server:
        ended = meter(ledger, server.url).run(body())
    assert ended.state is State.IN_DOUBT
    assert ledger.wallets.get(team).reserved == usd("1.35")


def test_a_job_in_doubt_is_asked_for_again_under_its_own_key(ledger: Ledger, team: str):
    done = {"id": "t1", "status": "completed", "videos": [], "usage": {"cost": 0.5}}
    with answering(HANG_UP, HANG_UP, HANG_UP, (200, {"id": "t1"}), (200, done)) as server:
        spender = meter(ledger, server.url)
        doubtful = spender.run(body())
        ended = spender.carry_on(doubtful, body())
        keys = {seen.headers.get("Idempotency-Key") for seen in server.seen[:-1]}
    assert (ended.id, ended.state, ended.committed) == (doubtful.id, "committed", usd("0.5"))
    assert keys == {doubtful.id}


def test_a_refusal_of_a_repeated_submission_gives_nothing_back(ledger: Ledger, team: str):
    with answering(HANG_UP, HANG_UP, HANG_UP, (401, {"error": "no"})) as server:
        spender = meter(ledger, server.url)
        ended = spender.carry_on(spender.run(body()), body())
    assert ended.state is State.IN_DOUBT
    assert ledger.wallets.get(team).reserved == usd("1.35")


def test_a_provider_that_stops_answering_keeps_the_job_submitted(ledger: Ledger, team: str):
    with answering((200, {"id": "t1"}), (503, {})) as server:
        ended = meter(ledger, server.url).run(body())
    assert ended.state is State.SUBMITTED
    assert ledger.wallets.get(team).reserved == usd("1.35")


def test_a_job_without_a_verdict_in_its_longest_life_is_in_doubt(
    ledger: Ledger, team: str, sandbox: Sandbox
):
    impatient = Patience(poll_every_s=0.05, longest_s=0.3)
    ended = meter(ledger, sandbox.url, patience=impatient).run(body("a lake [never]"))
    assert ended.state is State.IN_DOUBT
    assert "no verdict within 0.3 s" in (ended.problem or "")


def test_a_state_that_nobody_documented_is_in_doubt_and_not_failed(ledger: Ledger, team: str):
    with answering((200, {"id": "t1"}), (200, {"id": "t1", "status": "frozen"})) as server:
        ended = meter(ledger, server.url).run(body())
    assert ended.state is State.IN_DOUBT
    assert "frozen" in (ended.problem or "")


def test_a_completed_job_that_names_no_cost_is_committed_at_the_quote(ledger: Ledger, team: str):
    done = {"id": "t1", "status": "completed", "videos": [{"url": "https://f.example/a.mp4"}]}
    with answering((200, {"id": "t1"}), (200, done)) as server:
        ended = meter(ledger, server.url).run(body())
    assert (ended.committed, ended.settled_by) == (usd("1.35"), "quote")


def test_a_completed_job_that_names_neither_cost_nor_clip_is_in_doubt(ledger: Ledger, team: str):
    done = {"id": "t1", "status": "completed", "videos": []}
    with answering((200, {"id": "t1"}), (200, done)) as server:
        ended = meter(ledger, server.url).run(body())
    assert (ended.state, ended.held) == (State.IN_DOUBT, usd("1.35"))
    assert ended.problem == "it is completed, but has no clip"


def test_a_known_key_follows_its_job_and_starts_no_other(
    ledger: Ledger, team: str, sandbox: Sandbox
):
    spender = meter(ledger, sandbox.url)
    first = spender.run(body(), key="shot-1")
    assert spender.run(body(), key="shot-1").id == first.id
    assert ledger.wallets.get(team).spent == usd("0.675")


def test_ctrl_c_in_the_middle_of_a_submission_leaves_it_in_doubt(ledger: Ledger, team: str):
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with answering(HANG_UP) as server:
        spender = meter(ledger, server.url)
        spender = replace(spender, provider=replace(OPENED[-1], pacing=Pacing(sleep=interrupt)))
        with pytest.raises(KeyboardInterrupt):
            spender.run(body())
    assert ledger.reservations.latest()[0].state is State.IN_DOUBT


def test_only_one_caller_may_begin_to_submit(ledger: Ledger, team: str, sandbox: Sandbox):
    spender = meter(ledger, sandbox.url)
    reserved = spender.reserve(body(), key="shot-1")
    ledger.mark_submitting(reserved.id)
    with pytest.raises(StateError):
        spender.submit(reserved, body())


def test_the_quote_and_the_request_are_kept_with_the_reservation(
    ledger: Ledger, team: str, sandbox: Sandbox
):
    job = meter(ledger, sandbox.url).run(body()).job
    assert '"rate": "0.135"' in (job.quote or "")
    assert '"prompt": "a lake"' in (job.request or "")
    assert job.usd == usd("1.35")
    assert (job.payload_hash or "").startswith("sha256:")


# --- several callers, and replies that do not fit -------------------------------------------


def during(spender: Meter, act: Callable[[], object]) -> Meter:
    """A meter that does something the first time that it waits between two attempts."""
    acts = [act]

    def pause(_: float) -> None:
        if acts:
            acts.pop()()

    return replace(spender, provider=replace(OPENED[-1], pacing=Pacing(sleep=pause)))


def test_a_refusal_of_one_sender_gives_nothing_back_while_another_has_sent(
    ledger: Ledger, team: str
):
    limited, taken = (429, {"error": "slow"}), (200, {"id": "t1"})
    with answering(limited, taken, limited) as server:
        other = meter(ledger, server.url)

        def repeat() -> None:
            other.submit(ledger.reservations.latest()[0], body())

        first = during(meter(ledger, server.url), repeat)
        with pytest.raises(JobRefusedError):
            first.submit(first.reserve(body()), body())
    left = ledger.reservations.latest()[0]
    assert (left.state, left.task_id) == (State.SUBMITTED, "t1")
    assert ledger.wallets.get(team).reserved == usd("1.35")


def test_an_ended_reservation_is_never_sent_again(ledger: Ledger, team: str):
    with answering((402, {"error": "no"}), (200, {"id": "t1"})) as server:
        spender = meter(ledger, server.url)
        ended = spender.run(body(), key="shot-1")
        with pytest.raises(StateError, match="rolled_back"):
            spender.submit(ended, body())
        assert spender.run(body(), key="shot-1") == ended
        assert len(server.seen) == 1


def test_the_loser_of_a_race_to_send_follows_the_winner(ledger: Ledger, team: str):
    done = {"id": "t1", "status": "completed", "videos": [], "usage": {"cost": 0.5}}
    with answering((200, {"id": "t1"}), (200, done)) as server:
        spender = meter(ledger, server.url)
        stale = spender.reserve(body(), key="shot-1")
        spender.submit(stale, body())
        ended = spender.carry_on(stale, body())
        assert [seen.method for seen in server.seen] == ["POST", "GET"]
    assert (ended.state, ended.committed) == (State.COMMITTED, usd("0.5"))


def test_a_task_whose_reservation_ended_meanwhile_is_kept(ledger: Ledger, team: str):
    with answering((503, {}), (200, {"id": "t1"})) as server:
        spender = meter(ledger, server.url)
        spender = during(
            spender, lambda: ledger.roll_back(ledger.reservations.latest()[0].id, "enough")
        )
        spender.submit(spender.reserve(body()), body())
    left = ledger.reservations.latest()[0]
    assert (left.state, left.task_id) == (State.ROLLED_BACK, "t1")
    assert ledger.commit(left.id, usd("0.675")).state is State.COMMITTED


def test_a_failed_job_that_was_charged_is_charged(ledger: Ledger, team: str):
    failed = {"id": "t1", "status": "failed", "error": "moderation", "usage": {"cost": 0.675}}
    with answering((200, {"id": "t1"}), (200, failed)) as server:
        ended = meter(ledger, server.url).run(body())
    assert (ended.state, ended.committed) == (State.COMMITTED, usd("0.675"))
    assert ended.problem == "moderation"


def test_a_listener_that_fails_does_not_stop_the_job_and_is_logged(
    ledger: Ledger, team: str, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
):
    def broken(_: object) -> None:
        raise BrokenPipeError

    ended = meter(ledger, sandbox.url, on_change=broken, on_trouble=broken).run(body())
    assert ended.state is State.COMMITTED
    raised = [one for one in caplog.records if one.exc_info]
    assert {(one.name, one.levelname) for one in raised} == {("kling_ledger.jobs", "WARNING")}
    assert "BrokenPipeError" in caplog.text


@pytest.mark.parametrize(
    ("prompt", "level", "word"),
    [
        ("a secret lake", "INFO", "committed 0.675 USD"),
        ("a secret lake [fail]", "INFO", "rolled_back 1.35 USD"),
        ("a secret lake [refuse 422]", "WARNING", "job_refused"),
        ("a secret lake [state archived]", "WARNING", "in_doubt 1.35 USD"),
        ("a secret lake [poll 500 3]", "WARNING", "without answer"),
    ],
)
def test_what_becomes_of_a_job_is_logged_without_its_prompt_and_key(
    ledger: Ledger,
    team: str,
    sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    prompt: str,
    level: str,
    word: str,
):
    caplog.set_level("INFO", logger="kling_ledger")
    ended = meter(ledger, sandbox.url).run(body(prompt))
    ours = [one for one in caplog.records if one.name == "kling_ledger.jobs"]
    assert [one.levelname for one in ours if word in one.getMessage()] == [level]
    told = " ".join(one.getMessage() for one in ours)
    assert ended.id in told
    assert "secret lake" not in told
    assert "sandbox-key" not in told


@pytest.mark.parametrize(("share", "held"), [("80%", "0.675"), ("120%", "0.81")])
def test_the_higher_of_the_book_and_the_live_estimate_is_held(
    ledger: Ledger, team: str, sandbox: Sandbox, share: str, held: str
):
    spender = meter(ledger, sandbox.url, asks_estimate=True)
    reserved = spender.reserve(body(f"a lake [estimate {share}]"))
    assert (reserved.amount, reserved.job.usd) == (usd(held), usd(held))


def test_a_job_is_followed_where_it_was_submitted(ledger: Ledger, team: str, sandbox: Sandbox):
    spender = meter(ledger, sandbox.url)
    held = spender.reserve(body("a lake [never]"))
    spender.submit(held, body("a lake [never]"))
    with answering((200, {"id": "t1"})) as server:
        with pytest.raises(ConfigError, match=f"belongs to {sandbox.url}"):
            meter(ledger, server.url).follow(held.id)
        assert server.seen == []


def test_what_the_provider_did_not_answer_is_told(ledger: Ledger, team: str):
    told: list[ProviderError] = []
    with answering((200, {"id": "t1"}), (401, {"error": "who are you"})) as server:
        meter(ledger, server.url, on_trouble=told.append).run(body())
    assert ["who are you" in str(error) for error in told] == [True]
