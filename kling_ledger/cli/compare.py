"""`kling-ledger compare`: one clip at every provider that can make it, cheapest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from kling_ledger.cli.books import book_option
from kling_ledger.cli.clip_options import clip_fields, clip_options
from kling_ledger.cli.known_words import meant, with_near_names
from kling_ledger.cli.output import format_option, print_many, say
from kling_pricing.clip import Clip
from kling_pricing.compare import Comparison, Unable, wanted_clip
from kling_pricing.compare import compare as compared
from kling_pricing.errors import NoPriceError
from kling_pricing.library import Library
from kling_pricing.money import plain, plain_or_none
from kling_pricing.quote import Quote

Command = TypeVar("Command", bound=Callable[..., Any])

_COLUMNS = ("provider", "model", "usd", "amount", "unit", "evidence", "checked", "notes", "reason")
_SHOWN = _COLUMNS[:7]
_OPTIONAL = ("checked", "evidence")
_NO_MATCH_EXIT = 2
_NO_PRICE_EXIT = 7


def family_options(command: Command) -> Command:
    """Add the options that describe a clip of a model family at any provider, and `--at`."""
    return click.option(
        "--model", "family", required=True, metavar="FAMILY", help="The model, such as kling-3.0."
    )(clip_options(command))


def read_clip(options: dict[str, Any]) -> Clip:
    """Return the clip that the options describe; ClipError for an impossible one."""
    return wanted_clip(**clip_fields(options))


@contextmanager
def named_family(written: str, library: Library) -> Iterator[str]:
    """Replace a model family by its name in the price books; suggest names if it has no price."""
    books = (library.book(name) for name in library.providers)
    offers = (offer for book in books for dated in book.offers.values() for offer in dated)
    families = {offer.rate.family for offer in offers}
    try:
        yield meant(written, families) or written
    except NoPriceError as error:
        raise with_near_names(error, written) from None


def no_offer_code(unable: Sequence[Unable]) -> int:
    """Return the exit code if there is no offer: bad input if that is the only reason."""
    is_unpriced = any(isinstance(one.error, NoPriceError) for one in unable)
    return _NO_PRICE_EXIT if is_unpriced else _NO_MATCH_EXIT


@click.command()
@family_options
@book_option
@format_option
def compare(
    family: str, at: datetime | None, library: Library, form: str, **options: Any
) -> int | None:
    """Price one clip at every provider that can make it, cheapest first.

    \b
    kling-ledger compare --model kling-3.0 --seconds 5 --resolution 1080p --sound

    Without --action it is made from text. JSON also lists providers that cannot make it, with the
    reason; a table prints those on stderr.
    """
    now = at or datetime.now(UTC)
    with named_family(family, library) as name:
        found = compared(read_clip(options), family=name, at=now, library=library)
    _print(found, form)
    return None if found.offers else no_offer_code(found.unable)


def _print(found: Comparison, form: str) -> None:
    offers = [_offer(quoted) for quoted in found.offers]
    if form == "table":
        print_many(offers, _SHOWN, form, empty="no provider can make this clip", optional=_OPTIONAL)
        for offer in offers:
            for note in offer["notes"]:
                say(f"note: {offer['provider']}: {note}")
        say_unable(found.unable, served={quoted.clip.provider for quoted in found.offers})
    else:
        print_many([*offers, *map(unable_row, found.unable)], _COLUMNS, form, empty="")


def unable_row(one: Unable) -> dict[str, Any]:
    """Return a model that cannot make the clip as a row: no price, and the reason."""
    return {"provider": one.provider, "model": one.model, "usd": None, "reason": one.reason}


def say_unable(unable: Sequence[Unable], *, served: set[str]) -> None:
    """Print why the providers without an offer cannot make the clip."""
    for one in unable:
        if one.provider not in served:
            say(f"unable: {one.provider} {one.model}: {one.reason}")


def _offer(quoted: Quote) -> dict[str, Any]:
    unconverted = [] if quoted.usd else [f"no known rate from {quoted.unit} to USD"]
    return {
        "provider": quoted.clip.provider,
        "model": quoted.clip.model,
        "usd": plain_or_none(quoted.usd),
        "amount": plain(quoted.amount.amount),
        "unit": quoted.unit,
        "evidence": quoted.evidence,
        "checked": quoted.rate.source.checked.isoformat(),
        "notes": [*unconverted, *quoted.warnings, *quoted.assumptions],
        "reason": None,
    }
