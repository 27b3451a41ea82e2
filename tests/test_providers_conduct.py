"""How every provider is spoken to: bounded, patient with questions, silent about the key."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest

from kling_ledger.errors import JobInDoubtError, JobRefusedError, NoAnswerError, PollError
from kling_ledger.providers.base import Pacing, Provider
from kling_ledger.providers.http import LARGEST_REPLY
from kling_ledger.providers.registry import connect
from kling_pricing.errors import RequestError
from tests.loopback import HANG_UP
from tests.providers import BODIES, KEY, NAMES, TASK_ID, Rig, created, speaking, task

BUSY: dict[str, tuple[int, Any]] = {
    "runapi": (503, {"error": "busy"}),
    "crun": (200, {"code": 455, "message": "maintenance"}),
    "evolink": (503, {"error": {"type": "service_unavailable_error", "message": "busy"}}),
    "uniall": (503, {"error": {"message": "busy"}}),
}


def asked_to_wait(name: str, pause: str) -> tuple[int, Any, dict[str, str]]:
    body = {"code": 429, "message": "slow down", "error": {"type": "rate_limit_error"}}
    return 200 if name == "crun" else 429, body, {"Retry-After": pause}


# --- sending once -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["crun", "evolink", "uniall"])
@pytest.mark.parametrize("answer", [HANG_UP, (500, {}), (429, {}), (503, ""), (200, "")])
def test_a_job_is_sent_once_whatever_comes_back(name: str, answer: Any):
    with speaking(name, answer) as rig:
        with pytest.raises((JobInDoubtError, JobRefusedError)):
            rig.submit()
        assert len(rig.server.seen) == 1
        assert rig.pauses == []


@pytest.mark.parametrize("name", NAMES)
def test_a_lost_reply_leaves_the_job_in_doubt(name: str):
    with speaking(name, HANG_UP) as rig, pytest.raises(JobInDoubtError):
        rig.submit()


@pytest.mark.parametrize("name", NAMES)
def test_where_nobody_listens_nothing_was_sent_and_later_it_may_be(name: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        closing(at(name, f"http://127.0.0.1:{port}", timeout_s=1)) as provider,
        pytest.raises(JobRefusedError, match="could not be reached") as error,
    ):
        provider.submit("text_to_video", BODIES[name], key="res_1")
    assert error.value.retryable


def at(name: str, url: str, *, timeout_s: float) -> Provider:
    """Connect a provider to an address, and let it not pause."""
    pacing = Pacing(sleep=lambda _: None)
    return connect(name, api_key=KEY, base_url=url, timeout_s=timeout_s, pacing=pacing)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("body", [{"prompt": float("nan")}, {"prompt": object()}])
def test_a_body_that_is_no_json_is_refused_unsent(name: str, body: dict[str, Any]):
    with speaking(name, (200, created(name))) as rig:
        with pytest.raises(JobRefusedError):
            rig.submit(**body)
        assert rig.server.seen == []


@pytest.mark.parametrize("name", NAMES)
def test_the_body_is_sent_as_it_was_given(name: str):
    with speaking(name, (200, created(name))) as rig:
        rig.submit()
    assert rig.server.seen[0].body == BODIES[name]


# --- asking -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trouble", ["busy", "hang up"])
def test_a_question_is_asked_again_until_there_is_an_answer(name: str, trouble: str):
    bad = BUSY[name] if trouble == "busy" else HANG_UP
    with speaking(name, bad, bad, (200, task(name, "pending"))) as rig:
        assert rig.poll().state == "running"
        assert rig.pauses == [0.5, 1.0]


@pytest.mark.parametrize("name", NAMES)
def test_a_question_is_asked_three_times_at_most(name: str):
    with speaking(name, BUSY[name]) as rig:
        with pytest.raises(PollError):
            rig.poll()
        assert len(rig.server.seen) == 3


@pytest.mark.parametrize("name", NAMES)
def test_who_is_asked_to_wait_waits_that_long(name: str):
    with speaking(name, asked_to_wait(name, "7"), (200, task(name, "pending"))) as rig:
        rig.poll()
        assert rig.pauses == [7]


@pytest.mark.parametrize("name", NAMES)
def test_retry_after_may_be_a_date(name: str):
    date = "Fri, 20 Nov 2026 12:00:09 GMT"
    with speaking(name, asked_to_wait(name, date), (200, task(name, "pending"))) as rig:
        rig.poll()
        assert rig.pauses == [9]


@pytest.mark.parametrize("name", NAMES)
def test_who_is_asked_to_wait_for_long_does_not_ask_again(name: str):
    with speaking(name, asked_to_wait(name, "31")) as rig:
        with pytest.raises(PollError) as error:
            rig.poll()
        assert (len(rig.server.seen), rig.pauses) == (1, [])
    assert error.value.retry_after_s == 31
    assert not error.value.is_final


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pause", ["soon", "nan", "inf", "-5", "", "1e999"])
def test_a_retry_after_that_cannot_be_read_is_none(name: str, pause: str):
    with speaking(name, asked_to_wait(name, pause), (200, task(name, "pending"))) as rig:
        rig.poll()
        assert rig.pauses == [0.5]


@pytest.mark.parametrize("name", NAMES)
def test_a_running_task_says_when_to_ask_again(name: str):
    with speaking(name, (200, task(name, "pending"), {"Retry-After": "12"})) as rig:
        assert rig.poll().retry_after_s == 12


@pytest.mark.parametrize("name", NAMES)
def test_a_refusal_for_now_says_when_to_come_again(name: str):
    with speaking(name, asked_to_wait(name, "40")) as rig:
        with pytest.raises(JobRefusedError) as error:
            rig.submit()
        assert len(rig.server.seen) == 1
    assert (error.value.retryable, error.value.retry_after_s) == (True, 40)


# --- bounds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_reply_beyond_all_measure_is_not_read(name: str):
    huge = json.dumps(created(name)).encode() + b" " * LARGEST_REPLY
    with speaking(name, (200, huge)) as rig, pytest.raises(JobInDoubtError, match="more than"):
        rig.submit()
    with speaking(name, (200, huge)) as rig, pytest.raises(PollError):
        rig.poll()


@pytest.mark.parametrize("name", NAMES)
def test_a_compressed_reply_is_not_read(name: str):
    with (
        speaking(name, (200, b"\x1f\x8b", {"Content-Encoding": "gzip"})) as rig,
        pytest.raises(JobInDoubtError),
    ):
        rig.submit()


@contextmanager
def raw_server(conduct: Callable[[socket.socket], None]) -> Iterator[str]:
    """Accept connections and do with each what a test says; no HTTP is spoken by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve() -> None:
            with suppress(OSError):
                while not done.is_set():
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        connection.settimeout(5)
                        connection.recv(65536)
                        conduct(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            done.set()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                pass
            thread.join(6)


def silent(connection: socket.socket) -> None:
    connection.recv(1)


def dripping(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(600):
        connection.sendall(b" ")
        time.sleep(0.05)


def cut_off(connection: socket.socket) -> None:
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"id": "task-1"')


def babbling(connection: socket.socket) -> None:
    connection.sendall(b"hello\r\n\r\n")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(60)
@pytest.mark.parametrize("conduct", [silent, dripping, cut_off, babbling])
def test_whatever_the_server_does_a_call_ends(name: str, conduct: Callable[[socket.socket], None]):
    with (
        raw_server(conduct) as url,
        closing(at(name, url, timeout_s=0.3)) as provider,
        pytest.raises(JobInDoubtError),
    ):
        provider.submit("text_to_video", BODIES[name], key="res_1")


@pytest.mark.parametrize("name", NAMES)
def test_more_threads_than_connections_wait_for_their_turn(name: str):
    with speaking(name, (200, created(name)), timeout_s=30) as rig:
        with ThreadPoolExecutor(150) as pool:
            sent = [pool.submit(rig.submit) for _ in range(150)]
        assert {future.result().task_id for future in sent} == {TASK_ID}
        assert len(rig.server.seen) == 150


# --- the key ----------------------------------------------------------------------------------


def everything_told(error: BaseException) -> str:
    cause = vars(error.__cause__) if error.__cause__ else {}
    headers = dict(cause.get("response_headers") or {})
    trace = "".join(traceback.format_exception(error))
    return f"{error!r} {error} {vars(error)} {cause} {headers} {trace}"


ECHOES = [
    (401, {"error": {"message": f"bad key {KEY}"}, "code": 401, "message": f"bad key {KEY}"}),
    (500, {"error": {"message": f"bad key {KEY}"}, "code": 500, "message": f"bad key {KEY}"}),
    (401, {"error": f"bad key {KEY}", "code": 401, "message": f"{'long ' * 58}{KEY}"}),
    (403, f"<html><title>{KEY}</title></html>"),
    (200, {"code": 402, "message": f"{KEY[0]}\\u{ord(KEY[1]):04x}{KEY[2:]} {KEY}"}),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("echo", ECHOES)
def test_a_key_that_the_provider_repeats_is_not_repeated_by_us(
    name: str, echo: Any, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    calls: list[Callable[[Rig], Any]] = [Rig.submit, Rig.poll, lambda rig: rig.provider.balance()]
    for call in [*calls, Rig.estimate]:
        with speaking(name, echo) as rig, suppress(NoAnswerError):
            try:
                said = repr(call(rig))
            except (JobInDoubtError, JobRefusedError, PollError, NoAnswerError) as error:
                said = f"{error} {error.problem} {error.hint} {vars(error)}"
            assert KEY not in said
    assert KEY not in caplog.text


@pytest.mark.parametrize("name", NAMES)
def test_an_echoed_key_is_shown_as_stars(name: str):
    body = {"error": {"message": f"bad {KEY}"}, "code": 401, "message": f"bad {KEY}"}
    with (
        speaking(name, (401, body)) as rig,
        pytest.raises(JobRefusedError, match=re.escape("bad ***")) as error,
    ):
        rig.submit()
    assert error.value.hint == f"check {rig.provider.facts.key_variable}"


@pytest.mark.parametrize("name", NAMES)
def test_not_even_a_trace_shows_the_key(name: str):
    body = {"code": 401, "message": KEY, "error": {"message": KEY}}
    with speaking(name, (401, body, {"X-Echo": KEY})) as rig:
        with pytest.raises(JobRefusedError) as refusal:
            rig.submit()
        with pytest.raises(PollError) as silence:
            rig.poll()
    assert KEY not in everything_told(refusal.value)
    assert KEY not in everything_told(silence.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_that_holds_the_key_is_told_without_it(name: str):
    failed = task(name, "failed", error=f"bad {KEY}", result={"message": f"bad {KEY}"})
    with speaking(name, (200, failed)) as rig:
        status = rig.poll()
    assert KEY not in repr(status)


@pytest.mark.parametrize("name", ["crun", "evolink", "uniall"])
def test_a_provider_does_not_show_its_key(name: str):
    with speaking(name, (200, {})) as rig:
        assert KEY not in f"{rig.provider!r} {rig.provider}"


@pytest.mark.parametrize("name", NAMES)
def test_what_a_provider_writes_cannot_steer_a_terminal(name: str):
    said = "red \x1b[31m\nalert"
    body = {"error": {"message": said}, "code": 402, "message": said}
    with speaking(name, (402, body)) as rig, pytest.raises(JobRefusedError) as error:
        rig.submit()
    assert "red \\x1b[31m\\nalert" in str(error.value)


# --- callback_url -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("uniall", "https://example.com/done"),
        ("crun", "ftp://example.com/done"),
        ("crun", 7),
        ("runapi", "example.com/done"),
        ("evolink", "ftp://example.com/done"),
    ],
)
def test_a_callback_that_the_provider_would_not_call_is_refused_unsent(name: str, url: object):
    with speaking(name, (200, created(name))) as rig:
        with pytest.raises(JobRefusedError, match="callback_url"):
            rig.submit(callback_url=url)
        with pytest.raises(RequestError, match="callback_url"):
            rig.provider.check({"callback_url": url})
        assert rig.server.seen == []


@pytest.mark.parametrize(
    ("url", "is_called"),
    [
        ("https://example.com/done", True),
        ("http://example.com/done", False),
        ("https://10.0.0.1/done", False),
        ("https://127.0.0.1/done", False),
        ("https://localhost/done", False),
        ("https://[::1]/done", False),
        ("https://192.168.1.4:8443/done", False),
        ("https://example.com/" + "x" * 2028, True),
        ("https://example.com/" + "x" * 2029, False),
    ],
)
def test_evolink_calls_public_https_addresses_of_2048_characters(url: str, is_called: bool):
    provider = connect("evolink", api_key=KEY)
    if is_called:
        provider.check({"callback_url": url})
    else:
        with pytest.raises(RequestError, match="public https address, at most 2048 characters"):
            provider.check({"callback_url": url})
    provider.close()


def test_a_rehearsal_on_this_machine_may_call_this_machine():
    with speaking("evolink", (200, created("evolink"))) as rig:
        rig.submit(callback_url="http://127.0.0.1:8000/done")
        assert rig.server.seen[0].body["callback_url"] == "http://127.0.0.1:8000/done"
