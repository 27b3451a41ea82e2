"""`kling-ledger sandbox` as a process: its address, its help, and how it stops."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from click.testing import CliRunner

from kling_ledger.cli.sandbox import sandbox
from kling_ledger.errors import ConfigError
from kling_pricing import KlingError

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
    assert "--port 0" in str(result.exception.hint)


@pytest.mark.parametrize(
    "options",
    [
        ["--balance", "much"],
        ["--balance", "5 CNY"],
        ["--job-seconds", "nan"],
        ["--api-key", "two words"],
    ],
)
def test_an_option_that_cannot_be_used_is_our_error(options: list[str]) -> None:
    result = CliRunner().invoke(sandbox, ["--port", "0", *options])
    assert isinstance(result.exception, KlingError)


@pytest.mark.parametrize("marker", ["[fail]", "[takes 5]", "[cost 0.8]", "[never]", "[refuse 429]"])
def test_every_marker_is_in_the_help(marker: str) -> None:
    from kling_ledger.sandbox import markers

    assert marker in CliRunner().invoke(sandbox, ["--help"]).output
    assert marker in str(markers.__doc__)


def test_the_help_needs_no_server_to_be_imported() -> None:
    code = (
        "import sys, kling_ledger.cli.sandbox; "
        "print([name for name in ('starlette', 'uvicorn') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
