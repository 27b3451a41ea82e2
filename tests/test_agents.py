"""Real agents with a scripted model: whichever way a job of theirs goes, it is within the limits.

An agent's shell, its MCP server and its own process under `exec` are three ways to one ledger. What
a tool has said to the model is read from what the model was sent.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from kling_ledger import Ledger
from kling_ledger.gateway.server import Gateway
from kling_ledger.gateway.settings import GatewaySettings, Upstream
from kling_ledger.sandbox import Sandbox
from tests.agents.agent import Agent
from tests.agents.hermes import Hermes
from tests.agents.openclaw import OpenClaw
from tests.agents.scripted_model import LastWord, ToolCall, scripted
from tests.cli import BODY, COMMAND, Cli
from tests.sandbox_rig import plain_client

pytestmark = pytest.mark.agents

PATH = "/api/v1/kling/text_to_video"
QUESTION = "Make a 5 second clip of a lake"


@pytest.fixture(params=[Hermes, OpenClaw], ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> type[Agent]:
    """One of the agents that is here."""
    found: type[Agent] = request.param
    found.program()
    return found


@pytest.fixture
def cli(tmp_path: Path, sandbox: Sandbox) -> Cli:
    """A ledger in a folder of its own, which the agent's home is beside."""
    (tmp_path / "home").mkdir()
    return Cli(tmp_path, {"RUNAPI_API_KEY": sandbox.settings.api_key})


def curl(kind: type[Agent], base_url: str, key: str) -> ToolCall:
    """The shell call of the provider's own page, at a base URL."""
    command = (
        f'curl -s -X POST {base_url}{PATH} -H "Authorization: Bearer {key}" '
        f"-H 'Content-Type: application/json' -d '{json.dumps(BODY)}'"
    )
    return ToolCall(kind.shell, {"command": command})


Given = tuple[Agent, ToolCall]
"""The agent as it is started, and the call that its model makes."""

Way = Callable[[type[Agent], Cli, Sandbox], AbstractContextManager[Given]]


@contextmanager
def by_gateway(kind: type[Agent], cli: Cli, sandbox: Sandbox) -> Iterator[Given]:
    """The agent's shell calls the gateway: another base URL is all that changes."""
    settings = GatewaySettings({"runapi": Upstream("runapi", sandbox.url)}, wallet="team")
    with Ledger(str(cli.database)) as ledger, Gateway(ledger, settings) as gateway:
        call = curl(kind, f"{gateway.url}/runapi", sandbox.settings.api_key)
        yield kind(cli.folder / "home"), call


@contextmanager
def by_exec(kind: type[Agent], cli: Cli, sandbox: Sandbox) -> Iterator[Given]:
    """The agent runs under `exec`, and its shell calls the provider's own address."""
    words = ("exec", "--wallet", "team", "--upstream", f"runapi={sandbox.url}", "--")
    agent = kind(cli.folder / "home", environ=ours(cli), around=(COMMAND, *words))
    yield agent, curl(kind, "https://runapi.ai", "$RUNAPI_API_KEY")


@contextmanager
def by_mcp(kind: type[Agent], cli: Cli, sandbox: Sandbox) -> Iterator[Given]:
    """The agent calls our MCP server, which it starts itself; it has no key of its own."""
    served = ("mcp", "--wallet", "team", "--base-url", sandbox.url)
    settings = kind.with_server((COMMAND, *served), ours(cli))
    arguments = {"provider": "runapi", "body": BODY, "max_cost": "1 USD", "key": "lake-1"}
    yield kind(cli.folder / "home", settings=settings), kind.server_call("run", arguments)


def ours(cli: Cli) -> dict[str, str]:
    """The environment of a command of ours that somebody else starts."""
    # Where this repository is read from, unless it is installed.
    found = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    return {**found, **cli.environ, "KLING_LEDGER_DB": str(cli.database)}


WAYS: dict[str, Way] = {"gateway": by_gateway, "mcp": by_mcp, "exec": by_exec}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    """One of the ways to the ledger."""
    return WAYS[request.param]


def charged(sandbox: Sandbox) -> dict[str, Any]:
    """What the sandbox has really taken and charged, by task: the other side of the ledger."""
    with plain_client() as http:
        told = http.get(f"{sandbox.url}/sandbox/truth").raise_for_status().json()
    return {task["id"]: task["charged"] for task in told["tasks"]}


def test_a_job_of_the_agent_books_one_reservation_and_is_settled_without_it(
    kind: type[Agent], way: Way, cli: Cli, sandbox: Sandbox
):
    cli.fund("2 USD")
    with way(kind, cli, sandbox) as (agent, call), scripted(call, LastWord("Sent.")) as model:
        assert "Sent." in agent.ask(model, QUESTION)
    [said] = model.tool_results
    [task] = charged(sandbox)
    assert task in said
    # The agent has exited: nobody asks for its job but us.
    assert cli("resume").code == 0
    [ended] = cli.reservations()
    assert (ended["task_id"], ended["state"], ended["committed"]) == (task, "committed", "0.675")
    assert charged(sandbox) == {task: "0.675"}
    assert cli.wallet() == {"funded": "2", "spent": "0.675", "reserved": "0", "available": "1.325"}


def test_a_job_beyond_the_limit_is_refused_in_words_that_the_agent_can_act_on(
    kind: type[Agent], way: Way, cli: Cli, sandbox: Sandbox
):
    cli.fund("2 USD")
    assert cli("budget", "set", "today", "--limit", "0.5 USD", "--window", "day").code == 0
    with way(kind, cli, sandbox) as (agent, call), scripted(call, LastWord("Dear.")) as model:
        assert "Dear." in agent.ask(model, QUESTION)
    [said] = model.tool_results
    assert "budget today: limit 0.5 USD, spent 0 USD, reserved 0 USD, asked 0.675 USD" in said
    assert re.search("left 0.5 USD, frees at 20[0-9-]{8} 00:00 UTC", said)
    assert re.search(r"would.fit\W+(up to )?0.5 USD", said)
    assert charged(sandbox) == {}
    assert cli.reservations() == []
    assert cli.wallet() == {"funded": "2", "spent": "0", "reserved": "0", "available": "2"}


@pytest.mark.parametrize("is_broken", [False, True], ids=["asked", "gone"])
def test_a_hook_stops_the_call_before_it_runs_and_every_call_where_it_fails(
    kind: type[Agent], cli: Cli, sandbox: Sandbox, is_broken: bool
):
    home = cli.folder / "home"
    folder = home / kind.plugins
    assert cli("hook", kind.hook, "--write", str(folder)).code == 0
    if is_broken:
        settings = json.loads((folder / "command.json").read_text())
        settings["command"] = ["/nowhere/kling-ledger"]
        (folder / "command.json").write_text(json.dumps(settings))
    # What is stopped is never sent; were it not stopped, it would come no farther than here.
    direct = curl(kind, "--resolve runapi.ai:443:127.0.0.1 https://runapi.ai", "none")
    harmless = ToolCall(kind.shell, {"command": "echo it ran"})
    agent = kind(home, settings=kind.with_hook(folder), environ=ours(cli))
    with scripted(direct, harmless, LastWord("Stopped.")) as model:
        assert "Stopped." in agent.ask(model, QUESTION)
    first, second = model.tool_results
    if is_broken:
        assert "could not check this call, so it was denied" in first
        assert "could not check this call, so it was denied" in second
    else:
        assert "bypass the spending limits" in first
        assert "kling-ledger run --provider runapi" in first
        assert "it ran" in second
