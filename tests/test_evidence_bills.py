"""Bills: a provider's bill in whatever columns it has, or refused with the line at fault."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.errors import ConfigError
from kling_ledger.evidence.bill_columns import COLUMNS, read_mapping
from kling_ledger.evidence.bills import read_statement
from kling_ledger.evidence.charges import Charge
from kling_ledger.providers.base import TaskState
from kling_pricing import Money

UNIT = "crun-credit"
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
WHOLE = Charge("t1", Money(Decimal("20.5"), UNIT), TaskState.COMPLETED, AT, "kling/v3")
LINE: dict[str, Any] = {
    "task_id": "t1",
    "amount": 20.5,
    "unit": UNIT,
    "state": "success",
    "created_at": "2026-11-20T12:00:00Z",
    "model": "kling/v3",
}


@pytest.fixture
def bill(tmp_path: Path) -> Path:
    return tmp_path / "bill"


def read(bill: Path, text: str | bytes, **more: Any) -> list[Charge]:
    bill.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_statement(bill, **{"unit": UNIT, **more})


def refusal(bill: Path, text: str | bytes, **more: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        read(bill, text, **more)
    assert str(bill) in str(refused.value)
    return str(refused.value)


def csv_of(*cells: str, columns: str = "task_id,amount") -> str:
    return "\n".join([columns, *cells, ""])


# --- forms ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([LINE]),
        json.dumps({"lines": [LINE]}),
        json.dumps({"provider": "crun", "data": [LINE]}),
        json.dumps(LINE),
        json.dumps(LINE) + "\n\n",
        "\ufeff" + json.dumps([LINE]),
        ",".join(LINE) + "\n" + ",".join(map(str, LINE.values())),
        ";".join(LINE) + "\r\n" + ";".join(map(str, LINE.values())) + "\r\n",
        "\t".join(LINE) + "\n" + "\t".join(map(str, LINE.values())),
        "\ufeff" + ",".join(LINE) + "\n" + ",".join(map(str, LINE.values())),
    ],
    ids=["list", "lines", "data", "object", "jsonl", "bom", "comma", "semicolon", "tab", "csv-bom"],
)
def test_the_same_bill_reads_the_same_in_every_form(bill: Path, text: str):
    assert read(bill, text) == [WHOLE]


def test_each_line_of_jsonl_is_a_charge(bill: Path):
    text = "\n".join(json.dumps({**LINE, "task_id": f"t{number}"}) for number in range(3))
    assert [charge.task_id for charge in read(bill, text)] == ["t0", "t1", "t2"]


def test_a_bill_without_charges_is_a_bill(bill: Path):
    assert read(bill, "task_id,amount\n") == []
    assert read(bill, "[]") == []


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_file_is_no_bill_without_charges(bill: Path, text: str):
    assert "empty" in refusal(bill, text)


def test_a_page_that_says_something_else_is_no_bill_without_charges(bill: Path):
    assert "which column is the task_id" in refusal(bill, "Access denied\n")
    assert "which column is the task_id" in refusal(bill, '{"error": "who are you"}')


def test_what_is_not_asked_for_may_be_missing(bill: Path):
    assert read(bill, csv_of("t1,20.5")) == [Charge("t1", Money(Decimal("20.5"), UNIT))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"task_id": "t1"', "line 1: this is no JSON"),
        ('{"task_id": "t1", "amount": 1}\nnonsense', "line 2: this is no JSON"),
        ('{"task_id": "t1", "amount": 1}\n[1]', "line 2: this is no JSON object"),
        ("[1, 2]", "no list of JSON objects"),
        ("[" * 100_000, "no JSON"),
        (b"\xff\xfe\x00", "utf-8"),
        ('task_id,amount\n"t1,1', "no CSV"),
        ("task_id,amount\nt1,1,2", "line 2: 3 cells under a header of 2"),
        ("task_id,amount\nt0,1\nt1", "line 3: 1 cells under a header of 2"),
        ("task_id,amount,amount\nt1,1,2", "the column amount is there twice"),
    ],
)
def test_what_is_no_bill_is_refused_with_the_place(bill: Path, text: str | bytes, said: str):
    assert said in refusal(bill, text)


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match="No such file"):
        read_statement(tmp_path / "none.csv", unit=UNIT)


# --- columns --------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", COLUMNS)
def test_columns_go_by_many_names_in_any_case(bill: Path, ours: str):
    for name in COLUMNS[ours]:
        cells = {name.title() if key == ours else key: value for key, value in LINE.items()}
        text = ",".join(cells) + "\n" + ",".join(map(str, cells.values()))
        assert read(bill, text) == [WHOLE]


def test_a_mapping_names_the_columns_of_a_bill(bill: Path):
    text = csv_of("t1,7,9", columns="Job Nr,List price,Charged in the end")
    mapping = {"task_id": "Job Nr", "amount": "charged in the end"}
    assert read(bill, text, mapping=mapping) == [Charge("t1", Money(Decimal(9), UNIT))]


def test_a_mapping_wins_over_a_column_of_a_common_name(bill: Path):
    text = csv_of("x,t1,5", columns="id,job,amount")
    assert read(bill, text, mapping={"task_id": "job"})[0].task_id == "t1"


def test_a_mapping_to_a_column_that_is_not_there_is_refused(bill: Path):
    assert "no column Job, only task_id, amount" in refusal(
        bill, csv_of("t1,1"), mapping={"task_id": "Job"}
    )


@pytest.mark.parametrize("missing", ["task_id", "amount"])
def test_a_bill_without_a_column_that_is_needed_says_which(bill: Path, missing: str):
    cells = {"task_id": "t1", "amount": "1", "note": "x"}
    del cells[missing]
    text = csv_of(",".join(cells.values()), columns=",".join(cells))
    assert f"which column is the {missing}?" in refusal(bill, text)


def test_a_mapping_is_read_from_words():
    assert read_mapping(" task_id = Job Nr , amount=Credits,") == {
        "task_id": "Job Nr",
        "amount": "Credits",
    }
    assert read_mapping(None) == {}


@pytest.mark.parametrize("words", ["job=Nr", "task_id", "task_id=", "=Job", "amount:Credits"])
def test_words_that_map_nothing_are_refused(words: str):
    with pytest.raises(ConfigError, match="maps no column"):
        read_mapping(words)


# --- cells ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("20.5", "20.5"),
        (" 20.50 ", "20.5"),
        ("$0.675", "0.675"),
        ("7.1982", "7.1982"),
        ("0", "0"),
        ("-3.5", "-3.5"),
        ("0.0000004", "0"),
        ("0.0000005", "0.000001"),
    ],
)
def test_an_amount_is_exact_to_the_millionth(bill: Path, written: str, amount: str):
    assert read(bill, csv_of(f"t1,{written}"))[0].amount == Money(Decimal(amount), UNIT)


def test_a_json_number_is_read_as_it_is_written(bill: Path):
    text = '[{"task_id": "t1", "amount": 9007199254.740989}]'
    assert read(bill, text)[0].amount == Money(Decimal("9007199254.740989"), UNIT)


@pytest.mark.parametrize(
    "written", ["1,5", '"1,234.50"', "abc", "nan", "inf", "1e999", "12 USD", "--1", "99999999999"]
)
def test_an_amount_that_cannot_be_read_is_refused_with_its_line(bill: Path, written: str):
    text = f"task_id;amount\nt0;1\nt1;{written}\n"
    assert "line 3" in refusal(bill, text)


@pytest.mark.parametrize("amount", [True, [1], {"value": 1}])
def test_an_amount_that_is_no_number_in_json_is_refused(bill: Path, amount: object):
    assert "entry 1" in refusal(bill, json.dumps([{"task_id": "t1", "amount": amount}]))


@pytest.mark.parametrize("unit", ["crun-credit", "Crun-Credit", "crun-credits", "credits", ""])
def test_the_providers_own_unit_has_several_names(bill: Path, unit: str):
    text = csv_of(f"t1,1,{unit}", columns="task_id,amount,unit")
    assert read(bill, text)[0].amount == Money(Decimal(1), UNIT)


@pytest.mark.parametrize("unit", ["USD", "evolink-credit", "cents"])
def test_another_unit_is_refused_with_its_line(bill: Path, unit: str):
    said = refusal(bill, csv_of(f"t1,1,{unit}", columns="task_id,amount,unit"))
    assert f"line 2: its unit is {unit}, the provider charges in crun-credit" in said


def test_credits_are_no_dollars(bill: Path):
    text = csv_of("t1,1,credits", columns="task_id,amount,unit")
    assert "its unit is credits" in refusal(bill, text, unit="USD")


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("Completed", TaskState.COMPLETED),
        ("billed", TaskState.COMPLETED),
        ("FAILED", TaskState.FAILED),
        ("running", TaskState.RUNNING),
        ("", None),
    ],
)
def test_a_state_is_read_by_common_words(bill: Path, word: str, state: TaskState | None):
    text = csv_of(f"t1,1,{word}", columns="task_id,amount,state")
    assert read(bill, text)[0].state is state


def test_a_state_that_nobody_knows_is_refused_with_its_line(bill: Path):
    text = csv_of("t0,1,success", "t1,1,frozen", columns="task_id,amount,status")
    assert "line 3: 'frozen' is no state that is known" in refusal(bill, text)


def test_what_was_refunded_cost_nothing_in_the_end(bill: Path):
    text = csv_of("t1,20,refunded", columns="task_id,amount,status")
    assert read(bill, text)[0].amount == Money.zero(UNIT)


def test_an_empty_amount_says_nothing_and_needs_a_state(bill: Path):
    text = csv_of("t1,,failed", columns="task_id,amount,state")
    assert read(bill, text) == [Charge("t1", None, TaskState.FAILED)]
    assert "line 2: it names neither" in refusal(bill, csv_of("t1,"))


def test_a_line_without_a_task_is_refused(bill: Path):
    assert "line 2: it names no task" in refusal(bill, csv_of(",5"))


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-20T12:00:00Z",
        "2026-11-20 12:00:00",
        "2026-11-20T14:00:00+02:00",
        "1795176000",
        "1795176000000",
    ],
)
def test_an_instant_is_read_in_utc_unless_it_says_otherwise(bill: Path, written: str):
    text = csv_of(f"t1,1,{written}", columns="task_id,amount,created_at")
    assert read(bill, text)[0].created_at == AT


def test_a_day_is_no_instant_to_find_a_job_by(bill: Path):
    text = csv_of("t1,1,2026-11-20", columns="task_id,amount,date")
    assert read(bill, text)[0].created_at is None


@pytest.mark.parametrize("written", ["yesterday", "20/11/2026", "9" * 40, "2026-13-01"])
def test_an_instant_that_cannot_be_read_is_refused_with_its_line(bill: Path, written: str):
    text = csv_of(f"t1,1,{written}", columns="task_id,amount,created_at")
    assert "line 2" in refusal(bill, text)
