"""One way to speak HTTP to a provider: bounded in time and size, its key never shown to anybody.

A request is sent once, or asked again a few times where asking costs nothing. What the transport
raises is told apart by one question only: may the request have arrived?
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx

from kling_ledger.errors import ConfigError
from kling_ledger.providers.bounds import LARGEST_REPLY, bound
from kling_ledger.providers.surroundings import naming_the_variable
from kling_pricing.errors import on_one_line

__all__ = [
    "LARGEST_REPLY",
    "Http",
    "LostError",
    "NotSentError",
    "Reply",
    "Secret",
    "bound",
    "checked_address",
    "in_words",
    "is_never_sent",
]

_NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    # The proxy opened no way to the provider.
    httpx.ProxyError,
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)
_LONGEST_TOLD: Final = 300
_SHORTEST_SECRET: Final = 8
_Told = TypeVar("_Told")
_JSON: Final = {"Accept": "application/json", "Content-Type": "application/json"}
_ONCE: Final = {"Connection": "close"}
"""A pool that keeps no connection still hands one to the next thread in the instant before it is
closed, and then closes it under that request: the job would be in doubt. One that says that it will
be closed is never idle."""
_MOST_AT_ONCE: Final = 200


class NotSentError(Exception):
    """No connection was made: nothing arrived anywhere."""


class LostError(Exception):
    """The request may have arrived, and no whole reply came back."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply, unpacked; it may repeat the key."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Secret:
    """An API key that shows itself only to who asks for it by name."""

    value: str = field(repr=False)

    def hidden_in(self, text: str) -> str:
        """Return a text for people: one line, not too long, with *** where the key was."""
        shown = on_one_line(self.left_out_of(text).replace(self.value, "***"))
        return shown if len(shown) <= _LONGEST_TOLD else f"{shown[: _LONGEST_TOLD - 3]}..."

    def fingerprint(self, secret: str, provider: str) -> str:
        """Return a keyed fingerprint, in hexadecimal digits: without `secret` it says nothing."""
        told = f"{provider}\0{self.value}".encode()
        return hmac.new(bytes.fromhex(secret), told, "sha256").hexdigest()

    def is_in(self, text: str) -> bool:
        """Whether the key stands in a text, as it is, in small letters, or as addresses write it.

        A key of a few letters stands in every text: it can be kept from nobody.
        """
        return len(self.value) >= _SHORTEST_SECRET and any(one in text for one in self._written)

    def left_out_of(self, told: _Told) -> _Told:
        """Return what a provider told, with *** wherever the key was."""
        return self._left_out(told)  # type: ignore[no-any-return]

    def _left_out(self, told: Any) -> Any:
        if isinstance(told, dict):
            return {self._left_out(name): self._left_out(value) for name, value in told.items()}
        if isinstance(told, (list, tuple)):
            return type(told)(self._left_out(value) for value in told)
        if not isinstance(told, str) or not self.is_in(told):
            return told
        for written in self._written:
            told = told.replace(written, "***")
        return told

    @property
    def _written(self) -> tuple[str, ...]:
        # A state is read in small letters, whatever stands in it.
        return self.value, quote(self.value, safe=""), self.value.lower()


class Http:
    """Requests to one provider at one address, with a key in a header.

    Submissions have connections of their own that are never used twice: a connection that the
    provider closed while it lay idle would leave a job in doubt that was never sent. Who speaks
    there with another key too, `under` it, shares the connections.
    """

    def __init__(
        self,
        base_url: str,
        *,
        header: str,
        scheme: str,
        secret: Secret,
        timeout_s: float,
        trust: SSLContext | None = None,
    ) -> None:
        self.address = checked_address(base_url)
        self.secret = secret
        self._key_in = (header, scheme)
        once = httpx.Limits(max_connections=_MOST_AT_ONCE, max_keepalive_connections=0)
        with naming_the_variable():
            trust = trust or httpx.create_ssl_context()
            asking = httpx.Client(headers=_JSON, verify=trust)
            submitting = httpx.Client(headers={**_JSON, **_ONCE}, verify=trust, limits=once)
        self._asking = bound(asking, timeout_s)
        self._submitting = bound(submitting, timeout_s)

    def under(self, secret: Secret) -> Http:
        """Return the same connections, spoken over with another key."""
        other = copy(self)
        other.secret = secret
        return other

    def close(self) -> None:
        """Close all connections."""
        self._asking.close()
        self._submitting.close()

    def submit(
        self, path: str, body: Mapping[str, Any], *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send a body once and never again. Raises NotSentError or LostError."""
        return self._sent(self._submitting, "POST", path, body, headers or {})

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Reply:
        """Send a request that changes nothing, once. Raises NotSentError or LostError."""
        return self._sent(self._asking, method, path, body, {})

    def _sent(
        self,
        client: httpx.Client,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        more: Mapping[str, str],
    ) -> Reply:
        try:
            content = None if body is None else json.dumps(body, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise NotSentError(f"the body is not JSON: {error}") from None
        header, scheme = self._key_in
        headers = {**more, header: f"{scheme}{self.secret.value}"}
        try:
            reply = client.request(
                method, f"{self.address}{path}", content=content, headers=headers
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            kind = NotSentError if is_never_sent(error) else LostError
            raise kind(self.secret.hidden_in(in_words(error))) from None
        return Reply(reply.status_code, reply.headers, reply.content)


def is_never_sent(error: BaseException | None) -> bool:
    """Whether an error of the transport says that nothing can have arrived."""
    return isinstance(error, _NEVER_SENT)


def in_words(error: Exception) -> str:
    """Say what went wrong on the way; the address and the headers are not part of it."""
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def checked_address(base_url: str) -> str:
    """Return the address of a provider without a slash at its end. ConfigError for what is none."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.userinfo:
        raise ConfigError("the address contains a user name", hint="remove it")
    has_more = bool(url.query or url.fragment) or " " in base_url
    if url.scheme not in {"http", "https"} or not url.host or has_more:
        raise ConfigError(
            f"invalid address: {base_url!r}", hint="write https://, a host and, if needed, a path"
        )
    return base_url.rstrip("/")
