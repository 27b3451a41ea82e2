"""Shell: parses a command line far enough to see which programs run; nothing is run."""

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
_WRITTEN: Final = re.compile(r"""(?:>>?\|?|\btee(?:[ \t]+-\w+)*)[ \t]*(["']?)([^\s"'<>&|;()]+)\1""")
_VARIABLE: Final = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
SHELLS: Final = frozenset(("sh", "bash", "zsh", "dash", "ksh"))
_MOST: Final = 512 * 1024
_MOST_NESTED: Final = 50
_LONGEST_VALUE: Final = 2000


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands joined by pipes, as written, with the text given to them on later lines.

    `text` is all of it; `commands` are the words of each, without leading assignments and words
    such as `sudo`; `given` are its here-documents.
    """

    text: str
    commands: tuple[tuple[str, ...], ...]
    given: str = ""

    @property
    def programs(self) -> tuple[str, ...]:
        """The name of the program that each command runs, without its folder."""
        return tuple(program(words[0]) for words in self.commands if words)

    @property
    def written(self) -> list[str]:
        """The names of the files that it writes to."""
        return [found[2] for found in _WRITTEN.finditer(self.text.removesuffix(self.given))]

    @property
    def handed_on(self) -> str:
        """What it may write to a file, or to a shell at its end: its here-documents and words."""
        said = (" ".join(words[1:]).replace("\\n", "\n") for words in self.commands)
        return "\n".join([self.given, *said]).strip()

    @property
    def inner(self) -> str | None:
        """The command line that a shell gets as an argument, `sh -c "..."`; None without one."""
        if len(self.commands) != 1 or not SHELLS.intersection(self.programs):
            return None
        words = self.commands[0]
        options = [place for place, word in enumerate(words) if re.fullmatch("-[a-z]*c", word)]
        return words[options[0] + 1] if options and options[0] + 1 < len(words) else None


def program(word: str) -> str:
    """Return a program's name, without the folder and the ending that a call may give it."""
    return word.rpartition("/")[2].removesuffix(".exe")


def pipelines(command: str) -> Iterator[Pipeline]:
    """Yield the pipelines of a command line in order, including those passed to a shell."""
    for text, parts, given in _cut(command.replace("\\\n", " ")):
        pipeline = Pipeline(text, tuple(map(_words, parts)), given)
        if pipeline.inner is None:
            yield pipeline
            continue
        # Variables that are set only for that shell come before its command.
        yield Pipeline(text.partition(pipeline.commands[0][0])[0], ())
        yield from pipelines(pipeline.inner)


def _cut(command: str) -> Iterator[tuple[str, list[str], str]]:
    """Yield each pipeline's text, its commands and its here-documents.

    It is split where a shell splits, never within quotes. Comments are dropped; here-documents
    belong to the text.
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


def _joined(parts: list[list[str]], given: str) -> tuple[str, list[str], str]:
    texts = ["".join(part) for part in parts]
    return " | ".join(texts) + given, texts, given


def _after(command: str, place: int, ends: list[str]) -> int:
    """Return where the here-documents of a line end, each at its own end mark."""
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
    """Whether the first word only precedes the program: an assignment, `sudo`, `timeout 30`."""
    first = words[0]
    if _ASSIGNED.fullmatch(first) or first in _PREFIXES:
        return True
    return bool(re.fullmatch(r"\d*\.?\d+[smhd]?|-\w+", first))


def substitutions(text: str) -> Iterator[str]:
    """Yield what a shell runs by itself to build a command: `$(...)`, `<(...)`, backquotes."""
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
    """Return a text with variables replaced that the text itself sets or that are already set."""
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
