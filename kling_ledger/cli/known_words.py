"""Known words: units, providers and models that nobody knows would limit nothing, for ever."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

import click

from kling_pricing.money import USD, Money

if TYPE_CHECKING:
    from kling_ledger.ledger import Ledger
    from kling_pricing.library import Library

_SHOWN: Final = 3

unknown_option = click.option(
    "--unknown",
    "takes_unknown",
    is_flag=True,
    help="Take a unit, provider or model that nobody knows, as it is written.",
)
"""Add --unknown, which reaches the command as `takes_unknown`."""


def known_unit(written: str, ledger: Ledger, library: Library) -> str:
    """Return a unit as it is known: by a wallet, or by a price book. UsageError for another."""
    quick = {USD, *(wallet.unit for wallet in ledger.wallets.all())}
    if written in quick:
        return written
    return known("unit", written, quick | library.units())


def in_known_unit(money: Money, ledger: Ledger, library: Library) -> Money:
    """Return an amount in its unit as that is known."""
    return Money(money.amount, known_unit(money.unit, ledger, library))


def known_provider(written: str, library: Library) -> str:
    """Return a provider by the name of its price book. UsageError for another."""
    return known("provider", written, library.providers)


def known_model(written: str, provider: str | None, library: Library) -> str:
    """Return a model that a provider makes, or any where none is named. UsageError for another."""
    sellers = library.providers if provider is None else (provider,)
    models = {model for seller in sellers for model in library.book(seller).models}
    return known("model", written, models)


def known(noun: str, written: str, words: Collection[str]) -> str:
    """Return a word as it is known; capitals are forgiven where one word alone is meant."""
    if written in words:
        return written
    same = [word for word in words if word.casefold() == written.casefold()]
    if len(same) == 1:
        return same[0]
    alike = _alike(written, words)
    meant = f": did you mean {' or '.join(alike)}?" if alike else "."
    raise click.UsageError(
        f"nobody knows a {noun} {written}{meant} --unknown takes it as it is written"
    )


def _alike(written: str, words: Iterable[str]) -> list[str]:
    import difflib

    by_word = {word.casefold(): word for word in words}
    low = written.casefold()
    close = difflib.get_close_matches(low, by_word, n=_SHOWN, cutoff=0.6)
    within = sorted(word for word in by_word if low.rstrip("s") in word or word in low)
    return [by_word[word] for word in dict.fromkeys([*close, *within])][:_SHOWN]
