"""`kling-ledger callbacks` as a process: its addresses, what it says, and how it stops."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from kling_ledger import Ledger, Meter
from kling_ledger.providers.registry import connect
from kling_ledger.sandbox import Sandbox, SandboxSettings
from tests.callbacks import SECRET, signed
from tests.cli import BODY, Cli, Said, finish
from tests.waiting import until

KEY = "sandbox-key"
CALLED = {"callback_url": "http://127.0.0.1:1/hook"}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    found = Cli(tmp_path, {"RUNAPI_API_KEY": KEY})
    found.fund("2 USD")
    return found


@contextmanager
def receiving(cli: Cli, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run the command and give its process and the address that it printed."""
    process = cli.start("callbacks", "--port", "0", *options)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().decode().strip()
    finally:
        process.kill()
        process.communicate()


def stopped(process: subprocess.Popen[bytes]) -> Said:
    """Press Ctrl-C and return what the command had said."""
    process.send_signal(signal.SIGINT)
    return finish(process)


@contextmanager
def calling(url: str, webhook_secret: str | None = None) -> Iterator[Sandbox]:
    """Run a sandbox that sends the callbacks of every job to an address."""
    to = f"{url}/callbacks/{{provider}}"
    settings = SandboxSettings(
        api_key=KEY, job_s=0.3, callbacks_to=to, webhook_secret=webhook_secret
    )
    with Sandbox(settings) as sandbox:
        yield sandbox


def submitted(cli: Cli, sandbox: Sandbox, prompt: str = "a lake") -> None:
    """Submit a job that nobody follows."""
    content = {**BODY, "prompt": prompt, **CALLED}
    with (
        Ledger(str(cli.database)) as ledger,
        closing(connect("runapi", api_key=KEY, base_url=sandbox.url)) as provider,
    ):
        meter = Meter(ledger, provider, "team", asks_estimate=False)
        meter.submit(meter.reserve(content), content)


def states(cli: Cli) -> list[str]:
    with Ledger(str(cli.database)) as ledger:
        return [str(one.state) for one in ledger.reservations.latest()]


@pytest.mark.parametrize(("prompt", "end"), [("a lake", "committed"), ("[fail]", "rolled_back")])
def test_a_job_ends_as_its_callback_says_and_the_terminal_tells_so(cli: Cli, prompt: str, end: str):
    with receiving(cli) as (process, url), calling(url) as sandbox:
        submitted(cli, sandbox, prompt)
        until(lambda: states(cli) == [end])
        until(lambda: len(sandbox.runapi.jobs()[0].deliveries) == 1)
        said = stopped(process)
    [line] = [line for line in said.lines if " task " in line]
    assert f"done: {end}" in line
    assert cli.reservations()[0]["id"] in line
    assert cli.wallet()["spent"] == ("0.675" if end == "committed" else "0")


def test_signed_callbacks_are_taken_and_the_secret_is_told_to_nobody(cli: Cli):
    told = replace(cli, environ={**cli.environ, "KLING_LEDGER_WEBHOOK_SECRET": SECRET})
    with receiving(told) as (process, url), calling(url, webhook_secret=SECRET) as sandbox:
        submitted(told, sandbox)
        until(lambda: states(cli) == ["committed"])
        refused = httpx.post(f"{url}/callbacks/runapi", content=b"{}")
        said = stopped(process)
    assert refused.status_code == 401
    assert "according to the signed callback" in said.err
    for secret in (SECRET, SECRET.removeprefix("whsec_"), KEY):
        assert secret not in said.err + said.out
        assert secret.encode() not in cli.database.read_bytes()


def test_several_secrets_may_be_given_while_one_replaces_another(cli: Cli):
    options = ("--webhook-secret", "whsec_b2xk", "--webhook-secret", SECRET)
    with receiving(cli, *options) as (_, url):
        unknown = httpx.post(
            f"{url}/callbacks/crun", content=b"{}", headers=signed(b"{}", "whsec_b2xk")
        )
    assert unknown.status_code == 400


def test_it_listens_on_this_machine_alone_and_prints_nothing_but_its_address(cli: Cli):
    with receiving(cli) as (process, url):
        said = stopped(process)
    assert url.startswith("http://127.0.0.1:")
    assert said.code == 0
    assert said.out == ""
    for provider in ("runapi", "crun", "evolink", "uniall"):
        assert f"  {url}/callbacks/{provider}" in said.lines


def test_ctrl_c_ends_it_while_a_sender_has_not_finished(cli: Cli):
    with receiving(cli) as (process, url):
        port = int(url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as held, httpx.Client() as idle:
            head = b"POST /callbacks/crun HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
            held.sendall(head)
            assert idle.post(f"{url}/callbacks/crun").status_code == 400
            said = stopped(process)
    assert said.code == 0
    assert "Error" not in said.err


def test_without_a_ledger_nothing_is_received(tmp_path: Path):
    said = Cli(tmp_path)("callbacks", "--port", "0")
    assert said.code == 2
    assert "wallet create" in said.err


@pytest.mark.parametrize(
    ("options", "hint"),
    [(["--webhook-secret", "?"], "copy it again"), (["--host", "no.such.host.test"], "--port 0")],
)
def test_an_option_that_cannot_be_used_is_said_with_the_next_step(
    cli: Cli, options: list[str], hint: str
):
    said = cli("callbacks", "--port", "0", *options)
    assert said.code == 2
    assert hint in said.err


def test_a_taken_port_is_said_with_the_next_step(cli: Cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = cli("callbacks", "--port", str(taken.getsockname()[1]))
    assert said.code == 2
    assert "choose another --port" in said.err
