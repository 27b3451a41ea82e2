"""A cost far above what was held is charged, and it is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kling_ledger import Ledger
from kling_ledger.jobs.overcharge import noted, overcharge
from kling_ledger.ledger import Job, Reservation, State
from kling_pricing import Money
from tests.ledgers import money, usd
from tests.witness.account import Script
from tests.witness_ledger import Opens, check_agrees, opening


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reservation]:
    """A reservation of 0.675 USD."""
    with Ledger(str(tmp_path_factory.mktemp("held") / "ledger.sqlite")) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("10"))
        yield ledger.reserve("team", usd("0.675"), job=Job(usd=usd("0.675")))


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        ("67.5", "charged 67.5 USD, 100 x what was held (0.675 USD)"),
        ("1.35", "charged 1.35 USD, 2 x what was held (0.675 USD)"),
        ("1.688", "charged 1.688 USD, 2.5 x what was held (0.675 USD)"),
        ("1.349999", None),
        ("0.675", None),
        ("0", None),
    ],
)
def test_from_twice_what_was_held_a_cost_is_odd(held: Reservation, cost: str, said: str | None):
    assert overcharge(held, usd(cost)) == said


@pytest.mark.parametrize(
    ("cost", "is_said"), [("0.700001", True), ("0.70", False), ("0.69", False)]
)
def test_whatever_is_above_the_ceiling_is_odd(held: Reservation, cost: str, is_said: bool):
    odd = overcharge(held, usd(cost), ceiling=usd("0.70"))
    said = f"charged {usd(cost)}, 1 x what was held (0.675 USD), above the ceiling of 0.7 USD"
    assert odd == (said if is_said else None)


def test_a_ceiling_in_another_unit_says_nothing(held: Reservation):
    assert overcharge(held, usd("0.8"), ceiling=money("1 crun-credit")) is None


def of(held: Reservation, amount: str, worth: Money | None) -> Reservation:
    return replace(held, amount=money(amount), job=replace(held.job, usd=worth))


@pytest.mark.parametrize(
    ("worth", "cost", "is_said"),
    [
        ("0.05", "30 crun-credit", True),
        ("0.05", "29.99 crun-credit", False),
        (None, "20 crun-credit", True),
    ],
)
def test_a_trifle_is_not_odd_unless_nobody_knows_its_worth(
    held: Reservation, worth: str | None, cost: str, is_said: bool
):
    cheap = of(held, "10 crun-credit", None if worth is None else usd(worth))
    assert (overcharge(cheap, money(cost)) is not None) is is_said


def test_a_cost_where_nothing_was_held_is_odd(held: Reservation):
    odd = overcharge(of(held, "0 USD", usd("0")), usd("0.5"))
    assert odd == "charged 0.5 USD, but nothing was held"


def test_without_a_cost_of_the_providers_nothing_is_odd(held: Reservation):
    assert overcharge(held, None) is None
    assert overcharge(held, money("9 crun-credit")) is None


def test_a_problem_of_the_jobs_own_is_kept_beside_it():
    assert noted("no clip", "charged 9 USD") == "no clip; charged 9 USD"
    assert [noted(None, "odd"), noted("no clip", None), noted(None, None)] == [
        "odd",
        "no clip",
        None,
    ]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opens]:
    with opening(tmp_path) as opens:
        yield opens


def test_a_hundredfold_cost_is_charged_and_kept_as_a_problem(opened: Opens):
    found = opened("runapi")
    job = found.run(Script(settled=67_500_000))
    check_agrees(found, job)
    assert (job.state, job.settled_by) == (State.COMMITTED, "provider")
    # RunAPI's own estimate is of whole cents: that much is held.
    assert job.problem == "charged 67.5 USD, 99 x what was held (0.68 USD)"


def test_what_is_above_the_ceiling_of_a_run_is_said(opened: Opens):
    found = opened("crun")
    meter = replace(found.meter(), ceiling=money("280 crun-credit"))
    job = found.run(Script(settled=281_000_000), meter=meter)
    check_agrees(found, job)
    assert job.problem is not None
    assert job.problem.endswith("above the ceiling of 280 crun-credit")
