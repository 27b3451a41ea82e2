"""HTTP to a provider: bounded in time and size, with a key that is never shown.

A request is sent once, or retried a few times if that costs nothing. Only one thing matters about
an error of the transport: may the request have arrived?
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
    # The proxy did not connect to the provider.
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
"""Without this header, a pool that keeps no connections can still hand one to the next thread in
the instant before closing it, then close it under that request: the job would be in doubt. A
connection announced as closing is never idle."""
_MOST_AT_ONCE: Final = 200


class NotSentError(Exception):
    """No connection was made: nothing arrived."""


class LostError(Exception):
    """The request may have arrived, but no whole reply came back."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply, unpacked; it may repeat the key."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Secret:
    """An API key that is shown only on explicit request."""

    value: str = field(repr=False)

    def hidden_in(self, text: str) -> str:
        """Return a text for people: one line, cut to length, with *** in place of the key."""
        shown = on_one_line(self.left_out_of(text).replace(self.value, "***"))
        return shown if len(shown) <= _LONGEST_TOLD else f"{shown[: _LONGEST_TOLD - 3]}..."

    def fingerprint(self, secret: str, provider: str) -> str:
        """Return a keyed fingerprint, in hexadecimal; without `secret` it reveals nothing."""
        told = f"{provider}\0{self.value}".encode()
        return hmac.new(bytes.fromhex(secret), told, "sha256").hexdigest()

    def is_in(self, text: str) -> bool:
        """Whether a text contains the key: as it is, in lower case, or URL-encoded.

        A key of a few letters occurs in every text, so it cannot be hidden.
        """
        return len(self.value) >= _SHORTEST_SECRET and any(one in text for one in self._written)

    def left_out_of(self, told: _Told) -> _Told:
        """Return a provider's answer with *** in place of the key."""
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
        # States are lower-cased when read, whatever they contain.
        return self.value, quote(self.value, safe=""), self.value.lower()


class Http:
    """Requests to one provider at one address, with a key in a header.

    Submissions have their own connections, never used twice: one that the provider closed while it
    was idle would leave a job in doubt that was never sent. `under` shares the connections with
    another key.
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
        """Return the same connections with another key."""
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
        """Send a body once, never again. Raises NotSentError or LostError."""
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
    """Whether an error of the transport proves that nothing arrived."""
    return isinstance(error, _NEVER_SENT)


def in_words(error: Exception) -> str:
    """Describe what went wrong in transport, without the address and the headers."""
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def checked_address(base_url: str) -> str:
    """Return a provider's address without a trailing slash. ConfigError for an invalid one."""
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
