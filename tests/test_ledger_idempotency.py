"""Keys: the same call again gives the same answer, another call under the key is named."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from kling_ledger.errors import CeilingError, ConfigError, ConflictError, InsufficientCreditsError
from kling_ledger.ledger import Job, Ledger
from kling_pricing.errors import AmountError
from kling_pricing.money import Money
from tests.ledgers import unchanged, usd

JOB = Job(provider="crun", model="kling-v3", payload_hash="sha256:one")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(str(tmp_path / "ledger.sqlite")) as opened:
        for name in ("team", "other"):
            opened.create_wallet(name, "USD")
            opened.fund_wallet(name, usd("10"))
        yield opened


def test_funding_twice_under_one_key_funds_once(ledger):
    first = ledger.fund_wallet("team", usd("5"), key="invoice 7")
    with unchanged(ledger):
        assert ledger.fund_wallet("team", usd("5"), key="invoice 7") == first
    assert first.posted == usd("15")


def test_funding_twice_without_a_key_funds_twice(ledger):
    ledger.fund_wallet("team", usd("5"))
    assert ledger.fund_wallet("team", usd("5")).posted == usd("20")


def test_funding_twice_under_two_keys_funds_twice(ledger):
    ledger.fund_wallet("team", usd("5"), key="invoice 7")
    assert ledger.fund_wallet("team", usd("5"), key="invoice 8").posted == usd("20")


def test_one_amount_written_in_two_ways_is_the_same_content(ledger):
    ledger.fund_wallet("team", usd("5"), key="invoice 7")
    assert ledger.fund_wallet("team", usd("5.000"), key="invoice 7").posted == usd("15")


def test_another_reason_is_not_other_content(ledger):
    ledger.fund_wallet("team", usd("5"), key="invoice 7", reason="paid")
    with unchanged(ledger):
        ledger.fund_wallet("team", usd("5"), key="invoice 7", reason="paid by card")


@pytest.mark.parametrize(
    ("wallet", "amount", "field"), [("team", "6", "amount"), ("other", "5", "wallet")]
)
def test_other_funding_under_a_key_names_the_field_that_differs(ledger, wallet, amount, field):
    ledger.fund_wallet("team", usd("5"), key="invoice 7")
    with unchanged(ledger), pytest.raises(ConflictError, match="invoice 7") as caught:
        ledger.fund_wallet(wallet, usd(amount), key="invoice 7")
    assert caught.value.field == field


def test_another_unit_under_a_key_shows_both_amounts(ledger):
    ledger.fund_wallet("team", usd("5"), key="invoice 7")
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.fund_wallet("team", Money(Decimal(5), "CNY"), key="invoice 7")
    assert (caught.value.stored, caught.value.given) == ("5 USD", "5 CNY")


def test_a_key_belongs_to_one_kind_of_call(ledger):
    ledger.fund_wallet("team", usd("5"), key="seven")
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.reserve("team", usd("5"), key="seven")
    assert (caught.value.field, caught.value.stored) == ("operation", "fund")


def test_reserving_twice_under_one_key_is_one_reservation(ledger):
    first = ledger.reserve("team", usd("4"), job=JOB, key="clip 1")
    with unchanged(ledger):
        assert ledger.reserve("team", usd("4"), job=JOB, key="clip 1") == first


def test_a_repeated_reservation_needs_no_credits(ledger):
    first = ledger.reserve("team", usd("10"), key="clip 1")
    assert ledger.reserve("team", usd("10"), key="clip 1") == first


def test_a_repeated_reservation_is_answered_as_it_stands_now(ledger):
    first = ledger.reserve("team", usd("4"), key="clip 1")
    ended = ledger.roll_back(first.id, "not wanted")
    assert ledger.reserve("team", usd("4"), key="clip 1") == ended
    assert ledger.wallet("team").reserved == usd("0")


def test_a_wallet_may_be_named_by_its_id_when_a_reservation_is_repeated(ledger):
    first = ledger.reserve("team", usd("4"), key="clip 1")
    assert ledger.reserve(ledger.wallet("team").id, usd("4"), key="clip 1") == first


def test_a_key_with_a_payload_is_the_same_request_at_whatever_price(ledger):
    first = ledger.reserve("team", usd("4"), job=JOB, key="clip 1")
    assert ledger.reserve("team", usd("5"), job=JOB, key="clip 1") == first


def test_a_key_without_a_payload_stands_for_its_amount(ledger):
    ledger.reserve("team", usd("4"), key="clip 1")
    with unchanged(ledger), pytest.raises(ConflictError, match=r"amount 4 USD, now with 5 USD"):
        ledger.reserve("team", usd("5"), key="clip 1")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("wallet", {"wallet": "other"}),
        ("project", {"project": "film"}),
        ("provider", {"job": Job("runapi", "kling-v3", payload_hash="sha256:one")}),
        ("model", {"job": Job("crun", "kling-v2", payload_hash="sha256:one")}),
        ("payload", {"job": Job("crun", "kling-v3", payload_hash="sha256:two")}),
    ],
)
def test_another_reservation_under_a_key_names_the_field_that_differs(ledger, field, change):
    asked = {"wallet": "team", "amount": usd("4"), "job": JOB, "key": "clip 1"}
    ledger.reserve(**asked)
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.reserve(**{**asked, **change})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("error", "change"),
    [
        (InsufficientCreditsError, {"amount": usd("11")}),
        (CeilingError, {"ceiling": usd("3")}),
        (AmountError, {"amount": usd("0")}),
    ],
)
def test_a_refused_call_does_not_use_up_its_key(ledger, error, change):
    asked = {"wallet": "team", "amount": usd("4"), "key": "clip 1"}
    with unchanged(ledger), pytest.raises(error):
        ledger.reserve(**{**asked, **change})
    assert ledger.reserve(**asked).amount == usd("4")


@pytest.mark.parametrize("key", ["k", "k" * 200, "clé 7 🎬"])
def test_a_key_has_up_to_200_characters_of_any_kind(ledger, key):
    assert ledger.reserve("team", usd("1"), key=key) == ledger.reserve("team", usd("1"), key=key)


@pytest.mark.parametrize("key", ["", "  ", "k" * 201])
def test_an_empty_or_longer_key_is_refused(ledger, key):
    with unchanged(ledger), pytest.raises(ConfigError, match="1 to 200 characters"):
        ledger.reserve("team", usd("1"), key=key)
    with unchanged(ledger), pytest.raises(ConfigError, match="1 to 200 characters"):
        ledger.fund_wallet("team", usd("1"), key=key)


def test_a_key_is_remembered_by_the_file(ledger):
    first = ledger.reserve("team", usd("4"), key="clip 1")
    with Ledger(ledger.database.url) as again:
        assert again.reserve("team", usd("4"), key="clip 1") == first
