"""The GitHub Action's comment: what a change adds, in one comment that each push renews."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

MARK: Final = "<!-- kling-ledger changes -->"
LONGEST: Final = 65_000
"""GitHub takes 65,536 characters."""


def main() -> None:
    """Write the outputs and the job's summary, and comment where there is a pull request."""
    folder = Path(os.environ["RUNNER_TEMP"])
    answer = json.loads((folder / "changes.json").read_text("utf-8"))
    told = _cut((folder / "changes.md").read_text("utf-8"))
    usd = (answer["usd"] or {}).get("high") or ""
    _append("GITHUB_OUTPUT", f"summary={answer['summary']}\nusd={usd}\n")
    _append("GITHUB_STEP_SUMMARY", told)
    number = _pull_request()
    if number is None or os.environ["COMMENT"] != "true":
        return
    try:
        _comment(number, f"{MARK}\n{told}", is_news=bool(answer["rows"]))
    except httpx.HTTPError as error:
        # A pull request from a fork has a token that may only read.
        sys.stdout.write(f"::warning::no comment could be written: {error!s:.200}\n")


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    kept = text[:LONGEST].rpartition("\n")[0]
    return f"{kept}\n\nThere are more rows than a comment can hold.\n"


def _append(variable: str, text: str) -> None:
    with Path(os.environ[variable]).open("a", encoding="utf-8") as file:
        file.write(text)


def _pull_request() -> int | None:
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text("utf-8"))
    number: int | None = event.get("pull_request", {}).get("number")
    return number


def _comment(number: int, text: str, *, is_news: bool) -> None:
    """Renew our comment, or make one; none is made only to say that nothing differs."""
    headers = {
        "Authorization": f"Bearer {os.environ['GH_TOKEN']}",
        "Accept": "application/vnd.github+json",
    }
    url = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/issues"
    with httpx.Client(headers=headers, timeout=30) as http:
        ours = next(_ours(http, f"{url}/{number}/comments"), None)
        if ours is not None:
            http.patch(f"{url}/comments/{ours}", json={"body": text}).raise_for_status()
        elif is_news:
            http.post(f"{url}/{number}/comments", json={"body": text}).raise_for_status()


def _ours(http: httpx.Client, url: str) -> Iterator[int]:
    following: str | None = f"{url}?per_page=100"
    while following:
        found = http.get(following).raise_for_status()
        comments: list[dict[str, Any]] = found.json()
        yield from (one["id"] for one in comments if (one["body"] or "").startswith(MARK))
        following = found.links.get("next", {}).get("url")


main()
