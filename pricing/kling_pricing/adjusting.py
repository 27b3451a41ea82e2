"""A clip as its provider will make it, before its price is looked up."""

from __future__ import annotations

from kling_pricing.book import Offer
from kling_pricing.book_values import Options
from kling_pricing.clip import Clip
from kling_pricing.errors import ClipError, Problem
from kling_pricing.vocabulary import option_in_words


def adjusted(clip: Clip, offer: Offer) -> tuple[Clip, tuple[str, ...]]:
    """Return the clip as the provider will make it, and what was changed on the way."""
    priced = _with_fixed(clip, offer.fixed)
    unsaid = {
        name: value for name, value in offer.rate.defaults.items() if getattr(priced, name) is None
    }
    priced = priced.with_options(unsaid) if unsaid else priced
    notes = [
        f"{name} is not given: {offer.rate.provider_name} takes {option_in_words(name, value)}"
        for name, value in unsaid.items()
    ]
    # In the book's order: each rule applies to what the earlier ones left.
    for rule in offer.rate.forced:
        changed = _changes(priced, rule.sets)
        if priced.meets(rule.when) and changed:
            notes.append(rule.because)
            priced = priced.with_options(changed)
    return priced, tuple(notes)


def _with_fixed(clip: Clip, fixed: Options) -> Clip:
    """Return the clip with what the model's id fixes; ClipError if it asks otherwise."""
    problems = [
        Problem(
            name,
            getattr(clip, name),
            f"{option_in_words(name, value)}, as {clip.model} always makes it",
        )
        for name, value in fixed.items()
        if getattr(clip, name) not in {None, value}
    ]
    if problems:
        raise ClipError(problems)
    changed = _changes(clip, fixed)
    return clip.with_options(changed) if changed else clip


def _changes(clip: Clip, options: Options) -> Options:
    return {name: value for name, value in options.items() if getattr(clip, name) != value}
