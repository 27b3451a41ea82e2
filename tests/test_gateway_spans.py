"""Spans: one an exchange about a job, named as the conventions say, with its cost told once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from kling_ledger.gateway.events import Exchange, Kind
from kling_ledger.gateway.spans import Spans
from kling_pricing.money import Money
from tests.gateway_exchanges import PROMPT, body_error, exchange, refused, usd


@pytest.fixture
def exported() -> Iterator[Any]:
    """Make a span of an exchange; give what was exported."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans = Spans(provider)

    def export(*exchanges: Exchange) -> list[ReadableSpan]:
        for one in exchanges:
            spans(one)
        return list(exporter.get_finished_spans())

    yield export
    provider.shutdown()


def test_a_submit_is_a_generation_with_its_times_and_its_reservation(exported: Any):
    (span,) = exported(exchange())
    assert span.name == "generate_content kling-3.0"
    assert span.attributes["gen_ai.operation.name"] == "generate_content"
    assert span.attributes["gen_ai.provider.name"] == "runapi"
    assert span.attributes["gen_ai.request.model"] == "kling-3.0"
    assert span.attributes["kling_ledger.reservation.id"] == "res_1"
    assert span.attributes["kling_ledger.quoted"] == "0.675 USD"
    assert span.attributes["http.response.status_code"] == 200
    # 2026-11-27T09:30:15.25Z, by `date -d ... +%s`.
    assert span.start_time == 1_795_771_815_250_000_000
    assert span.end_time - span.start_time == 125_000_000
    assert span.status.status_code is StatusCode.UNSET


def test_a_quote_is_no_cost_so_that_a_sum_over_spans_counts_a_job_once(exported: Any):
    submit, poll = exported(
        exchange(),
        exchange(kind=Kind.POLL, held=usd("0"), committed=usd("0.54"), settled_by="provider"),
    )
    assert not [name for name in submit.attributes if name.startswith("gen_ai.usage.cost")]
    assert poll.name == "poll kling-3.0"
    assert poll.attributes["gen_ai.usage.cost.amount"] == 0.54
    assert poll.attributes["gen_ai.usage.cost.currency"] == "USD"
    assert poll.attributes["gen_ai.usage.cost.source"] == "provider"
    assert poll.attributes["kling_ledger.committed"] == "0.54 USD"


@pytest.mark.parametrize(
    ("settled_by", "source"),
    [
        ("provider", "provider"),
        ("bill", "provider"),
        ("quote", "local"),
        ("measured", "local"),
        ("person", "local"),
        (None, None),
    ],
)
def test_a_cost_says_whose_word_it_is(exported: Any, settled_by: Any, source: str | None):
    (span,) = exported(exchange(kind=Kind.POLL, committed=usd("1"), settled_by=settled_by))
    assert span.attributes.get("gen_ai.usage.cost.source") == source


def test_credits_of_a_provider_are_no_currency(exported: Any):
    cost = Money.parse("135 crun-credit")
    (span,) = exported(exchange(kind=Kind.POLL, committed=cost, settled_by="provider"))
    assert "gen_ai.usage.cost.amount" not in span.attributes
    assert span.attributes["kling_ledger.committed"] == "135 crun-credit"


def test_a_refusal_is_an_error_with_its_code_and_quotes_nothing_of_the_body(exported: Any):
    over, bad = exported(refused(), refused(body_error(PROMPT), status=422))
    assert over.attributes["error.type"] == "budget"
    assert over.status.status_code is StatusCode.ERROR
    assert over.status.description.startswith("budget daily: limit 2 USD")
    assert bad.attributes["error.type"] == "request"
    assert PROMPT[:10] not in bad.to_json()


def test_an_error_of_the_provider_is_told_by_its_status(exported: Any):
    (span,) = exported(exchange(status=503))
    assert span.attributes["error.type"] == "503"
    assert span.status.status_code is StatusCode.ERROR


def test_what_is_passed_through_is_no_span(exported: Any):
    assert exported(exchange(kind=Kind.OTHER)) == []


def test_without_the_package_nothing_happens():
    script = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from kling_ledger.gateway.spans import Spans\n"
        "from tests.gateway_exchanges import exchange\n"
        "Spans()(exchange()); print('done')"
    )
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")
