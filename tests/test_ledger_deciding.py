"""Deciding: in a rush each caller is told what it would have been told by itself, in its turn."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kling_ledger.errors import BudgetError, InsufficientCreditsError, RefusedError
from kling_ledger.ledger import Asked, Job, Ledger, Reservation, Scope, State
from kling_ledger.ledger.limits import Setting
from kling_pricing import KlingError, Money
from tests.ledger_failpoints import Fuse, watching
from tests.ledger_in_turn import Told, admissions_of, seen_to, told_alone, told_in_turn
from tests.ledgers import NOON, SLOTS, Clock, make_empty, standing, unchanged, usd

CREDIT = "crun-credit"
UNITS = {"team": "USD", "solo": "USD", "crun": CREDIT}
MICROS = (1, 500_000, 1_000_000, 1_000_001, 2_000_000)
SOON = NOON + timedelta(hours=1)

NewLedger = Callable[[], Ledger]


def of(micro: int, unit: str) -> Money:
    return Money.from_micro(micro, unit)


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([usual] * 4 + list(others))


def asked_for(wallet: str, micro: int, usd_micro: int | None, **rest: Any) -> Asked:
    worth = None if usd_micro is None else of(usd_micro, "USD")
    job = Job(provider=rest.pop("provider"), usd=worth)
    ceiling = rest.pop("ceiling")
    return Asked(
        wallet,
        of(micro, UNITS[wallet]),
        job,
        ceiling=None if ceiling is None else of(ceiling, UNITS[wallet]),
        **rest,
    )


askings = st.builds(
    asked_for,
    wallet=st.sampled_from(("team", "team", "solo", "crun")),
    micro=st.sampled_from((*MICROS, 0)),
    usd_micro=mostly(1_000_000, 0, 333_333, None),
    provider=st.sampled_from((None, "crun", "runapi")),
    project=mostly("film", None, "film/teaser", "FILM", " "),
    labels=mostly({}, {"shot": "a"}, {"a,b": "c"}),
    key=mostly(None, "k1", "k2", " "),
    ceiling=mostly(None, 1_000_000),
    cap=mostly(
        None, Setting("run", usd("2"), Scope(label="shot=a"), "none", "UTC", "hard", (), None)
    ),
)
calls = st.lists(st.lists(askings, min_size=1, max_size=2), min_size=2, max_size=7)
budgets: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    limit=st.builds(of, st.sampled_from((0, 999_999, 2_000_000, 4_000_000)), mostly("USD", CREDIT)),
    scope=st.builds(
        Scope,
        wallet=mostly(None, "team"),
        project=mostly(None, "film/"),
        provider=mostly(None, "crun"),
        label=mostly(None, "shot=a"),
    ),
    window=st.sampled_from(("none", "hour", "month")),
    mode=mostly("hard", "warn"),
    thresholds=mostly((50, 100), ()),
)
worlds = st.fixed_dictionaries(
    {
        "funds": st.sampled_from((1_000_000, 3_000_000, 5_000_001)),
        "budgets": st.lists(budgets, max_size=3),
        "before": st.lists(askings, max_size=3),
        "expires": st.booleans(),
    }
)


@pytest.fixture(params=["sqlite", "postgresql", "postgresql-slots"])
def new_ledger(
    request: pytest.FixtureRequest, tmp_path: Path, empty_file: Path, clock: Clock
) -> NewLedger:
    """Make an empty ledger, on each engine in turn; the one before is gone with it."""
    numbers = count()

    def new() -> Ledger:
        if request.param == "sqlite":
            url = str(shutil.copy(empty_file, tmp_path / f"ledger{next(numbers)}.sqlite"))
        else:
            url = request.getfixturevalue("postgres_ledger")
            make_empty(url, slots=SLOTS if request.param.endswith("slots") else 0)
        return Ledger(url, clock=clock, actor="tester", chance=chances(1))

    return new


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(empty_url: str, clock: Clock) -> Iterator[Ledger]:
    """A wallet of 10 USD."""
    with Ledger(empty_url, clock=clock, actor="tester") as opened:
        opened.wallets.create("team", "USD")
        opened.wallets.fund("team", usd("10"))
        yield opened
        assert opened.verify().is_clean


def chances(first: int) -> Callable[[int], int]:
    """Numbers in place of chance: ids say in which order windows and wallets are asked."""
    numbers = count(first, 1000)
    return lambda _: next(numbers)


def twin_of(file: str, clock: Clock) -> Ledger:
    return Ledger(file, clock=clock, actor="tester", chance=chances(1))


def set_up(ledger: Ledger, clock: Clock, world: dict[str, Any]) -> None:
    """Make wallets and budgets, and reserve before; some of that may have fallen due by now."""
    clock.now = NOON
    for name, unit in UNITS.items():
        ledger.wallets.create(name, unit)
        ledger.wallets.fund(name, of(world["funds"], unit))
    for number, budget in enumerate(world["budgets"]):
        ledger.budgets.set(f"b{number}", **budget)
    for one in world["before"]:
        expires_at = SOON if world["expires"] else None
        told_alone(ledger.reserve_many, [replace(one, expires_at=expires_at)])
    clock.now = SOON


def plainly(told: Told) -> Any:
    """What a caller is told, without what chance has made of it."""
    if isinstance(told, KlingError):
        return type(told), str(told), vars(told)
    return [
        (one.wallet, one.amount, one.held, one.state, one.project, one.labels, one.job.provider)
        for one in told
    ]


def state_of(ledger: Ledger) -> Any:
    names = [status.budget.name for status in ledger.budgets.all()]
    return (
        [standing(ledger, wallet) for wallet in UNITS],
        [
            (name, ledger.budgets.get(name).reserved, ledger.budgets.get(name).left)
            for name in names
        ],
        sorted(
            (one.wallet, one.state, one.amount.micro, one.project or "")
            for one in ledger.reservations.latest()
        ),
    )


def is_plain(call: Sequence[Asked], used: set[str], known: set[str]) -> bool:
    """Whether a call is one that is decided with others: by the words of `deciding.py` alone."""
    keys = [key for one in call for key in one.keys]
    is_new = not used.intersection(keys) and len(set(keys)) == len(keys) and " " not in keys
    is_good = all(
        one.amount.micro > 0 and one.project != " " and "a,b" not in one.labels for one in call
    )
    return is_new and is_good and all(one.cap is None or one.cap.name in known for one in call)


@settings(
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(world=worlds, calls=calls)
def test_in_turn_each_is_told_what_it_would_be_told_alone(
    new_ledger: NewLedger, tmp_path: Path, empty_file: Path, clock: Clock, world, calls
):
    twin_file = str(shutil.copy(empty_file, tmp_path / "twin.sqlite"))
    with new_ledger() as ledger, twin_of(twin_file, clock) as twin:
        for one in (ledger, twin):
            set_up(one, clock, world)
        known = {status.budget.name for status in ledger.budgets.all()}
        used = {key for one in world["before"] for key in one.keys}
        told, left = told_in_turn(ledger, admissions_of(ledger, chances(1_000_000)), calls)
        order = [*(place for place in range(len(calls)) if place not in left), *left]
        alone = {place: told_alone(twin.reserve_many, calls[place]) for place in order}
        assert [plainly(one) for one in told] == [plainly(alone[n]) for n in range(len(calls))]
        assert state_of(ledger) == state_of(twin)
        assert ledger.verify().is_clean
        for place, call in enumerate(calls):
            if is_plain(call, used, known):
                spelled_wrong = any(one.project == "FILM" for one in call)
                assert place not in left or spelled_wrong, (place, told[place])
            used.update(key for one in call for key in one.keys)
    for leftover in tmp_path.glob("*.sqlite*"):
        leftover.unlink()


def call(amount: str, **rest: Any) -> list[Asked]:
    return [Asked("team", usd(amount), **rest)]


def test_who_comes_before_a_new_window_is_not_refused_for_who_comes_after(ledger, clock):
    ledger.budgets.set("hourly", usd("1"), window="hour")
    ledger.reserve("team", usd("1"))
    admissions = admissions_of(ledger, chances(1))
    batches = [admissions.call(call("1"))]
    clock.now = SOON
    batches.append(admissions.call(call("1")))
    first, second = seen_to(ledger, batches)
    assert isinstance(first, BudgetError)
    assert (first.frees_at, second) == (SOON, None)
    assert [one.held for one in admissions.all_of(call("1"))] == [usd("1")]


def test_each_is_told_of_its_own_jobs_in_the_order_in_which_it_asked(ledger):
    calls = [call("1") + call("2"), call("20"), call("0.5"), call("0.25") + call("3")]
    told, left = told_in_turn(ledger, admissions_of(ledger, chances(1)), calls)
    assert left == []
    for asked, what in zip(calls, told, strict=True):
        if asked == calls[1]:
            assert isinstance(what, InsufficientCreditsError)
        else:
            assert isinstance(what, list)
            assert [one.amount for one in what] == [one.amount for one in asked]


def test_what_the_clock_has_ended_makes_room_for_those_it_lets_in(ledger, clock):
    old = ledger.reserve("team", usd("6"), expires_at=SOON)
    clock.now = SOON
    calls = [call("5"), call("5"), call("0.000001")]
    told, left = told_in_turn(ledger, admissions_of(ledger, chances(1)), calls)
    assert [type(one) for one in told] == [list, list, InsufficientCreditsError]
    assert left == []
    assert ledger.reservations.get(old.id).state is State.EXPIRED


def test_a_refusal_that_stands_leaves_the_expired_as_they_were(ledger, clock):
    ledger.reserve("team", usd("6"), expires_at=SOON)
    clock.now = SOON
    with unchanged(ledger):
        told, _ = told_in_turn(ledger, admissions_of(ledger, chances(1)), [call("11")] * 2)
    # They are told of what would be there without it.
    assert [vars(one)["available"] for one in told] == [usd("10")] * 2


def test_what_is_expired_stays_where_nobody_needs_its_room(ledger, clock):
    old = ledger.reserve("team", usd("1"), expires_at=SOON)
    clock.now = SOON
    told, _ = told_in_turn(ledger, admissions_of(ledger, chances(1)), [call("2"), call("11")])
    assert [type(one) for one in told] == [list, InsufficientCreditsError]
    assert ledger.reservations.get(old.id).state is State.RESERVED


def test_what_is_no_good_is_left_to_be_told_so_and_spoils_nothing_for_others(ledger):
    ledger.reserve("team", usd("1"), key="known")
    calls = [
        call("6"),
        call("1", key="known"),
        call("2", key="known"),
        call("-1"),
        call("1", expires_at=NOON.replace(tzinfo=None)),
        call("6", key="new"),
        call("1", key="new"),
    ]
    admissions = admissions_of(ledger, chances(1))
    outcomes = seen_to(ledger, [admissions.call(one) for one in calls])
    assert [n for n, outcome in enumerate(outcomes) if outcome is None] == [1, 2, 3, 4, 6]
    assert isinstance(outcomes[5], InsufficientCreditsError)
    assert ledger.wallets.get("team").reserved == usd("7")


# --- on a server, where threads meet ---------------------------------------------------------


def rush(ledger: Ledger, asked: Sequence[Asked]) -> list[Told]:
    """Ask for all of them at once, each in a thread of its own."""
    meet = Barrier(len(asked))

    def ask(one: Asked) -> Told:
        meet.wait(30)
        return told_alone(ledger.reserve_many, [one])

    with ThreadPoolExecutor(len(asked)) as threads:
        return list(threads.map(ask, asked))


@pytest.fixture(params=[0, SLOTS])
def server_url(request: pytest.FixtureRequest, postgres_ledger: str) -> str:
    """The address of an empty ledger on a server, without slots and with some."""
    make_empty(postgres_ledger, slots=request.param)
    return postgres_ledger


@pytest.mark.parametrize("has_budget", [False, True])
def test_a_rush_that_is_refused_takes_fewer_messages_than_callers(server_url, has_budget):
    fuse = Fuse()
    with watching(fuse), Ledger(server_url, actor="tester") as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("10"))
        if has_budget:
            ledger.wallets.fund("team", usd("90"))
            ledger.budgets.set("all", usd("10"), window="month")
        ledger.roll_back(ledger.reserve("team", usd("1")).id, "the wallet is known from now on")
        with fuse.lit():
            told = rush(ledger, [Asked("team", usd("1"))] * 200)
        kind = BudgetError if has_budget else InsufficientCreditsError
        refused = [one for one in told if isinstance(one, RefusedError)]
        assert {type(one) for one in refused} == {kind}
        assert (len(told) - len(refused), ledger.wallets.get("team").reserved) == (10, usd("10"))
        assert ledger.verify().is_clean
    assert fuse.passed.count("an exchange") < len(told)


def test_in_a_rush_of_any_calls_each_key_counts_once_and_no_limit_is_passed(server_url):
    asked = [
        Asked("team", usd(amount), key=f"k{n % 30}", project="film" if n % 3 else None)
        for n, amount in enumerate(["1", "2", "0.5", "-1"] * 15)
    ]
    with Ledger(server_url, actor="tester") as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("9"))
        ledger.budgets.set("films", usd("4"), scope=Scope(project="film"))
        told = rush(ledger, asked)
        made: dict[str, Reservation] = {}
        for one, what in zip(asked, told, strict=True):
            if isinstance(what, list):
                assert made.setdefault(str(one.key), what[0]).id == what[0].id
        held = sum((one.held for one in made.values()), Money.zero("USD"))
        assert held == ledger.wallets.get("team").reserved
        assert ledger.wallets.get("team").available >= Money.zero("USD")
        assert ledger.budgets.get("films").left >= Money.zero("USD")
        # Nothing that would still fit was refused. (Who is refused depends on the order of calls.)
        left = {
            InsufficientCreditsError: ledger.wallets.get("team").available,
            BudgetError: ledger.budgets.get("films").left,
        }
        for one, what in zip(asked, told, strict=True):
            if isinstance(what, RefusedError):
                assert one.amount > left[type(what)]
        assert ledger.verify().is_clean


def test_who_is_written_alone_still_has_a_stamp_of_its_own(server_url):
    """The group's ids are not those of its first call, which may be left to be run alone."""
    with Ledger(server_url, actor="tester") as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("10"))
        run = Setting("run", usd("5"), Scope(label="run=1"), "none", "UTC", "hard", (), None)
        calls = [call("1", labels={"run": "1"}, cap=run), call("1"), call("20")]
        admissions = admissions_of(ledger, chances(1))
        batches = [admissions.call(one) for one in calls]
        left, let_in, refused = seen_to(ledger, batches)
        assert (left, type(refused)) == (None, InsufficientCreditsError)
        assert callable(let_in)
        alone = ledger.database.write_batch(batches[0])
        assert alone[0].id != let_in(0).id
        assert ledger.wallets.get("team").reserved == usd("2")
        assert ledger.verify().is_clean
