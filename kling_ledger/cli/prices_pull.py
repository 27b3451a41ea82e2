"""The price book that `kling-ledger prices pull` writes: the user's file, and its ETag."""

from __future__ import annotations

import contextlib
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kling_ledger import config
from kling_ledger.cli.output import say
from kling_ledger.errors import ConfigError, LivePricesError
from kling_ledger.providers.runapi.facts import FACTS as RUNAPI
from kling_ledger.providers.runapi.live_prices import fetch_schedule
from kling_pricing.book_reader import BookText, provider_of, read_book
from kling_pricing.book_values import day_or_instant
from kling_pricing.gateways.runapi.schedule import CANONICAL_URL
from kling_pricing.gateways.runapi.schedule_book import TOLD, schedule_book
from kling_pricing.library import bundled_text
from kling_pricing.own_books import books_folder, books_in
from kling_pricing.stored import keep

if TYPE_CHECKING:
    from datetime import datetime

    from kling_ledger.providers.runapi.live_prices import LiveSchedule

_WRITTEN_BY: Final = "# Written by `kling-ledger prices pull`: the next pull replaces it.\n"


def pull_book(provider: str, out: Path | None, *, base_url: str | None, now: datetime) -> None:
    """Fetch a provider's live prices and write them as a book; ConfigError for a foreign file."""
    path = out or Path(books_folder()) / f"{provider}.toml"
    address = config.base_url(base_url, default=RUNAPI.base_url, provider=provider)
    earlier = _earlier(path, provider)
    tag = _tag_file(path)
    fetched = fetch_schedule(address, etag=_read_tag(tag, address) if earlier else None)
    if fetched is None:
        say(f"unchanged: {path}")
        return
    _refuse_future(fetched, now)
    text = _WRITTEN_BY + _book_of(fetched, earlier, path)
    # Keep both books before replacing the earlier one: quotes refer to either.
    for book in (earlier, BookText(str(path), text)):
        if book is not None:
            _keep(book, path.parent)
    _write(path, text)
    _write(tag, f"{fetched.etag}\n{address}\n" if fetched.etag else "")
    say(f"wrote {path}, prices of {day_or_instant(fetched.as_of)}")
    for line in text.splitlines():
        if line.startswith(TOLD):
            say(f"note: {line.removeprefix('# ')}")


def _earlier(path: Path, provider: str) -> BookText | None:
    """Return the book that an earlier pull wrote there; ConfigError for any other file."""
    folder = Path(books_folder())
    for book in books_in(folder) if path.parent == folder and folder.is_dir() else ():
        if Path(book.name) != path and provider_of(book.text, name=book.name) == provider:
            hint = "move it out of the folder, or give --out"
            raise ConfigError(f"{book.name} has prices of {provider} too", hint=hint)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text.startswith(_WRITTEN_BY):
        hint = "give --out with another name"
        raise ConfigError(
            f"{path} was not written by `prices pull`, so it was not replaced", hint=hint
        )
    return BookText(str(path), text)


def _refuse_future(fetched: LiveSchedule, now: datetime) -> None:
    """Refuse prices dated in the future: they would close those valid today."""
    # Somewhere on earth it may be tomorrow already.
    if fetched.as_of.date() > (now + timedelta(days=1)).date():
        problem = f"the schedule is dated {fetched.as_of.date()}, and today is {now.date()}"
        raise LivePricesError("runapi", problem)


def _book_of(fetched: LiveSchedule, earlier: BookText | None, path: Path) -> str:
    bundled = bundled_text("runapi")
    # A source must be an https:// address; a local server is mentioned in a note.
    is_public = fetched.url.startswith("https://")
    text = schedule_book(
        fetched.rows,
        as_of=fetched.as_of,
        url=fetched.url if is_public else CANONICAL_URL,
        note="" if is_public else f"Fetched from {fetched.url}, not from RunAPI itself.",
        over=[bundled, *([earlier] if earlier else [])],
    )
    read_book(text, name=str(path), over=bundled)
    return text


def _keep(book: BookText, folder: Path) -> None:
    try:
        keep(book, folder)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from None


def _tag_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.etag")


def _read_tag(path: Path, address: str) -> str | None:
    """Return the ETag of the last pull, if that was from the same address."""
    try:
        tag, came_from = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    return tag if came_from == address else None


def _write(path: Path, text: str) -> None:
    """Write a file atomically: a reader never sees half a book."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
