"""Shell: parses a command line far enough to see which programs run; nothing is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kling_ledger.agents.hooks.programs import EXEC, PREFIXES, RUNNERS, SHELLS, program

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
_OPENING: Final = frozenset(("", "{", "!", "then", "do", "else", "if", "while", "until"))
_BEFORE: Final = re.compile(r"[A-Za-z_]\w*=.*|-[\w=-]+|\d*\.?\d+[smhd]?|\w+\(\)", re.DOTALL)
"""Words that only precede a program: an assignment, an option, a time, a function's name."""
_BUILT: Final = re.compile(r"""^(\s*(?:export\s+)?[A-Za-z_]\w*=["']?)(?:\$\([^()]*\)|`[^`]*`)""")
"""An assignment of what a command says, as far as it runs no other in brackets."""
_VALUE: Final = re.compile(r"""(?<![\w$])([A-Za-z_]\w*)=("[^"]*"|'[^']*'|[^\s;&|]*)""")
_WRITTEN: Final = re.compile(r"""(?:>>?\|?|\btee(?:[ \t]+-\w+)*)[ \t]*(["']?)([^\s"'<>&|;()]+)\1""")
_VARIABLE: Final = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_MOST: Final = 512 * 1024
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
        """The names of the files that it writes to, each once."""
        line = self.text.removesuffix(self.given)
        plain = "".join(
            piece[0].replace(">", " ") if piece["quoted"] else piece[0]
            for piece in _PIECE.finditer(line)
        )
        return list(dict.fromkeys(found[2] for found in _WRITTEN.finditer(plain)))

    @property
    def expanded(self) -> str:
        """The text in which a shell looks for substitutions: nothing that single quotes enclose."""
        pieces = list(_PIECE.finditer(self.text.removesuffix(self.given)))
        said = (
            re.sub("[`$<>]", " ", piece[0]) if piece[0].startswith("'") else piece[0]
            for piece in pieces
        )
        is_quoted = any(piece["quote"] for piece in pieces)
        return "".join(said) + ("" if is_quoted else self.given)

    @property
    def without_substitutions(self) -> str:
        """The text without what a shell runs to build it."""
        text = self.text
        for built in substitutions(self.expanded):
            text = text.replace(built, "", 1)
        return text

    def handed_on(self, to: Sequence[str] = ()) -> str:
        """What it may write to a file, or give to one of its commands: all that the others say."""
        said = [" ".join(one[1:]).replace("\\n", "\n") for one in self.commands if one is not to]
        strings = [" ".join(to[at + 1 :]) for at, word in enumerate(to) if word == "<<<"]
        return "\n".join([self.given, *said, *strings]).strip()

    @property
    def inner(self) -> str | None:
        """The command line that a shell gets as an argument, `sh -c "..."`; None without one."""
        if len(self.commands) != 1 or not SHELLS.intersection(self.programs):
            return None
        words = self.commands[0]
        options = [place for place, word in enumerate(words) if re.fullmatch("-[a-z]*c", word)]
        return words[options[0] + 1] if options and options[0] + 1 < len(words) else None


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
    place = 0
    parts: list[list[str]] = [[]]
    ends: list[str] = []
    line: list[tuple[list[list[str]], list[str]]] = []
    while (piece := _PIECE.match(command, place)) is not None:
        place = piece.end()
        if piece["end"]:
            ends.append(piece["end"])
        if piece["cut"] or piece["line"]:
            line.append((parts, ends))
            parts, ends = [[]], []
        elif piece["pipe"]:
            parts.append([])
        elif not piece["comment"]:
            parts[-1].append(piece[0])
        # Here-documents follow their line, each after the one before.
        if piece["line"] or (piece["cut"] and not any(of for _, of in line)):
            for done, its in line:
                begun = place
                place = _after(command, place, its)
                yield _joined(done, f"\n{command[begun:place]}" if its else "")
            line = []
    for done, _ in [*line, (parts, ends)]:
        yield _joined(done, "")


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
    text = _BUILT.sub(r"\1_", text)
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        words = text.split()
    if words:
        # A subshell's brackets.
        words[0] = words[0].lstrip("({")
        words[-1] = words[-1] if "(" in words[-1] else words[-1].rstrip(")")
    return tuple(_started(words))


def _started(words: list[str]) -> list[str]:
    """Return the words from the program on that is really started, after `sudo` or `uv run`."""
    valued: frozenset[str] = frozenset()
    while words:
        first = program(words[0])
        if first in RUNNERS and words[1:2] == ["run"]:
            valued, words = RUNNERS[first], words[2:]
        elif first in PREFIXES:
            valued, words = PREFIXES[first], words[1:]
        elif first == "find" and not EXEC.isdisjoint(words):
            words = words[min(words.index(word) for word in EXEC if word in words) + 1 :]
        elif words[0] in valued:
            words = words[2:]
        elif words[0] in _OPENING or _BEFORE.fullmatch(words[0]):
            words = words[1:]
        else:
            break
    return words


def substitutions(text: str) -> Iterator[str]:
    """Yield what a shell runs to build a command: the outermost `$(...)`, `<(...)`, backquotes."""
    rest, end = [], 0
    for opening in re.finditer(r"[$<>]\(", text):
        if opening.start() < end:
            continue
        rest.append(text[end : opening.start()])
        depth, end = 1, opening.end()
        for bracket in re.compile("[()]").finditer(text, end):
            depth += 1 if bracket[0] == "(" else -1
            end = bracket.end()
            if depth == 0:
                break
        yield text[opening.end() : end - (depth == 0)]
    rest.append(text[end:])
    yield from (found[1] for found in re.finditer(r"`([^`]*)`", "".join(rest)))


def with_values(text: str, environ: Mapping[str, str]) -> str:
    """Return a text with variables replaced that the text itself sets or that are already set."""
    own = {
        found[1]: found[2].strip("\"'")[:_LONGEST_VALUE]
        for found in _VALUE.finditer(text)
        if "$(" not in found[2] and "`" not in found[2]
    }
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
