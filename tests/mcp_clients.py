"""Clients of an MCP server for the tests: the official one in both eras, and a plain one.

The plain one is written from the revision 2025-11-25 of the specification alone: initialize,
notifications/initialized, tools/list, tools/call, as lines or over streamable HTTP.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tests.cli import COMMAND, Cli

ERA = "2025-11-25"
_LONGEST_S = 240


@dataclass(frozen=True)
class Answer:
    """What a call of a tool came to."""

    content: dict[str, Any]
    text: str
    is_error: bool


class Caller(Protocol):
    """A client that has been let in."""

    @property
    def revision(self) -> str:
        """The revision of the protocol that both have agreed on."""

    async def tools(self) -> list[dict[str, Any]]:
        """Every tool as the wire has it."""

    async def call(self, name: str, **arguments: Any) -> Answer:
        """Call a tool."""


@dataclass
class Official:
    """The official client."""

    client: Client

    @property
    def revision(self) -> str:
        return str(self.client.protocol_version)

    async def tools(self) -> list[dict[str, Any]]:
        listed = await self.client.list_tools()
        return [tool.model_dump(by_alias=True, mode="json") for tool in listed.tools]

    async def call(self, name: str, **arguments: Any) -> Answer:
        result = await self.client.call_tool(name, arguments)
        texts = [block.text for block in result.content if block.type == "text"]
        return Answer(dict(result.structured_content or {}), "\n".join(texts), result.is_error)


@dataclass
class Plain:
    """A client of our own: `exchange` sends a message and returns the answer with its id."""

    exchange: Any
    revision: str = ERA
    _ids: Iterator[int] = field(default_factory=lambda: iter(range(1, 10_000)))

    def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the whole JSON-RPC answer to a request."""
        message = {
            "jsonrpc": "2.0",
            "id": next(self._ids),
            "method": method,
            "params": params or {},
        }
        answer: dict[str, Any] = self.exchange(message)
        assert answer["id"] == message["id"]
        return answer

    def begin(self) -> dict[str, Any]:
        """Shake hands; return what the server says of itself."""
        told = self.ask(
            "initialize",
            {
                "protocolVersion": ERA,
                "capabilities": {},
                "clientInfo": {"name": "plain", "version": "1"},
            },
        )
        self.exchange({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return dict(told["result"])

    async def tools(self) -> list[dict[str, Any]]:
        return list(self.ask("tools/list")["result"]["tools"])

    async def call(self, name: str, **arguments: Any) -> Answer:
        result = self.ask("tools/call", {"name": name, "arguments": arguments})["result"]
        texts = [block["text"] for block in result["content"] if block["type"] == "text"]
        return Answer(result["structuredContent"], "\n".join(texts), result.get("isError", False))


@dataclass(frozen=True)
class Mcp:
    """How a server is started: its ledger and environment, and the words after `mcp`."""

    cli: Cli
    words: Sequence[str]

    @property
    def environ(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("KLING_", "RUNAPI_"))}
        own = {"KLING_LEDGER_DB": str(self.cli.database), **self.cli.environ}
        return {**inherited, **own}

    @asynccontextmanager
    async def stdio(self, mode: str, **callbacks: Any) -> AsyncIterator[Official]:
        """The official client of a server of its own; `mode` says its era."""
        started = StdioServerParameters(
            command=COMMAND, args=["mcp", *self.words], env=self.environ, cwd=str(self.cli.folder)
        )
        async with Client(started, mode=mode, **callbacks) as client:
            yield Official(client)

    @contextmanager
    def lines(self) -> Iterator[tuple[Plain, subprocess.Popen[bytes]]]:
        """The plain client of a server of its own, over its standard input and output."""
        process = self._process()
        said, told = process.stdin, process.stdout
        assert said is not None
        assert told is not None

        def exchange(message: dict[str, Any]) -> Any:
            said.write(json.dumps(message).encode() + b"\n")
            said.flush()
            # Whatever else a server writes there is no protocol, and fails here.
            return json.loads(told.readline()) if "id" in message else None

        try:
            plain = Plain(exchange)
            assert plain.begin()["protocolVersion"] == ERA
            yield plain, process
        finally:
            if process.poll() is None:
                said.close()
                process.wait(_LONGEST_S)
            _close(process)

    @contextmanager
    def http(self, *more: str) -> Iterator[str]:
        """A server over HTTP; its address."""
        process = self._process("--http", "--port", "0", *more)
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.terminate()
            process.wait(_LONGEST_S)
            _close(process)

    def _process(self, *more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [COMMAND, "mcp", *self.words, *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.cli.folder,
            env=self.environ,
        )


@asynccontextmanager
async def official(url: str, mode: str, **callbacks: Any) -> AsyncIterator[Official]:
    """The official client over HTTP."""
    async with Client(url, mode=mode, **callbacks) as client:
        yield Official(client)


@contextmanager
def plain_http(url: str, **headers: str) -> Iterator[Plain]:
    """The plain client over streamable HTTP."""
    with httpx.Client(timeout=_LONGEST_S) as http:
        known: dict[str, str] = {"Accept": "application/json, text/event-stream", **headers}

        def exchange(message: dict[str, Any]) -> Any:
            reply = http.post(url, json=message, headers=known)
            reply.raise_for_status()
            if "mcp-session-id" in reply.headers:
                known["Mcp-Session-Id"] = reply.headers["mcp-session-id"]
            known["MCP-Protocol-Version"] = ERA
            return _message(reply) if "id" in message else None

        plain = Plain(exchange)
        assert plain.begin()["protocolVersion"] == ERA
        yield plain


def _message(reply: httpx.Response) -> Any:
    """The one message of a reply, in JSON or as the last event of a stream."""
    if reply.headers["content-type"].startswith("application/json"):
        return reply.json()
    data = [line[5:] for line in reply.text.splitlines() if line.startswith("data:")]
    return json.loads([one for one in data if one.strip()][-1])


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
