"""`kling-ledger mcp`: agents of both eras quote, check and spend within a limit.

Every server is a process of its own, as an agent starts it; every job runs at a sandbox over HTTP.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest
from mcp.types import ElicitResult

from kling_ledger import Ledger
from kling_ledger.ledger import Scope
from kling_pricing import Money
from tests.cli import API_KEY, BODY, Cli, SandboxProcess, sandbox_process
from tests.mcp_clients import Caller, Mcp, official, plain_http
from tests.sweeps import sampled
from tests.waiting import until

TOOLS = ["quote", "compare", "afford", "check", "run", "status", "spend"]
CLIP = {"model": "kling-3.0", "resolution": "1080p", "sound": True}
"""Each second of it costs 0.135 USD."""
JOB = {**CLIP, "seconds": 5, "prompt": "a secret lake", "max_cost": "0.70 USD"}
JSON = "application/json"
MODERN, LEGACY = "2026-07-28", "2025-11-25"
WAYS = ("official stdio", "official legacy stdio", "plain stdio")
WAYS_HTTP = ("official http", "official legacy http", "plain http")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with sandbox_process(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A ledger whose wallet `team` holds 2 USD."""
    cli = Cli(tmp_path, {"RUNAPI_API_KEY": API_KEY})
    cli.fund("2 USD")
    return cli


def serving(cli: Cli, sandbox: SandboxProcess, *more: str) -> Mcp:
    options = ("--wallet", "team", "--provider", "runapi", "--base-url", sandbox.url)
    return Mcp(cli, (*options, "--poll-every", "0.1", *more))


@asynccontextmanager
async def client(mcp: Mcp, way: str, **callbacks: Any) -> AsyncIterator[Caller]:
    """A client that reaches a server in one of the ways."""
    mode = "legacy" if "legacy" in way else "auto"
    if way == "plain stdio":
        with mcp.lines() as (plain, _):
            yield plain
    elif way == "plain http":
        with mcp.http() as url, plain_http(url) as plain:
            yield plain
    elif way.endswith("http"):
        with mcp.http() as url:
            async with official(url, mode, **callbacks) as found:
                yield found
    else:
        async with mcp.stdio(mode, **callbacks) as found:
            yield found


def wait_for(cli: Cli, state: str) -> dict[str, Any]:
    """Wait until the newest reservation is in a state, while nobody asks for it."""

    def newest() -> dict[str, Any] | None:
        rows = cli.reservations()
        return rows[0] if rows and rows[0]["state"] == state else None

    return until(newest, f"a reservation that is {state}", every_s=0.05)


def floats_in(value: object) -> list[float]:
    if isinstance(value, float):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [found for one in inner for found in floats_in(one)]


# --- both eras, both transports ---------------------------------------------------------------


@pytest.mark.parametrize("way", sampled([*WAYS, *reversed(WAYS_HTTP)], every=2))
def test_every_client_lists_and_calls_every_tool(cli, sandbox, way):
    async def walk() -> None:
        async with client(serving(cli, sandbox), way) as caller:
            is_modern = way in {"official stdio", "official http"}
            assert caller.revision == (MODERN if is_modern else LEGACY)
            tools = {tool["name"]: tool for tool in await caller.tools()}
            assert list(tools) == TOOLS
            given: dict[str, dict[str, Any]] = {
                "quote": {**CLIP, "seconds": 5},
                "compare": {**CLIP, "seconds": 5},
                "afford": {**CLIP, "seconds": 5, "budget": "20 USD"},
                "check": {**CLIP, "seconds": 5},
                "run": {**JOB, "key": "one", "wait_s": 20, "project": "film/a"},
                "status": {"key": "one"},
                "spend": {"by": ["project"]},
            }
            told = {}
            for name, arguments in given.items():
                told[name] = answer = await caller.call(name, **arguments)
                assert not answer.is_error, answer.text
                assert answer.text
                jsonschema.validate(arguments, tools[name]["inputSchema"])
                jsonschema.validate(answer.content, tools[name]["outputSchema"])
                assert floats_in(answer.content) == []
        assert told["quote"].content["amount"] == "0.675"
        cheapest = next(one for one in told["compare"].content["offers"] if one["can_run"])
        # 135 of 200 credits a dollar: as much as at RunAPI, and first by name.
        assert (cheapest["provider"], cheapest["usd"]) == ("crun", "0.675")
        runapi = [one for one in told["afford"].content["options"] if one["provider"] == "runapi"]
        # 29 times 0.675 are 19.575.
        assert runapi[0]["clips"] == 29
        assert told["check"].content["admitted"] is True
        assert told["status"].content["committed"] == "0.675"
        assert told["status"].content["id"] == told["run"].content["id"]
        (row,) = told["spend"].content["rows"]
        assert (row["project"], row["spent"], row["clips"]) == ("film/a", "0.675", 1)

    asyncio.run(walk())
    assert cli.wallet() == {
        "funded": "2",
        "spent": "0.675",
        "reserved": "0",
        "available": "1.325",
    }


@pytest.mark.parametrize("way", ["official stdio", "plain stdio", "plain http"])
def test_a_refusal_is_an_answer_that_says_what_would_fit(cli, sandbox, way):
    with Ledger(str(cli.database)) as ledger:
        ledger.budgets.set(
            "daily", Money.parse("1 USD"), scope=Scope(project="film/"), window="day"
        )

    async def refused() -> None:
        async with client(serving(cli, sandbox), way) as caller:
            long = {**JOB, "seconds": 10, "max_cost": "5 USD", "key": "two", "project": "film/a"}
            answer = await caller.call("run", **long)
            assert answer.is_error
            error = answer.content["error"]
            assert (error["code"], error["budget"]) == ("budget", "daily")
            figures = {name: error[name]["amount"] for name in ("limit", "asked", "left")}
            assert figures == {"limit": "1", "asked": "1.35", "left": "1"}
            assert error["frees_at"] is not None
            # 7 s are 0.945 USD, 8 s would be 1.08.
            assert error["would_fit"]["max_seconds"] == "7"
            assert "7 s of the same clip for 0.945 USD" in answer.text
            assert "kling-ledger budget raise daily" in answer.text
            assert "Nothing was reserved and nothing was sent." in answer.text
            assert cli.reservations() == []
            # The advice is good to the second.
            longer = await caller.call("run", **{**long, "seconds": 8})
            assert longer.content["error"]["code"] == "budget"
            fitting = await caller.call("run", **{**long, "seconds": 7, "wait_s": 20})
            assert fitting.content["committed"] == "0.945"

    asyncio.run(refused())
    assert len(cli.reservations()) == 1


# --- spending ---------------------------------------------------------------------------------


def test_a_job_settles_though_its_client_never_asks_again(cli, sandbox):
    with serving(cli, sandbox).lines() as (plain, _):
        answer = asyncio.run(plain.call("run", **JOB, key="left"))
        assert answer.content["is_over"] is False
        assert answer.content["reserved"] == "0.675"
        ended = wait_for(cli, "committed")
    assert (ended["id"], ended["committed"]) == (answer.content["id"], "0.675")
    assert cli.wallet()["spent"] == "0.675"


def test_the_same_key_books_once_however_often_and_at_once_it_is_asked(cli, sandbox):
    async def repeated() -> set[str]:
        async with client(serving(cli, sandbox), "official stdio") as caller:
            both = [caller.call("run", **JOB, key="same", wait_s=20) for _ in range(3)]
            answers = [*await asyncio.gather(*both), await caller.call("run", **JOB, key="same")]
            other = await caller.call("run", **{**JOB, "seconds": 3}, key="same")
            assert other.content["error"]["code"] == "conflict"
            return {answer.content["id"] for answer in answers}

    assert len(asyncio.run(repeated())) == 1
    assert len(cli.reservations()) == 1
    assert cli.wallet()["spent"] == "0.675"


def test_many_at_once_never_pass_what_the_wallet_holds(cli, sandbox):
    async def together() -> list[Any]:
        async with client(serving(cli, sandbox), "official http") as caller:
            jobs = [caller.call("run", **{**JOB, "seconds": 3}, key=f"k{n}") for n in range(12)]
            return list(await asyncio.gather(*jobs))

    answers = asyncio.run(together())
    refused = [answer.content["error"]["code"] for answer in answers if answer.is_error]
    # Each holds 0.405 of 2 USD: four fit, and a fifth would be 2.025.
    assert refused == ["insufficient_credits"] * 8
    assert len(cli.reservations()) == 4


def test_a_job_that_fails_gives_its_credits_back_and_says_so(cli, sandbox):
    with serving(cli, sandbox).lines() as (plain, _):
        failing = {**JOB, "prompt": "a lake [fail]"}
        answer = asyncio.run(plain.call("run", **failing, key="bad", wait_s=20))
    assert answer.content["state"] == "rolled_back"
    assert "nothing charged" in answer.text
    assert cli.wallet()["reserved"] == "0"


def test_a_killed_server_leaves_the_hold_and_resume_settles_it(cli, tmp_path_factory):
    with sandbox_process(tmp_path_factory.mktemp("slow"), "--job-seconds", "1.5") as slow:
        with serving(cli, slow).lines() as (plain, process):
            answer = asyncio.run(plain.call("run", **JOB, key="killed"))
            assert answer.content["state"] == "submitted"
            process.send_signal(signal.SIGKILL)
            process.wait(20)
        assert cli.wallet()["reserved"] == "0.675"
        said = cli("resume", answer.content["id"], "--base-url", slow.url, "--poll-every", "0.1")
        assert said.code == 0, said.err
    assert cli.wallet()["spent"] == "0.675"


def test_a_server_that_comes_after_follows_what_it_is_asked_about(cli, tmp_path_factory):
    with sandbox_process(tmp_path_factory.mktemp("slow"), "--job-seconds", "1") as slow:
        mcp = serving(cli, slow)
        with mcp.lines() as (plain, process):
            begun = asyncio.run(plain.call("run", **JOB, key="mine"))
            process.kill()
            process.wait(20)
        with mcp.lines() as (plain, _):
            ended = asyncio.run(plain.call("status", key="mine", wait_s=20))
    assert (ended.content["id"], ended.content["committed"]) == (begun.content["id"], "0.675")


def test_a_ceiling_is_said_by_the_server_or_by_each_job(cli, sandbox):
    free = {name: value for name, value in JOB.items() if name != "max_cost"}
    with serving(cli, sandbox).lines() as (plain, _):
        unsaid = asyncio.run(plain.call("run", **free, key="a"))
        below = asyncio.run(plain.call("run", **{**JOB, "max_cost": "0.6"}, key="a"))
    assert (unsaid.is_error, unsaid.content["error"]["code"]) == (True, "config")
    assert "max_cost" in unsaid.text
    assert below.content["error"]["code"] == "ceiling"
    assert "--max-cost" not in below.text
    with serving(cli, sandbox, "--max-cost", "0.5 USD").lines() as (plain, _):
        above = asyncio.run(plain.call("run", **JOB, key="a"))
        fitting = asyncio.run(plain.call("run", **{**free, "seconds": 3}, key="a", wait_s=20))
    assert above.content["error"]["ceiling"] == {"amount": "0.5", "unit": "USD"}
    assert fitting.content["committed"] == "0.405"


def test_a_providers_own_body_runs_as_it_is_under_the_servers_labels(cli, sandbox):
    with serving(cli, sandbox, "--label", "team=red", "--project", "film").lines() as (plain, _):
        labels = {"team": "blue", "shot": "4"}
        given = {"body": BODY, "max_cost": "1", "key": "b", "wait_s": 20, "labels": labels}
        ended = asyncio.run(plain.call("run", **given))
        twice = asyncio.run(plain.call("quote", body=BODY, seconds=5))
    assert ended.content["labels"] == {"team": "red", "shot": "4"}
    assert ended.content["project"] == "film"
    assert "the body already says it" in twice.text


# --- approvals --------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["official stdio", "plain http"])
def test_who_cannot_ask_a_person_is_told_the_command_that_one_runs(cli, sandbox, way):
    async def asked() -> None:
        mcp = serving(cli, sandbox, "--approve-above", "0.50 USD")
        async with client(mcp, way) as caller:
            checked = await caller.call("check", **{k: JOB[k] for k in CLIP}, seconds=5)
            assert checked.content["needs_approval"] is True
            refused = await caller.call("run", **JOB, key="dear")
            assert refused.is_error
            error = refused.content["error"]
            assert error["code"] == "approval_needed"
            assert error["command"] == f"kling-ledger approval grant {error['approval']}"
            assert error["command"] in refused.text
            assert cli.reservations() == []
            with Ledger(str(cli.database)) as ledger:
                ledger.approvals.grant(error["approval"])
            ended = await caller.call("run", **JOB, key="dear", wait_s=20)
            assert ended.content["committed"] == "0.675"
            again = await caller.call("run", **JOB, key="dear")
            assert again.content["id"] == ended.content["id"]
            assert (await caller.call("status", key="dear")).content["id"] == ended.content["id"]

    asyncio.run(asked())
    assert cli.wallet()["spent"] == "0.675"


YES = ElicitResult(action="accept", content={"approve": True})
NO = ElicitResult(action="accept", content={"approve": False})


@pytest.mark.parametrize(
    ("way", "says", "code"),
    sampled(
        [
            ("official stdio", YES, None),
            ("official legacy stdio", YES, None),
            ("official legacy http", YES, None),
            ("official http", YES, None),
            ("official stdio", NO, "approval_denied"),
            ("official legacy stdio", ElicitResult(action="decline"), "approval_denied"),
            ("official stdio", ElicitResult(action="cancel"), "approval_needed"),
        ],
        every=2,
    ),
)
def test_a_client_that_can_ask_a_person_does(cli, sandbox, way, says, code):
    questions: list[str] = []

    async def answered(_: Any, params: Any) -> ElicitResult:
        questions.append(params.message)
        return ElicitResult(action=says.action, content=says.content)

    async def asked() -> dict[str, Any]:
        mcp = serving(cli, sandbox, "--approve-above", "0.50 USD")
        async with client(mcp, way, elicitation_callback=answered) as caller:
            cheap = await caller.call("run", **{**JOB, "seconds": 3}, key="cheap", wait_s=20)
            assert cheap.content["committed"] == "0.405"
            assert questions == []
            return (await caller.call("run", **JOB, key="dear", wait_s=20)).content

    content = asyncio.run(asked())
    assert len(questions) == 1
    assert "0.675 USD" in questions[0]
    assert "kling-3.0 text_to_video at runapi, 5 s, 1080p, with sound" in questions[0]
    assert "lake" not in questions[0]
    if code is None:
        assert content["committed"] == "0.675"
        assert len(cli.reservations()) == 2
    else:
        assert content["error"]["code"] == code
        assert len(cli.reservations()) == 1


@pytest.mark.parametrize(
    ("state", "answer"), [({}, "input_required"), ({"requestState": "apr_made_up"}, "error")]
)
def test_an_answer_that_nobody_was_asked_for_approves_nothing(cli, sandbox, state, answer):
    said = {"approval": {"action": "accept", "content": {"approve": True}}}
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "x", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
    }
    params = {"name": "run", "arguments": {**JOB, "key": "x"}, "inputResponses": said, **state}
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "run",
    }
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**params, "_meta": meta}}
    with serving(cli, sandbox, "--approve-above", "0.1 USD").http() as url:
        reply = httpx.post(url, json=call, headers=headers)
    assert answer in reply.text
    assert cli.reservations() == []


# --- what is refused, and what is kept quiet ---------------------------------------------------


def test_bad_input_is_an_answer_and_an_unknown_tool_is_none(cli, sandbox):
    with serving(cli, sandbox).lines() as (plain, _):
        for name, given in (
            ("run", {"key": "", "max_cost": "1"}),
            ("run", {**JOB, "key": "k", "wait_s": 1e9}),
            ("run", {**JOB, "key": "k", "max_cost": "much"}),
            ("run", {**JOB, "key": "k", "provider": "nobody"}),
            ("run", {**JOB, "key": "k", "project": "film//a"}),
            ("run", {**JOB, "key": "k", "cheaper": True}),
            ("run", {"body": {"model": "kling-3.0"}, "key": "k", "max_cost": "1"}),
            ("quote", {"model": "kling-9"}),
            ("afford", {"model": "kling-3.0", "budget": "-1 USD"}),
            ("status", {}),
            ("status", {"key": "never"}),
            ("status", {"reservation": "res_none"}),
            ("spend", {"by": ["nothing"]}),
            ("spend", {"where": ["wallet=other"]}),
            ("spend", {"since": "yesterday"}),
        ):
            answer = asyncio.run(plain.call(name, **given))
            assert answer.is_error, (name, given)
            assert answer.content["error"]["message"]
        unknown = plain.ask("tools/call", {"name": "delete", "arguments": {}})
        assert unknown["error"]["code"] == -32602
    assert cli.reservations() == []


def test_without_a_key_everything_but_run_answers(cli, sandbox):
    keyless = Cli(cli.folder)
    with serving(keyless, sandbox).lines() as (plain, _):
        checked = asyncio.run(plain.call("check", **CLIP, seconds=5))
        ran = asyncio.run(plain.call("run", **JOB, key="k"))
    # The book has two figures, and nobody was asked which: the higher would be held.
    assert checked.content["held"] == "1.35"
    assert ran.content["error"]["code"] == "no_api_key"
    assert "RUNAPI_API_KEY" in ran.text


def test_another_wallets_job_is_not_told_of(cli, sandbox):
    with Ledger(str(cli.database)) as ledger:
        ledger.wallets.create("other", "USD")
        ledger.wallets.fund("other", Money.parse("1 USD"))
        held = ledger.reserve("other", Money.parse("0.5 USD"))
    with serving(cli, sandbox).lines() as (plain, _):
        answer = asyncio.run(plain.call("status", reservation=held.id))
        spent = asyncio.run(plain.call("spend"))
    assert answer.content["error"]["code"] == "not_found"
    assert spent.content["rows"] == []


def test_nothing_but_protocol_is_written_and_no_prompt_or_key_is_logged(cli, sandbox):
    with serving(cli, sandbox).lines() as (plain, process):
        asyncio.run(plain.call("run", **JOB, key="quiet", wait_s=20))
        asyncio.run(plain.call("run", **{**JOB, "prompt": ["a secret lake"]}, key="odd"))
        assert process.stdin is not None
        process.stdin.write(b'{"jsonrpc": "2.0", "method": "a secret lake"\n')
        process.stdin.close()
        process.wait(20)
        assert process.stdout is not None
        assert process.stderr is not None
        rest, logged = process.stdout.read(), process.stderr.read()
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in rest.splitlines())
    for secret in (b"secret lake", API_KEY.encode()):
        assert secret not in logged


def test_a_page_of_elsewhere_does_not_reach_the_server(cli, sandbox):
    with serving(cli, sandbox).http("--allow-host", "studio.example") as url:
        for headers, status in (
            ({"Host": "evil.example"}, 421),
            ({"Host": "127.0.0.1.evil.example:80"}, 421),
            ({"Origin": "http://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Content-Type": "text/plain"}, 400),
        ):
            given = {"Accept": "application/json, text/event-stream", **headers}
            reply = httpx.post(url, content="{}", headers={"Content-Type": JSON, **given})
            assert (headers, reply.status_code) == (headers, status)
        with plain_http(url, Host="studio.example", Origin="http://studio.example") as plain:
            assert [tool["name"] for tool in asyncio.run(plain.tools())] == TOOLS
        large = httpx.post(url, json={"a": "a" * 1_100_000}, headers={"Accept": JSON})
        assert large.status_code == 413


def test_a_client_that_goes_away_while_it_waits_is_left_at_once(cli, tmp_path_factory):
    with sandbox_process(tmp_path_factory.mktemp("slow"), "--job-seconds", "600") as slow:
        with serving(cli, slow).lines() as (_, process):
            message = {
                "jsonrpc": "2.0",
                "id": 99,
                "method": "tools/call",
                "params": {"name": "run", "arguments": {**JOB, "key": "w", "wait_s": 600}},
            }
            assert process.stdin is not None
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()
            wait_for(cli, "submitted")
            process.stdin.close()
            process.wait(30)
        assert cli.wallet()["reserved"] == "0.675"


def test_beyond_this_machine_nobody_is_let_in_without_a_token(cli):
    said = cli("mcp", "--wallet", "team", "--http", "--host", "0.0.0.0", "--port", "0")  # noqa: S104
    assert said.code == 2
    assert "every caller there needs a token" in said.err


def test_a_tokens_limits_hold_and_over_http_its_secret_is_asked_for(cli, sandbox):
    with Ledger(str(cli.database)) as ledger:
        _, secret = ledger.tokens.create(
            "bot",
            wallet="team",
            project="ads/",
            ceiling=Money.parse("0.5 USD"),
            run_limit=Money.parse("0.5 USD"),
        )
        _, other = ledger.tokens.create("else", wallet="team")
        alien = ledger.reserve("team", Money.parse("0.1 USD"))
    mcp = Mcp(cli, serving(cli, sandbox).words[2:])
    given = {**JOB, "seconds": 3, "key": "t", "wait_s": 20}
    with mcp.http("--token", "bot", "--run", "night") as url:
        for headers in ({}, {"Authorization": f"Bearer {other}"}, {"Authorization": secret}):
            accept = {"Accept": "application/json, text/event-stream"}
            reply = httpx.post(url, json={}, headers={**accept, **headers})
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"] == "Bearer"
        with plain_http(url, Authorization=f"Bearer {secret}") as plain:
            ended = asyncio.run(plain.call("run", **given))
            dear = asyncio.run(plain.call("run", **{**JOB, "key": "d"}))
            capped = asyncio.run(plain.call("run", **{**given, "key": "c"}))
            outside = asyncio.run(plain.call("check", **CLIP, seconds=3, project="film/a"))
            hidden = asyncio.run(plain.call("status", reservation=alien.id))
            spent = asyncio.run(plain.call("spend", by=["project"]))
            with Ledger(str(cli.database)) as ledger:
                ledger.tokens.revoke("bot")
            with pytest.raises(httpx.HTTPStatusError, match="401"):
                plain.ask("tools/list")
    assert ended.content["labels"] == {"token": "bot", "run": "bot/night"}
    assert (ended.content["project"], ended.content["committed"]) == ("ads", "0.405")
    assert dear.content["error"]["code"] == "ceiling"
    # 0.405 of 0.5 USD are spent in this run.
    assert capped.content["error"]["budget"] == "run/bot/night"
    assert capped.content["error"]["left"] == {"amount": "0.095", "unit": "USD"}
    assert outside.is_error
    assert hidden.content["error"]["code"] == "not_found"
    assert [row["spent"] for row in spent.content["rows"]] == ["0.405"]


def test_without_the_package_it_says_how_to_get_it(cli):
    script = "import sys; sys.modules['mcp'] = None; from kling_ledger.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", script, "mcp", "--wallet", "team"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "pip install 'kling-ledger[agents]'" in ended.stderr


def test_an_unknown_wallet_is_said_before_anything_is_served(cli):
    said = cli("mcp", "--wallet", "nobody")
    assert said.code == 2
    assert "wallet create nobody" in said.err
