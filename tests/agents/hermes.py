"""Hermes Agent 0.19: `pip install 'hermes-agent[mcp]==0.19.0'` in an environment of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.agents.agent import Agent, server
from tests.agents.scripted_model import MODEL, ScriptedModel, ToolCall


class Hermes(Agent):
    """Its home holds `config.yaml`. `chat -q` asks once and `--yolo` asks nobody back.

    `-z` asks once too, but never waits for MCP servers: whether their tools are there is luck.
    """

    variable = "HERMES"
    shell = "terminal"
    hook = "hermes"
    plugins = ".hermes/plugins/kling-ledger"

    @classmethod
    def with_server(cls, words: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
        # It gives servers a second and a half to start, and then begins without their tools.
        return {"mcp_servers": server(words, environ), "mcp_discovery_timeout": 60}

    @classmethod
    def server_call(cls, tool: str, arguments: dict[str, Any]) -> ToolCall:
        return ToolCall(f"mcp__kling_ledger__{tool}", arguments)

    @classmethod
    def with_hook(cls, folder: Path) -> dict[str, Any]:
        return {"plugins": {"enabled": [folder.name]}}

    def write_settings(self, model: ScriptedModel) -> None:
        served = {"default": MODEL, "provider": "custom", "base_url": model.url, "api_key": "none"}
        settings = {"model": served, "terminal": {"backend": "local"}, **self.settings}
        # It looks for its home here unless HERMES_HOME names another; what is JSON is YAML too.
        folder = self.home / ".hermes"
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").write_text(json.dumps(settings))

    def words(self, question: str) -> list[str]:
        return ["chat", "-Q", "-q", question, "--yolo"]
