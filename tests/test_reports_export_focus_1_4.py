"""FOCUS 1.4 whole: charges, the months of issuers and invoices, by a list of columns of our own.

The columns are written down here from the specification, not taken from the code. Where
focus-data-toolkit is at hand its model of 1.4 is asked too.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.ledger import Ledger
from kling_pricing.money import from_micro
from kling_reports.exports import of_ledger
from kling_reports.exports.focus_columns import Dataset
from kling_reports.exports.worth import is_currency
from tests.cli import Cli
from tests.export_ledger import EVENTFUL, Step, ledger_of
from tests.ledgers import found

MANDATORY, REQUIRED, OPTIONAL = "mandatory, may be null", "mandatory, never null", "may be null"
NEVER_NULL = "never null where it is there"

CHARGES = {
    "BilledCost": ("Decimal", REQUIRED),
    "BillingAccountId": ("String", REQUIRED),
    "BillingAccountName": ("String", MANDATORY),
    "BillingAccountType": ("String", NEVER_NULL),
    "BillingCurrency": ("Currency", REQUIRED),
    "BillingPeriodEnd": ("Date/Time", REQUIRED),
    "BillingPeriodStart": ("Date/Time", REQUIRED),
    "ChargeCategory": ("Usage|Purchase|Tax|Credit|Adjustment", REQUIRED),
    "ChargeClass": ("Correction", MANDATORY),
    "ChargeDescription": ("String", MANDATORY),
    "ChargeFrequency": ("One-Time|Recurring|Usage-Based", NEVER_NULL),
    "ChargePeriodEnd": ("Date/Time", REQUIRED),
    "ChargePeriodStart": ("Date/Time", REQUIRED),
    "ConsumedQuantity": ("Decimal", OPTIONAL),
    "ConsumedUnit": ("String", OPTIONAL),
    "ContractedCost": ("Decimal", REQUIRED),
    "ContractedUnitPrice": ("Price", OPTIONAL),
    "EffectiveCost": ("Decimal", REQUIRED),
    "HostProviderName": ("String", MANDATORY),
    "InvoiceDetailId": ("String", OPTIONAL),
    "InvoiceId": ("String", OPTIONAL),
    "InvoiceIssuerName": ("String", REQUIRED),
    "ListCost": ("Decimal", REQUIRED),
    "ListUnitPrice": ("Price", OPTIONAL),
    "PricingCategory": ("Standard|Dynamic|Committed|Other", OPTIONAL),
    "PricingCurrency": ("Currency", NEVER_NULL),
    "PricingCurrencyContractedUnitPrice": ("Price", OPTIONAL),
    "PricingCurrencyEffectiveCost": ("Decimal", NEVER_NULL),
    "PricingCurrencyListUnitPrice": ("Price", OPTIONAL),
    "PricingQuantity": ("Decimal", MANDATORY),
    "PricingUnit": ("String", MANDATORY),
    "ResourceId": ("String", OPTIONAL),
    "ResourceName": ("String", OPTIONAL),
    "ResourceType": ("String", OPTIONAL),
    "ServiceCategory": ("AI and Machine Learning", REQUIRED),
    "ServiceName": ("String", REQUIRED),
    "ServiceProviderName": ("String", REQUIRED),
    "ServiceSubcategory": ("Generative AI", NEVER_NULL),
    "SkuId": ("String", OPTIONAL),
    "SkuMeter": ("String", OPTIONAL),
    "SkuPriceDetails": ("JSON", OPTIONAL),
    "SkuPriceId": ("String", OPTIONAL),
    "SubAccountId": ("String", OPTIONAL),
    "SubAccountName": ("String", OPTIONAL),
    "SubAccountType": ("String", OPTIONAL),
    "Tags": ("JSON", OPTIONAL),
}
"""The columns of Cost and Usage that apply to us, of 65: all that are mandatory are among them."""

PERIODS = {
    "BillingPeriodCreated": ("Date/Time", REQUIRED),
    "BillingPeriodEnd": ("Date/Time", REQUIRED),
    "BillingPeriodLastUpdated": ("Date/Time", REQUIRED),
    "BillingPeriodStart": ("Date/Time", REQUIRED),
    "BillingPeriodStatus": ("Open|Closed", REQUIRED),
    "InvoiceIssuerName": ("String", REQUIRED),
}
INVOICES = {
    "BilledCost": ("Decimal", REQUIRED),
    "BillingAccountId": ("String", REQUIRED),
    "BillingCurrency": ("Currency", REQUIRED),
    "BillingPeriodEnd": ("Date/Time", REQUIRED),
    "BillingPeriodStart": ("Date/Time", REQUIRED),
    "ChargeCategory": ("Usage|Purchase|Tax|Credit|Adjustment", REQUIRED),
    "InvoiceDetailCreated": ("Date/Time", REQUIRED),
    "InvoiceDetailDescription": ("String", MANDATORY),
    "InvoiceDetailGrain": ("JSON", MANDATORY),
    "InvoiceDetailId": ("String", REQUIRED),
    "InvoiceDetailLastUpdated": ("Date/Time", REQUIRED),
    "InvoiceId": ("String", REQUIRED),
    "InvoiceIssueDate": ("Date/Time", MANDATORY),
    "InvoiceIssueStatus": ("Open|Issued|Voided", REQUIRED),
    "InvoiceIssuerName": ("String", REQUIRED),
    "PaymentDueDate": ("Date/Time", MANDATORY),
    "PaymentTerms": ("String", REQUIRED),
    "ReferenceInvoiceId": ("String", REQUIRED),
}
DATASETS: dict[Dataset, dict[str, tuple[str, str]]] = {
    "cost-and-usage": CHARGES,
    "billing-period": PERIODS,
    "invoice-detail": INVOICES,
}
FORMATS = {
    "Decimal": r"-?\d+\.\d+",
    "Price": r"\d+\.\d+",
    "Date/Time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "Currency": "[A-Z]{3}",
    "String": r"(?s).+",
}


@pytest.fixture(scope="module")
def bought(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger with purchases and allowances of all kinds, of which two months are sealed."""
    with ledger_of(str(tmp_path_factory.mktemp("focus") / "l"), EVENTFUL, paid=True) as (
        ledger,
        clock,
    ):
        clock.forward(hours=24 * 31)
        for month in ("2026-09", "2026-10"):
            ledger.periods.close(month, hard=True)
        ledger.periods.close("2026-11")
        yield ledger


def exported(ledger: Ledger, dataset: Dataset, period: str | None = None) -> list[dict[str, str]]:
    written = of_ledger.focus(ledger.database, period, version="1.4", dataset=dataset)
    return list(csv.DictReader(io.StringIO(written.decode(), newline="")))


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_column_is_one_of_1_4_and_says_what_it_may(bought: Ledger, dataset: Dataset):
    columns, rows = DATASETS[dataset], exported(bought, dataset)
    assert rows
    assert [name for name in rows[0] if not name.startswith("x_")] == sorted(
        columns, key=list(rows[0]).index
    )
    for row in rows:
        for name, (kind, level) in columns.items():
            if row[name] == "":
                assert level in {MANDATORY, OPTIONAL}, name
            elif kind == "JSON":
                assert isinstance(json.loads(row[name]), dict)
            else:
                assert re.fullmatch(FORMATS.get(kind, kind), row[name]), (name, row[name])


def test_the_lines_of_an_invoice_add_up_to_what_was_paid_for_it(bought: Ledger):
    paid: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in found(bought, "SELECT * FROM purchase_lot WHERE invoice IS NOT NULL"):
        key = row["invoice"], row["currency"]
        paid[key] += from_micro(row["cash_micro"] + (row["tax_micro"] or 0))
    for dataset in ("invoice-detail", "cost-and-usage"):
        said: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for row in exported(bought, dataset):
            if row["InvoiceId"]:
                said[row["InvoiceId"], row["BillingCurrency"]] += Decimal(row["BilledCost"])
        assert said == paid


def test_each_line_of_an_invoice_is_a_charge_of_that_name(bought: Ledger):
    lines = {row["InvoiceDetailId"]: row for row in exported(bought, "invoice-detail")}
    charges = {
        row["InvoiceDetailId"]: row
        for row in exported(bought, "cost-and-usage")
        if row["InvoiceDetailId"]
    }
    assert lines.keys() == charges.keys()
    for name in ("BilledCost", "BillingCurrency", "ChargeCategory", "InvoiceIssuerName"):
        assert {key: row[name] for key, row in lines.items()} == {
            key: row[name] for key, row in charges.items()
        }


def test_a_month_is_closed_once_it_is_sealed(bought: Ledger):
    states = {
        row["BillingPeriodStart"][:7]: row["BillingPeriodStatus"]
        for row in exported(bought, "billing-period")
    }
    # November is closed softly: it still takes corrections.
    assert states == {"2026-09": "Closed", "2026-10": "Closed", "2026-11": "Open"}


def test_every_charge_is_in_the_month_of_its_issuer(bought: Ledger):
    months = {
        (row["InvoiceIssuerName"], row["BillingPeriodStart"], row["BillingPeriodEnd"])
        for row in exported(bought, "billing-period")
    }
    charges = {
        (row["InvoiceIssuerName"], row["BillingPeriodStart"], row["BillingPeriodEnd"])
        for row in exported(bought, "cost-and-usage")
    }
    assert months == charges


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_month_has_the_same_lines_alone_and_among_others(bought: Ledger, dataset: Dataset):
    every = exported(bought, dataset)
    for month in ("2026-09", "2026-10", "2026-11"):
        first_day = f"{month}-01T00:00:00Z"
        assert exported(bought, dataset, month) == [
            row for row in every if row["BillingPeriodStart"] == first_day
        ]


def test_the_command_writes_each_dataset_and_1_2_has_only_one(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger.sqlite"), [Step("buy", text="INV-1")]):
        pass
    cli = Cli(tmp_path)
    words = ("report", "focus", "--focus-version", "1.4", "--dataset")
    for dataset, columns in DATASETS.items():
        said = cli(*words, dataset)
        assert (said.code, said.err) == (0, "")
        header = said.out.splitlines()[0].split(",")
        assert {name for name in header if not name.startswith("x_")} == set(columns)
    refused = cli("report", "focus", "--dataset", "invoice-detail")
    assert (refused.code, refused.out) == (2, "")
    assert "FOCUS 1.2 has no invoice-detail: use --focus-version 1.4" in refused.err


ASKED = """
import csv, json, sys
from focus_data_toolkit.model.validator import lint_focus_1_4_structure
from focus_data_toolkit.validate.bundle import validate_dataset_bundle
bundle = {
    name: list(csv.DictReader(open(file, newline="", encoding="utf-8")))
    for name, file in zip(("Cost and Usage", "Billing Period", "Invoice Detail"), sys.argv[1:])
}
found = []
for name, rows in bundle.items():
    report = lint_focus_1_4_structure(
        name, rows, supported_conditions=["SupportsUnitPricing"]
    )
    found += [[name, one.rule, one.column, one.row_index, one.message] for one in report.violations]
report = validate_dataset_bundle(bundle, invoice_detail_authoritative=True)
print(json.dumps({
    "found": found,
    "between": [[one.code, str(one.severity), one.message] for one in report.diagnostics],
    "checks": list(report.checks_run),
}))
"""


@pytest.fixture(scope="module")
def toolkit() -> str:
    """A Python that has focus-data-toolkit: this one, or that of the folder in FOCUS_TOOLKIT."""
    folder = os.environ.get("FOCUS_TOOLKIT")
    if folder is not None:
        return str(Path(folder) / "bin" / "python")
    if find_spec("focus_data_toolkit") is None:
        pytest.skip("focus-data-toolkit is not at hand: name its environment in FOCUS_TOOLKIT")
    return sys.executable


def asked(toolkit: str, ledger: Ledger, folder: Path) -> dict[str, Any]:
    files = []
    for dataset in DATASETS:
        files.append(folder / f"{dataset}.csv")
        written = of_ledger.focus(ledger.database, None, version="1.4", dataset=dataset)
        files[-1].write_bytes(written)
    command = [toolkit, "-c", ASKED, *map(str, files)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert said.returncode == 0, said.stderr
    answer: dict[str, Any] = json.loads(said.stdout)
    return answer


def test_the_model_of_1_4_finds_nothing_but_currencies_that_no_country_has(
    toolkit: str, bought: Ledger, tmp_path: Path
):
    answer = asked(toolkit, bought, tmp_path)
    # It knows currencies of ISO 4217 alone, where the specification has virtual ones too.
    assert {tuple(one[:3]) for one in answer["found"]} == {
        ("Cost and Usage", "bad_currency", "PricingCurrency")
    }
    virtual = {
        row["PricingCurrency"]
        for row in exported(bought, "cost-and-usage")
        if not is_currency(row["x_PricingCurrencyName"])
    }
    said = {one[4].split("'")[1] for one in answer["found"]}
    assert said == virtual
    assert answer["between"] == []
    assert "reconcile_invoice_detail" in answer["checks"]


def test_the_model_of_1_4_finds_what_is_wrong(toolkit: str, bought: Ledger, tmp_path: Path):
    asked(toolkit, bought, tmp_path)
    file = tmp_path / "invoice-detail.csv"
    file.write_bytes(file.read_bytes().replace(b",Issued,", b",Sent,", 1))
    files = [str(tmp_path / f"{dataset}.csv") for dataset in DATASETS]
    said = subprocess.run(
        [toolkit, "-c", ASKED, *files], capture_output=True, text=True, check=True, timeout=120
    )
    rules = {(one[0], one[2]) for one in json.loads(said.stdout)["found"]}
    assert ("Invoice Detail", "InvoiceIssueStatus") in rules
