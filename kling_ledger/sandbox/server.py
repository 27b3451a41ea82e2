"""Sandbox: the server itself, on a thread for a script or in the foreground for the command."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from kling_ledger.config import utc_now
from kling_ledger.sandbox.callbacks import Postman
from kling_ledger.sandbox.desk import Desk, Dialect
from kling_ledger.sandbox.dialects import DIALECTS
from kling_ledger.sandbox.files import Files
from kling_ledger.sandbox.jobs import Job, JobStore
from kling_ledger.sandbox.registry import GATEWAYS
from kling_ledger.sandbox.replies import CUT_SCOPE, ApiError, Patience
from kling_ledger.sandbox.settings import SandboxSettings
from kling_ledger.sandbox.truth import Truth
from kling_ledger.serving import Served, address_of, bind

_STOP_S: Final = 5


class Sandbox:
    """The providers over real HTTP on one machine; nothing sent to it costs money.

        with Sandbox() as sandbox:
            KlingClient(api_key=sandbox.settings.api_key, base_url=sandbox.url)

    All four answer at one address, because their paths differ; each accepts the key in its own
    form, `settings.key_of(provider)`, and the plain one. Port 0 is any free one. `clock` counts the
    seconds that jobs take and `now` returns the time of day; a test can set both. `stores` holds
    each provider's account and its jobs.
    """

    def __init__(
        self,
        settings: SandboxSettings | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.settings = settings or SandboxSettings()
        self.stores = {name: _store(name, self.settings, clock, now) for name in GATEWAYS}
        self._host = host
        self._port = port
        self._now = now
        self._served: Served | None = None

    @property
    def runapi(self) -> JobStore:
        """RunAPI's account and its jobs."""
        return self.stores["runapi"]

    @property
    def url(self) -> str:
        """The sandbox's URL, without a trailing slash; for `--base-url`."""
        if self._served is None:
            raise RuntimeError("the sandbox is not started")
        return self._served.url

    def start(self) -> Self:
        """Bind the address, listen, and return; ConfigError if the address is not available."""
        if self._served is not None:
            raise RuntimeError("the sandbox is already started")
        bound = bind(self._host, self._port, problem="the sandbox cannot listen")
        app = _App(self.settings, self.stores, self._now, address_of(bound))
        self._served = Served(
            app.asgi,
            bound,
            name="sandbox",
            stopping=app.stop,
            http=_CuttableProtocol,
            log_level="warning",
            timeout_graceful_shutdown=1,
        )
        return self

    def finish(self) -> int:
        """End every open job now, as its markers ask, and return how many there were."""
        return sum(store.finish() for store in self.stores.values())

    def close(self) -> None:
        """Stop listening and wait for the server's thread; does nothing if it was not started."""
        if self._served is not None:
            self._served.close(_STOP_S)
            self._served = None

    def wait(self) -> None:
        """Block until the server ends, which it does only if it breaks."""
        if self._served is not None:
            self._served.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _store(
    name: str,
    settings: SandboxSettings,
    clock: Callable[[], float],
    now: Callable[[], datetime],
) -> JobStore:
    return JobStore(
        settings.funds_of(name),
        clock=clock,
        now=now,
        new_id=lambda: DIALECTS[name].new_task_id(settings, now()),
    )


class _App:
    """Every dialect as one application, and what has to be stopped with it."""

    def __init__(
        self,
        settings: SandboxSettings,
        stores: dict[str, JobStore],
        now: Callable[[], datetime],
        url: str,
    ) -> None:
        self.closing = asyncio.Event()
        patience = Patience(settings.hang_s, self.closing)
        desks = {
            name: Desk(
                gateway,
                settings.tariff_of(name),
                settings,
                stores[name],
                now,
                patience,
                self._expect,
            )
            for name, gateway in GATEWAYS.items()
        }
        dialects: dict[str, Dialect] = {
            name: speech.dialect(desks[name]) for name, speech in DIALECTS.items()
        }
        every = tuple(desks.values())
        routes: list[Route] = [
            *(route for dialect in dialects.values() for route in dialect.routes()),
            *Files(every).routes(),
            *Truth(every).routes(),
        ]
        self.postman = Postman(dialects, url)
        self.asgi = Starlette(routes=routes, exception_handlers={HTTPException: _no_route})

    async def stop(self) -> None:
        """Release every hanging answer, and send no more callbacks."""
        self.closing.set()
        await self.postman.stop()

    def _expect(self, job: Job) -> None:
        self.postman.expect(job)


def serve(
    settings: SandboxSettings,
    *,
    host: str,
    port: int,
    announce: Callable[[str], None],
) -> None:
    """Run a sandbox until Ctrl-C; `announce` gets its address once it listens."""
    try:
        with Sandbox(settings, host=host, port=port) as sandbox:
            announce(sandbox.url)
            sandbox.wait()
    except KeyboardInterrupt:
        return


class _CuttableProtocol(H11Protocol):
    """HTTP whose requests carry, in their scope, a way to close their connection."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope[CUT_SCOPE] = self.transport.close
            await inner(scope, receive, send)

        self.app = app


async def _no_route(request: Request, error: Exception) -> Response:  # noqa: ARG001 - as called
    status = error.status_code if isinstance(error, HTTPException) else 500
    return ApiError(status, "unknown address or method").reply()
