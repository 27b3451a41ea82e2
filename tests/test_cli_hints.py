"""Hints: a library says what may help in words for every caller, the command line in its own."""

from __future__ import annotations

import inspect
import re

import pytest

from kling_ledger import errors
from kling_ledger.cli.hints import hint_for
from kling_pricing import KlingError, Money
from tests.ledgers import NOON

ONE, TWO = Money.parse("1 USD"), Money.parse("2 USD")
CREDIT = Money.parse("1 crun-credit")
BUDGET = errors.BudgetError(
    "film", limit=ONE, spent=ONE - ONE, reserved=ONE - ONE, asked=TWO, frees_at=None, fits=ONE
)
OWN_WORDS = re.compile(r"--[a-z]|\bkling-ledger [a-z]+ ")


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (errors.NoKeyError("CRUN_API_KEY"), "set CRUN_API_KEY or give --api-key"),
        (
            errors.PortError("cannot listen", host="::1", port=80, reason="taken"),
            "choose another --port, or --port 0 for any that is free",
        ),
        (
            errors.OtherAddressError("res_1", address="http://a", asked="http://b"),
            "give --base-url http://a",
        ),
        (
            errors.BillQuestionError("where?", settles="zone", example="Asia/Shanghai"),
            'give --zone "Asia/Shanghai"',
        ),
        (
            errors.OtherAccountError("res_1", provider="crun", account="north", asked="south"),
            (
                "use that account's key, or run: kling-ledger account adopt south --provider crun"
                " --jobs-of north"
            ),
        ),
        (
            errors.OtherAccountError("res_1", provider="crun", account=None, asked="south"),
            (
                "use that account's key, or run: kling-ledger account adopt south --provider crun"
                " --unclaimed"
            ),
        ),
        (
            errors.NoLedgerError("x.sqlite"),
            "create one with: kling-ledger wallet create NAME, or choose another with --db",
        ),
        (
            errors.ForeignDatabaseError("x.sqlite"),
            "choose another database with --db or KLING_LEDGER_DB",
        ),
        (
            errors.OlderSchemaError("x.sqlite", version="1", needed="2"),
            "upgrade it with: kling-ledger db upgrade",
        ),
        (
            errors.TaskNotWrittenError("away", reservation_id="res_1", task_id="t-1"),
            "kling-ledger reservation submitted res_1 t-1",
        ),
        (
            errors.NotFoundError("wallet", "team", hint="create it first"),
            "create it with: kling-ledger wallet create team --unit USD",
        ),
        (errors.NotFoundError("budget", "film"), "kling-ledger budget list"),
        (errors.NotFoundError("reservation", "res_1"), "kling-ledger reservation list"),
        (errors.NotFoundError("closed period", "2026-10"), "kling-ledger close 2026-10"),
        (
            errors.PeriodOrderError("2026-10", earlier="2026-09"),
            "kling-ledger close 2026-09 --hard",
        ),
        (
            errors.InsufficientCreditsError("team", needed=TWO, available=ONE),
            'fund it with: kling-ledger wallet fund team "1 USD"',
        ),
        (
            BUDGET,
            (
                "up to 1 USD would be admitted now; or raise it temporarily with:"
                ' kling-ledger budget raise film "AMOUNT" --until WHEN --reason WHY'
            ),
        ),
        (
            errors.CeilingError(cost=TWO, ceiling=ONE),
            "request fewer seconds, a lower resolution or no sound, or raise --max-cost",
        ),
        (
            errors.CeilingError(cost=TWO, ceiling=ONE, budget="film"),
            (
                "request fewer seconds, a lower resolution or no sound, or raise the ceiling of "
                "budget film"
            ),
        ),
        (errors.TotalError(cost=TWO, most=ONE), "run fewer rows, or raise --max-total"),
        (
            errors.ApprovalNeededError("apr_1", asked=TWO, above=ONE, expires_at=NOON),
            (
                "a person grants it with: kling-ledger approval grant apr_1; then request the same "
                "job again"
            ),
        ),
        (
            errors.ApprovalClosedError("apr_1", verdict="denied", by="ada", at=NOON),
            "kling-ledger approval show apr_1",
        ),
        (
            errors.ApprovalsWaitError("bot", waiting=100),
            ("wait until some are decided or expire: kling-ledger approval list"),
        ),
        (errors.NotFoundError("approval", "apr_1"), "kling-ledger approval list --all"),
        (errors.NotFoundError("token", "bot"), "kling-ledger token list --all"),
    ],
    ids=lambda given: given.code if isinstance(given, KlingError) else None,
)
def test_the_command_line_names_its_own_option_and_the_library_none(error, hint):
    assert hint_for(error) == hint
    assert not OWN_WORDS.search(f"{error.message} {error.hint}")


@pytest.mark.parametrize(
    "error",
    [
        errors.NewerSchemaError("x.sqlite", version="3", needed="2"),
        errors.UnknownWorthError("film", asked=CREDIT, unit="USD"),
        errors.NotFoundError("task", "t-1"),
        errors.ConfigError("no such thing", hint="use another"),
        errors.StateError("res_1", state="expired", change="committed"),
    ],
)
def test_what_needs_no_option_is_said_as_the_library_says_it(error):
    assert hint_for(error) == error.hint


def test_each_error_has_a_code_of_its_own():
    classes = [one for _, one in inspect.getmembers(errors, inspect.isclass)]
    codes = [one.code for one in classes if issubclass(one, KlingError)]
    assert len(set(codes)) == len(codes) == len(errors.__all__)
