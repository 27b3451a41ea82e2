"""The laws of money that hold always, worked out from the journal by this file's own sums.

One history in which every kind of transfer occurs is looked at after each of its steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from kling_ledger.errors import RefusedError
from kling_ledger.ledger import OPEN_STATES, Change, Job, Ledger, Reservation, Scope, State
from kling_ledger.ledger.engines.transaction import Row
from kling_ledger.ledger.journal import KINDS
from kling_pricing.money import Money
from tests.ledgers import Chance, Clock, found

MICROS = (1, 250_000, 1_000_000, 1_000_001, 3_000_000)


@dataclass(frozen=True)
class Standing:
    """Everything that counts money, after one step."""

    wallets: list[Row]
    reservations: list[Row]
    windows: list[Row]
    transfers: list[Row]


class History:
    """Makes one step after another, as a seed says."""

    def __init__(self, ledger: Ledger, clock: Clock, seed: int) -> None:
        self.ledger, self.clock = ledger, clock
        self.random = Random(seed)  # noqa: S311 - a history to repeat, no secret

    def start(self) -> None:
        for name in ("team", "solo"):
            self.ledger.wallets.create(name, "USD")
            self.ledger.wallets.fund(name, Money.from_micro(20_000_000, "USD"))
        self.ledger.budgets.set("all", Money.from_micro(60_000_000, "USD"), window="day")
        team = Scope(wallet="team")
        self.ledger.budgets.set("team", Money.from_micro(9_000_000, "USD"), scope=team)

    def step(self) -> None:
        moves: list[Callable[[], object]] = [
            *(self.fund, self.adjust, self.wait, self.expire, self.reserve, self.reserve),
            *(self.part, self.commit, self.roll_back, self.refund, self.correct),
            *(self.hold, self.undo),
        ]
        self.random.choice(moves)()

    def amount(self) -> Money:
        return Money.from_micro(self.random.choice(MICROS), "USD")

    def wallet(self) -> str:
        return self.random.choice(("team", "solo"))

    def one(self, *states: State) -> Reservation | None:
        rows = found(self.ledger, "SELECT id FROM reservation ORDER BY id")
        known = [self.ledger.reservations.get(row["id"]) for row in rows]
        fit = [one for one in known if one.state in states]
        return self.random.choice(fit) if fit else None

    def fund(self) -> None:
        self.ledger.wallets.fund(self.wallet(), self.amount())

    def adjust(self) -> None:
        micro = self.random.choice((1, -1)) * self.random.choice(MICROS)
        amount = Money.from_micro(micro, "USD")
        self.ledger.wallets.adjust(self.wallet(), amount, reason="the bill says so")

    def reserve(self) -> None:
        until = self.clock.now + timedelta(hours=self.random.choice((1, 100)))
        job = Job(provider="crun", model="kling-v3")
        with suppress(RefusedError):
            self.ledger.reserve(self.wallet(), self.amount(), job=job, expires_at=until)

    def commit(self) -> None:
        if one := self.one(State.RESERVED, State.IN_DOUBT, State.ROLLED_BACK, State.EXPIRED):
            self.ledger.commit(one.id, self.amount())

    def part(self) -> None:
        if one := self.one(State.RESERVED):
            self.ledger.commit(one.id, self.amount(), is_part=True)

    def roll_back(self) -> None:
        if one := self.one(State.RESERVED):
            self.ledger.roll_back(one.id, "not wanted")

    def refund(self) -> None:
        one = self.one(State.COMMITTED)
        if one and one.committed and one.committed - one.refunded >= (amount := self.amount()):
            self.ledger.refund(one.id, amount, reason="a black clip")

    def correct(self) -> None:
        if one := self.one(State.COMMITTED, State.ROLLED_BACK, State.EXPIRED):
            self.ledger.correct(one.id, self.amount(), reason="the bill says so")

    def hold(self) -> None:
        if one := self.one(State.RESERVED, State.IN_DOUBT):
            self.ledger.hold(one.id, self.amount(), reason="the provider set that aside")

    def undo(self) -> None:
        if one := self.one(State.COMMITTED, State.ROLLED_BACK, State.EXPIRED):
            again = Change(one.id, State.IN_DOUBT, one.amount, is_undo=True, reason="undone")
            self.ledger.settle([again])

    def wait(self) -> None:
        self.clock.forward(hours=self.random.choice((1, 2, 20)))

    def expire(self) -> None:
        self.ledger.expire()


def look(ledger: Ledger) -> Standing:
    names = ("wallet", "reservation", "budget_window", "transfer")
    return Standing(*(found(ledger, f"SELECT * FROM {name}") for name in names))


@pytest.fixture(scope="module")
def standings(tmp_path_factory: pytest.TempPathFactory) -> list[Standing]:
    """What every step of three histories left."""
    folder: Path = tmp_path_factory.mktemp("laws")
    return [one for seed in (1, 2, 3) for one in _histories(folder / f"{seed}.db", seed)]


def _histories(path: Path, seed: int) -> Iterator[Standing]:
    clock = Clock()
    with Ledger(str(path), clock=clock, chance=Chance(), actor="ada") as ledger:
        history = History(ledger, clock, seed)
        history.start()
        for _ in range(120):
            history.step()
            yield look(ledger)


def balance(transfers: list[Row], account: str) -> int:
    """What an account holds: everything credited to it, less everything debited."""
    amounts = [
        int(row["amount_micro"]) * sign
        for row in transfers
        for side, sign in (("credit_account", 1), ("debit_account", -1))
        if row[side] == account
    ]
    return sum(amounts)


def spent(reservation: Row) -> int:
    return int((reservation["committed_micro"] or 0) - reservation["refunded_micro"])


def test_the_histories_hold_every_kind_of_transfer(standings):
    seen = {row["kind"] for standing in standings for row in standing.transfers}
    assert seen == {kind for kind, _, _ in KINDS}


def test_what_is_available_and_reserved_is_what_the_journal_put_there(standings):
    for standing in standings:
        for wallet in standing.wallets:
            own = f"wallet/{wallet['id']}"
            reserved = balance(standing.transfers, f"{own}/reserved")
            available = balance(standing.transfers, f"{own}/available")
            assert wallet["reserved_micro"] == reserved
            assert wallet["posted_micro"] - wallet["reserved_micro"] == available


def test_what_is_posted_is_what_was_funded_and_adjusted_less_what_jobs_cost(standings):
    for standing in standings:
        for wallet in standing.wallets:
            jobs = [row for row in standing.reservations if row["wallet_id"] == wallet["id"]]
            given = wallet["funded_micro"] + wallet["adjusted_micro"]
            assert wallet["posted_micro"] == given - sum(spent(row) for row in jobs)


def test_what_a_wallet_has_reserved_is_what_its_open_jobs_hold(standings):
    for standing in standings:
        for wallet in standing.wallets:
            jobs = [row for row in standing.reservations if row["wallet_id"] == wallet["id"]]
            assert wallet["reserved_micro"] == sum(row["held_micro"] for row in jobs)
            assert all(row["held_micro"] == 0 for row in jobs if row["state"] not in OPEN_STATES)


def test_a_window_holds_and_has_spent_what_the_jobs_admitted_in_it_do(standings):
    for standing in standings:
        wallet_of = {row["id"]: row["name"] for row in standing.wallets}
        for window in standing.windows:
            is_endless = window["starts_at"] < 0
            jobs = [
                row
                for row in standing.reservations
                if window["starts_at"] <= row["created_at"] < window["ends_at"]
                if not is_endless or wallet_of[row["wallet_id"]] == "team"
            ]
            assert window["held_micro"] == sum(row["held_micro"] for row in jobs)
            assert window["spent_micro"] == sum(spent(row) for row in jobs)


def test_nothing_that_was_set_aside_for_a_job_is_lost(standings):
    for standing in standings:
        for job in standing.reservations:
            out: dict[str, int] = {}
            for row in standing.transfers:
                if row["reservation_id"] == job["id"]:
                    out[row["kind"]] = out.get(row["kind"], 0) + row["amount_micro"]
            back = sum(out.get(kind, 0) for kind in ("return", "roll_back", "expire"))
            back -= out.get("reopen", 0)
            assert out["reserve"] == job["held_micro"] + out.get("commit", 0) + back


def test_credits_only_come_from_funding_and_adjustment_and_go_to_providers(standings):
    for standing in standings:
        transfers = standing.transfers
        names = {row["debit_account"] for row in transfers}
        names |= {row["credit_account"] for row in transfers}
        wallets = sum(row["posted_micro"] for row in standing.wallets)
        elsewhere = [name for name in names if not name.startswith("wallet/")]
        assert wallets == -sum(balance(transfers, name) for name in elsewhere)
