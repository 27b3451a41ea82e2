"""Known words: units, providers and models; capitals are forgiven, unknown words refused.

A budget in an unknown unit would never limit anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import click

from kling_ledger.cli.usage import did_you_mean
from kling_ledger.errors import ConfigError
from kling_pricing.errors import NoPriceError
from kling_pricing.money import USD, Money

if TYPE_CHECKING:
    from kling_ledger.ledger import Ledger
    from kling_pricing.book import PriceBook
    from kling_pricing.library import Library

_SHOWN: Final = 3
_ALIKE: Final = 0.6
"""The similarity, up to 1, from which two words count as alike."""
_AS_ALIKE: Final = 0.1
"""How much less similar than the best match another suggestion may be."""
_LONGEST: Final = 300
"""How many characters of an unknown name are repeated: it may be anything."""

unknown_option = click.option(
    "--unknown",
    "takes_unknown",
    is_flag=True,
    help="Accept an unknown unit, provider or model as written.",
)
"""Add --unknown, which reaches the command as `takes_unknown`."""


def known_unit(written: str, ledger: Ledger, library: Library) -> str:
    """Return a unit known to a wallet or a price book. ConfigError for any other."""
    quick = {USD, *(wallet.unit for wallet in ledger.wallets.all())}
    if written in quick:
        return written
    return known("unit", written, quick | library.units())


def in_known_unit(money: Money, ledger: Ledger, library: Library) -> Money:
    """Return an amount in its known unit."""
    return Money(money.amount, known_unit(money.unit, ledger, library))


def known_provider(written: str, library: Library) -> str:
    """Return a provider by the name of its price book. ConfigError for any other."""
    return known("provider", written, library.providers)


def known_model(written: str, provider: str | None, library: Library) -> str:
    """Return a model of a provider, or of any if none is named. ConfigError for any other."""
    sellers = library.providers if provider is None else (provider,)
    models = {model for seller in sellers for model in library.book(seller).models}
    return known("model", written, models)


def known(noun: str, written: str, words: Collection[str]) -> str:
    """Return a known word; capitals are forgiven if only one word matches."""
    found = meant(written, words)
    if found is None:
        near = did_you_mean(alike(written, words))
        insisting = "use --unknown to accept it"
        raise ConfigError(
            f"unknown {noun} {written}",
            hint=f"{near} {insisting}" if near else insisting,
        )
    return found


def priced_provider(written: str, library: Library) -> str:
    """Return a provider that has a price book. ConfigError, listing the names, for any other."""
    return chosen("provider", written, library.providers)


def priced_unit(written: str, library: Library) -> str:
    """Return a unit that a provider charges in. ConfigError, listing the units, for any other."""
    return written if written == USD else chosen("unit", written, {USD, *library.units()})


def priced_model(written: str, book: PriceBook) -> str:
    """Return a model as its provider's book writes it. NoPriceError if it has none."""
    found = meant(written, book.models)
    if found is None:
        unknown = NoPriceError(f"{book.provider} {written}", known=book.models)
        raise with_near_names(unknown, written)
    return found


def chosen(noun: str, written: str, words: Collection[str]) -> str:
    """Return the matching word of a closed list. ConfigError, listing them, for any other."""
    found = meant(written, words)
    if found is None:
        near = did_you_mean(alike(written, words))
        names = f"{noun}s: {', '.join(sorted(words))}"
        raise ConfigError(f"no such {noun}: {written[:_LONGEST]}", hint=near or names)
    return found


def with_near_names(error: NoPriceError, written: str) -> NoPriceError:
    """Return the error with known names similar to the one without a price."""
    near = did_you_mean(alike(written, {one.split(" ")[0] for one in error.known}))
    if error.hint or not near:
        return error
    return NoPriceError(error.subject, known=error.known, hint=near)


def meant(written: str, words: Collection[str]) -> str | None:
    """Return the one matching word, ignoring capitals and blanks; None if there is none."""
    if written in words:
        return written
    same = [word for word in words if _bare(word) == _bare(written)]
    return same[0] if len(same) == 1 else None


def alike(written: str, words: Iterable[str]) -> Sequence[str]:
    """Return the few words most similar to the written one, best match first."""
    from difflib import SequenceMatcher

    low = written.casefold()[:_LONGEST]
    likeness = {word: SequenceMatcher(None, low, word.casefold()).ratio() for word in words}
    best = max(likeness.values(), default=0.0)
    close = [word for word, ratio in likeness.items() if ratio >= max(_ALIKE, best - _AS_ALIKE)]
    if not close:
        close = [word for word in likeness if low.rstrip("s") in word.casefold()] if low else []
    return sorted(close, key=lambda word: (-likeness[word], word))[:_SHOWN]


def _bare(word: str) -> str:
    return word.casefold().replace("_", "-").replace(" ", "-")
