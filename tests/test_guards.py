"""metered(KlingClient): the client's own replies and errors, within a wallet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from runapi.core import AuthenticationError, NotFoundError, RequestOptions, TaskFailedError
from runapi.core import InsufficientCreditsError as InsufficientCreditsAtProvider
from runapi.kling import KlingClient
from runapi.kling.types import CompletedTextToVideoResponse, TextToVideoResponse

from kling_ledger import Ledger, metered
from kling_ledger.errors import CeilingError, InsufficientCreditsError, StateError
from kling_ledger.guards import MeteredKlingClient
from kling_ledger.providers.runapi import RunApi
from kling_ledger.sandbox import Sandbox, SandboxSettings
from kling_pricing import NoPriceError
from tests.ledgers import usd
from tests.loopback import answering

OPENED: list[KlingClient] = []
CLIP: dict[str, Any] = {
    "model": "kling-3.0",
    "prompt": "a lake",
    "duration_seconds": 5,
    "output_resolution": "1080p",
    "enable_sound": True,
}


@pytest.fixture(autouse=True)
def _close_what_was_opened() -> Iterator[None]:
    yield
    while OPENED:
        RunApi(OPENED.pop()).close()


def client(ledger: Ledger, sandbox: Sandbox, **more: Any) -> MeteredKlingClient:
    plain = KlingClient(api_key=more.pop("api_key", "sandbox-key"), base_url=sandbox.url)
    OPENED.append(plain)
    return metered(plain, ledger, wallet="team", **more)


def test_run_returns_the_clients_own_completed_reply(ledger: Ledger, team: str, sandbox: Sandbox):
    result = client(ledger, sandbox).text_to_video.run(**CLIP)
    assert isinstance(result, CompletedTextToVideoResponse)
    assert result.usage.cost == 0.675
    assert result.videos[0].url.endswith(".mp4")
    assert ledger.wallet(team).spent == usd("0.675")


def test_create_reserves_and_get_commits(ledger: Ledger, team: str):
    with Sandbox(SandboxSettings(job_s=0)) as sandbox:
        kling = client(ledger, sandbox, project="film")
        task = kling.text_to_video.create(**CLIP)
        assert isinstance(task, TextToVideoResponse)
        assert ledger.wallet(team).reserved == usd("0.675")
        assert kling.text_to_video.get(task.id).status == "completed"
    assert [str(entry.state) for entry in ledger.reservations()] == ["committed"]
    assert ledger.reservations()[0].project == "film"


def test_getting_a_finished_job_twice_charges_it_once(ledger: Ledger, team: str):
    with Sandbox(SandboxSettings(job_s=0)) as sandbox:
        kling = client(ledger, sandbox)
        task = kling.text_to_video.create(**CLIP)
        for _ in range(2):
            kling.text_to_video.get(task.id)
    assert ledger.wallet(team).spent == usd("0.675")


def test_a_failed_job_raises_as_the_client_does_and_gives_everything_back(
    ledger: Ledger, team: str, sandbox: Sandbox
):
    with pytest.raises(TaskFailedError):
        client(ledger, sandbox).text_to_video.run(**{**CLIP, "prompt": "a lake [fail]"})
    assert ledger.wallet(team).available == usd("2")


def test_a_wrong_key_raises_as_the_client_does_and_gives_everything_back(
    ledger: Ledger, team: str, sandbox: Sandbox
):
    with pytest.raises(AuthenticationError):
        client(ledger, sandbox, api_key="wrong").text_to_video.create(**CLIP)
    assert ledger.wallet(team).available == usd("2")


def test_a_wallet_with_too_little_sends_nothing(ledger: Ledger, team: str, sandbox: Sandbox):
    with pytest.raises(InsufficientCreditsError):
        client(ledger, sandbox).text_to_video.run(**{**CLIP, "duration_seconds": 15})
    assert sandbox.runapi.account().spent == usd("0")


def test_a_ceiling_bounds_a_single_job(ledger: Ledger, team: str, sandbox: Sandbox):
    with pytest.raises(CeilingError):
        client(ledger, sandbox, ceiling=usd("0.5")).text_to_video.create(**CLIP)


def test_the_callers_own_idempotency_key_starts_one_job_only(ledger: Ledger, team: str):
    with Sandbox(SandboxSettings(job_s=60)) as sandbox:
        kling = client(ledger, sandbox)
        options = RequestOptions(headers={"Idempotency-Key": "shot-1"})
        tasks = [kling.text_to_video.create(options=options, **CLIP).id for _ in range(2)]
    assert tasks[0] == tasks[1]
    assert ledger.wallet(team).reserved == usd("0.675")


def test_the_create_reply_of_the_published_page_works_too(ledger: Ledger, team: str):
    with Sandbox(SandboxSettings(job_s=0, create_reply="page")) as sandbox:
        task = client(ledger, sandbox).text_to_video.create(**CLIP)
        assert task.id.startswith("tsk_")


def test_an_action_without_a_price_is_refused_before_it_is_sent(
    ledger: Ledger, team: str, sandbox: Sandbox
):
    with pytest.raises(NoPriceError):
        client(ledger, sandbox).text_to_video.create(
            model="kling-o1", prompt="a lake", duration_seconds=5, mode="pro"
        )
    assert ledger.reservations() == []


def test_what_costs_nothing_is_passed_on(ledger: Ledger, team: str, sandbox: Sandbox):
    assert client(ledger, sandbox).account.balance().balance_cents == 10_000


def test_somebody_elses_task_is_read_and_not_booked(ledger: Ledger, team: str):
    with Sandbox(SandboxSettings(job_s=0)) as sandbox:
        kling = client(ledger, sandbox)
        theirs = kling.client.text_to_video.create(**CLIP)
        assert kling.text_to_video.get(theirs.id).status == "completed"
    assert ledger.wallet(team).spent == usd("0")


def test_an_unknown_task_raises_as_the_client_does(ledger: Ledger, team: str, sandbox: Sandbox):
    with pytest.raises(NotFoundError):
        client(ledger, sandbox).text_to_video.get("nope")


def test_a_key_whose_job_was_refused_sends_nothing_more(ledger: Ledger, team: str):
    options = RequestOptions(headers={"Idempotency-Key": "shot-1"})
    with answering((402, {"error": "no"}), (200, {"id": "t1"})) as server:
        plain = KlingClient(api_key="k", base_url=server.url)
        OPENED.append(plain)
        kling = metered(plain, ledger, wallet="team")
        with pytest.raises(InsufficientCreditsAtProvider):
            kling.text_to_video.create(options=options, **CLIP)
        with pytest.raises(StateError):
            kling.text_to_video.create(options=options, **CLIP)
        assert len(server.seen) == 1


def test_a_settled_job_is_read_again_without_settling_it_again(ledger: Ledger, team: str):
    done = {"id": "t1", "status": "completed", "videos": [], "usage": {"cost": 0.5}}
    silent = {"id": "t1", "status": "completed", "videos": []}
    with answering((200, {"id": "t1"}), (200, done), (200, silent)) as server:
        plain = KlingClient(api_key="k", base_url=server.url)
        OPENED.append(plain)
        kling = metered(plain, ledger, wallet="team")
        kling.text_to_video.create(**CLIP)
        for _ in range(2):
            assert kling.text_to_video.get("t1").status == "completed"
    assert ledger.wallet(team).spent == usd("0.5")
