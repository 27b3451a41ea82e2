"""Slots: many clients move one wallet at a time, and every answer is what it is without slots."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import errors as pg_errors

from kling_ledger.errors import BudgetError, ConfigError, InsufficientCreditsError, KlingError
from kling_ledger.ledger import Asked, Change, Job, Ledger, Scope, State
from kling_ledger.ledger.budgets import Budget, Mode, Raise
from kling_ledger.ledger.slots import room_of_wallet, room_of_window
from kling_pricing.money import Money
from tests.cli import Cli
from tests.ledger_worker import Nursery, nursery_running
from tests.ledgers import Chance, Clock, found, make_empty, plain_url, tamper

SLOTS = 5
HOUR = timedelta(hours=1)
CREDIT = "crun-credit"


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with nursery_running() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(postgres_ledger: str, clock: Clock) -> Iterator[Ledger]:
    """A wallet without a credit, and slots."""
    make_empty(postgres_ledger, slots=SLOTS)
    with Ledger(postgres_ledger, actor="tester", clock=clock) as opened:
        opened.wallets.create("team", "USD")
        yield opened
        assert opened.verify().findings == ()


def micro(amount: int, unit: str = "USD") -> Money:
    return Money.from_micro(amount, unit)


def one(ledger: Ledger, query: str) -> int:
    """The only figure that a query gives, added up by the server itself."""
    [row] = found(ledger, f"SELECT CAST(({query}) AS BIGINT) AS figure")
    return int(row["figure"])


def held_and_spent(ledger: Ledger) -> int:
    """What all reservations hold and have cost, from their own rows."""
    return one(
        ledger,
        "SELECT COALESCE(SUM(held_micro + COALESCE(committed_micro, 0) - refunded_micro), 0)"
        " FROM reservation",
    )


# --- to the last millionth -----------------------------------------------------------------------


def test_what_lies_scattered_over_the_slots_is_admitted_to_the_last_millionth(ledger: Ledger):
    ledger.wallets.fund("team", micro(83))
    ledger.reserve("team", micro(3))
    assert [row["share_micro"] for row in found(ledger, "SELECT share_micro FROM slot")] == [26] * 3
    ledger.reserve("team", micro(79))
    with pytest.raises(InsufficientCreditsError) as refused:
        ledger.reserve("team", micro(2))
    assert (refused.value.available, refused.value.needed) == (micro(1), micro(2))
    ledger.reserve("team", micro(1))
    with pytest.raises(InsufficientCreditsError) as refused:
        ledger.reserve("team", micro(1))
    assert refused.value.available == micro(0)


def test_one_slot_admits_without_the_row_of_its_wallet(ledger: Ledger):
    ledger.wallets.fund("team", micro(1000))
    ledger.budgets.set("all", micro(1000), thresholds=())
    ledger.commit(ledger.reserve("team", micro(10)).id, micro(9))
    rows = "SELECT xmin::text AS written, 1 AS n FROM "
    before = found(ledger, rows + "wallet"), found(ledger, rows + "budget_window")
    for _ in range(10):
        ledger.commit(ledger.reserve("team", micro(10)).id, micro(7))
    assert (found(ledger, rows + "wallet"), found(ledger, rows + "budget_window")) == before
    assert ledger.wallets.get("team").spent == micro(79)
    assert ledger.budgets.get("all").spent == micro(79)


def test_one_slot_takes_what_jobs_of_several_minutes_cost_together(ledger: Ledger, clock: Clock):
    ledger.wallets.fund("team", micro(1000))
    ledger.budgets.set("daily", micro(1000), window="day", thresholds=())
    ledger.commit(ledger.reserve("team", micro(10)).id, micro(9))
    made = []
    for amount in (10, 20, 30):
        clock.forward(minutes=7)
        made.append(ledger.reserve("team", micro(amount)).id)
    rows = "SELECT xmin::text AS written, 1 AS n FROM budget_window"
    before = found(ledger, rows)
    costs = (micro(7), micro(11), micro(30))
    ledger.settle(
        [Change(id_, State.COMMITTED, cost) for id_, cost in zip(made, costs, strict=True)]
    )
    assert found(ledger, rows) == before
    daily = ledger.budgets.get("daily")
    assert (daily.spent, daily.reserved) == (micro(57), micro(0))
    assert ledger.wallets.get("team").spent == micro(57)


@pytest.mark.parametrize("slots", [1, 3, 8, 40])
def test_racing_processes_are_admitted_exactly_what_fits(nursery, ledger: Ledger, slots: int):
    held = 1_000_003
    ledger.use_slots(slots)
    ledger.wallets.fund("team", micro(held))
    odd = (3_001, 7_013, 11_027, 13_001, 17_011, 19_031, 23_003, 29_009)
    commands = [
        {
            "do": "reserve",
            "path": ledger.database.url,
            "wallet": "team",
            "amount": str(micro(amount)),
            "tries": held // amount // 4,
        }
        for amount in odd
    ]
    told = nursery.run(commands)
    assert sum(answer.get("insufficient_credits", 0) for answer in told) > 0
    admitted = one(ledger, "SELECT SUM(reserved_micro) FROM reservation")
    sums = sum(amount * answer.get("admitted", 0) for amount, answer in zip(odd, told, strict=True))
    assert admitted == sums
    # The smallest was asked for until the end or until it was refused: what is left is admitted.
    left = held - admitted
    assert left >= 0
    assert ledger.wallets.get("team").available == micro(left)
    if left:
        ledger.reserve("team", micro(left))
    with pytest.raises(InsufficientCreditsError):
        ledger.reserve("team", micro(1))


@pytest.mark.parametrize("processes", [2, 8])
def test_racing_processes_never_pass_a_budget_and_reach_each_last_unit(
    nursery, ledger: Ledger, processes: int
):
    ledger.wallets.fund("team", micro(10_000_000))
    ledger.budgets.set("month", micro(100_000), thresholds=(10, 50, 80, 100))
    ledger.budgets.set("team", micro(250_000), scope=Scope(wallet="team"))
    asking = {
        "do": "reserve",
        "path": ledger.database.url,
        "wallet": "team",
        "amount": str(micro(1_000)),
        "tries": 160 // processes,
    }
    told = nursery.run([dict(asking) for _ in range(processes)])
    assert sum(answer["admitted"] for answer in told) == 100
    assert sum(answer.get("budget", 0) for answer in told) == 160 // processes * processes - 100
    assert held_and_spent(ledger) == 100_000
    assert ledger.budgets.get("month").left == micro(0)
    assert ledger.budgets.get("team").left == micro(150_000)


def test_whatever_is_called_while_slots_come_and_go_nothing_is_lost(nursery, ledger: Ledger):
    ledger.wallets.fund("team", micro(20_000_000))
    ledger.budgets.set("all", micro(30_000_000), mode="warn", thresholds=(1, 5, 20, 80))
    ledger.budgets.set("cap", micro(900_000_000), window="hour")
    url = ledger.database.url
    living = [
        {"do": "live", "path": url, "wallet": "team", "seed": seed, "calls": 60}
        for seed in range(6)
    ]
    switching = {"do": "use_slots", "path": url, "counts": [0, 7, 1, 0, 3, 16, 2, 0, 5]}
    nursery.run([*living, switching])
    # In doubt nothing is known here but what the rows say: the balances are their sums.
    [row] = found(ledger, "SELECT funded_micro, adjusted_micro FROM wallet")
    given = row["funded_micro"] + row["adjusted_micro"]
    team = ledger.wallets.get("team")
    assert given - held_and_spent(ledger) == team.available.micro
    assert ledger.slots == SLOTS
    assert (
        found(ledger, "SELECT 1 AS n FROM slot WHERE share_micro NOT BETWEEN 0 AND most_micro")
        == []
    )


# --- the same answers as without -----------------------------------------------------------------


def answers(url: str, seed: int, slots: int) -> list[str]:
    """What a serial history answers: refusals in their words, warnings, and how all stands."""
    make_empty(url, slots=slots)
    clock, chance = Clock(), Random(seed)  # noqa: S311 - a history to repeat, no secret
    told: list[str] = []
    with Ledger(url, actor="tester", clock=clock, chance=Chance()) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.create("crun", CREDIT)
        ledger.wallets.fund("team", micro(900))
        ledger.wallets.fund("crun", micro(5_000, CREDIT))
        ledger.budgets.set("tiers", micro(1_000), thresholds=(10, 33, 50, 80, 100))
        ledger.budgets.set("daily", micro(400), window="day", thresholds=(50, 120), mode="warn")
        ledger.budgets.set("crun", micro(700), scope=Scope(wallet="crun"), window="hour")
        made: list[tuple[str, str]] = []
        for _ in range(120):
            try:
                told.append(_step(ledger, clock, chance, made))
            except KlingError as error:
                told.append(f"{type(error).__name__}: {error}")
            told.append(repr([*ledger.wallets.all(), *ledger.budgets.all()]))
        assert ledger.verify().findings == ()
        told.extend(ledger.canonical_journal())
    return told


def _step(ledger: Ledger, clock: Clock, chance: Random, made: list[tuple[str, str]]) -> str:
    clock.forward(minutes=chance.choice((0, 1, 25)))
    amount = chance.choice((1, 7, 40, 99))
    kind = chance.randrange(12)
    if kind < 5 or not made:
        wallet, unit = chance.choice((("team", "USD"), ("crun", CREDIT)))
        job = Job(usd=micro(amount // 2 + 1)) if unit == CREDIT else Job()
        due = clock.now + HOUR if kind == 0 else None
        reserved = ledger.reserve(wallet, micro(amount, unit), job=job, expires_at=due)
        made.append((reserved.id, unit))
        return str([str(one) for one in reserved.warnings])
    reservation, unit = chance.choice(made)
    until = clock.now + HOUR
    calls: list[Any] = [
        lambda: ledger.commit(reservation, micro(amount, unit)),
        lambda: ledger.commit(reservation),
        lambda: ledger.roll_back(reservation, "it failed"),
        lambda: ledger.refund(reservation, micro(amount, unit), reason="dark"),
        lambda: ledger.hold(reservation, micro(amount, unit), reason="theirs"),
        lambda: ledger.settle([Change(reservation, State.ROLLED_BACK, problem="no")]),
        lambda: ledger.wallets.fund("team", micro(amount)),
        lambda: ledger.wallets.adjust("team", micro(-amount), reason="counted"),
        lambda: ledger.budgets.raise_limit("tiers", micro(amount), until=until, reason="more"),
        lambda: ledger.budgets.set("tiers", micro(900 + amount), thresholds=(10, 33, 80)),
        ledger.expire,
    ]
    called = chance.choice(calls)()
    return str(type(called).__name__)


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 60))]
)
def test_a_history_is_answered_alike_with_any_number_of_slots(postgres_ledger: str, seed: int):
    without = answers(postgres_ledger, seed, 0)
    assert any("%" in told for told in without)
    for slots in (1, 2, 7):
        assert answers(postgres_ledger, seed, slots) == without


def test_a_threshold_is_told_of_once_by_the_job_that_passes_it(ledger: Ledger):
    ledger.wallets.fund("team", micro(10_000))
    ledger.budgets.set("all", micro(1_000), thresholds=(50, 80, 100))
    told = {
        number: [warning.threshold for warning in made.warnings]
        for number in range(1, 101)
        if (made := ledger.reserve("team", micro(10))).warnings
    }
    assert told == {50: [50], 80: [80], 100: [100]}
    with pytest.raises(BudgetError) as refused:
        ledger.reserve("team", micro(1))
    assert (refused.value.limit, refused.value.reserved) == (micro(1_000), micro(1_000))


def test_a_threshold_that_was_left_again_is_told_of_again(ledger: Ledger):
    ledger.wallets.fund("team", micro(10_000))
    ledger.budgets.set("all", micro(1_000), thresholds=(50,))
    ledger.reserve("team", micro(480))
    for _ in range(3):
        passing = ledger.reserve("team", micro(30))
        assert [warning.used for warning in passing.warnings] == [micro(510)]
        after = ledger.reserve("team", micro(1))
        assert after.warnings == ()
        ledger.roll_back(passing.id, "it failed")
        ledger.roll_back(after.id, "it failed")


def test_a_raise_ends_by_the_clock_to_the_last_millionth(ledger: Ledger, clock: Clock):
    ledger.wallets.fund("team", micro(10_000))
    ledger.budgets.set("all", micro(100), thresholds=())
    ledger.reserve("team", micro(90))
    ledger.budgets.raise_limit("all", micro(50), until=clock.now + HOUR, reason="more")
    extra = ledger.reserve("team", micro(45))
    ledger.commit(extra.id, micro(5))
    clock.now += HOUR
    with pytest.raises(BudgetError) as refused:
        ledger.reserve("team", micro(6))
    assert (refused.value.limit, refused.value.fits) == (micro(100), micro(5))
    ledger.reserve("team", micro(5))


def test_a_job_that_costs_more_than_all_is_charged_whole_and_then_nothing_is_admitted(
    ledger: Ledger,
):
    ledger.wallets.fund("team", micro(1_000))
    ledger.budgets.set("all", micro(1_000))
    many = [ledger.reserve("team", micro(100)).id for _ in range(5)]
    ledger.commit(many[0], micro(700))
    assert ledger.wallets.get("team").available == micro(-100)
    for reservation in many[1:3]:
        with pytest.raises(BudgetError):
            ledger.reserve("team", micro(1))
        ledger.roll_back(reservation, "it failed")
    assert ledger.wallets.get("team").available == micro(100)
    ledger.reserve("team", micro(100))
    with pytest.raises(BudgetError):
        ledger.reserve("team", micro(1))


def test_adjusting_down_takes_from_the_slots_too(ledger: Ledger):
    ledger.wallets.fund("team", micro(1_000))
    ledger.reserve("team", micro(100))
    ledger.wallets.adjust("team", micro(-850), reason="counted")
    with pytest.raises(InsufficientCreditsError) as refused:
        ledger.reserve("team", micro(51))
    assert refused.value.available == micro(50)
    ledger.reserve("team", micro(50))


def test_a_lower_limit_holds_at_once(ledger: Ledger):
    ledger.wallets.fund("team", micro(10_000))
    ledger.budgets.set("all", micro(1_000))
    ledger.reserve("team", micro(100))
    ledger.budgets.set("all", micro(150))
    with pytest.raises(BudgetError):
        ledger.reserve("team", micro(51))
    ledger.reserve("team", micro(50))


def test_of_many_jobs_each_is_decided_on_the_whole(ledger: Ledger):
    ledger.wallets.fund("team", micro(100))
    ledger.reserve("team", micro(1))
    asked = [Asked("team", micro(amount)) for amount in (60, 40, 39, 1)]
    outcomes = ledger.reserve_each(asked)
    assert [isinstance(one, InsufficientCreditsError) for one in outcomes] == [
        False,
        True,
        False,
        True,
    ]


# --- rooms ---------------------------------------------------------------------------------------


def budget(
    limit: int, mode: Mode, thresholds: tuple[int, ...], raises: tuple[Raise, ...]
) -> Budget:
    return Budget(
        "bud_1", "all", "USD", limit, None, mode, thresholds, Scope(), None, "none", "UTC", raises
    )


@given(
    st.integers(0, 40),
    st.sampled_from(("hard", "warn")),
    st.sets(st.integers(1, 150), max_size=3),
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 6)), max_size=2),
    st.integers(0, 70),
    st.integers(0, 7),
)
def test_within_the_room_of_a_window_nothing_is_refused_and_nothing_told(
    limit, mode, thresholds, raised, used, at
):
    raises = tuple(Raise(amount, until) for amount, until in raised)
    room = room_of_window(budget(limit, mode, tuple(thresholds), raises), used, at)
    inside = range(max(used - room.down, 0), min(used + room.up, 200) + 1)
    for instant in range(at, 8):
        now = limit + sum(amount for amount, until in raised if instant < until)
        passed = {tuple(use * 100 >= one * now for one in thresholds) for use in inside}
        assert len(passed) == 1
        assert mode == "warn" or room == room_of_wallet(-1) or used + room.up <= now


def test_the_room_of_a_wallet_is_what_it_has_available():
    assert room_of_wallet(7).up == 7
    assert (room_of_wallet(-1).up, room_of_wallet(-1).down) == (0, 0)


# --- turning them on and off ---------------------------------------------------------------------


def test_without_slots_again_all_is_gathered(ledger: Ledger):
    ledger.wallets.fund("team", micro(1_000))
    ledger.budgets.set("all", micro(1_000))
    for _ in range(4):
        ledger.commit(ledger.reserve("team", micro(10)).id, micro(8))
    before = ledger.wallets.all(), ledger.budgets.all()
    ledger.use_slots(0)
    assert (ledger.wallets.all(), ledger.budgets.all()) == before
    assert found(ledger, "SELECT 1 AS n FROM slot") == []
    [row] = found(ledger, "SELECT posted_micro, reserved_micro, shared_micro FROM wallet")
    assert list(row.values()) == [968, 0, None]


def test_another_ledger_learns_of_slots_at_once(ledger: Ledger):
    ledger.use_slots(0)
    ledger.wallets.fund("team", micro(1_000))
    with Ledger(ledger.database.url, actor="other") as other:
        other.reserve("team", micro(10))
        ledger.use_slots(3)
        other.reserve("team", micro(10))
        assert other.slots == 3
        assert one(ledger, "SELECT COUNT(*) FROM slot") == 3


def test_the_slots_of_windows_that_are_over_are_gathered(ledger: Ledger, clock: Clock):
    ledger.wallets.fund("team", micro(1_000))
    ledger.budgets.set("hourly", micro(1_000), window="hour")
    for _ in range(5):
        late = ledger.reserve("team", micro(10))
        clock.now += HOUR
        ledger.commit(late.id, micro(10))
    ledger.reserve("team", micro(10))
    windows = found(ledger, "SELECT DISTINCT owner_id, starts_at FROM slot")
    assert len(windows) == 2


def test_a_file_has_no_slots(tmp_path: Path):
    with Ledger(str(tmp_path / "ledger.sqlite")) as ledger:
        with pytest.raises(ConfigError, match="slots are for PostgreSQL"):
            ledger.use_slots(4)
        assert ledger.slots == 0


@pytest.mark.parametrize("count", [-1, 257])
def test_there_cannot_be_any_number_of_slots(ledger: Ledger, count: int):
    with pytest.raises(ConfigError, match=f"invalid number of slots: {count}"):
        ledger.use_slots(count)
    assert ledger.slots == SLOTS


def test_slots_are_set_on_the_command_line(ledger: Ledger, tmp_path: Path):
    cli = Cli(tmp_path, {"KLING_LEDGER_DB": ledger.database.url})
    assert cli.json("db", "slots", "12")["slots"] == 12
    assert ledger.slots == 12
    assert cli("db", "slots", "0").code == 0
    assert ledger.slots == 0


def test_a_file_is_refused_slots_on_the_command_line(tmp_path: Path):
    Ledger(str(tmp_path / "ledger.sqlite")).close()
    said = Cli(tmp_path, {"KLING_LEDGER_DB": str(tmp_path / "ledger.sqlite")})("db", "slots", "4")
    assert said.code == 2
    assert "a file has one writer at a time" in said.lines[0]


# --- who knows nothing of slots, and who spoils them ---------------------------------------------


def test_a_program_that_knows_nothing_of_slots_cannot_spend_what_they_were_given(ledger: Ledger):
    """What the release before this does: the rows alone decide."""
    ledger.wallets.fund("team", micro(1_003))
    ledger.reserve("team", micro(1))
    take = (
        "UPDATE wallet SET reserved_micro = reserved_micro + {0}"
        " WHERE posted_micro - reserved_micro >= {0}"
    )
    with psycopg.connect(plain_url(ledger.database.url), autocommit=True) as older:
        assert older.execute(take.format(3)).rowcount == 0
        with pytest.raises(pg_errors.CheckViolation, match="wallet_covers_its_slots"):
            older.execute("UPDATE wallet SET posted_micro = posted_micro - 3")
        assert older.execute(take.format(2)).rowcount == 1
        older.execute("UPDATE wallet SET reserved_micro = reserved_micro - 2")


SPOIL = "UPDATE slot SET given_micro = given_micro"
OF_WALLET = "WHERE owner_id LIKE 'wal%' AND number = 0"
OF_WINDOW = "WHERE owner_id LIKE 'bud%' AND number = 0"


def test_the_database_itself_keeps_a_slot_to_what_it_was_given(ledger: Ledger):
    ledger.wallets.fund("team", micro(1_000))
    ledger.reserve("team", micro(10))
    for change in ("share_micro = share_micro + 1", "held_micro = held_micro - 1"):
        with pytest.raises(pg_errors.CheckViolation, match="slot_moves_what_it_was_given"):
            tamper(ledger.database.url, f"UPDATE slot SET {change}")


@pytest.mark.parametrize(
    ("spoilt", "mended", "law"),
    [
        (
            f"{SPOIL} + 1, share_micro = share_micro + 1 {OF_WALLET}",
            f"{SPOIL} - 1, share_micro = share_micro - 1 {OF_WALLET}",
            "a wallet's balance: reserved = set aside - freed",
        ),
        (
            f"{SPOIL} + 1, held_micro = held_micro + 1 {OF_WALLET}",
            f"{SPOIL} - 1, held_micro = held_micro - 1 {OF_WALLET}",
            "a wallet covers what its slots were given",
        ),
        (
            f"{SPOIL} + 1, spent_micro = spent_micro + 1 {OF_WINDOW}",
            f"{SPOIL} - 1, spent_micro = spent_micro - 1 {OF_WINDOW}",
            "a budget's window counts the reservations that it admitted",
        ),
        (
            "UPDATE slot SET owner_id = 'wal_nobody' WHERE owner_id LIKE 'wal%'",
            "UPDATE slot SET owner_id = (SELECT id FROM wallet) WHERE owner_id = 'wal_nobody'",
            "a slot is of a wallet or a window",
        ),
    ],
)
def test_verify_finds_a_slot_that_was_changed_by_hand(ledger: Ledger, spoilt, mended, law):
    ledger.wallets.fund("team", micro(1_000))
    ledger.budgets.set("all", micro(1_000))
    ledger.reserve("team", micro(10))
    tamper(ledger.database.url, spoilt)
    assert law in {finding.law for finding in ledger.verify().findings}
    tamper(ledger.database.url, mended)
