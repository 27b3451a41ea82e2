"""`kling-ledger prices`: list, show, check and pull the prices behind quotes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from kling_ledger.cli.books import book_option
from kling_ledger.cli.known_words import priced_model, priced_provider
from kling_ledger.cli.output import (
    format_option,
    print_json,
    print_many,
    print_one,
    print_table,
    say,
)
from kling_ledger.cli.prices_rows import listed_rows, shown_rows
from kling_pricing.book import PriceBook, Rate
from kling_pricing.errors import ClipError, Problem
from kling_pricing.library import Library
from kling_pricing.money import plain
from kling_pricing.own_rates import charges_set_by, set_by
from kling_pricing.quote import STALE_AFTER_DAYS

if TYPE_CHECKING:
    from kling_pricing.agreement import Difference
    from kling_pricing.audit import Finding

_DIFFERENCES_EXIT: Final = 6
_LISTED = (
    *("provider", "model", "action", "family", "per", "low", "high", "unit"),
    *("evidence", "checked"),
)
_GIVE_WAY = ("checked", "family", "evidence", "per", "unit")
_SHOWN = (
    *("model", "action", "clip", "price", "per", "usd", "from", "until", "rate", "evidence"),
    *("checked", "source", "note", "set_by", "parts"),
    *("charged_on_failure", "charged_on_refusal", "charged_on_invalid_input"),
)
_CHECKED = ("kind", "provider", "subject", "ours", "theirs", "problem")


@click.group()
def prices() -> None:
    """The prices behind quotes, and the source of each."""


@prices.command("list")
@click.option("--provider", metavar="NAME", help="Only this provider's.")
@book_option
@format_option
def list_(provider: str | None, library: Library, form: str) -> None:
    """List every model that has a price today."""
    now = datetime.now(UTC)
    names = (priced_provider(provider, library),) if provider else library.providers
    rows = [row for name in names for row in listed_rows(library.book(name), now)]
    print_many(rows, _LISTED, form, empty="no prices yet", optional=_GIVE_WAY)


@prices.command()
@click.argument("provider")
@click.argument("model", required=False)
@book_option
@format_option
def show(provider: str, model: str | None, library: Library, form: str) -> None:
    """Show every price of PROVIDER, or of one MODEL of it, with its source.

    Past and future prices are shown too, each with its dates; and whether a failed job is charged.
    """
    book = library.book(priced_provider(provider, library))
    model = None if model is None else priced_model(model, book)
    offers = [
        (name, action, offer)
        for (name, action), dated in sorted(book.offers.items())
        for offer in dated
        if model in {None, name}
    ]
    now = datetime.now(UTC)
    rows = [row for found in offers for row in shown_rows(*found, library, now)]
    columns = _SHOWN[:9] if form == "table" else _SHOWN
    print_many(rows, columns, form, empty="no prices yet", optional=("rate", "until", "from"))
    if form == "table":
        for rate in dict.fromkeys(offer.rate for _, _, offer in offers):
            _say_rate(rate, library)
        _say_charges(book, library)


@prices.command()
@click.option(
    "--max-age",
    type=click.IntRange(min=0),
    default=STALE_AFTER_DAYS,
    show_default=True,
    metavar="DAYS",
    help="How old, in days, the last check of a source may be.",
)
@click.option(
    "--live",
    is_flag=False,
    flag_value="all",
    type=click.Choice(["runapi", "crun", "all"]),
    help="Compare with a provider's live prices too. [without a value: RunAPI, and Crun if its"
    " key is set]",
)
@click.option("--base-url", metavar="URL", help="Use another address for the provider.")
@click.option("--api-key", metavar="KEY", help="The API key, only for crun. [env: CRUN_API_KEY]")
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

    Prices that are assumed or come from a third party, and models that were retired, are listed
    for information. The comparison is free: RunAPI's schedule is public, and Crun estimates a
    sample of each price.
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
    """Return the providers to ask: those named, or all that can be asked as things are set up."""
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
    say(f"note: Crun was not asked: that needs {CRUN.key_variable} or --api-key")
    return ("runapi",)


@prices.command()
@click.argument("provider", type=click.Choice(["runapi"]), default="runapi")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file to write. [default: a file in the folder of your own books]",
)
@click.option("--base-url", metavar="URL", help="Use another address for the provider.")
def pull(provider: str, out: Path | None, base_url: str | None) -> None:
    """Write PROVIDER's live prices as a price book of your own, over the bundled one.

    Ended prices are kept with their dates, so that old quotes can be recomputed. A file that this
    command did not write is never replaced.
    """
    from kling_ledger.cli.prices_pull import pull_book

    pull_book(provider, out, base_url=base_url, now=datetime.now(UTC))


@prices.command("verify-quote")
@click.argument("file", type=click.File("rb"))
@book_option
@format_option
def verify_quote(file: BinaryIO, library: Library, form: str) -> int | None:
    """Recompute a stored quote, at its own instant and from its own book.

    FILE is the output of `quote --format json`, or the quote stored with a reservation; - for
    standard input. Exit codes: 0 the same price, 6 another price, 7 its book is not available.
    """
    from kling_ledger.cli.inputs import read_text
    from kling_pricing.gateways import parse_body
    from kling_pricing.stored import verify

    told = parse_body(read_text(file))
    if not isinstance(told, dict):
        raise ClipError([Problem("$", told, "a quote, as `quote --format json` prints it")])
    verified = verify(told, library=library)
    quoted = verified.quoted
    rows = [
        {"field": name, "stored": said, "by_its_book": found}
        for name, (said, found) in verified.differences.items()
    ]
    answer = {
        "stands": not rows,
        "provider": quoted.clip.provider,
        "model": quoted.clip.model,
        "amount": plain(quoted.amount.amount),
        "unit": quoted.unit,
        "at": quoted.at.isoformat(),
        "book": quoted.rate.book_digest,
        "differences": rows,
    }
    print_one(answer, form, table=lambda: _print_verified(answer))
    return _DIFFERENCES_EXIT if rows else None


def _print_verified(answer: dict[str, Any]) -> None:
    if answer["differences"]:
        print_table(answer["differences"], ["field", "stored", "by_its_book"])
    else:
        amount = f"{answer['amount']} {answer['unit']}"
        click.echo(f"{amount}: {answer['provider']} {answer['model']}, as quoted {answer['at']}")


@prices.command()
def schema() -> None:
    """Print the JSON Schema of a price book, for editors that check and complete it."""
    from kling_pricing.book_reader import book_schema

    print_json(book_schema())


def _say_rate(rate: Rate, library: Library) -> None:
    source = rate.source
    say(f"{rate.id}: {source.evidence}, {source.url}, checked {source.checked}")
    fees = [f"fee: {fee.label}" for fee in rate.fees]
    for note in (*fees, *(rule.because for rule in rate.forced), rate.note or source.note):
        if note:
            say(f"  {note}")
    for line in set_by(rate, library, rate.prices):
        say(f"  {line}")


def _say_charges(book: PriceBook, library: Library) -> None:
    for kind, charge in book.charges.by_kind.items():
        source = book.sources[charge.source_name] if charge.source_name else None
        known = f" ({source.evidence}, {source.url}, checked {source.checked})" if source else ""
        say(f"charged on {kind.replace('_', ' ')}: {charge.charged}{known}")
        if charge.note:
            say(f"  {charge.note}")
    for line in charges_set_by(book.provider, library):
        say(f"  {line}")


def _laid_beside(
    live: str, book: PriceBook, now: datetime, base_url: str | None, api_key: str | None
) -> Sequence[Difference]:
    if live == "crun":
        return list(_beside_crun(book, now, base_url, api_key))
    from kling_ledger import config
    from kling_ledger.providers.runapi.facts import FACTS as RUNAPI
    from kling_ledger.providers.runapi.live_prices import fetch_schedule
    from kling_pricing.gateways.runapi.agreement import differences

    address = config.base_url(base_url, default=RUNAPI.base_url, provider=live)
    fetched = fetch_schedule(address)
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
    address = config.base_url(base_url, default=CRUN.base_url, provider="crun")
    with live_prices.CrunEstimates(key, base_url=address) as crun:
        for cell in priced_cells(book, now):
            clip = sample_clip(book, cell)
            if clip is None:
                say(f"not asked: {cell.subject}: its length is known only after the run")
            else:
                estimate = crun.credits_for(live_prices.crun_body(clip))
                yield beside_estimate(book, cell, now, estimate=estimate)
