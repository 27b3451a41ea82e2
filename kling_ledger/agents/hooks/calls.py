"""Tool calls: what an agent is about to do, in a form common to all agents."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kling_pricing.errors import KlingError

OUR_SERVER: Final = "kling_ledger"
"""The name of our MCP server in tool names, once they are normalised."""

_READING: Final = """
    read write edit multiedit notebookedit notebookread grep glob ls todowrite websearch webfetch
    task agent exitplanmode read_file write_file patch apply_patch search_files todo memory
    session_search skill skill_view skill_manage skills_list delegate_task clarify web_search
    web_fetch web_extract memory_search memory_get sessions_send sessions_spawn image
    update_plan message browser_navigate
"""
LEFT_ALONE: Final = frozenset(_READING.split())
"""Tools that start no program and call addresses only to read them, in lower case.

What they write into a file is checked when the file is run.
"""

_COMMANDS: Final = ("command", "cmd", "script")
"""Arguments that hold a shell's command line."""

_LONGEST: Final = 256 * 1024


class CallError(KlingError):
    """The agent's input is not a valid tool call."""

    code = "tool_call"

    def __init__(self, problem: str) -> None:
        super().__init__(problem, hint="is the hook installed for the agent that calls it?")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool: its name, its arguments, and the folder that the agent works in."""

    tool: str
    arguments: Mapping[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        """The tool's name in a form common to all agents: `mcp__kling_ledger__run`."""
        return self.tool.casefold().replace("-", "_")

    @property
    def sends_nothing(self) -> bool:
        """Whether the tool starts no program and calls addresses only to read them."""
        return self.name in LEFT_ALONE

    @property
    def our_tool(self) -> str | None:
        """The name of our MCP server's tool, or None for any other tool."""
        _, found, tool = self.name.partition(OUR_SERVER)
        return tool.lstrip("_.:/") if found else None

    @property
    def command(self) -> str | None:
        """The command line of a shell tool, or None for any other tool."""
        for name in _COMMANDS:
            given = self.arguments.get(name)
            if isinstance(given, list):
                # One word is a command line by itself.
                given = shlex.join(map(str, given)) if len(given) > 1 else "".join(map(str, given))
            if isinstance(given, str):
                return given
        return None

    @property
    def variables(self) -> dict[str, str]:
        """The variables that the arguments set for a command."""
        given = self.arguments.get("env")
        return {str(k): str(v) for k, v in given.items()} if isinstance(given, Mapping) else {}

    @property
    def text(self) -> str:
        """Every text in the arguments, one per line. CallError if they are too long."""
        text = "\n".join(_texts(self.arguments))
        if len(text) > _LONGEST:
            raise CallError(f"its arguments are longer than {_LONGEST:,} characters")
        return text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def is_reading(arguments: Mapping[str, Any]) -> bool:
    """Whether an HTTP tool's arguments name a method that only reads."""
    return bool(re.fullmatch("get|head", str(arguments.get("method", "")).casefold()))
