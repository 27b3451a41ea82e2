"""Clocks: whose clock is wrong writes nothing, and what a wrong one wrote can be lived with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kling_ledger.errors import ClockError
from kling_ledger.ledger import Ledger
from kling_ledger.ledger.clocks import AHEAD_US, BEHIND_US, check
from kling_ledger.ledger.ids import to_us
from tests.ledgers import Clock, found, unchanged, usd

AT = to_us(datetime(2026, 11, 1, tzinfo=UTC))


@pytest.fixture
def file_ledger(tmp_path: Path) -> str:
    return str(tmp_path / "ledger.sqlite")


def written_ahead(url: str) -> None:
    """Make a ledger whose last transfer was written under a clock that was forty days ahead."""
    with Ledger(url, clock=Clock(datetime.now(UTC) + timedelta(days=40))) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("5"))


def test_a_clock_that_is_days_before_the_last_transfer_of_a_file_writes_nothing(file_ledger):
    written_ahead(file_ledger)
    with Ledger(file_ledger) as ledger, unchanged(ledger):
        for write in (
            lambda: ledger.wallets.fund("team", usd("1")),
            lambda: ledger.reserve("team", usd("1")),
            lambda: ledger.budgets.set("month", usd("1")),
        ):
            with pytest.raises(ClockError, match="nothing was written") as caught:
                write()
        assert "KLING_LEDGER_TRUST_CLOCK" in (caught.value.hint or "")
        assert ledger.wallets.get("team").posted == usd("5")


def test_whoever_says_that_the_clock_is_right_goes_on(file_ledger, monkeypatch):
    written_ahead(file_ledger)
    monkeypatch.setenv("KLING_LEDGER_TRUST_CLOCK", "yes")
    with Ledger(file_ledger) as ledger:
        ledger.wallets.fund("team", usd("1"))
        assert ledger.wallets.get("team").posted == usd("6")


def test_a_clock_that_the_server_agrees_with_writes_whatever_was_written_before(postgres):
    url = postgres.new_database()
    written_ahead(url)
    with Ledger(url) as ledger:
        ledger.wallets.fund("team", usd("1"))
        assert ledger.wallets.get("team").posted == usd("6")


@pytest.mark.parametrize(
    ("last", "server", "is_right"),
    [
        (None, None, True),
        (AT - 400 * BEHIND_US, None, True),
        (AT + BEHIND_US, None, True),
        (AT + BEHIND_US + 1, None, False),
        (AT + BEHIND_US + 1, AT + AHEAD_US, True),
        (AT + BEHIND_US + 1, AT + AHEAD_US + 1, False),
        (AT - AHEAD_US, AT - AHEAD_US, True),
        (AT - AHEAD_US - 1, AT - AHEAD_US, True),
        (AT - AHEAD_US - 1, AT - AHEAD_US - 1, False),
        (AT - 1, AT - 9 * AHEAD_US, True),
    ],
)
def test_a_clock_is_wrong_beyond_a_day_or_some_hours_and_not_at_them(last, server, is_right):
    if is_right:
        check(AT, last_us=last, server_us=server)
    else:
        with pytest.raises(ClockError):
            check(AT, last_us=last, server_us=server)


def test_a_month_is_sealed_though_a_transfer_of_1970_is_there(empty_url):
    clock = Clock(datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC))
    with Ledger(empty_url, clock=clock) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("1"))
        clock.now = datetime(2026, 3, 5, tzinfo=UTC)
        ledger.wallets.fund("team", usd("1"))
        clock.now = datetime(2026, 4, 1, tzinfo=UTC)
        for month in ("1970-01", "2026-03"):
            assert ledger.periods.close(month, hard=True).transfers == 1
        assert ledger.verify().findings == ()


def test_what_a_job_of_a_clock_that_was_ahead_moves_later_is_never_below_nothing(empty_url):
    clock = Clock(datetime(2026, 5, 2, tzinfo=UTC))
    with Ledger(empty_url, clock=clock) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("9"))
        ahead = ledger.reserve("team", usd("2"))
        clock.now = datetime(2026, 3, 18, tzinfo=UTC)
        ledger.commit(ahead.id)
        clock.now = datetime(2026, 4, 1, tzinfo=UTC)
        assert ledger.periods.close("2026-03", hard=True).accruals == ()
        assert {row["period"] for row in found(ledger, "SELECT period FROM transfer")} == {
            "2026-05"
        }
        assert ledger.verify().findings == ()
