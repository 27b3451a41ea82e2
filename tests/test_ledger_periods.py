"""Periods: a month is closed softly, then hard; what comes later counts in the next one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from kling_ledger.errors import (
    ConflictError,
    DatabaseError,
    NotFoundError,
    PeriodError,
    PeriodOrderError,
)
from kling_ledger.ledger import Accrual, Change, Job, Ledger, State, periods, seals
from kling_ledger.ledger.engines.transaction import Stamp
from kling_ledger.ledger.ids import to_us
from kling_ledger.ledger.rules import month_after, month_of
from tests.ledgers import Clock, found, money, seal_as_before, unchanged, usd, write

MARCH = datetime(2026, 3, 18, 12, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock(MARCH)


@pytest.fixture
def ledger(empty_url: str, clock: Clock) -> Iterator[Ledger]:
    """A wallet that was funded with 50 USD in March, where one job is open and one was charged."""
    with Ledger(empty_url, clock=clock, actor="ada") as opened:
        opened.wallets.create("team", "USD")
        opened.wallets.fund("team", usd("50"))
        opened.reserve("team", usd("3"), key="open")
        opened.commit(opened.reserve("team", usd("3"), key="done").id, usd("2"))
        yield opened
        assert opened.verify().findings == ()


def done(ledger: Ledger) -> str:
    return ledger.reserve("team", usd("3"), key="done").id


def still_open(ledger: Ledger) -> str:
    return ledger.reserve("team", usd("3"), key="open").id


def posted(ledger: Ledger, write: Callable[[], object]) -> tuple[str, str, str | None]:
    """The kind, the period and the corrected month of the one transfer that a call writes."""
    query = "SELECT id, kind, period, corrects FROM transfer"
    before = found(ledger, query)
    write()
    (row,) = (row for row in found(ledger, query) if row not in before)
    return row["kind"], row["period"], row["corrects"]


def test_what_is_written_by_a_clock_that_went_back_counts_in_the_month_it_had_reached(
    ledger, clock
):
    job = still_open(ledger)
    clock.now = APRIL
    ledger.mark_submitting(job)
    clock.now = MARCH
    assert posted(ledger, lambda: ledger.commit(job, usd("3"))) == ("commit", "2026-04", None)
    query = f"SELECT period FROM job_event WHERE reservation_id = '{job}' ORDER BY step"
    months = [row["period"] for row in found(ledger, query)]
    assert months == ["2026-03", "2026-04", "2026-04"]


# --- closing -------------------------------------------------------------------------------


@pytest.mark.parametrize("hard", [False, True])
def test_a_month_is_closed_from_the_first_instant_of_the_next_one(ledger, clock, hard):
    clock.now = APRIL - timedelta(microseconds=1)
    with unchanged(ledger), pytest.raises(PeriodError, match="is not over") as caught:
        ledger.periods.close("2026-03", hard=hard)
    assert "2026-04-01" in (caught.value.hint or "")
    clock.now = APRIL
    assert ledger.periods.close("2026-03", hard=hard).state == ("hard" if hard else "soft")


@pytest.mark.parametrize(
    "name",
    ["", "2026", "2026-3", "2026-13", "2026-00", "1026-03", "2026-03-01", "March", "２026-03"],
)
def test_a_name_that_is_no_month_is_refused(ledger, clock, name):
    clock.now = MAY
    with unchanged(ledger), pytest.raises(PeriodError, match="not a month") as caught:
        ledger.periods.close(name)
    assert "2026-10" in (caught.value.hint or "")


@pytest.mark.parametrize("hard", [False, True])
def test_closing_a_closed_month_again_is_the_same_close(ledger, clock, hard):
    clock.now = APRIL
    first = ledger.periods.close("2026-03", hard=hard, reason="the books")
    clock.forward(days=1)
    with unchanged(ledger):
        assert ledger.periods.close("2026-03", hard=hard) == first


def test_a_month_that_is_sealed_is_not_closed_softly_any_more(ledger, clock):
    clock.now = APRIL
    sealed = ledger.periods.close("2026-03", hard=True)
    with unchanged(ledger):
        assert ledger.periods.close("2026-03") == sealed


def test_a_close_says_who_when_and_why(ledger, clock):
    clock.now = APRIL
    period = ledger.periods.close("2026-03", reason="the books")
    assert (period.name, period.state, period.actor) == ("2026-03", "soft", "ada")
    assert (period.reason, period.closed_at) == ("the books", APRIL)
    assert (period.transfers, period.seal, period.previous_seal) == (None, None, None)
    assert ledger.periods.all() == [period]


def test_a_soft_close_may_be_opened_again_and_a_hard_one_not(ledger, clock):
    clock.now = APRIL
    ledger.periods.close("2026-03")
    opened = ledger.periods.reopen("2026-03", reason="an invoice was missing")
    assert (opened.state, opened.accruals) == ("open", ())
    ledger.periods.close("2026-03", hard=True)
    with unchanged(ledger), pytest.raises(PeriodError, match="is sealed") as caught:
        ledger.periods.reopen("2026-03", reason="an invoice was missing")
    assert "correction" in (caught.value.hint or "")


def test_a_month_that_was_never_closed_is_not_opened(ledger):
    with unchanged(ledger), pytest.raises(NotFoundError, match="2026-02"):
        ledger.periods.reopen("2026-02", reason="x")


def test_a_close_takes_effect_in_another_process_at_once(ledger, clock):
    with Ledger(ledger.database.url, clock=clock, actor="bob") as other:
        other.reserve("team", usd("1"))
        clock.now = APRIL
        ledger.periods.close("2026-03")
        clock.now = MARCH
        assert posted(ledger, lambda: other.wallets.fund("team", usd("1")))[:2] == (
            "fund",
            "2026-04",
        )


# --- what comes later ----------------------------------------------------------------------


def test_a_transfer_counts_in_the_month_of_its_instant(ledger, clock):
    clock.now = APRIL - timedelta(microseconds=1)
    assert posted(ledger, lambda: ledger.wallets.fund("team", usd("1")))[1] == "2026-03"
    clock.now = APRIL
    assert posted(ledger, lambda: ledger.wallets.fund("team", usd("1")))[1] == "2026-04"


@pytest.mark.parametrize("hard", [False, True])
def test_what_is_written_for_a_closed_month_counts_in_the_next_open_one(ledger, clock, hard):
    clock.now = MAY
    ledger.periods.close("2026-03", hard=hard)
    ledger.periods.close("2026-04", hard=hard)
    clock.now = MARCH
    assert posted(ledger, lambda: ledger.wallets.fund("team", usd("1")))[1] == "2026-05"


def test_what_is_earlier_than_a_seal_counts_after_it(ledger, clock):
    clock.now = APRIL
    ledger.periods.close("2026-03", hard=True)
    clock.now = MARCH - timedelta(days=60)
    assert posted(ledger, lambda: ledger.wallets.fund("team", usd("1")))[1] == "2026-04"


def test_a_month_that_is_opened_again_takes_its_own_transfers(ledger, clock):
    clock.now = APRIL
    ledger.periods.close("2026-03")
    ledger.periods.reopen("2026-03", reason="an invoice was missing")
    clock.now = MARCH
    assert posted(ledger, lambda: ledger.wallets.fund("team", usd("1")))[1] == "2026-03"


def test_a_refund_of_a_closed_month_is_a_correction_in_the_next(ledger, clock):
    clock.now = APRIL
    ledger.periods.close("2026-03", hard=True)
    assert posted(ledger, lambda: ledger.refund(done(ledger), usd("1"), reason="a black clip")) == (
        "refund",
        "2026-04",
        "2026-03",
    )


def test_every_refund_of_a_closed_month_is_a_correction(ledger, clock):
    clock.now = APRIL
    ledger.periods.close("2026-03", hard=True)
    reservation = done(ledger)
    for _ in range(2):
        assert posted(ledger, lambda: ledger.refund(reservation, usd("1"), reason="x")) == (
            "refund",
            "2026-04",
            "2026-03",
        )


def test_a_late_commit_of_a_closed_month_is_a_correction_in_the_next(ledger, clock):
    ledger.roll_back(still_open(ledger), "it seemed to fail")
    clock.now = APRIL
    ledger.periods.close("2026-03", hard=True)
    assert posted(ledger, lambda: ledger.commit(still_open(ledger), usd("3"))) == (
        "late_commit",
        "2026-04",
        "2026-03",
    )


@pytest.mark.parametrize(("cost", "kind"), [("3", "late_commit"), ("1", "refund")])
def test_a_correction_of_a_closed_month_names_it(ledger, clock, cost, kind):
    clock.now = APRIL
    ledger.periods.close("2026-03", hard=True)
    assert posted(ledger, lambda: ledger.correct(done(ledger), usd(cost), reason="the bill")) == (
        kind,
        "2026-04",
        "2026-03",
    )


def test_a_correction_of_a_job_that_ended_in_the_open_month_names_no_other(ledger, clock):
    clock.now = APRIL
    ledger.commit(still_open(ledger), usd("1"))
    ledger.periods.close("2026-03", hard=True)
    assert posted(
        ledger, lambda: ledger.correct(still_open(ledger), usd("2"), reason="the bill")
    ) == ("late_commit", "2026-04", None)


def test_an_end_of_a_closed_month_that_is_undone_names_it_twice(ledger, clock):
    clock.now = APRIL
    ledger.periods.close("2026-03", hard=True)
    before = len(found(ledger, "SELECT id FROM transfer"))
    undo = Change(done(ledger), State.IN_DOUBT, usd("3"), is_undo=True, reason="undone")
    ledger.settle([undo])
    rows = found(ledger, "SELECT kind, period, corrects FROM transfer ORDER BY id")[before:]
    assert [tuple(row.values()) for row in rows] == [
        ("refund", "2026-04", "2026-03"),
        ("reopen", "2026-04", "2026-03"),
    ]


def test_a_refund_in_the_month_of_its_charge_corrects_nothing(ledger):
    assert posted(ledger, lambda: ledger.refund(done(ledger), usd("1"), reason="a black clip")) == (
        "refund",
        "2026-03",
        None,
    )


def test_an_open_job_that_ends_later_is_no_correction(ledger, clock):
    clock.now = APRIL
    ledger.periods.close("2026-03", hard=True)
    assert posted(ledger, lambda: ledger.commit(still_open(ledger), usd("3"))) == (
        "commit",
        "2026-04",
        None,
    )


@pytest.mark.parametrize(
    ("hard", "counts_in"), [(None, "2026-04"), (False, "2026-03"), (True, "2026-04")]
)
def test_an_adjustment_may_name_the_month_that_it_corrects(ledger, clock, hard, counts_in):
    clock.now = APRIL
    if hard is not None:
        ledger.periods.close("2026-03", hard=hard)
    assert posted(
        ledger,
        lambda: ledger.wallets.adjust(
            "team", usd("-1"), reason="the bill says so", corrects="2026-03"
        ),
    ) == ("adjust_down", counts_in, "2026-03")


def test_an_adjustment_of_a_month_to_come_is_refused(ledger):
    with unchanged(ledger), pytest.raises(PeriodError, match="2026-04 is in the future"):
        ledger.wallets.adjust("team", usd("1"), reason="x", corrects="2026-04")
    ledger.wallets.adjust("team", usd("1"), reason="x", corrects="2026-03")


def test_an_adjustment_of_no_month_is_refused(ledger):
    with unchanged(ledger), pytest.raises(PeriodError, match="not a month"):
        ledger.wallets.adjust("team", usd("1"), reason="x", corrects="March")


def test_an_adjustment_of_another_month_under_one_key_is_other_content(ledger):
    ledger.wallets.adjust("team", usd("1"), reason="x", corrects="2026-02", key="k")
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.wallets.adjust("team", usd("1"), reason="x", corrects="2026-01", key="k")
    assert caught.value.field == "corrects"


# --- accruals ------------------------------------------------------------------------------


@pytest.mark.parametrize("hard", [False, True])
def test_what_is_open_at_the_end_of_a_month_is_carried_forward(ledger, clock, hard):
    clock.now = APRIL
    period = ledger.periods.close("2026-03", hard=hard)
    assert period.accruals == (Accrual(still_open(ledger), usd("3")),)


def test_what_ended_after_the_month_but_before_its_close_was_still_open_then(ledger, clock):
    clock.now = APRIL
    ledger.commit(still_open(ledger), usd("3"))
    assert ledger.periods.close("2026-03").accruals == (Accrual(still_open(ledger), usd("3")),)


def test_what_a_part_left_is_carried_forward(ledger, clock):
    ledger.commit(still_open(ledger), usd("1"), is_part=True)
    clock.now = APRIL
    assert ledger.periods.close("2026-03").accruals == (Accrual(still_open(ledger), usd("2")),)


def test_what_began_in_the_next_month_is_not_carried_out_of_this_one(ledger, clock):
    clock.now = APRIL
    ledger.reserve("team", usd("1"))
    assert [one.amount for one in ledger.periods.close("2026-03").accruals] == [usd("3")]
    clock.now = MAY
    carried = ledger.periods.close("2026-04").accruals
    assert [one.amount for one in carried] == [usd("3"), usd("1")]


def test_accruals_are_in_the_unit_of_each_reservation(ledger, clock):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("9 crun-credit"))
    ledger.reserve("credits", money("9 crun-credit"))
    clock.now = APRIL
    carried = ledger.periods.close("2026-03").accruals
    assert {one.amount for one in carried} == {usd("3"), money("9 crun-credit")}


# --- seals ---------------------------------------------------------------------------------


SEALED = {
    "transfer": (
        "SELECT id, kind, debit_account, credit_account, amount_micro, unit, wallet_id,"
        " reservation_id, period, corrects, actor, reason, created_at FROM transfer"
        " WHERE period = :m ORDER BY id"
    ),
    "reservation": (
        "SELECT id, wallet_id, unit, project, labels, provider, model, action, seconds,"
        " billed_seconds, resolution, sound, quote, request, payload_hash, address,"
        " reservation.actor, expires_at, reservation.created_at FROM reservation"
        " JOIN job_event ON reservation_id = id AND job_event.step = 1"
        " WHERE period = :m ORDER BY id"
    ),
    "job_event": (
        "SELECT reservation_id, step, from_state, to_state, actor, reason, created_at, period,"
        " task_id, settled_by, usd_micro FROM job_event WHERE period = :m"
        " ORDER BY reservation_id, step"
    ),
    "budget_event": (
        "SELECT budget_id, step, change, actor, reason, created_at, period FROM budget_event"
        " WHERE period = :m ORDER BY budget_id, step"
    ),
    "key": (
        "SELECT key, content, result_id, created_at, period FROM idempotency WHERE period = :m"
        " ORDER BY key"
    ),
    "accrual": (
        "SELECT period, reservation_id, amount_micro, unit FROM accrual WHERE period = :m"
        " ORDER BY reservation_id"
    ),
}
"""What a seal of format 2 covers, in its order."""

SEALED_SINCE = {
    **SEALED,
    "reservation": SEALED["reservation"].replace(
        "reservation.created_at",
        "reservation.created_at, quoted_micro, low_micro, estimated_micro",
    ),
    "purchase_lot": (
        "SELECT transfer_id, seller, cash_micro, currency, tax_micro, invoice, bought_on,"
        " expires_on, actor, created_at, period FROM purchase_lot WHERE period = :m"
        " ORDER BY transfer_id"
    ),
}
"""What the documentation says that a seal covers today, in its order."""

OWN = ("name", "actor", "reason", "closed_at", "previous_seal")


def written(value: object) -> str | None:
    return None if value is None else str(int(value) if isinstance(value, bool) else value)


def seal_of(ledger: Ledger, month: str) -> str:
    """Work a seal out from the documented rule alone."""
    return _seal_of(ledger, month, 3, (*OWN, "prepared_by", "prepared_at"), SEALED_SINCE)


def seal_of_format_2(ledger: Ledger, month: str) -> str:
    return _seal_of(ledger, month, 2, OWN, SEALED)


def _seal_of(
    ledger: Ledger, month: str, number: int, names: tuple[str, ...], sections: dict[str, str]
) -> str:
    own = found(ledger, "SELECT * FROM period WHERE name = :m", m=month)[0]
    said = [number, *(own[name] for name in names)]
    for name, query in sections.items():
        rows = found(ledger, query, m=month)
        lines = [
            json.dumps(
                [written(value) for value in row.values()],
                separators=(",", ":"),
                ensure_ascii=False,
            )
            for row in rows
        ]
        hashed = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
        said.append([name, len(lines), hashed])
    return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()


def test_a_seal_is_the_hash_of_the_seal_before_and_all_that_reports_rest_on(ledger, clock):
    hostile = 'Zoë\'s "clip"\\ \t\n\x01\x7f 日本 🎬 \u2028 </script>'
    ledger.budgets.set("month", usd("90"), reason=hostile)
    ledger.wallets.fund("team", usd("1"), key=f"invoice {hostile}", reason=hostile)
    job = Job(provider="crun", model=hostile, sound=True, seconds="5", billed_seconds=5)
    made = ledger.reserve("team", usd("1"), job=job, project="film/é", labels={"scene": "7"})
    ledger.mark_submitting(made.id)
    ledger.mark_submitted(made.id, "task-1")
    clock.now = APRIL
    march = ledger.periods.close("2026-03", hard=True, reason=hostile)
    ledger.commit(still_open(ledger), usd("3"))
    clock.now = MAY
    april = ledger.periods.close("2026-04", hard=True)
    assert (march.transfers, april.transfers) == (7, 1)
    assert (march.previous_seal, april.previous_seal) == (None, march.seal)
    assert (march.seal, april.seal) == (seal_of(ledger, "2026-03"), seal_of(ledger, "2026-04"))
    assert (march.format, april.format) == (3, 3)


def test_a_month_in_which_nothing_happened_can_be_sealed(ledger, clock):
    clock.now = APRIL
    empty = ledger.periods.close("2026-02", hard=True)
    assert (empty.transfers, empty.seal) == (0, seal_of(ledger, "2026-02"))


def test_a_seal_of_an_earlier_version_stays_valid_and_the_next_goes_on_from_it(ledger, clock):
    clock.now = APRIL
    ledger.commit(still_open(ledger), usd("3"))
    ledger.wallets.fund("team", usd("1"))
    clock.now = MAY
    write(
        ledger,
        f"INSERT INTO accrual VALUES ('2026-03', '{still_open(ledger)}', 3000000, 'USD')",
    )
    seal = seal_as_before(ledger, "2026-03")
    april = ledger.periods.close("2026-04", hard=True)
    assert april.previous_seal == seal
    assert [(one.name, one.format) for one in ledger.periods.all()] == [
        ("2026-03", 1),
        ("2026-04", 3),
    ]


def test_a_seal_of_format_2_stays_valid_and_the_next_goes_on_from_it(ledger, clock, monkeypatch):
    clock.now = APRIL
    with monkeypatch.context() as before:
        before.setattr(seals, "FORMAT", 2)
        march = ledger.periods.close("2026-03", hard=True)
    ledger.commit(still_open(ledger), usd("3"))
    clock.now = MAY
    april = ledger.periods.close("2026-04", hard=True)
    assert (march.format, march.seal) == (2, seal_of_format_2(ledger, "2026-03"))
    assert (april.format, april.seal) == (3, seal_of(ledger, "2026-04"))
    assert ledger.verify().findings == ()
    write(ledger, "UPDATE reservation SET model = 'other'")
    laws = {(one.law, one.subject) for one in ledger.verify().findings}
    assert ("a sealed period is as it was sealed", "2026-03") in laws
    write(ledger, "UPDATE reservation SET model = NULL")


def test_a_month_is_sealed_after_every_earlier_one_that_has_transfers(ledger, clock):
    clock.now = MAY
    ledger.periods.close("2026-03")
    with (
        unchanged(ledger),
        pytest.raises(PeriodOrderError, match="2026-03, before 2026-04") as caught,
    ):
        ledger.periods.close("2026-04", hard=True)
    assert (caught.value.hint, caught.value.earlier) == ("seal 2026-03 first", "2026-03")
    ledger.periods.close("2026-03", hard=True)
    assert ledger.periods.close("2026-04", hard=True).state == "hard"


def test_a_month_before_a_seal_is_not_sealed_any_more(ledger, clock):
    clock.now = APRIL
    ledger.periods.close("2026-03", hard=True)
    with unchanged(ledger), pytest.raises(PeriodError, match="2026-03 comes after"):
        ledger.periods.close("2026-02", hard=True)


def test_a_soft_close_may_become_a_hard_one_with_its_corrections(ledger, clock):
    clock.now = APRIL
    ledger.periods.close("2026-03")
    ledger.wallets.adjust("team", usd("1"), reason="x", corrects="2026-03")
    assert ledger.periods.close("2026-03", hard=True).transfers == 6


def test_a_seal_that_was_interrupted_leaves_a_soft_close_and_is_taken_up_again(ledger, clock):
    clock.now = APRIL
    stamp = Stamp(to_us(APRIL), "ada", None, 7)
    ledger.database.write(lambda one: periods.begin_sealing(one, "2026-03", stamp=stamp))
    assert ledger.periods.all()[0].state == "soft"
    # Whatever is said of the month now counts after it: its seal may be worked out any moment.
    late = partial(ledger.wallets.adjust, "team", usd("1"), reason="x", corrects="2026-03")
    assert posted(ledger, late) == ("adjust", "2026-04", "2026-03")
    clock.now = MARCH
    assert posted(ledger, lambda: ledger.wallets.fund("team", usd("1")))[1] == "2026-04"
    clock.now = APRIL
    assert ledger.periods.close("2026-03", hard=True).seal == seal_of(ledger, "2026-03")


def test_a_month_that_is_opened_while_it_is_sealed_is_not_sealed(ledger, clock):
    clock.now = APRIL
    stamp = Stamp(to_us(APRIL), "ada", None, 7)
    read = ledger.database.write(lambda one: periods.begin_sealing(one, "2026-03", stamp=stamp))
    sealed = {**periods.to_be_sealed(read, stamp=stamp, previous=None), "seal": "ab"}
    ledger.periods.reopen("2026-03", reason="an invoice was missing")
    assert not ledger.database.write(lambda one: periods.seal(one, sealed))
    ledger.periods.close("2026-03")
    assert not ledger.database.write(lambda one: periods.seal(one, sealed))
    assert ledger.periods.all()[0].state == "soft"


def test_two_who_seal_a_month_at_the_same_time_make_one_seal(ledger, clock):
    clock.now = APRIL
    with ThreadPoolExecutor(4) as pool:
        url = ledger.database.url

        def close() -> str | None:
            with Ledger(url, clock=clock, actor="bob") as other:
                return other.periods.close("2026-03", hard=True).seal

        seals = {one.result() for one in [pool.submit(close) for _ in range(4)]}
    assert seals == {seal_of(ledger, "2026-03")}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE period SET seal = 'ab'",
        "UPDATE period SET state = 'open', seal = NULL",
        "DELETE FROM period",
    ],
)
def test_the_database_itself_keeps_a_seal(ledger, clock, statement):
    clock.now = APRIL
    ledger.periods.close("2026-03", hard=True)
    with unchanged(ledger), pytest.raises(DatabaseError, match=r"stays as it is|append-only"):
        write(ledger, statement)


# --- months --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "month"),
    [
        ("2026-03-01T00:00:00+00:00", "2026-03"),
        ("2026-02-28T23:59:59.999999+00:00", "2026-02"),
        ("2028-02-29T23:59:59.999999+00:00", "2028-02"),
        ("2026-12-31T23:59:59.999999+00:00", "2026-12"),
        ("2027-01-01T00:59:00+01:00", "2026-12"),
        ("1969-12-31T23:59:59+00:00", "1969-12"),
    ],
)
def test_a_month_is_the_one_in_utc(at, month):
    assert month_of(to_us(datetime.fromisoformat(at))) == month


@pytest.mark.parametrize(
    ("month", "after"), [("2026-01", "2026-02"), ("2026-11", "2026-12"), ("2026-12", "2027-01")]
)
def test_one_month_comes_after_another(month, after):
    assert month_after(month) == after
