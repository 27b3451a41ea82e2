"""The four figures of a job stand apart: quoted by the book, estimated, held, settled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kling_ledger import Ledger
from kling_ledger.jobs.meter import Meter
from kling_ledger.ledger import Job, State
from kling_ledger.ledger.reservations import SettledBy, quoted_job
from kling_ledger.providers.base import Pacing
from kling_ledger.providers.registry import connect
from kling_ledger.sandbox import Sandbox
from kling_pricing import Clip, quote
from kling_pricing.book_reader import BookText
from kling_pricing.library import library_of
from tests.ledgers import found, make_empty, money, tamper, usd
from tests.metering import QUICK
from tests.sandbox_rig import body
from tests.test_live_estimates import WITHOUT

AT = datetime(2026, 11, 20, tzinfo=UTC)
FIGURES = "SELECT quoted_micro, low_micro, estimated_micro, reserved_micro FROM reservation"


@pytest.fixture
def meter(ledger: Ledger, sandbox: Sandbox) -> Iterator[Meter]:
    """A meter at RunAPI that asks for estimates, with a wallet of 100 USD."""
    ledger.wallets.create("runapi", "USD")
    ledger.wallets.fund("runapi", usd("100"))
    key = sandbox.settings.key_of("runapi")
    pacing = Pacing(sleep=lambda _: None)
    with closing(connect("runapi", api_key=key, base_url=sandbox.url, pacing=pacing)) as provider:
        yield Meter(ledger, provider, wallet="runapi", patience=QUICK)


def test_what_the_book_and_what_the_provider_says_are_kept_apart(meter: Meter):
    ended = meter.run(body("runapi", "a lake [estimate 1.35] [cost 1.35]"))
    # By the book 5 s at 0.135 USD; the provider says twice that, and twice that is held.
    assert (ended.quoted, ended.low, ended.estimated) == (usd("0.675"), usd("0.675"), usd("1.35"))
    assert (ended.amount, ended.committed, ended.settled_by) == (
        usd("1.35"),
        usd("1.35"),
        "provider",
    )
    assert ended.variance == usd("0.675")
    assert found(meter.ledger, FIGURES) == [
        {
            "quoted_micro": 675_000,
            "low_micro": 675_000,
            "estimated_micro": 1_350_000,
            "reserved_micro": 1_350_000,
        }
    ]
    assert meter.ledger.verify().is_clean


def test_an_estimate_of_another_amount_under_the_same_key_is_the_same_job(meter: Meter):
    first = meter.reserve(body("runapi", "a lake [estimate 1.35]"), key="one")
    other = replace(meter, asks_estimate=False)
    assert other.reserve(body("runapi", "a lake [estimate 1.35]"), key="one") == first


def test_what_no_book_prices_has_an_estimate_and_no_quote(meter: Meter):
    unpriced = replace(meter, library=library_of([BookText("without", WITHOUT)]))
    made = unpriced.reserve(body("runapi", "a lake [estimate 1.35]"))
    assert (made.quoted, made.low, made.estimated) == (None, None, usd("1.35"))
    ended = meter.ledger.commit(made.id, usd("1.35"), settled_by="provider")
    assert ended.variance is None


def test_a_range_of_lengths_has_a_least_and_a_most(ledger: Ledger):
    # EvoLink bills 3 to 30 seconds of what motion control makes, at 8.1648 credits each.
    clip = Clip(
        "evolink",
        "kling-v3-motion-control",
        action="motion_control",
        resolution="720p",
        orientation="video",
    )
    job = quoted_job(quote(clip, at=AT))
    ledger.wallets.create("evo", "evolink-credit")
    ledger.wallets.fund("evo", money("1000 evolink-credit"))
    made = ledger.reserve("evo", money("244.944 evolink-credit"), job=job)
    assert ledger.reservations.get(made.id) == made
    assert made.quoted == money("244.944 evolink-credit")
    assert made.low == money("24.4944 evolink-credit")


@pytest.mark.parametrize(
    ("settled_by", "variance"),
    [("provider", "-0.1"), ("bill", "-0.1"), ("quote", None), ("measured", None), ("person", None)],
)
def test_only_a_provider_or_its_bill_says_how_far_a_quote_was_off(
    ledger: Ledger, team: str, settled_by: SettledBy, variance: str | None
):
    made = ledger.reserve(team, usd("1"), job=Job(quoted=usd("0.7"), low=usd("0.7")))
    ended = ledger.commit(made.id, usd("0.6"), settled_by=settled_by)
    assert ended.variance == (None if variance is None else usd(variance))


def test_a_bill_that_corrects_a_cost_is_the_cost(ledger: Ledger, team: str):
    made = ledger.reserve(team, usd("1"), job=Job(quoted=usd("0.7")))
    ledger.commit(made.id, usd("0.9"), settled_by="quote")
    ended = ledger.correct(made.id, usd("0.8"), reason="the bill", settled_by="bill")
    assert ended.variance == usd("0.1")


def test_a_figure_in_another_unit_than_the_wallets_is_not_kept(ledger: Ledger, team: str):
    job = Job(quoted=money("27 evolink-credit"), low=money("27 evolink-credit"))
    made = ledger.reserve(team, usd("0.375"), job=job)
    assert (made.quoted, made.low, made.state) == (None, None, State.RESERVED)


def test_what_is_charged_without_an_amount_is_confirmed_by_nobody(ledger: Ledger, team: str):
    made = ledger.reserve(team, usd("1"), job=Job(quoted=usd("1"), low=usd("0.5")))
    ended = ledger.commit(made.id)
    assert (ended.committed, ended.settled_by, ended.is_confirmed) == (usd("1"), "quote", False)
    assert ended.variance is None


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
@pytest.mark.parametrize("column", ["quoted_micro", "low_micro"])
def test_verify_finds_a_figure_that_is_not_the_quotes(
    tmp_path: Path, postgres_ledger: str, engine: str, column: str
):
    make_empty(postgres_ledger)
    url = f"sqlite:///{tmp_path / 'ledger'}" if engine == "sqlite" else postgres_ledger
    clips = [
        Clip("evolink", "kling-v3-motion-control", action="motion_control", resolution="720p",
             orientation="video"),
        Clip("evolink", "kling-v3-text-to-video", seconds=10, resolution="1080p", sound=True),
        Clip("evolink", "kling-v3-text-to-video", seconds=5, resolution="1080p", sound=False),
    ]  # fmt: skip
    with Ledger(url) as ledger:
        ledger.wallets.create("evo", "evolink-credit")
        ledger.wallets.fund("evo", money("1000 evolink-credit"))
        made = []
        # 244.944, 108 and 35.991 credits: with parts, whole, and with nothing at its end.
        for clip in clips:
            quoted = quote(clip, at=AT)
            made.append(ledger.reserve("evo", quoted.amount, job=quoted_job(quoted)).id)
        # A text of somebody's own is no quote of ours.
        own = Job(quote='{"mine": 1}', quoted=money("5 evolink-credit"))
        ledger.reserve("evo", money("5 evolink-credit"), job=own)
        assert ledger.verify().is_clean
    tamper(url, f"UPDATE reservation SET {column} = {column} + 1 WHERE id = '{made[1]}'")
    with Ledger(url) as ledger:
        (finding,) = ledger.verify().findings
    assert (finding.subject, "its quote does not" in finding.problem) == (made[1], True)
