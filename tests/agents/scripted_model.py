"""A model that plays a script: an OpenAI-compatible chat endpoint on loopback, for real agents.

It answers each turn with the next step, a tool call or a last word, and keeps what it was sent:
what a tool said is what a real model would have had to act on.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

MODEL: Final = "scripted"
_USAGE: Final = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


@dataclass(frozen=True)
class ToolCall:
    """A step in which the model calls one tool of the agent."""

    tool: str
    arguments: dict[str, Any]

    def message(self, turn: int) -> dict[str, Any]:
        called = {"name": self.tool, "arguments": json.dumps(self.arguments)}
        call = {"id": f"call_{turn}", "index": 0, "type": "function", "function": called}
        return {"role": "assistant", "content": None, "tool_calls": [call]}


@dataclass(frozen=True)
class LastWord:
    """The step in which the model is done."""

    text: str

    def message(self, turn: int) -> dict[str, Any]:
        return {"role": "assistant", "content": self.text}


Step = ToolCall | LastWord


@dataclass
class ScriptedModel:
    """The endpoint's address, its script, and every conversation that it was sent, in order."""

    script: Sequence[Step]
    url: str = ""
    conversations: list[dict[str, Any]] = field(default_factory=list)

    @property
    def tools(self) -> set[str]:
        """The names of the tools that the agent has offered."""
        offered = (tool for sent in self.conversations for tool in sent.get("tools") or ())
        return {tool["function"]["name"] for tool in offered}

    @property
    def tool_results(self) -> list[str]:
        """What tools have said to the model, in the longest conversation."""
        said = max((_results(sent) for sent in self.conversations), key=len, default=[])
        return [text if isinstance(text, str) else json.dumps(text) for text in said]

    def answer(self, sent: dict[str, Any]) -> dict[str, Any]:
        """Return the message for a conversation; one without tools, such as for a title, has none
        of the script."""
        self.conversations.append(sent)
        if not sent.get("tools"):
            return LastWord("a title").message(0)
        turn = len(_results(sent))
        return self.script[min(turn, len(self.script) - 1)].message(turn)


def _results(sent: dict[str, Any]) -> list[Any]:
    return [one["content"] for one in sent.get("messages", ()) if one.get("role") == "tool"]


@contextmanager
def scripted(*script: Step) -> Iterator[ScriptedModel]:
    """Serve a model that plays these steps."""
    model = ScriptedModel(script)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(model))
    model.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(model: ScriptedModel) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = {"id": MODEL, "object": "model", "context_length": 128_000}
            self._send(json.dumps({"object": "list", "data": [known]}), "application/json")

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = model.answer(sent)
            if sent.get("stream"):
                self._send(_streamed(message), "text/event-stream")
            else:
                self._send(json.dumps(_whole(message)), "application/json")

        def _send(self, text: str, kind: str) -> None:
            content = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *said: object) -> None:
            """Say nothing: what was asked is in `conversations`."""

    return Handler


def _finish(message: dict[str, Any]) -> str:
    return "tool_calls" if "tool_calls" in message else "stop"


def _reply(kind: str, **choice: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": kind,
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, **choice}],
    }


def _whole(message: dict[str, Any]) -> dict[str, Any]:
    reply = _reply("chat.completion", message=message, finish_reason=_finish(message))
    return {**reply, "usage": _USAGE}


def _streamed(message: dict[str, Any]) -> str:
    kind = "chat.completion.chunk"
    chunks = [
        _reply(kind, delta=message, finish_reason=None),
        {**_reply(kind, delta={}, finish_reason=_finish(message)), "usage": _USAGE},
    ]
    events = [*(json.dumps(chunk) for chunk in chunks), "[DONE]"]
    return "".join(f"data: {event}\n\n" for event in events)
