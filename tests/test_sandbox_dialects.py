"""The four dialects over real HTTP: keys, bodies, states, costs, balances, estimates and links."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from kling_ledger.sandbox import SandboxSettings
from kling_ledger.sandbox.tariff import by
from kling_pricing import Money
from tests.sandbox_rig import (
    BALANCES,
    PATHS,
    PRICES,
    PROVIDERS,
    UNITS,
    WORDS,
    Rig,
    body,
    plain_client,
    rigged,
)

REQUESTS = sorted((Path(__file__).parent / "requests").glob("*.json"))
every_provider = pytest.mark.parametrize("provider", PROVIDERS)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with rigged() as running:
        yield running


@pytest.fixture(scope="module")
def shared() -> Iterator[Rig]:
    """One sandbox for the tests that make no job in it."""
    with rigged() as running:
        yield running
        assert not any(store.jobs() for store in running.sandbox.stores.values())


@pytest.fixture
def poor() -> Iterator[Rig]:
    """Accounts that pay for one clip and not for two, whichever provider it is."""
    with rigged(SandboxSettings(balance=Money(Decimal("0.95"), "USD"))) as running:
        yield running


# A job's life


@every_provider
def test_a_job_goes_through_its_providers_own_states(rig: Rig, provider: str) -> None:
    task_id = rig[provider].made()
    seen = []
    for wait_s in (0, 0.49, 0.01, 1.49, 0.01, 3600):
        rig.wait(wait_s)
        seen.append(rig[provider].state(task_id))
    pending, running, done, _ = WORDS[provider]
    assert seen == [pending, pending, running, running, done, done]


@every_provider
def test_a_completed_job_is_charged_what_the_tariff_says(rig: Rig, provider: str) -> None:
    rig[provider].made()
    assert rig.only_task(provider)["charged"] == "0"
    rig.wait(2)
    task = rig.only_task(provider)
    assert (task["quoted"], task["charged"]) == (PRICES[provider], PRICES[provider])
    assert (task["unit"], task["times_charged"]) == (UNITS[provider], 1)


@every_provider
def test_a_failed_job_is_not_charged_and_holds_nothing(rig: Rig, provider: str) -> None:
    task_id = rig[provider].made("a lake [fail]")
    assert rig.truth(provider)["reserved"] == PRICES[provider]
    rig.wait(2)
    account = rig.truth(provider)
    assert rig[provider].state(task_id) == WORDS[provider][3]
    assert (account["reserved"], account["spent"]) == ("0", "0")
    assert account["balance"] == account["funded"]


def test_each_provider_tells_its_cost_where_it_documents_one(rig: Rig) -> None:
    tasks = {provider: rig[provider].made() for provider in PROVIDERS}
    running = {provider: rig[provider].task(tasks[provider]) for provider in PROVIDERS}
    rig.wait(2)
    done = {provider: rig[provider].task(tasks[provider]) for provider in PROVIDERS}
    assert "usage" not in running["runapi"]
    assert running["crun"]["credits"] is None
    assert done["runapi"]["usage"] == {"cost": 0.675}
    assert (done["crun"]["credits"], done["crun"]["duration_s"]) == (135, 2)
    assert not {"usage", "credits", "cost"} & {*done["evolink"], *done["uniall"]}


def test_evolink_tells_at_create_what_it_reserves_in_ten_thousandths(rig: Rig) -> None:
    content = {**body("evolink"), "sound": "off"}
    created = rig["evolink"].send(content).json()
    # 5 s × 7.1982 credits.
    assert created["usage"] == {
        "billing_rule": "per_second",
        "credits_reserved": 359_910,
        "user_group": "default",
    }
    assert created["id"].startswith("task-unified-")


@pytest.mark.parametrize(
    ("word", "code"),
    [("", "generation_failed_no_content"), (" moderation", "content_policy_violation")],
)
def test_a_failed_evolink_task_says_why_in_a_documented_code(
    rig: Rig, word: str, code: str
) -> None:
    task_id = rig["evolink"].made(f"a lake [fail{word}]")
    rig.wait(2)
    assert rig["evolink"].task(task_id)["error"]["code"] == code


def test_a_failed_crun_task_has_code_and_message_where_its_result_would_be(rig: Rig) -> None:
    task_id = rig["crun"].made("a lake [fail]")
    assert rig["crun"].task(task_id)["result"] is None
    rig.wait(2)
    task = rig["crun"].task(task_id)
    assert task["result"]["code"] == 501
    assert task["result"]["message"]
    assert task["credits"] == 0


# What is asked for


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_every_published_body_runs_to_its_end(rig: Rig, path: Path) -> None:
    caller = rig[path.stem.partition("_")[0]]
    reply = caller.http.post(
        caller.url + PATHS[caller.provider][0], content=path.read_bytes(), headers=caller.headers
    )
    if path.stem == "crun_element_duplicate_keys":
        assert (reply.status_code, reply.json()["code"]) == (200, 422)
        assert "duplicate keys" in reply.json()["message"]
        return
    assert caller.status_of(reply) == 200, reply.text
    task_id = caller.id_of(reply)
    rig.wait(2)
    assert caller.state(task_id) == WORDS[caller.provider][2]
    assert rig.only_task(caller.provider)["times_charged"] == 1


@every_provider
def test_a_body_that_the_provider_does_not_document_is_refused(shared: Rig, provider: str) -> None:
    reply = shared[provider].send({**body(provider), "made_up": 1})
    expected = {"runapi": 422, "crun": 422, "evolink": 400, "uniall": 422}
    assert shared[provider].status_of(reply) == expected[provider]
    assert "made_up" in reply.text


@every_provider
@pytest.mark.parametrize("content", [b"{", b"[]", b"", b"\xff", b'{"model": 1, "model": 2}'])
def test_a_body_that_is_no_json_object_is_refused(
    shared: Rig, provider: str, content: bytes
) -> None:
    caller = shared[provider]
    address = caller.url + PATHS[provider][0]
    reply = caller.http.post(address, content=content, headers=caller.headers)
    assert caller.status_of(reply) == (422 if provider == "crun" else 400)


@every_provider
def test_nothing_is_told_without_the_key(shared: Rig, provider: str) -> None:
    caller = shared[provider]
    create, poll = PATHS[provider]
    addresses = [("POST", create), ("GET", poll.format(id="any"))]
    addresses += [("GET", BALANCES[provider])] if provider in BALANCES else []
    for method, path in addresses:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"x-api-key": "wrong"}):
            reply = caller.http.request(
                method, caller.url + path, headers=headers, json=body(provider)
            )
            assert caller.status_of(reply) == 401


@every_provider
def test_an_unknown_task_is_not_found(shared: Rig, provider: str) -> None:
    caller = shared[provider]
    assert caller.status_of(caller.poll("unknown")) == 404


@every_provider
def test_a_task_is_known_to_its_own_provider_only(rig: Rig, provider: str) -> None:
    task_id = rig[provider].made()
    others = [rig[other] for other in PROVIDERS if other != provider]
    assert [caller.status_of(caller.poll(task_id)) for caller in others] == [404, 404, 404]


def test_keys_have_the_form_of_their_provider() -> None:
    settings = SandboxSettings(api_key="my-key")
    assert settings.key_of("crun").startswith("ak_my-key")
    assert len(settings.key_of("crun")) == 35
    assert settings.key_of("uniall") == "sk-my-key"
    assert settings.key_of("runapi") == settings.key_of("evolink") == "my-key"


@every_provider
def test_a_key_makes_a_create_repeatable_at_runapi_and_nowhere_else(
    rig: Rig, provider: str
) -> None:
    for _ in range(2):
        rig[provider].create(**{"Idempotency-Key": "one"})
    expected = 1 if provider == "runapi" else 2
    assert len(rig.truth(provider)["tasks"]) == expected


URL = "https://example.com/a.png"
OTHER_ACTIONS: dict[str, dict[str, Any]] = {
    "image_to_video": {
        "model": "kling-v3-omni",
        "prompt": "a",
        "first_frame_image_url": URL,
        "duration_seconds": 5,
        "output_resolution": "720p",
    },
    "motion_control": {
        "model": "kling-3.0",
        "source_image_url": URL,
        "reference_video_url": URL,
        "output_resolution": "720p",
        "character_orientation": "image",
    },
    "extend_video": {
        "model": "kling-v2.5-turbo-text-to-video-pro",
        "source_task_id": "t",
        "mode": "std",
    },
    "ai_avatar": {
        "model": "kling-ai-avatar-pro",
        "prompt": "a",
        "source_image_url": URL,
        "source_audio_url": URL,
    },
    "edit_video": {
        "model": "kling-v3-omni-edit",
        "prompt": "a",
        "source_video_url": URL,
        "aspect_ratio": "auto",
        "output_resolution": "720p",
        "duration_seconds": 5,
    },
}
OWN_PRICES = {
    ("kling-v3-omni-edit", "edit_video"): by("output_resolution", **{"720p": "0.1", "1080p": "0.2"})
}


@pytest.mark.parametrize("action", OTHER_ACTIONS)
def test_every_action_of_runapi_runs_where_it_has_a_price(action: str) -> None:
    with rigged(SandboxSettings(prices={"runapi": OWN_PRICES})) as rig:
        address = f"/api/v1/kling/{action}"
        reply = rig["runapi"].post(address, OTHER_ACTIONS[action])
        assert reply.status_code == 200, reply.text
        rig.wait(2)
        task = rig["runapi"].get(f"{address}/{reply.json()['id']}").json()
        truth = rig.only_task("runapi")
    assert task["status"] == "completed"
    assert (truth["action"], float(truth["charged"])) == (action, task["usage"]["cost"])
    assert task["usage"]["cost"] > 0


def test_without_a_price_of_ones_own_an_edit_has_none(shared: Rig) -> None:
    reply = shared["runapi"].post("/api/v1/kling/edit_video", OTHER_ACTIONS["edit_video"])
    assert reply.json()["error"]["code"] == "model_not_available"


# Balances and estimates


def balance(rig: Rig, provider: str) -> Decimal:
    content = rig[provider].get(BALANCES[provider]).json()
    if provider == "runapi":
        return Decimal(str(content["balance_cents"])) / 100
    if provider == "crun":
        return Decimal(str(content["data"]["balance"]))
    user = content["data"]["user"]
    assert user["remaining_credits"] == content["data"]["token"]["remaining_credits"]
    return Decimal(str(user["remaining_credits"]))


@pytest.mark.parametrize("provider", sorted(BALANCES))
def test_the_balance_goes_down_by_what_a_job_is_charged(rig: Rig, provider: str) -> None:
    before = balance(rig, provider)
    rig[provider].made()
    assert balance(rig, provider) == before
    rig.wait(2)
    assert before - balance(rig, provider) == Decimal(PRICES[provider])


def test_accounts_hold_the_same_worth_in_their_own_units(shared: Rig) -> None:
    assert balance(shared, "runapi") == 100
    assert balance(shared, "crun") == 20_000
    assert balance(shared, "evolink") == 7_200


@every_provider
def test_an_account_that_open_jobs_have_used_up_takes_no_other(poor: Rig, provider: str) -> None:
    caller = poor[provider]
    caller.made("[fail]")
    assert caller.status_of(caller.create()) == 402
    poor.wait(2)
    assert caller.status_of(caller.create()) == 200


def estimated(rig: Rig, content: object) -> dict[str, Any]:
    reply = rig["crun"].post("/api/v1/client/job/EstimateTask", content)
    assert rig["crun"].status_of(reply) == 200, reply.text
    return dict(reply.json()["data"])


def test_crun_estimates_what_it_will_charge_and_makes_no_task(shared: Rig) -> None:
    assert estimated(shared, body("crun")) == {
        "estimated_credits": 135,
        "balance": 20_000,
        "affordable": True,
    }


def test_crun_says_when_a_task_is_not_affordable(poor: Rig) -> None:
    poor["crun"].made()
    assert estimated(poor, body("crun"))["affordable"] is False


def test_a_silent_crun_clip_costs_what_one_with_sound_does(rig: Rig) -> None:
    content = body("crun")
    content["input"]["audio"] = False
    assert estimated(rig, content)["estimated_credits"] == 135
    rig["crun"].send(content)
    assert rig.only_task("crun")["quoted"] == "135"


@pytest.mark.parametrize(("marker", "told"), [("[estimate 150%]", 202.5), ("[estimate 3]", 3)])
def test_an_estimate_may_differ_from_what_is_charged(rig: Rig, marker: str, told: float) -> None:
    content = body("crun", f"a lake {marker}")
    assert estimated(rig, content)["estimated_credits"] == told
    rig["crun"].send(content)
    assert rig.only_task("crun")["quoted"] == "135"


def test_an_estimate_may_not_be_had(shared: Rig) -> None:
    content = body("crun", "a lake [estimate 500]")
    reply = shared["crun"].post("/api/v1/client/job/EstimateTask", content)
    assert shared["crun"].status_of(reply) == 500


def test_runapis_quote_obeys_the_same_markers(shared: Rig) -> None:
    params = {name: value for name, value in body("runapi").items() if name != "model"}
    asked: dict[str, Any] = {"service": "kling", "action": "text_to_video", "model": "kling-3.0"}
    params["prompt"] = "[estimate 200%]"
    reply = shared["runapi"].post("/api/v1/price_quotes", {**asked, "params": params})
    assert reply.json()["price_quote"]["reservation_amount_cents"] == 135
    params["prompt"] = "[estimate 503]"
    reply = shared["runapi"].post("/api/v1/price_quotes", {**asked, "params": params})
    assert reply.status_code == 503


# Links


def completed_link(rig: Rig, provider: str, prompt: str = "a lake") -> str:
    task_id = rig[provider].made(prompt)
    rig.wait(2)
    [link] = rig[provider].links(rig[provider].task(task_id))
    return link


def download(link: str, **headers: str) -> httpx.Response:
    with plain_client() as http:
        return http.get(link, headers=headers)


@every_provider
def test_a_completed_job_has_a_link_that_needs_no_key(rig: Rig, provider: str) -> None:
    reply = download(completed_link(rig, provider))
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "video/mp4")
    assert reply.content[4:8] == b"ftyp"
    assert rig.only_task(provider)["downloads"] == 1


@pytest.mark.parametrize(
    ("provider", "life_s"), [("runapi", 7 * 86_400), ("evolink", 86_400), ("crun", None)]
)
def test_a_link_lives_as_long_as_its_provider_documents(
    rig: Rig, provider: str, life_s: int | None
) -> None:
    link = completed_link(rig, provider)
    rig.wait((life_s or 10**9) - 1)
    assert download(link).status_code == 200
    rig.wait(1)
    assert download(link).status_code == (410 if life_s else 200)


def test_the_life_of_links_can_be_set() -> None:
    with rigged(SandboxSettings(link_s=60)) as rig:
        link = completed_link(rig, "uniall")
        rig.wait(60)
        assert download(link).status_code == 410


def test_a_download_can_go_on_where_it_was_cut(rig: Rig) -> None:
    link = completed_link(rig, "evolink", "a lake [file half]")
    with pytest.raises(httpx.RemoteProtocolError):
        download(link)
    whole = download(link).content
    rest = download(link, Range="bytes=40000-")
    assert (rest.status_code, rest.content) == (206, whole[40_000:])
    assert rest.headers["Content-Range"] == f"bytes 40000-{len(whole) - 1}/{len(whole)}"
    assert download(link, Range="bytes=0-9").content == whole[:10]
    assert download(link, Range=f"bytes={len(whole)}-").status_code == 416


def test_two_clips_are_not_the_same_file(rig: Rig) -> None:
    one, other = (download(completed_link(rig, "crun")).content for _ in range(2))
    assert one != other
    assert len(one) == len(other)


def test_the_requests_folder_covers_every_provider() -> None:
    assert {path.stem.partition("_")[0] for path in REQUESTS} == set(PROVIDERS)
    assert all(json.loads(path.read_text()) for path in REQUESTS)
