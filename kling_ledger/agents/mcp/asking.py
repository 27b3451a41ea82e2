"""Asking: turns a client's arguments into a clip or a body, and a quote into an answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from kling_ledger.agents.mcp.arguments import ClipOrBody, Look
from kling_ledger.agents.mcp.settings import McpSettings
from kling_ledger.errors import ConfigError
from kling_pricing.afford import Affordable
from kling_pricing.clip import ACTIONS, Clip, option_in_words
from kling_pricing.compare import wanted_clip
from kling_pricing.gateways import GATEWAYS, read_request, write_request
from kling_pricing.money import plain, plain_or_none
from kling_pricing.quote import Quote, quote

_OPTIONS: Final = ("seconds", "resolution", "sound", "action")
_ANY_PROMPT: Final = "any"

Asking = tuple[str, dict[str, Any], str | None]
"""A provider, the body to send, and the action if the provider has it in the URL."""


def quoted_for(
    given: ClipOrBody, settings: McpSettings, *, at: datetime
) -> tuple[Quote, tuple[str, ...]]:
    """Return the price of a clip or a body, and what was assumed about the body.

    Raises ClipError, RequestError and NoPriceError.
    """
    book = settings.library.book(_provider(given, settings))
    if given.body is not None:
        request = read_request(book.provider, _only_body(given), action=given.action)
        return request.quote(at=at, book=book), request.assumptions
    model = _needed(given.model, "model")
    actions = book.actions_of(model)
    options = {"action": actions[0] if actions else ACTIONS[0], **_said(given)}
    return quote(Clip(book.provider, model, **options), at=at, book=book), ()


def body_of(given: ClipOrBody, settings: McpSettings, *, any_prompt: bool = False) -> Asking:
    """Return the given body, or one that asks for the given clip.

    Raises RequestError. If only a price is wanted, any prompt will do.
    """
    provider = _provider(given, settings)
    if given.body is not None:
        return provider, _only_body(given), given.action
    prompt = given.prompt or (_ANY_PROMPT if any_prompt else None)
    clip = Clip(provider, _needed(given.model, "model"), **_said(given))
    written = write_request(clip, prompt=_needed(prompt, "prompt"), image_url=given.image_url)
    return provider, written.body, written.clip.action


def wanted(given: Look) -> Clip:
    """Return the clip in the question, whoever makes it. Raises ClipError."""
    return wanted_clip(**_said(given))


def in_words(quoted: Quote) -> str:
    """Describe what is priced: `runapi kling-3.0 text_to_video 5 s 1080p with sound`."""
    made = quoted.priced
    options = {name: getattr(made, name) for name in ("seconds", "resolution", "sound")}
    said = [option_in_words(name, value) for name, value in options.items() if value is not None]
    return " ".join([made.provider, made.model, made.action, *said])


def offer(quoted: Quote) -> dict[str, Any]:
    """Return one seller's price."""
    return {
        "provider": quoted.clip.provider,
        "model": quoted.clip.model,
        "amount": plain(quoted.amount.amount),
        "unit": quoted.unit,
        "usd": plain_or_none(quoted.usd),
        "evidence": quoted.evidence,
        "checked": quoted.rate.source.checked.isoformat(),
        "can_run": quoted.clip.provider in GATEWAYS,
    }


def affordable(option: Affordable) -> dict[str, Any]:
    """Return what a sum buys from one seller."""
    cost, longest, best = option.cost, option.longest, option.best
    return {
        "provider": option.provider,
        "clips": option.clips,
        "each": None if cost is None else offer(cost),
        "longest_s": None if longest is None else str(longest.clip.seconds),
        "longest": None if longest is None else offer(longest),
        "best": None if best is None else {**offer(best), "clip": in_words(best)},
    }


def _said(given: ClipOrBody | Look) -> dict[str, Any]:
    said = {name: getattr(given, name) for name in _OPTIONS}
    return {name: value for name, value in said.items() if value is not None}


def _provider(given: ClipOrBody, settings: McpSettings) -> str:
    return _needed(given.provider or settings.provider, "provider")


def _needed(value: str | None, name: str) -> str:
    if value is None:
        raise ConfigError(f"give the {name} of the clip", hint="or give the provider's own body")
    return value


def _only_body(given: ClipOrBody) -> dict[str, Any]:
    """Return the body; ConfigError if a clip is given in words too: only one can be meant."""
    words = ("model", "prompt", "image_url", "seconds", "resolution", "sound")
    both = [name for name in words if getattr(given, name) is not None]
    if both:
        raise ConfigError(f"the body already says it: omit {both[0]}")
    return given.body or {}
