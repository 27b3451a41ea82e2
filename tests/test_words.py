"""Plain words: what people read here was written in English, for somebody in a hurry.

Each phrase below stood in a message, a help text, a docstring or a page. It is grammatical, and it
reads as translated: the reader stops and works out what is meant.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
ROOMS: Final = ("kling_ledger", "pricing/kling_pricing", "reports/kling_reports")
PAGES: Final = (
    "README.md",
    "ARCHITECTURE.md",
    "MONEY.md",
    "pricing/README.md",
    "reports/README.md",
    "skills/kling-ledger/SKILL.md",
)
KEPT: Final = ("docs/reference/", "docs/explanation/decisions/")
"""Pages that are generated from the code, and dated records, which stay as they were written."""

SAID: Final = {
    r"\bfrom now on\b": "now, no longer",
    r"\bbegins? anew\b": "resets, starts again",
    r"\ball the same\b": "anyway",
    r"\bnobody knows\b": "is unknown",
    r"\bgoing on like this\b": "at this rate",
    r"\bleft away\b|\bleave \S+ away\b": "omit it",
    r"\bcannot name an? \w+": "an invalid name: `invalid wallet name: a b`",
    r"\bwas used before with\b": "already has amount 1 USD; 2 USD differs",
    r"\bmore than its most\b": "more than the limit of",
    r"\bSay why\b|\bsay why\b": "give a reason",
    r"\bleft open: ": "name the job first: `earlier job res_...: committed`",
    r"\bmoved on since\b": "has changed since",
    r"\bWhat leads\b": "say what the option sets",
    r"\bgoes alone\b": "takes no other option",
    r"\bmay just be\b": "may still be",
    r"\bby capitals alone\b": "only in capitals",
    r"\buntil there is a verdict\b": "until it is resolved",
    r"\bmay be made again\b|\bmade again\b": "repeat, recreate",
    r"\bare told\b|\bis told of\b": "are shown, is reported",
    r"\bwithout a word\b": "silently, without a message",
    r"\bin vain\b|\bbeyond all measure\b": "without success; too large",
    r"\b(?:is|are) there twice\b": "is repeated",
    r"\bthis is no\b|\b(?:is|are) no (?:JSON|CSV|zone|number|amount|text)\b": "not JSON",
    r"\bnothing is open\b": "no open reservations",
    r"\btakes? it back\b": "undoes it",
    r"\bwhose word\b": "the basis, who reported it",
    r"\bat hand\b": "current, loaded, set",
    r"\banew\b": "again, new",
    r"\bof yours\b": "your own",
    r"\bmend(?:s|ed)?\b": "fix, correct",
    r"\bnobody may\b": "is not allowed",
    r"\bwhat (?:became|becomes|came) of\b|\bcame to nothing\b": "the result of, failed",
    r"\bwork(?:s|ed)? (?:\w+ ){0,2}out again\b": "recompute",
    r"\basked for again\b": "repeated, requested again",
    r"\b(?:goes|go) on where\b": "continues where",
    r"\bthe very (?:same|body)\b": "the same, the exact",
    r"\bof which nobody\b|\bof whom\b": "turn the sentence round",
    r"\bfor ever\b": "never changes, always",
    r"\b(?:line|row|file) a (?:row|clip|job|table|month)\b": "one line per row",
}
"""What no message, hint, help text or page says, and what to say instead."""

OPENINGS: Final = r"(?m)^At the end (?:you|your|a|one|commands|jobs|nobody|its)\b"
"""A page says first what it does, not how things will stand when it is over."""


def docstrings(tree: ast.Module) -> dict[int, str]:
    """The docstrings of a module, and the sentences under its constants, by their place."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found[id(node.value)] = str(node.value.value)
    return found


def of_commands(tree: ast.Module) -> Iterator[str]:
    """The docstrings that a command prints as its help."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            yield ast.get_docstring(node) or ""


def said(path: Path) -> Iterator[str]:
    """What a module says to people: its texts but the docstrings, and the help of its commands."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kept = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in kept:
            yield node.value
    if "cli" in path.relative_to(ROOT).parts:
        yield from of_commands(tree)


def modules() -> Iterator[Path]:
    for room in ROOMS:
        # A migration is kept as it was when it was written.
        yield from (
            path
            for path in (ROOT / room).rglob("*.py")
            if "versions" not in path.relative_to(ROOT).parts
        )


def pages() -> Iterator[Path]:
    yield from (ROOT / page for page in PAGES)
    for page in sorted((ROOT / "docs").rglob("*.md")):
        if not str(page.relative_to(ROOT)).startswith(KEPT):
            yield page


def where(phrase: str, texts: Iterator[tuple[str, str]]) -> list[str]:
    found = re.compile(phrase)
    flat = ((place, " ".join(text.split())) for place, text in texts)
    return [f"{place}: {text[:90]}" for place, text in flat if found.search(text)]


@pytest.fixture(scope="module")
def messages() -> list[tuple[str, str]]:
    return [(str(path.relative_to(ROOT)), text) for path in modules() for text in said(path)]


@pytest.mark.parametrize("phrase", SAID, ids=str)
def test_no_message_reads_as_translated(phrase: str, messages: list[tuple[str, str]]):
    assert where(phrase, iter(messages)) == [], SAID[phrase]


@pytest.mark.parametrize("phrase", SAID, ids=str)
def test_no_page_reads_as_translated(phrase: str):
    written = ((str(page.relative_to(ROOT)), page.read_text(encoding="utf-8")) for page in pages())
    assert where(phrase, written) == [], SAID[phrase]


def test_a_page_begins_with_what_it_does():
    told_late = [page.name for page in pages() if re.search(OPENINGS, page.read_text("utf-8"))]
    assert told_late == []
