"""Pages: what the project has written for its readers, read once and in one way for all tests.

Every fenced block of README.md and of the pages under `docs/` is tried, from top to bottom, by a
reader with an empty folder, a ledger of their own and a sandbox (tests/page_reader.py does it). Its
language says how:

    console             each `$ command` is typed; what is shown under it must be printed, in order
    python, sh, bash    run as it stands; a page's Python blocks share their names
    sql                 asked of the ledger's views
    json, jsonl, toml, yaml, ini, csv, dockerfile     read as what it is

A page says the rest in HTML comments, which its readers do not see. Each stands before a block:

    <!-- setup: wallet team 5 USD -->           a funded wallet
    <!-- setup: key runapi -->                  RUNAPI_API_KEY is set, to the sandbox's key
    <!-- setup: body -->                        body.json: 5 s, 1080p, sound; 0.675 USD at RunAPI
    <!-- setup: my_client -->                   Python's `my_client`, which stands for any client
    <!-- setup: kling-ledger budget set ... --> any other line is typed as a command
    <!-- printed -->                            this `text` block is what the block before printed
    <!-- name: by-project -->                   so that a test finds this block
    <!-- tested: test_reports_erp.py::test_every_example_is_read -->      tried there instead
    <!-- not run: needs systemd -->             not tried, and why; tests/test_pages.py counts them

A setup may have several lines, one a word or command each. Besides:

- `...` in a line that is shown stands for anything, and as a line for any lines. A narrow table may
  leave columns out. Ids and instants may be others; an id that is shown stands for the real one in
  later commands. Nothing shown under a command: nothing is compared.
- A command succeeds, unless `error: ...` is shown under it or `$ echo $?` follows.
- `$ cat FILE` of a file that is not there yet writes what is shown. So does a block with a title,
  such as ```python title="make.py", which is then not run by itself.
- A command that ends in ` &` is a server until the page ends. Wherever its usual address is written
  its real one is used; http://127.0.0.1:8765 is a sandbox, started by the page or not. `check`,
  `run`, `gateway` and `exec` go there even where no address is given, and so does `KlingClient()`.
- Lines of a console block that begin with `# ` are remarks. `pip install` and the making of virtual
  environments are taken as done; what follows behind `&&` is run.
- Any other language needs `printed` or `not run`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

ROOT: Final = Path(__file__).resolve().parent.parent
DECISIONS: Final = "docs/explanation/decisions/"
"""Dated records: what they show was so on their day, so only their links are tried."""

BESIDE_THE_CODE: Final = (
    "README.md",
    "ARCHITECTURE.md",
    "MONEY.md",
    "CHANGELOG.md",
    "pricing/README.md",
    "reports/README.md",
    "skills/kling-ledger/SKILL.md",
)

_COMMENT: Final = re.compile(r"<!--\s*(setup|printed|name|tested|not run)\b:?(.*?)-->", re.DOTALL)
_TITLE: Final = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """One fenced block and the comments before it; `setup` has a word or a command a line."""

    page: str
    line: int
    language: str
    text: str
    title: str | None = None
    setup: str = ""
    name: str | None = None
    tested: str | None = None
    not_run: str | None = None
    is_printed: bool = False

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Heading:
    """A heading: how deep it stands, and its words as they are read."""

    level: int
    words: str


@dataclass(frozen=True)
class Page:
    """One page of Markdown, by its path from the root."""

    path: str

    @property
    def file(self) -> Path:
        """The file that it is in."""
        return ROOT / self.path

    @property
    def text(self) -> str:
        """What is written in it, without the front matter of a skill."""
        text = self.file.read_text(encoding="utf-8")
        return text.split("\n---\n", 1)[1] if text.startswith("---\n") else text

    @property
    def is_generated(self) -> bool:
        """Whether `python -m docs.generate` writes it: its blocks are usages and signatures."""
        return "<!-- generated:" in self.text

    def blocks(self, language: str | None = None, name: str | None = None) -> list[Block]:
        """Return its fenced blocks in their order: all, those of a language, or of a name."""
        return [
            block
            for block in _blocks(self)
            if language in (None, block.language) and name in (None, block.name)
        ]

    def links(self) -> list[str]:
        """Return where its links and pictures lead."""
        inner = [token for one in _tokens(self.text) for token in one.children or ()]
        found = (token.attrGet("href") or token.attrGet("src") for token in inner)
        return [str(target) for target in found if target]

    def headings(self) -> list[Heading]:
        """Return its headings in their order."""
        tokens = _tokens(self.text)
        return [
            Heading(int(token.tag[1]), "".join(child.content for child in words.children or ()))
            for token, words in pairwise(tokens)
            if token.type == "heading_open"
        ]


def under_docs() -> list[Page]:
    """Return every page under `docs/`, the records of decisions among them."""
    return [Page(str(one.relative_to(ROOT))) for one in sorted((ROOT / "docs").rglob("*.md"))]


def tried() -> list[Page]:
    """Return the pages whose blocks are tried: no dated records, nothing that is generated."""
    return [
        page
        for page in (Page("README.md"), *under_docs())
        if not page.path.startswith(DECISIONS) and not page.is_generated
    ]


def every() -> list[Page]:
    """Return every page of the project."""
    return [*map(Page, BESIDE_THE_CODE), *under_docs()]


@cache
def _tokens(text: str) -> list:  # type: ignore[type-arg]
    return MarkdownIt().enable(["table", "strikethrough"]).parse(text)


def _blocks(page: Page) -> Iterator[Block]:
    said: dict[str, str] = {}
    for token in _tokens(page.text):
        if token.type == "html_block":
            for kind, words in _COMMENT.findall(token.content):
                said[kind] = f"{said.get(kind, '')}\n{words}".strip()
        elif token.type in ("fence", "code_block"):
            language, _, rest = token.info.strip().partition(" ")
            title = _TITLE.search(rest)
            yield Block(
                page.path,
                token.map[0] + 1,
                language,
                token.content,
                title=title and title[1],
                setup=said.get("setup", ""),
                name=said.get("name"),
                tested=said.get("tested"),
                not_run=said.get("not run"),
                is_printed="printed" in said,
            )
            said = {}
