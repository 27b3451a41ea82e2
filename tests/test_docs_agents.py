"""The pages on agents and the skill say what is true: every command in them is typed, and answers.

Whatever a page sends goes to a sandbox. A line that ends in ` &` is a server, which stays until its
page ends. What other programs are needed for stands in blocks of `sh`, whose own commands are only
read.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.cli import cli as all_commands
from kling_ledger.sandbox import Sandbox
from tests.cli import COMMAND, Cli, Said
from tests.test_docs import ROOT, TOLD_ANEW, commands, is_part_of

SKILL = "skills/kling-ledger/SKILL.md"
PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs/how-to/agents").glob("*.md"))
TO_THE_SANDBOX = {
    "gateway": ("--port", "0", "--upstream", "{url}"),
    "exec": ("--upstream", "{url}"),
    "check": ("--base-url", "{url}"),
    "run": ("--base-url", "{url}"),
}
"""What a command is given more, so that the sandbox plays the provider."""

_LONGEST_S = 60


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page(name), re.DOTALL)


def typed(name: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a page's console blocks in their order, each with what it prints."""
    for block in blocks(name, "console"):
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = entry.replace("\\\n", " ").partition("\n")
            yield command, [line for line in printed.rstrip().split("\n") if line]


class Reader:
    """Somebody who follows a page at a sandbox, in a folder and with a home of their own."""

    def __init__(self, folder: Path, sandbox: Sandbox, stack: ExitStack) -> None:
        self._cli = Cli(folder, {"HOME": str(folder)})
        self._sandbox = sandbox
        self._stack = stack
        self._listens: dict[str, str] = {}

    def types(self, command: str, printed: list[str]) -> Said | None:
        """Type a command; None where it only prepares."""
        words = shlex.split(command)
        if words[0] == "cat":
            (self._cli.folder / words[1]).write_text("\n".join(printed) + "\n")
            return None
        if words[0] == "export":
            variable, _, value = words[1].partition("=")
            self._cli.environ[variable] = value
            return None
        if words[-1] == "&":
            return self._serves(words[1:-1], printed[0])
        if words[0] == "kling-ledger" and not {"<", ">"}.intersection(words):
            return self._cli(*self._given(words[1:]))
        return self._by_shell(command)

    def _given(self, words: list[str]) -> list[str]:
        more = [word.format(url=self._sandbox.url) for word in TO_THE_SANDBOX.get(words[0], ())]
        # The last port wins; what is behind the words of `exec` is another program's.
        return [*words, *more] if words[0] == "gateway" else [words[0], *more, *words[1:]]

    def _serves(self, words: list[str], shown: str) -> Said:
        process = self._cli.start(*self._given(words))
        self._stack.callback(process.communicate, timeout=_LONGEST_S)
        self._stack.callback(process.terminate)
        assert process.stdout is not None
        self._listens[shown] = process.stdout.readline().decode().strip()
        return Said(0, shown, "")

    def _by_shell(self, command: str) -> Said:
        for shown, real in self._listens.items():
            command = command.replace(shown, real)
        db = {"KLING_LEDGER_DB": str(self._cli.database)}
        path = f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self._cli.folder,
            env={**os.environ, **self._cli.environ, **db, "PATH": path},
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def end_jobs(self) -> None:
        """End the sandbox's jobs: a page does not wait for them, its reader does."""
        self._sandbox.runapi.finish()


def is_told(line: str, told: list[str]) -> bool:
    """Whether a line was printed; `...` in it stands for anything."""
    if TOLD_ANEW.fullmatch(line):
        return True
    pattern = re.compile(".*".join(map(re.escape, line.split("..."))))
    return any(is_part_of(line, one) or pattern.search(one) for one in told)


@pytest.mark.parametrize("name", [*PAGES, SKILL])
def test_every_command_of_a_page_is_typed_and_prints_what_it_shows(
    name: str, tmp_path: Path, sandbox: Sandbox
):
    with ExitStack() as stack:
        reader = Reader(tmp_path, sandbox, stack)
        if name == SKILL:
            # Who it is written for finds a wallet, and a provider's key.
            prepare(reader)
        for command, printed in typed(name):
            if command.startswith("kling-ledger re"):
                reader.end_jobs()
            said = reader.types(command, printed)
            if said is None:
                continue
            told = (said.out + said.err).splitlines()
            assert said.code == 0, (command, told)
            for line in printed:
                assert is_told(line, told), (command, line, told)


def prepare(reader: Reader) -> None:
    for command in (
        "kling-ledger wallet create team --unit USD",
        "kling-ledger wallet fund team '5 USD'",
        "export RUNAPI_API_KEY=sandbox-key",
    ):
        reader.types(command, [])


@pytest.mark.parametrize("name", PAGES)
def test_what_is_shown_for_other_programs_names_commands_and_options_that_exist(name: str):
    shown = "\n".join(blocks(name, "sh")).replace("\\\n", " ")
    for line in re.findall(r"kling-ledger ([a-z].*)", shown):
        exists(shlex.split(line))
    for block in blocks(name, "json"):
        for words in arguments_in(json.loads(block)):
            exists(words)
    for line in re.findall(r"args: \[(.*)\]", page(name)):
        exists(re.split(", ", line))


def arguments_in(settings: Any) -> Iterator[list[str]]:
    """The arguments of every server that settings start."""
    if isinstance(settings, dict):
        if "args" in settings:
            yield settings["args"]
        for inner in settings.values():
            yield from arguments_in(inner)


def exists(words: list[str]) -> None:
    known = commands()
    command = known.get(" ".join(words[:2])) or known.get(words[0])
    assert command is not None, words
    ours = words[: words.index("--")] if "--" in words else words
    options = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}
    assert {word for word in ours if word.startswith("--")} <= options, words


def front_matter() -> dict[str, str]:
    """The skill's front matter: plain and folded values, as its format has them."""
    text = page(SKILL).split("---\n")[1]
    values: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith(" "):
            name, _, value = line.partition(":")
            values[name] = value.replace(">-", "").strip()
        else:
            values[name] = f"{values[name]} {line.strip()}".strip()
    return values


def test_the_front_matter_of_the_skill_is_what_its_format_allows():
    found = front_matter()
    assert set(found) == {"name", "description", "compatibility", "metadata", "allowed-tools"}
    assert re.fullmatch("[a-z0-9-]{1,64}", found["name"])
    assert found["name"] == Path(SKILL).parent.name
    assert 0 < len(found["description"]) <= 1024
    assert 0 < len(found["compatibility"]) <= 500


def test_the_skill_allows_only_what_spends_nothing_and_changes_no_limit():
    allowed = re.findall(r"Bash\(kling-ledger ([a-z ]+):\*\)", front_matter()["allowed-tools"])
    harmless = {"quote", "compare", "afford", "check", "reservation show", "reservation list"}
    assert set(allowed) == harmless
    assert harmless <= set(commands(all_commands))


def test_every_code_of_a_refusal_that_the_skill_explains_exists():
    from kling_ledger import errors
    from kling_pricing import errors as pricing_errors

    classes = [*vars(errors).values(), *vars(pricing_errors).values()]
    known = {getattr(one, "code", None) for one in classes if isinstance(one, type)}
    told = re.findall(r"^\| `(\w+)` \|", page(SKILL), re.MULTILINE)
    assert len(told) == 5
    assert set(told) <= known


def test_every_link_of_the_pages_leads_somewhere():
    for name in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page(name)):
            assert (ROOT / name).parent.joinpath(target).exists(), target
