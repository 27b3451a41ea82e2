"""Keys: the same call again gives the same answer, another call under the key is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from kling_ledger.errors import CeilingError, ConfigError, ConflictError, InsufficientCreditsError
from kling_ledger.ledger import Asked, Job, Ledger
from kling_pricing.errors import AmountError
from kling_pricing.money import MAX_MICRO, Money
from tests.ledgers import NOON, unchanged, usd

JOB = Job(provider="crun", model="kling-v3", payload_hash="sha256:one")


@pytest.fixture
def ledger(empty_url: str) -> Iterator[Ledger]:
    with Ledger(empty_url, clock=lambda: NOON) as opened:
        for name in ("team", "other"):
            opened.wallets.create(name, "USD")
            opened.wallets.fund(name, usd("10"))
        yield opened


def test_funding_twice_under_one_key_funds_once(ledger):
    first = ledger.wallets.fund("team", usd("5"), key="invoice 7")
    with unchanged(ledger):
        assert ledger.wallets.fund("team", usd("5"), key="invoice 7") == first
    assert first.posted == usd("15")


def test_funding_twice_without_a_key_funds_twice(ledger):
    ledger.wallets.fund("team", usd("5"))
    assert ledger.wallets.fund("team", usd("5")).posted == usd("20")


def test_funding_twice_under_two_keys_funds_twice(ledger):
    ledger.wallets.fund("team", usd("5"), key="invoice 7")
    assert ledger.wallets.fund("team", usd("5"), key="invoice 8").posted == usd("20")


def test_one_amount_written_in_two_ways_is_the_same_content(ledger):
    ledger.wallets.fund("team", usd("5"), key="invoice 7")
    assert ledger.wallets.fund("team", usd("5.000"), key="invoice 7").posted == usd("15")


def test_another_reason_is_not_other_content(ledger):
    ledger.wallets.fund("team", usd("5"), key="invoice 7", reason="paid")
    with unchanged(ledger):
        ledger.wallets.fund("team", usd("5"), key="invoice 7", reason="paid by card")


@pytest.mark.parametrize(
    ("wallet", "amount", "field"), [("team", "6", "amount"), ("other", "5", "wallet")]
)
def test_other_funding_under_a_key_names_the_field_that_differs(ledger, wallet, amount, field):
    ledger.wallets.fund("team", usd("5"), key="invoice 7")
    with unchanged(ledger), pytest.raises(ConflictError, match="invoice 7") as caught:
        ledger.wallets.fund(wallet, usd(amount), key="invoice 7")
    assert caught.value.field == field


def test_another_unit_under_a_key_shows_both_amounts(ledger):
    ledger.wallets.fund("team", usd("5"), key="invoice 7")
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.wallets.fund("team", Money(Decimal(5), "CNY"), key="invoice 7")
    assert (caught.value.stored, caught.value.given) == ("5 USD", "5 CNY")


def test_a_key_belongs_to_one_kind_of_call(ledger):
    ledger.wallets.fund("team", usd("5"), key="seven")
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
    assert ledger.wallets.get("team").reserved == usd("0")


def test_a_wallet_may_be_named_by_its_id_when_a_reservation_is_repeated(ledger):
    first = ledger.reserve("team", usd("4"), key="clip 1")
    assert ledger.reserve(ledger.wallets.get("team").id, usd("4"), key="clip 1") == first


def test_a_key_with_a_payload_is_the_same_request_at_whatever_price(ledger):
    first = ledger.reserve("team", usd("4"), job=JOB, key="clip 1")
    assert ledger.reserve("team", usd("5"), job=JOB, key="clip 1") == first


def test_a_key_without_a_payload_stands_for_its_amount(ledger):
    ledger.reserve("team", usd("4"), key="clip 1")
    with unchanged(ledger), pytest.raises(ConflictError, match=r"amount 4 USD; 5 USD differs"):
        ledger.reserve("team", usd("5"), key="clip 1")


def test_a_payload_that_differs_is_named_only_where_nothing_else_does(ledger):
    ledger.reserve("team", usd("4"), job=JOB, key="clip 1")
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.reserve(
            "team", usd("4"), job=replace(JOB, seconds="9", payload_hash="sha256:two"), key="clip 1"
        )
    assert caught.value.field == "seconds"


def test_the_same_labels_in_another_order_are_the_same_reservation(ledger):
    first = ledger.reserve("team", usd("4"), labels={"shot": "7", "art": "fx"}, key="clip 1")
    with unchanged(ledger):
        again = ledger.reserve("team", usd("4"), labels={"art": "fx", "shot": "7"}, key="clip 1")
    assert again.id == first.id


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("wallet", {"wallet": "other"}),
        ("project", {"project": "film"}),
        ("provider", {"job": Job("runapi", "kling-v3", payload_hash="sha256:one")}),
        ("model", {"job": Job("crun", "kling-v2", payload_hash="sha256:one")}),
        ("payload", {"job": Job("crun", "kling-v3", payload_hash="sha256:two")}),
        ("labels", {"labels": {"shot": "7"}}),
        ("action", {"job": replace(JOB, action="text2video")}),
        ("seconds", {"job": replace(JOB, seconds="5")}),
        ("resolution", {"job": replace(JOB, resolution="1080p")}),
        ("sound", {"job": replace(JOB, sound=False)}),
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
        ledger.wallets.fund("team", usd("1"), key=key)


def test_a_key_is_remembered_by_the_database(ledger):
    first = ledger.reserve("team", usd("4"), key="clip 1")
    with Ledger(ledger.database.url) as again:
        assert again.reserve("team", usd("4"), key="clip 1") == first


def in_parts(ledger: Ledger) -> str:
    """Return a reservation of 4 USD of which 1 was charged under a key."""
    reservation_id = ledger.reserve("team", usd("4")).id
    ledger.commit(reservation_id, usd("1"), is_part=True, key="part 1")
    return reservation_id


def ended(ledger: Ledger) -> str:
    """Return a reservation of 1 USD that was charged."""
    return ledger.commit(ledger.reserve("team", usd("1"), key="ended").id, usd("1")).id


REPEATED = {
    "all of it funded": lambda ledger, _: ledger.wallets.fund("team", usd("1"), key="again"),
    "a part": lambda ledger, id_: ledger.commit(id_, usd("3"), is_part=True, key="again"),
    "the rest": lambda ledger, id_: ledger.commit(id_, usd("3"), key="again"),
    "a roll back": lambda ledger, id_: ledger.roll_back(id_, "not wanted", key="again"),
    "all of it refunded": lambda ledger, id_: ledger.refund(id_, usd("1"), reason="x", key="again"),
    "an adjustment": lambda ledger, _: ledger.wallets.adjust(
        "team", usd("-1"), reason="x", key="again"
    ),
    "a correction": lambda ledger, _: ledger.correct(
        ledger.reserve("team", usd("1"), key="ended").id, usd("2"), reason="x", key="again"
    ),
}


@pytest.mark.parametrize("call", REPEATED.values(), ids=REPEATED)
def test_every_change_happens_once_per_key(ledger, call):
    reservation_id, _ = in_parts(ledger), ended(ledger)
    first = call(ledger, reservation_id)
    with unchanged(ledger):
        assert call(ledger, reservation_id) == first


CHANGED: dict[str, Callable[[Ledger, str], object]] = {
    "amount": lambda ledger, id_: ledger.commit(id_, usd("2"), is_part=True, key="part 1"),
    "part": lambda ledger, id_: ledger.commit(id_, usd("1"), key="part 1"),
    "operation": lambda ledger, id_: ledger.refund(id_, usd("1"), reason="x", key="part 1"),
    "reservation": lambda ledger, _: ledger.commit(
        ledger.reserve("team", usd("1"), key="another").id, usd("1"), is_part=True, key="part 1"
    ),
}


@pytest.mark.parametrize("field", CHANGED)
def test_another_change_under_a_key_names_the_field_that_differs(ledger, field):
    reservation_id = in_parts(ledger)
    ledger.reserve("team", usd("1"), key="another")
    with unchanged(ledger), pytest.raises(ConflictError, match="key part 1") as caught:
        CHANGED[field](ledger, reservation_id)
    assert caught.value.field == field


def test_a_key_is_taken_by_a_call_that_found_its_work_done(ledger):
    reservation_id = ended(ledger)
    ledger.commit(reservation_id, usd("1"), key="late to it")
    with unchanged(ledger), pytest.raises(ConflictError, match="key late to it") as caught:
        ledger.refund(reservation_id, usd("1"), reason="x", key="late to it")
    assert caught.value.field == "operation"


def test_a_key_answers_even_after_the_reservation_has_ended(ledger):
    reservation_id = in_parts(ledger)
    ended = ledger.roll_back(reservation_id, "not wanted")
    with unchanged(ledger):
        assert ledger.commit(reservation_id, usd("1"), is_part=True, key="part 1") == ended


def test_a_funding_up_to_the_largest_amount_is_repeated_under_its_key(ledger):
    ledger.wallets.create("full", "USD")
    largest = Money.from_micro(MAX_MICRO, "USD")
    ledger.wallets.fund("full", largest, key="all")
    with unchanged(ledger):
        assert ledger.wallets.fund("full", largest, key="all").posted == largest


def test_an_impossible_amount_under_a_used_key_is_other_content(ledger):
    ledger.reserve("team", usd("4"), key="clip 1")
    with unchanged(ledger), pytest.raises(ConflictError, match="amount 4 USD; 0 USD differs"):
        ledger.reserve("team", usd("0"), key="clip 1")


def test_one_key_twice_in_one_call_is_one_reservation(ledger):
    asked = Asked("team", usd("4"), key="clip 1")
    first, second = ledger.reserve_many([asked, asked])
    assert first == second
    assert ledger.wallets.get("team").reserved == usd("4")


def test_one_key_twice_in_one_call_with_other_content_is_refused(ledger):
    asked = [Asked("team", usd(amount), key="clip 1") for amount in ("4", "5")]
    with unchanged(ledger), pytest.raises(ConflictError, match="key clip 1"):
        ledger.reserve_many(asked)


def test_new_and_repeated_reservations_may_come_in_one_call(ledger):
    old = ledger.reserve("team", usd("4"), key="clip 1")
    asked = [Asked("team", usd("4"), key="clip 1"), Asked("team", usd("6"), key="clip 2")]
    first, second = ledger.reserve_many(asked)
    assert (first, second.amount) == (old, usd("6"))
    with unchanged(ledger):
        assert ledger.reserve_many(asked) == [first, second]


def test_a_repeated_reservation_is_answered_whatever_budgets_say_by_now(ledger):
    old = ledger.reserve("team", usd("4"), key="clip 1")
    ledger.budgets.set("month", usd("1"), ceiling=usd("1"))
    asked = Asked("team", usd("4"), key="clip 1")
    with unchanged(ledger):
        assert ledger.reserve("team", usd("4"), key="clip 1") == old
        assert ledger.reserve_each([asked]) == [old]
