"""Metrics: what Prometheus scrapes at `/metrics`, in the gateway's own registry.

Prometheus uses floats, so the amounts here are for graphs and alerts, in units such as dollars;
exact amounts are in the ledger. No label names a project, a task, a reservation or a caller: each
of them would add a series.
"""

from __future__ import annotations

import platform
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import kling_ledger
from kling_ledger.gateway.events import Exchange, Kind
from kling_ledger.gateway.glance import MOST_BUDGETS, MOST_WALLETS, Glance, Glances, is_of_a_run
from kling_ledger.gateway.guard import HEADERS, METHODS, Guard
from kling_ledger.gateway.settings import PROVIDERS
from kling_ledger.ledger import Ledger
from kling_pricing.errors import KlingError
from kling_pricing.money import Money

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_REMEMBERED: Final = 65_536
"""How many of the latest jobs are remembered as counted."""

_FOR_DISPLAY: Final = "in units, as a float: for display"


class Metrics:
    """An observer that counts exchanges, and the address that serves the counts.

    Safe to share between threads. The ledger's figures are read at each scrape.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.registry = CollectorRegistry()
        self._counts = _Counts(self.registry)
        self.registry.register(_OfLedger(Glances(ledger)))
        self.registry.register(_Build())

    def __call__(self, exchange: Exchange) -> None:
        """Count one exchange."""
        self._counts.add(exchange)

    def routes(self, guard: Guard) -> Sequence[Route]:
        """Return the one address; the guard decides who may call it."""

        def scraped(request: Request) -> Response:
            return guard.refusal(request) or Response(
                generate_latest(self.registry),
                headers={**HEADERS, "Content-Type": _TEXT},
            )

        return [Route("/metrics", scraped, methods=METHODS)]


class _Counts:
    """The counters and histograms of exchanges."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "kling_gateway_requests",
            "Requests answered, by class of HTTP status.",
            ("provider", "kind", "status"),
            registry=registry,
        )
        self._took = Histogram(
            "kling_gateway_request_seconds",
            "Total duration of a request.",
            ("provider", "kind"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._upstream = Histogram(
            "kling_gateway_upstream_seconds",
            "Part of that spent at the provider, for requests that reached one.",
            ("provider", "kind"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._refusals = Counter(
            "kling_gateway_refusals",
            "Requests refused by the gateway itself, by error code.",
            ("provider", "code"),
            registry=registry,
        )
        self._reserved = _Amounts("reserved", "Set aside for jobs", registry)
        self._committed = _Amounts("committed", "Charged for jobs whose end a client saw", registry)

    def add(self, exchange: Exchange) -> None:
        """Count one exchange."""
        provider = exchange.provider if exchange.provider in PROVIDERS else "other"
        kind = str(exchange.kind)
        self._requests.labels(provider, kind, f"{exchange.status // 100}xx").inc()
        self._took.labels(provider, kind).observe(exchange.took_s)
        if exchange.upstream_s > 0:
            self._upstream.labels(provider, kind).observe(exchange.upstream_s)
        if exchange.refusal is not None:
            self._refusals.labels(provider, exchange.refusal.code).inc()
        if exchange.kind is Kind.SUBMIT:
            self._reserved.add(provider, exchange.held, exchange.reservation_id)
        self._committed.add(provider, exchange.committed, exchange.reservation_id)


class _Amounts:
    """A counter of amounts; each job is added once, however often it is polled."""

    def __init__(self, name: str, said: str, registry: CollectorRegistry) -> None:
        self._counter = Counter(
            f"kling_gateway_{name}_amount",
            f"{said}, {_FOR_DISPLAY}.",
            ("provider", "unit"),
            registry=registry,
        )
        self._lock = threading.Lock()
        self._counted: OrderedDict[str, None] = OrderedDict()

    def add(self, provider: str, money: Money | None, reservation_id: str | None) -> None:
        """Count an amount, unless it belongs to no job or was already counted."""
        if money is None or reservation_id is None or not self._is_new(reservation_id):
            return
        self._counter.labels(provider, money.unit).inc(float(money.amount))

    def _is_new(self, reservation_id: str) -> bool:
        with self._lock:
            is_new = reservation_id not in self._counted
            self._counted[reservation_id] = None
            self._counted.move_to_end(reservation_id)
            if len(self._counted) > _REMEMBERED:
                self._counted.popitem(last=False)
            return is_new


class _OfLedger(Collector):
    """The ledger's figures at a scrape; none if it cannot be read."""

    def __init__(self, glances: Glances) -> None:
        self._glances = glances

    def describe(self) -> list[GaugeMetricFamily]:
        """Describe nothing: otherwise the ledger would be read an extra time just for the names."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read the ledger and yield its figures."""
        try:
            glance = self._glances.read()
        except KlingError:
            yield _up(0)
            return
        yield _up(1)
        yield from _of_wallets(glance)
        yield from _of_budgets(glance)
        yield _of_jobs(glance)


class _Build(Collector):
    """The version of the program."""

    def collect(self) -> Iterator[InfoMetricFamily]:
        """Yield the versions."""
        yield InfoMetricFamily(
            "kling_gateway_build",
            "The versions of the gateway and of Python.",
            {"version": kling_ledger.__version__, "python": platform.python_version()},
        )


def _up(value: int) -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "kling_ledger_up", "Whether the ledger could be read for this scrape.", value
    )


def _of_wallets(glance: Glance) -> Iterator[GaugeMetricFamily]:
    said = f"of a wallet, {_FOR_DISPLAY}; the first {MOST_WALLETS} wallets by name"
    for name in ("available", "reserved", "spent"):
        gauge = GaugeMetricFamily(
            f"kling_wallet_{name}_amount", f"What is {name} {said}.", labels=("wallet", "unit")
        )
        for wallet in glance.wallets:
            money: Money = getattr(wallet, name)
            gauge.add_metric((wallet.name, wallet.unit), float(money.amount))
        yield gauge


def _of_budgets(glance: Glance) -> Iterator[GaugeMetricFamily]:
    said = f"in its current window, {_FOR_DISPLAY}; the first {MOST_BUDGETS} budgets by name"
    for name in ("left", "limit"):
        gauge = GaugeMetricFamily(
            f"kling_budget_{name}_amount", f"A budget's {name} {said}.", labels=("budget", "unit")
        )
        for status in glance.budgets:
            if not is_of_a_run(status.budget):
                money: Money = getattr(status, name)
                gauge.add_metric((status.budget.name, money.unit), float(money.amount))
        yield gauge


def _of_jobs(glance: Glance) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(
        "kling_open_jobs", "Jobs that hold credits, by state.", labels=("state", "unit")
    )
    for one in glance.open_counts:
        gauge.add_metric((str(one.state), one.held.unit), one.jobs)
    return gauge
