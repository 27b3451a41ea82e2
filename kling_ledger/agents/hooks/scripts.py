"""Scripts: what a command line gives to a shell or another interpreter, from a file or as text.

A file is read as it is on disk and as earlier commands of the same line write it. Nothing runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from os.path import expanduser, normpath
from pathlib import Path
from typing import Final

from kling_ledger.agents.hooks.programs import OURS, READS, SHELLS, program
from kling_ledger.agents.hooks.shell import Pipeline, pipelines, substitutions

MODULE: Final = re.compile("-[A-Za-z]*m")
"""How Python is told to run a module."""

_INTERPRETERS: Final = re.compile(
    r"python[\d.]*|pypy3?|node|bun|deno|tsx|ts-node|ruby|perl|php|(?:ba|z|da|k)?sh"
)
_SOURCING: Final = frozenset(("source", "."))
_EVALUATING: Final = frozenset(("eval", "trap", "su", "script", "fish", "tmux", "screen", "ssh"))
"""Programs that give their words, or one of them, to a shell."""

_SUFFIXES: Final = (".py", ".sh", ".js", ".mjs", ".ts", ".rb", ".pl", ".php")
_CODE: Final = re.compile(r"-[A-Za-z]*c")
_SHELL_WITHOUT_FILE: Final = re.compile(r"-[A-Za-z]*[cn]")
_WITHOUT_FILE: Final = re.compile(r"-[A-Za-z]*[cepr]|--eval|--print|--check")
"""Options with which no file is run: code follows, or it is only checked. (`sh -e` runs one.)"""

_LONGEST: Final = 256 * 1024
_MOST_PARSED: Final = 512 * 1024
_DEEPEST: Final = 12


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

    _sizes: dict[Path, int] = field(default_factory=dict)
    _written: dict[Path, str] = field(default_factory=dict)

    def of(self, command: str, folder: Path, deep: int = 0) -> Iterator[Pipeline | str]:
        if deep > _DEEPEST:
            yield command
            return
        began_in = folder
        for pipeline in pipelines(command):
            yield pipeline
            for words in pipeline.commands:
                folder = _folder_after(words, folder)
                # A subshell's `cd` ends with it: where the line began is looked at too.
                for script in self._scripts(pipeline, words, (folder, began_in)):
                    if script.is_for_shell:
                        yield from self.of(script.text, script.folder, deep + 1)
                    else:
                        yield script.text
            for text in substitutions(pipeline.expanded):
                yield from self.of(text, folder, deep + 1)
            self._keep(pipeline, folder)

    def _keep(self, pipeline: Pipeline, folder: Path) -> None:
        """Keep what a pipeline writes to files."""
        written = pipeline.written
        text = pipeline.handed_on() if written else ""
        for name in written:
            place = _place(folder, name)
            self._written[place] = f"{self._written.get(place, '')}{text}\n"

    def _scripts(
        self, pipeline: Pipeline, words: Sequence[str], folders: Sequence[Path]
    ) -> Iterator[Script]:
        """Yield what one command runs: code among its words, a file, or what it is given."""
        if not words or program(words[0]) == OURS:
            return
        here = folders[0]
        yield from (Script(text, here, is_for_shell=True) for text in _code(words, pipeline))
        named = _named(words)
        text = self._text_of_first(named or _given(words, pipeline), folders)
        if text:
            # What is too long to be taken apart in time is searched for addresses.
            is_short = sum(self._sizes.values()) <= _MOST_PARSED
            yield Script(text, here, is_short and _is_for_shell(words, text))
        elif program(words[0]) in SHELLS and not named:
            yield Script(pipeline.handed_on(words), here, is_for_shell=True)

    def _text_of_first(self, named: Sequence[str], folders: Sequence[Path]) -> str:
        """Return the text of the first file that there is or will be, empty if there is none."""
        for place in (_place(folder, name) for name in named for folder in folders):
            text = self._written.pop(place, "")
            # A word that does not name a readable file, such as an option's value, is no script.
            with suppress(OSError, ValueError):
                if place.is_file():
                    is_new = place not in self._sizes
                    self._sizes[place] = size = place.stat().st_size
                    is_read = is_new and size <= _LONGEST
                    return text + (place.read_text("utf-8", "replace") if is_read else "")
            if text:
                return text
        return ""


def _folder_after(words: Sequence[str], folder: Path) -> Path:
    if words[:1] not in {("cd",), ("pushd",)} or len(words) == 1:
        return folder
    # Unlike Path's, it leaves alone a user who is not here.
    return folder / expanduser(words[1])  # noqa: PTH111


def _place(folder: Path, name: str) -> Path:
    return Path(normpath(folder / name))


def _code(words: Sequence[str], pipeline: Pipeline) -> Iterator[str]:
    """Yield the command lines among the words of a command, and those that `ssh` is given."""
    first = program(words[0])
    if " " in words[0]:
        # Such as `watch 'ls -l'`, whose first word is taken off.
        yield words[0]
    if first == "eval":
        yield " ".join(words[1:])
    elif first in _EVALUATING:
        yield from (word for word in words[1:] if " " in word)
        if first == "ssh":
            yield pipeline.given
    # A shell that another program starts; one that comes first alone was taken apart already.
    for at, word in enumerate(words):
        if program(word) in SHELLS and (at or len(pipeline.commands) > 1):
            options = [place for place in range(at, len(words)) if _CODE.fullmatch(words[place])]
            yield from words[options[0] + 1 : options[0] + 2] if options else ()
            return


def _named(words: Sequence[str]) -> list[str]:
    """Return the names under which the script of a command may be found, in order."""
    first = program(words[0])
    if first in _SOURCING:
        return list(words[1:2])
    if first in READS:
        return []
    inner = [at for at, word in enumerate(words) if _INTERPRETERS.fullmatch(program(word))]
    if inner:
        return _operands(program(words[inner[0]]), words[inner[0] + 1 :])
    return [words[0]] if "/" in words[0] or words[0].endswith(_SUFFIXES) else []


def _operands(interpreter: str, words: Sequence[str]) -> list[str]:
    """Return the words that may be an interpreter's script: up to the first after no option."""
    is_shell = interpreter in SHELLS
    without_file = _SHELL_WITHOUT_FILE if is_shell else _WITHOUT_FILE
    if words[:1] == ("run",):
        # `deno run`, `bun run`.
        words = words[1:]
    names: list[str] = []
    before = ""
    for at, word in enumerate(words):
        if MODULE.fullmatch(word) and not is_shell:
            path = "".join(words[at + 1 : at + 2]).replace(".", "/")
            return [f"{path}.py", f"{path}/__main__.py"]
        if without_file.fullmatch(word):
            return []
        if word == "-" or word.startswith("<"):
            # It reads what it is given.
            break
        if not word.startswith("-") and ">" not in word and not before.endswith(">"):
            names.append(word)
            if not before.startswith("-"):
                break
        before = word
    return names


def _given(words: Sequence[str], pipeline: Pipeline) -> list[str]:
    """Return the files that an interpreter without a script is given: by `<`, or by a `cat`."""
    if not _INTERPRETERS.fullmatch(program(words[0])):
        return []
    if "<" in words:
        return list(words[words.index("<") + 1 :][:1])
    read = (name for other in pipeline.commands if other[:1] == ("cat",) for name in other[1:])
    return [name for name in read if not name.startswith(("-", "<", ">"))]


def _is_for_shell(words: Sequence[str], script: str) -> bool:
    """Whether a shell runs this script: the command says so, or its first line, or none does."""
    first, _, _ = script.partition("\n")
    if program(words[0]) in SHELLS | _SOURCING:
        return True
    if first.startswith("#!"):
        return any(program(word) in SHELLS for word in first[2:].split())
    is_run_itself = not _INTERPRETERS.fullmatch(program(words[0])) and "/" in words[0]
    return is_run_itself and not words[0].endswith(".py") and "\0" not in script
