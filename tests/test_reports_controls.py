"""The controls of a month: each query gives, run by anyone, the figure that is printed."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import psycopg
import pytest

from kling_ledger.ledger import Ledger, Scope
from kling_reports import close_pack
from tests.export_ledger import EVENTFUL, Step, ledger_of
from tests.ledgers import Clock, plain_url, seal_as_before, tamper, usd

MARCH = datetime(2026, 3, 18, 12, tzinfo=UTC)
APRIL = datetime(2026, 4, 2, 9, tzinfo=UTC)

NO_RESERVATION = "nothing is charged without a reservation"
BEYOND = "what was charged beyond what was admitted is listed"
CHANGES = "changes of limits are listed, with who, when and why"
PEOPLE = "how many people changed limits"
NO_REASON = "changes of limits without a reason"
TWO_PEOPLE = "another person approved the close than prepared it, by the names that were given"
REASONS = "corrections and refunds have a reason"
CORRECTS = "what corrects a closed month names it"
CONFIRMED = "each job that was charged is confirmed by its provider or a bill, as of the month"
ACCRUED = "what jobs still held at the month's end is accrued"
AGREE = "accruals are what the journal says that each job held"
CHAIN = "the seal follows that of the month before"
SEAL = "the seal is what the month's rows give"
USD = "journal, statement and spend say the same: USD"


def packed(ledger: Ledger, month: str) -> dict[str, bytes]:
    return close_pack.contents(ledger.database, month)


def rows(files: dict[str, bytes], name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files[name].decode(), newline="")))


def figures(files: dict[str, bytes]) -> dict[str, tuple[int, str]]:
    return {
        row["control"]: (int(row["result"]), row["holds"]) for row in rows(files, "controls.csv")
    }


@contextmanager
def asked(url: str) -> Iterator[sqlite3.Cursor | psycopg.Cursor]:
    """The ledger's database, as anybody opens it who knows nothing of this program."""
    if url.startswith("postgresql"):
        with psycopg.connect(plain_url(url)) as server, server.cursor() as cursor:
            yield cursor
        return
    with closing(sqlite3.connect(f"file:{url}?mode=ro", uri=True)) as file:
        yield file.cursor()


def acting(url: str, clock: Clock, actor: str) -> Ledger:
    return Ledger(url, clock=clock, actor=actor)


@contextmanager
def march(url: str, *, approver: str = "ben") -> Iterator[Ledger]:
    """March 2026, prepared by ada and sealed by another: everything in it is counted by hand."""
    clock = Clock(MARCH)
    with acting(url, clock, "ada") as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("100"))
        ledger.budgets.set("film", usd("50"), scope=Scope(project="film/"), reason="the plan")
        confirmed = ledger.reserve("team", usd("3"), project="film/a").id
        ledger.commit(confirmed, usd("2"), settled_by="provider")
        ledger.commit(ledger.reserve("team", usd("3")).id, usd("5"), settled_by="quote")
        ledger.refund(confirmed, usd("0.5"), reason="bad")
        ledger.wallets.adjust("team", usd("-1"), reason="a fee")
        ledger.reserve("team", usd("7"))
    with acting(url, clock, "cleo") as ledger:
        ledger.budgets.set("film", usd("60"), scope=Scope(project="film/"))
    clock.now = APRIL
    with acting(url, clock, "ada") as ledger:
        ledger.periods.close("2026-03")
    with acting(url, clock, approver) as ledger:
        ledger.periods.close("2026-03", hard=True)
        yield ledger


def test_each_figure_is_what_happened_in_the_month(url: str):
    with march(url) as ledger:
        assert figures(packed(ledger, "2026-03")) == {
            NO_RESERVATION: (0, "yes"),
            BEYOND: (1, ""),
            CHANGES: (2, ""),
            PEOPLE: (2, ""),
            NO_REASON: (1, ""),
            TWO_PEOPLE: (0, "yes"),
            REASONS: (0, "yes"),
            CORRECTS: (0, ""),
            # The one that was charged its quote.
            CONFIRMED: (1, "no"),
            ACCRUED: (1, ""),
            AGREE: (0, "yes"),
            CHAIN: (0, "yes"),
            SEAL: (0, "yes"),
            # 2 and 5 charged, 0.5 refunded.
            USD: (6_500_000, "yes"),
        }


def test_who_approved_alone_is_told(url: str):
    with march(url, approver="ada") as ledger:
        assert figures(packed(ledger, "2026-03"))[TWO_PEOPLE] == (1, "no")


def test_the_changes_of_limits_are_those_of_the_month(url: str):
    with march(url) as ledger:
        ledger.budgets.set("film", usd("90"), scope=Scope(project="film/"))
        before = packed(ledger, "2026-03")
        ledger.budgets.remove("film")
        assert packed(ledger, "2026-03") == before
        told = [row for row in rows(before, "limits.csv") if row["field"] == "limit"]
        assert [(row["from"], row["to"], row["actor"], row["reason"]) for row in told] == [
            ("", "50 USD", "ada", "the plan"),
            ("50 USD", "60 USD", "cleo", ""),
        ]


def test_a_bill_that_comes_later_changes_no_control_of_a_sealed_month(url: str):
    with march(url) as ledger:
        before = packed(ledger, "2026-03")
        for one in ledger.reservations.latest(limit=9):
            if one.committed == usd("5"):
                ledger.correct(one.id, usd("4"), reason="the bill", settled_by="bill")
        assert packed(ledger, "2026-03") == before


def run_again(url: str, files: dict[str, bytes]) -> int:
    """Run every query that is printed; each gives what is printed beside it."""
    queries = 0
    with asked(url) as cursor:
        for row in rows(files, "controls.csv"):
            if row["query"].startswith("SELECT"):
                ((found,),) = cursor.execute(row["query"]).fetchall()
                assert int(found) == int(row["result"]), row["control"]
                queries += 1
            else:
                assert row["query"] == "kling-ledger verify"
    return queries


def test_every_query_that_is_printed_gives_the_figure_beside_it(url: str):
    history: list[Step] = [step for step in EVENTFUL if step.what != "amend"]
    with ledger_of(url, history) as (ledger, clock):
        clock.forward(hours=24 * 62)
        packs = {}
        for month in ("2026-09", "2026-10", "2026-11"):
            ledger.periods.close(month, hard=True)
            packs[month] = packed(ledger, month)
        for files in packs.values():
            # Three units, and twelve controls beside the seal.
            assert run_again(url, files) >= 12
        # What is sealed later makes no difference to what was printed before.
        assert {month: packed(ledger, month) for month in packs} == packs
        assert figures(packs["2026-10"])[CHAIN] == (0, "yes")


BROKEN = {
    NO_RESERVATION: "DELETE FROM transfer WHERE kind = 'reserve'",
    REASONS: "UPDATE transfer SET reason = NULL WHERE kind IN ('refund', 'adjust_down')",
    AGREE: "UPDATE accrual SET amount_micro = 6999999",
    CHAIN: "UPDATE period SET previous_seal = 'another'",
    CONFIRMED: "UPDATE job_event SET settled_by = NULL",
}


@pytest.mark.parametrize(
    ("control", "count"),
    [(NO_RESERVATION, 3), (REASONS, 2), (AGREE, 1), (CHAIN, 1), (CONFIRMED, 2)],
)
def test_a_query_finds_what_breaks_its_control(url: str, control: str, count: int):
    with march(url) as ledger:
        (row,) = [
            one
            for one in rows(packed(ledger, "2026-03"), "controls.csv")
            if one["control"] == control
        ]
    tamper(url if url.startswith("postgresql") else f"sqlite:///{url}", BROKEN[control])
    with asked(url) as cursor:
        assert cursor.execute(row["query"]).fetchall() == [(count,)]


def test_a_month_under_an_earlier_seal_keeps_the_pack_that_it_had(url: str):
    with acting(url, Clock(MARCH), "ada") as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("100"))
    with acting(url, Clock(APRIL), "ada") as ledger:
        seal_as_before(ledger, "2026-03")
        files = packed(ledger, "2026-03")
    assert not {"controls.csv", "limits.csv"} & set(files)
    assert not {"prepared_by", "prepared_at", "approved_by"} & set(json.loads(files["seal.json"]))
