"""Why a clip has no price: what is missing, not listed, or not mentioned by the book."""

from __future__ import annotations

from kling_pricing.billing import length_problems
from kling_pricing.book import Rate
from kling_pricing.clip import Clip
from kling_pricing.errors import MISSING, ClipError, NoPriceError, Problem
from kling_pricing.vocabulary import option_in_words


def action_hint(provider: str, model: str, action: str) -> str | None:
    """Return how a model does what it has no action for, or None if it cannot."""
    if (provider, action) != ("runapi", "image_to_video"):
        return None
    from kling_pricing.gateways.runapi.contract import frame_hint

    return frame_hint(model)


def unheard_of(clip: Clip, name: str, rate: Rate) -> NoPriceError:
    """Return the error for an option that the rate does not mention."""
    wanted = option_in_words(name, getattr(clip, name))
    return NoPriceError(
        f"{clip.provider} {clip.model} {wanted}",
        known=rate.cells_in_words,
        hint=f"{rate.provider_name} lists no choice of {name.replace('_', ' ')} here: leave it out",
    )


def unlisted(clip: Clip, rate: Rate) -> ClipError | NoPriceError:
    """Return the error for a clip without a cell: it says too little, or it is not sold."""
    problems = [
        Problem(name, MISSING, _listed(rate, name))
        for name in rate.dimensions
        if getattr(clip, name) is None
    ]
    if problems:
        return ClipError([*problems, *length_problems(clip, rate)])
    # An impossible length is reported as such, not as a cell that is not sold.
    if "seconds" in rate.dimensions and (wrong := length_problems(clip, rate)):
        return ClipError(wrong)
    asked = f"{clip.provider} {clip.model} {rate.described(clip)}"
    return NoPriceError(asked, known=rate.cells_in_words)


def _listed(rate: Rate, dimension: str) -> str:
    position = rate.dimensions.index(dimension)
    listed = (cell[position] for cell in rate.prices if cell[position] is not None)
    words = [option_in_words(dimension, value) for value in listed]
    return ", ".join(dict.fromkeys(words))
