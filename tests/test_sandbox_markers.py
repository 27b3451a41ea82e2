"""Markers in a prompt: what is one, and what is only part of the prompt."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from kling_ledger.sandbox import markers as vocabulary
from kling_ledger.sandbox.markers import Fault, Markers, Price, read_markers, written_markers
from kling_pricing import Money


def charged(amount: str) -> Price:
    return Price(Decimal(amount))


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("a lake", {}),
        ("", {}),
        (None, {}),
        ("a lake [fail]", {"fails": True}),
        ("[fail moderation]", {"fails": True, "fail_word": "moderation"}),
        ("[revive]", {"fails": True, "revives": True}),
        ("[revive 2.5]", {"fails": True, "revives": True, "revives_s": 2.5}),
        ("[takes 5] a lake", {"takes_s": 5.0}),
        ("[takes 0.25]", {"takes_s": 0.25}),
        ("[never]", {"takes_s": math.inf}),
        ("[cost 0.8]", {"cost": charged("0.8")}),
        ("[cost 0]", {"cost": charged("0")}),
        ("[cost 120%]", {"cost": Price(share=Decimal("1.2"))}),
        ("[charge twice]", {"charges": 2}),
        ("[refuse 400]", {"refuse": Fault("400")}),
        ("[refuse 599 3]", {"refuse": Fault("599", 3)}),
        ("[refuse moderation]", {"refuse": Fault("moderation")}),
        ("[lose hang]", {"lose": Fault("hang", 1)}),
        ("[poll 500]", {"polls": (Fault("500", 1),)}),
        ("[poll cut 3] x [poll half]", {"polls": (Fault("cut", 3), Fault("half", 1))}),
        ("[file 404 2]", {"files": (Fault("404", 2),)}),
        ("[estimate 500]", {"estimate": Fault("500")}),
        ("[estimate 50%]", {"estimate": Price(share=Decimal("0.5"))}),
        ("[estimate 3.5]", {"estimate": charged("3.5")}),
        ("[malformed]", {"lose": Fault("malformed", 1), "polls": (Fault("malformed", 1),)}),
        ("[state in_review]", {"state": Fault("in_review")}),
        ("[state odd 2]", {"state": Fault("odd", 2)}),
        ("[latency 0.5]", {"latency_s": 0.5}),
        ("[callback twice]", {"callbacks": frozenset({"twice"})}),
        ("[callback twice][callback reordered]", {"callbacks": frozenset({"twice", "reordered"})}),
        ("[fail] [takes 1]", {"fails": True, "takes_s": 1.0}),
        ("[takes 1][takes 2]", {"takes_s": 2.0}),
        ("[never] [takes 1]", {"takes_s": math.inf}),
    ],
)
def test_a_prompts_markers_are_read(prompt: str | None, asked: dict[str, Any]) -> None:
    assert read_markers(prompt) == Markers(**asked)


@pytest.mark.parametrize(
    "prompt",
    [
        "[FAIL]",
        "[ fail ]",
        "[failing]",
        "[fail 5]",
        "[revive soon]",
        "[takes]",
        "[takes -1]",
        "[takes soon]",
        "[never ever]",
        "[cost 0.0000001]",
        "[cost 1e3]",
        "[cost -5%]",
        "[charge thrice]",
        "[refuse 200]",
        "[refuse 399]",
        "[refuse 600]",
        "[refuse 500 0]",
        "[refuse]",
        "[lose moderation]",
        "[lose 500 2]",
        "[poll]",
        "[poll 302]",
        "[poll 500 x]",
        "[file]",
        "[estimate]",
        "[estimate odd]",
        "[malformed twice]",
        "[state]",
        "[state 5]",
        "[state odd 0]",
        "[latency]",
        "[callback]",
        "[callback thrice]",
        "[made up]",
        "fail",
    ],
)
def test_anything_else_in_brackets_is_part_of_the_prompt(prompt: str) -> None:
    assert read_markers(prompt) == Markers()
    assert written_markers(prompt) == ()


def test_written_markers_are_those_that_count_in_their_order() -> None:
    assert written_markers("[odd] a [poll 500] lake [fail] [x]") == ("[poll 500]", "[fail]")


def test_a_fault_strikes_as_often_as_it_says_and_without_a_number_always() -> None:
    assert [Fault("cut", 2).strikes(number) for number in (1, 2, 3)] == [True, True, False]
    assert Fault("cut").strikes(10**6)


@pytest.mark.parametrize(
    ("price", "amount"), [("[cost 33%]", "0.22275"), ("[cost 1.5]", "1.5"), ("a lake", "0.675")]
)
def test_a_price_is_of_what_was_quoted(price: str, amount: str) -> None:
    quoted = Money(Decimal("0.675"), "USD")
    assert read_markers(price).cost_of(quoted) == Money(Decimal(amount), "USD")


def test_a_share_is_rounded_to_the_millionth() -> None:
    quoted = Money(Decimal("0.000001"), "USD")
    assert read_markers("[cost 50%]").cost_of(quoted).micro == 1
    assert read_markers("[cost 49%]").cost_of(quoted).micro == 0


def test_every_word_is_explained_where_the_vocabulary_is() -> None:
    for word in vocabulary._READERS:
        assert f"`[{word}" in str(vocabulary.__doc__)
