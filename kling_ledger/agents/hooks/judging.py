"""Judging: may this tool call run, must a person be asked, or would it bypass the limits?

If it cannot decide it asks; if it cannot check it denies.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from kling_ledger.agents.hooks.calls import ToolCall, is_reading
from kling_ledger.agents.hooks.doors import Door, door_in
from kling_ledger.agents.hooks.programs import OURS, READS, program
from kling_ledger.agents.hooks.scripts import MODULE, run_by
from kling_ledger.agents.hooks.shell import Pipeline, with_values
from kling_ledger.agents.hooks.verdicts import LEAVE, Decision, Verdict, ask, deny

_SETS: Final = frozenset(("export", "set", "alias"))
_PROVIDERS_TOOL: Final = re.compile(r"kling|runapi|crun|evolink|uniall")
_MAKES: Final = re.compile(r"(?:create|generat|submit|video|avatar|motion)\w*|run|make")
_ONLY_ASKS: Final = frozenset(
    ("get", "list", "check", "status", "price", "prices", "pricing", "quote", "search", "describe")
)

RunJudge = Callable[[Sequence[str], Path], Verdict]
"""Judges `kling-ledger` with these words, in this folder, by what it would cost."""
ToolJudge = Callable[[str, Mapping[str, Any]], Verdict]
"""Judges a tool of our MCP server with these arguments, by what it would cost."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a hook.

    `of_run` and `of_tool` check calls of kling-ledger. `gateway` is the gateway's address, for the
    answers. `environ` is the commands' environment; `is_under_exec` says that the agent itself runs
    under `kling-ledger exec`, which meters every job.
    """

    of_run: RunJudge
    of_tool: ToolJudge
    gateway: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    is_under_exec: bool = False


def judge(call: ToolCall, rules: Rules) -> Verdict:
    """Return the verdict on a tool call."""
    if call.sends_nothing:
        return LEAVE
    if call.our_tool is not None:
        return rules.of_tool(call.our_tool, call.arguments)
    text = call.text
    if call.command is not None:
        return _of_command(call, call.command, rules)
    if _is_providers_tool(call.name):
        return deny(
            f"the tool {call.tool} would start a job at a provider and bypass the spending limits. "
            + _instead(None, rules)
        )
    if is_reading(call.arguments):
        return LEAVE
    return _of_text(text, rules)


def _is_providers_tool(name: str) -> bool:
    """Whether an MCP server's tool, by both names, makes clips at a provider."""
    if not (name.startswith("mcp") or "__" in name) or not _PROVIDERS_TOOL.search(name):
        return False
    words = set(name.split("_"))
    return any(map(_MAKES.fullmatch, words)) and not words & _ONLY_ASKS


def _of_command(call: ToolCall, command: str, rules: Rules) -> Verdict:
    environ = {**rules.environ, **call.variables}
    run = list(run_by(with_values(command, environ), call.folder))
    others = [text for one in run for text in ([one] if isinstance(one, str) else _unguarded(one))]
    verdict = _of_text("\n".join(others), replace(rules, environ=environ))
    if verdict.decision is not Decision.LEAVE:
        return verdict
    calls = (words for one in run if isinstance(one, Pipeline) for words in _calls_of_ours(one))
    return _first_of(rules.of_run(words, call.folder) for words in calls)


def _unguarded(pipeline: Pipeline) -> Iterator[str]:
    """Yield the text of a pipeline that could send an unmetered job."""
    programs = set(pipeline.programs)
    if not programs:
        # What an assignment runs is a pipeline of its own.
        yield pipeline.without_substitutions
    elif programs - {OURS} - READS or programs & _SETS:
        yield pipeline.text


def _calls_of_ours(pipeline: Pipeline) -> Iterator[Sequence[str]]:
    """Yield the words after each call of ours, also one that another program makes, or `exec`."""
    for words in pipeline.commands:
        if words and program(words[0]) not in READS:
            yield from (words[at + 1 :] for at in range(len(words)) if _is_ours(words, at))


def _is_ours(words: Sequence[str], at: int) -> bool:
    is_module = at > 0 and MODULE.fullmatch(words[at - 1]) is not None
    if is_module and words[at] == OURS.replace("-", "_"):
        return True
    return program(words[at]) == OURS


def _first_of(verdicts: Iterator[Verdict]) -> Verdict:
    """Return the first of the strictest verdicts."""
    found = [one for one in verdicts if one.decision is not Decision.LEAVE]
    denied = [one for one in found if one.decision is Decision.DENY]
    return (denied or found or [LEAVE])[0]


def _of_text(text: str, rules: Rules) -> Verdict:
    door = door_in(with_values(text, rules.environ)) if text else None
    if door is None or (rules.is_under_exec and not _leaves_proxy(text)):
        return LEAVE
    if door.is_seen:
        return deny(
            f"this would send a job to {door.provider} ({door.address}) and bypass the "
            "spending limits. " + _instead(door, rules)
        )
    return ask(
        f"this may send a job to {door.provider} and bypass the spending limits: it contains "
        f"{door.address}, and its destination cannot be determined. " + _instead(door, rules)
    )


def _leaves_proxy(text: str) -> bool:
    return bool(re.search(r"no_?proxy|https?_proxy\s*=|-u\s+https?_proxy|unset\s", text.casefold()))


def _instead(door: Door | None, rules: Rules) -> str:
    provider = door.provider if door else "PROVIDER"
    through = (
        f"send the same request to {rules.gateway.rstrip('/')}/{provider}, "
        if rules.gateway
        else "send the same request through the gateway if there is one, "
    )
    return (
        f"Do this instead: kling-ledger run --provider {provider} --request body.json "
        f'--wallet NAME --max-cost "AMOUNT UNIT" --key YOUR-ID; or {through}or put '
        f'"kling-ledger exec --wallet NAME -- " in front of the command. What it would cost: '
        f"kling-ledger quote --provider {provider} --request body.json"
    )
