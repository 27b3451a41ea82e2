"""Dialects: how each agent passes a tool call to a hook, and how it is answered.

Source: https://code.claude.com/docs/en/hooks; the package openclaw 2026.9.6, docs/plugins/hooks/;
the package hermes-agent 0.19.0, hermes_cli/plugins.py and agent/shell_hooks.py; checked 2026-11-27.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kling_ledger.agents.hooks.calls import CallError, ToolCall
from kling_ledger.agents.hooks.verdicts import Decision, Verdict, deny

_APPROVAL_MS: Final = 120_000


@dataclass(frozen=True, slots=True)
class Dialect:
    """One agent's input and output format.

    `answer` returns the JSON of a verdict; None for no output. `blocking_code` is the exit code
    that blocks the call after a failure, with the reason on standard error.
    """

    name: str
    answer: Callable[[Verdict, Mapping[str, Any]], dict[str, Any] | None]
    blocking_code: int


def read_call(text: bytes) -> tuple[ToolCall, dict[str, Any]]:
    """Return the tool call in an agent's JSON, and all of that JSON."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise CallError("the agent's input is not JSON") from None
    tool = told.get("tool_name") if isinstance(told, dict) else None
    if not isinstance(tool, str) or not tool:
        raise CallError("the agent's input names no tool")
    arguments = told.get("tool_input") or {}
    if not isinstance(arguments, dict):
        raise CallError(f"the arguments of {tool} are not a JSON object")
    folder = Path(str(told.get("cwd") or "."), str(arguments.get("workdir") or "."))
    return ToolCall(tool, arguments, folder), told


def _claude_code(verdict: Verdict, told: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001
    if verdict.decision is Decision.LEAVE:
        return None
    said = {
        "hookEventName": "PreToolUse",
        "permissionDecision": str(verdict.decision),
        "permissionDecisionReason": verdict.reason,
    }
    return {"hookSpecificOutput": said}


def _openclaw(verdict: Verdict, told: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    if verdict.decision is Decision.LEAVE:
        return {}
    if verdict.decision is Decision.DENY:
        return {"block": True, "blockReason": verdict.reason}
    approval = {
        "title": "Kling job",
        "description": verdict.reason,
        "severity": "warning",
        "timeoutMs": _APPROVAL_MS,
        "timeoutBehavior": "deny",
    }
    return {"requireApproval": approval}


def _hermes(verdict: Verdict, told: Mapping[str, Any]) -> dict[str, Any]:
    if verdict.decision is Decision.LEAVE:
        return {}
    # A shell hook of Hermes, unlike a plugin, cannot ask: unknown answers are allowed.
    if verdict.decision is Decision.ASK and "hook_event_name" in told:
        verdict = deny(verdict.reason)
    action = "approve" if verdict.decision is Decision.ASK else "block"
    return {"action": action, "message": verdict.reason}


DIALECTS: Final = {
    dialect.name: dialect
    for dialect in (
        Dialect("claude-code", _claude_code, blocking_code=2),
        Dialect("openclaw", _openclaw, blocking_code=1),
        Dialect("hermes", _hermes, blocking_code=1),
    )
}
"""The agents that have a hook, by their names on the command line."""
