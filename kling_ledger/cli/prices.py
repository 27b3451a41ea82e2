"""`kling-ledger prices`: list, show, check and pull the prices that quotes rest on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kling_ledger.cli.books import book_option, own_books
from kling_ledger.cli.output import format_option, print_json, print_many, say
from kling_pricing.book import PriceBook, Rate
from kling_pricing.errors import NoPriceError
from kling_pricing.library import Library
from kling_pricing.money import plain
from kling_pricing.own_rates import set_by

if TYPE_CHECKING:
    from kling_ledger.providers.runapi.live_prices import LiveSchedule
    from kling_pricing.agreement import Difference
    from kling_pricing.audit import Finding
    from kling_pricing.book import Cell, Offer
    from kling_pricing.book_reader import BookText

_DIFFERENCES_EXIT: Final = 6
_LISTED = (
    *("provider", "model", "action", "family", "per", "low", "high", "unit"),
    *("evidence", "checked"),
)
_GIVE_WAY = ("checked", "family", "evidence", "per", "unit")
_SHOWN = (
    *("model", "action", "clip", "price", "per", "usd", "from", "until", "rate", "evidence"),
    *("checked", "source", "note", "set_by"),
)
_CHECKED = ("kind", "provider", "subject", "ours", "theirs", "problem")
_WRITTEN_BY: Final = "# Written by `kling-ledger prices pull`: the next pull replaces it.\n"


@click.group()
def prices() -> None:
    """The prices that quotes rest on, and where each was read."""


@prices.command("list")
@click.option("--provider", metavar="NAME", help="Only this provider's.")
@book_option
@format_option
def list_(provider: str | None, library: Library, form: str) -> None:
    """List every model that has a price today."""
    now = datetime.now(UTC)
    names = (provider,) if provider else library.providers
    rows = [row for name in names for row in _listed(library.book(name), now)]
    print_many(rows, _LISTED, form, empty="no prices yet", optional=_GIVE_WAY)


@prices.command()
@click.argument("provider")
@click.argument("model", required=False)
@book_option
@format_option
def show(provider: str, model: str | None, library: Library, form: str) -> None:
    """Show every price of PROVIDER, or of one MODEL of it, with its source.

    Prices that ended or have yet to begin are shown too, each with its dates.
    """
    book = library.book(provider)
    if model is not None and model not in book.models:
        raise NoPriceError(f"{provider} {model}", known=book.models)
    offers = [
        (name, action, offer)
        for (name, action), dated in sorted(book.offers.items())
        for offer in dated
        if model in {None, name}
    ]
    now = datetime.now(UTC)
    rows = [row for found in offers for row in _shown(*found, library, now)]
    columns = _SHOWN[:9] if form == "table" else _SHOWN
    print_many(rows, columns, form, empty="no prices yet", optional=("rate", "until", "from"))
    if form == "table":
        for rate in dict.fromkeys(offer.rate for _, _, offer in offers):
            _say_rate(rate, library)


@prices.command()
@click.option(
    "--max-age",
    type=click.IntRange(min=0),
    default=90,
    show_default=True,
    metavar="DAYS",
    help="How many days ago a source may have been checked.",
)
@click.option(
    "--live",
    is_flag=False,
    flag_value="all",
    type=click.Choice(["runapi", "crun", "all"]),
    help="Ask a provider for its prices too; alone: RunAPI, and Crun if there is a key for it.",
)
@click.option(
    "--base-url", metavar="URL", help="Where the provider is, instead of its own address."
)
@click.option("--api-key", metavar="KEY", help="Only for crun. [env: CRUN_API_KEY]")
@book_option
@format_option
def check(
    max_age: int,
    live: str | None,
    base_url: str | None,
    api_key: str | None,
    library: Library,
    form: str,
) -> int | None:
    """Audit the books, and compare them with a provider's live prices: exit code 6 if they differ.

    Prices that are assumed or come from a third party are listed for information. Asking costs
    nothing: RunAPI's schedule is public, and Crun estimates a sample of each price.
    """
    from kling_pricing.audit import stale

    now = datetime.now(UTC)
    books = [library.book(provider) for provider in library.providers]
    found: list[Finding | Difference] = list(stale(books, today=now.date(), max_age_days=max_age))
    for name in _asked(live, base_url, api_key):
        laid = _laid_beside(name, library.book(name), now, base_url, api_key)
        agreeing = sum(not one.is_difference for one in laid)
        say(f"{name}: {agreeing} of {len(laid)} live prices agree")
        found.extend(one for one in laid if one.is_difference)
    rows = [{**asdict(one), "is_difference": one.is_difference} for one in found]
    print_many(rows, (*_CHECKED, "is_difference"), form, empty="nothing found")
    return _DIFFERENCES_EXIT if any(one.is_difference for one in found) else None


def _asked(live: str | None, base_url: str | None, api_key: str | None) -> tuple[str, ...]:
    """Return which providers to ask: those named, or those that can be asked without more."""
    if live is None:
        return ()
    if live != "all":
        return (live,)
    if base_url is not None:
        raise click.UsageError("--base-url goes with --live runapi or --live crun")
    from kling_ledger import config
    from kling_ledger.providers.crun.facts import FACTS as CRUN

    if config.has_api_key(CRUN.key_variable, api_key):
        return ("runapi", "crun")
    say(f"note: Crun is not asked: it needs {CRUN.key_variable} or --api-key")
    return ("runapi",)


@prices.command()
@click.argument("provider", type=click.Choice(["runapi"]), default="runapi")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write it; by default in the folder of your own books.",
)
@click.option(
    "--base-url", metavar="URL", help="Where the provider is, instead of its own address."
)
def pull(provider: str, out: Path | None, base_url: str | None) -> None:
    """Write PROVIDER's live prices as a price book of your own, over the bundled one.

    Prices that end are kept with their dates, so that old quotes can be worked out again. A file
    that this command did not write is never replaced.
    """
    from kling_ledger.config import books_folder
    from kling_ledger.providers.runapi.facts import FACTS as RUNAPI
    from kling_ledger.providers.runapi.live_prices import fetch_schedule

    path = out or books_folder() / f"{provider}.toml"
    address = base_url or RUNAPI.base_url
    earlier = _earlier(path, provider)
    tag = _tag_file(path)
    fetched = fetch_schedule(address, etag=_read_tag(tag, address) if earlier else None)
    if fetched is None:
        say(f"unchanged: {path}")
        return
    _refuse_future(fetched, datetime.now(UTC))
    text = _WRITTEN_BY + _book_of(fetched, earlier, path)
    _write(path, text)
    _write(tag, f"{fetched.etag}\n{address}\n" if fetched.etag else "")
    say(f"written: {path}, prices of {fetched.as_of}")
    for line in text.splitlines():
        if line.startswith("# Not read:"):
            say(f"note: {line.removeprefix('# ')}")


@prices.command()
def schema() -> None:
    """Print the JSON Schema of a price book, for an editor that helps while it is written."""
    from kling_pricing.book_reader import book_schema

    print_json(book_schema())


def _listed(book: PriceBook, at: datetime) -> Iterator[dict[str, Any]]:
    for (model, action), dated in sorted(book.offers.items()):
        for offer in dated:
            if offer.rate.is_valid_at(at):
                yield _listed_row(model, action, offer)


def _listed_row(model: str, action: str, offer: Offer) -> dict[str, Any]:
    from kling_pricing.cells import cells_of

    rate = offer.rate
    cells = cells_of(offer)
    sold = [rate.prices[cell] for cell in cells]
    return {
        "provider": rate.provider,
        "model": model,
        "action": action,
        "family": rate.family,
        "per": _per(rate),
        "low": plain(min(sold)) if sold else None,
        "high": plain(max(sold)) if sold else None,
        "unit": rate.unit,
        "evidence": ", ".join(dict.fromkeys(_evidence(rate, cell) for cell in cells))
        or rate.source.evidence,
        "checked": rate.source.checked.isoformat(),
    }


def _evidence(rate: Rate, cell: Cell) -> str:
    return "user" if cell in rate.user_cells else rate.source.evidence


def _per(rate: Rate) -> str:
    return f"{rate.block_s} seconds" if rate.per == "block" else rate.per


def _shown(
    model: str, action: str, offer: Offer, library: Library, now: datetime
) -> Iterator[dict[str, Any]]:
    from kling_pricing.cells import cells_of

    for cell in cells_of(offer, is_collapsed=True):
        yield {"model": model, "action": action, **_cell_row(offer.rate, cell, library, now)}


def _cell_row(rate: Rate, cell: Cell, library: Library, now: datetime) -> dict[str, Any]:
    price = rate.prices[cell]
    usd = rate.to_usd(price, now if rate.is_valid_at(now) else rate.valid_from)
    until = rate.valid_until
    return {
        "clip": rate.in_words(cell),
        "price": f"{plain(price)} {rate.unit}",
        "per": _per(rate),
        "usd": None if usd is None else plain(usd),
        "from": rate.valid_from.date().isoformat(),
        "until": None if until is None else until.date().isoformat(),
        "rate": rate.id,
        "evidence": _evidence(rate, cell),
        "checked": rate.source.checked.isoformat(),
        "source": rate.source.url,
        "note": rate.note or rate.source.note,
        "set_by": list(set_by(rate, library, [cell])),
    }


def _say_rate(rate: Rate, library: Library) -> None:
    source = rate.source
    say(f"{rate.id}: {source.evidence}, {source.url}, checked {source.checked}")
    fees = [f"fee: {fee.label}" for fee in rate.fees]
    for note in (*fees, *(rule.because for rule in rate.forced), rate.note or source.note):
        if note:
            say(f"  {note}")
    for line in set_by(rate, library, rate.prices):
        say(f"  {line}")


def _laid_beside(
    live: str, book: PriceBook, now: datetime, base_url: str | None, api_key: str | None
) -> Sequence[Difference]:
    if live == "crun":
        return list(_beside_crun(book, now, base_url, api_key))
    from kling_ledger.providers.runapi.facts import FACTS as RUNAPI
    from kling_ledger.providers.runapi.live_prices import fetch_schedule
    from kling_pricing.gateways.runapi.agreement import differences

    fetched = fetch_schedule(base_url or RUNAPI.base_url)
    return differences(book, fetched.rows if fetched else (), now)


def _beside_crun(
    book: PriceBook, now: datetime, base_url: str | None, api_key: str | None
) -> Iterator[Difference]:
    from kling_ledger import config
    from kling_ledger.providers.crun import live_prices
    from kling_ledger.providers.crun.facts import FACTS as CRUN
    from kling_pricing.agreement import beside_estimate
    from kling_pricing.cells import priced_cells, sample_clip

    key = config.api_key(CRUN.key_variable, api_key)
    with live_prices.CrunEstimates(key, base_url=base_url or CRUN.base_url) as crun:
        for cell in priced_cells(book, now):
            clip = sample_clip(book, cell)
            if clip is None:
                say(f"not asked: {cell.subject}: only the run tells how long it is")
            else:
                estimate = crun.credits_for(live_prices.crun_body(clip))
                yield beside_estimate(book, cell, now, estimate=estimate)


def _refuse_future(fetched: LiveSchedule, now: datetime) -> None:
    """Refuse prices of a day to come: they would close those that hold today."""
    from kling_ledger.errors import LivePricesError

    # Somewhere on earth it may be tomorrow already.
    if fetched.as_of > (now + timedelta(days=1)).date():
        problem = f"the schedule is of {fetched.as_of}, and today is {now.date()}"
        raise LivePricesError("runapi", problem)


def _earlier(path: Path, provider: str) -> BookText | None:
    """Return the book that an earlier pull wrote there; ConfigError for anybody else's file."""
    from kling_ledger.errors import ConfigError
    from kling_pricing.book_reader import BookText, provider_of

    for book in own_books() if path.parent == _folder() else ():
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
        raise ConfigError(f"{path} was not written by a pull and is left alone", hint=hint)
    return BookText(str(path), text)


def _folder() -> Path:
    from kling_ledger.config import books_folder

    return books_folder()


def _book_of(fetched: LiveSchedule, earlier: BookText | None, path: Path) -> str:
    from kling_pricing.book_reader import read_book
    from kling_pricing.gateways.runapi.schedule import CANONICAL_URL
    from kling_pricing.gateways.runapi.schedule_book import schedule_book
    from kling_pricing.library import bundled_text

    bundled = bundled_text("runapi")
    # A source is an https:// address: what a server on this machine tells is noted as such.
    is_public = fetched.url.startswith("https://")
    text = schedule_book(
        fetched.rows,
        as_of=fetched.as_of,
        url=fetched.url if is_public else CANONICAL_URL,
        note="" if is_public else f"Read from {fetched.url}, not from RunAPI itself.",
        over=[bundled, *([earlier] if earlier else [])],
    )
    read_book(text, name=str(path), over=bundled)
    return text


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
    """Write a file whole or not at all: a reader never sees half a book."""
    from kling_ledger.errors import ConfigError

    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
