"""verify: whoever changes a balance, a state or the journal behind the ledger's back is found."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger import Job, Ledger
from kling_ledger.ledger.verify import Finding
from kling_ledger.ledger.verify.laws import LAWS
from tests.ledgers import NOON, Chance, Clock, found, money, tamper, unchanged, usd

ENTRY = "a transfer moves credits of its wallet's unit between the two accounts of its kind"
UNIT = "a reservation is in its wallet's unit"
CHAIN = "each event of a reservation takes up where the one before it ended"
STEP = "each event is a step that the life of a reservation allows"
HELD = "a reservation's transfers set aside its amount, and free what it holds no more"
CHARGE = "what a reservation committed and refunded is what its transfers spent and gave back"
STATE = "a reservation is in the state, and at the step, of its last event"
DOLLARS = "a reservation in US dollars counts in US dollars as it is"
KEY = "a key stands for something that is there"
BUDGET = "a budget is as its events say"
HISTORY = "a reservation's task, settlement and worth are those of its last event"
WINDOW = "a budget's window counts the reservations that it admitted"
FUNDED = "a wallet's balance: funded"
ADJUSTED = "a wallet's balance: adjusted"
POSTED = "a wallet's balance: posted = funded + adjusted - spent"
FREED = "a wallet's balance: reserved = set aside - freed"
OPEN = "a wallet's balance: reserved = its open reservations"
SPENT = "a wallet's balance: spent = its committed reservations"
SOUND = "the file is sound"
BELONGS = "every row belongs to something"
CONNECTED = {SOUND, BELONGS}
"""What a file's own check says too; a server checks that when it is written."""

NEXT_MONTH = NOON + timedelta(days=31)
COPY = (
    "INSERT INTO transfer SELECT 'txf_extra', kind, debit_account, credit_account, amount_micro,"
    " unit, wallet_id, reservation_id, period, corrects, actor, reason, created_at"
    " FROM transfer WHERE kind = '{}' ORDER BY id LIMIT 1"
)


def committed(ledger: Ledger, task: str, amount: str) -> str:
    """Return a reservation of 3 USD that was committed at an amount."""
    reservation_id = ledger.reserve("team", usd("3"), job=Job(provider="crun")).id
    ledger.mark_submitting(reservation_id)
    ledger.mark_submitted(reservation_id, task)
    return ledger.commit(reservation_id, usd(amount)).id


@pytest.fixture
def ledger(empty_url: str) -> Iterator[Ledger]:
    """Two wallets and a budget; in one of them a job that ended in each way, and an open one."""
    clock = Clock()
    with Ledger(empty_url, clock=clock, chance=Chance(), actor="ada") as opened:
        opened.wallets.create("team", "USD")
        opened.wallets.create("other", "USD")
        opened.wallets.create("credits", "crun-credit")
        opened.wallets.fund("team", usd("50"))
        opened.wallets.fund("credits", money("10 crun-credit"))
        opened.wallets.adjust("team", usd("3"), reason="a gift")
        opened.wallets.adjust("team", usd("-1"), reason="a fee")
        opened.budgets.set("month", usd("90"), window="month")
        committed(opened, "task-1", "2")
        opened.refund(committed(opened, "task-2", "4"), usd("1"), reason="a black clip")
        opened.roll_back(opened.reserve("team", usd("5")).id, "not wanted")
        late = opened.reserve("team", usd("2.5"))
        opened.roll_back(late.id, "it seemed to fail")
        opened.commit(late.id, usd("2.25"))
        soon = NOON + timedelta(hours=1)
        opened.reserve("team", usd("1.5"), expires_at=soon)
        clock.now = soon
        opened.expire()
        opened.reserve("team", usd("7"), key="clip 7", project="film/a")
        yield opened


@pytest.fixture
def sealed(empty_url: str) -> Iterator[Ledger]:
    """Three months: the first and the second under a seal, one job carried through both."""
    clock = Clock(NOON - timedelta(days=28))
    with Ledger(empty_url, clock=clock, chance=Chance(), actor="ada") as opened:
        opened.wallets.create("team", "USD")
        opened.wallets.fund("team", usd("20"), reason="paid", key="invoice")
        opened.budgets.set("film", usd("50"))
        opened.reserve("team", usd("3"), job=Job(model="kling-v3"), project="film/a")
        clock.now = NOON
        opened.periods.close("2026-02", hard=True)
        opened.wallets.fund("team", usd("5"))
        committed(opened, "task-1", "2")
        clock.now = NEXT_MONTH
        opened.periods.close("2026-03", hard=True)
        opened.wallets.fund("team", usd("1"))
        yield opened


def laws(ledger: Ledger) -> set[str]:
    """The laws that are broken, without what only the check of a file says beside them."""
    return {finding.law for finding in ledger.verify().findings} - CONNECTED


def subjects(ledger: Ledger, law: str) -> set[str]:
    return {finding.subject for finding in ledger.verify().findings if finding.law == law}


def ids(ledger: Ledger, query: str) -> set[str]:
    return {row["id"] for row in found(ledger, query)}


def damage(ledger: Ledger, *statements: str) -> None:
    tamper(ledger.database.url, *statements)


def test_a_new_ledger_is_clean(empty_url):
    with Ledger(empty_url) as ledger:
        verification = ledger.verify()
    assert verification.is_clean
    assert (verification.wallets, verification.reservations, verification.transfers) == (0, 0, 0)


def test_an_honest_ledger_is_clean_and_counted(ledger):
    verification = ledger.verify()
    assert verification.findings == ()
    assert (verification.wallets, verification.reservations) == (3, 6)
    assert (verification.transfers, verification.open_reservations) == (19, 1)
    assert (verification.windows, verification.sealed_periods) == (1, 0)


def test_a_sealed_ledger_is_clean_and_counted(sealed):
    assert sealed.verify().findings == ()
    assert sealed.verify().sealed_periods == 2


def test_verifying_changes_nothing(ledger):
    with unchanged(ledger):
        ledger.verify()


def test_without_its_triggers_alone_the_figures_still_agree(ledger):
    damage(ledger)
    assert ledger.verify().is_clean


# --- balances ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "broken"),
    [
        ("funded_micro", {FUNDED, SPENT}),
        ("adjusted_micro", {ADJUSTED, SPENT}),
        ("posted_micro", {POSTED, SPENT}),
        ("reserved_micro", {FREED, OPEN}),
    ],
)
def test_a_changed_balance_names_the_wallet(ledger, column, broken):
    damage(ledger, f"UPDATE wallet SET {column} = {column} + 1 WHERE name = 'team'")
    assert laws(ledger) <= broken
    assert laws(ledger) >= broken - {SPENT}
    assert {finding.subject for finding in ledger.verify().findings} == {"team"}


def test_a_changed_balance_shows_both_figures(ledger):
    damage(ledger, "UPDATE wallet SET funded_micro = 50000001 WHERE name = 'team'")
    problem = "it says 50000001 millionths, the journal says 50000000"
    assert ledger.verify().findings[0] == Finding(FUNDED, "team", problem)


def test_credits_given_to_an_empty_wallet_are_found(ledger):
    damage(ledger, "UPDATE wallet SET funded_micro = 5, posted_micro = 5 WHERE name = 'other'")
    assert subjects(ledger, FUNDED) == subjects(ledger, POSTED) == {"other"}


def test_a_wallet_in_another_unit_is_found_by_its_transfers_and_reservations(ledger):
    damage(ledger, "UPDATE wallet SET unit = 'CNY' WHERE name = 'team'")
    assert laws(ledger) == {ENTRY, UNIT}
    assert subjects(ledger, ENTRY) == ids(ledger, "SELECT id FROM transfer WHERE unit = 'USD'")
    assert subjects(ledger, UNIT) == ids(ledger, "SELECT id FROM reservation")


# --- reservations --------------------------------------------------------------------------

OPEN_ONE = "WHERE state = 'reserved'"
CHEAP = "WHERE committed_micro = 2000000"
BROKEN_BY: dict[str, tuple[str, set[str]]] = {
    "state, open to open": (f"state = 'submitted' {OPEN_ONE}", {STATE}),
    "state, open to ended": (
        f"state = 'rolled_back', held_micro = 0, usd_held_micro = 0 {OPEN_ONE}",
        {STATE, HELD, OPEN, WINDOW},
    ),
    "state, ended to open": ("state = 'reserved' WHERE state = 'expired'", {STATE}),
    "step": (f"step = step + 1 {OPEN_ONE}", {STATE}),
    "unit": (f"unit = 'CNY' {OPEN_ONE}", {UNIT}),
    "reserved_micro": (f"reserved_micro = 8000000 {OPEN_ONE}", {HELD}),
    "held_micro": (f"held_micro = held_micro - 1 {OPEN_ONE}", {HELD, OPEN, DOLLARS}),
    "committed_micro": (f"committed_micro = 2000001 {CHEAP}", {CHARGE, SPENT, DOLLARS}),
    "refunded_micro": (f"refunded_micro = 1 {CHEAP}", {CHARGE, SPENT, DOLLARS}),
    "usd_held_micro": (f"usd_held_micro = 1 {OPEN_ONE}", {DOLLARS, WINDOW}),
    "usd_spent_micro": (f"usd_spent_micro = 1 {CHEAP}", {DOLLARS, WINDOW}),
    "usd, unknown": (f"usd_spent_micro = NULL {CHEAP}", {DOLLARS, WINDOW}),
    "usd_micro": (f"usd_micro = usd_micro * 1000 {CHEAP}", {HISTORY}),
    "settled_by": (f"settled_by = 'bill' {CHEAP}", {HISTORY}),
    "task_id": (f"task_id = 'task-9' {CHEAP}", {HISTORY}),
    "provider": (f"provider = 'runapi' {CHEAP}", {ENTRY}),
    "wallet_id": (
        f"wallet_id = (SELECT id FROM wallet WHERE name = 'other') {OPEN_ONE}",
        {OPEN},
    ),
    "created_at, out of its window": (f"created_at = 0 {OPEN_ONE}", {WINDOW}),
}


@pytest.mark.parametrize("column", BROKEN_BY)
def test_a_changed_reservation_is_found_and_named(ledger, column):
    statement, broken = BROKEN_BY[column]
    where = statement[statement.rindex("WHERE") :]
    changed = ids(ledger, f"SELECT id FROM reservation {where}")
    damage(ledger, f"UPDATE reservation SET {statement}")
    assert laws(ledger) == broken
    for law in broken & {STATE, HELD, CHARGE, DOLLARS, UNIT}:
        assert subjects(ledger, law) == changed


def test_a_deleted_reservation_is_found(ledger):
    damage(ledger, f"DELETE FROM reservation {OPEN_ONE}")
    assert laws(ledger) >= {OPEN, WINDOW, KEY}


# --- transfers -----------------------------------------------------------------------------

KINDS = {
    "fund": {FUNDED, POSTED},
    "adjust": {ADJUSTED, POSTED},
    "adjust_down": {ADJUSTED, POSTED},
    "reserve": {HELD, FREED},
    "commit": {HELD, CHARGE, POSTED, FREED, SPENT},
    "return": {HELD, FREED},
    "overrun": {CHARGE, POSTED, SPENT},
    "roll_back": {HELD, FREED},
    "expire": {HELD, FREED},
    "late_commit": {CHARGE, POSTED, SPENT},
    "refund": {CHARGE, POSTED, SPENT},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_amount_of_a_transfer_is_found(ledger, kind):
    damage(ledger, f"UPDATE transfer SET amount_micro = amount_micro + 1 WHERE kind = '{kind}'")
    assert laws(ledger) == KINDS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_transfer_is_found(ledger, kind):
    first = f"(SELECT id FROM transfer WHERE kind = '{kind}' ORDER BY id LIMIT 1)"
    damage(ledger, f"DELETE FROM transfer WHERE id = {first}")
    assert laws(ledger) == KINDS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_an_extra_transfer_is_found(ledger, kind):
    damage(ledger, COPY.format(kind))
    assert laws(ledger) == KINDS[kind]


OTHER = "(SELECT id FROM wallet WHERE name = 'other')"
MOVED: dict[str, tuple[str, set[str]]] = {
    "kind, unknown": ("kind = 'gift' WHERE kind = 'fund'", {ENTRY}),
    "kind, of other accounts": ("kind = 'adjust' WHERE kind = 'fund'", {ENTRY}),
    "debit_account": ("debit_account = 'adjustment' WHERE kind = 'fund'", {ENTRY, FUNDED}),
    "credit_account": (
        f"credit_account = 'wallet/' || {OTHER} || '/available' WHERE kind = 'roll_back'",
        {ENTRY},
    ),
    "sides": (
        "debit_account = credit_account, credit_account = debit_account WHERE kind = 'roll_back'",
        {ENTRY, FREED},
    ),
    "provider": ("credit_account = 'provider/none' WHERE kind = 'commit'", {ENTRY}),
    "unit": ("unit = 'CNY' WHERE kind = 'fund'", {ENTRY}),
    "wallet_id": (f"wallet_id = {OTHER} WHERE kind = 'fund' AND unit = 'USD'", {ENTRY, FUNDED}),
    "reservation_id": (
        f"reservation_id = (SELECT id FROM reservation {OPEN_ONE}) WHERE kind = 'expire'",
        {HELD},
    ),
    "reservation_id, none": ("reservation_id = NULL WHERE kind = 'expire'", {HELD}),
}


@pytest.mark.parametrize("column", MOVED)
def test_a_changed_transfer_is_found_and_named(ledger, column):
    statement, broken = MOVED[column]
    changed = ids(ledger, f"SELECT id FROM transfer {statement[statement.rindex('WHERE') :]}")
    damage(ledger, f"UPDATE transfer SET {statement}")
    assert laws(ledger) >= broken
    if ENTRY in broken:
        assert subjects(ledger, ENTRY) == changed


# --- events, keys, windows -----------------------------------------------------------------


ANOTHER_EVENT = (
    "INSERT INTO job_event SELECT reservation_id, step + 1, to_state, 'committed', actor,"
    " reason, created_at, period, task_id, settled_by, usd_micro"
    " FROM job_event WHERE to_state = 'expired'"
)
ANOTHER_RAISE = (
    "INSERT INTO budget_raise SELECT 'rse_extra', id, 90000000, 1800000000000000, 'eve', 'more',"
    " created_at FROM budget"
)


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE job_event SET to_state = 'submitted' WHERE to_state = 'expired'", {STEP, STATE}),
        ("UPDATE job_event SET from_state = 'submitted' WHERE to_state = 'expired'", {STEP, CHAIN}),
        ("UPDATE job_event SET from_state = NULL WHERE to_state = 'expired'", {STEP, CHAIN}),
        ("UPDATE job_event SET step = 9 WHERE to_state = 'expired'", {CHAIN, STATE}),
        ("DELETE FROM job_event WHERE to_state = 'expired'", {STATE}),
        ("DELETE FROM job_event WHERE to_state = 'submitting'", {CHAIN}),
        ("DELETE FROM job_event WHERE step = 1", {CHAIN, STATE}),
        (ANOTHER_EVENT, {STATE}),
        ("UPDATE idempotency SET result_id = 'res_none'", {KEY}),
        ("UPDATE budget_window SET held_micro = held_micro + 1", {WINDOW}),
        ("UPDATE budget_window SET spent_micro = spent_micro - 1", {WINDOW}),
        ("UPDATE budget_window SET starts_at = starts_at + 1", {WINDOW}),
        ("UPDATE budget_window SET ends_at = ends_at - 1", {WINDOW}),
        ("UPDATE budget SET repeats = 'day'", {WINDOW, BUDGET}),
        ("UPDATE budget SET timezone = 'Europe/Berlin'", {WINDOW, BUDGET}),
        ("UPDATE budget SET project = 'film/'", {WINDOW, BUDGET}),
        ("UPDATE budget SET provider = 'crun'", {WINDOW, BUDGET}),
        ("UPDATE budget SET model = 'kling-v3'", {WINDOW, BUDGET}),
        ("UPDATE budget SET label = 'a=b'", {WINDOW, BUDGET}),
        ("UPDATE budget SET unit = 'crun-credit'", {WINDOW, BUDGET}),
        ("UPDATE budget SET limit_micro = limit_micro * 1000", {BUDGET}),
        ("UPDATE budget SET ceiling_micro = 1", {BUDGET}),
        ("UPDATE budget SET mode = 'warn'", {BUDGET}),
        ("UPDATE budget SET thresholds = '90'", {BUDGET}),
        ("UPDATE budget SET removed_at = created_at + 1", {BUDGET}),
        ("DELETE FROM budget_event", {BUDGET}),
        (ANOTHER_RAISE, {BUDGET}),
    ],
)
def test_a_changed_event_key_or_window_is_found(ledger, statement, broken):
    gather(ledger)
    damage(ledger, statement)
    assert laws(ledger) == broken


def gather(ledger: Ledger) -> None:
    """Take away the slots: the database itself would refuse some of the damage beside them."""
    if ledger.slots:
        ledger.use_slots(0)


def test_a_window_names_its_budget_and_both_figures(ledger):
    gather(ledger)
    damage(ledger, "UPDATE budget_window SET held_micro = held_micro + 1")
    (finding,) = ledger.verify().findings
    assert (finding.law, finding.subject) == (WINDOW, "month")
    assert "it holds 7000001" in finding.problem
    assert "its reservations hold 7000000" in finding.problem


def test_a_reservation_without_any_event_is_found(ledger):
    damage(ledger, "DELETE FROM job_event")
    assert subjects(ledger, STATE) == ids(ledger, "SELECT id FROM reservation")


def test_every_tampered_place_is_named_at_once(ledger):
    damage(
        ledger,
        "UPDATE wallet SET posted_micro = posted_micro + 1 WHERE unit = 'USD'",
        "UPDATE transfer SET unit = 'CNY' WHERE kind = 'overrun'",
        "UPDATE reservation SET committed_micro = 1 WHERE committed_micro = 2000000",
    )
    assert {POSTED, ENTRY, CHARGE} <= laws(ledger)
    assert subjects(ledger, POSTED) == {"team", "other"}


# --- what only a file can hold -------------------------------------------------------------


@pytest.fixture
def file_ledger(tmp_path) -> Iterator[Ledger]:
    with Ledger(str(tmp_path / "ledger.sqlite"), actor="ada") as opened:
        opened.wallets.create("team", "USD")
        opened.wallets.fund("team", usd("20"))
        opened.reserve("team", usd("3"))
        yield opened


def test_a_state_that_does_not_exist_breaks_the_tables_own_law(file_ledger):
    damage(file_ledger, "UPDATE reservation SET state = 'lost', held_micro = 0")
    assert {finding.law for finding in file_ledger.verify().findings} >= {SOUND, STATE}


def test_a_transfer_below_nothing_breaks_the_tables_own_law(file_ledger):
    damage(file_ledger, "UPDATE transfer SET amount_micro = -1 WHERE kind = 'fund'")
    assert {finding.law for finding in file_ledger.verify().findings} >= {SOUND, ENTRY}


def test_a_transfer_of_a_wallet_that_never_was_is_found(file_ledger):
    damage(file_ledger, "UPDATE transfer SET wallet_id = 'wal_nothing' WHERE kind = 'fund'")
    assert Finding(BELONGS, "transfer", "to wallet") in file_ledger.verify().findings


def test_a_page_of_the_file_that_was_overwritten_never_passes_as_clean(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(str(path)) as ledger:
        ledger.wallets.create("team", "USD")
        for _ in range(50):
            ledger.wallets.fund("team", usd("1"))
        root = found(ledger, "SELECT rootpage FROM sqlite_master WHERE name = 'transfer'")
    with path.open("r+b") as file:
        file.seek((root[0]["rootpage"] - 1) * 4096 + 4000)
        file.write(b"\xff" * 90)
    with Ledger(str(path)) as ledger:
        try:
            is_clean = ledger.verify().is_clean
        except DatabaseError:
            is_clean = False
    assert not is_clean


# --- seals ---------------------------------------------------------------------------------

IN_ORDER = "a seal goes on from the seal before it"
AS_SEALED = "a sealed period is as it was sealed"
CHARGED = "SELECT id FROM reservation WHERE state = 'committed'"
CARRIED = "what a sealed period carried forward is what reservations held at its end"
ACCRUED = "an accrual of a sealed period is as it was sealed"
LASTS = "what was sealed stays sealed"
LINE = "a transfer of a sealed period is as it was sealed"
FEBRUARY = "WHERE period = '2026-02' AND kind = 'fund'"
COLUMNS = {
    "amount_micro": "amount_micro + 1",
    "actor": "'eve'",
    "reason": "'lost'",
    "created_at": "created_at + 1",
    "corrects": "'2026-01'",
    "period": "'2026-04'",
    "kind": "'adjust'",
    "debit_account": "'adjustment'",
    "unit": "'CNY'",
}


@pytest.mark.parametrize("column", COLUMNS)
def test_any_change_of_a_sealed_transfer_is_found_and_the_transfer_named(sealed, column):
    changed = ids(sealed, f"SELECT id FROM transfer {FEBRUARY}")
    damage(sealed, f"UPDATE transfer SET {column} = {COLUMNS[column]} {FEBRUARY}")
    assert subjects(sealed, LINE) == changed
    assert subjects(sealed, AS_SEALED) == {"2026-02"}


def test_a_transfer_deleted_from_a_sealed_period_is_named(sealed):
    gone = ids(sealed, f"SELECT id FROM transfer {FEBRUARY}")
    damage(sealed, f"DELETE FROM transfer {FEBRUARY}")
    findings = [one for one in sealed.verify().findings if one.law == LINE]
    assert findings == [Finding(LINE, gone.pop(), "it was in 2026-02 and is missing")]
    assert subjects(sealed, AS_SEALED) == {"2026-02"}


def test_a_transfer_put_into_a_sealed_period_is_named(sealed):
    damage(sealed, COPY.format("fund"))
    findings = [one for one in sealed.verify().findings if one.law == LINE]
    assert findings == [Finding(LINE, "txf_extra", "it was put in afterwards")]
    assert subjects(sealed, AS_SEALED) == {"2026-02"}


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE period SET seal = 'ab' WHERE name = '2026-02'", {IN_ORDER, AS_SEALED}),
        ("UPDATE period SET seal = 'ab' WHERE name = '2026-03'", {AS_SEALED}),
        ("UPDATE period SET previous_seal = 'ab' WHERE name = '2026-03'", {IN_ORDER, AS_SEALED}),
        ("UPDATE period SET previous_seal = NULL WHERE name = '2026-03'", {IN_ORDER, AS_SEALED}),
        ("UPDATE period SET transfers = transfers + 1 WHERE name = '2026-02'", {AS_SEALED}),
        ("UPDATE period SET reason = 'lost' WHERE name = '2026-02'", {AS_SEALED}),
        ("UPDATE period SET actor = 'eve' WHERE name = '2026-02'", {AS_SEALED}),
        ("UPDATE period SET closed_at = closed_at + 1 WHERE name = '2026-02'", {AS_SEALED}),
        ("DELETE FROM period WHERE name = '2026-02'", {IN_ORDER, LASTS}),
        ("DELETE FROM period WHERE name = '2026-03'", {LASTS}),
        (
            "UPDATE period SET state = 'open', seal = NULL WHERE name = '2026-03'",
            {LASTS},
        ),
    ],
)
def test_a_changed_seal_is_found(sealed, statement, broken):
    damage(sealed, statement)
    assert laws(sealed) == broken


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE accrual SET amount_micro = amount_micro + 1 WHERE period = '2026-02'", "both"),
        ("UPDATE accrual SET unit = 'CNY' WHERE period = '2026-02'", "both"),
        ("DELETE FROM accrual WHERE period = '2026-02'", "period"),
        (
            f"UPDATE accrual SET reservation_id = ({CHARGED}) WHERE period = '2026-02'",
            "reservation",
        ),
    ],
    ids=["amount", "unit", "deleted", "reservation"],
)
def test_a_changed_accrual_of_a_sealed_period_is_found(sealed, statement, named):
    damage(sealed, statement)
    accrued = ids(sealed, "SELECT reservation_id AS id FROM accrual WHERE period = '2026-02'")
    assert laws(sealed) == {CARRIED, AS_SEALED, ACCRUED}
    expected = {
        "both": {*accrued, "2026-02"},
        "period": {"2026-02"},
        "reservation": accrued,
    }
    assert subjects(sealed, CARRIED) == expected[named]


def test_an_extra_accrual_of_a_sealed_period_is_found(sealed):
    ended = ids(sealed, CHARGED)
    damage(sealed, f"INSERT INTO accrual VALUES ('2026-03', '{min(ended)}', 1, 'USD')")
    assert subjects(sealed, CARRIED) == {*ended, "2026-03"}


SEALED_ROWS = {
    "project": ("reservation", "UPDATE reservation SET project = 'film/b' WHERE id = '{first}'"),
    "labels": ("reservation", "UPDATE reservation SET labels = '[]' WHERE id = '{first}'"),
    "model": ("reservation", "UPDATE reservation SET model = 'kling-v9' WHERE id = '{first}'"),
    "seconds": ("reservation", "UPDATE reservation SET seconds = '10' WHERE id = '{first}'"),
    "quote": ("reservation", "UPDATE reservation SET quote = '{{}}' WHERE id = '{first}'"),
    "actor": ("reservation", "UPDATE reservation SET actor = 'eve' WHERE id = '{first}'"),
    "created_at": (
        "reservation",
        "UPDATE reservation SET created_at = created_at + 1 WHERE id = '{first}'",
    ),
    "expires_at": ("reservation", "UPDATE reservation SET expires_at = 1 WHERE id = '{first}'"),
    "an event's actor": (
        "job_event",
        "UPDATE job_event SET actor = 'eve' WHERE reservation_id = '{first}' AND step = 1",
    ),
    "an event's worth": (
        "job_event",
        "UPDATE job_event SET usd_micro = 1 WHERE reservation_id = '{first}' AND step = 1",
    ),
    "an event's month": (
        "job_event",
        "UPDATE job_event SET period = NULL WHERE reservation_id = '{first}' AND step = 1",
    ),
    "a payment's key": ("key", "DELETE FROM idempotency WHERE key = 'invoice'"),
    "a budget's event": (
        "budget_event",
        "UPDATE budget_event SET actor = 'eve' WHERE budget_id IN (SELECT id FROM budget)",
    ),
}


@pytest.mark.parametrize("what", SEALED_ROWS)
def test_what_the_reports_of_a_sealed_month_rest_on_is_sealed_and_named(sealed, what):
    section, statement = SEALED_ROWS[what]
    [first] = found(sealed, "SELECT MIN(id) AS id FROM reservation")
    damage(sealed, statement.format(first=first["id"]))
    findings = sealed.verify().findings
    assert AS_SEALED in {one.law for one in findings}
    [named] = [one for one in findings if f"{section.replace('_', ' ')} of a sealed" in one.law]
    assert "2026-02" in named.problem or named.problem.startswith("it was")


def test_what_jobs_do_after_a_close_leaves_its_seal_as_it_is(sealed):
    """Whatever may still become of a job of a sealed month, under a clock that lags too."""
    [first] = found(sealed, "SELECT MIN(id) AS id FROM reservation")
    sealed.mark_submitting(first["id"])
    sealed.mark_submitted(first["id"], "task-9")
    sealed.hold(first["id"], usd("4"), reason="the provider set aside more")
    sealed.commit(first["id"], usd("5"))
    sealed.refund(first["id"], usd("1"), reason="a black clip")
    sealed.correct(first["id"], usd("3"), reason="the bill says so", settled_by="bill")
    with Ledger(sealed.database.url, clock=Clock(NOON - timedelta(days=28))) as late:
        late.wallets.fund("team", usd("1"), key="again")
        late.wallets.adjust("team", usd("1"), reason="late", corrects="2026-02")
        late.commit(late.reserve("team", usd("1")).id)
        late.budgets.set("film", usd("7"))
    assert sealed.verify().findings == ()


def test_no_law_looks_for_what_is_missing_row_by_row():
    # Of a table that is larger than its working memory a server reads all of a NOT IN for each row.
    for law, query in LAWS:
        assert "NOT IN (SELECT" not in query, law
