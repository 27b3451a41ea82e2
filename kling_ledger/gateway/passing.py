"""Passing: requests that the gateway does not check go to the provider and back unchanged.

They go only to the provider's own address; connection headers are removed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from ssl import SSLContext
from typing import Final

import httpx
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from kling_ledger.errors import ConfigError, JobRefusedError, PollError
from kling_ledger.gateway.answers import passed_on
from kling_ledger.gateway.callers import OURS, Caller
from kling_ledger.gateway.settings import GatewaySettings
from kling_ledger.providers.http import LARGEST_REPLY, Reply, in_words, is_never_sent
from kling_ledger.providers.http_provider import Dialect
from kling_ledger.providers.surroundings import naming_the_variable

_LEFT_BEHIND: Final = frozenset(
    {
        "host",
        "expect",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        *OURS,
    }
)
"""Request headers that are not for the provider, or that would change the request."""

_MOST_CONNECTIONS: Final = 200


class Passage:
    """Forwards requests to every upstream, on the server's event loop."""

    def __init__(self, settings: GatewaySettings, trust: SSLContext) -> None:
        self._addresses = {name: one.address for name, one in settings.upstreams.items()}
        with naming_the_variable():
            self._http = httpx.AsyncClient(
                verify=trust,
                timeout=httpx.Timeout(settings.timeout_s, pool=None),
                limits=httpx.Limits(max_connections=_MOST_CONNECTIONS),
            )
        # httpx's default headers are not added for the caller.
        self._http.headers.clear()

    async def pass_on(
        self, request: Request, dialect: Dialect, path: str, caller: Caller
    ) -> Response:
        """Send a request on as it is, and stream the answer back.

        Raises JobRefusedError if the provider is unreachable, PollError without an answer,
        ConfigError for a body that is cut short.
        """
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        sent = self._http.build_request(
            request.method,
            self._url(dialect, path, request.url.query),
            headers=_headers(request, dialect, caller),
            content=request.stream() if has_body else None,
        )
        reply = await self._send(sent, dialect)
        headers = passed_on(reply.headers.multi_items(), leaving=frozenset({"date", "server"}))
        return StreamingResponse(
            _parts(reply), reply.status_code, headers, background=BackgroundTask(reply.aclose)
        )

    async def ask(self, request: Request, dialect: Dialect, path: str, caller: Caller) -> Reply:
        """Forward a poll, and return the whole answer. Raises as `pass_on` does."""
        headers = {**_headers(request, dialect, caller), "accept-encoding": "identity"}
        url = self._url(dialect, path, request.url.query)
        sent = self._http.build_request("GET", url, headers=headers)
        reply = await self._send(sent, dialect)
        try:
            content = b""
            async for part in reply.aiter_bytes():
                content += part
                if len(content) > LARGEST_REPLY:
                    raise PollError(
                        dialect.facts.name, f"a reply of more than {LARGEST_REPLY} bytes"
                    )
        except httpx.HTTPError as error:
            raise PollError(dialect.facts.name, f"incomplete answer: {in_words(error)}") from None
        finally:
            await reply.aclose()
        kept = {name: text for name, text in reply.headers.items() if name != "content-encoding"}
        return Reply(reply.status_code, kept, content)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    def _url(self, dialect: Dialect, path: str, query: str) -> str:
        address = self._addresses[dialect.facts.name]
        return f"{address}{path}?{query}" if query else f"{address}{path}"

    async def _send(self, sent: httpx.Request, dialect: Dialect) -> httpx.Response:
        name = dialect.facts.name
        try:
            return await self._http.send(sent, stream=True)
        except ClientDisconnect:
            raise ConfigError("the body was cut short", hint="send it again") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if is_never_sent(error):
                problem = f"could not be reached: {in_words(error)}"
                raise JobRefusedError(name, problem, retryable=True, is_unreached=True) from None
            raise PollError(name, f"no answer: {in_words(error)}") from None


async def _parts(reply: httpx.Response) -> AsyncIterator[bytes]:
    async for part in reply.aiter_raw():
        yield part


def _headers(request: Request, dialect: Dialect, caller: Caller) -> Mapping[str, str]:
    """Return the headers for the provider: the caller's, with the key to use."""
    leaving = _LEFT_BEHIND | {"authorization", "x-api-key"}
    headers = passed_on(request.headers.items(), leaving=leaving)
    if caller.key.value:
        headers[dialect.key_header.lower()] = f"{dialect.key_scheme}{caller.key.value}"
    return headers
