"""Bills: which file, which table, which column; what is not certain is a question."""

from __future__ import annotations

import contextlib
import json
import random
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.errors import BillQuestionError, ConfigError
from kling_ledger.evidence.entries import Entry, Kind
from kling_ledger.evidence.reading import Answers, read_bill
from kling_ledger.evidence.reading.names import NAMES, TASK_FOR_CERTAIN
from kling_ledger.providers.base import TaskState
from kling_pricing import Money
from tests.bills import CASES, UNIT, bill_of, lines, question, refusal, sums, told

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LINE: dict[str, Any] = {
    "task_id": "t1",
    "amount": 20.5,
    "unit": UNIT,
    "state": "success",
    "created_at": "2026-11-20T12:00:00Z",
    "model": "kling/v3",
}
TEXTS = {key: str(value) for key, value in LINE.items()}


def csv_of(*cells: str, columns: str = "task_id,amount") -> str:
    return "\n".join([columns, *cells, ""])


# --- the bills that were read wrongly -------------------------------------------------------

ONE = [("charge", "t-1", "0.675", "completed")]
TASK_X = [("charge", "t-x", "135", "completed")]
IDS = [("charge", f"7f3a-{number}", "135", "completed") for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("account_one.csv", [("charge", "acc1-1", "135", "completed")]),
        ("account_two.csv", [("charge", "acc2-1", "100", "completed")]),
        ("date_epochms.csv", TASK_X),
        ("date_excel.csv", TASK_X),
        ("date_iso.csv", TASK_X),
        ("date_local.csv", TASK_X),
        ("date_slash.csv", TASK_X),
        ("date_us.csv", TASK_X),
        ("excel_sep_line.csv", ONE),
        ("fullwidth_dollar.csv", ONE),
        ("gbk.csv", ONE),
        ("nested.json", ONE),
        ("preamble.csv", ONE),
        ("same_row_twice.csv", ONE),
        ("same_row_twice.jsonl", ONE),
        ("semicolon_decimal_comma.csv", ONE),
        ("total_row.csv", [*ONE, ("total", None, "0.675", None)]),
        ("two_ids.csv", IDS),
        ("utf16.csv", ONE),
        (
            "state_words.csv",
            [
                ("charge", "t-a", "135", "failed"),
                ("charge", "t-b", "135", "failed"),
                ("reservation", "t-c", "135", "running"),
                ("reservation", "t-d", "135", "running"),
                ("charge", "t-e", "135", "completed"),
            ],
        ),
    ],
)
def test_a_case_that_can_be_read_is_read(name: str, read: list[tuple[Any, ...]]):
    unit = "USD" if read[0][1] == "t-1" else UNIT
    bill = read_bill(CASES / name, unit=unit, known_tasks=["7f3a-1", "7f3a-2", "7f3a-3"])
    assert [told(entry) for entry in bill.entries] == read


@pytest.mark.parametrize(
    ("name", "settles", "example"),
    [
        ("amount_and_Amount.csv", "columns", "amount=amount"),
        ("two_ids.csv", "columns", "task_id=request_id"),
        ("id_in_scientific_notation.csv", "columns", "task_id=NAME"),
        ("negative_in_parentheses.csv", "words", "negative=charge"),
    ],
)
def test_a_case_that_only_a_person_can_decide_is_a_question(name: str, settles: str, example: str):
    unit = UNIT if name == "two_ids.csv" else "USD"
    with pytest.raises(BillQuestionError) as asked:
        read_bill(CASES / name, unit=unit)
    assert (asked.value.settles, asked.value.example) == (settles, example)


def test_refunds_leave_what_is_left_of_each_charge():
    bill = read_bill(CASES / "refund_rows.csv", unit=UNIT)
    left = {"t-a": 0, "t-b": 0, "t-c": 100, "t-d": 0, "t-e": 100, "t-f": 100}
    assert sums(bill) == {task: Decimal(amount) for task, amount in left.items()}


@pytest.mark.parametrize(
    ("name", "is_unzoned"),
    [
        ("date_iso.csv", False),
        ("date_epochms.csv", False),
        ("date_local.csv", True),
        ("date_slash.csv", True),
        ("date_us.csv", True),
        ("date_excel.csv", True),
    ],
)
def test_a_stamp_without_a_zone_is_no_instant_until_one_is_said(name: str, is_unzoned: bool):
    bill = read_bill(CASES / name, unit=UNIT)
    assert bill.has_unzoned_times is is_unzoned
    assert (bill.entries[0].at is None) is is_unzoned
    zone = "Asia/Shanghai" if name == "date_local.csv" else "UTC"
    said = read_bill(CASES / name, unit=UNIT, answers=Answers(zone=zone))
    assert not said.has_unzoned_times
    at = said.entries[0].at
    assert at is not None
    assert at.replace(second=0, microsecond=0) == datetime(2026, 11, 26, 8, 47, tzinfo=UTC)


# --- forms ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([LINE]),
        json.dumps({"lines": [LINE]}),
        json.dumps({"code": 200, "data": {"page": {"items": [LINE], "total": 1}}}),
        json.dumps({"items": [LINE], "models": [{"name": "kling/v3"}], "errors": []}),
        json.dumps([list(LINE), list(LINE.values())]),
        json.dumps(LINE),
        json.dumps(LINE) + "\n\n",
        "\ufeff" + json.dumps([LINE]),
        ",".join(LINE) + "\n" + ",".join(TEXTS.values()),
        ",".join(LINE) + ",\n" + ",".join(TEXTS.values()) + ",\n,,,,,,\n",
        ";".join(LINE) + "\r\n" + ";".join(TEXTS.values()) + "\r\n",
        "\t".join(LINE) + "\n" + "\t".join(TEXTS.values()),
        "|".join(LINE) + "\n" + "|".join(TEXTS.values()),
        "\ufeff" + ",".join(LINE) + "\n" + ",".join(TEXTS.values()),
        "Sep=;\r\n" + ";".join(LINE) + "\r\n" + ";".join(TEXTS.values()),
    ],
)
def test_the_same_bill_reads_the_same_in_every_form(tmp_path: Path, text: str):
    (entry,) = bill_of(tmp_path, text).entries
    amount = Money(Decimal("20.5"), UNIT)
    place = entry.place
    assert entry == Entry(
        Kind.CHARGE, "t1", amount, TaskState.COMPLETED, AT, "kling/v3", place, TEXTS
    )


def test_nested_cells_are_named_by_their_path(tmp_path: Path):
    text = json.dumps([{"task": {"id": "t1"}, "usage": {"cost": 0.675}, "status": "completed"}])
    bill = bill_of(tmp_path, text, unit="USD", known=["t1"])
    assert [told(entry) for entry in bill.entries] == [("charge", "t1", "0.675", "completed")]
    assert bill.columns == {"task_id": "task.id", "amount": "usage.cost", "state": "status"}


def test_two_lists_of_charges_are_a_question_that_a_name_settles(tmp_path: Path):
    text = json.dumps(
        {"old": [{"task_id": "t1", "cost": 1}], "new": [{"task_id": "t2", "cost": 2}]}
    )
    asked = question(tmp_path, text, unit="USD")
    assert asked.settles == "columns"
    ours, _, theirs = asked.example.partition("=")
    assert theirs == "new.task_id"
    assert lines(tmp_path, text, unit="USD", columns={ours: theirs})[0][1] == "t2"


@pytest.mark.parametrize(
    "more",
    [
        {"has_more": True},
        {"paging": {"nextCursor": "abc"}},
        {"total_count": 2},
        {"total": 2, "page": 1},
        {"meta": {"page_size": 1, "total": 2}},
    ],
)
def test_one_page_of_several_says_that_rows_are_missing(tmp_path: Path, more: dict[str, Any]):
    bill = bill_of(tmp_path, json.dumps({"items": [LINE], **more}))
    assert bill.total_differs
    assert bill.notes == ("the file says that there are more pages",)


@pytest.mark.parametrize(
    "more", [{"has_more": False}, {"next_page": None}, {"total_count": 1}, {"total": 20}]
)
def test_a_whole_answer_is_no_page_of_several(tmp_path: Path, more: dict[str, Any]):
    assert not bill_of(tmp_path, json.dumps({"items": [LINE], **more})).total_differs


def test_a_bill_without_charges_is_a_bill(tmp_path: Path):
    assert bill_of(tmp_path, "task_id,amount\n").entries == ()
    assert bill_of(tmp_path, "[]").entries == ()
    assert bill_of(tmp_path, '{"data": {"items": []}}').entries == ()


def test_a_page_that_says_something_else_is_no_bill_without_charges(tmp_path: Path):
    assert "names the task" in question(tmp_path, "Access denied\n").message
    assert "error" in refusal(tmp_path, '{"error": "who are you", "data": []}')
    assert "web page" in refusal(tmp_path, "<html><body>Sign in</body></html>")
    assert "PDF" in refusal(tmp_path, b"%PDF-1.7 ...")
    assert "empty" in refusal(tmp_path, "\n \n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"task_id": "t1"', "line 1: not JSON"),
        ('{"task_id": "t1", "amount": 1}\nnonsense', "line 2: not JSON"),
        ('{"task_id": "t1", "amount": 1}\n[1]', "line 2: not a JSON object"),
        ("[1, 2]", "not a list of JSON objects"),
        ("[" * 100_000, "not JSON"),
        ('[{"task_id": "t1", "task_id": "t2"}]', "the key task_id is repeated"),
        ('task_id,amount\n"t1,1', "not CSV"),
        ("task_id,amount\nt1,1,2", "line 2: 3 cells under a header of 2"),
        ("task_id,amount\nt0,1\nt1", "line 3: 1 cells under a header of 2"),
        ("task_id,amount\nt1,0,675", "line 2: 3 cells under a header of 2"),
        ("task_id,amount,amount\nt1,1,2", "the column amount appears twice"),
        ("Usage\n\ntask_id,amount\nt1", "line 4: 1 cells under a header of 2"),
    ],
)
def test_what_is_no_bill_is_refused_with_the_place(tmp_path: Path, text: str, said: str):
    assert said in refusal(tmp_path, text)


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match="No such file"):
        read_bill(tmp_path / "none.csv", unit=UNIT)


def test_lines_above_and_below_a_table_are_left_out_and_told(tmp_path: Path):
    text = (
        'Usage export, "Acme\nAccount: 17; total due: see below\n\n'
        "task_id,amount\nt1,5\n\nExported by the console\n"
    )
    bill = bill_of(tmp_path, text)
    assert [told(entry) for entry in bill.entries] == [("charge", "t1", "5", None)]
    assert bill.entries[0].place == "line 5"
    assert bill.notes == (
        "lines above the columns were skipped: 2",
        "lines below the table were skipped: line 7",
    )


def test_a_row_that_was_cut_off_is_no_line_below_the_table(tmp_path: Path):
    assert "line 3" in refusal(tmp_path, "task_id,amount\nt1,5\nt2\n")


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030", "gbk"]
)
def test_a_bill_in_chinese_is_read_in_every_encoding(tmp_path: Path, encoding: str):
    text = "任务ID,消耗积分,状态,创建时间(北京时间)\nt1,20.5,成功,2026-11-20 20:00:00\nt2,5,失败,\n"
    bill = bill_of(tmp_path, text.encode(encoding))
    assert [told(entry) for entry in bill.entries] == [
        ("charge", "t1", "20.5", "completed"),
        ("charge", "t2", "5", "failed"),
    ]
    assert bill.entries[0].at == AT


def test_an_encoding_that_nobody_knows_is_a_question_where_it_matters(tmp_path: Path):
    text = "Vorgangsnummer,Gebühr\nt1,5\n".encode("windows-1252")
    asked = question(tmp_path, text)
    assert (asked.settles, asked.example) == ("encoding", "windows-1252")
    columns = {"task_id": "Vorgangsnummer", "amount": "Gebühr"}
    said = {"encoding": "windows-1252", "columns": columns}
    assert lines(tmp_path, text, **said) == [("charge", "t1", "5", None)]
    euros = "task_id,amount\nt1,5 €\n".encode("windows-1252")
    assert question(tmp_path, euros, unit="EUR").settles == "encoding"
    assert lines(tmp_path, euros, unit="EUR", encoding="windows-1252")[0][2] == "5"


def test_an_encoding_does_not_matter_where_nothing_is_read_in_it(tmp_path: Path):
    text = "task_id,amount,note\nt1,5,Größe\n".encode("windows-1252")
    assert lines(tmp_path, text) == [("charge", "t1", "5", None)]


def test_an_encoding_that_the_file_is_not_in_is_refused(tmp_path: Path):
    text = "task_id,amount\nt1,5 €\n".encode("windows-1252")
    assert "not text in utf-8" in refusal(tmp_path, text, encoding="utf-8")
    assert "unknown encoding klingon" in refusal(tmp_path, text, encoding="klingon")


# --- rows -----------------------------------------------------------------------------------


def test_rows_that_are_equal_in_every_cell_count_once_and_it_is_told(tmp_path: Path):
    text = csv_of("t1,5", "t2,5", "t1,5 ", "t1,6", "t1,5")
    bill = bill_of(tmp_path, text)
    assert [entry.place for entry in bill.entries] == ["line 2", "line 3", "line 5"]
    assert bill.notes == ("identical rows are counted once: line 4 is line 2, line 6 is line 2",)


def test_exports_that_were_put_one_below_the_other_have_further_headers(tmp_path: Path):
    bill = bill_of(tmp_path, csv_of("t1,5", "task_id,amount", "t1,5", "t2,5"))
    assert [entry.task_id for entry in bill.entries] == ["t1", "t2"]
    assert bill.notes[0] == "repeated headers were skipped: line 3"


def test_blanks_around_a_cell_are_no_part_of_it_in_any_form(tmp_path: Path):
    text = '[{"task_id": " t1\u00a0", "amount": " 5 ", "status": "done "}]'
    assert lines(tmp_path, text, known=["t1"]) == [("charge", "t1", "5", "completed")]


def test_a_row_has_one_digest_whatever_the_order_of_columns(tmp_path: Path):
    texts = [
        csv_of("t1,5,,done", columns="task_id,amount,note,status"),
        csv_of("done;5;t1", columns="status;amount;task_id"),
        '[{"status": "done", "amount": 5, "task_id": "t1", "note": null}]',
    ]
    digests = {bill_of(tmp_path, text).entries[0].digest for text in texts}
    assert len(digests) == 1
    (other,) = bill_of(tmp_path, csv_of("t1,6,,done", columns="task_id,amount,note,status")).entries
    assert other.digest not in digests


@pytest.mark.parametrize(
    "written", ["t1", "'t1", '"=""t1"""', " t1 ", "\u00a0t1\u00a0", '"""t1"""']
)
def test_what_keeps_a_spreadsheet_from_changing_an_id_is_no_part_of_it(
    tmp_path: Path, written: str
):
    assert lines(tmp_path, csv_of(f"{written},5"))[0][1] == "t1"
    assert lines(tmp_path, csv_of(f"{written},5"), known=["t1"])[0][1] == "t1"


@pytest.mark.parametrize(
    "written",
    ["8.67283741759111E+17", '"8,67283741759111E+17"', "1E+05", "123.0", "867283741759111000"],
)
def test_an_id_that_a_spreadsheet_changed_is_a_question_unless_it_is_known(
    tmp_path: Path, written: str
):
    asked = question(tmp_path, csv_of("t0,1", f"{written},5"))
    assert "line 3" in asked.message
    assert "as text" in str(asked.hint)
    bare = written.strip('"')
    assert lines(tmp_path, csv_of(f"{written},5"), known=[bare])[0][1] == bare


@pytest.mark.parametrize("written", ["7e10", "12E5", "867283741759111020", "000", "90001", "1.5"])
def test_an_id_that_looks_like_a_number_is_an_id(tmp_path: Path, written: str):
    assert lines(tmp_path, csv_of(f"{written},5"))[0][1] == written


def test_an_id_that_is_a_number_in_json_keeps_its_digits(tmp_path: Path):
    assert lines(tmp_path, '[{"task_id": 867283741759111023, "amount": 5}]')[0][1] == (
        "867283741759111023"
    )
    shortened = '[{"task_id": 8.67283741759111E+17, "amount": 5}]'
    assert "8.67283741759111E+17" in question(tmp_path, shortened).message


# --- which column is the task ---------------------------------------------------------------


def test_the_column_whose_values_we_know_is_the_task_whatever_it_is_called(tmp_path: Path):
    text = csv_of("1,n1,a-1,5", "2,n2,a-2,5", columns="task_id,note,Vorgang,amount")
    assert [line[1] for line in lines(tmp_path, text, known=["a-2", "b"])] == ["a-1", "a-2"]


def test_two_columns_of_tasks_that_we_know_are_a_question(tmp_path: Path):
    text = csv_of("a,b,5", "c,d,5", columns="request_id,parent_task,amount")
    asked = question(tmp_path, text, known=["a", "b", "c"])
    assert asked.settles == "columns"
    assert "request_id (a), parent_task (b)" in asked.message
    mapped = lines(tmp_path, text, known=["a", "b", "c"], columns={"task_id": "request_id"})
    assert [line[1] for line in mapped] == ["a", "c"]


def test_an_amount_that_looks_like_a_task_is_an_amount(tmp_path: Path):
    assert lines(tmp_path, csv_of("7,135", columns="job_id,amount"), known=["7", "135"])[0] == (
        "charge",
        "7",
        "135",
        None,
    )


@pytest.mark.parametrize("name", [*TASK_FOR_CERTAIN, "Task ID", "TaskId", "TASK-ID", "任务 ID"])
def test_a_name_that_can_only_be_the_task_is_enough(tmp_path: Path, name: str):
    assert lines(tmp_path, csv_of("t1,5", columns=f"{name},amount"))[0][1] == "t1"


@pytest.mark.parametrize("name", sorted({*NAMES["task_id"]} - {*TASK_FOR_CERTAIN}))
def test_a_name_that_may_be_the_task_is_a_question_where_no_task_is_known(
    tmp_path: Path, name: str
):
    text = csv_of("t1,5", columns=f"{name},amount")
    assert question(tmp_path, text).example == f"task_id={name}"
    assert lines(tmp_path, text, known=["t1"])[0][1] == "t1"


def test_two_names_that_may_be_the_task_are_a_question_with_a_value_of_each(tmp_path: Path):
    text = csv_of("1,t1,5", columns="id,task_id,amount")
    assert "task_id (t1), id (1)" in question(tmp_path, text, known=["other"]).message


def test_a_mapping_wins_over_names_and_values(tmp_path: Path):
    text = csv_of("x,t1,5,9", columns="id,job,amount,Charged in the end")
    columns = {"task_id": "ID", "amount": "charged in the end"}
    assert lines(tmp_path, text, known=["t1"], columns=columns) == [("charge", "x", "9", None)]


def test_a_mapping_to_a_column_that_is_not_there_is_refused(tmp_path: Path):
    said = refusal(tmp_path, csv_of("t1,1"), columns={"task_id": "Job"})
    assert "no column Job; it has task_id, amount" in said


# --- which column is the amount -------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES["amount"])
def test_an_amount_goes_by_many_names_in_any_case(tmp_path: Path, name: str):
    text = csv_of("t1,20.5", columns=f"task_id,{name.upper()}")
    assert lines(tmp_path, text) == [("charge", "t1", "20.5", None)]


def test_names_that_differ_in_case_are_two_columns(tmp_path: Path):
    text = csv_of("t1,1,0.675", columns="task_id,amount,Amount")
    assert "amount (1), Amount (0.675)" in question(tmp_path, text).message
    for name, amount in (("amount", "1"), ("Amount", "0.675")):
        assert lines(tmp_path, text, columns={"amount": name})[0][2] == amount


def test_several_amounts_are_a_question_unless_they_are_equal(tmp_path: Path):
    text = "task_id,credits,cost\nt1,5,{}\n"
    assert question(tmp_path, text.format(6)).settles == "columns"
    assert lines(tmp_path, text.format(5))[0][2] == "5"


def test_an_amount_in_another_unit_is_no_rival(tmp_path: Path):
    text = csv_of("t1,135,0.675", columns="task_id,credits,Cost (USD)")
    assert lines(tmp_path, text)[0][2] == "135"
    assert lines(tmp_path, text, unit="USD")[0][2] == "0.675"


@pytest.mark.parametrize("balance", ["balance", "Balance after", "remaining_credits", "余额"])
def test_what_an_account_holds_is_no_amount(tmp_path: Path, balance: str):
    text = csv_of("t1,5,995", columns=f"task_id,cost,{balance}")
    assert lines(tmp_path, text)[0][2] == "5"
    text = csv_of("t1,995", columns=f"task_id,{balance}")
    assert "which column is the amount" in question(tmp_path, text).message


def test_a_column_that_holds_no_amounts_is_none(tmp_path: Path):
    text = csv_of("t1,monthly,5", columns="task_id,charge,amount")
    assert lines(tmp_path, text)[0][2] == "5"


def test_a_bill_without_an_amount_lists_what_there_is(tmp_path: Path):
    asked = question(tmp_path, csv_of("t1,x", columns="task_id,note"))
    assert "which column is the amount: task_id (t1), note (x)?" in asked.message


@pytest.mark.parametrize(
    "column", ["Amount (CNY)", "cost_usd", "Amount [EUR]", "费用（元）", "amount_cents", "Cost $"]
)
def test_a_column_in_another_unit_is_refused_even_if_it_is_named(tmp_path: Path, column: str):
    text = csv_of("t1,5", columns=f"task_id,{column}")
    assert "the provider charges in crun-credit" in refusal(tmp_path, text)
    assert "unit" in refusal(tmp_path, text, columns={"amount": column})


def test_credits_may_be_said_to_be_the_unit(tmp_path: Path):
    text = csv_of("t1,5", columns="task_id,credits")
    assert question(tmp_path, text, unit="USD").example == "amount=credits"
    assert lines(tmp_path, text, unit="USD", columns={"amount": "credits"})[0][2] == "5"


@pytest.mark.parametrize(
    "unit", ["crun-credit", "Crun-Credit", "crun credits", "credits", "", "积分"]
)
def test_the_providers_own_unit_has_several_names(tmp_path: Path, unit: str):
    text = csv_of(f"t1,1,{unit}", columns="task_id,amount,unit")
    assert lines(tmp_path, text)[0][2] == "1"


@pytest.mark.parametrize("unit", ["USD", "evolink-credit", "cents"])
def test_another_unit_is_refused_with_its_line(tmp_path: Path, unit: str):
    said = refusal(tmp_path, csv_of("t0,1,credits", f"t1,1,{unit}", columns="task_id,amount,unit"))
    assert f"line 3: its unit is {unit}, the provider charges in crun-credit" in said


@pytest.mark.parametrize("column", ["Währung", "Valuta", "paid in"])
def test_a_column_that_holds_nothing_but_currencies_is_the_unit(tmp_path: Path, column: str):
    text = csv_of("t1,5,EUR", columns=f"task_id,amount,{column}")
    assert "its unit is EUR" in refusal(tmp_path, text, unit="USD")
    assert lines(tmp_path, text, unit="EUR")[0][2] == "5"


def test_a_name_may_tell_credits_and_the_currency_of_their_cost(tmp_path: Path):
    text = csv_of("t1,0.675", columns="task_id,Credit cost (USD)")
    assert lines(tmp_path, text, unit="USD")[0][2] == "0.675"
    assert "its unit is usd" in refusal(tmp_path, text, unit="EUR")


@pytest.mark.parametrize(
    "text",
    [
        "Usage of November\nCurrency: CNY\n\ntask_id,amount\nt1,5\n",
        "账单\n币种：CNY\n\n任务ID,金额\nt1,5\n",
        '{"data": {"currency": "CNY", "items": [{"task_id": "t1", "amount": 5}]}}',
        '[{"task_id": "t1", "amount": 5, "currency": "CNY"}]',
    ],
)
def test_a_currency_may_be_told_beside_the_rows(tmp_path: Path, text: str):
    assert "its unit is CNY" in refusal(tmp_path, text, unit="USD")
    assert lines(tmp_path, text, unit="CNY")[0][2] == "5"


def test_a_way_to_pay_is_no_unit(tmp_path: Path):
    text = csv_of("t1,5,credit", columns="task_id,amount,paid_by")
    assert lines(tmp_path, text, unit="USD")[0][2] == "5"


def test_credits_are_no_dollars(tmp_path: Path):
    text = csv_of("t1,1,credits", columns="task_id,amount,currency")
    assert "its unit is credits" in refusal(tmp_path, text, unit="USD")


# --- answers --------------------------------------------------------------------------------


def test_answers_are_kept_as_text():
    answers = Answers(
        columns={"task_id": "Job"},
        zone="Asia/Shanghai",
        numbers="comma",
        dates="dmy",
        words={"FAILURE": "failed"},
        encoding="gb18030",
        itemised=True,
    )
    assert Answers.from_text(answers.to_text()) == answers
    assert Answers().to_text() == "{}"
    assert Answers.from_text("{}") == Answers()


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        '{"color": "red"}',
        '{"columns": {"job": "Nr"}}',
        '{"words": {"x": "free"}}',
        '{"numbers": "dot"}',
        '{"zone": "Nowhere/None"}',
        '{"columns": 5}',
    ],
)
def test_what_is_no_answer_is_refused(text: str):
    with pytest.raises(ConfigError):
        Answers.from_text(text)


# --- size -----------------------------------------------------------------------------------


@pytest.mark.timeout(120)  # seconds here, and hours if each row looked at all the others
def test_a_bill_of_a_hundred_thousand_rows_is_read(tmp_path: Path):
    rows = (
        f"{n},2026-11-26 08:{n // 60 % 60:02}:{n % 60:02},r-{n},kling/v3,{n}.25,completed"
        for n in range(100_000)
    )
    text = csv_of(*rows, columns="id,created_at,request_id,model,amount,status")
    known = [f"r-{n}" for n in range(0, 100_000, 7)]
    bill = bill_of(tmp_path, text, known=known, zone="Asia/Shanghai")
    assert len(bill.entries) == 100_000


def test_whatever_is_in_a_file_is_read_or_refused_in_our_words(tmp_path: Path):
    chance = random.Random(12)  # noqa: S311 - the same files every time
    bits = [b",", b";", b'"', b"\n", b"(", b"1.350", b"Total", b"\xff", b"\0", b"[]", b"9999-12-31"]
    wholes = [path.read_bytes() for path in sorted(CASES.iterdir())]
    for _ in range(400):
        data = bytearray(chance.choice(wholes))
        for _ in range(3):
            at = chance.randrange(len(data) + 1)
            data[at : at + chance.randrange(3)] = chance.choice(bits)
        with contextlib.suppress(ConfigError):
            bill_of(tmp_path, bytes(data), unit="USD", zone="Europe/Berlin")
