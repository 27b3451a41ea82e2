"""Scripts: what a command line gives to a shell or another interpreter, from a file or as text.

A file is read as it is on disk, or as an earlier command of the same line writes it. Nothing runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from os.path import normpath
from pathlib import Path
from typing import Final

from kling_ledger.agents.hooks.shell import SHELLS, Pipeline, pipelines, program

MODULE: Final = re.compile("-[A-Za-z]*m")
"""How Python is told to run a module."""

_INTERPRETERS: Final = re.compile(
    r"python[\d.]*|pypy3?|node|bun|deno|ruby|perl|php|(?:ba|z|da|k)?sh|tsx"
)
_SOURCING: Final = frozenset(("source", "."))
_RUNNERS: Final = frozenset(("uv", "poetry", "pdm", "pipenv", "hatch", "rye", "bun", "deno"))
"""Programs that run a file after the word `run`."""

_STARTERS: Final = _RUNNERS | {"npx", "bunx", "xargs", "find", "setsid", "stdbuf", "doppler"}
"""Programs whose words may name an interpreter and its script."""

_EVALUATING: Final = frozenset(
    ("eval", "watch", "parallel", "trap", "su", "script", "fish", "tmux", "screen", "ssh")
)
"""Programs that give a word of theirs to a shell."""

_CODE: Final = re.compile(r"-[A-Za-z]*c|--eval|--command")
_CODE_OF_OTHERS: Final = re.compile(r"-[A-Za-z]*[cepr]|--eval|--print")
_LONGEST: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text; a shell's is read as commands that run in `folder`."""

    text: str
    folder: Path
    is_for_shell: bool


def run_by(command: str, folder: Path) -> Iterator[Pipeline | str]:
    """Yield the pipelines of a command line and its shell scripts, and the text of the others."""
    yield from _Reading().of(command, folder)


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads each file once: a script may start itself."""

    _seen: set[Path] = field(default_factory=set)
    _written: dict[Path, str] = field(default_factory=dict)

    def of(self, command: str, folder: Path) -> Iterator[Pipeline | str]:
        began_in = folder
        for pipeline in pipelines(command):
            yield pipeline
            for words in pipeline.commands:
                if words[:1] == ("cd",) and len(words) > 1:
                    folder = folder / Path(words[1]).expanduser()
                # A subshell's `cd` ends with it: where the line began is looked at too.
                for script in self._scripts(pipeline, words, (folder, began_in)):
                    if script.is_for_shell:
                        yield from self.of(script.text, script.folder)
                    else:
                        yield script.text
            for name in pipeline.written:
                self._written[_place(folder, name)] = pipeline.handed_on

    def _scripts(
        self, pipeline: Pipeline, words: Sequence[str], folders: Sequence[Path]
    ) -> Iterator[Script]:
        if not words:
            return
        named = _named(words)
        found = self._first_of(named, folders)
        if found:
            yield Script(found, folders[0], _is_for_shell(words, found))
        elif program(words[0]) in SHELLS and not named:
            yield Script(pipeline.handed_on, folders[0], is_for_shell=True)
        elif program(words[0]) in _EVALUATING:
            texts = [" ".join(words[1:])] if words[0] == "eval" else words[1:]
            for text in texts:
                if " " in text:
                    yield Script(text, folders[0], is_for_shell=True)

    def _first_of(self, named: Sequence[str], folders: Sequence[Path]) -> str:
        """Return the text of the first of some files that is there; empty if there is none."""
        for place in (_place(folder, name) for name in named for folder in folders):
            if place in self._written:
                return self._written.pop(place)
            # A word that does not name a readable file, such as an option's value, is no script.
            with suppress(OSError, ValueError):
                if place.is_file():
                    is_new = place not in self._seen and place.stat().st_size <= _LONGEST
                    self._seen.add(place)
                    return place.read_text("utf-8", "replace") if is_new else ""
        return ""


def _place(folder: Path, name: str) -> Path:
    return Path(normpath(folder / Path(name)))


def _named(words: Sequence[str]) -> list[str]:
    """Return the names under which the script of a command may be found, in order."""
    first = program(words[0])
    if first in _SOURCING:
        return list(words[1:2])
    looked_at = words if first in _STARTERS else words[:1]
    for at, word in enumerate(looked_at):
        if _INTERPRETERS.fullmatch(program(word)):
            return _operands(program(word), words[at + 1 :])
    if first in _RUNNERS and "run" in words:
        return [word for word in words[words.index("run") + 1 :] if not word.startswith("-")]
    return [words[0]] if "/" in words[0] else []


def _operands(interpreter: str, words: Sequence[str]) -> list[str]:
    """Return the words that may be an interpreter's script: none after code given as an option."""
    is_code = _CODE if interpreter in SHELLS else _CODE_OF_OTHERS
    names: list[str] = []
    for at, word in enumerate(words):
        if MODULE.fullmatch(word) and interpreter not in SHELLS:
            path = "".join(words[at + 1 : at + 2]).replace(".", "/")
            return [*names, f"{path}.py", f"{path}/__main__.py"]
        if is_code.fullmatch(word):
            return []
        if not word.startswith(("-", "<", ">")):
            names.append(word)
    return names


def _is_for_shell(words: Sequence[str], script: str) -> bool:
    """Whether a shell runs this script: the command says so, or else its first line."""
    first, _, _ = script.partition("\n")
    runners = [*words[:1], *(first[2:].split() if first.startswith("#!") else ())]
    return any(program(word) in SHELLS | _SOURCING for word in runners)
