"""The published client's private parts, for what it has no public way to say or do.

They are used only here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runapi.core import BaseModel, Error, RequestOptions, config
from runapi.kling import KlingClient

from kling_ledger.providers.attempts import ATTEMPTS
from kling_ledger.providers.http import Secret
from kling_ledger.providers.replies import Json, first_id, only_object
from kling_ledger.providers.runapi.words import plain


def address_of(client: KlingClient) -> str:
    """Return where a client reaches RunAPI, or would if it used its own transport."""
    settings = getattr(client._http, "_options", client._http)
    return str(getattr(settings, "base_url", None) or config.base_url).rstrip("/")


def secret_of(client: KlingClient) -> Secret | None:
    """Return a client's key; None if only a transport passed to it has one."""
    key = getattr(getattr(client._http, "_options", None), "api_key", None)
    return Secret(key) if key else None


def tries_of(client: KlingClient, options: RequestOptions | None) -> int:
    """Return how often a request is sent at most: by the given options, or else by the client."""
    for given in (options, getattr(client._http, "_options", None)):
        if given is not None and given.max_retries is not None:
            return 1 + max(0, int(given.max_retries))
    return ATTEMPTS


def close(client: KlingClient) -> None:
    """Close a client's connections, unless it uses a transport passed to it."""
    closing = getattr(client._http, "close", None)
    if closing is not None:
        closing()


@dataclass(slots=True)
class EitherReply:
    """A transport whose replies always name their task in `id`, wherever RunAPI put it.

    RunAPI's published page shows `task_id` in the create reply, its client requires `id`.
    """

    transport: Any
    task_id: str | None = None
    """The task that the last reply named, known even if the client cannot read that reply."""

    def request(self, method: str, path: str, body: Any = None, options: Any = None) -> Any:
        """Send a request the way the client does."""
        self.task_id = None
        reply = plain(self.transport.request(method, path, body=body, options=options))
        self.task_id = first_id(only_object(getattr(reply, "body", reply)), "id")
        return reply


def understandable(reply: object) -> BaseModel:
    """Return a reply that is a JSON object; the client lets others through, and texts too."""
    if not isinstance(reply, BaseModel):
        raise Error("the reply is not a JSON object")
    return reply


def as_json(reply: BaseModel) -> Json:
    """Return the JSON object that a reply was read from."""
    found: Json = reply.to_dict()
    return found


def without(headers: Mapping[str, str] | None, names: Mapping[str, str]) -> dict[str, str]:
    """Return headers without those of these names, in any letter case."""
    replaced = {name.lower() for name in names}
    return {name: text for name, text in (headers or {}).items() if name.lower() not in replaced}
