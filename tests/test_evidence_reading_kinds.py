"""Kinds of rows: charges, refunds, holds, parts, totals and top-ups, each with its sign."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.bills import UNIT, bill_of, lines, question, refusal, sums


def of_kinds(*rows: str) -> str:
    return "\n".join(["task_id,type,credits", *rows, ""])


def of_states(*rows: str) -> str:
    return "\n".join(["task_id,credits,status", *rows, ""])


# --- refunds --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        (("t,135,completed", "t,-135,refunded"), "0"),
        (("t,135,completed", "t,135,refunded"), "0"),
        (("t,135,completed", "t,35,refunded"), "100"),
        (("t,135,completed", "t,-35,"), "100"),
        (("t,135,", "t,-35,completed"), "100"),
        (("t,135,completed", "t,(35),已退款"), "100"),
        (("t,135,refunded", "t,135,completed"), "0"),
        (("t,135,failed", "t,135,refund"), "0"),
        (("t,135,refunded",), "0"),
        (("t,135,completed", "t,20,completed", "t,155,refunded"), "0"),
        (("t,135,completed", "t,-135,refunded", "t,100,completed"), "100"),
    ],
)
def test_a_refund_takes_away_what_it_gives_back(tmp_path: Path, rows: tuple[str, ...], left: str):
    assert sums(bill_of(tmp_path, of_states("other,1,completed", *rows)))["t"] == Decimal(left)


def test_a_charge_that_was_given_back_came_to_nothing(tmp_path: Path):
    read = lines(tmp_path, of_states("t,135,refunded"))
    assert read == [("charge", "t", "0", "failed")]


def test_a_refund_of_an_earlier_bills_charge_is_a_refund(tmp_path: Path):
    text = of_states("t,-35,refunded", "u,135,completed")
    assert lines(tmp_path, text)[0] == ("refund", "t", "-35", None)
    assert lines(tmp_path, of_kinds("t,refund,35"))[0] == ("refund", "t", "-35", None)


def test_a_refund_without_an_amount_names_a_state_only(tmp_path: Path):
    text = of_states("t,135,completed", "t,,refunded")
    assert lines(tmp_path, text)[1] == ("refund", "t", None, "failed")


# --- a column of kinds ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "charge", ["charge", "DEBIT", "consume", "Usage", "deduct", "消费", "扣费"]
)
@pytest.mark.parametrize("refund", ["refund", "Reversal", "credit", "退款"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_words_tell_charges_from_refunds_whatever_the_sign(
    tmp_path: Path, charge: str, refund: str, sign: str
):
    bill = bill_of(tmp_path, of_kinds(f"t,{charge},135", f"t,{refund},{sign}35"))
    assert sums(bill) == {"t": Decimal(100)}
    assert bill.columns["kind"] == "type"


def test_what_is_adjusted_keeps_its_sign(tmp_path: Path):
    rows = of_kinds("t,charge,135", "t,adjustment,-13.5", "t,差额,3.5")
    assert sums(bill_of(tmp_path, rows)) == {"t": Decimal(125)}
    assert [line[0] for line in lines(tmp_path, rows)] == ["charge", "adjustment", "adjustment"]


@pytest.mark.parametrize("hold", ["reserve", "hold", "freeze", "预扣"])
@pytest.mark.parametrize("release", ["release", "unfreeze", "解冻"])
def test_what_is_held_is_let_go_again_and_costs_nothing(tmp_path: Path, hold: str, release: str):
    text = of_kinds(f"t,{hold},200", "t,charge,135", f"t,{release},200")
    assert [line[::2] for line in lines(tmp_path, text)] == [
        ("reservation", "200"),
        ("charge", "135"),
        ("reservation", "-200"),
    ]
    assert sums(bill_of(tmp_path, text)) == {"t": Decimal(135)}


def test_a_type_that_says_what_was_made_is_no_kind(tmp_path: Path):
    bill = bill_of(tmp_path, of_kinds("t,video,135", "u,image,5"))
    assert "kind" not in bill.columns
    assert sums(bill) == {"t": Decimal(135), "u": Decimal(5)}


def test_a_kind_that_nobody_knows_is_a_question(tmp_path: Path):
    text = of_kinds("t,charge,135", "t,clawback,35")
    asked = question(tmp_path, text)
    assert (asked.settles, asked.example) == ("words", "clawback=charge")
    assert sums(bill_of(tmp_path, text, words={"clawback": "refund"})) == {"t": Decimal(100)}


@pytest.mark.parametrize("word", ["credit", "balance", "purchase"])
def test_a_word_that_may_be_a_way_to_pay_is_a_question_where_it_stands_alone(
    tmp_path: Path, word: str
):
    assert question(tmp_path, of_kinds(f"t,{word},135")).settles == "words"
    assert sums(bill_of(tmp_path, of_kinds(f"t,{word},135"), words={word: "charge"})) == {
        "t": Decimal(135)
    }


def test_a_column_of_another_name_tells_kinds_if_it_has_nothing_else(tmp_path: Path):
    text = "task_id,credits,Vorgang\nt,135,debit\nt,35,credit\n"
    assert sums(bill_of(tmp_path, text)) == {"t": Decimal(100)}
    text = "task_id,credits,note\nt,135,\nt,35,refund\n"
    assert sums(bill_of(tmp_path, text)) == {"t": Decimal(100)}


def test_a_way_to_pay_is_no_kind(tmp_path: Path):
    text = "task_id,credits,paid_by\nt,135,credit\nu,35,balance\n"
    assert sums(bill_of(tmp_path, text)) == {"t": Decimal(135), "u": Decimal(35)}


def test_a_payment_beside_a_task_that_is_ours_is_a_question(tmp_path: Path):
    text = of_kinds("t,purchase,135", "u,charge,5")
    assert question(tmp_path, text, known=["t"]).example == "purchase=charge"


# --- signs ----------------------------------------------------------------------------------


def test_charges_that_are_called_so_may_be_below_zero(tmp_path: Path):
    text = of_kinds("t,charge,-135", "u,charge,-20", "t,refund,35", ",topup,1000")
    bill = bill_of(tmp_path, text)
    assert sums(bill) == {"t": Decimal(100), "u": Decimal(20)}
    assert "amounts below zero are charges" in bill.notes


@pytest.mark.parametrize(
    "rows",
    [
        ("t,-135,completed",),
        ("t,-135,", "u,-20,"),
        ("t,-135,completed", "u,-20,completed", "u,20,completed"),
    ],
)
def test_nothing_but_amounts_below_zero_is_a_question(tmp_path: Path, rows: tuple[str, ...]):
    text = of_states(*rows)
    asked = question(tmp_path, text)
    assert (asked.settles, asked.example) == ("words", "negative=charge")
    assert sums(bill_of(tmp_path, text, words={"negative": "charge"}))["t"] == Decimal(135)
    assert sums(bill_of(tmp_path, text, words={"negative": "refund"}))["t"] == Decimal(-135)


def test_a_top_up_above_zero_says_nothing_of_the_sign_of_charges(tmp_path: Path):
    assert question(tmp_path, of_states("t,-135,completed", ",1000,")).settles == "words"


# --- parts ----------------------------------------------------------------------------------


def test_parts_of_one_task_that_a_column_tells_apart_add_up(tmp_path: Path):
    text = "task_id,item,credits\nt,video,100\nt,audio,35\nu,video,100\n"
    bill = bill_of(tmp_path, text)
    assert bill.is_itemised
    assert [str(entry.kind) for entry in bill.entries] == ["item", "item", "charge"]
    assert sums(bill) == {"t": Decimal(135), "u": Decimal(100)}


def test_the_same_part_twice_is_told_apart_by_nothing(tmp_path: Path):
    text = "task_id,description,credits\nt,Video,100\nt,Video,35\n"
    bill = bill_of(tmp_path, text)
    assert not bill.is_itemised
    assert [str(entry.kind) for entry in bill.entries] == ["charge", "charge"]


def test_a_person_may_say_that_the_rows_of_a_task_are_its_parts(tmp_path: Path):
    text = "task_id,credits\nt,100\nt,35\nu,5\n"
    bill = bill_of(tmp_path, text, itemised=True)
    assert bill.is_itemised
    assert [str(entry.kind) for entry in bill.entries] == ["item", "item", "charge"]


# --- totals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    [
        "Total",
        "TOTAL:",
        "sum",
        "Subtotal",
        "Grand total",
        "Total (2)",
        "Total for May",
        "合计",
        "总计：2笔",
    ],
)
def test_a_total_is_no_charge(tmp_path: Path, word: str):
    bill = bill_of(tmp_path, of_states("t,4,completed", "u,1,completed", f"{word},5,"))
    assert [(str(one.kind), one.task_id) for one in bill.entries][-1] == ("total", None)
    assert bill.notes == ("rows with totals were skipped: line 4",)
    assert not bill.total_differs


@pytest.mark.parametrize("last", ["Total,5,", "Total,5", ",5,", ",5,Total"])
def test_a_total_may_be_written_in_many_ways(tmp_path: Path, last: str):
    bill = bill_of(tmp_path, of_states("t,4,completed", "u,1,completed", last))
    assert str(bill.entries[-1].kind) == "total"
    assert not bill.total_differs


def test_a_total_that_is_not_the_sum_of_its_rows_is_told(tmp_path: Path):
    bill = bill_of(tmp_path, of_states("t,4,completed", "Total,5,"))
    assert bill.total_differs
    assert bill.notes[-1] == (
        f"line 3: the total says 5 {UNIT}, the rows add up to 4 {UNIT}: the export may be cut off"
    )


@pytest.mark.parametrize(
    "rows",
    [
        ("t,4,completed", "Subtotal,4,", "u,1,completed", "Subtotal,1,", "Total,5,"),
        ("t,4,completed", "t,-1,refunded", "Total,3,"),
        ("t,4,completed", "u,9,running", "Total,4,"),
        ("t,4,completed", "u,9,running", "Total,13,"),
        ("t,4,completed", "u,9,refunded", "Total,13,"),
        ("t,4,completed", ",100,top-up", "Total,4,"),
        ("t,4,completed", "Total,,"),
    ],
)
def test_a_total_may_count_what_is_held_or_what_is_charged(tmp_path: Path, rows: tuple[str, ...]):
    assert not bill_of(tmp_path, of_states(*rows)).total_differs


def test_a_total_that_counts_equal_rows_twice_shows(tmp_path: Path):
    bill = bill_of(tmp_path, of_states("t,4,completed", "t,4,completed", "Total,8,"))
    assert bill.total_differs


def test_a_balance_is_no_sum(tmp_path: Path):
    text = of_kinds(",opening balance,1000", "t,charge,4", ",closing balance,996")
    bill = bill_of(tmp_path, text)
    assert [str(one.kind) for one in bill.entries] == ["total", "charge", "total"]
    assert not bill.total_differs


# --- rows without a task --------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        of_kinds("t,charge,5", ",topup,1000"),
        of_kinds("t,charge,5", "ord-1,Recharge,1000"),
        of_kinds("t,charge,5", "Top-up,,1000"),
        of_states("t,5,completed", ",1000,充值"),
        "task_id,credits,note\nt,5,\n,1000,Account top-up by card\n",
        "task_id,credits,unit,type\nt,5,credits,charge\n,10,USD,payment\n",
    ],
)
def test_money_that_went_in_is_no_charge_and_no_reason_to_refuse(tmp_path: Path, text: str):
    bill = bill_of(tmp_path, text)
    assert [(str(one.kind), one.task_id) for one in bill.entries] == [
        ("charge", "t"),
        ("payment", None),
    ]
    assert any("payments into the account" in note for note in bill.notes)


def test_other_rows_without_a_task_are_kept_and_told(tmp_path: Path):
    bill = bill_of(tmp_path, of_states("t,5,completed", ",3,completed", "u,5,completed"))
    assert [(str(one.kind), one.task_id) for one in bill.entries][1] == ("adjustment", None)
    assert "rows have no task: line 3" in bill.notes


@pytest.mark.parametrize(
    "text", [of_states("t,5,completed", ",5,completed"), of_kinds("t,charge,5", ",charge,5")]
)
def test_a_last_row_that_says_more_than_an_amount_is_no_total(tmp_path: Path, text: str):
    assert lines(tmp_path, text)[-1][0] == "adjustment"


def test_a_refund_without_a_task_is_below_zero(tmp_path: Path):
    read = lines(tmp_path, of_kinds("t,charge,5", ",refund,3", "u,charge,1"))
    assert read[1] == ("adjustment", None, "-3", None)


def test_a_row_that_says_nothing_of_its_task_is_refused(tmp_path: Path):
    assert "line 3: it has neither" in refusal(tmp_path, of_states("t,5,done", "u,,"))
