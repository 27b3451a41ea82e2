"""Metrics: what a scrape reads, with few series however many jobs, and nothing where unknown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kling_ledger import Ledger
from kling_ledger.gateway.events import Exchange, Kind
from kling_ledger.gateway.guard import Guard
from kling_ledger.gateway.metrics import Metrics
from kling_ledger.ledger import Scope
from tests.gateway_exchanges import body_error, exchange, refused, served, usd

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """A ledger with a wallet of 10 USD, a budget of 4 USD over it, and 1.35 USD held."""
    with Ledger(url) as opened:
        opened.wallets.create("team", "USD")
        opened.wallets.fund("team", usd("10"))
        opened.budgets.set("daily", usd("4"), window="day")
        opened.budgets.set("of-a-run", usd("1"), scope=Scope(label="run=openclaw/7"))
        first = opened.reserve("team", usd("0.675"))
        opened.reserve("team", usd("0.675"))
        opened.mark_submitting(opened.reserve("team", usd("0.675")).id)
        opened.commit(first.id, usd("0.54"))
        yield opened


def scraped(metrics: Metrics) -> Samples:
    with served(metrics.routes(Guard())) as address:
        answer = httpx.get(f"{address}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def one(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def after(metrics: Metrics, *exchanges: Exchange) -> Samples:
    for each in exchanges:
        metrics(each)
    return scraped(metrics)


def test_requests_are_counted_by_provider_kind_and_class_of_status(ledger: Ledger):
    found = after(
        Metrics(ledger),
        exchange(),
        exchange(status=201),
        refused(),
        exchange(kind=Kind.POLL, provider="crun"),
    )
    name = "kling_gateway_requests_total"
    assert one(found, name, provider="runapi", kind="submit", status="2xx") == 2
    assert one(found, name, provider="runapi", kind="submit", status="4xx") == 1
    assert one(found, name, provider="crun", kind="poll", status="2xx") == 1


def test_times_are_counted_whole_and_upstream(ledger: Ledger):
    found = after(Metrics(ledger), exchange(took_s=0.2, upstream_s=0.15), refused(took_s=0.003))
    labels = {"provider": "runapi", "kind": "submit"}
    assert one(found, "kling_gateway_request_seconds_count", **labels) == 2
    assert one(found, "kling_gateway_request_seconds_sum", **labels) == pytest.approx(0.203)
    assert one(found, "kling_gateway_request_seconds_bucket", **labels, le="0.005") == 1
    # What never reached a provider took no time there, rather than none at all.
    assert one(found, "kling_gateway_upstream_seconds_count", **labels) == 1
    assert one(found, "kling_gateway_upstream_seconds_sum", **labels) == pytest.approx(0.15)


def test_refusals_are_counted_by_their_code(ledger: Ledger):
    found = after(Metrics(ledger), refused(), refused(), refused(body_error("x"), status=422))
    name = "kling_gateway_refusals_total"
    assert one(found, name, provider="runapi", code="budget") == 2
    assert one(found, name, provider="runapi", code="request") == 1


def test_an_amount_counts_once_a_job_however_often_its_client_asks(ledger: Ledger):
    ended = exchange(kind=Kind.POLL, held=usd("0"), committed=usd("0.54"))
    found = after(Metrics(ledger), exchange(), exchange(), ended, ended, ended)
    labels = {"provider": "runapi", "unit": "USD"}
    assert one(found, "kling_gateway_reserved_amount_total", **labels) == 0.675
    assert one(found, "kling_gateway_committed_amount_total", **labels) == 0.54


def test_wallets_budgets_and_open_jobs_are_those_of_the_ledger_when_it_is_scraped(ledger: Ledger):
    metrics = Metrics(ledger)
    found = scraped(metrics)
    assert one(found, "kling_ledger_up") == 1
    # 10 funded, 0.54 charged, twice 0.675 held.
    team = {"wallet": "team", "unit": "USD"}
    assert one(found, "kling_wallet_available_amount", **team) == 8.11
    assert one(found, "kling_wallet_reserved_amount", **team) == 1.35
    assert one(found, "kling_wallet_spent_amount", **team) == 0.54
    assert one(found, "kling_budget_left_amount", budget="daily", unit="USD") == 2.11
    assert one(found, "kling_budget_limit_amount", budget="daily", unit="USD") == 4
    assert one(found, "kling_open_jobs", state="reserved", unit="USD") == 1
    assert one(found, "kling_open_jobs", state="submitting", unit="USD") == 1
    ledger.reserve("team", usd("0.11"))
    assert one(scraped(metrics), "kling_wallet_available_amount", **team) == 8


def test_caps_of_single_runs_are_no_series(ledger: Ledger):
    names = {dict(labels).get("budget") for _, labels in scraped(Metrics(ledger))}
    assert names == {None, "daily"}


def test_what_callers_name_makes_no_series(ledger: Ledger):
    metrics = Metrics(ledger)
    metrics(exchange())
    before = set(scraped(metrics))
    for number in range(300):
        metrics(
            exchange(
                project=f"project-{number}",
                model=f"model-{number}",
                caller=f"caller-{number}",
                reservation_id=f"res_{number}",
                action=f"action-{number}",
            )
        )
    assert set(scraped(metrics)) == before
    for number in range(300):
        metrics(exchange(provider=f"provider-{number}"))
    added = {dict(labels).get("provider") for _, labels in set(scraped(metrics)) - before}
    assert added == {"other"}


def test_a_ledger_that_cannot_be_read_has_no_figures_and_is_down(ledger: Ledger):
    metrics = Metrics(ledger)
    metrics(exchange())
    ledger.close()
    found = scraped(metrics)
    assert one(found, "kling_ledger_up") == 0
    assert not [name for name, _ in found if name.startswith(("kling_wallet", "kling_budget"))]
    assert not [name for name, _ in found if name == "kling_open_jobs"]
    labels = {"provider": "runapi", "kind": "submit", "status": "2xx"}
    assert one(found, "kling_gateway_requests_total", **labels) == 1


def test_the_program_is_named_with_its_version(ledger: Ledger):
    (labels,) = [
        dict(labels)
        for name, labels in scraped(Metrics(ledger))
        if name == "kling_gateway_build_info"
    ]
    assert set(labels) == {"version", "python"}


def test_two_gateways_of_one_process_count_for_themselves(ledger: Ledger):
    first, second = Metrics(ledger), Metrics(ledger)
    first(exchange())
    labels = {"provider": "runapi", "kind": "submit", "status": "2xx"}
    assert one(scraped(second), "kling_gateway_requests_total", **labels) is None


def test_the_guard_holds_for_figures_too(ledger: Ledger):
    with served(Metrics(ledger).routes(Guard.of_secret("s3cret"))) as address:
        assert httpx.get(f"{address}/metrics").status_code == 401
        bearer = {"Authorization": "Bearer s3cret"}
        assert httpx.get(f"{address}/metrics", headers=bearer).status_code == 200
