"""What goes wrong on request: every marker, in every dialect, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from kling_ledger.sandbox import SandboxSettings
from tests.sandbox_rig import PRICES, PROVIDERS, WORDS, Caller, Rig, body, rigged

every_provider = pytest.mark.parametrize("provider", PROVIDERS)

CUT = "Server disconnected"
HALF = "without sending complete message body"


@pytest.fixture
def rig() -> Iterator[Rig]:
    with rigged(SandboxSettings(hang_s=0.05)) as running:
        yield running


@pytest.fixture(scope="module")
def shared() -> Iterator[Rig]:
    """One sandbox for the tests that make no job in it."""
    with rigged(SandboxSettings(hang_s=0.05)) as running:
        yield running
        assert not any(store.jobs() for store in running.sandbox.stores.values())


def outcome_of(caller: Caller, prompt: str, **headers: str) -> object:
    """Create a job and say in a word what came of it."""
    return heard(caller, lambda: caller.create(prompt, **headers))


def polled(caller: Caller, task_id: str) -> object:
    """Poll a job and say in a word what came of it."""
    return heard(caller, lambda: caller.poll(task_id))


def heard(caller: Caller, call: Callable[[], httpx.Response]) -> object:
    try:
        reply = call()
    except httpx.RemoteProtocolError as error:
        return "half" if HALF in str(error) else "cut" if CUT in str(error) else str(error)
    try:
        return caller.status_of(reply)
    except json.JSONDecodeError:
        return "malformed"


# Refused, and nothing is taken


@every_provider
@pytest.mark.parametrize("status", [401, 402, 404, 429, 500, 502, 503, 599])
def test_a_refused_create_is_answered_so_and_makes_no_job(
    shared: Rig, provider: str, status: int
) -> None:
    assert outcome_of(shared[provider], f"a lake [refuse {status}]") == status


@every_provider
def test_too_many_requests_come_with_the_seconds_to_wait(shared: Rig, provider: str) -> None:
    assert shared[provider].create("[refuse 429]").headers["Retry-After"] == "1"
    assert "Retry-After" not in shared[provider].create("[refuse 500]").headers


@every_provider
def test_content_can_be_refused_by_moderation(shared: Rig, provider: str) -> None:
    expected = 422 if provider == "crun" else 400
    reply = shared[provider].create("[refuse moderation]")
    assert shared[provider].status_of(reply) == expected
    assert "moderation" in reply.text


@every_provider
@pytest.mark.parametrize("word", ["cut", "half"])
def test_a_connection_can_be_cut_before_anything_is_taken(
    shared: Rig, provider: str, word: str
) -> None:
    assert outcome_of(shared[provider], f"a lake [refuse {word}]") == word


@every_provider
def test_a_create_can_be_left_without_an_answer_before_anything_is_taken(
    shared: Rig, provider: str
) -> None:
    # The caller had more patience than the sandbox.
    assert outcome_of(shared[provider], "a lake [refuse hang]") == "cut"


@every_provider
def test_a_refusal_that_is_counted_ends(rig: Rig, provider: str) -> None:
    seen = [outcome_of(rig[provider], "a lake [refuse 503 2]") for _ in range(4)]
    assert seen == [503, 503, 200, 200]
    assert len(rig.truth(provider)["tasks"]) == 2


def test_refusals_are_counted_for_each_key(rig: Rig) -> None:
    keys = [{"Idempotency-Key": key} for key in ("one", "one", "two", "two")]
    seen = [outcome_of(rig["runapi"], "[refuse cut 1]", **key) for key in keys]
    assert seen == ["cut", 200, "cut", 200]


# Lost: the job is taken, its reply is not


@every_provider
@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("[lose 500]", 500),
        ("[lose 502]", 502),
        ("[lose 504]", 504),
        ("[lose cut]", "cut"),
        ("[lose half]", "half"),
        ("[lose hang]", "cut"),
    ],
)
def test_a_lost_create_has_made_the_job_all_the_same(
    rig: Rig, provider: str, marker: str, expected: object
) -> None:
    assert outcome_of(rig[provider], f"a lake {marker}") == expected
    rig.wait(2)
    task = rig.only_task(provider)
    assert (task["charged"], task["times_charged"]) == (PRICES[provider], 1)
    assert task["script"] == [marker]


@every_provider
def test_a_reply_that_is_no_json_still_says_200(rig: Rig, provider: str) -> None:
    reply = rig[provider].create("[lose malformed]")
    assert reply.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        reply.json()
    assert len(rig.truth(provider)["tasks"]) == 1


def test_a_caller_that_stops_waiting_has_made_the_job() -> None:
    with rigged(SandboxSettings(hang_s=30)) as patient:
        with pytest.raises(httpx.ReadTimeout):
            patient.http.post(
                f"{patient.sandbox.url}/api/v1/kling/text_to_video",
                json=body("runapi", "[lose hang]"),
                headers=patient["runapi"].headers,
                timeout=0.1,
            )
        assert len(patient.truth("runapi")["tasks"]) == 1


@pytest.mark.parametrize("word", ["500", "cut", "half", "hang", "malformed"])
def test_a_lost_runapi_create_is_found_again_by_its_key(rig: Rig, word: str) -> None:
    key = {"Idempotency-Key": "one"}
    heard(rig["runapi"], lambda: rig["runapi"].create(f"[lose {word}]", **key))
    again = rig["runapi"].create(f"[lose {word}]", **key)
    assert again.json()["task_replayed"] is True
    assert rig.only_task("runapi")["id"] == again.json()["id"]


# Polls


@every_provider
def test_polls_go_wrong_one_after_the_other_and_then_no_more(rig: Rig, provider: str) -> None:
    caller = rig[provider]
    task_id = caller.made("[poll 500 2] [poll cut] [poll 429] [poll half] [poll 404]")
    seen = [polled(caller, task_id) for _ in range(8)]
    assert seen == [500, 500, "cut", 429, "half", 404, 200, 200]
    assert rig.only_task(provider)["polls"] == 8


@every_provider
def test_a_poll_can_be_no_json(rig: Rig, provider: str) -> None:
    task_id = rig[provider].made("[poll malformed]")
    with pytest.raises(json.JSONDecodeError):
        rig[provider].poll(task_id).json()
    assert rig[provider].state(task_id) == WORDS[provider][0]


@every_provider
def test_malformed_is_a_broken_create_and_a_broken_poll(rig: Rig, provider: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        rig[provider].create("[malformed]").json()
    task_id = rig.only_task(provider)["id"]
    with pytest.raises(json.JSONDecodeError):
        rig[provider].poll(task_id).json()
    assert polled(rig[provider], task_id) == 200


@every_provider
def test_a_state_that_nobody_documented_hides_the_true_one(rig: Rig, provider: str) -> None:
    task_id = rig[provider].made("[state archived]")
    rig.wait(2)
    task = rig[provider].task(task_id)
    assert task["status"] == "archived"
    assert not {"usage", "videos", "results", "video_url", "error"} & set(task)
    assert (task.get("credits"), task.get("result")) == (None, None)
    assert rig.only_task(provider)["state"] == "completed"


@every_provider
def test_an_unknown_state_that_is_counted_gives_way_to_the_true_one(
    rig: Rig, provider: str
) -> None:
    task_id = rig[provider].made("[state odd 2] [poll 500]")
    assert polled(rig[provider], task_id) == 500
    seen = [rig[provider].state(task_id) for _ in range(3)]
    assert seen == ["odd", "odd", WORDS[provider][0]]


# How it ends


@every_provider
def test_a_job_that_failed_can_succeed_later_and_is_charged_then(rig: Rig, provider: str) -> None:
    task_id = rig[provider].made("[revive 3]")
    rig.wait(2)
    failed, spent = rig[provider].state(task_id), rig.truth(provider)["spent"]
    rig.wait(2.99)
    still = rig[provider].state(task_id)
    rig.wait(0.01)
    _, _, done_word, failed_word = WORDS[provider]
    assert (failed, still, spent) == (failed_word, failed_word, "0")
    assert rig[provider].state(task_id) == done_word
    assert rig.truth(provider)["spent"] == PRICES[provider]
    assert rig.truth(provider)["reserved"] == "0"


@every_provider
@pytest.mark.parametrize(
    ("marker", "share"), [("[cost 50%]", 0.5), ("[cost 150%]", 1.5), ("[cost 0]", 0)]
)
def test_a_job_can_be_charged_another_amount_than_quoted(
    rig: Rig, provider: str, marker: str, share: float
) -> None:
    rig[provider].made(marker)
    rig.wait(2)
    task = rig.only_task(provider)
    assert float(task["charged"]) == pytest.approx(share * float(PRICES[provider]))
    assert task["quoted"] == PRICES[provider]


@every_provider
def test_a_job_can_be_charged_two_times(rig: Rig, provider: str) -> None:
    rig[provider].made("[charge twice] [cost 10]")
    rig.wait(2)
    task = rig.only_task(provider)
    assert (task["charged"], task["times_charged"]) == ("20", 2)
    assert rig.truth(provider)["spent"] == "20"


@every_provider
@pytest.mark.parametrize("marker", ["[never]", "[never] [fail]", "[never] [revive]"])
def test_a_job_that_never_ends_stays_in_progress(rig: Rig, provider: str, marker: str) -> None:
    task_id = rig[provider].made(marker)
    rig.wait(10**6)
    assert rig[provider].state(task_id) == WORDS[provider][1]
    assert rig.only_task(provider)["ended_at"] is None
    assert rig.truth(provider)["reserved"] == PRICES[provider]


@every_provider
def test_a_job_that_never_ends_ends_when_it_is_told_to(rig: Rig, provider: str) -> None:
    task_id = rig[provider].made("[never] [poll 500 9] [state odd]")
    rig.wait(10**6)
    assert rig[provider].status_of(rig[provider].poll(task_id)) == 500
    finished = rig.http.post(f"{rig.sandbox.url}/sandbox/finish").json()["finished"]
    assert finished[provider] == 1
    assert rig[provider].state(task_id) == WORDS[provider][2]
    assert rig.only_task(provider)["charged"] == PRICES[provider]


def test_finishing_ends_failures_and_revivals_too(rig: Rig) -> None:
    for marker in ("[fail]", "[revive]", "[takes 90]", "[fail] [never]"):
        rig["crun"].made(marker)
    rig.wait(2)
    rig.wait(0.5)
    assert rig.sandbox.finish() == 3
    account = rig.truth("crun")
    states = [task["state"] for task in account["tasks"]]
    assert states == ["failed", "completed", "completed", "failed"]
    assert (account["spent"], account["reserved"]) == ("270", "0")
    assert rig.sandbox.finish() == 0


@every_provider
def test_every_answer_can_come_late(rig: Rig, provider: str) -> None:
    caller = rig[provider]
    reply = caller.create("[latency 0.1]")
    poll = caller.poll(caller.id_of(reply))
    assert reply.elapsed.total_seconds() >= 0.1
    assert poll.elapsed.total_seconds() >= 0.1


def test_a_prompt_in_a_shot_steers_the_job_too(rig: Rig) -> None:
    content = body("crun")
    shots = [{"prompt": "a lake", "duration": 2}, {"prompt": "rain [fail]", "duration": 3}]
    content["input"] |= {
        "multi_shots": True,
        "shot_type": "customize",
        "multi_prompt": shots,
        "img_urls": ["https://example.com/a.png"],
    }
    del content["input"]["prompt"]
    assert rig["crun"].status_of(rig["crun"].send(content)) == 200
    rig.wait(2)
    assert rig.only_task("crun")["state"] == "failed"


# By seed


@every_provider
def test_a_seed_gives_each_prompt_its_script_and_the_same_again(provider: str) -> None:
    def scripts() -> list[list[str]]:
        with rigged(SandboxSettings(misbehave="7", hang_s=0.05)) as rig:
            for number in range(12):
                outcome_of(rig[provider], f"clip {number}")
            return [task["script"] for task in rig.truth(provider)["tasks"]]

    first = scripts()
    assert first == scripts()
    assert len({tuple(script) for script in first}) > 3


@every_provider
def test_no_script_breaks_the_sandbox_itself(provider: str) -> None:
    with rigged(SandboxSettings(misbehave="3", hang_s=0)) as rig:
        for number in range(60):
            outcome_of(rig[provider], f"clip {number}")
        for task in rig.truth(provider)["tasks"]:
            polled(rig[provider], task["id"])
        rig.wait(10)
        rig.sandbox.finish()
        account = rig.truth(provider)
        seen = [rig[provider].state(task["id"]) for task in account["tasks"]]
    _, _, done, failed = WORDS[provider]
    ended = {"completed": done, "failed": failed}
    assert seen == [ended[task["state"]] for task in account["tasks"]]
    assert len(seen) > 30
    assert account["reserved"] == "0"


def test_a_prompt_with_markers_of_its_own_is_left_to_them() -> None:
    with rigged(SandboxSettings(misbehave="7")) as rig:
        rig["runapi"].made("[takes 1]")
        assert rig.only_task("runapi")["script"] == ["[takes 1]"]
