"""Output that is closed, or whose reader has left: no command answers with a traceback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli import COMMAND, Cli

COMMANDS = (
    ("wallet", "list"),
    ("wallet", "list", "--format", "csv"),
    ("wallet", "show", "team", "--format", "json"),
    ("budget", "list", "--format", "json"),
    ("reservation", "list", "--format", "csv"),
    ("report", "spend"),
    ("report", "beancount"),
    ("verify",),
    ("db", "status"),
    ("prices", "list"),
    ("--help",),
)
CLOSED = ("<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("closed")
    Cli(made).fund("20 USD")
    return made


def run(folder: Path, words: tuple[str, ...], streams: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "KLING_LEDGER_DB": str(folder / "ledger.sqlite")}
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$0" "$@" {streams}', COMMAND, *words],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_closed_output_is_nowhere_and_no_error(folder: Path, words: tuple[str, ...]) -> None:
    done = run(folder, words, ">&-")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("streams", CLOSED)
def test_what_is_printed_never_reaches_the_ledger(folder: Path, streams: str) -> None:
    before = run(folder, ("wallet", "show", "team", "--format", "json"), "").stdout
    for words in (("wallet", "show", "nobody"), ("verify",)):
        run(folder, words, streams)
    assert run(folder, ("wallet", "show", "team", "--format", "json"), "").stdout == before
    assert run(folder, ("verify",), "").returncode == 0


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_reader_that_has_left_is_141_and_nothing_is_said(
    folder: Path, words: tuple[str, ...]
) -> None:
    done = run(folder, words, "| exec <&-")
    assert (done.returncode, done.stderr) == (141, "")
