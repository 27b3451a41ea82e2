"""What a terminal of 80 or 40 columns shows: no id, name or figure is cut."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from kling_ledger import Job, Ledger, Scope
from tests.cli import COMMAND, Cli
from tests.ledgers import money
from tests.sweeps import sampled

CLIP = Job(provider="runapi", model="kling-3.0-turbo", action="text_to_video", usd=money("1 USD"))


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A ledger whose names are as long as people make them."""
    cli = Cli(tmp_path_factory.mktemp("widths"))
    with Ledger(str(cli.database), actor="ada") as ledger:
        for name, unit in (("team-production", "USD"), ("credits-of-evolink", "evolink-credit")):
            ledger.wallets.create(name, unit)
            ledger.wallets.fund(name, money(f"1250.75 {unit}"))
        ledger.reserve("team-production", money("0.675 USD"), job=CLIP, project="film/teaser/cut")
        ledger.reserve("team-production", money("0.675 USD"), job=CLIP)
        scope = Scope(project="film/", provider="runapi")
        ledger.budgets.set("film-teaser-month", money("50 USD"), scope=scope, window="month")
        until = datetime.now(UTC) + timedelta(days=3)
        ledger.budgets.raise_limit("film-teaser-month", money("5 USD"), until=until, reason="end")
    token = ("token", "create", "bot-of-the-studio", "--wallet", "team-production")
    cli(*token, "--project", "film/", "--max-cost", "2 USD", "--expires", "30d")
    return cli


def shown(cli: Cli, columns: int, *words: str) -> str:
    """What a command writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    own = {"KLING_LEDGER_DB": str(cli.database), "COLUMNS": str(columns)}
    environ = {**os.environ, **own, "KLING_LEDGER_CONFIG": os.devnull}
    process = subprocess.Popen(
        [COMMAND, *words], stdout=theirs, stderr=subprocess.PIPE, env=environ
    )
    os.close(theirs)
    written = b""
    # A terminal whose other side was closed is an error to read.
    with suppress(OSError):
        while some := os.read(ours, 65_536):
            written += some
    os.close(ours)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return re.sub(r"\x1b\[[0-9;]*m", "", written.decode()).replace("\r\n", "\n")


LISTS = {
    ("reservation", "list"): ("wallet", "model"),
    ("budget", "list"): ("name",),
    ("budget", "history", "film-teaser-month"): ("by", "to"),
    ("wallet", "list"): ("name", "unit"),
    ("token", "list"): ("name", "wallet"),
    ("prices", "list", "--provider", "crun"): ("model", "action", "unit"),
    ("config",): ("setting",),
}


@pytest.mark.parametrize("columns", [100, 80, 40])
@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_no_word_is_cut_and_no_line_is_too_long(cli: Cli, words: tuple[str, ...], columns: int):
    told = shown(cli, columns, *words)
    lines = told.splitlines()
    is_records = not any("───" in line for line in lines)
    assert is_records or max(map(len, lines)) <= columns
    for row in cli.json(*words):
        for name in LISTS[words]:
            assert row[name] is None or str(row[name]) in told


@pytest.mark.parametrize(
    "words", [("reservation", "list"), ("wallet", "show", "credits-of-evolink")], ids=" ".join
)
def test_a_terminal_too_narrow_for_a_table_has_a_line_a_field(cli: Cli, words: tuple[str, ...]):
    rows = cli.json(*words)
    lines = [" ".join(line.split()) for line in shown(cli, 40, *words).splitlines()]
    for row in rows if isinstance(rows, list) else [rows]:
        assert f"id {row['id']}" in lines
        assert f"created at {row['created_at']}" in lines


def test_amounts_in_several_units_keep_them(cli: Cli):
    with Ledger(str(cli.database)) as ledger:
        made = ledger.reserve("credits-of-evolink", money("3 evolink-credit"), project="film")
    try:
        assert "evolink-credit" in shown(cli, 80, "reservation", "list")
    finally:
        with Ledger(str(cli.database)) as ledger:
            ledger.roll_back(made.id, "a test")


def test_a_job_of_no_project_says_so_to_people_and_is_empty_for_programs(cli: Cli):
    assert "(no project)" in shown(cli, 40, "reservation", "list")
    assert "(no project)" in cli("reservation", "list").out
    assert "(no project)" not in cli("reservation", "list", "--format", "csv").out
    assert {row["project"] for row in cli.json("reservation", "list")} >= {None}


def test_a_report_says_which_jobs_have_no_project_and_a_total_has_none(cli: Cli):
    told = cli("report", "spend", "--by", "provider", "--by", "project").out
    (row,) = [line for line in told.splitlines() if "(no project)" in line]
    assert "runapi" in row
    assert "(no project)" not in cli("report", "spend", "--by", "project", "--format", "csv").out


@pytest.mark.parametrize(
    ("word", "said"), [("project:1", "(no project)"), ("label:shot", "(no shot)")]
)
def test_what_jobs_are_added_up_by_has_no_blank(cli: Cli, word: str, said: str):
    assert said in cli("report", "spend", "--by", word).out


def test_a_group_that_is_nearly_one_is_asked_about(cli: Cli):
    assert "did you mean project?" in cli("report", "spend", "--by", "projekt").err


def test_what_is_paid_into_a_wallet_is_of_no_job_and_lacks_no_project(cli: Cli):
    told = cli("report", "statement").out
    assert all("(no project)" not in line for line in told.splitlines() if "  fund  " in line)


def test_ids_of_a_report_are_whole(cli: Cli):
    (row, *_) = cli.json("reservation", "list", "--state", "reserved")
    for columns in (80, 40):
        assert row["id"] in shown(cli, columns, "report", "open")


@pytest.mark.parametrize("columns", sampled([40, 80], every=2))
@pytest.mark.parametrize("name", ["overview", "budgets", "limits", "statement"])
def test_a_report_without_totals_stands_on_a_narrow_terminal(cli: Cli, name: str, columns: int):
    assert "Time zone: UTC" in shown(cli, columns, "report", name)
