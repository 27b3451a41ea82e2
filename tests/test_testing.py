"""The test kit for users' own suites: it says what was spent, and fails when that is not so."""

from __future__ import annotations

import json

import pytest

from kling_ledger import Meter, Money, State, connect, testing
from tests.ledgers import tamper
from tests.sandbox_rig import body


def test_a_drained_ledger_has_spent_what_the_sandbox_charged():
    with testing.sandbox() as provider, testing.ledger(team="2 USD") as ledger:
        key = provider.settings.api_key
        connected = connect("runapi", api_key=key, base_url=provider.url)
        meter = Meter(ledger, connected, wallet="team")
        held = meter.reserve(body("runapi"))
        meter.submit(held, body("runapi"))
        testing.assert_spent(ledger, "team", "0 USD", reserved=held.amount)
        (ended,) = testing.drain(ledger, api_key=key)
        assert ended.state is State.COMMITTED
        testing.assert_spent(ledger, "team", held.amount)
        connected.close()


def test_draining_names_what_is_still_open():
    with testing.sandbox() as provider, testing.ledger(team="2 USD") as ledger:
        key = provider.settings.api_key
        connected = connect("runapi", api_key=key, base_url=provider.url)
        meter = Meter(ledger, connected, wallet="team")
        never = body("runapi", prompt="a lake [never]")
        held = meter.reserve(never)
        meter.submit(held, never)
        with pytest.raises(AssertionError, match=f"{held.id} is in_doubt"):
            testing.drain(ledger, api_key=key, timeout_s=0.4)
        connected.close()


def test_a_wrong_amount_says_what_was_spent_and_what_was_expected():
    with testing.ledger(team="2 USD") as ledger:
        ledger.reserve("team", Money.parse("0.5 USD"))
        told = "spent 0 USD, reserved 0.5 USD; expected: spent 0.5 USD, reserved 0 USD"
        with pytest.raises(AssertionError, match=told):
            testing.assert_spent(ledger, "team", "0.5")


def test_a_ledger_that_does_not_verify_fails_the_test(tmp_path):
    path = str(tmp_path / "ledger.sqlite")
    with (
        pytest.raises(AssertionError, match="wallet"),
        testing.ledger(path, team="2 USD") as ledger,
    ):
        tamper(ledger.database.url, "UPDATE wallet SET posted_micro = posted_micro + 1")


def test_the_settings_of_the_sandbox_can_be_chosen():
    with testing.sandbox(job_s=5.0) as provider:
        assert provider.settings.job_s == 5.0
        assert json.dumps(provider.settings.api_key)
