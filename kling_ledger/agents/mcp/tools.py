"""Tools: their names, descriptions and handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kling_ledger.agents.mcp import arguments
from kling_ledger.agents.mcp.arguments import Arguments
from kling_ledger.agents.mcp.desk import Desk
from kling_ledger.agents.mcp.told import Told

INSTRUCTIONS: Final = (
    "Kling video clips cost money by the second. Ask `quote` or `check` before `run`. Only `run` "
    "spends; it is refused if the wallet, a budget or the ceiling is too low, and the answer says "
    "what would fit. Send jobs to providers only with `run`."
)


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """One tool: its title, description, arguments, handler, and side effects."""

    title: str
    description: str
    takes: type[Arguments]
    answer: Callable[[Desk, Any], Told]
    spends: bool = False


TOOLS: Final[Mapping[str, ToolFacts]] = {
    "quote": ToolFacts(
        "Price of a clip",
        "The price of one clip at one provider, with its parts. Free: nothing is reserved or sent.",
        arguments.ClipOrBody,
        Desk.quote,
    ),
    "compare": ToolFacts(
        "Cheapest seller",
        "One clip at every provider that makes it, cheapest first. Free: nothing is reserved.",
        arguments.Look,
        Desk.compare,
    ),
    "afford": ToolFacts(
        "What a sum buys",
        "How many such clips a sum buys, the longest and the best one. Free.",
        arguments.Afford,
        Desk.afford,
    ),
    "check": ToolFacts(
        "Check whether a clip would be admitted",
        "Whether wallet, budgets and ceiling would admit `run` now, what blocks it, and what "
        "would fit instead: fewer seconds, lower resolution, no sound, another provider. Free: "
        "nothing is reserved or sent.",
        arguments.Check,
        Desk.check,
    ),
    "run": ToolFacts(
        "Make a clip (spends money)",
        "SPENDS MONEY: reserves credits and submits one clip to its provider, which charges for "
        "it. Give max_cost, the most that it may cost, and your own key: the same key never pays "
        "twice. It returns once the job is submitted, or after wait_s; ask `status` for the end. A "
        "refusal costs nothing and says what would fit.",
        arguments.Run,
        Desk.run,
        spends=True,
    ),
    "status": ToolFacts(
        "State of a job",
        "The state of a job started by `run`, its cost and its clips. Free. Jobs are settled "
        "whether or not you ask.",
        arguments.Status,
        Desk.status,
    ),
    "spend": ToolFacts(
        "What was spent",
        "What was spent in a period, by project, provider, model or label. Free.",
        arguments.Spend,
        Desk.spend,
    ),
}
"""Every tool by name, in the order in which they are listed."""
