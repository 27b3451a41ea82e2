"""Ctrl-C: whoever is interrupted may call again, and spoils nothing for those who wait too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kling_ledger.ledger import Ledger
from kling_pricing.money import Money
from tests.ledger_worker import Nursery, nursery_running
from tests.ledgers import found, make_empty
from tests.sweeps import sampled

CLIP = Money.parse("0.01 USD")
THREADS, CALLS = 3, 150


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with nursery_running() as running:
        yield running


SLOW_SEEDS = [pytest.param(number, marks=pytest.mark.slow) for number in range(3, 30)]


@pytest.mark.parametrize("times", sampled([4, 1], every=2))
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("seed", [1, 2, *SLOW_SEEDS])
def test_an_interrupted_thread_spoils_nothing_for_the_others(
    nursery, tmp_path, processes, times, seed
):
    check_nothing_is_spoilt(nursery, str(tmp_path / "ledger.sqlite"), processes, times, seed)


@pytest.mark.parametrize("times", sampled([4, 1], every=2))
@pytest.mark.parametrize("seed", [1, *SLOW_SEEDS])
def test_an_interrupted_thread_spoils_nothing_on_a_server_either(
    nursery, postgres_ledger, times, seed
):
    make_empty(postgres_ledger)
    check_nothing_is_spoilt(nursery, postgres_ledger, 2, times, seed)


def check_nothing_is_spoilt(
    nursery: Nursery, url: str, processes: int, times: int, seed: int
) -> None:
    with Ledger(url, actor="tester") as ledger:
        for wallet in ("interrupted", "others"):
            ledger.wallets.create(wallet, "USD")
            ledger.wallets.fund(wallet, Money.parse("100 USD"))
        command = {"do": "interrupted", "path": url, "amount": str(CLIP), "times": times}
        told = nursery.run(
            [
                {**command, "threads": THREADS, "calls": CALLS, "seed": seed + number}
                for number in range(processes)
            ]
        )
        assert all(answer["interrupts"] > 10 for answer in told)
        made = {
            row["name"]: row["n"]
            for row in found(
                ledger,
                "SELECT wallet.name, COUNT(*) AS n FROM reservation"
                " JOIN wallet ON wallet.id = reservation.wallet_id GROUP BY wallet.name",
            )
        }
        assert made == {"interrupted": CALLS * processes, "others": THREADS * CALLS * processes}
        assert ledger.verify().findings == ()
