"""Spans: each exchange as an OpenTelemetry span with its cost; does nothing without the package.

Names are those of the GenAI conventions and of their proposal for costs; both are in development.
Source: https://github.com/open-telemetry/semantic-conventions-genai/pull/443, checked 2026-11-27.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from kling_ledger.gateway import said
from kling_ledger.gateway.events import Exchange, Kind
from kling_ledger.ledger.ids import to_us
from kling_ledger.ledger.reservations import CONFIRMED_BY

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer, TracerProvider

_NAME: Final = "kling_ledger.gateway"
_GENERATES: Final = "generate_content"
"""The conventions' name for making a clip; they have none for a poll."""

_CURRENCY: Final = 3
"""The number of capitals in an ISO 4217 code: a provider's credits are not a currency."""


class Spans:
    """An observer that makes a span for each exchange about a job.

    `tracer_provider` is the process's own unless it is given. Exporters are set up outside. If
    `opentelemetry` is not installed, nothing happens.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer = _tracer(tracer_provider)

    def __call__(self, exchange: Exchange) -> None:
        """Make the span, with the times of the exchange."""
        if self._tracer is None or exchange.kind is Kind.OTHER:
            return
        from opentelemetry.trace import SpanKind

        begins_at = exchange.at
        ends_at = begins_at + timedelta(seconds=exchange.took_s)
        operation = _operation(exchange)
        span = self._tracer.start_span(
            " ".join(filter(None, (operation, said.word(exchange.model)))),
            kind=SpanKind.CLIENT,
            attributes=dict(_attributes(exchange)),
            start_time=to_us(begins_at) * 1000,
        )
        _tell_failure(span, exchange)
        span.end(to_us(ends_at) * 1000)


def _tracer(tracer_provider: TracerProvider | None) -> Tracer | None:
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    return trace.get_tracer(_NAME, tracer_provider=tracer_provider)


def _operation(exchange: Exchange) -> str:
    return _GENERATES if exchange.kind is Kind.SUBMIT else str(exchange.kind)


def _attributes(exchange: Exchange) -> Iterator[tuple[str, Any]]:
    known = {
        "gen_ai.operation.name": _operation(exchange),
        "gen_ai.provider.name": exchange.provider,
        "gen_ai.request.model": said.word(exchange.model),
        "http.response.status_code": exchange.status,
        "kling_ledger.reservation.id": exchange.reservation_id,
        "kling_ledger.caller": said.word(exchange.caller),
        "kling_ledger.wallet": said.word(exchange.wallet),
        "kling_ledger.project": said.word(exchange.project),
        "kling_ledger.action": said.word(exchange.action),
        "kling_ledger.upstream_ms": round(exchange.upstream_s * 1000),
    }
    yield from ((name, value) for name, value in known.items() if value is not None)
    for name in ("quoted", "held", "committed"):
        money = getattr(exchange, name)
        if money is not None:
            # The exact amount: the convention's own is a double.
            yield f"kling_ledger.{name}", str(money)
    yield from _cost(exchange)


def _cost(exchange: Exchange) -> Iterator[tuple[str, Any]]:
    """Yield a job's cost once its end was seen: a quote reported earlier would be added to it."""
    money = exchange.committed
    if money is None or not _is_currency(money.unit):
        return
    yield "gen_ai.usage.cost.amount", float(money.amount)
    yield "gen_ai.usage.cost.currency", money.unit
    if exchange.settled_by is not None:
        said_by = "provider" if exchange.settled_by in CONFIRMED_BY else "local"
        yield "gen_ai.usage.cost.source", said_by


def _is_currency(unit: str) -> bool:
    return len(unit) == _CURRENCY and unit.isalpha() and unit.isupper()


def _tell_failure(span: Span, exchange: Exchange) -> None:
    from opentelemetry.trace import Status, StatusCode

    refusal = exchange.refusal
    if refusal is not None:
        span.set_attribute("error.type", refusal.code)
        span.set_status(Status(StatusCode.ERROR, said.reason(refusal)))
    elif exchange.status >= 400:
        span.set_attribute("error.type", str(exchange.status))
        span.set_status(Status(StatusCode.ERROR))
