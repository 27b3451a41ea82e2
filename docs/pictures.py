"""Take the pictures of the documents anew: `python -m docs.pictures` writes docs/assets.

`demo.svg` is what `kling-ledger demo` writes to a terminal. `overview.png` is the page that
`kling-ledger report overview --out page.html` makes of the tests' year of a studio, in Chromium.
"""

from __future__ import annotations

import io
import os
import pty
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from kling_reports.render import html
from tests.reports_year import year

ASSETS: Final = Path(__file__).resolve().parent / "assets"
COLUMNS: Final = 96
SIZE: Final = (1280, 580)
_FRAME: Final = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font: {char_height}px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  line-height: {line_height}px;
}}
.{unique_id}-title {{ font: 18px system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's own frame without its fonts, which it would load from elsewhere."""


def main() -> None:
    """Write both pictures."""
    (ASSETS / "demo.svg").write_text(terminal("kling-ledger", "demo"), encoding="utf-8")
    take_overview(ASSETS / "overview.png")


def terminal(*command: str) -> str:
    """Return what a command writes to a terminal, as a drawing of it."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(f"$ {' '.join(command)}\n{written(command)}\n"))
    return console.export_svg(title=command[0], theme=MONOKAI, code_format=_FRAME, unique_id="demo")


def written(command: tuple[str, ...]) -> str:
    """Run a command in a terminal of our width and return what it wrote, colours and all."""
    child, end = pty.fork()
    if child == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
        os.execvp(command[0], command)  # noqa: S606 - a command of our own, without a shell
    text = b""
    try:
        while part := os.read(end, 65536):
            text += part
    except OSError:  # Linux says so that the other end is closed.
        pass
    os.waitpid(child, 0)
    return text.decode().replace("\r\n", "\n").rstrip()


def take_overview(target: Path) -> None:
    """Photograph the top of the overview of a year."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("the picture of the page needs chromium")
    with tempfile.TemporaryDirectory() as name:
        page = Path(name) / "page.html"
        page.write_bytes(html.render(year(Path(name) / "year.sqlite", "project")))
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--hide-scrollbars",
                f"--window-size={SIZE[0]},{SIZE[1]}",
                f"--screenshot={target}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )


if __name__ == "__main__":
    main()
