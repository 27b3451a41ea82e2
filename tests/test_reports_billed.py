"""Billed: only what a provider said, at once or in its bill, tells how near the quotes were."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
from openpyxl import load_workbook

from kling_ledger.ledger import Change, Job, Ledger, State
from kling_reports import close_pack, overview, reconciliation, variance
from kling_reports.render import csv as csv_form
from kling_reports.render import html, terminal, xlsx
from kling_reports.render import json as json_form
from kling_reports.report import Report
from tests.export_ledger import ledger_of as ledger_for_export
from tests.ledgers import money, usd
from tests.reports_ledger import Made, ledger_of, query, rows, totals

UNBILLED = [Made(settled_by="quote"), Made(minute=1, settled_by="person", cost=700_000)]
SAYS_NEARNESS = (
    "variance_share",
    "exact",
    "dearer",
    "cheaper",
    "accuracy",
    "median_error",
)


@pytest.fixture
def unbilled(tmp_path: Path) -> Report:
    """The variance of clips of which no provider has said what they cost."""
    with ledger_of(str(tmp_path / "l"), UNBILLED) as ledger:
        return variance.report(ledger.database, query("provider"))


def test_what_nobody_billed_is_neither_exact_nor_off(unbilled: Report):
    nothing = (None,) * len(SAYS_NEARNESS)
    for told in (rows, totals):
        assert told(unbilled.main, "clips", "confirmed_clips", "confirmation", *SAYS_NEARNESS) == [
            (2, 0, "none yet", *nothing)
        ]
    assert rows(unbilled.main, "variance") == [(Decimal("0.025"),)]


def test_a_bill_is_the_providers_word_as_its_answer_is(tmp_path: Path):
    jobs = [Made(), Made(minute=1, settled_by="bill", cost=700_000), *UNBILLED]
    with ledger_of(str(tmp_path / "l"), jobs) as ledger:
        table = variance.report(ledger.database, query("provider")).main
        basis = reconciliation.report(ledger.database, query()).main
    assert rows(table, "clips", "confirmed_clips", "confirmation", *SAYS_NEARNESS) == [
        (
            *(4, 2, "2 of 4"),
            Decimal("0.018519"),
            *(1, 1, 0),
            *map(Decimal, ("0.5", "0")),
        )
    ]
    assert rows(basis, "basis", "jobs") == [
        ("provider", 1),
        ("bill", 1),
        ("quote", 1),
        ("person", 1),
    ]


def test_a_group_without_a_bill_says_so_beside_one_that_has_some(tmp_path: Path):
    jobs = [Made(settled_by="quote"), Made(minute=1, provider="uniall", settled_by="bill")]
    with ledger_of(str(tmp_path / "l"), jobs) as ledger:
        table = variance.report(ledger.database, query("provider")).main
    keys = ("confirmation", "accuracy", "median_error", "settled")
    assert rows(table, "provider", *keys) == [
        ("runapi", "none yet", None, None, Decimal("0.675")),
        ("uniall", "all", Decimal(1), Decimal(0), Decimal("0.675")),
    ]
    assert totals(table, *keys) == [("1 of 2", Decimal(1), Decimal(0), Decimal("1.35"))]


def test_a_bill_that_took_something_back_says_what_the_clip_cost_in_the_end(tmp_path: Path):
    with ledger_of(str(tmp_path / "l"), [Made(settled_by="quote")]) as ledger:
        [one] = ledger.reservations.latest()
        ledger.correct(one.id, usd("0.6"), reason="the bill of March", settled_by="bill")
        table = variance.report(ledger.database, query()).main
    assert rows(table, "settled", "exact", "cheaper", "accuracy") == [
        (Decimal("0.6"), 0, 1, Decimal(0))
    ]


def test_what_a_provider_set_aside_itself_is_no_quote(tmp_path: Path):
    with Ledger(str(tmp_path / "l")) as ledger:
        ledger.wallets.create("team", "evolink-credit")
        ledger.wallets.fund("team", money("100 evolink-credit"))
        one = ledger.reserve("team", money("27 evolink-credit"), job=Job(provider="evolink")).id
        ledger.mark_submitting(one)
        ledger.hold(one, money("40.5 evolink-credit"), reason="it reserved 40.5")
        ledger.commit(one, money("40.5 evolink-credit"), settled_by="provider")
        table = variance.report(ledger.database, query()).main
        basis = reconciliation.report(ledger.database, query()).main
    assert rows(table, "quoted", "settled", "variance", "dearer", "accuracy") == [
        (*map(Decimal, ("27", "40.5", "13.5")), 1, Decimal(0))
    ]
    assert rows(basis, "quoted") == [(Decimal(27),)]


def test_a_cost_of_which_nobody_is_named_is_not_the_providers(tmp_path: Path):
    with ledger_of(str(tmp_path / "l"), [Made(end="rolled_back")]) as ledger:
        [one] = ledger.reservations.latest()
        ledger.correct(one.id, usd("0.5"), reason="somebody saw a charge")
        table = reconciliation.report(ledger.database, query()).main
        nearness = variance.report(ledger.database, query()).main
    assert rows(table, "basis", "spent") == [("not known", Decimal("0.5"))]
    assert rows(nearness, "confirmation", "accuracy") == [("none yet", None)]


def test_every_form_says_that_nothing_is_billed_yet(unbilled: Report, tmp_path: Path):
    on_terminal = terminal.render(unbilled, width=80)
    assert "none yet" in on_terminal
    assert "%" not in on_terminal.partition("Period")[0]
    [row] = json.loads(json_form.render(unbilled))["tables"]["variance"]["rows"]
    assert (row["confirmation"], row["accuracy"], row["exact"]) == ("none yet", None, None)
    [line] = csv.DictReader(io.StringIO(csv_form.render(unbilled).decode(), newline=""))
    assert (line["confirmation"], line["accuracy"], line["exact"]) == ("none yet", "", "")
    assert html.render(unbilled).count(b">none yet</td>") == 2
    book = tmp_path / "variance.xlsx"
    book.write_bytes(xlsx.render(unbilled))
    read = load_workbook(book)
    for sheet in ("Summary", "Variance"):
        cells = [cell.value for row in read[sheet].iter_rows() for cell in row]
        assert "none yet" in cells


def test_the_overview_says_it_too(tmp_path: Path):
    with ledger_of(str(tmp_path / "l"), UNBILLED) as ledger:
        table = overview.report(ledger.database, query()).table("variance")
    assert rows(table, "confirmation", "accuracy") == [("none yet", None)]


def test_a_close_pack_says_what_was_confirmed_by_then_whatever_a_later_bill_says(tmp_path: Path):
    with ledger_for_export(str(tmp_path / "l"), []) as (ledger, clock):
        one = ledger.reserve("team", usd("1"), job=Job(provider="runapi")).id
        ledger.commit(one, usd("1"), settled_by="quote")
        clock.forward(hours=24 * 7)
        ledger.periods.close("2026-09", hard=True)
        before = close_pack.contents(ledger.database, "2026-09")
        ledger.correct(one, usd("1"), reason="billed", settled_by="bill")
        assert close_pack.contents(ledger.database, "2026-09") == before
    [row] = csv.DictReader(io.StringIO(before["variance.csv"].decode()))
    assert (row["settled"], row["variance"], row["confirmed_clips"], row["exact"]) == (
        *("1", "0", "0"),
        "",
    )


def test_a_job_that_was_opened_again_is_accrued_and_its_month_has_a_pack(tmp_path: Path):
    with ledger_for_export(str(tmp_path / "l"), []) as (ledger, clock):
        one = ledger.reserve("team", usd("1"), job=Job(provider="runapi")).id
        ledger.commit(one, usd("1"), settled_by="provider")
        undo = Change(one, State.IN_DOUBT, usd("1"), is_undo=True, reason="another job's charge")
        ledger.settle([undo])
        clock.forward(hours=24 * 7)
        ledger.periods.close("2026-09", hard=True)
        accrued = close_pack.contents(ledger.database, "2026-09")["accruals.csv"].decode()
    [row] = [row for row in csv.DictReader(io.StringIO(accrued)) if row["reservation_id"] == one]
    assert (row["kind"], row["expected"], row["low"], row["high"]) == ("open", "1", "0", "1")


def test_a_charge_that_was_undone_is_no_part_of_what_a_clip_cost(tmp_path: Path):
    with ledger_for_export(str(tmp_path / "l"), []) as (ledger, clock):
        one = ledger.reserve("team", usd("1"), job=Job(provider="runapi")).id
        ledger.commit(one, usd("3"), settled_by="provider")
        undo = Change(one, State.IN_DOUBT, usd("1"), is_undo=True, reason="another job's charge")
        ledger.settle([undo])
        ledger.commit(one, usd("1"), settled_by="provider")
        ledger.refund(one, usd("0.25"), reason="bad")
        live = variance.report(ledger.database, query()).main
        clock.forward(hours=24 * 7)
        ledger.periods.close("2026-09", hard=True)
        packed = close_pack.contents(ledger.database, "2026-09")["variance.csv"].decode()
    assert rows(live, "settled", "variance", "exact") == [(Decimal(1), Decimal(0), 1)]
    [row] = csv.DictReader(io.StringIO(packed))
    assert (row["settled"], row["variance"]) == ("1", "0")
