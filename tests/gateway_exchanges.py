"""What tests of the gateway's observers share: exchanges that never were, and routes served."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from kling_ledger.errors import BudgetError
from kling_ledger.gateway.events import Exchange, Kind
from kling_ledger.serving import Served, bind
from kling_pricing.errors import KlingError, Problem, RequestError
from kling_pricing.money import Money

AT = datetime(2026, 11, 27, 9, 30, 15, 250_000, tzinfo=UTC)
PROMPT = "a heron at dawn that nobody else should read of"
SECRETS = ("sk-live-0123456789", "https://client.example/hook?token=t0p")
HOSTILE = (
    '"}\n{"time":"forged"}',
    "</script><script>throw 1</script>",
    "<img src=x onerror=throw>",
    "\x1b[2J\x1b]0;title\x07",
    "line\u2028and\u0085next\r\nend",
    "lone \udc80 surrogate",
    "\x7f\x00\x9b31m",
    "right\u202eleft",
)


def usd(amount: str) -> Money:
    return Money.parse(f"{amount} USD")


def exchange(**given: Any) -> Exchange:
    """A submit that was taken, unless something else is said of it."""
    made = Exchange(
        at=AT,
        provider="runapi",
        kind=Kind.SUBMIT,
        status=200,
        took_s=0.125,
        upstream_s=0.1,
        caller="openclaw",
        wallet="team",
        project="film/teaser",
        model="kling-3.0",
        action="text_to_video",
        reservation_id="res_1",
        quoted=usd("0.675"),
        held=usd("0.675"),
    )
    return replace(made, **given)


def refused(refusal: KlingError | None = None, **given: Any) -> Exchange:
    """A submit that a budget refused, unless something else is said of it."""
    nothing = {"reservation_id": None, "quoted": None, "held": None, "upstream_s": 0.0}
    return exchange(**{"status": 402, **nothing, "refusal": refusal or over_budget(), **given})


def over_budget(budget: str = "daily") -> BudgetError:
    return BudgetError(
        budget,
        limit=usd("2"),
        spent=usd("1.5"),
        reserved=usd("0"),
        asked=usd("0.675"),
        frees_at=datetime(2026, 11, 28, tzinfo=UTC),
        fits=usd("0.5"),
    )


def body_error(*got: object) -> RequestError:
    """A body that is refused for values which the error quotes."""
    return RequestError(
        [Problem(f"$.field{place}", one, "something else") for place, one in enumerate(got)]
    )


async def _nothing() -> None:
    pass


@contextmanager
def served(routes: Sequence[BaseRoute]) -> Iterator[str]:
    """Serve routes over HTTP on loopback; give their address."""
    bound = bind("127.0.0.1", 0, problem="the routes cannot be served")
    running = Served(Starlette(routes=list(routes)), bound, name="routes", stopping=_nothing)
    try:
        yield running.url
    finally:
        running.close(10)
        bound.close()
