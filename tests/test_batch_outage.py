"""Outages: what a batch does while a gateway gives no clear answers, over real HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kling_ledger.jobs.batch import Batch
from kling_ledger.jobs.batch_jobs import (
    BatchJob,
    Outcome,
    attempts_to_do,
    content_keys,
    known_outcomes,
)
from kling_ledger.jobs.breaker import Pause
from kling_pricing.gateways import read_request
from kling_pricing.library import Library
from tests.cli import Cli
from tests.sandbox_rig import AT
from tests.sweeps import sampled
from tests.witness.server import Gateway, Reply, Request, proxy_page
from tests.witness_ledger import (
    KEYS,
    NAMES,
    TYPICAL,
    Bench,
    Opens,
    check_rules,
    opening,
    request_body,
)

PROBE_S = 0.25


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opens]:
    """Benches for as long as a test runs."""
    with opening(tmp_path) as opens:
        yield opens


@dataclass
class Failing:
    """A proxy that fails from its so-manieth request on, for a while.

    Of what is posted meanwhile every other request reaches the gateway, and its answer is lost.
    With `only_posts`, questions are answered all the time.
    """

    gateway: Gateway
    after: int
    for_s: float
    only_posts: bool = False
    passed: int = 0
    seen: int = 0
    until: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Reply:
        """Pass a request on, or answer it with a page of the proxy's own."""
        with self.lock:
            self.passed += 1
            if self.until is None and self.passed > self.after:
                self.until = time.monotonic() + self.for_s
            is_out = self.until is not None and time.monotonic() < self.until
            is_out = is_out and not (self.only_posts and request.method == "GET")
            self.seen += is_out
            reaches = is_out and self.seen % 2 == 0
        if not is_out or reaches:
            reply = self.gateway.answer(request)
        return proxy_page(503, "503 Service Unavailable") if is_out else reply


@dataclass
class Refusing:
    """A gateway that answers every creation with a refusal, of the key or of the account."""

    gateway: Gateway
    status: int
    posts: int = 0

    def answer(self, request: Request) -> Reply:
        """Refuse a creation; pass the rest on."""
        asks_price = any(word in request.path.lower() for word in ("estimate", "price"))
        if request.method != "POST" or asks_price:
            return self.gateway.answer(request)
        self.posts += 1
        return Reply(self.status, {"code": self.status, "error": {"message": "no"}})


def jobs_of(name: str, many: int) -> list[BatchJob]:
    body = request_body(TYPICAL[name])
    requests = [read_request(name, {**body}) for _ in range(many)]
    keys = content_keys("clips", [(one, None, None) for one in requests])
    book = Library().book(name)
    return [
        BatchJob(place, one, one.quote(at=AT, book=book), key)
        for place, (one, key) in enumerate(zip(requests, keys, strict=True), 1)
    ]


@dataclass
class Ran:
    """What became of a batch, and what it told."""

    outcomes: dict[int, Outcome]
    pauses: list[Pause | None]
    batch: Batch
    troubles: list[str]

    @property
    def in_doubt(self) -> int:
        """How many of its jobs nobody knows of."""
        return sum(one.is_open for one in self.outcomes.values())

    @property
    def done(self) -> int:
        """How many of its jobs were made."""
        return sum(one.is_done for one in self.outcomes.values())


def run(found: Bench, jobs: list[BatchJob], *, concurrency: int, probe_s: float = PROBE_S) -> Ran:
    """Run what is left to do of jobs, as a command does."""
    pauses: list[Pause | None] = []
    todo = attempts_to_do(jobs, known_outcomes(found.ledger, jobs))
    batch = Batch(
        {found.name: found.meter(longest_s=60)},
        todo,
        concurrency=concurrency,
        polls_per_s=2000,
        probe_s=probe_s,
        on_pause=lambda _, pause: pauses.append(pause),
    )
    outcomes = batch.run()
    return Ran(outcomes, pauses, batch, [str(one) for one in found.troubles])


def check_outage(found: Bench, ran: Ran, many: int, *, concurrency: int) -> None:
    """At most two rounds of jobs are in doubt, all others are done; the reason was told once."""
    check_rules(found)
    assert ran.in_doubt <= 2 * concurrency
    assert ran.done == many - ran.in_doubt
    assert ran.batch.not_started == []
    told, gone_on = ran.pauses
    assert told is not None
    assert f"{found.name} gives no clear answers" in str(told)
    assert "503" in str(told)
    assert gone_on is None


@pytest.mark.parametrize("name", NAMES)
def test_an_outage_leaves_few_jobs_in_doubt_and_the_batch_goes_on_by_itself(
    opened: Opens, name: str
):
    found = opened(name, front=lambda gateway: Failing(gateway, after=60, for_s=3))
    ran = run(found, jobs_of(name, 60), concurrency=4)
    check_outage(found, ran, 60, concurrency=4)


@pytest.mark.parametrize("name", ["crun", "evolink"])
def test_where_questions_are_answered_and_submissions_are_not_few_jobs_try(
    opened: Opens, name: str
):
    found = opened(name, front=lambda gateway: Failing(gateway, after=40, for_s=3, only_posts=True))
    ran = run(found, jobs_of(name, 60), concurrency=4, probe_s=0.5)
    check_outage(found, ran, 60, concurrency=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["crun", "evolink"])
def test_a_long_outage_leaves_few_of_many_jobs_in_doubt(opened: Opens, name: str):
    found = opened(
        name, funded="1000000", front=lambda gateway: Failing(gateway, after=200, for_s=20)
    )
    found.account.funded *= 10
    ran = run(found, jobs_of(name, 600), concurrency=8, probe_s=5.0)
    check_outage(found, ran, 600, concurrency=8)


@pytest.mark.parametrize("status", [401, 402, 403])
@pytest.mark.parametrize("name", ["crun", "evolink", "uniall", "runapi"])
def test_a_refusal_of_the_account_stops_the_batch_and_what_was_not_begun_is_not_reserved(
    opened: Opens, name: str, status: int
):
    fronts: list[Refusing] = []

    def front(gateway: Gateway) -> Refusing:
        fronts.append(Refusing(gateway, status))
        return fronts[0]

    found = opened(name, front=front)
    jobs = jobs_of(name, 40)
    ran = run(found, jobs, concurrency=4)
    assert 1 <= fronts[0].posts <= 4
    assert len(found.reservations()) == fronts[0].posts
    assert len(ran.batch.not_started) == 40 - fronts[0].posts
    assert [str(status) in str(pause) for pause in ran.pauses] == [True]
    assert all(one.error is not None for one in ran.outcomes.values())
    run(found, jobs, concurrency=4)
    assert len(found.reservations()) == fronts[0].posts <= 8


@pytest.mark.parametrize("name", sampled(["crun", "evolink"], every=2))
def test_the_command_tells_the_reason_of_an_outage_once(opened: Opens, tmp_path: Path, name: str):
    found = opened(name, front=lambda gateway: Failing(gateway, after=60, for_s=3))
    rows = [{"provider": name, "request": request_body(TYPICAL[name])} for _ in range(60)]
    (tmp_path / "clips.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    cli = Cli(tmp_path, {f"{name.upper()}_API_KEY": KEYS[name], "KLING_LEDGER_DB": str(found.path)})
    words = ("--wallet", "team", "--base-url", found.url, "--poll-every", "0.05")
    said = cli("batch", "clips.jsonl", *words, "--concurrency", "4", "--format", "json")
    assert said.code == (5 if said.json["in_doubt"] else 0), said.err
    assert said.json["in_doubt"] <= 8
    assert said.json["done"] == 60 - said.json["in_doubt"]
    assert said.err.count("gives no clear answers") == 1
    assert f"{name} answers again: continuing" in said.lines
