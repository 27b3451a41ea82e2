"""`kling-ledger sandbox` as a process: its address, its help, and how it stops."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from kling_ledger.cli.hints import hint_for
from kling_ledger.cli.sandbox import sandbox
from kling_ledger.errors import ConfigError
from kling_pricing import KlingError
from tests.loopback import answering
from tests.waiting import until

RUN = "from kling_ledger.cli.sandbox import sandbox; sandbox(prog_name='kling-ledger sandbox')"


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command and give its process and the address that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RUN, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_address_is_printed_once_it_really_listens() -> None:
    with running("--port", "0", "--balance", "5") as (_, url):
        reply = httpx.get(
            f"{url}/api/v1/me/balance", headers={"Authorization": "Bearer sandbox-key"}
        )
        assert reply.json()["balance_cents"] == 500


def test_the_options_reach_the_sandbox() -> None:
    options = ("--port", "0", "--api-key", "other", "--reply", "page", "--job-seconds", "0")
    body = {
        "model": "kling-3.0",
        "prompt": "a lake",
        "duration_seconds": 5,
        "output_resolution": "720p",
    }
    with (
        running(*options) as (_, url),
        httpx.Client(base_url=url, headers={"Authorization": "Bearer other"}) as http,
    ):
        task_id = http.post("/api/v1/kling/text_to_video", json=body).json()["task_id"]
        status = http.get(f"/api/v1/kling/text_to_video/{task_id}").json()
    assert status["usage"] == {"cost": 0.35}


def test_prices_of_ones_own_are_charged(tmp_path: Path) -> None:
    price = {"keys": ["output_resolution"], "prices": {"720p": "0.3"}}
    edit = {"model": "kling-v3-omni-edit", "action": "edit_video"}
    file = tmp_path / "prices.json"
    file.write_text(json.dumps({"runapi": [{**edit, **price}]}))
    body = {"prompt": "at night", "source_task_id": "t", "aspect_ratio": "auto"}
    with running("--port", "0", "--prices", str(file)) as (_, url):
        reply = httpx.post(
            f"{url}/api/v1/kling/edit_video",
            json={"model": "kling-v3-omni-edit", **body},
            headers={"Authorization": "Bearer sandbox-key"},
        )
        assert reply.status_code == 200, reply.text
        [task] = httpx.get(f"{url}/sandbox/truth").json()["tasks"]
    assert task["quoted"] == "1.5"


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"nobody": [{"model": "m", "action": "a", "prices": {"": "1"}}]}',
        '{"runapi": [{"model": "m", "action": "a"}]}',
        '{"runapi": [{"model": "m", "action": "a", "prices": {"720p": "1"}}]}',
        '{"runapi": [{"model": "m", "action": "a", "prices": {"": "cheap"}}]}',
        '{"runapi": [{"model": "m", "action": "a", "prices": {"": "0.0000001"}}]}',
    ],
)
def test_prices_that_cannot_be_read_are_our_error(tmp_path: Path, content: str) -> None:
    file = tmp_path / "prices.json"
    file.write_text(content)
    result = CliRunner().invoke(sandbox, ["--port", "0", "--prices", str(file)])
    assert isinstance(result.exception, ConfigError)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_stops_it_with_exit_code_0_and_no_trace() -> None:
    with running("--port", "0") as (process, url), httpx.Client() as held:
        held.get(f"{url}/api/v1/price_schedules")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out == ""
    assert "Traceback" not in err
    assert url in err


def test_only_the_address_goes_to_standard_output() -> None:
    with running("--port", "0") as (process, url):
        process.terminate()
        out, err = process.communicate(timeout=20)
    assert url.startswith("http://127.0.0.1:")
    assert out == ""
    assert "export RUNAPI_API_KEY=sandbox-key" in err


def test_a_taken_port_is_our_error_with_the_next_step() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(sandbox, ["--port", port])
    assert isinstance(result.exception, ConfigError)
    assert "--port 0" in str(hint_for(result.exception))


@pytest.mark.parametrize(
    "options",
    [
        ["--balance", "much"],
        ["--balance", "5 CNY"],
        ["--job-seconds", "-1"],
        ["--api-key", "two words"],
        ["--callbacks-to", "http://example.com"],
        ["--webhook-secret", "?"],
        ["--hang-seconds", "-1"],
        ["--link-seconds", "inf"],
    ],
)
def test_an_option_that_cannot_be_used_is_our_error(options: list[str]) -> None:
    result = CliRunner().invoke(sandbox, ["--port", "0", *options])
    assert isinstance(result.exception, KlingError)


def test_every_marker_and_fault_is_in_the_help() -> None:
    from kling_ledger.sandbox import markers

    said = CliRunner().invoke(sandbox, ["--help"]).output
    assert [word for word in markers._READERS if f"[{word}" not in said] == []
    faults = (markers.CUT, markers.HALF, markers.HANG, markers.MALFORMED, markers.MODERATION)
    assert [word for word in faults if f"\n    {word} " not in said] == []


def test_every_marker_in_the_help_is_one() -> None:
    from kling_ledger.sandbox.markers import written_markers

    said = CliRunner().invoke(sandbox, ["--help"]).output
    shown = re.findall(r"\[[a-z]+(?: [^\]]+)?\]", said.partition("Options:")[0].split("combine")[1])
    assert len(shown) > 20
    assert [text for text in shown if written_markers(text) != (text,)] == []


def test_the_examples_that_are_printed_work_as_they_are() -> None:
    with running("--port", "0") as (process, url):
        said = first_lines(process, until="Stop it")
        commands = [line for line in said.splitlines() if "curl" in line and "-d" in line]
        outcomes = [ran(command) for command in commands]
        tasks = httpx.get(f"{url}/sandbox/truth").json()["tasks"]
    assert len(commands) == 4
    # The last example asks for its reply to be lost.
    assert outcomes == [200, 200, 200, None]
    assert [task["provider"] for task in tasks] == ["runapi", "crun", "evolink", "uniall"]


def first_lines(process: subprocess.Popen[str], *, until: str) -> str:
    """Read what a process says for people, up to the line that begins so."""
    assert process.stderr is not None
    lines: list[str] = []
    while not (lines and lines[-1].startswith(until)):
        lines.append(process.stderr.readline())
    return "".join(lines)


def ran(command: str) -> int | None:
    """Send what a curl command would send: the status, or None where no answer came."""
    _, url, _, header, _, content = shlex.split(command)
    name, _, value = header.partition(": ")
    try:
        return httpx.post(url, content=content, headers={name: value}).status_code
    except httpx.RemoteProtocolError:
        return None


def test_a_script_can_be_shown_without_serving() -> None:
    from kling_ledger.sandbox.scripts import job_seed, script

    shown = CliRunner().invoke(sandbox, ["--misbehave", "7", "--show-script", "clip 3"])
    assert shown.output == " ".join(script(job_seed(7, "clip 3"))) + "\n"
    assert "[" in shown.output
    assert CliRunner().invoke(sandbox, ["--show-script", "clip 3"]).exit_code == 2


def test_the_seed_and_the_callbacks_reach_the_sandbox() -> None:
    from kling_ledger.sandbox.scripts import job_seed, script

    with answering((200, {})) as listener:
        options = ("--seed", "7", "--job-seconds", "0", "--hang-seconds", "0.1")
        hooks = ("--callbacks-to", listener.url, "--webhook-secret", "whsec_c2FuZGJveA==")
        with running("--port", "0", *options, *hooks) as (_, url):
            prompt = next(f"clip {n}" for n in range(99) if script(job_seed(7, f"clip {n}")) == ())
            body = {"model": "kling-v3-std-silent", "prompt": prompt, "duration": 5}
            key = {"Authorization": "Bearer sk-sandbox-key"}
            task_id = httpx.post(f"{url}/v1/video/generations", json=body, headers=key).json()["id"]
            until(lambda: listener.seen)
    assert [post.body["id"] for post in listener.seen] == [task_id]
    assert "webhook-signature" in listener.seen[0].headers


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_lets_go_of_answers_that_hang() -> None:
    body = {"model": "kling-v3-std-silent", "prompt": "[lose hang]", "duration": 5}
    key = {"Authorization": "Bearer sandbox-key"}
    with running("--port", "0") as (process, url):
        with pytest.raises(httpx.ReadTimeout), httpx.Client(headers=key, timeout=0.2) as http:
            http.post(f"{url}/v1/video/generations", json=body)
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as held:
            content = json.dumps(body).encode()
            head = "POST /v1/video/generations HTTP/1.1\r\nHost: x\r\n"
            head += "Authorization: Bearer sandbox-key\r\n"
            held.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert "Cancel" not in err


def test_the_help_needs_no_server_to_be_imported() -> None:
    code = (
        "import sys, kling_ledger.cli.sandbox; "
        "print([name for name in ('starlette', 'uvicorn') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
