"""Installing: makes each agent ask the hook, and block the call if the hook crashes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

from kling_ledger.agents.hooks.calls import LEFT_ALONE
from kling_ledger.errors import ConfigError

_MATCHER: Final = "Bash|PowerShell|mcp__.+"
"""Claude Code's tools that start programs, and all tools of MCP servers."""

_TIMEOUT_S: Final = 15
_PLUGINS: Final = {
    "hermes": ("plugin.yaml", "__init__.py"),
    "openclaw": ("package.json", "openclaw.plugin.json", "index.js"),
}


def claude_code_entry(words: Sequence[str]) -> dict[str, Any]:
    """Return the `hooks.PreToolUse` entry of Claude Code's settings that runs these words.

    Exit code 2 blocks; since 2.1.295, `onFailure` makes a time-out block too.
    """
    command = f"{shlex.join(words)} || exit 2"
    called = {
        "type": "command",
        "command": command,
        "timeout": _TIMEOUT_S,
        "onFailure": "block",
    }
    return {"matcher": _MATCHER, "hooks": [called]}


def settings_with(entry: Mapping[str, Any], settings: str) -> str:
    """Return Claude Code's settings with this entry replacing an older one, and the rest kept.

    Raises ConfigError if they are not valid settings of Claude Code.
    """
    kept: Any = _json_of(settings) if settings.strip() else {}
    hooks = kept.setdefault("hooks", {}) if isinstance(kept, dict) else None
    entries = hooks.setdefault("PreToolUse", []) if isinstance(hooks, dict) else None
    if not isinstance(entries, list):
        raise ConfigError("not valid Claude Code settings: hooks.PreToolUse is not a list")
    entries[:] = [*(one for one in entries if not _is_ours(one)), entry]
    return json.dumps(kept, indent=2, ensure_ascii=False) + "\n"


def _json_of(settings: str) -> Any:
    try:
        return json.loads(settings)
    except ValueError as error:
        raise ConfigError(f"not valid Claude Code settings: {error}") from None


def _is_ours(entry: Any) -> bool:
    return "kling-ledger" in json.dumps(entry) and " hook claude-code" in json.dumps(entry)


def plugin_files(agent: str, words: Sequence[str]) -> dict[str, str]:
    """Return the files of an agent's plugin by name, including its settings."""
    folder = resources.files("kling_ledger.agents.hooks") / f"{agent}_plugin"
    settings = {"command": list(words), "left_alone": sorted(LEFT_ALONE)}
    return {
        **{name: (folder / name).read_text("utf-8") for name in _PLUGINS[agent]},
        "command.json": json.dumps(settings, indent=2) + "\n",
    }


def write(agent: str, words: Sequence[str], place: Path) -> list[Path]:
    """Write what an agent needs to a place, whole or not at all, and return the files.

    The place is Claude Code's settings file, or a plugin's folder: everything else in it is kept.
    Raises ConfigError if it cannot be written.
    """
    from kling_ledger.tabular.files import whole_file

    if agent == "claude-code":
        place = place.resolve()
        settings = place.read_text("utf-8") if place.exists() else ""
        contents = {place: settings_with(claude_code_entry(words), settings)}
    else:
        contents = {place / name: text for name, text in plugin_files(agent, words).items()}
    for file, text in contents.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as beside:
            beside.write_text(text, "utf-8")
    return list(contents)


STEPS: Final = {
    "claude-code": "Put it into .claude/settings.json of a project, or into "
    "~/.claude/settings.json for all: kling-ledger hook claude-code --write "
    ".claude/settings.json\nCheck it with: /hooks",
    "hermes": "Write it with: kling-ledger hook hermes --write ~/.hermes/plugins/kling-ledger\n"
    "Then: hermes plugins enable kling-ledger",
    "openclaw": "Write it with: kling-ledger hook openclaw --write kling-ledger-hook\n"
    "Then: openclaw plugins install --link ./kling-ledger-hook --force\n"
    "      openclaw plugins enable kling-ledger",
}
"""What a person does with the output, by agent."""
