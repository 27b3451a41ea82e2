"""`kling-ledger explain`: every stable code has a meaning, a next step and its codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kling_ledger import errors
from kling_ledger.cli import exit_code_of
from kling_ledger.cli.error_codes import NEXT_STEPS, error_codes, kinds
from tests.cli import Cli


def test_every_code_has_a_next_step_and_no_step_is_of_no_code():
    assert {kind.code for kind in kinds()} | {"usage", "os"} == set(NEXT_STEPS)


def test_every_error_of_the_ledger_is_explained():
    names = {one.name for one in error_codes()}
    assert set(errors.__all__) <= names


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.code)
def test_a_code_is_told_with_its_exit_code_and_status(
    tmp_path: Path, kind: type[errors.KlingError]
):
    told = Cli(tmp_path).json("explain", kind.code.upper())
    assert told["exit_code"] == exit_code_of(kind)
    assert told["http_status"] >= 400
    assert told["meaning"].endswith(".")
    assert told["next_step"].endswith(".")


def test_a_code_that_is_none_is_asked_about(tmp_path: Path):
    said = Cli(tmp_path)("explain", "budgt")
    assert (said.code, said.lines) == (
        2,
        ["error: no such error code: budgt", "hint: did you mean budget?"],
    )


def test_an_error_of_the_ledger_without_a_hint_leads_there(tmp_path: Path):
    cli = Cli(tmp_path)
    cli.fund("1 USD")
    said = cli("wallet", "create", "team", "--unit", "CNY")
    assert said.lines[-1] == "hint: kling-ledger explain conflict"
    assert "What to do: " in cli("explain", "conflict").out
