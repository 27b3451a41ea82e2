"""Write the reference pages that the code itself makes: `python -m docs.generate`.

`--check` writes nothing and names the pages that are no longer what the code says.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from docs.make import api, cli, schema

FOLDER: Final = Path(__file__).resolve().parent / "reference"


def pages() -> Iterator[tuple[Path, str]]:
    """Yield every generated page and what it has to say."""
    for name, text in cli.pages():
        yield FOLDER / "cli" / name, text
    for name, text in api.pages():
        yield FOLDER / "python" / name, text
    yield FOLDER / "schema.md", schema.page()


def stale(made: Mapping[Path, str]) -> list[Path]:
    """Return the pages that differ from what was made of the code, and those that are too many."""
    wrong = [page for page, text in made.items() if not _is(page, text)]
    return wrong + [page for page in (FOLDER / "cli").glob("*.md") if page not in made]


def _is(page: Path, text: str) -> bool:
    return page.is_file() and page.read_text(encoding="utf-8") == text


def main() -> None:
    """Write the pages that are stale and remove those that are too many, or only name them."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate")
    parser.add_argument("--check", action="store_true", help="write nothing")
    only_names = parser.parse_args().check
    made = dict(pages())
    wrong = stale(made)
    for page in wrong:
        print(page.relative_to(FOLDER.parent.parent))
        if only_names:
            continue
        if page in made:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(made[page], encoding="utf-8")
        else:
            page.unlink()
    sys.exit(1 if wrong and only_names else 0)


if __name__ == "__main__":
    main()
