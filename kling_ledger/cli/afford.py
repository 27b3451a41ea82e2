"""`kling-ledger afford`: how many clips a budget buys, the longest and the best."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from kling_ledger.cli.books import book_option
from kling_ledger.cli.compare import (
    family_options,
    named_family,
    no_offer_code,
    read_clip,
    say_unable,
    unable_row,
)
from kling_ledger.cli.known_words import priced_provider, priced_unit
from kling_ledger.cli.output import format_option, print_many
from kling_pricing.afford import Affordable
from kling_pricing.afford import afford as afforded
from kling_pricing.clip import option_in_words
from kling_pricing.library import Library
from kling_pricing.money import USD, Money, plain
from kling_pricing.quote import Quote

_COLUMNS = ("provider", "model", "clips", "each", "unit", "longest_s", "longest_model", "best")
_ALL = (*_COLUMNS, "best_model", "best_amount", "reason")


@click.command()
@click.argument("budget")
@click.option("--provider", metavar="NAME", help="Only at this provider.")
@family_options
@book_option
@format_option
def afford(
    budget: str,
    provider: str | None,
    family: str,
    at: datetime | None,
    library: Library,
    form: str,
    **options: Any,
) -> int | None:
    """Show what BUDGET buys: how many such clips, the longest one, the best one.

    \b
    kling-ledger afford "20 USD" --model kling-3.0 --seconds 5 --resolution 1080p --sound
    kling-ledger afford 500evolink-credit --model kling-3.0 --resolution 720p --no-sound

    The budget is in USD or in a provider's own unit. The longest clip keeps your resolution and
    sound; the best one keeps your seconds. 4k beats 1080p, which beats 720p; at the same
    resolution, sound beats no sound.
    """
    with named_family(family, library) as name:
        found = afforded(
            _in_known_unit(Money.parse(budget, default_unit=USD), library),
            read_clip(options),
            family=name,
            at=at or datetime.now(UTC),
            library=library,
            provider=None if provider is None else priced_provider(provider, library),
        )
    rows = [_row(option) for option in found.options]
    if form == "table":
        empty = "no provider has a price for this: what the budget buys is unknown"
        print_many(rows, _COLUMNS, form, empty=empty, optional=("longest_model", "unit", "each"))
        as_asked = {option.provider for option in found.options if option.cost}
        partly = [one for option in found.options for one in option.unable]
        say_unable([*partly, *found.unable], served=as_asked)
    else:
        print_many([*rows, *map(unable_row, found.unable)], _ALL, form, empty="")
    return None if found.options else no_offer_code(found.unable)


def _in_known_unit(money: Money, library: Library) -> Money:
    """Return an amount in a unit that a provider charges in, or in US dollars."""
    return Money(money.amount, priced_unit(money.unit, library))


def _row(option: Affordable) -> dict[str, Any]:
    cost, longest, best = option.cost, option.longest, option.best
    return {
        "provider": option.provider,
        "model": cost.clip.model if cost else None,
        "clips": option.clips,
        "each": _amount(cost),
        "unit": next((one.unit for one in (cost, longest, best) if one), None),
        "longest_s": longest.clip.seconds if longest else None,
        "longest_model": longest.clip.model if longest else None,
        "best": _quality(best),
        "best_model": best.clip.model if best else None,
        "best_amount": _amount(best),
        "reason": None if cost else "; ".join(one.reason for one in option.unable),
    }


def _amount(quoted: Quote | None) -> str | None:
    return plain(quoted.amount.amount) if quoted else None


def _quality(quoted: Quote | None) -> str | None:
    if quoted is None:
        return None
    made = quoted.priced
    words = [
        option_in_words(name, getattr(made, name))
        for name in ("resolution", "sound")
        if getattr(made, name) is not None
    ]
    return " ".join(words) or "as sold"
