"""One way to speak HTTP to a provider: bounded in time and size, its key never shown to anybody.

A request is sent once, or asked again a few times where asking costs nothing. What the transport
raises is told apart by one question only: may the request have arrived?
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from kling_ledger.errors import ConfigError
from kling_pricing.errors import on_one_line

LARGEST_REPLY: Final = 4 * 1024 * 1024
"""The most bytes of a reply that are read; a task with its links is a few thousand."""

_NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)
_LONGEST_TOLD: Final = 300
_JSON: Final = {"Accept": "application/json", "Content-Type": "application/json"}


class NotSentError(Exception):
    """No connection was made: nothing arrived anywhere."""


class LostError(Exception):
    """The request may have arrived, and no whole reply came back."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply, in which the key cannot stand any more."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Secret:
    """An API key that shows itself only to who asks for it by name."""

    value: str = field(repr=False)

    def hidden_in(self, text: str) -> str:
        """Return a text for people: one line, not too long, with *** where the key was."""
        shown = on_one_line(text.replace(self.value, "***"))
        return shown if len(shown) <= _LONGEST_TOLD else f"{shown[: _LONGEST_TOLD - 3]}..."

    def fingerprint(self, secret: str, provider: str) -> str:
        """Return a keyed fingerprint, in hexadecimal digits: without `secret` it says nothing."""
        told = f"{provider}\0{self.value}".encode()
        return hmac.new(bytes.fromhex(secret), told, "sha256").hexdigest()

    def removed_from(self, content: bytes) -> bytes:
        """Return bytes with *** where the key was."""
        return content.replace(self.value.encode(), b"***")


class Http:
    """Requests to one provider at one address, with its key in a header.

    Submissions have connections of their own that are never used twice: a connection that the
    provider closed while it lay idle would leave a job in doubt that was never sent.
    """

    def __init__(
        self, base_url: str, *, header: str, scheme: str, secret: Secret, timeout_s: float
    ) -> None:
        self.address = checked_address(base_url)
        self.secret = secret
        headers = {header: f"{scheme}{secret.value}", **_JSON}
        once = httpx.Limits(max_connections=100, max_keepalive_connections=0)
        trust = httpx.create_ssl_context()
        asking = httpx.Client(headers=headers, verify=trust)
        submitting = httpx.Client(headers=headers, verify=trust, limits=once)
        self._asking = bound(asking, timeout_s)
        self._submitting = bound(submitting, timeout_s)

    def close(self) -> None:
        """Close all connections."""
        self._asking.close()
        self._submitting.close()

    def submit(self, path: str, body: Mapping[str, Any]) -> Reply:
        """Send a body once and never again. Raises NotSentError or LostError."""
        return self._sent(self._submitting, "POST", path, body)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Reply:
        """Send a request that changes nothing, once. Raises NotSentError or LostError."""
        return self._sent(self._asking, method, path, body)

    def _sent(
        self, client: httpx.Client, method: str, path: str, body: Mapping[str, Any] | None
    ) -> Reply:
        try:
            content = None if body is None else json.dumps(body, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise NotSentError(f"the body is no JSON: {error}") from None
        try:
            reply = client.request(method, f"{self.address}{path}", content=content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            kind = NotSentError if is_never_sent(error) else LostError
            raise kind(self.secret.hidden_in(in_words(error))) from None
        return Reply(reply.status_code, reply.headers, self.secret.removed_from(reply.content))


def is_never_sent(error: BaseException | None) -> bool:
    """Whether an error of the transport says that nothing can have arrived."""
    return isinstance(error, _NEVER_SENT)


def in_words(error: Exception) -> str:
    """Say what went wrong on the way; the address and the headers are not part of it."""
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def bound(client: httpx.Client, timeout_s: float) -> httpx.Client:
    """Let a client's replies end: after so many bytes, and so many seconds after they began.

    The time-outs of httpx bound each wait for bytes, not the whole: a byte now and then would
    keep a call waiting for ever. A compressed reply of a few bytes can stand for gigabytes.
    Only the wait for a free connection has no bound of its own.
    """

    def bound_reply(response: httpx.Response) -> None:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise httpx.RemoteProtocolError("a compressed reply, which was not asked for")
        if isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _BoundedStream(response.stream, time.monotonic() + timeout_s)

    client.headers["Accept-Encoding"] = "identity"
    # Many threads may share a client: each waits for its turn, which comes because calls end.
    client.timeout = httpx.Timeout(timeout_s, pool=None)
    client.event_hooks["response"].append(bound_reply)
    return client


@dataclass(frozen=True, slots=True)
class _BoundedStream(httpx.SyncByteStream):
    stream: httpx.SyncByteStream
    give_up_at: float

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self.stream:
            size += len(chunk)
            if size > LARGEST_REPLY:
                raise httpx.RemoteProtocolError(f"a reply of more than {LARGEST_REPLY} bytes")
            if time.monotonic() > self.give_up_at:
                raise httpx.ReadTimeout("the reply took too long")
            yield chunk

    def close(self) -> None:
        self.stream.close()


def checked_address(base_url: str) -> str:
    """Return the address of a provider without a slash at its end. ConfigError for what is none."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.userinfo:
        raise ConfigError("the address holds a user name", hint="leave it out")
    has_more = bool(url.query or url.fragment) or " " in base_url
    if url.scheme not in {"http", "https"} or not url.host or has_more:
        raise ConfigError(f"{base_url!r} is no address", hint="https://, a host, perhaps a path")
    return base_url.rstrip("/")
