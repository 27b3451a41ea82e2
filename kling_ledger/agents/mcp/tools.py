"""Tools: their names, what a model is told of them, and what answers each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kling_ledger.agents.mcp import arguments
from kling_ledger.agents.mcp.arguments import Arguments
from kling_ledger.agents.mcp.desk import Desk
from kling_ledger.agents.mcp.told import Told

INSTRUCTIONS: Final = (
    "Kling video clips cost money by the second. Ask `quote` or `check` before `run`. Only `run`"
    " spends; it is refused where the wallet, a budget or the ceiling does not hold enough, and the"
    " answer says what would fit. Never send a job to a provider in another way than by `run`."
)


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """One tool: its title, its description, what it takes, what answers it, what it may do."""

    title: str
    description: str
    takes: type[Arguments]
    answer: Callable[[Desk, Any], Told]
    spends: bool = False


TOOLS: Final[Mapping[str, ToolFacts]] = {
    "quote": ToolFacts(
        "Price of a clip",
        "What one clip costs at one provider, and why. Free: nothing is set aside or sent.",
        arguments.ClipOrBody,
        Desk.quote,
    ),
    "compare": ToolFacts(
        "Cheapest seller",
        "One clip at every seller that makes it, cheapest first. Free: nothing is set aside.",
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
        "Would it be admitted",
        "Whether `run` would be admitted now by wallet, budgets and ceiling, what stands in the"
        " way, and what would fit instead: seconds, resolution, no sound, another seller. Free:"
        " nothing is set aside or sent.",
        arguments.Check,
        Desk.check,
    ),
    "run": ToolFacts(
        "Make a clip (spends money)",
        "SPENDS MONEY: reserves credits and submits one clip to its provider, which charges for"
        " it. Give max_cost, the most that it may cost, and a key of your own: the same key never"
        " pays twice. It returns once the job is submitted, or after wait_s; ask `status` for the"
        " end. A refusal costs nothing and says what would fit.",
        arguments.Run,
        Desk.run,
        spends=True,
    ),
    "status": ToolFacts(
        "How a job stands",
        "How a job that `run` started stands, what it cost and where its clip is. Free. It is"
        " settled whether you ask or not.",
        arguments.Status,
        Desk.status,
    ),
    "spend": ToolFacts(
        "What was spent",
        "What was spent in a time, by project, provider, model or label. Free.",
        arguments.Spend,
        Desk.spend,
    ),
}
"""Every tool by its name, in the order in which they are listed."""
