"""FOCUS: charges that add up to the journal, in a file that the official validator passes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kling_ledger.errors import ConfigError
from kling_ledger.ledger import Job, Ledger
from kling_pricing.money import to_micro
from kling_reports.doors import journal, reservations
from kling_reports.exports import focus, of_ledger
from kling_reports.exports.focus_cells import rounded
from kling_reports.exports.worth import currency_codes
from tests.export_ledger import EVENTFUL, UNITS, Step, held, ledger_of, steps
from tests.ledgers import found, make_empty, money

CRITERIA = (
    "PUBLIC_PRICE_LIST_SUPPORTED,USAGE_MEASUREMENT_SUPPORTED,UNIT_PRICING_SUPPORTED,"
    "TAGGING_SUPPORTED,PRICING_BILLING_CURRENCY_DIFFERENCES_SUPPORTED,VIRTUAL_CURRENCY_SUPPORTED,"
    "NEGOTIATED_PRICING_SUPPORTED,SUB_ACCOUNT_SUPPORTED,MULTIPLE_SUB_ACCOUNT_TYPES_SUPPORTED,"
    "MULTIPLE_BILLING_ACCOUNT_TYPES_SUPPORTED,MULTIPLE_PRICING_CATEGORIES_SUPPORTED,"
    "ACCOUNT_NAMING_SUPPORTED"
)
IMPOSSIBLE = {"InvoiceId-C-004-C", "InvoiceId-C-005-C"}
"""Two rules of the validator without a condition: an invoice id must be there, and must not."""

BOTH_KINDS = IMPOSSIBLE | {"InvoiceId-C-003-C", "InvoiceId-C-000-O"}
"""What rests on these two, in a file with charges of an invoice and charges of none."""


def exported(ledger: Ledger, **options) -> list[dict[str, str]]:
    text = of_ledger.focus(ledger.database, options.pop("period", None), **options).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def added(rows: list[dict[str, str]], column: str, category: str, unit: str) -> int:
    return sum(
        to_micro(Decimal(row[column]))
        for row in rows
        if (row["ChargeCategory"], row["x_Unit"]) == (category, unit)
    )


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(history=steps, paid=st.booleans())
def test_every_total_is_the_journals_to_the_last_millionth(
    postgres_ledger: str, history: list[Step], *, paid: bool
):
    make_empty(postgres_ledger)
    with ledger_of(postgres_ledger, history, paid=paid) as (ledger, _):
        rows, accounts = exported(ledger), held(ledger)
        bought = bought_of(ledger)
        cash = cash_of(ledger)
    for unit in UNITS.values():
        of_providers = sum(
            micro
            for (account, of), micro in accounts.items()
            if of == unit and account.startswith("provider/")
        )
        assert added(rows, "PricingCurrencyEffectiveCost", "Usage", unit) == of_providers
        assert added(rows, "x_Amount", "Usage", unit) == -of_providers
        assert added(rows, "x_Amount", "Purchase", unit) == bought[unit]
        adjusted = -accounts.get(("adjustment", unit), 0)
        assert added(rows, "x_Amount", "Adjustment", unit) == adjusted
    for currency, (paid_in, tax) in cash.items():
        assert billed(rows, "Purchase", currency) == paid_in
        assert billed(rows, "Tax", currency) == tax


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(history=steps)
def test_a_price_times_its_quantity_is_the_cost(postgres_ledger: str, history):
    make_empty(postgres_ledger)
    with ledger_of(postgres_ledger, history, paid=True) as (ledger, _):
        rows = exported(ledger)
    priced = [row for row in rows if row["ListUnitPrice"]]
    assert priced
    for row in priced:
        quantity, cost = Decimal(row["PricingQuantity"]), Decimal(row["ListCost"])
        off = abs(Decimal(row["ListUnitPrice"]) * quantity - cost)
        assert off <= Decimal("1e-9") * max(abs(cost), Decimal(1))


def test_an_allowance_is_billed_as_it_is_used(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger"), [Step("commit", "Team", micro=54_000_000)]) as (
        ledger,
        _,
    ):
        (usage,) = [row for row in exported(ledger) if row["x_Unit"] == "crun-credit"]
    assert usage["ChargeCategory"] == "Usage"
    assert (usage["BilledCost"], usage["EffectiveCost"]) == ("0.27", "0.27")
    assert (usage["PricingCurrencyEffectiveCost"], usage["BillingCurrency"]) == ("54.0", "USD")
    assert (usage["PricingQuantity"], usage["PricingUnit"]) == ("5.0", "Seconds")
    assert usage["PricingCurrencyListUnitPrice"] == "10.8"
    assert usage["PricingCurrency"] != "USD"
    assert usage["x_PricingCurrencyName"] == "crun-credit"


def cash_of(ledger: Ledger) -> dict[str, tuple[int, int]]:
    """What was paid for purchases, and the tax on it, by currency, by SQL alone."""
    rows = found(
        ledger,
        "SELECT currency, SUM(cash_micro) AS cash, SUM(COALESCE(tax_micro, 0)) AS tax"
        " FROM purchase_lot GROUP BY currency",
    )
    return {row["currency"]: (int(row["cash"]), int(row["tax"])) for row in rows}


def billed(rows: list[dict[str, str]], category: str, currency: str) -> int:
    return sum(
        to_micro(Decimal(row["BilledCost"]))
        for row in rows
        if (row["ChargeCategory"], row["BillingCurrency"]) == (category, currency)
    )


def bought_of(ledger: Ledger) -> dict[str, int]:
    """What purchases put into wallets by unit, by SQL alone."""
    rows = found(
        ledger,
        "SELECT unit, SUM(amount_micro) AS micro FROM transfer"
        " JOIN purchase_lot ON transfer_id = id GROUP BY unit",
    )
    return {**dict.fromkeys(UNITS.values(), 0), **{row["unit"]: int(row["micro"]) for row in rows}}


def test_a_refund_is_usage_below_zero(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger"), [Step("refund", micro=1_000_000)]) as (ledger, _):
        *_, charge, refund = exported(ledger)
    assert (charge["EffectiveCost"], refund["EffectiveCost"]) == ("1.0", "-0.5")
    assert (charge["PricingQuantity"], refund["PricingQuantity"]) == ("5.0", "-2.5")
    assert refund["ChargeCategory"] == "Usage"


def test_what_corrects_a_closed_month_is_a_correction(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger"), []) as (ledger, clock):
        clock.forward(hours=24 * 7)
        ledger.periods.close("2026-09", hard=True)
        ledger.wallets.adjust("team", money("1 USD"), reason="forgotten", corrects="2026-09")
        row = exported(ledger)[-1]
    assert (row["ChargeClass"], row["x_Corrects"]) == ("Correction", "2026-09")
    assert row["BillingPeriodStart"] == "2026-10-01T00:00:00Z"


def test_what_amends_a_month_within_itself_is_a_charge_like_any_other(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger"), [Step("amend", hours=24 * 7)]) as (ledger, _):
        row = exported(ledger)[-1]
    assert (row["ChargeClass"], row["x_Corrects"], row["x_Period"]) == ("", "2026-09", "2026-09")


def test_credits_that_nobody_knows_the_worth_of_are_an_error_until_it_is_said(ledger: Ledger):
    ledger.wallets.create("team", "evolink-credit")
    ledger.wallets.fund("team", money("720 evolink-credit"))
    one = ledger.reserve("team", money("72 evolink-credit"), job=Job(provider="evolink"))
    ledger.commit(one.id, money("72 evolink-credit"), settled_by="provider")
    with pytest.raises(
        ConfigError, match="the worth of one evolink-credit in USD is unknown"
    ) as said:
        exported(ledger)
    assert "--rate evolink-credit=" in str(said.value.hint)
    (usage,) = exported(ledger, rates={"evolink-credit": Decimal("0.0125")})
    assert (usage["BilledCost"], usage["EffectiveCost"]) == ("0.9", "0.9")
    assert usage["x_RateBasis"] == "given"


def test_a_jobs_own_rate_comes_before_one_that_is_given(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger"), [Step("commit", "Team", micro=200_000_000)]) as (
        ledger,
        _,
    ):
        rows = exported(ledger, rates={"crun-credit": Decimal("0.5")})
    (usage,) = [row for row in rows if row["x_Unit"] == "crun-credit"]
    assert (usage["x_RateBasis"], usage["EffectiveCost"]) == ("job", "1.0")


@pytest.mark.parametrize(
    ("points", "billed"),
    [("0.499999", "0.0"), ("0.5", "0.000000000000001"), ("1.5", "0.000000000000002")],
)
def test_a_cost_half_way_between_two_is_the_larger(ledger: Ledger, points: str, billed: str):
    ledger.wallets.create("team", "points")
    ledger.wallets.fund("team", money(f"{points} points"))
    one = ledger.reserve("team", money(f"{points} points"), job=Job(provider="runapi"))
    ledger.commit(one.id, money(f"{points} points"), settled_by="provider")
    (row,) = exported(ledger, rates={"points": Decimal("1e-15")})
    assert row["BilledCost"] == billed


def test_a_refund_is_rounded_as_the_charge_was():
    for tenths in (4, 5, 15, 25):
        exact = Fraction(tenths, 10**16)
        assert rounded(-exact) == -rounded(exact) == Decimal(-((tenths + 5) // 10)).scaleb(-15)


def test_units_have_codes_of_three_letters_that_differ_and_are_no_currency():
    units = [f"credit-{number}" for number in range(364)]
    codes = currency_codes([*units, "USD", "CNY"])
    assert len(set(codes.values())) == len(units) + 2
    assert (codes["USD"], codes["CNY"]) == ("USD", "CNY")
    assert all(re.fullmatch("Q[M-Z][A-Z]", codes[unit]) for unit in units)
    assert (
        currency_codes(["crun-credit"]).items()
        <= currency_codes(["evolink-credit", "crun-credit", "USD"]).items()
    )


def test_only_what_people_read_is_guarded_and_no_key_is_altered(tmp_path: Path):
    project = '@ads=HYPERLINK("x")'
    with ledger_of(str(tmp_path / "ledger"), [Step("refund", text=project)]) as (ledger, _):
        row = exported(ledger)[-1]
    assert (row["SubAccountId"], row["SubAccountName"]) == (project, project)
    assert row["x_Reason"] == f"'{project}"
    assert json.loads(row["Tags"]) == {
        "project": project,
        "label:team": "ads",
        "label:cost-centre": "4711",
    }


def test_the_later_version_names_providers_in_other_columns(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger"), [Step("commit")]) as (ledger, _):
        old, new = exported(ledger)[-1], exported(ledger, version="1.4")[-1]
    assert {"ServiceProviderName", "HostProviderName"} <= set(new)
    assert not {"ProviderName", "PublisherName"} & set(new)
    assert new["ServiceProviderName"] == old["ProviderName"] == "runapi"


def test_a_ledger_without_charges_is_a_file_with_columns_alone(ledger: Ledger):
    assert exported(ledger) == []
    written = focus.export(journal.lines(ledger.database), reservations.worths(ledger.database))
    assert written.startswith(b"BilledCost,")


@pytest.fixture(scope="module")
def validator() -> Path:
    """The official validator, in an environment of its own: it needs Python 3.12, older libraries.

    `FOCUS_VALIDATOR` names its folder, which `.ci/run` makes where there is a Python 3.12.
    """
    folder = os.environ.get("FOCUS_VALIDATOR")
    found = None if folder is None else shutil.which("focus-validator", path=f"{folder}/bin")
    if folder is None or found is None:
        pytest.skip("focus-validator is not at hand: name its environment in FOCUS_VALIDATOR")
    return Path(found)


def validated(validator: Path, file: Path) -> tuple[dict[str, int], set[str]]:
    """Run the validator, and return how many rules had which end, and which failed.

    It exits with 0 whatever it finds: what it prints is what counts. It reads its list of
    currencies from the folder in which it is started.
    """
    (packages,) = validator.parent.parent.glob("lib/python3*/site-packages")
    said = subprocess.run(
        [
            validator,
            *("--data-file", file),
            *("--validate-version", "1.2"),
            "--block-download",
            *("--applicability-criteria", CRITERIA),
        ],
        cwd=packages,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout
    totals = re.search(r"^Total: .*$", said, re.MULTILINE)
    assert totals is not None, said[-2000:]
    counted = {name: int(count) for name, count in re.findall(r"(\w+): (\d+)", totals[0])}
    return counted, set(re.findall(r"^❌ ([\w-]+):", said, re.MULTILINE))


@pytest.mark.parametrize("paid", [False, True])
def test_the_official_validator_passes_all_but_the_rule_that_nothing_can_pass(
    validator: Path, tmp_path: Path, *, paid: bool
):
    file = tmp_path / "focus.csv"
    with ledger_of(str(tmp_path / "ledger"), EVENTFUL, paid=paid) as (ledger, _):
        file.write_bytes(of_ledger.focus(ledger.database, None))
    counted, failed = validated(validator, file)
    assert len(failed) == counted["Fail"]
    if paid:
        assert failed == BOTH_KINDS
    else:
        assert len(failed) == 1
        assert failed < IMPOSSIBLE
    assert counted["Pass"] + len(failed) >= 273


def test_the_validator_does_find_what_is_wrong(validator: Path, tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger"), EVENTFUL[:3]) as (ledger, _):
        lines, worths = journal.lines(ledger.database), reservations.worths(ledger.database)
    file = tmp_path / "focus.csv"
    file.write_bytes(focus.export(lines, worths).replace(b",Seconds,", b",s_,"))
    counted, failed = validated(validator, file)
    assert "PricingUnit-C-003-O" in failed
    assert counted["Fail"] == len(failed) > 1
