"""What an operator sees of real jobs, through the real gateway, against the real sandbox."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from kling_ledger import Ledger, testing
from kling_ledger.gateway.log import Log
from kling_ledger.gateway.server import Gateway
from kling_ledger.gateway.settings import GatewaySettings, Upstream
from kling_ledger.gateway.spans import Spans
from kling_ledger.providers.http import Secret
from kling_ledger.sandbox import Sandbox
from tests.gateway_exchanges import PROMPT, usd

CALLBACK = "https://client.example/hook?token=t0p-s3cret"
PATIENCE_S = 60


@dataclass
class Watched:
    """A gateway, what it wrote to its log, and the spans that it made."""

    gateway: Gateway
    ledger: Ledger
    key: str
    log: io.StringIO
    spans: InMemorySpanExporter

    def submit(self, **body: Any) -> httpx.Response:
        asked = {
            "model": "kling-3.0",
            "prompt": PROMPT,
            "duration_seconds": 5,
            "aspect_ratio": "16:9",
            "enable_sound": True,
            "output_resolution": "1080p",
        }
        return httpx.post(
            f"{self.gateway.url}/runapi/api/v1/kling/text_to_video",
            json={**asked, "callback_url": CALLBACK, **body},
            headers={"Authorization": f"Bearer {self.key}", "X-Kling-Project": "film/<b>"},
        )

    def poll(self, task: str) -> dict[str, Any]:
        """Ask for a task until it has ended."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            told: dict[str, Any] = httpx.get(
                f"{self.gateway.url}/runapi/api/v1/kling/text_to_video/{task}",
                headers={"Authorization": f"Bearer {self.key}"},
            ).json()
            if told["status"] in {"completed", "failed"}:
                return told
            assert time.monotonic() < give_up_at
            time.sleep(0.05)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"{self.gateway.url}{path}", headers=headers)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@pytest.fixture
def watched(url: str, sandbox: Sandbox) -> Iterator[Watched]:
    log, spans, tracing = io.StringIO(), InMemorySpanExporter(), TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    key = sandbox.settings.api_key
    settings = GatewaySettings(
        {"runapi": Upstream("runapi", sandbox.url, Secret(key))}, wallet="team"
    )
    with testing.ledger(url, team="2 USD") as ledger:
        ledger.budgets.set("daily", usd("0.7"), window="day")
        with Gateway(ledger, settings, observers=[Log(log), Spans(tracing)]) as gateway:
            yield Watched(gateway, ledger, key, log, spans)
    tracing.shutdown()


def test_a_job_and_a_refusal_are_seen_alike_on_the_page_in_the_log_and_in_figures(
    watched: Watched,
):
    taken = watched.submit()
    assert taken.status_code < 300, taken.text
    watched.poll(taken.json()["id"])
    over = watched.submit(duration_seconds=10)
    assert over.status_code == 402

    page = watched.get("/").text
    assert "budget daily: limit 0.7 USD, spent 0." in page
    assert "runapi kling-3.0" in page
    assert "film/&lt;b&gt;" in page
    assert "2 jobs requested, 1 refused" in page

    first, *polls, last = watched.lines
    assert (first["kind"], first["wallet"], first["model"]) == ("submit", "team", "kling-3.0")
    assert first["project"] == "film/<b>"
    assert first["reservation"] == polls[-1]["reservation"]
    assert first["held"].endswith(" USD")
    assert polls[-1]["committed"] == str(watched.ledger.wallets.get("team").spent)
    assert polls[-1]["settled_by"] == "provider"
    assert (last["status"], last["refusal"], last["model"]) == (402, "budget", "kling-3.0")
    assert last["action"] == "text_to_video"

    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(watched.get("/metrics").text)
        for sample in family.samples
    }
    assert found["kling_gateway_refusals_total", "budget", "runapi"] == 1
    spent = float(watched.ledger.wallets.get("team").spent.amount)
    assert found["kling_gateway_committed_amount_total", "USD", "runapi"] == spent
    assert found["kling_wallet_spent_amount", "USD", "team"] == spent

    costs = [
        span.attributes["gen_ai.usage.cost.amount"]
        for span in watched.spans.get_finished_spans()
        if span.attributes and "gen_ai.usage.cost.amount" in span.attributes
    ]
    assert set(costs) == {spent}


def test_nothing_that_is_secret_is_seen_anywhere(watched: Watched):
    watched.submit()
    watched.submit(duration_seconds=10)
    watched.submit(prompt=PROMPT * 200)
    watched.submit(model=["a", "list"])
    spans = " ".join(span.to_json() for span in watched.spans.get_finished_spans())
    pages = [watched.get(path).text for path in ("/", "/page/now", "/metrics", "/readyz")]
    for told in (*pages, watched.log.getvalue(), spans):
        assert PROMPT[:15] not in told
        assert watched.key not in told
        assert "client.example" not in told
        assert "t0p-s3cret" not in told
    assert len(watched.lines) == 4


def test_another_site_is_not_told_on_loopback(watched: Watched):
    for path in ("/", "/page/now", "/metrics"):
        assert watched.get(path).status_code == 200
        assert watched.get(path, Host="rebound.example").status_code == 421
        assert watched.get(path, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert watched.get("/healthz", Host="anything").status_code == 200


@pytest.mark.parametrize("secret", [None, "pa55"])
def test_beyond_this_machine_there_is_a_page_only_for_who_has_its_password(
    ledger: Ledger, secret: str | None
):
    settings = GatewaySettings({}, page_secret=None if secret is None else Secret(secret))
    with Gateway(ledger, settings, host="0.0.0.0") as gateway:  # noqa: S104 - that is the case
        assert gateway.shows_page is (secret is not None)
        for path in ("/", "/page/now", "/page/page.js", "/metrics"):
            answer = httpx.get(f"{gateway.url}{path}")
            assert answer.status_code == (404 if secret is None else 401)
            if secret is not None:
                assert httpx.get(f"{gateway.url}{path}", auth=("me", secret)).status_code == 200
        assert httpx.get(f"{gateway.url}/healthz").status_code == 200


RUN = "from kling_ledger.cli.gateway import gateway; gateway(prog_name='kling-ledger gateway')"


@contextmanager
def command(*options: str, **environ: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command and give its process and the address that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RUN, "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_command_serves_the_page_and_writes_a_line_a_request_where_asked(
    ledger: Ledger, team: str
):
    with command("--db", ledger.database.url, "--wallet", team, "--log") as (process, url):
        assert httpx.get(f"{url}/").status_code == 200
        httpx.post(f"{url}/runapi/api/v1/kling/text_to_video", json={"prompt": PROMPT})
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert f"Live page: {url}/" in said
    (line,) = [json.loads(one) for one in said.splitlines() if one.startswith("{")]
    assert (line["kind"], line["refusal"]) == ("submit", "request")
    assert PROMPT[:10] not in said


def test_the_command_serves_no_page_beyond_this_machine_without_a_password(ledger: Ledger):
    options = ("--db", ledger.database.url, "--host", "0.0.0.0")  # noqa: S104 - that is the case
    with command(*options) as (process, url):
        assert httpx.get(f"{url}/").status_code == 404
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert "KLING_LEDGER_PAGE_PASSWORD" in said
    with command(*options, KLING_LEDGER_PAGE_PASSWORD="pa55") as (_, url):
        assert httpx.get(f"{url}/").status_code == 401
        assert httpx.get(f"{url}/", auth=("me", "pa55")).status_code == 200
