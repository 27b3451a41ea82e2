"""Build the site: `python -m docs.build` writes build/site, and build/site/index.html opens it.

Pages that belong beside the code, such as ARCHITECTURE.md, stay there and are part of the site all
the same: all pages are first laid out in build/pages, where only links among them are changed, and
Zensical makes the site of that. The order of the pages is that of the links in each folder's
index.md, so it is written once. Beside each `page.html` lies its Markdown as `page.md`; llms.txt
lists these, llms-full.txt is all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
BESIDE_THE_CODE: Final[Mapping[str, str]] = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "explanation/architecture.md",
    "MONEY.md": "reference/money.md",
    "CHANGELOG.md": "reference/changelog.md",
    "pricing/README.md": "reference/price-books.md",
    "reports/README.md": "reference/reports.md",
    "skills/kling-ledger/SKILL.md": "how-to/agents/skill.md",
}
"""Where a page from outside docs/ stands on the site. README.md is the front page of a forge; the
site has its own."""

_LINK: Final = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
_SENTENCE: Final = re.compile(r".+?\.(?=\s|\Z)|.+", re.DOTALL)
_DATE: Final = re.compile(r"^\*\*\d{4}-\d\d-\d\d\.\s*|\*\*")
_NO_PROSE: Final = ("#", "|", "<", "```", "    ")


def main() -> None:
    """Build into the folder that is given, or into build/."""
    parser = argparse.ArgumentParser(prog="python -m docs.build")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build")
    print(build(parser.parse_args().folder) / "index.html")


def build(folder: Path) -> Path:
    """Make the site in a folder and return where it is; a warning is an error."""
    pages, site = folder / "pages", folder / "site"
    for old in (pages, site):
        shutil.rmtree(old, ignore_errors=True)
    lay_out(pages)
    settings = (ROOT / "docs" / "zensical.toml").read_text(encoding="utf-8")
    order = f"[project]\nnav = {as_toml(list(navigation(pages)))}\n"
    (folder / "zensical.toml").write_text(settings.replace("[project]\n", order, 1), "utf-8")
    run = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    if subprocess.run(run, cwd=folder, check=False).returncode:
        raise SystemExit("the site is not built: see the warnings above")
    add_markdown(pages, site)
    return site


def lay_out(pages: Path) -> None:
    """Copy every page to where it stands on the site, its links with it."""
    shutil.copytree(
        ROOT / "docs", pages, ignore=shutil.ignore_patterns("*.py", "*.toml", "__*", "make")
    )
    places = {ROOT / source: pages / target for source, target in BESIDE_THE_CODE.items()}
    places |= {
        source: pages / source.relative_to(ROOT / "docs")
        for source in (ROOT / "docs").rglob("*.md")
    }
    for source, target in places.items():
        if source != ROOT / "README.md":
            target.write_text(_moved(source, target, places), encoding="utf-8")


def _moved(source: Path, target: Path, places: Mapping[Path, Path]) -> str:
    """Return a page whose links lead from its place on the site."""

    def moved(link: re.Match[str]) -> str:
        to = places.get((source.parent / link[1]).resolve())
        if to is None:
            return link[0]
        return f"]({os.path.relpath(to, target.parent)}{link[2] or ''})"

    return _LINK.sub(moved, source.read_text(encoding="utf-8"))


def title(page: Path) -> str:
    """Return what a page is called: its first heading."""
    found = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{page}: has no title")
    return found[1].replace("`", "")


def navigation(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the pages below a folder's index in its order, each with its title."""
    root = folder
    while (root.parent / "index.md").exists():
        root = root.parent
    index = folder / "index.md"
    yield {"Home" if folder == root else title(index): str(index.relative_to(root))}
    listed = [index]
    for link in _LINK.finditer(index.read_text(encoding="utf-8")):
        page = (folder / link[1]).resolve()
        if page in listed or folder.resolve() not in page.parents or page.suffix != ".md":
            continue
        listed.append(page)
        if page.name == "index.md":
            yield {title(page): list(navigation(page.parent))}
        elif page.parent == folder.resolve():
            name = title(page).removeprefix("kling-ledger ")
            yield {name: str(page.relative_to(root.resolve()))}
    unlisted = {page.resolve() for page in folder.glob("*.md")} - set(listed)
    if unlisted:
        raise SystemExit(f"{index}: does not list {sorted(map(str, unlisted))}")


def as_toml(value: Any) -> str:
    """Write texts, lists and tables on one line, as TOML has them."""
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, dict):
        inner = (f"{json.dumps(name)} = {as_toml(one)}" for name, one in value.items())
        return f"{{{', '.join(inner)}}}"
    return json.dumps(value, ensure_ascii=False)


def in_order(entries: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the path and the title of every page of a navigation, one after another."""
    for entry in entries:
        for name, value in entry.items():
            if isinstance(value, list):
                yield from in_order(value)
            else:
                yield value, name


def add_markdown(pages: Path, site: Path) -> None:
    """Put each page's Markdown beside it, and the lists of them that programs read."""
    order = list(in_order(list(navigation(pages))))
    for path, _ in order:
        shutil.copyfile(pages / path, site / path)
    (site / "llms.txt").write_text(_listed(pages, order), encoding="utf-8")
    whole = "\n\n".join((pages / path).read_text(encoding="utf-8").strip() for path, _ in order)
    (site / "llms-full.txt").write_text(whole + "\n", encoding="utf-8")


def _listed(pages: Path, order: list[tuple[str, str]]) -> str:
    front, *rest = order
    lines = [f"# {title(pages / front[0])}", "", f"> {summary(pages / front[0])}", ""]
    lines += [
        "Each page is here as Markdown; with .html in place of .md it is the page for people."
    ]
    section = ""
    for path, _ in rest:
        if path.split("/")[0] != section:
            section = path.split("/")[0]
            lines += ["", f"## {title(pages / section / 'index.md')}", ""]
        lines.append(f"- [{title(pages / path)}]({path}): {summary(pages / path)}")
    return "\n".join(lines) + "\n"


def summary(page: Path) -> str:
    """Return the first sentence of a page, on one line, without its links and without a date."""
    text = page.read_text(encoding="utf-8")
    body = re.split(r"^# .+\n", text, maxsplit=1, flags=re.MULTILINE)[-1]
    parts = map(str.strip, body.split("\n\n"))
    prose = next(one for one in parts if one and not one.startswith(_NO_PROSE))
    told = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", _DATE.sub("", prose.removeprefix("- ")))
    found = _SENTENCE.match(" ".join(told.split()))
    return found[0].rstrip(":") if found else title(page)


if __name__ == "__main__":
    main()
