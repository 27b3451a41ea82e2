"""Hooks: a job that would pass the limits is denied, all else left alone, and every failure denies.

What is denied and what is left alone is written here by hand, from the addresses that the providers
document.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_ledger.agents.hooks.calls import ToolCall
from kling_ledger.agents.hooks.judging import Rules, judge
from kling_ledger.agents.hooks.verdicts import LEAVE, Verdict
from kling_ledger.gateway.doors import DOORS
from tests.cli import BODY, COMMAND, Cli, Said
from tests.test_cli_cold_start import loaded

RUNAPI = "https://runapi.ai/api/v1/kling/text_to_video"
DATA = """-d '{"model": "kling-3.0"}'"""
RULES = Rules(
    of_run=lambda words, folder: LEAVE,
    of_tool=lambda tool, arguments: LEAVE,
    gateway="http://127.0.0.1:8770",
    environ={"GATEWAY": "http://127.0.0.1:8770/runapi", "DIRECT": "https://runapi.ai"},
)

DENIED = {
    "plain": f"curl -X POST {RUNAPI} {DATA}",
    "quoted, in other letters": f"curl 'https://RunAPI.ai/api/v1/kling/text_to_video' {DATA}",
    "continued lines": f"curl \\\n  -X POST \\\n  {RUNAPI} \\\n  {DATA}",
    "chained": f"ls -l && curl https://api.evolink.ai/v1/videos/generations {DATA}",
    "in a pipe": f"cat body.json | curl -d @- {RUNAPI}",
    "a shell's own words": f"bash -lc 'curl {RUNAPI} -d @body.json'",
    "a shell that reads": f'echo "curl {RUNAPI}" | sh',
    "Crun": f"curl https://api.crun.ai/api/v1/client/job/CreateTask {DATA}",
    "Crun, by its other name": f"curl https://api.crunai.com/api/v1/client/job/CreateTask {DATA}",
    "UniAll by wget": "wget --post-file=b.json https://api.uniall.ai/v1/video/generations",
    "a variable": f"BASE=https://runapi.ai\ncurl $BASE/api/v1/kling/text_to_video {DATA}",
    "an exported one": f"export B=https://runapi.ai; curl ${{B}}/api/v1/kling/ai_avatar {DATA}",
    "one that is set already": f"curl $DIRECT/api/v1/kling/text_to_video {DATA}",
    "a path in a variable": f"P=/api/v1/kling; curl https://runapi.ai$P/text_to_video {DATA}",
    "escaped": f"curl https://runapi.ai/%61pi/v1/kling/text_to_video {DATA}",
    "python -c": "python3 -c \"import requests; requests.post('https://api.uniall.ai' + "
    "'/v1/video/generations', json={})\"",
    "lines for python": "python - <<'EOF'\nbase = 'https://runapi.ai'\n"
    "requests.post(f'{base}/api/v1/kling/text_to_video')\nEOF",
    "the provider's client": 'python -c "from runapi.kling import KlingClient; '
    'KlingClient().text_to_video.create()"',
    "after exec": f"kling-ledger exec -- true; curl {RUNAPI} {DATA}",
    "run before exec": f"kling-ledger exec -- echo $(curl {RUNAPI} {DATA})",
    "run before grep": f"grep $(curl {RUNAPI} {DATA}) notes.txt",
    "after a comment with an apostrophe": f"# don't wait\ncurl {RUNAPI} -d '{{}}'",
    "set for a shell alone": f"URL={RUNAPI} bash -c 'curl $URL -d @body.json'",
    "after lines for a file": f"cat > it's.md <<'EOF'\nit's\nEOF\ncurl {RUNAPI} {DATA}",
    "node": "node -e \"fetch('https://runapi.ai/api/v1/kling/motion_control', {method: 'POST'})\"",
}
LEFT_ALONE = {
    "code that is longer than a file's name": "python -c '" + "x = 1; " * 60 + "'",
    "code with a sign that no file's name has": "python -c 'print(\0)'",
    "nothing of ours": "npm test",
    "the gateway": f"curl http://127.0.0.1:8770/runapi/api/v1/kling/text_to_video {DATA}",
    "the gateway in a variable": f"curl $GATEWAY/api/v1/kling/text_to_video {DATA}",
    "a poll": "curl https://runapi.ai/api/v1/kling/text_to_video/tsk_1",
    "a balance": "curl https://runapi.ai/api/v1/me/balance",
    "another job": "curl https://runapi.ai/api/v1/chat/completions -d @body.json",
    "a search": f"grep -rn {RUNAPI} docs | head",
    "a commit": f"git commit -m 'Post to {RUNAPI}'",
    "a file that is written": f"cat > notes.md <<'EOF'\ncurl {RUNAPI}\nEOF\nls",
    "run": "kling-ledger run --provider runapi --request body.json --wallet team",
    "exec": f"kling-ledger exec -- curl {RUNAPI} {DATA} | jq .",
    "exec in a shell": f'bash -c "kling-ledger exec -- curl {RUNAPI} -d @body.json"',
    "exec after words": f"KEY=x timeout 30 kling-ledger exec -- curl {RUNAPI} -d @body.json",
    "an installation": "pip install runapi-kling",
    "metered": 'python -c "from kling_ledger import metered; from runapi.kling import KlingClient; '
    'metered(KlingClient(), ledger, wallet=1).text_to_video.run()"',
    "a comment": f"# curl {RUNAPI} {DATA}\nnpm test # {RUNAPI}",
    "a word in a body": "curl http://127.0.0.1:8770/runapi/api/v1/kling/text_to_video "
    """-d '{"prompt": "https://runapi.ai"}'""",
    "an address alone": "export RUNAPI_BASE_URL=https://runapi.ai",
}
ASKED = {
    "a host that is not seen": f"curl $SOMEWHERE/api/v1/kling/text_to_video {DATA}",
    "a path that is not seen": f"curl -X POST https://runapi.ai$SOMEWHERE {DATA}",
}


def of_command(command: str, folder: Path = Path("/nowhere")) -> Verdict:
    return judge(ToolCall("Bash", {"command": command}, folder), RULES)


@pytest.mark.parametrize("command", DENIED.values(), ids=DENIED)
def test_a_job_past_the_limits_is_denied_in_words_to_act_on(command: str):
    verdict = of_command(command)
    assert verdict.decision == "deny"
    for words in ("kling-ledger run --provider", "kling-ledger exec", "http://127.0.0.1:8770/"):
        assert words in verdict.reason


@pytest.mark.parametrize("command", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_whatever_sends_no_job_past_the_limits_is_left_alone(command: str):
    assert of_command(command) == LEAVE


@pytest.mark.parametrize("command", ASKED.values(), ids=ASKED)
def test_what_cannot_be_seen_is_asked(command: str):
    assert of_command(command).decision == "ask"


def test_every_address_at_which_the_gateway_takes_jobs_is_known():
    for name, door in DOORS.items():
        host = door.dialect.facts.base_url
        for path in (door.dialect.submit_path, *door.aliases):
            command = f"curl -d @body.json {host}{path.format(action='extend_video')}"
            verdict = of_command(command)
            assert (verdict.decision, f"to {name} (" in verdict.reason) == ("deny", True), command


def test_an_agent_under_exec_may_call_providers_but_not_leave_the_proxy():
    under = Rules(RULES.of_run, RULES.of_tool, environ={}, is_under_exec=True)

    def decided(command: str) -> str:
        return judge(ToolCall("Bash", {"command": command}, Path()), under).decision

    assert decided(f"curl {RUNAPI} {DATA}") == "leave"
    assert decided(f"curl --noproxy '*' {RUNAPI} {DATA}") == "deny"
    assert decided(f"HTTPS_PROXY= curl {RUNAPI} {DATA}") == "deny"


PIECES = [
    "curl",
    RUNAPI,
    "'",
    '"',
    "\\",
    "$(",
    ")",
    "`",
    "<<EOF",
    "EOF",
    "\n",
    "|",
    "&",
    ";",
    "A=",
    "$A",
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12))
def test_whatever_a_command_line_is_it_is_judged(pieces: list[str]):
    assert of_command(" ".join(pieces)).decision in {"leave", "ask", "deny"}
    # Nothing that stands beside a job hides it, but for what a shell itself takes for text.
    harmless = [piece for piece in pieces if piece.isalnum()]
    assert of_command("; ".join([*harmless, f"curl {RUNAPI} {DATA}"])).decision == "deny"


TOOLS: list[tuple[str, dict[str, Any], str]] = [
    ("http_request", {"method": "POST", "url": RUNAPI, "body": "{}"}, "deny"),
    ("http_request", {"method": "POST", "base": "https://runapi.ai", "path": RUNAPI[17:]}, "deny"),
    ("http_request", {"method": "GET", "url": RUNAPI}, "leave"),
    ("execute_code", {"code": f"requests.post('{RUNAPI}')"}, "deny"),
    ("mcp__runapi__text_to_video", {"prompt": "a lake"}, "deny"),
    ("mcp__kling__generate", {}, "deny"),
    ("mcp__runapi__get_balance", {}, "leave"),
    ("mcp__runapi__list_video_models", {}, "leave"),
    ("mcp_runapi_get_balance", {}, "leave"),
    ("mcp_runapi_create_video", {}, "deny"),
    ("exec", {"command": "curl -d @b.json $URL", "env": {"URL": RUNAPI}}, "deny"),
    ("mcp__github__create_issue", {"body": "a lake"}, "leave"),
    ("Write", {"file_path": "a.md", "content": f"curl {RUNAPI} {DATA}"}, "leave"),
    ("terminal", {"command": ["curl", RUNAPI, "-d", "{}"]}, "deny"),
    ("shell", {"command": ["bash", "-lc", f"curl {RUNAPI} -d @body.json"]}, "deny"),
    ("shell", {"command": ["bash", "-lc", f"grep {RUNAPI} notes.md"]}, "leave"),
]


@pytest.mark.parametrize(("tool", "arguments", "decision"), TOOLS)
def test_tools_of_any_agent_are_judged_by_what_they_would_send(
    tool: str, arguments: dict[str, Any], decision: str
):
    assert judge(ToolCall(tool, arguments, Path()), RULES).decision == decision


AGENTS = ("claude-code", "hermes", "openclaw")


def asked(command: str, tool: str = "Bash", **more: Any) -> str:
    return json.dumps({"tool_name": tool, "tool_input": {"command": command}, "cwd": "/", **more})


def decided(agent: str, said: Said) -> tuple[str, str]:
    """What an agent takes an answer for, by its own documentation, and the reason."""
    if agent == "claude-code":
        if said.code == 2:
            return "deny", said.err
        assert said.code == 0
        answer = json.loads(said.out)["hookSpecificOutput"] if said.out else {}
        return answer.get("permissionDecision", "leave"), answer.get("permissionDecisionReason", "")
    answer = json.loads(said.out)
    if agent == "hermes":
        names = {"block": "deny", "approve": "ask", None: "leave"}
        return names[answer.get("action")], answer.get("message", "")
    if answer.get("block"):
        return "deny", answer["blockReason"]
    approval = answer.get("requireApproval")
    return ("ask", approval["description"]) if approval else ("leave", "")


@pytest.mark.parametrize("agent", AGENTS)
def test_each_agent_is_answered_in_its_own_words(tmp_path: Path, agent: str):
    cli = Cli(tmp_path)

    def answered(command: str) -> tuple[str, str]:
        return decided(agent, cli("hook", agent, stdin=asked(command)))

    decision, reason = answered(f"curl {RUNAPI} {DATA}")
    assert decision == "deny"
    assert "runapi.ai/api/v1/kling/text_to_video" in reason
    assert answered(f"curl $SOMEWHERE/v1/videos/generations {DATA}")[0] == "ask"
    assert answered("npm test") == ("leave", "")
    # What `exec` gives a program in place of a key says that its proxy is there.
    under_exec = Cli(tmp_path, {"RUNAPI_API_KEY": "klr_AbC"})
    said = under_exec("hook", agent, stdin=asked(f"curl {RUNAPI} {DATA}"))
    assert decided(agent, said)[0] == "leave"


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize(
    "told", ["", "not JSON", "[]", "{}", '{"tool_name": "Bash", "tool_input": [1]}', "[" * 100_000]
)
def test_what_cannot_be_read_is_denied(tmp_path: Path, agent: str, told: str):
    said = Cli(tmp_path)("hook", agent, stdin=told)
    decision, reason = decided(agent, said)
    assert decision == "deny"
    assert "could not check this call" in reason
    # A plugin takes any other code than 0 for a failure, which it blocks as well.
    assert said.code != 0


@pytest.mark.parametrize("agent", AGENTS)
def test_a_setting_that_cannot_be_read_denies(tmp_path: Path, agent: str):
    said = Cli(tmp_path)("hook", agent, "--ask-above", "much", stdin=asked("npm test"))
    assert decided(agent, said)[0] == "deny"


@pytest.mark.parametrize("agent", AGENTS)
def test_a_call_that_takes_too_long_to_look_at_is_denied(tmp_path: Path, agent: str):
    # The agent never ends what it says: nothing else than the time-out can answer.
    process = subprocess.Popen(
        [COMMAND, "hook", agent, "--timeout", "0.1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = process.stdout.read().decode(), process.stderr.read().decode()
    decision, reason = decided(agent, Said(process.returncode, out, err))
    assert decision == "deny"
    assert "longer than 0.1 s" in reason


def test_a_shell_hook_of_hermes_denies_what_it_cannot_ask(tmp_path: Path):
    told = asked(f"curl $SOMEWHERE/v1/videos/generations {DATA}", hook_event_name="pre_tool_call")
    said = Cli(tmp_path)("hook", "hermes", stdin=told)
    assert decided("hermes", said)[0] == "deny"


# Five seconds of 1080p with sound at RunAPI hold 1.35 USD: the higher of its two figures.
RUN = "kling-ledger run --provider runapi --wallet team"
CRUN_RUN = (
    "kling-ledger run --provider crun --wallet team --model kling/v3 --prompt x --seconds 5 "
    "--resolution 1080p --sound"
)
COSTS = [
    (f"{RUN} --request body.json", "1.35 USD", "leave"),
    (f"{RUN} --request body.json", "1.349999 USD", "ask"),
    (f"{RUN} --request body.json --max-cost '1 USD'", "1 USD", "leave"),
    (f"{RUN} --request body.json --max-cost '1.01 USD'", "1 USD", "ask"),
    (f"{RUN} --request body.json --max-cost 1", "1 USD", "ask"),
    (f"{RUN} --Request body.json --Max_Cost '1 USD'", "1 USD", "leave"),
    (f"{RUN.replace('run', 'Run')} --request body.json", "1 USD", "ask"),
    (f"{RUN.replace('run', '--config mine.toml run')} --request body.json", "1 USD", "ask"),
    (
        f"{RUN.replace('kling-ledger', 'python -m kling_ledger')} --request body.json",
        "1 USD",
        "ask",
    ),
    (f"uv run {RUN} --request body.json", "1 USD", "ask"),
    (f"sudo -u ada /opt/bin/{RUN} --request body.json", "1 USD", "ask"),
    (f"kling-ledger exec --wallet team -- {RUN} --request body.json", "1 USD", "ask"),
    (f"echo $({RUN} --request body.json)", "1 USD", "ask"),
    (f"grep '{RUN} --request body.json' notes.txt", "1 USD", "leave"),
    ("uv pip install kling-ledger", "0.01 USD", "leave"),
    (f"{RUN} --request missing.json", "100 USD", "ask"),
    (f"cat body.json | {RUN} --request -", "100 USD", "ask"),
    (f"{RUN} --model kling-3.0 --prompt x --seconds 5 --resolution 1080p --sound", "1 USD", "ask"),
    # 135 credits are 0.675 USD by Crun's own page.
    (CRUN_RUN, "0.675 USD", "leave"),
    (CRUN_RUN, "0.674 USD", "ask"),
    ("kling-ledger batch clips.csv --wallet team", "1 USD", "ask"),
    ("kling-ledger batch clips.csv --wallet team --max-total '1 USD'", "1 USD", "leave"),
    ("kling-ledger wallet show team", "0.01 USD", "leave"),
    (f"{RUN} --request body.json --max-cost '1 USD'; curl {RUNAPI} {DATA}", "1 USD", "deny"),
]


@pytest.mark.parametrize(("command", "most", "decision"), COSTS)
def test_a_call_of_ours_above_the_sum_is_asked(
    tmp_path: Path, command: str, most: str, decision: str
):
    (tmp_path / "body.json").write_text(json.dumps(BODY))
    told = asked(command, cwd=str(tmp_path))
    said = Cli(tmp_path)("hook", "claude-code", "--ask-above", most, stdin=told)
    assert decided("claude-code", said)[0] == decision


@pytest.mark.parametrize(
    "words",
    [
        "wallet fund team '9 USD'",
        "budget raise today '9 USD' --until 2h --reason x",
        "approval grant apr_1",
        "token create other --wallet team",
        "reservation rollback res_1 --reason x",
        "reservation correct res_1 '0 USD'",
        "reservation resolve --all",
        "config set approve_above '900 USD'",
        "Wallet Fund team '9 USD'",
        "--config mine.toml wallet fund team '9 USD'",
        "exec --wallet team -- kling-ledger wallet fund team '9 USD'",
    ],
)
def test_an_agent_does_not_decide_about_limits_itself(tmp_path: Path, words: str):
    said = Cli(tmp_path)("hook", "claude-code", stdin=asked(f"sleep 1; kling-ledger {words}"))
    assert decided("claude-code", said)[0] == "ask"


@pytest.mark.parametrize("words", ["wallet fund --help", "run -h", "wallet fund -h | head"])
def test_an_agent_may_read_the_help_of_every_command(tmp_path: Path, words: str):
    said = Cli(tmp_path)("hook", "claude-code", stdin=asked(f"kling-ledger {words}"))
    assert decided("claude-code", said) == ("leave", "")


@pytest.mark.parametrize(
    "tool", ["mcp__kling-ledger__run", "mcp_kling_ledger_run", "kling-ledger__run"]
)
def test_a_run_by_mcp_above_the_sum_is_asked(tmp_path: Path, tool: str):
    def answered(most: str, **arguments: Any) -> str:
        given = {"provider": "runapi", "body": BODY, "key": "shot-7", **arguments}
        told = json.dumps({"tool_name": tool, "tool_input": given})
        said = Cli(tmp_path)("hook", "claude-code", "--ask-above", most, stdin=told)
        return decided("claude-code", said)[0]

    assert answered("1.35 USD") == "leave"
    assert answered("1 USD") == "ask"
    assert answered("1 USD", max_cost="1 USD") == "leave"
    clip = {"model": "kling-3.0", "prompt": "x", "seconds": 5, "resolution": "1080p"}
    assert answered("1.35 USD", body=None, **clip, sound=True) == "leave"
    assert answered("1.34 USD", body=None, **clip, sound=True) == "ask"
    assert answered("100 USD", body="a lake") == "ask"
    assert answered("100 USD", provider=None) == "ask"


def test_the_hook_loads_neither_a_database_nor_a_network_nor_tables(tmp_path: Path):
    heavy = {"pandas", "sqlalchemy", "sqlmodel", "httpx", "starlette", "mcp", "cryptography"}
    names = loaded("hook", "claude-code", "--show", folder=tmp_path)
    assert names & heavy == set()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", COMMAND, "hook", "claude-code", "--ask-above", "1"],
        input=asked(f"curl {RUNAPI} {DATA}"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "deny" in done.stdout
    loaded_here = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "kling_ledger.agents.hooks.judging" in loaded_here
    assert loaded_here & heavy == set()


def test_what_is_shown_for_claude_code_blocks_on_every_failure(tmp_path: Path):
    said = Cli(tmp_path)("hook", "claude-code", "--install", "--ask-above", "1 USD")
    [entry] = json.loads(said.out)["hooks"]["PreToolUse"]
    [called] = entry["hooks"]
    assert called["onFailure"] == "block"
    assert "--ask-above '1 USD'" in called["command"]
    # A program that is gone, as Claude Code would call it: 2 is the code that blocks.
    gone = called["command"].replace(COMMAND, "/nowhere/kling-ledger")
    assert subprocess.run(["sh", "-c", gone], check=False).returncode == 2


def test_settings_that_are_there_are_kept_and_ours_is_replaced(tmp_path: Path):
    cli, file = Cli(tmp_path), tmp_path / ".claude" / "settings.json"
    other = {"matcher": "Edit", "hooks": [{"type": "command", "command": "lint"}]}
    kept = {"model": "opus", "hooks": {"Stop": [], "PreToolUse": [other]}}
    file.parent.mkdir()
    file.write_text(json.dumps(kept))
    for most in ("1 USD", "2 USD"):
        said = cli("hook", "claude-code", "--write", str(file), "--ask-above", most)
        assert said.code == 0
    written = json.loads(file.read_text())
    assert written["model"] == "opus"
    assert written["hooks"]["Stop"] == []
    first, ours = written["hooks"]["PreToolUse"]
    assert first == other
    assert "2 USD" in ours["hooks"][0]["command"]


@pytest.mark.parametrize("text", ["{", "[]", '{"hooks": {"PreToolUse": {}}}'])
def test_settings_that_cannot_be_read_are_left_as_they_are(tmp_path: Path, text: str):
    file = tmp_path / "settings.json"
    file.write_text(text)
    said = Cli(tmp_path)("hook", "claude-code", "--write", str(file))
    assert said.code == 2
    assert file.read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["settings.json"]


def hermes_plugin(folder: Path) -> Any:
    """The plugin as Hermes loads it: a module from a file."""
    spec = spec_from_file_location("hermes_plugins.kling_ledger", folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_plugin_of_hermes_blocks_what_the_hook_denies_and_when_the_hook_fails(tmp_path: Path):
    folder = tmp_path / "kling-ledger"
    said = Cli(tmp_path)("hook", "hermes", "--write", str(folder), "--ask-above", "1 USD")
    assert said.code == 0
    before = hermes_plugin(folder).before
    assert before("terminal", {"command": "npm test"}) is None
    denied = before("terminal", {"command": f"curl {RUNAPI} {DATA}"})
    assert denied["action"] == "block"
    assert "kling-ledger run" in denied["message"]
    settings = json.loads((folder / "command.json").read_text())
    for command in (["/nowhere/kling-ledger"], ["false"], ["true"], [COMMAND, "hook", "nobody"]):
        (folder / "command.json").write_text(json.dumps({**settings, "command": command}))
        assert before("terminal", {"command": "npm test"})["action"] == "block"
        # What is left alone costs no process.
        assert before("read_file", {"path": "a"}) is None
    (folder / "command.json").unlink()
    assert before("read_file", {"path": "a"})["action"] == "block"


def test_the_plugin_of_openclaw_is_written_whole(tmp_path: Path):
    said = Cli(tmp_path)("hook", "openclaw", "--write", "hook")
    assert said.code == 0
    written = {path.name for path in (tmp_path / "hook").iterdir()}
    assert written == {"package.json", "openclaw.plugin.json", "index.js", "command.json"}
    package = json.loads((tmp_path / "hook" / "package.json").read_text())
    assert package["openclaw"]["extensions"] == ["./index.js"]
    settings = json.loads((tmp_path / "hook" / "command.json").read_text())
    assert os.access(settings["command"][0], os.X_OK)
    assert settings["command"][1:] == ["hook", "openclaw"]
