"""`kling-ledger report`: its options, its forms, and what it says of an empty ledger."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from shlex import split

import click
import pytest
from click.testing import CliRunner

from kling_ledger.cli import exit_code
from kling_ledger.cli.budget import budget
from kling_ledger.cli.hints import hint_for
from kling_ledger.cli.report import report
from kling_ledger.cli.report_erp import erp_journal
from kling_ledger.cli.report_exports import EXPORTS
from kling_ledger.cli.report_forms import FORMS
from kling_ledger.ledger import Ledger
from kling_pricing.errors import KlingError
from tests.cli import Cli, Said
from tests.reports_ledger import Made, ledger_of

OTHERS = {*(export.name for export in EXPORTS), erp_journal.name}
QUESTIONS = sorted(set(report.commands) - OTHERS)
JOBS = [
    Made(),
    Made(minute=720, cost=700_000, project="ads"),
    Made(minute=60 * 24 * 20, wallet="crun", quoted=135_000_000, cost=135_000_000),
    Made(minute=60 * 24 * 20, end="in_doubt"),
    Made(minute=60 * 24 * 20, end="rolled_back", project="=1+1"),
]


def run(database: Path, *words: str) -> Said:
    """Run a report in this process, which is quicker, and tell what a process would."""
    done = CliRunner().invoke(report, [*words, "--db", str(database)])
    if isinstance(done.exception, KlingError):
        error = done.exception
        return Said(
            exit_code(error), done.stdout, f"{done.stderr}{error.message} {hint_for(error)}"
        )
    assert done.exception is None or isinstance(done.exception, (SystemExit, click.ClickException))
    return Said(done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Said]:
    """A ledger with a few jobs in March and April 2026, and a way to ask it."""
    database = tmp_path_factory.mktemp("report") / "ledger.sqlite"
    with ledger_of(str(database), JOBS):
        return lambda *words: run(database, *words)


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_is_answered_in_every_form_of_a_terminal(
    ask: Callable[..., Said], question: str
):
    for form in ("table", "json", "csv"):
        said = ask(question, "--format", form)
        assert said.code == 0
        assert said.out or question == "budgets"


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_question_is_answered_where_nobody_made_a_ledger(tmp_path: Path, question: str):
    cli = Cli(tmp_path)
    said = cli("report", question)
    assert (said.code, said.out) == (2, "")
    assert "there is no ledger at" in said.err
    assert not cli.database.exists()


def test_a_condition_that_no_job_meets_is_told_with_those_that_some_do(ask: Callable[..., Said]):
    said = ask("spend", "--where", "provider=run", "--where", "provider=RunAPI")
    assert said.code == 0
    (note,) = said.err.splitlines()
    assert note.startswith("note: no job has provider=run: there are provider=")
    assert "provider=runapi" in note
    assert ask("spend", "--where", "provider=runapi").err == ""


def test_the_command_itself_says_the_same(tmp_path: Path):
    cli = Cli(tmp_path)
    with ledger_of(str(cli.database), JOBS):
        pass
    said = cli("report", "spend", "--by", "wallet", "--format", "csv")
    assert said == run(cli.database, "spend", "--by", "wallet", "--format", "csv")
    assert said.out


@pytest.mark.parametrize(
    ("words", "spent"),
    [
        (("--from", "2026-04"), ["0", "135"]),
        (("--to", "2026-04", "--by", "wallet"), ["0.7", "0.675"]),
        (("--from", "2026-03-20", "--to", "2026-03-21", "--by", "wallet"), ["0.675"]),
        (("--from", "2026-03-21T01:00+01:00", "--to", "2026-04"), ["0.7"]),
        (("--timezone", "Asia/Kolkata", "--to", "2026-03-21", "--by", "day"), ["0.675"]),
        (("--where", "project=ads"), ["0.7"]),
    ],
)
def test_time_and_conditions_choose_what_is_counted(
    ask: Callable[..., Said], words: tuple[str, ...], spent: list[str]
):
    said = ask("spend", "--by", "project:1", *words, "--format", "csv")
    found = [row["spent"] for row in csv.DictReader(io.StringIO(said.out))]
    assert [amount for amount in found if amount != "0"] == [one for one in spent if one != "0"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("spend", "--by", "nobody"), "label:NAME"),
        (("spend", "--where", "provider"), "provider=crun"),
        (("spend", "--timezone", "Mars/Base"), "Europe/Berlin"),
        (("spend", "--from", "2026-04", "--to", "2026-03"), "first day after the period"),
        (("spend", "--from", "yesterday"), "allowed"),
        (("spend", "--currency", "EUR"), "USD"),
        (("spend", "--format", "xlsx"), "--out"),
        (("spend", "--out", "report.doc"), ".xlsx"),
        (("statement", "--period", "March"), "2026-10"),
        (("statement", "--period", "2026-03", "--from", "2026-03"), "replaces --from and --to"),
        (("statement", "--where", "provider=crun", "--where", "sound=yes"), "omit it"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_next_step(
    ask: Callable[..., Said], words: tuple[str, ...], hint: str
):
    said = ask(*words)
    assert (said.code, said.out) == (2, "")
    assert hint in said.err


def test_a_month_of_the_journal_can_be_asked_for(ask: Callable[..., Said]):
    said = ask("statement", "--period", "2026-03", "--format", "csv")
    found = {row["wallet"]: row["closing"] for row in csv.DictReader(io.StringIO(said.out))}
    assert found == {"crun": "1000000", "shop": "1000000", "team": "999998.625"}


def test_every_form_has_files_that_ask_for_it():
    endings = [ending for _, files in FORMS.values() for ending in files]
    assert len(set(endings)) == len(endings) >= len(FORMS)


def test_a_page_is_called_by_its_ledger(ask: Callable[..., Said], tmp_path: Path):
    ask("overview", "--out", str(tmp_path / "page.html"))
    written = (tmp_path / "page.html").read_text("utf-8")
    assert "<h1>ledger: Overview</h1>" in written
    assert "<title>ledger: Overview – " in written


def test_the_hint_of_no_budget_can_be_typed(tmp_path: Path):
    database = tmp_path / "empty.sqlite"
    Ledger(str(database)).close()
    said = run(database, "budgets").out
    hint = said.partition("no budgets yet: kling-ledger budget ")[2].splitlines()[0]
    done = CliRunner().invoke(budget, [*split(hint), "--db", str(database)])
    assert (done.exit_code, done.exception) == (0, None)
    assert "no budgets yet" not in run(database, "budgets").out


def test_a_terminal_leaves_out_what_one_looks_things_up_in(ask: Callable[..., Said]):
    said = ask("overview").out
    assert "Findings" in said
    assert "Latest jobs" not in said
    assert "kling-ledger report overview --out page.html" in said
    assert "jobs" in json.loads(ask("overview", "--format", "json").out)["tables"]
