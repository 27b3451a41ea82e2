"""Wallets: created once, funded once per key, in their own unit, within what stays exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from kling_ledger.errors import (
    ConfigError,
    ConflictError,
    DatabaseError,
    InsufficientCreditsError,
    NotFoundError,
    WalletKeptError,
)
from kling_ledger.ledger import Ledger, Scope, Wallet
from kling_pricing.errors import AmountError
from kling_pricing.money import MAX_MICRO, Money
from tests.ledgers import NOON, found, unchanged, usd, write

LARGEST = Money.from_micro(MAX_MICRO, "USD")
MILLIONTH = Money.from_micro(1, "USD")


@pytest.fixture
def ledger(empty_url: str) -> Iterator[Ledger]:
    with Ledger(empty_url, clock=lambda: NOON, actor="ada") as opened:
        opened.wallets.create("team", "USD")
        yield opened


def test_a_new_wallet_is_empty(ledger):
    wallet = ledger.wallets.get("team")
    assert {wallet.funded, wallet.posted, wallet.reserved, wallet.available, wallet.spent} == {
        Money.zero("USD")
    }


def test_a_wallet_says_when_it_was_made_to_the_microsecond(ledger):
    assert ledger.wallets.get("team").created_at == NOON


def test_a_wallet_is_found_by_its_id_too(ledger):
    wallet = ledger.wallets.get("team")
    assert ledger.wallets.get(wallet.id) == wallet
    assert wallet.id.startswith("wal_")


def test_creating_a_wallet_again_gives_the_same_wallet(ledger):
    with unchanged(ledger):
        assert ledger.wallets.create("team", "USD") == ledger.wallets.get("team")


def test_creating_a_funded_wallet_again_keeps_its_credits(ledger):
    ledger.wallets.fund("team", usd("5"))
    assert ledger.wallets.create("team", "USD").posted == usd("5")


def test_creating_a_wallet_again_in_another_unit_names_the_unit(ledger):
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.wallets.create("team", "CNY")
    assert (caught.value.field, caught.value.stored, caught.value.given) == ("unit", "USD", "CNY")


def test_wallets_are_listed_by_name(ledger):
    ledger.wallets.create("zoe", "CNY")
    ledger.wallets.create("ada", "evolink-credit")
    assert [wallet.name for wallet in ledger.wallets.all()] == ["ada", "team", "zoe"]


def test_an_unknown_wallet_is_named_with_the_next_step(ledger):
    with pytest.raises(NotFoundError, match="no such wallet: nobody") as caught:
        ledger.wallets.get("nobody")
    assert "create it" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["a", "team/film_1.cut-2", "9lives", "x" * 64])
def test_a_name_of_letters_digits_and_marks_is_accepted(ledger, name):
    assert ledger.wallets.create(name, "USD").name == name


@pytest.mark.parametrize("name", ["", " ", "-a", "/a", "two words", "tab\t", "a\n", "é", "x" * 65])
def test_another_name_is_refused(ledger, name):
    with unchanged(ledger), pytest.raises(ConfigError):
        ledger.wallets.create(name, "USD")


@pytest.mark.parametrize("unit", ["", "US D", "1USD", "u" * 33])
def test_a_unit_that_cannot_be_one_is_refused(ledger, unit):
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.wallets.create("other", unit)


def test_funding_adds_up(ledger):
    ledger.wallets.fund("team", usd("0.1"))
    wallet = ledger.wallets.fund("team", usd("0.2"))
    assert (wallet.funded, wallet.posted, wallet.available) == (usd("0.3"),) * 3


def test_a_millionth_is_the_least_that_can_be_funded(ledger):
    assert ledger.wallets.fund("team", MILLIONTH).posted == usd("0.000001")


def test_funding_one_wallet_leaves_the_others_alone(ledger):
    ledger.wallets.create("other", "USD")
    ledger.wallets.fund("team", usd("5"))
    assert ledger.wallets.get("other").posted == usd("0")


def test_funding_in_another_unit_is_refused(ledger):
    with unchanged(ledger), pytest.raises(AmountError, match='unit: got "CNY", allowed: USD'):
        ledger.wallets.fund("team", Money(Decimal(1), "CNY"))


@pytest.mark.parametrize("amount", ["0", "-0", "-0.000001", "-5"])
def test_funding_nothing_or_less_is_refused(ledger, amount):
    with unchanged(ledger), pytest.raises(AmountError, match="more than 0"):
        ledger.wallets.fund("team", usd(amount))


def test_funding_an_unknown_wallet_is_refused(ledger):
    with unchanged(ledger), pytest.raises(NotFoundError):
        ledger.wallets.fund("nobody", usd("1"))


@pytest.mark.parametrize("amount", [0.1, 1.0, 5, "5"])
def test_an_amount_that_is_no_decimal_never_becomes_money(amount):
    with pytest.raises(AmountError, match="never a float"):
        Money(amount, "USD")


@pytest.mark.parametrize("amount", ["0.0000001", "NaN", "Infinity", "-Infinity"])
def test_an_amount_that_millionths_do_not_hold_never_becomes_money(amount):
    with pytest.raises(AmountError):
        usd(amount)


def test_the_largest_amount_is_funded_exactly(ledger):
    assert ledger.wallets.fund("team", LARGEST).posted.micro == 2**53 - 1


def test_a_millionth_past_the_largest_amount_never_becomes_money():
    with pytest.raises(AmountError, match=r"at most 9007199254\.740991"):
        usd("9007199254.740992")


def test_a_balance_may_reach_the_largest_amount(ledger):
    ledger.wallets.fund("team", LARGEST - MILLIONTH)
    assert ledger.wallets.fund("team", MILLIONTH).posted == LARGEST


def test_a_balance_may_not_pass_the_largest_amount(ledger):
    ledger.wallets.fund("team", LARGEST)
    with unchanged(ledger), pytest.raises(AmountError, match="in one wallet"):
        ledger.wallets.fund("team", MILLIONTH)


def test_the_largest_amount_can_be_reserved_and_charged(ledger):
    ledger.wallets.fund("team", LARGEST)
    reservation = ledger.reserve("team", LARGEST)
    ledger.mark_submitting(reservation.id)
    ledger.mark_submitted(reservation.id, "task-1")
    ledger.commit(reservation.id, LARGEST)
    assert (ledger.wallets.get("team").posted, ledger.wallets.get("team").spent) == (
        usd("0"),
        LARGEST,
    )
    assert ledger.verify().is_clean


def test_a_wallet_keeps_its_credits_when_the_ledger_is_opened_again(ledger):
    ledger.wallets.fund("team", usd("7.198201"))
    with Ledger(ledger.database.url) as again:
        assert again.wallets.get("team") == ledger.wallets.get("team")


def test_a_wallet_cannot_take_the_id_of_another_as_its_name(ledger):
    with unchanged(ledger), pytest.raises(ConfigError):
        ledger.wallets.create(ledger.wallets.get("team").id, "USD")


@pytest.mark.parametrize("amount", [1.5, "1 USD", None])
def test_only_money_can_be_funded_or_reserved(ledger, amount):
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.wallets.fund("team", amount)
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.reserve("team", amount)


def test_a_wallet_is_funded_once_per_key_by_name_and_by_id(ledger):
    ledger.wallets.fund("team", usd("1"), key="k")
    assert ledger.wallets.fund(ledger.wallets.get("team").id, usd("1"), key="k").funded == usd("1")


def adjust(ledger: Ledger, amount: str, **given: Any) -> Wallet:
    return ledger.wallets.adjust("team", usd(amount), **{"reason": "the bill says so", **given})


def test_an_adjustment_moves_the_balance_and_not_what_was_funded_or_spent(ledger):
    ledger.wallets.fund("team", usd("5"))
    adjust(ledger, "1.5")
    wallet = adjust(ledger, "-0.5")
    assert (wallet.funded, wallet.adjusted, wallet.posted) == (usd("5"), usd("1"), usd("6"))
    assert (wallet.available, wallet.spent) == (usd("6"), usd("0"))
    assert ledger.verify().is_clean


def test_a_wallet_may_be_adjusted_below_zero_and_admits_nothing_then(ledger):
    adjust(ledger, "-0.000001")
    assert ledger.wallets.get("team").available == usd("-0.000001")
    with unchanged(ledger), pytest.raises(InsufficientCreditsError):
        ledger.reserve("team", MILLIONTH)


def test_an_adjustment_is_written_down_with_who_and_why(ledger):
    adjust(ledger, "2")
    adjust(ledger, "-3")
    wallet_id = ledger.wallets.get("team").id
    own, other = f"wallet/{wallet_id}/available", "adjustment"
    query = "SELECT kind, debit_account, credit_account, amount_micro, actor, reason FROM transfer"
    assert [tuple(row.values()) for row in found(ledger, f"{query} ORDER BY kind")] == [
        ("adjust", other, own, 2_000_000, "ada", "the bill says so"),
        ("adjust_down", own, other, 3_000_000, "ada", "the bill says so"),
    ]


@pytest.mark.parametrize("reason", ["", "  "])
def test_an_adjustment_needs_a_reason(ledger, reason):
    with unchanged(ledger), pytest.raises(ConfigError, match="needs a reason"):
        adjust(ledger, "1", reason=reason)


@pytest.mark.parametrize("amount", ["0", "-0"])
def test_an_adjustment_of_nothing_is_refused(ledger, amount):
    with unchanged(ledger), pytest.raises(AmountError, match="any amount but 0"):
        adjust(ledger, amount)


def test_an_adjustment_in_another_unit_is_refused(ledger):
    with unchanged(ledger), pytest.raises(AmountError, match="unit"):
        ledger.wallets.adjust("team", Money(Decimal(1), "CNY"), reason="x")


@pytest.mark.parametrize("amount", [1.5, float("nan"), float("inf"), "1 USD", None, True])
def test_only_money_can_be_adjusted(ledger, amount):
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.wallets.adjust("team", amount, reason="x")


@pytest.mark.parametrize("sign", ["", "-"])
def test_adjustments_may_reach_the_largest_amount_and_not_pass_it(ledger, sign):
    adjust(ledger, f"{sign}{LARGEST.amount}")
    assert abs(ledger.wallets.get("team").posted.micro) == MAX_MICRO
    with unchanged(ledger), pytest.raises(AmountError, match="in one wallet"):
        adjust(ledger, f"{sign}0.000001")


def test_adjustments_of_a_full_wallet_stay_readable(ledger):
    ledger.wallets.fund("team", LARGEST)
    adjust(ledger, f"-{LARGEST.amount}")
    with unchanged(ledger), pytest.raises(AmountError, match="in one wallet"):
        adjust(ledger, "-0.000001")
    assert ledger.wallets.get("team").posted == usd("0")


def test_what_an_adjustment_took_from_a_full_wallet_may_come_back(ledger):
    ledger.wallets.fund("team", LARGEST)
    adjust(ledger, "-5")
    assert adjust(ledger, "5").posted == LARGEST


def test_an_adjustment_keeps_what_is_left_beside_what_is_reserved_readable(ledger):
    ledger.wallets.fund("team", usd("20"))
    first, _ = (ledger.reserve("team", usd("10")).id for _ in range(2))
    ledger.commit(first, usd("15"))
    # Posted are 5 USD and reserved are 10: the least that may be left is reached before all else.
    with unchanged(ledger), pytest.raises(AmountError, match="in one wallet"):
        ledger.wallets.adjust("team", usd("4.999999") - LARGEST, reason="counted")
    assert (
        ledger.wallets.adjust("team", usd("5") - LARGEST, reason="counted").available
        == usd("0") - LARGEST
    )


def test_what_a_wallet_has_left_is_never_less_than_can_be_shown(ledger):
    ledger.wallets.fund("team", LARGEST)
    ledger.reserve("team", LARGEST)
    adjust(ledger, f"-{LARGEST.amount}")
    assert ledger.wallets.get("team").available.micro == -MAX_MICRO
    with unchanged(ledger), pytest.raises(AmountError):
        adjust(ledger, "-0.000001")


def test_a_wallet_that_was_never_used_can_be_removed_and_renamed(ledger):
    before = ledger.wallets.get("team")
    renamed = ledger.wallets.rename("team", "studio")
    assert (renamed.name, renamed.unit, renamed.costing) == ("studio", "USD", "fifo")
    assert renamed.id != before.id
    assert ledger.wallets.remove("studio") == renamed
    assert ledger.wallets.all() == []
    assert ledger.verify().is_clean


USES: dict[str, Callable[[Ledger], Any]] = {
    "1 funding or adjustment": lambda ledger: ledger.wallets.fund("team", usd("5")),
    "1 budget": lambda ledger: ledger.budgets.set("b", usd("1"), scope=Scope(wallet="team")),
    "1 token": lambda ledger: ledger.tokens.create("bot", wallet="team"),
    "2 fundings and adjustments, 1 job": lambda ledger: (
        ledger.wallets.fund("team", usd("5")),
        ledger.roll_back(ledger.reserve("team", usd("1")).id, "not sent"),
        ledger.wallets.adjust("team", usd("-5"), reason="taken back"),
    ),
}


@pytest.mark.parametrize("stands", USES)
def test_a_wallet_that_was_used_is_kept_under_its_name(ledger, stands):
    USES[stands](ledger)
    with unchanged(ledger):
        for change, words in (("remove", ("team",)), ("rename", ("team", "studio"))):
            with pytest.raises(WalletKeptError, match=f"it has {stands}") as told:
                getattr(ledger.wallets, change)(*words)
            assert "put new credits" in (told.value.hint or "")
        with pytest.raises(DatabaseError):
            write(ledger, "DELETE FROM wallet")


def test_a_wallet_is_not_renamed_to_one_that_is_there(ledger):
    ledger.wallets.create("ads", "USD")
    for name in ("ads", "team"):
        with unchanged(ledger), pytest.raises(ConfigError, match=f"a wallet {name} already"):
            ledger.wallets.rename("team", name)


def test_whoever_still_knows_a_removed_wallet_pays_from_no_other(ledger, empty_url):
    with Ledger(empty_url, clock=lambda: NOON) as gateway:
        with pytest.raises(InsufficientCreditsError):
            gateway.reserve("team", usd("1"))
        ledger.wallets.remove("team")
        with pytest.raises(NotFoundError):
            gateway.reserve("team", usd("1"))
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("5"))
        assert gateway.reserve("team", usd("1")).wallet == "team"
    assert ledger.wallets.get("team").reserved == usd("1")
