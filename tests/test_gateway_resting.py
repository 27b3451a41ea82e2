"""The caps of runs go once the runs have rested for a day, and come back with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kling_ledger import BudgetError, Ledger
from kling_ledger.gateway.resting import rest_runs
from kling_ledger.ledger import Asked
from tests.ledgers import usd

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_run_that_rests_for_a_day_loses_its_cap_and_gets_it_back(url):
    at = [NOON]
    with Ledger(url, clock=lambda: at[0]) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("10"))
        token, _ = ledger.tokens.create("bot", wallet="team", run_limit=usd("1"))
        asked = ledger.tokens.bound(token, Asked("team", usd("0.6")), run="a")
        (job,) = ledger.reserve_many([asked])
        ledger.commit(job.id, usd("0.6"))

        at[0] = NOON + timedelta(hours=23)
        rest_runs(ledger)
        assert [one.budget.name for one in ledger.budgets.all()] == ["run/bot/a"]

        at[0] = NOON + timedelta(hours=25)
        rest_runs(ledger)
        assert ledger.budgets.all() == []
        with pytest.raises(BudgetError):
            ledger.reserve_many([ledger.tokens.bound(token, asked, run="a")])
