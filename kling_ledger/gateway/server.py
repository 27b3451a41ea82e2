"""Server: a gateway on a thread of its own, from when it is started until it is closed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Final, Self

from starlette.applications import Starlette

from kling_ledger.errors import ConfigError
from kling_ledger.gateway.app import App
from kling_ledger.gateway.events import Observer
from kling_ledger.gateway.settings import GatewaySettings
from kling_ledger.ledger import Ledger
from kling_ledger.providers.callback_rules import is_loopback
from kling_ledger.serving import Served, bind

_STOP_S: Final = 70.0
_FINISH_S: Final = 65
_MOST_CONNECTIONS: Final = 512


class Gateway:
    """Serves a ledger's gateway over HTTP. Port 0 is any free one.

        with Gateway(ledger, settings) as gateway:
            KlingClient(api_key="any", base_url=f"{gateway.url}/runapi")

    `observers` are told of every exchange. Raises ConfigError where it may not start: beyond this
    machine only callers with a token are let in.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: GatewaySettings,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        observers: Sequence[Observer] = (),
    ) -> None:
        _check(ledger, settings, host)
        self._host = host
        self._port = port
        self._app = App(ledger, settings, observers=observers)
        self._served: Served | None = None

    @property
    def asgi(self) -> Starlette:
        """The application itself, for another server."""
        return self._app.asgi

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        if self._served is None:
            raise RuntimeError("the gateway is not started")
        return self._served.url

    def start(self) -> Self:
        """Bind the address, listen, and return; ConfigError where the address cannot be had."""
        if self._served is not None:
            raise RuntimeError("the gateway is started already")
        self._served = Served(
            self._app.asgi,
            bind(self._host, self._port, problem="the gateway cannot listen"),
            name="gateway",
            stopping=self._app.stop,
            log_level="error",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_FINISH_S,
        )
        return self

    def wait(self) -> None:
        """Block until the gateway is closed. Raises ServingError where its server breaks."""
        if self._served is not None:
            self._served.wait()

    def close(self) -> None:
        """Let nobody in any more, and wait for what is being sent or written."""
        if self._served is not None:
            self._served.close(_STOP_S)
            self._served = None
            self._app.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check(ledger: Ledger, settings: GatewaySettings, host: str) -> None:
    if settings.wallet is not None and not is_loopback(f"http://{_bracketed(host)}"):
        raise ConfigError(
            f"{host} is not this machine alone: nobody may come in without a token there",
            hint="make tokens with kling-ledger token create, and name no wallet",
        )
    if settings.wallet is not None:
        ledger.wallets.get(settings.wallet)
    for upstream in settings.upstreams.values():
        if upstream.key is not None:
            # Now, and not with the first job: that may be refused, and a refusal writes nothing.
            ledger.accounts.of_key(
                upstream.provider, partial(upstream.key.fingerprint, provider=upstream.provider)
            )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
