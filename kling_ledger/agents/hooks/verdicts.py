"""Verdicts: a hook's decision on a tool call, with a reason that the agent can act on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Decision(StrEnum):
    """The decision on a tool call."""

    LEAVE = "leave"
    """The hook says nothing: the agent's own rules decide, as without the hook."""
    ASK = "ask"
    """A person is asked first."""
    DENY = "deny"
    """The call does not run, and the model gets the reason and an alternative."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and its reason; only LEAVE needs none."""

    decision: Decision
    reason: str = ""


LEAVE: Final = Verdict(Decision.LEAVE)


def deny(reason: str) -> Verdict:
    """Return the verdict that a call must not run."""
    return Verdict(Decision.DENY, reason)


def ask(reason: str) -> Verdict:
    """Return the verdict that a person decides."""
    return Verdict(Decision.ASK, reason)


def broken(problem: str) -> Verdict:
    """Return the verdict of a hook that failed: an unchecked call may not run."""
    return deny(
        f"kling-ledger could not check this call, so it was denied: {problem}. Stop, and tell the "
        "person you work for; do not look for a way around this hook."
    )
