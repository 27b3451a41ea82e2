"""MONEY.md names tests that exist, code that exists, and every kind of transfer there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from kling_ledger.ledger.journal import KINDS

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = (ROOT / "MONEY.md").read_text(encoding="utf-8")
ROWS: Final = [line for line in PAGE.splitlines() if line.startswith("|") and "::test_" in line]
"""Every law and every operation: one line of a table."""

SIDES: Final = {"available", "reserved", "funding", "adjustment", "provider"}


def test_every_named_test_exists():
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE)
    assert len(named) == len(ROWS)
    for file, name in named:
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in functions, f"{file}::{name}"


def test_every_law_of_what_credits_cost_names_a_test_that_exists():
    named = re.findall(r"`(test_\w+\.py)`: `(test_\w+)`", PAGE)
    assert len(named) >= 7
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), name


@pytest.mark.parametrize(("kind", "debit", "credit"), KINDS)
def test_every_kind_of_transfer_is_named_with_its_two_accounts(kind, debit, credit):
    moves = re.findall(r"(\w+) → (\w+): `(\w+)`", PAGE)
    assert (debit, credit, kind) in moves
    assert {(d, c) for d, c, k in moves if k == kind} == {(debit, credit)}
    assert {debit, credit} <= SIDES


def test_every_line_names_the_module_whose_change_breaks_it():
    for row in ROWS:
        broken = row.split("|")[-2]
        module = re.match(r" `(\w+\.py)`: ", broken)
        assert module, row
        assert (ROOT / "kling_ledger" / "ledger" / module[1]).is_file(), row
