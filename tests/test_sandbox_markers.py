"""Markers in a prompt: what is one, and what is only part of the prompt."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from kling_ledger.sandbox.markers import Markers, read_markers


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("a lake", Markers()),
        ("", Markers()),
        (None, Markers()),
        ("a lake [fail]", Markers(fails=True)),
        ("[takes 5] a lake", Markers(takes_s=5.0)),
        ("[takes 0.25]", Markers(takes_s=0.25)),
        ("[never]", Markers(takes_s=math.inf)),
        ("[cost 0.8]", Markers(cost=Decimal("0.8"))),
        ("[cost 0]", Markers(cost=Decimal(0))),
        ("[refuse 400]", Markers(refuse_status=400)),
        ("[refuse 599]", Markers(refuse_status=599)),
        ("[fail] [takes 1]", Markers(fails=True, takes_s=1.0)),
        ("[takes 1][takes 2]", Markers(takes_s=2.0)),
        ("[never] [takes 1]", Markers(takes_s=math.inf)),
    ],
)
def test_a_prompts_markers_are_read(prompt: str | None, asked: Markers) -> None:
    assert read_markers(prompt) == asked


@pytest.mark.parametrize(
    "prompt",
    [
        "[FAIL]",
        "[ fail ]",
        "[failing]",
        "[takes]",
        "[takes -1]",
        "[takes soon]",
        "[cost 0.0000001]",
        "[cost 1e3]",
        "[refuse 200]",
        "[refuse 399]",
        "[refuse 600]",
        "fail",
    ],
)
def test_anything_else_in_brackets_is_part_of_the_prompt(prompt: str) -> None:
    assert read_markers(prompt) == Markers()
