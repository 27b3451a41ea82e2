"""OpenClaw 2026.9.6: `npm install node@24 openclaw@2026.9.6`, 800 MB, so by hand and never in CI.

    PATH=FOLDER/node_modules/node/bin:$PATH OPENCLAW=FOLDER/node_modules/.bin/openclaw \\
        pytest -m agents -n 0 -k OpenClaw
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.agents.agent import Agent, server
from tests.agents.scripted_model import MODEL, ScriptedModel, ToolCall

_COSTS_NOTHING: Final = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}


class OpenClaw(Agent):
    """Its home holds `openclaw.json`; `agent --local` asks once, with its plugins.

    `agent exec` asks once too, but loads no hook of a plugin.
    """

    variable = "OPENCLAW"
    shell = "exec"
    hook = "openclaw"
    plugins = "kling-ledger-hook"

    @classmethod
    def with_server(cls, words: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
        return {"mcp": {"servers": server(words, environ)}}

    @classmethod
    def server_call(cls, tool: str, arguments: dict[str, Any]) -> ToolCall:
        # What a server brings is not offered by name: it is found and called by one tool.
        return ToolCall("tool_call", {"id": f"kling-ledger__{tool}", "args": arguments})

    @classmethod
    def with_hook(cls, folder: Path) -> dict[str, Any]:
        entries = {"kling-ledger": {"enabled": True}}
        return {"plugins": {"load": {"paths": [str(folder)]}, "entries": entries}}

    def write_settings(self, model: ScriptedModel) -> None:
        known = {
            "id": MODEL,
            "name": MODEL,
            "reasoning": False,
            "input": ["text"],
            "cost": _COSTS_NOTHING,
            "contextWindow": 128_000,
            "maxTokens": 8192,
        }
        served = {
            "baseUrl": model.url,
            "apiKey": "none",
            "api": "openai-completions",
            "models": [known],
        }
        settings = {
            "models": {"providers": {"vllm": served}},
            "agents": {"defaults": {"model": {"primary": f"vllm/{MODEL}"}}},
            **self.settings,
        }
        folder = self.home / ".openclaw"
        folder.mkdir(exist_ok=True)
        (folder / "openclaw.json").write_text(json.dumps(settings))

    def words(self, question: str) -> list[str]:
        return ["agent", "--local", "--agent", "main", "--message", question]
