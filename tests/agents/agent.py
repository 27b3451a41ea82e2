"""An agent as a test starts it: real, headless, in a home of its own, and asked one thing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.agents.scripted_model import ScriptedModel, ToolCall

_LONGEST_S = 300


@dataclass(frozen=True)
class Agent:
    """One agent. `around` are the words before its command, `settings` are beside its model."""

    home: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    around: Sequence[str] = ()

    variable: ClassVar[str]
    """Names the agent's executable in the environment of the tests."""
    shell: ClassVar[str]
    """The tool that runs a command line."""
    hook: ClassVar[str]
    """Its name for `kling-ledger hook`."""
    plugins: ClassVar[str]
    """The folder below its home that our plugin is written to."""

    @classmethod
    def program(cls) -> str:
        """Return the agent's executable; the test is skipped where there is none."""
        found = shutil.which(os.environ.get(cls.variable, ""))
        if found is None:
            pytest.skip(f"{cls.variable} names no executable of {cls.__name__}")
        return found

    @classmethod
    def with_server(cls, words: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
        """Return the settings that start an MCP server called kling-ledger."""
        raise NotImplementedError

    @classmethod
    def server_call(cls, tool: str, arguments: dict[str, Any]) -> ToolCall:
        """Return the call of a tool of that server."""
        raise NotImplementedError

    @classmethod
    def with_hook(cls, folder: Path) -> dict[str, Any]:
        """Return the settings that load our plugin from a folder."""
        raise NotImplementedError

    def write_settings(self, model: ScriptedModel) -> None:
        """Write what the agent reads at its start."""
        raise NotImplementedError

    def words(self, question: str) -> list[str]:
        """Return what is given to the agent's executable."""
        raise NotImplementedError

    def ask(self, model: ScriptedModel, question: str) -> str:
        """Put one question to the agent, wait until it has exited, and return its answer."""
        self.write_settings(model)
        done = subprocess.run(
            [*self.around, self.program(), *self.words(question)],
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), **self.environ},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def server(words: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return an MCP server over standard input and output, as both agents write one."""
    return {"kling-ledger": {"command": words[0], "args": [*words[1:]], "env": dict(environ)}}
