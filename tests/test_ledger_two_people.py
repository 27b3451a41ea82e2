"""Two people: who prepared a month does not seal it, once the ledger is told so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from kling_ledger.errors import TwoPeopleError
from kling_ledger.ledger import Ledger
from kling_ledger.ledger.two_people import TwoPeopleChange
from kling_reports import close_pack
from tests.ledgers import Clock, found, money, tamper

MARCH = datetime(2026, 3, 18, 12, tzinfo=UTC)
APRIL = datetime(2026, 4, 2, 9, tzinfo=UTC)


@pytest.fixture
def url(empty_url: str) -> str:
    """A ledger in which something happened in March, and two people are required since."""
    with acting(empty_url, "ada", MARCH) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", money("5 USD"))
        assert ledger.periods.require_two_people(required=True, reason="the auditor")
    return empty_url


@contextmanager
def acting(url: str, actor: str, at: datetime = APRIL) -> Iterator[Ledger]:
    """The ledger in somebody's hands."""
    with Ledger(url, clock=Clock(at), actor=actor) as ledger:
        yield ledger


def state(ledger: Ledger) -> list[tuple[str, str]]:
    return [(one.name, one.state) for one in ledger.periods.all()]


@pytest.mark.parametrize("typed", ["ada", " Ada", "ADA"])
def test_who_prepared_a_month_does_not_seal_it(url: str, typed: str):
    with acting(url, "ada") as ledger:
        ledger.periods.close("2026-03")
    with acting(url, typed) as ledger:
        with pytest.raises(TwoPeopleError, match="2026-03 was prepared by ada") as said:
            ledger.periods.close("2026-03", hard=True)
        assert (said.value.prepared_by, state(ledger)) == ("ada", [("2026-03", "soft")])
        # Corrections of the month still come in: it is closed softly, and not being sealed.
        assert found(ledger, "SELECT format FROM period") == [{"format": None}]
    with acting(url, "ben") as ledger:
        sealed = ledger.periods.close("2026-03", hard=True)
        assert (sealed.prepared_by, sealed.prepared_at) == ("ada", APRIL)
        assert (sealed.approved_by, ledger.verify().findings) == ("ben", ())


def test_a_month_that_nobody_prepared_is_not_sealed(url: str):
    with acting(url, "ben") as ledger:
        with pytest.raises(TwoPeopleError, match="2026-03 is not prepared yet"):
            ledger.periods.close("2026-03", hard=True)
        assert ledger.periods.all() == []


def test_opened_again_a_month_is_prepared_anew(url: str):
    with acting(url, "ada") as ledger:
        ledger.periods.close("2026-03")
        assert ledger.periods.reopen("2026-03", reason="a bill").prepared_by is None
    with acting(url, "ben") as ledger:
        with pytest.raises(TwoPeopleError, match="is not prepared yet"):
            ledger.periods.close("2026-03", hard=True)
        ledger.periods.close("2026-03")
        with pytest.raises(TwoPeopleError, match="prepared by ben"):
            ledger.periods.close("2026-03", hard=True)


def test_a_month_that_was_closed_before_that_was_kept_has_to_be_prepared(url: str):
    with acting(url, "ada") as ledger:
        ledger.periods.close("2026-03")
    tamper(url, "UPDATE period SET prepared_by = NULL, prepared_at = NULL")
    with acting(url, "ben") as ledger, pytest.raises(TwoPeopleError, match="is not prepared yet"):
        ledger.periods.close("2026-03", hard=True)


def test_who_changed_the_rule_is_kept_and_the_same_again_is_no_change(url: str):
    with acting(url, "ben") as ledger:
        assert not ledger.periods.require_two_people(required=True)
        assert ledger.periods.require_two_people(required=False, reason="on leave")
        assert ledger.periods.two_people() == [
            TwoPeopleChange(MARCH, True, "ada", "the auditor"),
            TwoPeopleChange(APRIL, False, "ben", "on leave"),
        ]
        assert ledger.periods.close("2026-03", hard=True).approved_by == "ben"


def test_without_the_rule_one_person_is_enough(empty_url: str):
    with acting(empty_url, "ada") as ledger:
        assert ledger.periods.two_people() == []
        assert not ledger.periods.require_two_people(required=False)
        sealed = ledger.periods.close("2026-03", hard=True)
    assert (sealed.prepared_by, sealed.approved_by) == ("ada", "ada")


def test_the_close_pack_says_who_prepared_and_who_approved(url: str):
    with acting(url, "ada") as ledger:
        ledger.periods.close("2026-03")
    with acting(url, "ben") as ledger:
        ledger.periods.close("2026-03", hard=True)
        told = json.loads(close_pack.contents(ledger.database, "2026-03")["seal.json"])
    signed = {name: told[name] for name in ("prepared_by", "prepared_at", "approved_by")}
    assert signed == {
        "prepared_by": "ada",
        "prepared_at": APRIL.isoformat(),
        "approved_by": "ben",
    }
