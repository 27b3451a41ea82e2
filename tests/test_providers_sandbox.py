"""Each provider at its sandbox: both were written from the same documents, by different hands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.errors import JobInDoubtError, JobRefusedError, NoAnswerError
from kling_ledger.providers.base import Pacing, Provider, TaskState, TaskStatus
from kling_ledger.providers.registry import connect
from kling_ledger.sandbox import Sandbox, SandboxSettings
from kling_pricing.errors import RequestError
from kling_pricing.gateways import parse_body, read_request
from tests.providers import BODIES, NAMES
from tests.waiting import until

FILES = sorted(Path(__file__).with_name("requests").glob("*.json"))
VALID = [file for file in FILES if "duplicate" not in file.name]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(job_s=0.05, hang_s=3)) as running:
        yield running


def opened(name: str, sandbox: Sandbox, *, timeout_s: float = 5) -> Provider:
    return connect(
        name,
        api_key=sandbox.settings.key_of(name),
        base_url=sandbox.url,
        timeout_s=timeout_s,
        pacing=Pacing(sleep=lambda _: time.sleep(0.01)),
    )


def body_of(name: str, prompt: str) -> dict[str, Any]:
    body = BODIES[name]
    if name == "crun":
        return {**body, "input": {**body["input"], "audio": True, "prompt": prompt}}
    more = {"output_resolution": "720p", "enable_sound": False} if name == "runapi" else {}
    return {**body, **more, "prompt": prompt}


def ended(provider: Provider, task_id: str, action: str = "text_to_video") -> TaskStatus:
    def over() -> TaskStatus | None:
        status = provider.poll(action, task_id)
        return None if status.state is TaskState.RUNNING else status

    return until(over)


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
def test_every_valid_request_is_taken_and_ends(file: Path, sandbox: Sandbox):
    name = file.name.partition("_")[0]
    body = parse_body(file.read_text())
    action = read_request(name, body).clip.action
    with closing(opened(name, sandbox)) as provider:
        provider.check(body)
        submission = provider.submit(action, body, key=f"res_{file.stem}")
        status = ended(provider, submission.task_id, action)
        assert status.state is TaskState.COMPLETED
        assert status.videos[0].startswith(sandbox.url)
        assert (status.cost is not None) is provider.facts.tells_cost
        if status.cost is not None:
            assert status.cost.amount > 0


def test_the_invalid_request_is_refused_before_anything_is_sent():
    (invalid,) = set(FILES) - set(VALID)
    with pytest.raises(RequestError):
        parse_body(invalid.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_is_one_where_the_provider_documents_failures(name: str, sandbox: Sandbox):
    with closing(opened(name, sandbox)) as provider:
        body = body_of(name, "a lake [fail moderation]")
        submission = provider.submit("text_to_video", body, key="res_fail")
        status = ended(provider, submission.task_id)
    assert status.state is TaskState.FAILED
    assert status.problem


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("marker", "kind"),
    [
        ("refuse 402", JobRefusedError),
        ("refuse moderation", JobRefusedError),
        ("refuse 429", JobRefusedError),
        ("refuse 500", JobInDoubtError),
        ("refuse cut", JobInDoubtError),
        ("refuse malformed", JobInDoubtError),
        ("lose half", JobInDoubtError),
        ("lose hang", JobInDoubtError),
        ("lose 502", JobInDoubtError),
    ],
)
def test_trouble_with_a_submission_is_told_as_what_it_is(
    name: str, marker: str, kind: type[Exception], sandbox: Sandbox
):
    body = body_of(name, f"a lake [{marker}]")
    with closing(opened(name, sandbox, timeout_s=0.5)) as provider:
        key = f"res_{marker}".replace(" ", "_")
        if name == "runapi" and marker.startswith("lose"):
            # The sandbox took the job, and knows the key when it is asked again.
            assert provider.submit("text_to_video", body, key=key).task_id
            return
        with pytest.raises(kind):
            provider.submit("text_to_video", body, key=key)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("marker", ["poll 500 2", "poll cut 2", "poll malformed 2", "poll 429 2"])
def test_trouble_with_a_poll_is_overcome(name: str, marker: str, sandbox: Sandbox):
    with closing(opened(name, sandbox)) as provider:
        submission = provider.submit(
            "text_to_video", body_of(name, f"a lake [{marker}]"), key=f"res_{name}_{marker}"
        )
        assert ended(provider, submission.task_id).state is TaskState.COMPLETED


@pytest.mark.parametrize("name", NAMES)
def test_a_state_that_nobody_documented_is_no_verdict(name: str, sandbox: Sandbox):
    with closing(opened(name, sandbox)) as provider:
        submission = provider.submit(
            "text_to_video", body_of(name, "a lake [state archived]"), key="res_state"
        )
        assert provider.poll("text_to_video", submission.task_id).state is TaskState.UNKNOWN


@pytest.mark.parametrize("name", NAMES)
def test_the_account_and_the_estimate_are_read_where_they_are_documented(
    name: str, sandbox: Sandbox
):
    with closing(opened(name, sandbox)) as provider:
        facts = provider.facts
        if facts.tells_balance:
            assert provider.balance().available.unit == facts.unit
        else:
            with pytest.raises(NoAnswerError):
                provider.balance()
        if facts.estimates:
            assert provider.estimate("text_to_video", body_of(name, "a lake")).amount.amount > 0
        else:
            with pytest.raises(NoAnswerError):
                provider.estimate("text_to_video", body_of(name, "a lake"))


@pytest.mark.parametrize("name", NAMES)
def test_another_key_is_refused(name: str, sandbox: Sandbox):
    provider = connect(name, api_key="ak_" + "x" * 32, base_url=sandbox.url, timeout_s=5)
    with closing(provider), pytest.raises(JobRefusedError, match="401") as error:
        provider.submit("text_to_video", body_of(name, "a lake"), key="res_key")
    assert provider.facts.key_variable in str(error.value.hint)
