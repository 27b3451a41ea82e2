"""What every provider does alike with what it is asked and told, whatever carries its requests."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from kling_ledger.providers.base import TaskStatus
from kling_ledger.providers.facts import ProviderFacts
from kling_ledger.providers.http import Secret
from kling_ledger.providers.replies import NOT_FOUND, Answer, absolute, inner

EVERY_MODEL: Final = ""
"""Stands for all models where a provider has no estimate at all."""

_NO_SUCH_ADDRESS: Final = frozenset({NOT_FOUND, 405, 501})


def in_address(task_id: str) -> str:
    """Return a task's id as it is written in an address."""
    quoted = quote(task_id, safe="")
    # Dots alone would lead to another address.
    return quoted if task_id.strip(".") else quoted.replace(".", "%2E")


def facts_of(facts: ProviderFacts, missing: Collection[str]) -> ProviderFacts:
    """Return what is known of a provider, once it is known which models have no estimate."""
    return replace(facts, estimates=False) if EVERY_MODEL in missing else facts


def missing_estimate(answer: Answer, code: int, model: str) -> str | None:
    """Return which model an answer says there is no estimate for, None where it says no such thing.

    An answer with a code of the provider's own is about the model that was asked for; any other
    one comes from where there is nobody to ask.
    """
    own = inner(answer.body, "code") or inner(answer.body, "error", "code")
    if own is None:
        return EVERY_MODEL if answer.status in _NO_SUCH_ADDRESS else None
    return model if code == NOT_FOUND else None


def without_key(status: TaskStatus, secret: Secret | None, address: str) -> TaskStatus:
    """Return what was told of a task with its links made whole, and the key nowhere in it."""
    videos = absolute(status.videos, address)
    if secret is None:
        return replace(status, videos=videos)
    return replace(
        status,
        videos=secret.left_out_of(videos),
        problem=status.problem and secret.hidden_in(status.problem),
        word=secret.left_out_of(status.word),
        # A reply of a client's own is no plain JSON: it stays with whoever brought the client.
        reply=secret.left_out_of(status.reply),
    )
