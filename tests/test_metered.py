"""metered(KlingClient): the client's own replies and errors, within a wallet."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runapi.core import (
    AuthenticationError,
    BaseModel,
    NotFoundError,
    RequestOptions,
    ServiceUnavailableError,
    TaskFailedError,
    TaskTimeoutError,
    ValidationError,
)
from runapi.core import InsufficientCreditsError as InsufficientCreditsAtProvider
from runapi.core.resource import Resource
from runapi.kling import KlingClient, types
from runapi.kling.types import CompletedTextToVideoResponse, TextToVideoResponse

from kling_ledger import Ledger, metered
from kling_ledger.errors import CeilingError, ConfigError, InsufficientCreditsError, StateError
from kling_ledger.jobs.metered import MeteredKlingClient
from kling_ledger.jobs.watch import Patience
from kling_ledger.ledger import State
from kling_ledger.providers.runapi.dialect import ACTIONS, RunApi
from kling_ledger.sandbox import Sandbox, SandboxSettings
from kling_ledger.sandbox.tariff import by
from kling_pricing import NoPriceError
from kling_pricing.book_reader import BookText
from kling_pricing.library import Library, library_of
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
    assert ledger.wallets.get(team).spent == usd("0.675")


def test_create_reserves_and_get_commits(ledger: Ledger, team: str):
    with Sandbox(SandboxSettings(job_s=0)) as sandbox:
        kling = client(ledger, sandbox, project="film")
        task = kling.text_to_video.create(**CLIP)
        assert isinstance(task, TextToVideoResponse)
        assert ledger.wallets.get(team).reserved == usd("0.675")
        assert kling.text_to_video.get(task.id).status == "completed"
    assert [str(entry.state) for entry in ledger.reservations.latest()] == ["committed"]
    assert ledger.reservations.latest()[0].project == "film"


def test_getting_a_finished_job_twice_charges_it_once(ledger: Ledger, team: str):
    with Sandbox(SandboxSettings(job_s=0)) as sandbox:
        kling = client(ledger, sandbox)
        task = kling.text_to_video.create(**CLIP)
        for _ in range(2):
            kling.text_to_video.get(task.id)
    assert ledger.wallets.get(team).spent == usd("0.675")


def test_a_failed_job_raises_as_the_client_does_and_gives_everything_back(
    ledger: Ledger, team: str, sandbox: Sandbox
):
    with pytest.raises(TaskFailedError):
        client(ledger, sandbox).text_to_video.run(**{**CLIP, "prompt": "a lake [fail]"})
    assert ledger.wallets.get(team).available == usd("2")


def test_a_wrong_key_raises_as_the_client_does_and_gives_everything_back(
    ledger: Ledger, team: str, sandbox: Sandbox
):
    with pytest.raises(AuthenticationError):
        client(ledger, sandbox, api_key="wrong").text_to_video.create(**CLIP)
    assert ledger.wallets.get(team).available == usd("2")


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
    assert ledger.wallets.get(team).reserved == usd("0.675")


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
    assert ledger.reservations.latest() == []


def test_what_costs_nothing_is_passed_on(ledger: Ledger, team: str, sandbox: Sandbox):
    assert client(ledger, sandbox).account.balance().balance_cents == 10_000


def test_somebody_elses_task_is_read_and_not_booked(ledger: Ledger, team: str):
    with Sandbox(SandboxSettings(job_s=0)) as sandbox:
        kling = client(ledger, sandbox)
        theirs = kling.client.text_to_video.create(**CLIP)
        assert kling.text_to_video.get(theirs.id).status == "completed"
    assert ledger.wallets.get(team).spent == usd("0")


def test_an_unknown_task_raises_as_the_client_does(ledger: Ledger, team: str, sandbox: Sandbox):
    with pytest.raises(NotFoundError):
        client(ledger, sandbox).text_to_video.get("nope")


def test_a_key_whose_job_was_refused_sends_nothing_more(ledger: Ledger, team: str):
    options = RequestOptions(headers={"Idempotency-Key": "shot-1"})
    with answering((402, {"error": "no"}), (200, {"id": "t1"})) as server:
        plain = KlingClient(api_key="k", base_url=server.url)
        OPENED.append(plain)
        kling = metered(plain, ledger, wallet="team", asks_estimate=False)
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
        kling = metered(plain, ledger, wallet="team", asks_estimate=False)
        kling.text_to_video.create(**CLIP)
        for _ in range(2):
            assert kling.text_to_video.get("t1").status == "completed"
    assert ledger.wallets.get(team).spent == usd("0.5")


# Every resource of the client


EDITS = """
format = 1
provider = "runapi"

[sources.mine]
url = "https://example.com/contract"
checked = 2026-11-20
evidence = "user"

[rates.edit]
family = "kling-3.0-omni"
models = { kling-v3-omni-edit = ["edit_video"] }
from = 2026-07-23
source = "mine"
per = "second"
dimensions = ["video_input", "resolution"]
prices.on = { 720p = "0.3" }
request = { min_s = 3, max_s = 15 }
"""
"""A price of one's own for what no bundled book has a price for."""

IMAGE, VIDEO, SOUND = (f"https://example.com/source.{kind}" for kind in ("png", "mp4", "mp3"))
PARAMS: dict[str, dict[str, Any]] = {
    "text_to_video": CLIP,
    "image_to_video": {
        "model": "kling-v2.6",
        "prompt": "a lake",
        "first_frame_image_url": IMAGE,
        "duration_seconds": 5,
        "mode": "std",
    },
    "motion_control": {
        "model": "kling-3.0",
        "source_image_url": IMAGE,
        "reference_video_url": VIDEO,
        "output_resolution": "720p",
    },
    "extend_video": {
        "model": "kling-v2.5-turbo-text-to-video-pro",
        "source_task_id": "tsk_1",
        "mode": "std",
        "prompt": "and on",
    },
    "edit_video": {
        "model": "kling-v3-omni-edit",
        "prompt": "at night",
        "source_video_url": VIDEO,
        "aspect_ratio": "auto",
        "duration_seconds": 5,
        "output_resolution": "720p",
    },
    "ai_avatar": {
        "model": "kling-ai-avatar-standard",
        "prompt": "hello",
        "source_image_url": IMAGE,
        "source_audio_url": SOUND,
    },
}
REPLIES: dict[str, type] = {
    "text_to_video": types.CompletedTextToVideoResponse,
    "image_to_video": types.CompletedImageToVideoResponse,
    "motion_control": types.CompletedMotionControlResponse,
    "extend_video": BaseModel,
    "edit_video": types.CompletedTextToVideoResponse,
    "ai_avatar": types.CompletedAiAvatarResponse,
}


OWN_PRICE = {
    ("kling-v3-omni-edit", "edit_video"): by("output_resolution", **{"720p": "0.3"}),
}
SETTINGS = SandboxSettings(job_s=0, prices={"runapi": OWN_PRICE})
"""A sandbox where the same contract holds."""


@pytest.fixture
def library() -> Library:
    return library_of([BookText("edits.toml", EDITS)])


@pytest.fixture
def rich(ledger: Ledger, team: str) -> str:
    ledger.wallets.fund(team, usd("48"))
    return team


def test_every_resource_that_the_installed_client_has_is_metered(
    ledger: Ledger, team: str, sandbox: Sandbox
):
    kling = client(ledger, sandbox)
    creating = {
        name
        for name, one in vars(kling.client).items()
        if isinstance(one, Resource) and hasattr(one, "run")
    }
    assert creating == set(ACTIONS) == set(PARAMS)


def test_an_action_that_nothing_is_known_of_spends_nothing(
    ledger: Ledger, team: str, sandbox: Sandbox
):
    kling = client(ledger, sandbox)
    vars(kling.client)["lip_sync"] = kling.client.text_to_video
    with pytest.raises(ConfigError, match="lip_sync"):
        getattr(kling, "lip_sync").create(**CLIP)  # noqa: B009 - no type has it
    with pytest.raises(AttributeError):
        _ = getattr(kling, "no_such_thing")  # noqa: B009


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_is_reserved_run_and_charged_at_its_settled_cost(
    ledger: Ledger, rich: str, library: Library, action: str
):
    with Sandbox(SETTINGS) as sandbox:
        kling = client(ledger, sandbox, library=library, project=f"film/{action}")
        result = getattr(kling, action).run(**PARAMS[action])
        [job] = sandbox.runapi.jobs()
    [made] = ledger.reservations.latest()
    assert (made.state, made.job.action, made.project) == ("committed", action, f"film/{action}")
    assert (made.committed, made.settled_by) == (job.charged, "provider")
    assert made.amount >= job.charged
    assert made.videos == (result["videos"][0]["url"],)
    assert isinstance(result, REPLIES[action])
    assert (job.order.action, job.order.key) == (action, made.id)
    assert ledger.verify().is_clean


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_that_fails_gives_everything_back(
    ledger: Ledger, rich: str, library: Library, action: str
):
    failing = {**PARAMS[action], "prompt": "a lake [fail]"}
    with Sandbox(SETTINGS) as sandbox:
        kling = client(ledger, sandbox, library=library)
        with pytest.raises(TaskFailedError):
            getattr(kling, action).run(**failing)
    assert [str(one.state) for one in ledger.reservations.latest()] == ["rolled_back"]
    assert ledger.wallets.get(rich).available == usd("50")


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_is_reserved_by_create_and_settled_by_get(
    ledger: Ledger, rich: str, library: Library, action: str
):
    with Sandbox(SETTINGS) as sandbox:
        resource = getattr(client(ledger, sandbox, library=library), action)
        task = resource.create(**PARAMS[action])
        [made] = ledger.reservations.latest(state=State.SUBMITTED)
        assert (made.task_id, made.held) == (task["id"], made.amount)
        assert resource.get(task["id"])["status"] == "completed"
    assert ledger.reservations.get(made.id).state is State.COMMITTED


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_is_refused_by_an_empty_wallet_and_nothing_is_sent(
    ledger: Ledger, library: Library, sandbox: Sandbox, action: str
):
    ledger.wallets.create("team", "USD")
    kling = client(ledger, sandbox, library=library, asks_estimate=False)
    with pytest.raises(InsufficientCreditsError):
        getattr(kling, action).create(**PARAMS[action])
    assert sandbox.runapi.jobs() == ()
    assert ledger.reservations.latest() == []


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_with_a_field_that_nobody_documents_is_sent_and_its_provider_decides(
    ledger: Ledger, rich: str, library: Library, sandbox: Sandbox, action: str
):
    kling = client(ledger, sandbox, library=library)
    # The sandbox takes no field that RunAPI does not document.
    with pytest.raises(ValidationError, match="colour"):
        getattr(kling, action).create(**PARAMS[action], colour="red")
    assert sandbox.runapi.jobs() == ()
    (job,) = ledger.reservations.latest()
    assert (job.state, job.held.micro) == (State.ROLLED_BACK, 0)


def test_the_reply_of_run_keeps_the_headers_that_the_clients_own_has(
    ledger: Ledger, team: str, sandbox: Sandbox
):
    result = client(ledger, sandbox).text_to_video.run(**CLIP)
    [job] = sandbox.runapi.jobs()
    assert result.response_headers["X-RunAPI-Task-Id"] == job.id


def test_an_edit_without_a_price_of_ones_own_has_none(ledger: Ledger, team: str, sandbox: Sandbox):
    with pytest.raises(NoPriceError, match="kling-v3-omni-edit"):
        client(ledger, sandbox).edit_video.create(**PARAMS["edit_video"])
    assert ledger.reservations.latest() == []


# Its type


TYPED = """
from runapi.kling import KlingClient
from kling_ledger import Ledger, metered

def makes_clips(client: KlingClient) -> None:
    client.text_to_video.run(model="kling-3.0", prompt="a lake")

def spends(ledger: Ledger) -> None:
    client = metered(KlingClient(), ledger, wallet="team")
    makes_clips(client)
    client.text_to_video.create(model="kling-3.0", prompt="a lake")
    client.account.balance()
    reveal_type(client.text_to_video)
"""
MISTYPED = "    client.text_to_vidoe.run(model='kling-3.0')\n"


def test_a_metered_client_is_a_client_to_whoever_checks_types(tmp_path: Path):
    checker = pytest.importorskip("mypy.api")
    for mistake, expected in (("", 0), (MISTYPED, 1)):
        script = tmp_path / "script.py"
        script.write_text(TYPED + mistake)
        out, err, code = checker.run(
            ["--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}", str(script)]
        )
        assert code == expected, out + err
        assert 'Revealed type is "runapi.kling.resources.text_to_video.TextToVideo"' in out
        assert ("text_to_vidoe" in out) is bool(mistake)


def test_a_metered_client_is_a_client_at_run_time_too(ledger: Ledger, team: str, sandbox: Sandbox):
    kling = client(ledger, sandbox)
    assert isinstance(kling, KlingClient)
    assert copy.copy(kling).client is kling.client
    assert repr(kling)


def test_a_client_that_tries_once_tries_once(ledger: Ledger, team: str):
    ledger.wallets.fund(team, usd("1"))
    with answering((503, {"error": "no"})) as server:
        plain = KlingClient(api_key="k", base_url=server.url, max_retries=0)
        OPENED.append(plain)
        kling = metered(plain, ledger, wallet="team", asks_estimate=False)
        with pytest.raises(ServiceUnavailableError):
            kling.text_to_video.create(**CLIP)
        assert len(server.seen) == 1
        with pytest.raises(ServiceUnavailableError):
            kling.text_to_video.create(options=RequestOptions(max_retries=1), **CLIP)
        assert len(server.seen) == 3


def test_a_client_with_a_key_of_one_letter_is_read_as_any_other(ledger: Ledger, team: str):
    done = {"id": "t1", "status": "completed", "videos": [], "usage": {"cost": 0.5}}
    with answering((200, {"id": "t1"}), (200, done)) as server:
        plain = KlingClient(api_key="e", base_url=server.url)
        OPENED.append(plain)
        metered(plain, ledger, wallet="team", asks_estimate=False).text_to_video.run(**CLIP)
    assert ledger.wallets.get(team).spent == usd("0.5")


def test_a_job_that_is_never_understood_times_out_as_the_client_says(ledger: Ledger, team: str):
    with answering((200, {"id": "t1"}), (200, {"id": "t2", "status": "processing"})) as server:
        plain = KlingClient(api_key="k", base_url=server.url)
        OPENED.append(plain)
        kling = metered(plain, ledger, wallet="team", asks_estimate=False)
        patience = Patience(poll_every_s=0.01, longest_s=0.2)
        hasty = replace(kling, meter=replace(kling.meter, patience=patience))
        with pytest.raises(TaskTimeoutError, match="another task"):
            hasty.text_to_video.run(**CLIP)
    assert [str(one.state) for one in ledger.reservations.latest()] == ["in_doubt"]
