"""A reader: somebody who follows a page at a sandbox, with a folder and a ledger of their own.

tests/pages.py says what a page may show and how it says what it takes for granted.
"""

from __future__ import annotations

import configparser
import csv
import io
import json
import os
import re
import shlex
import sqlite3
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, chdir, closing, redirect_stdout
from pathlib import Path
from typing import Any, Final
from unittest import mock

import click
import yaml
from runapi.core import config
from runapi.kling import KlingClient

from kling_ledger.cli import cli as all_commands
from kling_ledger.cli.plan_diff import diff
from kling_ledger.config import DATABASE_VARIABLE
from kling_ledger.providers.runapi.dialect import RunApi
from kling_ledger.sandbox import Sandbox
from tests.cli import API_KEY, COMMAND, Cli, Said
from tests.cli import body as request_body
from tests.pages import Block
from tests.sandbox_rig import Caller, body, plain_client

SANDBOX: Final = "http://127.0.0.1:8765"
"""Where the pages say that a sandbox listens."""

TO_THE_SANDBOX: Final[Mapping[str, tuple[str, str]]] = {
    "gateway": ("--upstream", "{url}"),
    "exec": ("--upstream", "{url}"),
    "check": ("--base-url", "{url}"),
    "run": ("--base-url", "{url}"),
}
"""What a command is given more where its page does not say it, so that the sandbox plays along."""

_LONGEST_S: Final = 60
_INSTALLS: Final = re.compile(
    r"^(?:pipx? install |uv |python3? -m venv |(?:\.|source) \S+/activate\b)[^&\n]*(?:&& *|$)",
    re.MULTILINE,
)
_BY_SHELL: Final = re.compile(r"[<>|;&$`*]")
_ID: Final = re.compile(r"\b([a-z]{3})_[0-9a-z]{20,}\b")
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?( UTC|Z)?")
_RULE: Final = re.compile(r"[─━\s]*")


def commands(group: click.Command = all_commands, name: str = "") -> dict[str, click.Command]:
    """Every command by its words, such as `wallet fund`."""
    if not isinstance(group, click.Group):
        return {name: group}
    context = click.Context(group)
    inner = {word: group.get_command(context, word) for word in group.list_commands(context)}
    return {
        words: command
        for word, one in inner.items()
        if one is not None
        for words, command in commands(one, f"{name} {word}".strip()).items()
    }


def command_of(words: list[str]) -> click.Command:
    """Return the command that the words after `kling-ledger` call; all their options exist."""
    known = {**commands(), "plan diff": diff}  # `plan` finds it by itself
    command = (
        known.get(" ".join(words[:2]))
        or known.get(words[0])
        # A group may be a command too, as `config` is.
        or all_commands.get_command(click.Context(all_commands), words[0])
    )
    assert command is not None, words
    ours = words[: words.index("--")] if "--" in words else words
    options = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}
    given = {word.partition("=")[0] for word in ours if word.startswith("--")}
    assert given <= options | {"--help"}, words
    return command


def typed(console: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block in their order, each with the lines that it prints."""
    for entry in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, _, printed = entry.replace("\\\n", " ").partition("\n")
        yield command, printed.rstrip().split("\n") if printed.strip() else []


def masked(line: str) -> str:
    """A line without what differs from one time to the next."""
    return _INSTANT.sub("INSTANT", _ID.sub(r"\1_ID", line))


def says(shown: str, told: str) -> bool:
    """Whether a line that is shown was told: `...` is anything, a narrow table leaves words out."""
    # How far apart columns stand depends on how long a folder's name is.
    shown, told = (" ".join(masked(one).split()) for one in (shown, told))
    if "..." in shown:
        return re.search(".*".join(map(re.escape, shown.split("..."))), told) is not None
    words = iter(told.split())
    return all(word in words for word in shown.split())


def missing(shown: list[str], told: list[str]) -> str | None:
    """Return the first line that is shown and was not told after the one before it."""
    rest = iter(told)
    for line in shown:
        if line.strip() == "..." or _RULE.fullmatch(line) or line.startswith("# "):
            continue
        if not any(says(line, one) for one in rest):
            return line
    return None


class MyClient:
    """A client of one's own, at the sandbox: what a page leaves to its reader."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.sent: list[str] = []

    def create(self, prompt: str, seconds: int) -> str:
        self.sent.append(prompt)
        reply = self._caller.send(body("runapi", prompt, duration_seconds=seconds))
        return self._caller.id_of(reply)

    def cost(self, task_id: str) -> str:
        while self._caller.state(task_id) != "completed":
            time.sleep(0.02)
        return f"{self._caller.task(task_id)['usage']['cost']} USD"


class Reader:
    """Follows one page from its top to its end."""

    def __init__(self, folder: Path, sandbox: Sandbox, stack: ExitStack) -> None:
        self._cli = Cli(folder, {"HOME": str(folder)})
        self._folder = folder
        self._sandbox = sandbox
        self._stack = stack
        self._real = {SANDBOX: sandbox.url, SANDBOX.partition("//")[2]: sandbox.url[7:]}
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._last = Said(0, "", "")

    def reads(self, block: Block) -> None:
        """Prepare what the block takes for granted, and try it."""
        self.prepares(block.setup)
        if block.not_run or block.tested:
            return
        text = self._as_it_is_here(block.text)
        if block.title:
            (self._folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / block.title).write_text(text)
        if block.is_printed:
            lost = missing(text.splitlines(), self._last.out.splitlines())
            assert lost is None, (str(block), lost, self._last)
        elif block.language == "console":
            self._types_all(block)
        elif block.language in READ:
            READ[block.language](text)
        elif not block.title:
            self._runs(block.language, text, str(block))

    def prepares(self, setup: str) -> None:
        """Do what a page takes for granted, line by line."""
        for line in filter(None, map(str.strip, setup.splitlines())):
            self._prepares(line)

    def _prepares(self, line: str) -> None:
        match line.split():
            case ["wallet", name, amount, unit]:
                self._cli.fund(f"{amount} {unit}", name)
            case ["key", provider]:
                self._cli.environ[f"{provider.upper()}_API_KEY"] = API_KEY
            case ["body"]:
                (self._folder / "body.json").write_text(request_body() + "\n")
            case ["my_client"]:
                http = self._stack.enter_context(plain_client())
                caller = Caller("runapi", self._sandbox.url, API_KEY, http)
                self._names["my_client"] = MyClient(caller)
            case _:
                said = self.types(line)
                assert said.code == 0, (line, said)

    def _types_all(self, block: Block) -> None:
        entries = list(typed(block.text))
        following = [command for command, _ in entries[1:]] + [""]
        for (command, shown), after in zip(entries, following, strict=True):
            self._last = said = self.types(command, shown)
            told = said.out.splitlines(), said.err.splitlines()
            either = [*told[0], *told[1]], [*told[1], *told[0]]
            here = [self._as_it_is_here(line) for line in shown]
            lost = min((missing(here, lines) for lines in either), key=lambda one: one is not None)
            assert lost is None, (str(block), command, lost, said)
            may_fail = "echo $?" in after or any(line.startswith("error") for line in shown)
            assert (said.code == 0) is not may_fail, (str(block), command, said)
            self._learns(shown, [*told[0], *told[1]])

    def _learns(self, shown: list[str], told: list[str]) -> None:
        """Take down which real id each id stands for that is shown."""
        for line in shown:
            real = next((one for one in told if says(line, one)), "")
            for written, known in zip(_ID.finditer(line), _ID.finditer(real), strict=False):
                self._real.setdefault(written[0], known[0])

    def types(self, command: str, shown: list[str] | None = None) -> Said:
        """Type a command and return what it said."""
        shown = shown or []
        command = _INSTALLS.sub("", command)
        if not command:
            return Said(0, "\n".join(shown), "")
        words = shlex.split(command, comments=True)
        if words[0] == "cat" and len(words) == 2 and not (self._folder / words[1]).exists():
            text = self._as_it_is_here("\n".join(shown))
            (self._folder / words[1]).write_text(text + "\n")
            return Said(0, text, "")
        if words[0] == "export":
            return self._exports(command)
        if words[-1] == "&":
            return self._serves(words[1:-1], shown)
        if words[0] == "kling-ledger":
            self._waits_for_jobs(words[1])
            if not _BY_SHELL.search(command):
                return self._cli(*self._given(self._here(words[1:])))
        return self._by_shell(command)

    def _waits_for_jobs(self, word: str) -> None:
        """End the sandbox's jobs before somebody asks for them: a reader has waited."""
        if word in {"resume", "reconcile", "reservation", "report"}:
            self._sandbox.runapi.finish()

    def _given(self, words: list[str]) -> list[str]:
        """Send a command to the sandbox whose page does not say where to."""
        if words[0].startswith("-"):
            return words
        command_of(words)
        more = TO_THE_SANDBOX.get(words[0], ())
        if not more or more[0] in words:
            return words
        # What is behind the words of `exec` is another program's.
        return [words[0], *(word.format(url=self._real[SANDBOX]) for word in more), *words[1:]]

    def _exports(self, command: str) -> Said:
        variable = command.split()[1].partition("=")[0]
        said = self._by_shell(f'{command}; printf %s "${variable}"')
        self._cli.environ[variable] = said.out
        return Said(said.code, "", said.err)

    def _serves(self, words: list[str], shown: list[str]) -> Said:
        """Start a server at a free port, and take down where it really listens."""
        usual = {one.name: one.default for one in command_of(words).params}.get("port")
        ours = self._given(self._here([*words, "--port", "0"]))
        if words[0] == "sandbox":
            ours += ["--job-seconds", "0.2"]
        process = self._cli.start(*ours)
        self._stack.callback(process.communicate, timeout=_LONGEST_S)
        self._stack.callback(process.terminate)
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        for written in (f"http://127.0.0.1:{usual}", *shown[:1]):
            self._real[written] = address
            self._real[written.partition("//")[2]] = address.partition("//")[2]
        return Said(0, address, "")

    def _by_shell(self, command: str) -> Said:
        done = subprocess.run(
            ["sh", "-c", f"(exit {self._last.code}); {self._as_it_is_here(command)}"],
            cwd=self._folder,
            env=self._environ(),
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def _environ(self) -> dict[str, str]:
        path = f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}"
        ours = {DATABASE_VARIABLE: str(self._cli.database), "PATH": path}
        return {**os.environ, **ours, **self._cli.environ}

    def _runs(self, language: str, text: str, where: str) -> None:
        if language == "python":
            self._last = Said(0, self._by_python(text, where), "")
        elif language == "sql":
            with closing(sqlite3.connect(self._cli.database)) as database:
                database.execute(text).fetchall()
        else:
            assert language in {"sh", "bash"}, f"{where}: nobody runs {language or 'this block'}"
            self._last = self._by_shell(_INSTALLS.sub("", text.strip()))
            assert self._last.code == 0, (where, self._last)

    def _by_python(self, text: str, where: str) -> str:
        printed = io.StringIO()
        with (
            mock.patch.dict(os.environ, self._environ(), clear=True),
            mock.patch.object(config, "base_url", self._real[SANDBOX]),
            mock.patch.object(KlingClient, "__init__", self._made_here(KlingClient.__init__)),
            chdir(self._folder),
            redirect_stdout(printed),
        ):
            exec(compile(text, where, "exec"), self._names)  # noqa: S102 - the page's own script
        return printed.getvalue()

    def _made_here(self, make: Callable[..., None]) -> Callable[..., None]:
        """Make RunAPI's client, and close it after the page: it has no public way to be closed."""

        def making(client: KlingClient, *given: Any, **named: Any) -> None:
            make(client, *given, **named)
            self._stack.callback(RunApi(client).close)

        return making

    def _here(self, words: list[str]) -> list[str]:
        return [self._as_it_is_here(word) for word in words]

    def _as_it_is_here(self, text: str) -> str:
        """Put real addresses and ids in place of those that a page shows."""
        for shown, real in self._real.items():
            text = text.replace(shown, real)
        return text


def _read_ini(text: str) -> None:
    # Units of systemd may say one thing several times.
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(text)
    assert parser.sections()


def _read_csv(text: str) -> None:
    rows = list(csv.reader(io.StringIO(text)))
    assert len({len(row) for row in rows}) == 1, rows


_INSTRUCTIONS: Final = {
    *("FROM", "RUN", "CMD", "LABEL", "EXPOSE", "ENV", "ADD", "COPY", "ENTRYPOINT", "VOLUME"),
    *("USER", "WORKDIR", "ARG", "STOPSIGNAL", "HEALTHCHECK", "SHELL"),
}


def _read_dockerfile(text: str) -> None:
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    words = [line.split()[0] for line in lines if not line.startswith("#")]
    assert set(words) <= _INSTRUCTIONS, words
    assert words[0] in {"FROM", "ARG"}


def _read_lines(text: str) -> None:
    for line in text.splitlines():
        json.loads(line)


READ: Final[Mapping[str, Callable[[str], Any]]] = {
    "json": json.loads,
    "jsonl": _read_lines,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
    "ini": _read_ini,
    "csv": _read_csv,
    "dockerfile": _read_dockerfile,
}
"""How a block is read that is no program, by its language."""
