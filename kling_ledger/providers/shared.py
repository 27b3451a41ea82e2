"""What every provider does alike with requests and answers, whatever carries them."""

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
    """Return a task's id as written in a URL."""
    quoted = quote(task_id, safe="")
    # An id of dots alone would lead to another URL.
    return quoted if task_id.strip(".") else quoted.replace(".", "%2E")


def facts_of(facts: ProviderFacts, missing: Collection[str]) -> ProviderFacts:
    """Return what is known of a provider, given which models have no estimate."""
    return replace(facts, estimates=False) if EVERY_MODEL in missing else facts


def missing_estimate(answer: Answer, code: int, model: str) -> str | None:
    """Return the model that an answer says has no estimate, or None if it does not say so.

    An answer with the provider's own code is about the requested model; a status like 404 without
    one means that there is no such endpoint, so no model has an estimate.
    """
    own = inner(answer.body, "code") or inner(answer.body, "error", "code")
    if own is None:
        return EVERY_MODEL if answer.status in _NO_SUCH_ADDRESS else None
    return model if code == NOT_FOUND else None


def without_key(status: TaskStatus, secret: Secret | None, address: str) -> TaskStatus:
    """Return a task's status with complete links, and the key removed everywhere."""
    videos = absolute(status.videos, address)
    if secret is None:
        return replace(status, videos=videos)
    return replace(
        status,
        videos=secret.left_out_of(videos),
        problem=status.problem and secret.hidden_in(status.problem),
        word=secret.left_out_of(status.word),
        # A reply from a client's own model is not plain JSON: it stays with the caller of that
        # client.
        reply=secret.left_out_of(status.reply),
    )
