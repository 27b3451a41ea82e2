"""Told: a tool's answer, as data for programs and as a few lines for the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kling_ledger.errors import CeilingError, JobInDoubtError, JobRefusedError, RefusedError
from kling_ledger.errors.facts import error_dict
from kling_ledger.jobs.fitting import Fit
from kling_pricing.errors import KlingError

HintFor = Callable[[KlingError], str | None]
"""Returns what a person may do about an error: the command that helps."""


@dataclass(frozen=True, slots=True)
class Told:
    """An answer: JSON in which amounts are strings, and text. An error is an answer too."""

    content: dict[str, Any]
    text: str
    is_error: bool = False


def told_error(error: KlingError, hint_for: HintFor, *, fit: Fit | None = None) -> Told:
    """Return an error as an answer with the reason and what to do about it."""
    # An agent cannot raise a command-line option.
    is_own = isinstance(error, CeilingError) and error.budget is None
    hint = error.hint if is_own else hint_for(error)
    lines = [error.message]
    if fit is not None:
        lines.append(f"would fit: {'; '.join(fit.told)}")
    if hint:
        lines.append(f"hint: {hint}")
    lines.append(_became(error))
    facts: dict[str, Any] = error_dict(error, hint)
    command = getattr(error, "command", None)
    if command:
        facts["command"] = command
    if fit is not None:
        facts["would_fit"] = fit.as_dict()
    return Told({"error": facts}, "\n".join(line for line in lines if line), is_error=True)


def _became(error: KlingError) -> str:
    """Say what happened to the credits: an agent must know before it retries."""
    if isinstance(error, RefusedError):
        return "Nothing was reserved and nothing was sent."
    if isinstance(error, JobRefusedError):
        return "The provider did not accept the job; its credits were returned."
    if isinstance(error, JobInDoubtError):
        return (
            "It is unknown whether the provider accepted the job: its credits stay reserved. Do "
            "not run it under another key."
        )
    return ""
