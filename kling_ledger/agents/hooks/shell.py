"""Shell: a command line taken apart far enough to see who runs what in it; nothing is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_PIECE: Final = re.compile(
    r"""(?P<comment>(?<![^\s;&|(])\#[^\n]*)
    |(?P<quoted>'[^']*'|"(?:\\.|[^"\\])*"|\\.)
    |(?P<string><<<)
    |<<-?[ \t]*(?P<quote>['"]?)(?P<end>\w+)(?P=quote)
    |(?P<cut>&&|\|\||;|(?<![<>&])&(?![>&]))
    |(?P<pipe>\|&?)
    |(?P<line>\n)
    |.""",
    re.DOTALL | re.VERBOSE,
)
_OPENING: Final = frozenset(("(", "{", "!", "then", "do", "else", "if", "while", "until"))
_PREFIXES: Final = frozenset(("sudo", "env", "time", "nohup", "command", "exec", "timeout", "nice"))
_ASSIGNED: Final = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_VALUE: Final = re.compile(r"""(?<![\w$])([A-Za-z_]\w*)=("[^"]*"|'[^']*'|[^\s;&|]*)""")
_VARIABLE: Final = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_SHELLS: Final = frozenset(("sh", "bash", "zsh", "dash", "ksh"))
_MOST: Final = 512 * 1024
_MOST_NESTED: Final = 50
_LONGEST_VALUE: Final = 2000


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands that hand on to each other, as they are written, and the text that follows them.

    `text` is all of it; `commands` are the words of each, without assignments and words such as
    `sudo` in front.
    """

    text: str
    commands: tuple[tuple[str, ...], ...]

    @property
    def programs(self) -> tuple[str, ...]:
        """The name of the program that each command runs, without its folder."""
        return tuple(words[0].rpartition("/")[2] for words in self.commands if words)

    @property
    def inner(self) -> str | None:
        """The command line that a shell is given as a word: `sh -c "..."`; None without one."""
        if len(self.commands) != 1 or not _SHELLS.intersection(self.programs):
            return None
        words = self.commands[0]
        options = [place for place, word in enumerate(words) if re.fullmatch("-[a-z]*c", word)]
        return words[options[0] + 1] if options and options[0] + 1 < len(words) else None


def pipelines(command: str) -> Iterator[Pipeline]:
    """Give the pipelines of a command line, in their order, with those that a shell is given."""
    for text, parts in _cut(command.replace("\\\n", " ")):
        pipeline = Pipeline(text, tuple(map(_words, parts)))
        if pipeline.inner is None:
            yield pipeline
            continue
        # What is set for a shell alone stands in front of it.
        yield Pipeline(text.partition(pipeline.commands[0][0])[0], ())
        yield from pipelines(pipeline.inner)


def _cut(command: str) -> Iterator[tuple[str, list[str]]]:
    """Give each pipeline's text and its commands: cut where a shell cuts, never within quotes.

    Comments are left out; the lines that a command is given belong to its text.
    """
    place, given = 0, ""
    parts: list[list[str]] = [[]]
    ends: list[str] = []
    while (piece := _PIECE.match(command, place)) is not None:
        begun, place = place, piece.end()
        if piece["end"]:
            ends.append(piece["end"])
        if piece["line"] and ends:
            place = _after(command, place, ends)
            given, ends = command[begun:place], []
        if piece["cut"] or piece["line"]:
            yield _joined(parts, given)
            parts, given = [[]], ""
        elif piece["pipe"]:
            parts.append([])
        elif not piece["comment"]:
            parts[-1].append(piece[0])
    yield _joined(parts, given)


def _joined(parts: list[list[str]], given: str) -> tuple[str, list[str]]:
    texts = ["".join(part) for part in parts]
    return " | ".join(texts) + given, texts


def _after(command: str, place: int, ends: list[str]) -> int:
    """Return where the lines that are given to commands end, each kind at the line that ends it."""
    for end in ends:
        found = re.compile(rf"^[ \t]*{re.escape(end)}[ \t]*(?:\n|\Z)", re.MULTILINE).search(
            command, place
        )
        place = len(command) if found is None else found.end()
    return place


def _words(text: str) -> tuple[str, ...]:
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        words = text.split()
    while words and (words[0] in _OPENING or _is_before(words)):
        words = words[1:]
    return (words[0].lstrip("({"), *words[1:]) if words else ()


def _is_before(words: list[str]) -> bool:
    """Whether the first word stands before the program: an assignment, `sudo`, `timeout 30`."""
    first = words[0]
    if _ASSIGNED.fullmatch(first) or first in _PREFIXES:
        return True
    return bool(re.fullmatch(r"[0-9.]+[smhd]?|-\w+", first))


def substitutions(text: str) -> Iterator[str]:
    """Give what a shell would run by itself to make a command: `$(...)`, `<(...)`, backquotes."""
    yield from (found[1] for found in re.finditer(r"`([^`]*)`", text))
    openings = list(re.finditer(r"[$<>]\(", text))
    if len(openings) > _MOST_NESTED:
        yield text
        return
    for opening in openings:
        depth, place = 1, opening.end()
        while place < len(text) and depth:
            depth += {"(": 1, ")": -1}.get(text[place], 0)
            place += 1
        yield text[opening.end() : place]


def with_values(text: str, environ: Mapping[str, str]) -> str:
    """Return a text with the variables written out that it sets itself, or that are set already."""
    own = {found[1]: found[2].strip("\"'")[:_LONGEST_VALUE] for found in _VALUE.finditer(text)}
    for _ in range(3):
        written = _VARIABLE.sub(
            lambda found: own.get(_name(found), environ.get(_name(found), found[0])), text
        )
        if written == text or len(written) > _MOST:
            break
        text = written
    return text


def _name(found: re.Match[str]) -> str:
    return str(found[1] or found[2])
