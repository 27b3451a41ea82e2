"""Server: a gateway on its own thread, from start to close."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Self

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from kling_ledger.callbacks.receiver import Receipt, Receiver
from kling_ledger.callbacks.unfinished import UnfinishedProtocol
from kling_ledger.errors import ConfigError
from kling_ledger.gateway import health, page
from kling_ledger.gateway.app import App
from kling_ledger.gateway.callbacks import CallbackDoor
from kling_ledger.gateway.events import Observer
from kling_ledger.gateway.guard import Guard
from kling_ledger.gateway.metrics import Metrics
from kling_ledger.gateway.own_keys import OwnKeys
from kling_ledger.gateway.recent import Recent
from kling_ledger.gateway.relay import Relay
from kling_ledger.gateway.settings import GatewaySettings
from kling_ledger.gateway.settlement import Settlement
from kling_ledger.gateway.wires import Wires
from kling_ledger.ledger import Ledger
from kling_ledger.providers.callback_rules import is_loopback_host
from kling_ledger.providers.http import checked_address
from kling_ledger.serving import Served, bind

_STOP_S: Final = 70.0
_FINISH_S: Final = 65
_HEAD_S: Final = 30
"""How long a connection may be idle, or take for the head of a request."""
_MOST_CONNECTIONS: Final = 512
_MOST_IDLE: Final = 400


class Gateway:
    """Serves a ledger's gateway over HTTP. Port 0 is any free one.

        with Gateway(ledger, settings) as gateway:
            KlingClient(api_key="any", base_url=f"{gateway.url}/runapi")

    `observers` get every exchange. Raises ConfigError if it may not start: callers on other
    machines always need a token.
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
        recent, metrics = Recent(), Metrics(ledger)
        watching: tuple[Observer, ...] = (recent, metrics, *observers)
        wires = Wires(settings)
        guard = _guard(settings, host)
        self.shows_page = guard is not None
        """Whether the live page and the metrics are served."""
        self._settlement = Settlement(
            ledger,
            meter_for=OwnKeys(ledger, settings, wires),
            poll_every_s=settings.poll_every_s,
            polls_per_s=settings.polls_per_s,
            longest_s=settings.longest_s,
        )
        self._relay = Relay()
        self._callbacks = CallbackDoor(
            Receiver(ledger, self._settlement.meter_for),
            self._relay,
            on_receipt=self._received,
            observers=watching,
        )
        pages = _own_routes(
            ledger, recent, metrics, guard=guard, is_settling=lambda: self._settlement.is_alive
        )
        self._app = App(
            ledger,
            settings,
            wires,
            guard=Guard(None, settings.hosts),
            observers=watching,
            routes=[*self._callbacks.routes(), *pages],
            expect=self._settlement.expect,
            forget=self._settlement.forget,
            known=self._settlement.known,
        )
        self._served: Served | None = None

    @property
    def asgi(self) -> ASGIApp:
        """The application itself, for another server."""
        return self._app

    @property
    def url(self) -> str:
        """Its address, without a final slash."""
        if self._served is None:
            raise RuntimeError("the gateway is not started")
        return self._served.url

    def start(self) -> Self:
        """Bind the address, listen, and return; ConfigError if the address is not available."""
        if self._served is not None:
            raise RuntimeError("the gateway is already started")
        self._served = Served(
            self._app,
            bind(self._host, self._port, problem="the gateway cannot listen"),
            name="gateway",
            stopping=self._stop,
            log_level="error",
            server_header=False,
            proxy_headers=False,
            http=partial(UnfinishedProtocol, head_s=_HEAD_S, most=_MOST_IDLE),
            timeout_keep_alive=_HEAD_S,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_FINISH_S,
        )
        self._settlement.start()
        return self

    def wait(self) -> None:
        """Block until the gateway is closed. Raises ServingError if its server breaks."""
        if self._served is not None:
            self._served.wait()

    def close(self) -> None:
        """Stop accepting requests, and wait for sends and writes in progress."""
        if self._served is not None:
            self._served.close(_STOP_S)
            self._served = None
            self._settlement.close()
            self._callbacks.close()
            self._relay.close()
            self._app.close()

    async def _stop(self) -> None:
        await self._callbacks.stop()
        await self._app.stop()

    def _received(self, receipt: Receipt) -> None:
        if receipt.reservation is not None and not receipt.reservation.is_open:
            self._settlement.forget(receipt.reservation.id)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _own_routes(
    ledger: Ledger,
    recent: Recent,
    metrics: Metrics,
    *,
    guard: Guard | None,
    is_settling: Callable[[], bool],
) -> list[BaseRoute]:
    """Return the gateway's own addresses; without a guard, only those open to everyone."""
    routes: list[BaseRoute] = [*health.routes(ledger, is_settling)]
    if guard is not None:
        routes += [*metrics.routes(guard), *page.routes(ledger, recent, guard=guard)]
    return routes


def _guard(settings: GatewaySettings, host: str) -> Guard | None:
    """Return the guard of the page and the metrics; None if they are not served.

    A caller's token does not open them: they show all wallets and projects.
    """
    if settings.page_secret is not None:
        return Guard.of_secret(settings.page_secret.value, settings.hosts)
    return Guard(None, settings.hosts) if is_loopback_host(host) else None


def _check(ledger: Ledger, settings: GatewaySettings, host: str) -> None:
    if settings.wallet is not None and not is_loopback_host(host):
        raise ConfigError(
            f"{host} is reachable from other machines: every caller there needs a token",
            hint="create tokens with kling-ledger token create, and omit the wallet",
        )
    if settings.public_url is not None:
        checked_address(settings.public_url)
    if settings.wallet is not None:
        ledger.wallets.get(settings.wallet)
    for upstream in settings.upstreams.values():
        if upstream.key is not None:
            # Now, not with the first job: it may be refused, and a refusal writes nothing.
            ledger.accounts.of_key(
                upstream.provider, partial(upstream.key.fingerprint, provider=upstream.provider)
            )
