"""Budgets: what they cover, when they refuse and when they warn, and how they change."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest

from kling_ledger.errors import BudgetError, ConfigError, ConflictError, NotFoundError
from kling_ledger.ledger import Asked, Job, Ledger, Scope, State
from kling_pricing.errors import AmountError
from kling_pricing.money import MAX_MICRO, Money
from tests.ledgers import NOON, Clock, found, money, tamper, unchanged, usd

CLIP = usd("1")
JOB = Job(provider="crun", model="kling-v3")
LABELS = {"shot": "7", "team": "fx"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(empty_url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger(empty_url, clock=clock, actor="ada") as opened:
        for wallet in ("film", "other"):
            opened.wallets.create(wallet, "USD")
            opened.wallets.fund(wallet, usd("1000"))
        yield opened
        assert opened.verify().is_clean


def reserve(ledger: Ledger, amount: str = "1", **given) -> str:
    return ledger.reserve("film", usd(amount), **given).id


def used(ledger: Ledger, name: str = "b") -> Money:
    status = ledger.budgets.get(name)
    return status.spent + status.reserved


# --- scope ---------------------------------------------------------------------------------

WHOLE: dict[str, str] = {
    "wallet": "film",
    "project": "film/teaser",
    "provider": "crun",
    "model": "kling-v3",
    "label": "shot=7",
}
OTHERS: dict[str, dict[str, object]] = {
    "wallet": {"wallet": "other"},
    "project": {"project": "film/trailer"},
    "provider": {"job": Job(provider="runapi", model="kling-v3")},
    "model": {"job": Job(provider="crun", model="kling-v2")},
    "label": {"labels": {"shot": "8", "team": "fx"}},
}
FIELDS = [
    fields for size in range(len(WHOLE) + 1) for fields in itertools.combinations(WHOLE, size)
]


@pytest.mark.parametrize("fields", FIELDS, ids="+".join)
def test_a_budget_covers_what_agrees_with_all_that_it_names(ledger, fields):
    ledger.budgets.set("b", usd("9"), scope=Scope(**{name: WHOLE[name] for name in fields}))
    same = Asked("film", CLIP, job=JOB, project="film/teaser", labels=LABELS)
    asked = {"wallet": "film", "job": JOB, "project": "film/teaser", "labels": LABELS}
    ledger.reserve(amount=same.amount, **asked)
    assert used(ledger) == usd("1")
    for field, changed in OTHERS.items():
        before = used(ledger)
        ledger.reserve(amount=CLIP, **{**asked, **changed})
        assert used(ledger) - before == usd("0" if field in fields else "1")


def test_a_budget_that_names_something_does_not_cover_what_says_nothing_of_it(ledger):
    for name in ("project", "provider", "model", "label"):
        ledger.budgets.set(name, usd("0"), scope=Scope(**{name: WHOLE[name]}))
    assert reserve(ledger)


@pytest.mark.parametrize(
    ("scope", "project", "is_covered"),
    [
        ("film/", "film", True),
        ("film/", "film/teaser", True),
        ("film/", "film/teaser/shot-1", True),
        ("film/", "filmography", False),
        ("film/", "my/film/teaser", False),
        ("film/", "film%", False),
        ("film", "film", True),
        ("film", "film/teaser", False),
        ("film/teaser/", "film", False),
        ("film/teaser/", "film/teaser", True),
        ("f_lm/", "film/a", False),
        ("film%/", "films/a", False),
        ("фильм/", "фильм/a", True),
    ],
)
def test_a_project_prefix_covers_itself_and_what_is_below_it(ledger, scope, project, is_covered):
    before = reserve(ledger, project=project)
    ledger.budgets.set("b", usd("9"), scope=Scope(project=scope))
    assert used(ledger) == usd("1" if is_covered else "0")
    reserve(ledger, project=project)
    assert used(ledger) == usd("2" if is_covered else "0")
    ledger.roll_back(before, "not wanted")
    assert used(ledger) == usd("1" if is_covered else "0")
    # What is counted and what is refused are told apart by two pieces of code.
    with pytest.raises(BudgetError) if is_covered else nullcontext():
        reserve(ledger, "8.000001", project=project)


@pytest.mark.parametrize(
    ("label", "is_covered"),
    [("shot=7", True), ("team=fx", True), ("shot=77", False), ("hot=7", False), ("SHOT=7", False)],
)
def test_a_label_covers_what_carries_exactly_it(ledger, label, is_covered):
    reserve(ledger, labels=LABELS)
    ledger.budgets.set("b", usd("9"), scope=Scope(label=label))
    assert used(ledger) == usd("1" if is_covered else "0")
    reserve(ledger, labels=LABELS)
    assert used(ledger) == usd("2" if is_covered else "0")


def test_a_wallet_may_be_named_by_its_id(ledger):
    ledger.budgets.set("b", usd("9"), scope=Scope(wallet=ledger.wallets.get("film").id))
    reserve(ledger)
    assert (used(ledger), ledger.budgets.get("b").budget.scope.wallet) == (usd("1"), "film")


@pytest.mark.parametrize(
    "scope",
    [
        Scope(project=""),
        Scope(project="/"),
        Scope(project=" "),
        Scope(project="a\0b"),
        Scope(provider=""),
        Scope(model=" "),
        Scope(label="shot"),
        Scope(label="=7"),
        Scope(label="shot="),
        Scope(label="a=b,c=d"),
    ],
)
def test_a_scope_that_could_cover_nothing_is_refused(ledger, scope):
    with unchanged(ledger), pytest.raises(ConfigError):
        ledger.budgets.set("b", usd("9"), scope=scope)


def test_a_scope_of_an_unknown_wallet_is_refused(ledger):
    with unchanged(ledger), pytest.raises(NotFoundError):
        ledger.budgets.set("b", usd("9"), scope=Scope(wallet="nobody"))


# --- limits, in dollars and in units --------------------------------------------------------


def test_exactly_the_limit_is_admitted_and_a_millionth_more_is_not(ledger):
    ledger.budgets.set("b", usd("3"))
    reserve(ledger, "2.999999")
    reserve(ledger, "0.000001")
    with unchanged(ledger), pytest.raises(BudgetError):
        reserve(ledger, "0.000001")


def test_a_limit_of_nothing_admits_nothing(ledger):
    ledger.budgets.set("b", usd("0"))
    with unchanged(ledger), pytest.raises(BudgetError):
        reserve(ledger, "0.000001")


def test_the_largest_limit_can_be_set(ledger):
    ledger.budgets.set("b", Money.from_micro(MAX_MICRO, "USD"))
    reserve(ledger, "1000")
    assert ledger.budgets.get("b").left.micro == MAX_MICRO - usd("1000").micro


def test_a_limit_in_a_unit_counts_that_unit_alone(ledger):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("100 crun-credit"))
    ledger.budgets.set("b", money("5 crun-credit"))
    reserve(ledger, "7")
    ledger.reserve("credits", money("5 crun-credit"), job=Job(usd=usd("900")))
    assert used(ledger) == money("5 crun-credit")
    with unchanged(ledger), pytest.raises(BudgetError):
        ledger.reserve("credits", money("0.000001 crun-credit"))


def test_a_limit_in_dollars_counts_every_unit_at_its_worth(ledger):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("100 crun-credit"))
    ledger.budgets.set("b", usd("5"))
    reserve(ledger, "2")
    ledger.reserve("credits", money("30 crun-credit"), job=Job(usd=usd("3")))
    assert used(ledger) == usd("5")
    with unchanged(ledger), pytest.raises(BudgetError):
        reserve(ledger, "0.000001")


def test_what_a_job_charges_counts_instead_of_what_it_had_reserved(ledger):
    ledger.budgets.set("b", usd("3"))
    job = reserve(ledger, "3")
    ledger.commit(job, usd("1"))
    assert (ledger.budgets.get("b").spent, ledger.budgets.get("b").reserved) == (usd("1"), usd("0"))
    ledger.refund(job, usd("0.25"), reason="x")
    assert ledger.budgets.get("b").left == usd("2.25")


def test_a_charge_beyond_the_limit_counts_and_nothing_more_is_admitted(ledger):
    ledger.budgets.set("b", usd("3"))
    ledger.commit(reserve(ledger, "3"), usd("3.5"))
    assert ledger.budgets.get("b").left == usd("-0.5")
    with unchanged(ledger), pytest.raises(BudgetError):
        reserve(ledger, "0.000001")


def test_a_late_commit_counts_beyond_the_limit(ledger):
    ledger.budgets.set("b", usd("1"))
    late = reserve(ledger)
    ledger.roll_back(late, "it seemed to fail")
    reserve(ledger)
    ledger.commit(late, usd("1"))
    assert (ledger.budgets.get("b").spent, ledger.budgets.get("b").left) == (usd("1"), usd("-1"))


# --- windows -------------------------------------------------------------------------------

TURNS = [
    ("hour", "UTC", NOON, timedelta(hours=1)),
    ("day", "UTC", datetime(2026, 3, 18, tzinfo=UTC), timedelta(days=1)),
    ("day", "Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC), timedelta(hours=23)),
    ("day", "America/New_York", datetime(2026, 11, 1, 4, tzinfo=UTC), timedelta(hours=25)),
    ("week", "UTC", datetime(2026, 3, 16, tzinfo=UTC), timedelta(days=7)),
    ("month", "UTC", datetime(2028, 2, 1, tzinfo=UTC), timedelta(days=29)),
    ("month", "Asia/Kolkata", datetime(2026, 2, 28, 18, 30, tzinfo=UTC), timedelta(days=31)),
]


@pytest.mark.parametrize(("window", "zone", "start", "length"), TURNS)
def test_a_window_frees_exactly_at_its_end_and_by_itself(
    ledger, clock, window, zone, start, length
):
    clock.now = start
    ledger.budgets.set("b", usd("1"), window=window, timezone=zone)
    reserve(ledger)
    status = ledger.budgets.get("b")
    assert (status.starts_at, status.ends_at) == (start, start + length)
    clock.now = start + length - timedelta(microseconds=1)
    with unchanged(ledger), pytest.raises(BudgetError) as caught:
        reserve(ledger, "0.000001")
    assert caught.value.frees_at == start + length
    clock.now = start + length
    assert ledger.budgets.get("b").left == usd("1")
    reserve(ledger)
    with unchanged(ledger), pytest.raises(BudgetError):
        reserve(ledger, "0.000001")


def test_a_window_of_none_never_frees(ledger, clock):
    ledger.budgets.set("b", usd("1"))
    reserve(ledger)
    clock.forward(days=36_500)
    with unchanged(ledger), pytest.raises(BudgetError):
        reserve(ledger, "0.000001")
    assert (ledger.budgets.get("b").starts_at, ledger.budgets.get("b").ends_at) == (None, None)


def test_a_clock_set_back_counts_in_the_earlier_window_again(ledger, clock):
    ledger.budgets.set("b", usd("1"), window="day")
    reserve(ledger)
    clock.forward(days=1)
    reserve(ledger)
    clock.forward(days=-1)
    with unchanged(ledger), pytest.raises(BudgetError):
        reserve(ledger, "0.000001")


def test_a_job_counts_in_the_window_that_admitted_it_whenever_it_ends(ledger, clock):
    ledger.budgets.set("b", usd("5"), window="day")
    job = reserve(ledger, "3")
    clock.forward(days=1)
    ledger.commit(job, usd("2"))
    ledger.refund(job, usd("0.5"), reason="x")
    assert used(ledger) == usd("0")
    assert ledger.budgets.get("b", at=NOON).spent == usd("1.5")


def test_a_job_that_is_rolled_back_later_frees_its_own_window(ledger, clock):
    ledger.budgets.set("b", usd("1"), window="day")
    job = reserve(ledger)
    clock.forward(days=1)
    reserve(ledger)
    ledger.roll_back(job, "not wanted")
    with unchanged(ledger), pytest.raises(BudgetError):
        reserve(ledger, "0.000001")
    clock.now = NOON
    assert reserve(ledger)


def test_windows_differ_from_budget_to_budget(ledger, clock):
    ledger.budgets.set("day", usd("1"), window="day")
    ledger.budgets.set("month", usd("2"), window="month")
    for _ in range(2):
        reserve(ledger)
        clock.forward(days=1)
    with unchanged(ledger), pytest.raises(BudgetError) as caught:
        reserve(ledger)
    assert (caught.value.budget, ledger.budgets.get("day").left) == ("month", usd("1"))


@pytest.mark.parametrize("window", ["none", "hour", "day", "week", "month"])
def test_a_budget_set_in_the_middle_of_a_window_counts_what_came_before(ledger, clock, window):
    reserve(ledger, "2")
    ledger.commit(reserve(ledger, "2"), usd("1"))
    ledger.roll_back(reserve(ledger, "2"), "not wanted")
    clock.forward(minutes=5)
    status = ledger.budgets.set("b", usd("4"), window=window)
    assert (status.reserved, status.spent, status.left) == (usd("2"), usd("1"), usd("1"))
    with unchanged(ledger), pytest.raises(BudgetError):
        reserve(ledger, "1.000001")
    reserve(ledger, "1")


def test_a_budget_set_below_what_was_spent_admits_nothing(ledger):
    reserve(ledger, "2")
    assert ledger.budgets.set("b", usd("1")).left == usd("-1")
    with unchanged(ledger), pytest.raises(BudgetError) as caught:
        reserve(ledger, "0.000001")
    assert (caught.value.left, caught.value.fits) == (usd("-1"), usd("0"))


def test_a_budget_that_came_later_counts_what_was_refunded_as_not_spent(ledger):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("9 crun-credit"))
    job = ledger.reserve("credits", money("5 crun-credit")).id
    ledger.commit(job, money("4 crun-credit"))
    ledger.refund(job, money("1 crun-credit"), reason="dark")
    status = ledger.budgets.set("b", money("9 crun-credit"))
    assert (status.spent, status.reserved) == (money("3 crun-credit"), money("0 crun-credit"))


def test_what_nobody_knew_the_worth_of_settles_in_a_budget_that_came_later(ledger):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("9 crun-credit"))
    job = ledger.reserve("credits", money("9 crun-credit")).id
    ledger.budgets.set("b", usd("1"))
    assert ledger.commit(job, money("9 crun-credit")).state is State.COMMITTED
    assert used(ledger) == usd("0")


# --- warnings ------------------------------------------------------------------------------


def warned(ledger: Ledger, amount: str) -> list[int]:
    return [one.threshold for one in ledger.reserve("film", usd(amount)).warnings]


def test_a_threshold_warns_when_it_is_reached_and_not_a_millionth_before(ledger):
    ledger.budgets.set("b", usd("10"), thresholds=(50,))
    assert warned(ledger, "4.999999") == []
    assert warned(ledger, "0.000001") == [50]


def test_a_threshold_warns_once_per_crossing(ledger):
    ledger.budgets.set("b", usd("10"), thresholds=(50,))
    job = reserve(ledger, "5")
    assert warned(ledger, "1") == []
    ledger.roll_back(job, "not wanted")
    assert warned(ledger, "3") == []
    assert warned(ledger, "1") == [50]


def test_several_thresholds_may_be_passed_at_once(ledger):
    ledger.budgets.set("b", usd("10"), thresholds=(100, 50, 80, 50))
    assert warned(ledger, "9") == [50, 80]
    assert warned(ledger, "1") == [100]


def test_a_threshold_that_was_reached_exactly_is_not_told_again_with_the_next(ledger):
    ledger.budgets.set("b", usd("10"), thresholds=(50, 80))
    assert warned(ledger, "5") == [50]
    assert warned(ledger, "3") == [80]


def test_a_threshold_warns_anew_in_each_window(ledger, clock):
    ledger.budgets.set("b", usd("10"), window="day", thresholds=(50,))
    assert warned(ledger, "5") == [50]
    clock.forward(days=1)
    assert warned(ledger, "5") == [50]


def test_a_warning_says_what_is_used_and_of_how_much(ledger):
    ledger.budgets.set("b", usd("10"), thresholds=(50,))
    (warning,) = ledger.reserve("film", usd("6")).warnings
    assert (warning.budget, warning.threshold) == ("b", 50)
    assert (warning.used, warning.limit) == (usd("6"), usd("10"))
    assert str(warning) == "budget b has passed 50 %: 6 USD of 10 USD"


def test_a_budget_that_warns_admits_what_a_hard_one_refuses(ledger):
    ledger.budgets.set("b", usd("1"), mode="warn", thresholds=(100, 200))
    assert warned(ledger, "1") == [100]
    assert warned(ledger, "0.999999") == []
    assert warned(ledger, "0.000001") == [200]
    assert ledger.budgets.get("b").left == usd("-1")


def test_of_many_that_come_together_the_one_that_passes_is_told(ledger):
    ledger.budgets.set("b", usd("10"), thresholds=(50,))
    made = ledger.reserve_many([Asked("film", usd("2"))] * 4)
    assert [len(one.warnings) for one in made] == [0, 0, 1, 0]


def test_a_reservation_that_is_repeated_does_not_warn_again(ledger):
    ledger.budgets.set("b", usd("10"), thresholds=(50,))
    assert ledger.reserve("film", usd("6"), key="k").warnings
    assert ledger.reserve("film", usd("6"), key="k").warnings == ()


def test_a_budget_without_thresholds_never_warns(ledger):
    ledger.budgets.set("b", usd("10"), thresholds=())
    assert warned(ledger, "10") == []


# --- raises --------------------------------------------------------------------------------


def test_a_raise_counts_until_the_instant_of_its_end(ledger, clock):
    ledger.budgets.set("b", usd("1"))
    end = NOON + timedelta(hours=1)
    assert ledger.budgets.raise_limit("b", usd("1"), until=end, reason="the premiere").limit == usd(
        "2"
    )
    reserve(ledger, "1")
    clock.now = end - timedelta(microseconds=1)
    reserve(ledger, "0.5")
    assert ledger.budgets.get("b").left == usd("0.5")
    clock.now = end
    assert ledger.budgets.get("b").left == usd("-0.5")
    with unchanged(ledger), pytest.raises(BudgetError) as caught:
        reserve(ledger, "0.000001")
    assert (caught.value.limit, caught.value.left) == (usd("1"), usd("-0.5"))


def test_raises_add_up(ledger, clock):
    ledger.budgets.set("b", usd("1"))
    for hours in (1, 2):
        ledger.budgets.raise_limit("b", usd("1"), until=NOON + timedelta(hours=hours), reason="x")
    assert ledger.budgets.get("b").limit == usd("3")
    clock.forward(hours=1)
    assert ledger.budgets.get("b").limit == usd("2")


def test_a_raise_is_written_down_with_its_end_and_its_reason(ledger):
    ledger.budgets.set("b", usd("1"))
    ledger.budgets.raise_limit(
        "b", usd("1"), until=NOON + timedelta(hours=1), reason="the premiere"
    )
    (row,) = found(ledger, "SELECT actor, reason, amount_micro FROM budget_raise")
    assert row == {"actor": "ada", "reason": "the premiere", "amount_micro": 1_000_000}
    events = found(ledger, "SELECT step, change, reason FROM budget_event ORDER BY step")
    assert [event["step"] for event in events] == [1, 2]
    assert "2026-03-18T13:00:00+00:00" in events[1]["change"]


@pytest.mark.parametrize(
    ("amount", "after", "reason", "error"),
    [
        (usd("0"), timedelta(hours=1), "x", AmountError),
        (usd("-1"), timedelta(hours=1), "x", AmountError),
        (money("1 CNY"), timedelta(hours=1), "x", AmountError),
        (usd("1"), timedelta(0), "x", ConfigError),
        (usd("1"), timedelta(microseconds=-1), "x", ConfigError),
        (usd("1"), timedelta(hours=1), "", ConfigError),
        (usd("1"), timedelta(hours=1), "  ", ConfigError),
    ],
)
def test_a_raise_of_nothing_without_end_or_reason_is_refused(ledger, amount, after, reason, error):
    ledger.budgets.set("b", usd("1"))
    with unchanged(ledger), pytest.raises(error):
        ledger.budgets.raise_limit("b", amount, until=NOON + after, reason=reason)


@pytest.mark.parametrize("amount", [1, 1.5, "1 USD", None])
def test_only_money_is_a_limit_a_ceiling_or_a_raise(ledger, amount):
    ledger.budgets.set("b", usd("1"))
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.budgets.raise_limit("b", amount, until=NOON + timedelta(hours=1), reason="x")
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.budgets.set("c", amount)
    if amount is not None:
        with unchanged(ledger), pytest.raises(AmountError):
            ledger.budgets.set("c", usd("1"), ceiling=amount)


def test_a_raise_happens_once_per_key(ledger):
    ledger.budgets.set("b", usd("1"))
    end = NOON + timedelta(hours=1)
    first = ledger.budgets.raise_limit("b", usd("1"), until=end, reason="x", key="k")
    again = ledger.budgets.raise_limit("b", usd("1"), until=end, reason="x", key="k")
    assert first == again == ledger.budgets.get("b")
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.budgets.raise_limit("b", usd("2"), until=end, reason="x", key="k")
    assert caught.value.field == "amount"


# --- changes -------------------------------------------------------------------------------


def test_a_limit_may_be_set_anew_and_counts_what_is_used(ledger):
    ledger.budgets.set("b", usd("1"))
    reserve(ledger)
    assert ledger.budgets.set("b", usd("1.5")).left == usd("0.5")
    reserve(ledger, "0.5")
    with unchanged(ledger), pytest.raises(BudgetError):
        reserve(ledger, "0.000001")


def test_mode_thresholds_and_ceiling_may_be_set_anew(ledger):
    ledger.budgets.set("b", usd("1"))
    status = ledger.budgets.set("b", usd("1"), mode="warn", thresholds=(90, 10), ceiling=usd("0.5"))
    budget = status.budget
    assert (budget.mode, budget.thresholds, budget.ceiling) == ("warn", (10, 90), usd("0.5"))
    assert ledger.budgets.get("b") == status


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("wallet", {"scope": Scope(wallet="film")}),
        ("project", {"scope": Scope(project="film/")}),
        ("provider", {"scope": Scope(provider="crun")}),
        ("model", {"scope": Scope(model="kling-v3")}),
        ("label", {"scope": Scope(label="a=b")}),
        ("window", {"window": "day"}),
        ("timezone", {"timezone": "Europe/Berlin"}),
        ("unit", {"limit": money("1 CNY")}),
    ],
)
def test_scope_window_zone_and_unit_never_change(ledger, field, changed):
    ledger.budgets.set("b", usd("1"))
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.budgets.set("b", **{"limit": usd("1"), **changed})
    assert caught.value.field == field


def test_a_budget_that_is_removed_refuses_nothing_and_its_history_stays(ledger):
    ledger.budgets.set("b", usd("1"))
    reserve(ledger)
    ledger.budgets.remove("b", reason="not needed")
    assert ledger.budgets.all() == []
    reserve(ledger, "5")
    events = found(ledger, "SELECT change, reason FROM budget_event ORDER BY step")
    assert (events[-1]["change"], events[-1]["reason"]) == ('{"removed": "yes"}', "not needed")


def test_the_name_of_a_removed_budget_may_be_used_for_another(ledger):
    first = ledger.budgets.set("b", usd("1")).budget
    ledger.budgets.remove("b")
    second = ledger.budgets.set("b", usd("2"), window="day", scope=Scope(provider="crun")).budget
    assert first.id != second.id
    assert [status.budget for status in ledger.budgets.all()] == [second]


@pytest.mark.parametrize("call", ["show", "raise", "remove"])
def test_an_unknown_or_removed_budget_is_named(ledger, call):
    ledger.budgets.set("b", usd("1"))
    ledger.budgets.remove("b")
    calls = {
        "show": lambda: ledger.budgets.get("b"),
        "raise": lambda: ledger.budgets.raise_limit(
            "b", usd("1"), until=NOON + timedelta(hours=1), reason="x"
        ),
        "remove": lambda: ledger.budgets.remove("b"),
    }
    with unchanged(ledger), pytest.raises(NotFoundError, match="no such budget: b"):
        calls[call]()


def test_another_process_sees_a_changed_budget_at_once(ledger, clock):
    with Ledger(ledger.database.url, clock=clock, actor="bob") as other:
        ledger.budgets.set("b", usd("5"))
        reserve(other, "1")
        ledger.budgets.set("b", usd("1"))
        with unchanged(ledger), pytest.raises(BudgetError):
            reserve(other, "0.000001")
        ledger.budgets.remove("b")
        assert reserve(other, "9")


def test_budgets_are_listed_by_name_as_they_stand(ledger):
    for name in ("z", "a", "m"):
        ledger.budgets.set(name, usd("5"))
    reserve(ledger)
    statuses = ledger.budgets.all()
    assert [status.budget.name for status in statuses] == ["a", "m", "z"]
    assert {status.left for status in statuses} == {usd("4")}
    assert statuses == [ledger.budgets.get(name) for name in ("a", "m", "z")]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"name": ""}, ConfigError),
        ({"name": "two words"}, ConfigError),
        ({"name": "x" * 65}, ConfigError),
        ({"limit": usd("-0.000001")}, AmountError),
        ({"ceiling": usd("-0.000001")}, AmountError),
        ({"ceiling": money("1 CNY")}, AmountError),
        ({"window": "year"}, ConfigError),
        ({"timezone": "Mars/Olympus"}, ConfigError),
        ({"mode": "soft"}, ConfigError),
        ({"thresholds": (0,)}, ConfigError),
        ({"thresholds": (1001,)}, ConfigError),
    ],
)
def test_a_budget_that_cannot_be_is_refused(ledger, given, error):
    with unchanged(ledger), pytest.raises(error):
        ledger.budgets.set(**{"name": "b", "limit": usd("1"), **given})


def test_a_budget_over_more_than_one_wallet_can_hold_is_still_told(empty_url, clock):
    """Each wallet holds at most 9,007,199,254 units; a budget may be over any number of them."""
    most = usd("9007199254")
    with Ledger(empty_url, clock=clock) as ledger:
        ledger.budgets.set("all", usd("1"), mode="warn", thresholds=())
        for name in ("one", "two"):
            ledger.wallets.create(name, "USD")
            ledger.wallets.fund(name, most)
            ledger.commit(ledger.reserve(name, most).id)
        [status] = ledger.budgets.all()
        assert status.spent.amount == 2 * most.amount
        assert status.left.amount == 1 - 2 * most.amount


def gather(ledger) -> None:
    """Take away the slots: they are of a window by its start, which is about to be changed."""
    if ledger.slots:
        ledger.use_slots(0)


def test_a_job_leaves_the_window_that_admitted_it_whatever_bounds_that_has(ledger):
    """Another machine may know other changes of the clocks than this one."""
    ledger.budgets.set("b", usd("9"), window="day", timezone="Europe/Berlin")
    reservation = reserve(ledger)
    gather(ledger)
    shift = "UPDATE budget_window SET starts_at = starts_at - 3600000000"
    tamper(ledger.database.url, shift)
    ledger.commit(reservation)
    [row] = found(ledger, "SELECT held_micro, spent_micro FROM budget_window")
    assert (row["held_micro"], row["spent_micro"]) == (0, 1_000_000)
    tamper(ledger.database.url, shift.replace("-", "+"))


def test_a_budget_that_is_set_again_has_windows_by_this_machines_clocks(ledger):
    ledger.budgets.set("b", usd("9"), window="day", timezone="Europe/Berlin")
    ledger.commit(reserve(ledger, "2"))
    reserve(ledger)
    gather(ledger)
    tamper(ledger.database.url, "UPDATE budget_window SET starts_at = starts_at - 3600000000")
    assert not ledger.verify().is_clean
    ledger.budgets.remove("b")
    ledger.budgets.set("b", usd("9"), window="day", timezone="Europe/Berlin")
    found = ledger.budgets.get("b")
    assert (found.spent, found.reserved) == (usd("2"), usd("1"))
    assert ledger.verify().is_clean
