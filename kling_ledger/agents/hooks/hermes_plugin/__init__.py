"""The plugin of Hermes Agent: asks `kling-ledger hook hermes` before each call of a tool.

It is copied into the agent's plugin folder, beside `command.json`, and imports none of our code.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

_TIMEOUT_S = 15


def before(tool_name: str = "", args: Any = None, **_: Any) -> dict[str, str] | None:
    """Return what Hermes should do with a call: block it, ask a person, or nothing (None).

    A hook that raises would let the call through, so this one never raises.
    """
    try:
        settings = json.loads((Path(__file__).parent / "command.json").read_text("utf-8"))
        if tool_name in settings["left_alone"]:
            return None
        asked = {"tool_name": tool_name, "tool_input": args or {}, "cwd": str(Path.cwd())}
        answered = subprocess.run(  # noqa: S603 - the command that a person has installed
            settings["command"],
            input=json.dumps(asked, default=str),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
        answer: dict[str, str] = json.loads(answered.stdout)
    except Exception as problem:  # noqa: BLE001 - whatever it is, the call must not run
        return _blocked(problem)
    return answer or None


def _blocked(problem: Exception) -> dict[str, str]:
    said = str(getattr(problem, "stderr", None) or problem)[-500:]
    reason = f"kling-ledger could not check this call, so it was denied: {said}"
    return {"action": "block", "message": reason}


def register(ctx: Any) -> None:
    """Make Hermes call `before` before each tool call."""
    ctx.register_hook("pre_tool_call", before)
