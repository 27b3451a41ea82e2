"""Completion: the script that each shell is given, really sourced where the shell is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import COMMAND, Cli

ASKED = {
    "kling-ledger qu": ["quote"],
    "kling-ledger wallet fu": ["fund"],
    "kling-ledger quote --resol": ["--resolution"],
    "kling-ledger quote --resolution 10": ["1080p"],
    "kling-ledger completion f": ["fish"],
}
IN_BASH = """
eval "$(kling-ledger completion bash)"
read -ra COMP_WORDS <<< "$1"
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_kling_ledger_completion kling-ledger "${COMP_WORDS[COMP_CWORD]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
IN_FISH = 'kling-ledger completion fish | source; complete -C "$argv[1]"'
IN_ZSH = """
autoload -Uz compinit && compinit -u -D
eval "$(kling-ledger completion zsh)"
print ${_comps[kling-ledger]}
"""


def run(words: list[str]) -> list[str]:
    folder = str(Path(COMMAND).parent)
    environ = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(words, capture_output=True, text=True, env=environ, check=True)
    assert done.stderr == ""
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


def shell(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} here")
    return found


@pytest.mark.parametrize("line", ASKED)
def test_bash_completes_commands_options_and_choices(line: str) -> None:
    assert run([shell("bash"), "-c", IN_BASH, "bash", line]) == ASKED[line]


@pytest.mark.parametrize("line", ASKED)
def test_fish_completes_commands_options_and_choices(line: str) -> None:
    assert run([shell("fish"), "--no-config", "-c", IN_FISH, line]) == ASKED[line]


def test_zsh_takes_the_script() -> None:
    assert run([shell("zsh"), "-f", "-c", IN_ZSH]) == ["_kling_ledger_completion"]


def test_a_shell_that_we_do_not_know_is_refused(tmp_path: Path) -> None:
    said = Cli(tmp_path)("completion", "bsh")
    assert (said.code, said.lines[-1]) == (2, "hint: did you mean bash?")


def test_completing_a_command_imports_none(tmp_path: Path) -> None:
    asked = {"COMP_WORDS": "kling-ledger re", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "kling_ledger"],
        env={**os.environ, **asked, "_KLING_LEDGER_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        f"plain,{one}" for one in ("resume", "reconcile", "reservation", "report")
    ]
    assert "kling_ledger.cli.report" not in done.stderr
