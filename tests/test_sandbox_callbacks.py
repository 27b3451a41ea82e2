"""Callbacks: real posts to a listener on this machine, signed, repeated, reordered or missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from kling_ledger.callbacks import signatures
from kling_ledger.errors import ConfigError
from kling_ledger.sandbox import Sandbox, SandboxSettings
from kling_ledger.sandbox.signing import webhook_headers
from tests.loopback import Loopback, Seen, answering
from tests.sandbox_rig import AT, PATHS, PROVIDERS, WORDS, Rig, body, rigged

SECRET = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
PUBLIC = "https://example.com/hook?order=1"
DOCUMENTED = ("runapi", "crun", "evolink")


@contextmanager
def listening(*answers: tuple[int, Any], **settings: Any) -> Iterator[tuple[Rig, Loopback]]:
    """Run a listener and a sandbox that sends it every callback."""
    with answering(*(answers or ((200, {}),))) as listener:
        chosen = SandboxSettings(callbacks_to=listener.url, **settings)
        with rigged(chosen) as rig:
            yield rig, listener


def send(rig: Rig, provider: str, prompt: str = "a lake", url: str | None = PUBLIC) -> str:
    named = {} if url is None or provider == "uniall" else {"callback_url": url}
    reply = rig[provider].send(body(provider, prompt, **named))
    assert rig[provider].status_of(reply) == 200, reply.text
    return rig[provider].id_of(reply)


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that the sandbox does by itself."""
    ends_at = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < ends_at, "it did not happen"
        time.sleep(0.01)


def seen_after(rig: Rig, listener: Loopback, provider: str, count: int) -> list[Seen]:
    """Return the posts once the sandbox has sent so many, and none more than those."""
    until(lambda: len(rig.only_task(provider)["callbacks"]) >= count)
    assert len(listener.seen) == count
    return listener.seen


def states(posts: list[Seen]) -> list[str]:
    return [post.body["status"] for post in posts]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_callback_says_what_a_poll_would_say(provider: str) -> None:
    with listening() as (rig, listener):
        task_id = send(rig, provider)
        time.sleep(0.05)
        assert listener.seen == []
        rig.wait(2)
        [post] = seen_after(rig, listener, provider, 1)
        assert post.body == rig[provider].task(task_id)
        assert post.method == "POST"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_failure_is_called_back_too(provider: str) -> None:
    with listening() as (rig, listener):
        send(rig, provider, "[fail]")
        rig.wait(2)
        assert states(seen_after(rig, listener, provider, 1)) == [WORDS[provider][3]]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_callbacks_can_come_twice_with_the_same_id(provider: str) -> None:
    with listening() as (rig, listener):
        send(rig, provider, "[callback twice]")
        rig.wait(2)
        one, other = seen_after(rig, listener, provider, 2)
        assert one.content == other.content
        assert one.headers["webhook-id"] == other.headers["webhook-id"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_callbacks_can_come_in_the_wrong_order(provider: str) -> None:
    _, running, done, _ = WORDS[provider]
    with listening() as (rig, listener):
        send(rig, provider, "[callback reordered]")
        rig.wait(2)
        assert states(seen_after(rig, listener, provider, 2)) == [done, running]


def test_a_failure_that_was_overtaken_comes_after_the_success() -> None:
    with listening() as (rig, listener):
        send(rig, "evolink", "[revive] [callback reordered]")
        rig.wait(2)
        time.sleep(0.05)
        assert listener.seen == []
        rig.wait(2)
        posts = seen_after(rig, listener, "evolink", 3)
        assert states(posts) == ["completed", "failed", "processing"]


def test_a_job_that_revives_is_called_back_both_times() -> None:
    with listening() as (rig, listener):
        send(rig, "crun", "[revive]")
        rig.wait(2)
        seen_after(rig, listener, "crun", 1)
        rig.wait(2)
        assert states(seen_after(rig, listener, "crun", 2)) == ["failed", "success"]


def test_a_callback_may_never_come() -> None:
    with listening() as (rig, listener):
        send(rig, "runapi", "[callback never]")
        other = rig["runapi"].send(body("runapi", "another", callback_url=PUBLIC)).json()["id"]
        rig.wait(2)
        until(lambda: len(listener.seen) == 1)
        assert listener.seen[0].body["id"] == other


def test_a_job_that_is_told_to_finish_is_called_back() -> None:
    with listening() as (rig, listener):
        send(rig, "crun", "[never]")
        rig.sandbox.finish()
        assert states(seen_after(rig, listener, "crun", 1)) == ["success"]


def test_an_unknown_state_is_called_back_as_it_is_polled() -> None:
    with listening() as (rig, listener):
        send(rig, "evolink", "[state archived]")
        rig.wait(2)
        assert states(seen_after(rig, listener, "evolink", 1)) == ["archived"]


# Signatures


def test_a_signed_callback_verifies() -> None:
    with listening(webhook_secret=SECRET) as (rig, listener):
        send(rig, "runapi")
        rig.wait(2)
        [post] = seen_after(rig, listener, "runapi", 1)
        found = signatures.verify([SECRET], post.headers, post.content, now=AT)
        assert found == post.headers["webhook-id"]


def test_without_a_secret_there_is_an_id_and_no_signature() -> None:
    with listening() as (rig, listener):
        send(rig, "runapi")
        rig.wait(2)
        [post] = seen_after(rig, listener, "runapi", 1)
        assert post.headers["webhook-timestamp"] == str(int(AT.timestamp()))
        assert "webhook-signature" not in post.headers


def test_the_published_test_vector_is_signed_as_published() -> None:
    content = (
        b'{"id":"1234567890","status":"succeeded","message":"",'
        b'"create_time":1781080778802,"update_time":1781080794151}'
    )
    at = datetime.fromtimestamp(1781080794, UTC)
    headers = webhook_headers(SECRET, message_id="9876543210", at=at, body=content)
    assert headers["webhook-signature"] == "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4="


def test_a_secret_that_cannot_sign_is_refused_at_once() -> None:
    with pytest.raises(ConfigError):
        SandboxSettings(webhook_secret="whsec_not base64!")


# Where they go


@pytest.mark.parametrize("provider", DOCUMENTED)
def test_the_host_is_replaced_and_the_jobs_own_path_kept(provider: str) -> None:
    with listening() as (rig, listener):
        send(rig, provider)
        rig.wait(2)
        [post] = seen_after(rig, listener, provider, 1)
        assert post.path == "/hook?order=1"


def test_an_address_with_a_path_is_used_as_it_is_with_the_providers_name() -> None:
    with answering((200, {})) as listener:
        chosen = SandboxSettings(callbacks_to=f"{listener.url}/hooks/{{provider}}")
        with rigged(chosen) as rig:
            send(rig, "evolink")
            rig.wait(2)
            assert seen_after(rig, listener, "evolink", 1)[0].path == "/hooks/evolink"


@pytest.mark.parametrize("provider", DOCUMENTED)
def test_a_loopback_address_is_called_without_being_asked_to(provider: str) -> None:
    with answering((200, {})) as listener, rigged() as rig:
        send(rig, provider, url=f"{listener.url}/mine")
        rig.wait(2)
        assert seen_after(rig, listener, provider, 1)[0].path == "/mine"


@pytest.mark.parametrize("provider", DOCUMENTED)
def test_no_other_machine_is_ever_called(provider: str) -> None:
    with rigged() as rig:
        send(rig, provider)
        rig.wait(2)
        [job] = rig.sandbox.stores[provider].jobs()
        assert job.order.callback_url is None


def test_a_job_without_an_address_has_no_callback_where_one_can_be_named() -> None:
    with listening() as (rig, listener):
        for provider in DOCUMENTED:
            send(rig, provider, url=None)
        send(rig, "uniall")
        rig.wait(2)
        seen_after(rig, listener, "uniall", 1)


def test_evolink_and_uniall_refuse_an_address_that_they_would_not_call() -> None:
    with rigged() as rig:
        for provider, url in (
            ("evolink", "http://example.com/hook"),
            ("evolink", "https://10.0.0.1/hook"),
            ("uniall", "http://127.0.0.1:1/hook"),
        ):
            reply = rig[provider].send(body(provider, callback_url=url))
            assert "callback_url" in reply.text
            assert reply.status_code in {400, 422}


@pytest.mark.parametrize(
    "url", ["http://example.com", "ftp://127.0.0.1", "127.0.0.1:9000", "http://["]
)
def test_callbacks_go_to_no_other_machine(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SandboxSettings(callbacks_to=url)
    assert caught.value.hint


# Tried again


@pytest.mark.parametrize("provider", ["runapi", "evolink"])
def test_a_callback_that_nobody_takes_is_tried_again(provider: str) -> None:
    retries = {"callback_retries_s": (0.0, 0.0, 0.0)}
    with listening((500, {}), (500, {}), (204, ""), **retries) as (rig, listener):
        send(rig, provider)
        rig.wait(2)
        seen_after(rig, listener, provider, 3)
        outcomes = [tried["outcome"] for tried in rig.only_task(provider)["callbacks"]]
        assert outcomes == ["500", "500", "204"]


def test_a_callback_is_given_up_after_three_more_tries() -> None:
    with listening((500, {}), callback_retries_s=(0.0, 0.0, 0.0)) as (rig, listener):
        send(rig, "evolink")
        rig.wait(2)
        seen_after(rig, listener, "evolink", 4)
        time.sleep(0.05)
        assert len(listener.seen) == 4


def test_crun_calls_once_whatever_comes_back() -> None:
    with listening((500, {}), callback_retries_s=(0.0,)) as (rig, listener):
        send(rig, "crun")
        rig.wait(2)
        seen_after(rig, listener, "crun", 1)
        time.sleep(0.05)
        assert len(listener.seen) == 1


def test_a_listener_that_is_not_there_is_written_down() -> None:
    with rigged(SandboxSettings(callbacks_to="http://127.0.0.1:9")) as rig:
        send(rig, "crun")
        rig.wait(2)
        until(lambda: rig.only_task("crun")["callbacks"] != [])
        assert rig.only_task("crun")["callbacks"][0]["outcome"] == "ConnectError"


def test_a_sandbox_closes_while_callbacks_are_under_way() -> None:
    with listening((500, {}), callback_retries_s=(60.0,)) as (rig, listener):
        send(rig, "runapi")
        send(rig, "runapi", "[never]")
        rig.wait(2)
        until(lambda: len(listener.seen) == 1)


def test_a_sandbox_that_is_closed_while_it_calls_back_in_vain_is_closed_whole() -> None:
    settings = SandboxSettings(job_s=0.01, callback_retries_s=(0.0,) * 100_000)
    with answering((500, {})) as listener, Sandbox(settings) as sandbox:
        key = {"Authorization": f"Bearer {settings.api_key}"}
        asked = body("runapi", "a lake", callback_url=listener.url)
        for _ in range(20):
            httpx.post(f"{sandbox.url}{PATHS['runapi'][0]}", json=asked, headers=key)
        jobs, url = sandbox.runapi.jobs(), sandbox.url
        until(lambda: all(job.deliveries for job in jobs))
        sandbox.close()
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)
    assert len(jobs) == 20
