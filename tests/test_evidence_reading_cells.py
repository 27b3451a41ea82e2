"""Cells of a bill: numbers, instants and words as people and programs write them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.bills import bill_of, lines, question, refusal

AT = datetime(2026, 11, 26, 8, 47, 38, tzinfo=UTC)
MINUTE = AT.replace(second=0)


def of_amounts(folder: Path, *written: str, unit: str = "USD", **said: str) -> list[str | None]:
    """Read amounts of as many tasks, and one charge that is above zero without doubt."""
    rows = [f"t{number}\t{text}" for number, text in enumerate(written)]
    text = "\n".join(["task_id\tamount", "t\t7", *rows, ""])
    return [line[2] for line in lines(folder, text, unit=unit, **said)][1:]


# --- amounts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("20.5", "20.5"),
        (" 20.50 ", "20.5"),
        ("135", "135"),
        ("1350.25", "1350.25"),
        ("0.675", "0.675"),
        (".675", "0.675"),
        ("5.", "5"),
        ("0,675", "0.675"),
        ("7.1982", "7.1982"),
        ("7,1982", "7.1982"),
        ("0.675000", "0.675"),
        ("0", "0"),
        ("+5.5", "5.5"),
        ("1,181.00", "1181"),
        ("1.181,00", "1181"),
        ("1 181,00", "1181"),
        ("1\u00a0181,00", "1181"),
        ("1\u202f181.5", "1181.5"),
        ("1'181.00", "1181"),
        ("1’181.00", "1181"),
        ("1,181,000", "1181000"),
        ("1.181.000", "1181000"),
        ("12,5", "12.5"),
        ("1350,250", "1350.25"),
        ("0.0000004", "0"),
        ("0.0000005", "0.000001"),
        ("6.75E-1", "0.675"),
        ("1.35e+02", "135"),
        ("6,75E-1", "0.675"),
        ("$0.675", "0.675"),
        ("$ 0.675", "0.675"),
        ("US$0.675", "0.675"),
        ("0.675$", "0.675"),
        ("＄0.675", "0.675"),
        ("0.675 USD", "0.675"),
        ("USD 0.675", "0.675"),
        ("usd0.675", "0.675"),
        ("$0.675 USD", "0.675"),
        ("０．６７５", "0.675"),
        ("'0.675", "0.675"),
        ('="0.675"', "0.675"),
    ],
)
def test_an_amount_is_exact_to_the_millionth(tmp_path: Path, written: str, amount: str):
    assert of_amounts(tmp_path, written.replace('"', '""').join('""')) == [amount]


@pytest.mark.parametrize(
    "written",
    [
        "-3.5",
        "(3.5)",
        "3.5-",
        "\u22123.5",
        "–3.5",
        "-$3.5",
        "$-3.5",
        "($3.5)",
        "$(3.5)",
        "-3.5 USD",
    ],
)
def test_an_amount_below_zero_gives_back(tmp_path: Path, written: str):
    text = f"task_id,amount\nt,7\nt,{written}\n"
    assert lines(tmp_path, text, unit="USD")[1] == ("refund", "t", "-3.5", None)


@pytest.mark.parametrize(
    "written",
    [
        *("abc", "nan", "inf", "1e999", "--1", "(-1)", "-1-", "(1", "99999999999", "1,2,3"),
        *("12,34.5", "1.23E-8", "1..5", "1 2", "1,1811.00", "0x10", "50%", "1/2"),
    ],
)
def test_an_amount_that_cannot_be_read_is_refused_with_its_line(tmp_path: Path, written: str):
    assert "line 3" in refusal(tmp_path, f"task_id;amount\nt0;1\nt1;{written}\n", unit="USD")


@pytest.mark.parametrize(
    "written", ["€5", "5 EUR", "￥5", "¥5", "5 CNY", "5 credits", "HK$5", "A$5", "$5 EUR", "5元"]
)
def test_an_amount_in_another_currency_is_refused_with_its_line(tmp_path: Path, written: str):
    said = refusal(tmp_path, f"task_id,amount\nt0,1\nt1,{written}\n", unit="USD")
    assert "line 3: its unit is" in said


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        *(("¥5", "CNY"), ("￥5", "CNY"), ("5元", "CNY"), ("RMB 5", "CNY"), ("€5", "EUR")),
        *(("5 credits", "crun-credit"), ("5 积分", "evolink-credit")),
    ],
)
def test_an_amount_may_name_its_own_unit(tmp_path: Path, written: str, unit: str):
    assert of_amounts(tmp_path, written, unit=unit) == ["5"]


def test_dollars_are_no_credits(tmp_path: Path):
    assert "its unit is $" in refusal(tmp_path, "task_id,amount\nt1,$5\n")


def test_a_json_number_is_read_as_it_is_written(tmp_path: Path):
    text = '[{"task_id": "a", "amount": 9007199254.740989}, {"task_id": "b", "amount": 1.350}]'
    assert [line[2] for line in lines(tmp_path, text)] == ["9007199254.740989", "1.35"]


@pytest.mark.parametrize("amount", [True, [1], {"value": "x"}])
def test_an_amount_that_is_no_number_in_json_is_refused(tmp_path: Path, amount: object):
    text = json.dumps([{"task_id": "t1", "amount": amount, "cost": None}])
    said = {"columns": {"amount": "amount"}} if not isinstance(amount, dict) else {}
    if said:
        assert "entry 1" in refusal(tmp_path, text, **said)
    else:
        assert "entry 1" in refusal(tmp_path, text, columns={"amount": "amount.value"})


# --- points and commas ----------------------------------------------------------------------


@pytest.mark.parametrize("written", ["1.350", "1,350", "$1.350", "-1.350", "135.000", "999,999"])
def test_three_digits_after_a_mark_are_a_question(tmp_path: Path, written: str):
    text = f"task_id\tamount\nt0\t7\nt1\t{written}\n"
    asked = question(tmp_path, text, unit="USD")
    assert (asked.settles, asked.example) == ("numbers", "comma")
    assert "line 3" in asked.message


@pytest.mark.parametrize(
    ("written", "beside", "amount"),
    [
        ("1.350", "0.675", "1.35"),
        ("1.350", "20.5", "1.35"),
        ("1.350", "1350.250", "1.35"),
        ("1.350", "1,350.25", "1.35"),
        ("1.350", "1.3500", "1.35"),
        ("1.350", "0,5", "1350"),
        ("1.350", "12,5", "1350"),
        ("1.350", "1.350.000", "1350"),
        ("1,350", "0.675", "1350"),
        ("1,350", "20.5", "1350"),
        ("1,350", "0,675", "1.35"),
        ("1,350", "1,350,000", "1350"),
    ],
)
def test_other_amounts_of_the_column_tell_how_they_are_written(
    tmp_path: Path, written: str, beside: str, amount: str
):
    assert of_amounts(tmp_path, written, beside)[0] == amount
    assert of_amounts(tmp_path, beside, written)[1] == amount


def test_another_column_of_amounts_may_tell_how_they_are_written(tmp_path: Path):
    text = "task_id;amount;balance\nt1;1.350;98.650,00\n"
    assert lines(tmp_path, text)[0][2] == "1350"


def test_a_person_may_say_how_numbers_are_written(tmp_path: Path):
    assert of_amounts(tmp_path, "1.350", numbers="point") == ["1.35"]
    assert of_amounts(tmp_path, "1.350", numbers="comma") == ["1350"]
    text = "task_id;amount\nt1;1.350\nt2;0.675\n"
    assert "line 3" in refusal(tmp_path, text, numbers="comma")


def test_amounts_of_both_kinds_are_refused_with_both_lines(tmp_path: Path):
    said = refusal(tmp_path, "task_id;amount\nt1;0.675\nt2;0,675\n")
    assert "line 2 writes 0.675" in said
    assert "line 3 writes 0,675" in said


@pytest.mark.parametrize("written", ["", "-", "—", "n/a", "null"])
def test_an_empty_amount_says_nothing_and_needs_a_state(tmp_path: Path, written: str):
    text = f"task_id,amount,state\nt1,{written},failed\n"
    assert lines(tmp_path, text) == [("charge", "t1", None, "failed")]
    said = refusal(tmp_path, f"task_id,amount\nt1,{written}\n")
    assert "line 2: it has neither" in said


# --- instants -------------------------------------------------------------------------------


def at_of(folder: Path, *written: str, column: str = "created_at", **said: str) -> datetime | None:
    """Read the instant of a first charge; further stamps belong to others."""
    rows = [f't{number}|5|"{text}"' for number, text in enumerate(written)]
    text = "\n".join([f"task_id|amount|{column}", *rows, ""])
    return bill_of(folder, text, **said).entries[0].at


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-26T08:47:38Z",
        "2026-11-26 08:47:38+00:00",
        "2026-11-26T16:47:38+0800",
        "2026-11-26 16:47:38 +08:00",
        "2026-11-26 16:47:38 UTC+8",
        "2026-11-26 08:47:38 UTC",
        "2026/11/26 08:47:38 GMT",
        "2026-11-26T16:47:38+08:00[Asia/Shanghai]",
        "2026-11-26 16:47:38 Asia/Shanghai",
        "1795682858",
        "1795682858000",
        "1795682858000000",
        "1795682858.0",
        "Thu, 26 Nov 2026 08:47:38 GMT",
        "Thu, 26 Nov 2026 16:47:38 +0800",
        "Thu Nov 26 08:47:38 UTC 2026",
        "Thu Nov 26 2026 16:47:38 GMT+0800 (China Standard Time)",
        "Nov 26, 2026 8:47:38 AM UTC",
        "26 November 2026 08:47:38 Z",
        "26.11.2026 08:47:38 UTC",
        "20261126T084738Z",
    ],
)
def test_an_instant_is_read_in_many_writings(tmp_path: Path, written: str):
    assert at_of(tmp_path, written) == AT
    # What a stamp says of its zone goes before what a person says of others.
    assert at_of(tmp_path, written, zone="America/New_York") == AT


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-26 16:47:38",
        "2026-11-26T16:47:38",
        "2026/11/26 16:47:38",
        "26.11.2026 16:47:38",
        "26/11/2026 16:47:38",
        "11/26/2026 16:47:38",
        "11/26/2026 4:47:38 PM",
        "Nov 26, 2026, 4:47:38 pm",
        "26-Nov-26 16:47:38",
        "2026年11月26日 16时47分38秒",
        "2026年11月26日 下午4:47:38",
        "46352.699745370",
        "20261126164738",
    ],
)
def test_a_stamp_without_a_zone_needs_one_said(tmp_path: Path, written: str):
    assert at_of(tmp_path, written) is None
    assert at_of(tmp_path, written, zone="Asia/Shanghai") == AT
    assert at_of(tmp_path, written, zone="+08:00") == AT
    assert bill_of(tmp_path, f'task_id|amount|date\nt|5|"{written}"\n').has_unzoned_times


@pytest.mark.parametrize(
    ("column", "written"),
    [
        ("created_at (UTC)", "2026-11-26 08:47:38"),
        ("created_at_utc", "2026-11-26 08:47:38"),
        ("Date [GMT+08:00]", "2026-11-26 16:47:38"),
        ("Time (UTC+8)", "2026-11-26 16:47:38"),
        ("created (+08:00)", "2026-11-26 16:47:38"),
        ("created (Asia/Shanghai)", "2026-11-26 16:47:38"),
        ("创建时间（北京时间）", "2026-11-26 16:47:38"),
    ],
)
def test_the_name_of_a_column_may_tell_the_zone(tmp_path: Path, column: str, written: str):
    assert at_of(tmp_path, written, column=column) == AT


def test_a_short_name_of_several_zones_is_none(tmp_path: Path):
    text = "task_id,amount,date\nt1,5,2026-11-26 08:47 CST\n"
    bill = bill_of(tmp_path, text, zone="Asia/Shanghai")
    assert bill.entries[0].at is None
    assert bill.has_unzoned_times


@pytest.mark.parametrize("written", ["2026-10-25 02:30:00", "2026-03-29 02:30:00"])
def test_an_hour_that_is_there_twice_or_not_at_all_is_no_instant(tmp_path: Path, written: str):
    assert at_of(tmp_path, written, zone="Europe/Berlin") is None
    assert at_of(tmp_path, written, zone="+01:00") is not None


@pytest.mark.parametrize(
    ("others", "at"),
    [
        (("25/11/2026 08:00",), datetime(2026, 11, 5, 8, 47, tzinfo=UTC)),
        (("11/25/2026 08:00",), datetime(2026, 5, 11, 8, 47, tzinfo=UTC)),
        (("05/12/2026 08:00",), None),
        (("25/11/2026 08:00", "11/25/2026 08:00"), None),
    ],
)
def test_the_whole_column_tells_whether_the_day_is_first(
    tmp_path: Path, others: tuple[str, ...], at: datetime | None
):
    assert at_of(tmp_path, "05/11/2026 08:47", *others, zone="UTC") == at


def test_an_order_that_nothing_tells_may_be_said_and_is_told(tmp_path: Path):
    written = "05/11/2026 08:47"
    assert at_of(tmp_path, written, zone="UTC", dates="dmy") == MINUTE.replace(day=5)
    assert at_of(tmp_path, written, zone="UTC", dates="mdy") == MINUTE.replace(month=5, day=11)
    bill = bill_of(tmp_path, f"task_id,amount,date\nt,5,{written}\n", zone="UTC")
    assert any("could be swapped" in note for note in bill.notes)


@pytest.mark.parametrize("written", ["05/05/2026 08:47", "05.05.2026 08:47"])
def test_an_order_that_does_not_matter_is_not_needed(tmp_path: Path, written: str):
    assert at_of(tmp_path, written, zone="UTC") == MINUTE.replace(month=5, day=5)


def test_a_year_of_two_digits_may_be_first_or_last(tmp_path: Path):
    assert at_of(tmp_path, "26/11/27 08:47", zone="UTC") is None
    assert at_of(tmp_path, "26/11/27 08:47", zone="UTC", dates="ymd") == MINUTE.replace(day=27)
    assert at_of(tmp_path, "26/11/27 08:47", zone="UTC", dates="dmy") == MINUTE.replace(year=2027)


def test_the_day_is_first_before_dots_unless_it_cannot_be(tmp_path: Path):
    assert at_of(tmp_path, "05.11.2026 08:47", zone="UTC") == MINUTE.replace(day=5)
    assert at_of(tmp_path, "05.11.2026 08:47", "11.26.2026 08:47", zone="UTC") == MINUTE.replace(
        month=5, day=11
    )


@pytest.mark.parametrize("written", ["2026-11-20", "20.11.2026", "11/20/2026", "46346", "20261120"])
def test_a_day_is_no_instant_to_find_a_job_by(tmp_path: Path, written: str):
    bill = bill_of(tmp_path, f"task_id,amount,date\nt1,1,{written}\n")
    assert bill.entries[0].at is None
    assert not bill.has_unzoned_times
    assert bill.notes == ()


@pytest.mark.parametrize(
    "written", ["yesterday", "2026-13-01 08:00", "9" * 40, "2026-11-26 25:00", "5", "1.79568E+12"]
)
def test_an_instant_that_cannot_be_read_is_left_out_and_told(tmp_path: Path, written: str):
    bill = bill_of(tmp_path, f"task_id,amount,date\nt1,1,{written}\n", zone="UTC")
    assert bill.entries[0].at is None
    assert bill.notes == ("unreadable times were skipped in column date (line 2)",)


@pytest.mark.parametrize("clock", ["08:47:38", "8:47:38 AM"])
def test_a_day_and_its_time_may_stand_in_two_columns(tmp_path: Path, clock: str):
    text = f"task_id,amount,date,time\nt1,5,2026-11-26,{clock}\n"
    assert bill_of(tmp_path, text, zone="UTC").entries[0].at == AT
    assert bill_of(tmp_path, text).has_unzoned_times


# --- words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "state"),
    [
        *[(word, "completed") for word in ("Completed", "SUCCESS", "succeed", "done", "billed")],
        *[(word, "completed") for word in ("成功", "已完成", "TASK_STATUS_SUCCEED", "✓ Success.")],
        *[(word, "failed") for word in ("failure", "FAILURE", "Cancelled", "timed out", "失败")],
        ("", None),
        ("-", None),
    ],
)
def test_a_state_is_read_by_common_words(tmp_path: Path, word: str, state: str | None):
    text = f"task_id,amount,status\nt1,1,{word}\n"
    assert lines(tmp_path, text) == [("charge", "t1", "1", state)]


@pytest.mark.parametrize(
    "word", ["QUEUED", "IN_PROGRESS", "in progress", "NOT_START", "running", "处理中", "排队中"]
)
def test_what_still_runs_is_held_and_not_charged(tmp_path: Path, word: str):
    text = f"task_id,amount,status\nt1,135,{word}\n"
    assert lines(tmp_path, text) == [("reservation", "t1", "135", "running")]


def test_a_state_that_nobody_knows_is_a_question_with_its_line(tmp_path: Path):
    text = "task_id,amount,status\nt0,1,success\nt1,1,frozen-ish\n"
    asked = question(tmp_path, text)
    assert (asked.settles, asked.example) == ("words", "frozen-ish=failed")
    assert "line 3" in asked.message
    assert lines(tmp_path, text, words={"Frozen-ish": "failed"})[1][3] == "failed"


def test_a_row_with_a_word_to_ignore_is_left_out_and_told(tmp_path: Path):
    text = "task_id,amount,status\nt0,1,success\nt1,1,archived\n"
    bill = bill_of(tmp_path, text, words={"archived": "ignore"})
    assert [entry.task_id for entry in bill.entries] == ["t0"]
    assert bill.notes == ("rows ignored because of a word: 1",)


def test_a_person_may_say_another_meaning_of_a_word_that_is_known(tmp_path: Path):
    text = "task_id,amount,status\nt0,1,done\n"
    assert lines(tmp_path, text, words={"done": "running"})[0][0] == "reservation"


def test_a_column_that_ends_in_status_is_the_state_if_its_words_are(tmp_path: Path):
    text = "task_id,amount,video_status,http_status\nt1,1,failed,200\n"
    assert lines(tmp_path, text)[0][3] == "failed"


def test_a_result_that_is_no_state_is_none(tmp_path: Path):
    text = "task_id,amount,result\nt1,1,https://cdn.example/a.mp4\n"
    assert lines(tmp_path, text)[0][3] is None
    assert lines(tmp_path, "task_id,amount,result\nt1,1,failed\n")[0][3] == "failed"


def test_two_states_that_differ_are_a_question(tmp_path: Path):
    text = "task_id,amount,status,state\nt1,1,failed,completed\n"
    assert question(tmp_path, text).settles == "columns"
    assert lines(tmp_path, text, columns={"state": "state"})[0][3] == "completed"
