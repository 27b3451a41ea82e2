"""Scripts under the hook: files that a command line runs, writes and runs, or hands to a shell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kling_ledger.agents.hooks.calls import ToolCall
from kling_ledger.agents.hooks.judging import Rules, judge
from kling_ledger.agents.hooks.verdicts import LEAVE, Verdict, ask

RUNAPI = "https://runapi.ai/api/v1/kling/text_to_video"
SENDS = f"import requests\nrequests.post({RUNAPI!r}, json=body)\n"
FUNDS = "kling-ledger wallet fund team 9"
FUNDING = ask("wallet fund team 9")
RULES = Rules(
    of_run=lambda words, folder: ask(" ".join(words)),
    of_tool=lambda tool, arguments: LEAVE,
    environ={},
)


def judged(command: str, folder: Path = Path("/nowhere")) -> Verdict:
    return judge(ToolCall("Bash", {"command": command}, folder), RULES)


@pytest.mark.parametrize(
    "started",
    [
        "python send.py",
        "sh -x send.py",
        "./send.py",
        "./send.py &",
        "python -W ignore -u send.py --fast",
        "python -m send",
        "uv run send.py",
        "uv run --with requests python3.12 send.py",
        "poetry run python send.py",
        "xargs -n1 python send.py < ids",
        "cd .. && cd clips && python send.py",
        "(cd /tmp; ls); python send.py",
        "timeout --signal=KILL 60 python send.py",
        "(python send.py)",
        "(uv run send.py)",
        "( timeout 9 python send.py )",
        "run() { python send.py; }; run",
        "out=$(python send.py)",
        'echo "made: $(python send.py)"',
        "S=send.py; python $S",
        "pushd ../clips; python send.py",
        "python - < send.py",
        "cat send.py | python",
        "find . -name '*.py' -exec python send.py {} +",
        "docker run -v .:/x image python send.py",
        "conda run -n clips python send.py",
        'echo "--> send.py" && python send.py',
        "echo 'import os' >> send.py; python send.py",
    ],
)
def test_a_script_is_looked_into_when_it_is_run(tmp_path: Path, started: str):
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "send.py").write_text(SENDS)
    assert judged(started, folder).decision == "deny"
    assert judged("cat send.py", folder) == LEAVE
    (folder / "send.py").write_text("print('a lake')\n")
    assert judged(started, folder) == LEAVE


@pytest.mark.parametrize(
    "command",
    [
        "cat send.py",
        "ruff check send.py",
        "pytest send.py",
        "uv run pytest send.py -q",
        "poetry run mypy send.py",
        "bun test send.py",
        "bash -n send.py",
        "python -c 'print(1)' send.py",
        "python tools/none.py --input send.py",
        "python - send.py <<'EOF'\nprint(1)\nEOF",
        "find . -name send.py | xargs grep -n post",
        "cd ~nobody-here/x && git pull",
        "kling-ledger exec --wallet team -- python send.py",
        "uv run kling-ledger exec --wallet team -- python send.py",
        "timeout 60 uv run kling-ledger exec --wallet team -- python send.py",
        "OUT=$(kling-ledger exec --wallet team -- python send.py)",
    ],
)
def test_a_script_that_is_not_run_says_nothing(tmp_path: Path, command: str):
    (tmp_path / "send.py").write_text(SENDS)
    quiet = replace(RULES, of_run=lambda words, folder: LEAVE)
    assert judge(ToolCall("Bash", {"command": command}, tmp_path), quiet) == LEAVE


@pytest.mark.parametrize(
    ("started", "first_line"),
    [
        ("bash go", ""),
        (". go", ""),
        ("source ./go", ""),
        ("./go", "#!/usr/bin/env bash"),
        ("ls; sh -e go", ""),
        ("bash outer", ""),
    ],
)
def test_a_shell_script_is_read_as_the_commands_in_it(
    tmp_path: Path, started: str, first_line: str
):
    (tmp_path / "outer").write_text("set -e\nbash outer\n. go\n")

    def of_script(*lines: str) -> Verdict:
        (tmp_path / "go").write_text("\n".join([first_line, *lines, ""]))
        return judged(started, tmp_path)

    assert of_script(f"to={RUNAPI}", 'curl "$to" -d @body.json').decision == "deny"
    assert of_script(f"echo {RUNAPI}  # or curl {RUNAPI}") == LEAVE
    guarded = f"exec --wallet team -- curl {RUNAPI}"
    assert of_script(f"kling-ledger {guarded}") == ask(guarded)
    assert of_script("cd clips", FUNDS) == FUNDING


@pytest.mark.parametrize("run", ["python {}", "chmod +x ./{0}\n./{0}", "cd . && uv run {}"])
@pytest.mark.parametrize(
    "to", ["cat > {}", "tee {} >/dev/null", "cat >'{}'", "mkdir -p a; cat >> {}"]
)
def test_what_a_command_line_writes_and_runs_is_looked_into(to: str, run: str):
    def line(text: str) -> str:
        return f"{to.format('send.py')} <<'EOF'\n{text}\nEOF\n{run.format('send.py')}"

    assert judged(line(SENDS)).decision == "deny"
    assert judged(line("print('a lake')")) == LEAVE
    kept, _, _ = line(SENDS).rpartition("EOF\n")
    assert judged(f"{kept}EOF\nls") == LEAVE
    assert judged(kept.replace("<<'EOF'", "<<'EOF' && ruff check send.py") + "EOF\n") == LEAVE
    at_once = kept.replace("<<'EOF'", f"<<'EOF' && {run.format('send.py')}".replace("\n", "; "))
    assert judged(f"{at_once}EOF\n").decision == "deny"


@pytest.mark.parametrize(
    "command",
    [
        f"cat > fund.sh <<'EOF'\n{FUNDS}\nEOF\nbash fund.sh",
        f"echo '{FUNDS}' > fund.sh && sh ./fund.sh",
        f"printf 'ls\\n{FUNDS}\\n' | bash",
        f"echo '{FUNDS}' | sh -s",
        f"bash <<EOF\n{FUNDS}\nEOF",
        f"eval '{FUNDS}'",
        f"eval {FUNDS}",
        f"watch -n 5 '{FUNDS}'",
        f"su ada -c '{FUNDS}'",
        f"ssh host '{FUNDS}'",
        "K=kling-ledger; $K wallet fund team 9",
        f"trap '{FUNDS}' EXIT",
        f"bash <<< '{FUNDS}'",
        f"cat <<'EOF' | bash -s\n{FUNDS}\nEOF",
        f"ssh host <<'EOF'\n{FUNDS}\nEOF",
        f"find . -name x -exec sh -c '{FUNDS}' _ {{}} \\;",
        f"docker exec box sh -c '{FUNDS}'",
        f"sudo -u ada bash -c '{FUNDS}'",
        f"sudo -n {FUNDS}",
        f"time -p {FUNDS}",
        f"nice -n 5 xargs -n 1 {FUNDS}",
        f"uv run bash -c '{FUNDS}'",
        f"echo 'ls' > x.sh; echo '{FUNDS}' >> x.sh; bash x.sh",
        f"cat > x.sh <<'EOF' && bash x.sh\n{FUNDS}\nEOF",
        f"x=$(bash -c '{FUNDS}')",
        f"echo `{FUNDS}`",
    ],
)
def test_what_is_handed_to_a_shell_is_read_as_commands(command: str):
    found = judged(command)
    assert (found.decision, found.reason[:18]) == ("ask", FUNDING.reason)


@pytest.mark.parametrize(
    "command",
    [
        f"cat > fund.sh <<'EOF'\n{FUNDS}\nEOF\nls",
        f"echo '{FUNDS}' > fund.sh",
        f"git commit -m '{FUNDS}'",
        f"gh issue create --body 'Say {FUNDS}'",
        f"grep -rn '{FUNDS}' docs | head",
        f"git commit -m 'Say `{FUNDS}`'",
        f"git commit -m \"$(cat <<'EOF'\nSay: {FUNDS}\ncurl -X POST {RUNAPI} -d @b\nEOF\n)\"",
        f"cat > README.md <<'EOF'\nRun `{FUNDS}`:\n```bash\ncurl -X POST {RUNAPI} -d @b\n```\nEOF",
        f"sed -i 's|BASE|{RUNAPI}|' send.py",
        f"diff <(echo {RUNAPI}) a.txt",
        "bash -n",
        "sh < /dev/null",
    ],
)
def test_words_that_nobody_runs_are_left_alone(command: str):
    assert judged(command) == LEAVE


def test_a_value_that_is_set_in_the_line_is_the_one_that_is_judged():
    found = judged("MOST='5 USD'; kling-ledger run --max-cost \"$MOST\" --wallet team")
    assert found == ask("run --max-cost 5 USD --wallet team")
    under = replace(RULES, environ={"WALLET": "team"})
    call = ToolCall("Bash", {"command": "kling-ledger run --wallet $WALLET"}, Path("/nowhere"))
    assert judge(call, under) == ask("run --wallet team")
