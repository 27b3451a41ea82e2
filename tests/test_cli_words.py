"""Words: what can mean one thing is taken, what cannot is asked about, in every command alike."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from kling_ledger import Job, Ledger, Money
from kling_ledger.cli import cli as program
from tests.cli import Cli
from tests.test_cli_errors import error_of

CLIP = ("--seconds", "5", "--resolution", "1080p", "--sound")
OF_OTHERS = {"mcp", "gateway", "exec", "callbacks", "sandbox", "hook", "demo", "completion"}
"""Commands whose standard output is an address, another program's, or a file to paste."""
BELOW_ZERO = {"wallet fund", "wallet adjust"}
"""Commands that take an amount below zero, which begins as an option does."""
WITHOUT_FORMAT = {
    *("prices pull", "prices schema", "config path", "config set", "config unset"),
    *("report beancount", "report hledger", "report focus", "report close-pack"),
    *("report erp-journal",),
}
"""Commands that write one form of their own."""
WITHOUT_LEDGER = {
    *("quote", "compare", "afford", "plan", "changes", "explain"),
    *("prices list", "prices show", "prices check", "prices pull", "prices schema"),
    *("prices verify-quote", "config path", "config set", "config unset", "hook", "sandbox"),
    *("demo", "completion"),
}


def commands(
    command: click.Command = program, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from commands(found, (*path, name))


ALL = dict(commands())


def options(command: click.Command) -> set[str]:
    return {written for one in command.params for written in one.opts}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    made = Cli(tmp_path)
    made.fund("10 USD")
    return made


# What every command has


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_command_has_short_help(tmp_path: Path, name: str):
    said = Cli(tmp_path)(*name.split(), "-h")
    if name.split(maxsplit=1)[0] not in {"batch", "callbacks", "sandbox"}:
        assert said.code == 0
    assert said.out.startswith("Usage: kling-ledger")


def test_every_command_that_prints_a_result_takes_format():
    lacking = {name for name, one in ALL.items() if "--format" not in options(one)}
    assert lacking - WITHOUT_FORMAT == OF_OTHERS


def test_every_command_that_reaches_a_ledger_takes_db():
    assert {name for name, one in ALL.items() if "--db" not in options(one)} == WITHOUT_LEDGER


@pytest.mark.parametrize("name", sorted(set(ALL) - OF_OTHERS - BELOW_ZERO))
def test_an_option_that_is_not_there_is_told_alike_everywhere(tmp_path: Path, name: str):
    error = error_of(Cli(tmp_path)(*name.split(), "--nosuch", "--format", "json"))
    assert (error["code"], error["exit_code"]) == ("usage", 2)
    assert error["message"] == "no such option: --nosuch"


@pytest.mark.parametrize("name", sorted(set(ALL) - OF_OTHERS - BELOW_ZERO))
def test_capitals_of_options_and_choices_are_forgiven(tmp_path: Path, name: str):
    for parameter in ALL[name].params:
        if isinstance(parameter.type, click.Choice) and isinstance(parameter, click.Option):
            written = str(parameter.type.choices[-1]).upper().replace("_", "-")
            option = parameter.opts[0].upper()
            said = Cli(tmp_path)(*name.split(), option, written, "--nosuch")
            assert said.lines[0] == "error: no such option: --nosuch"


# The same mistake, the same answer


PRICED: tuple[tuple[str, ...], ...] = (
    ("quote", "--model", "kling-3.0", *CLIP),
    ("afford", "20 USD", "--model", "kling-3.0"),
    ("prices", "list"),
    ("check", "--model", "kling-3.0", "--wallet", "team", *CLIP),
    ("run", "--model", "kling-3.0", "--wallet", "team", "--prompt", "x", *CLIP),
    ("budget", "set", "film", "--limit", "1 USD"),
    ("account", "adopt", "x"),
    ("resume",),
    ("reconcile",),
)


@pytest.mark.parametrize("words", PRICED, ids=lambda words: words[0])
def test_a_provider_that_nobody_knows_is_bad_input_and_the_near_one_is_named(
    cli: Cli, words: tuple[str, ...]
):
    said = cli(*words, "--provider", "runappi")
    assert said.code == 2
    assert "did you mean runapi?" in said.err


@pytest.mark.parametrize(
    "words",
    [
        ("quote", "--provider", "runapi", *CLIP),
        ("check", "--provider", "runapi", "--wallet", "team", *CLIP),
        ("compare", *CLIP),
        ("afford", "20 USD", *CLIP),
        ("reservation", "create", "--wallet", "team", "--provider", "runapi", "--request", "-"),
    ],
    ids=lambda words: words[0],
)
def test_a_model_without_a_price_is_7_in_every_command_that_prices(
    cli: Cli, words: tuple[str, ...]
):
    if "--request" in words:
        said = cli(*words, stdin='{"model": "kling-3.00", "prompt": "x"}')
        assert said.code in {2, 7}
        return
    said = cli(*words, "--model", "kling-3.00")
    assert said.code == 7
    assert "did you mean kling-3.0?" in said.err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("afford", "20 usdd", "--model", "kling-3.0"), "did you mean USD?"),
        (("wallet", "create", "more", "--unit", "usdd"), "did you mean USD?"),
        (("budget", "set", "film", "--limit", "1 usdd"), "did you mean USD?"),
        (("wallet", "fund", "team", "1 usdd"), 'got "usdd", allowed: USD'),
    ],
)
def test_a_unit_that_nobody_knows_is_bad_input(cli: Cli, words: tuple[str, ...], meant: str):
    said = cli(*words)
    assert said.code == 2
    assert meant in said.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("wallte", "list"), "did you mean wallet?"),
        (("report", "spned"), "did you mean spend?"),
        (("quote", "--secnds", "5"), "did you mean --seconds"),
        (("quote", "--resolution", "4kk"), "did you mean 4k?"),
        (("reservation", "list", "--state", "doubt"), "did you mean in_doubt?"),
        (("--db", "x", "wallet", "list"), "--db goes after the command"),
        (("wallet", "fund", "team", "10", "USD"), '"10 USD" or 10USD'),
        (("wallet", "create", "team", "USD"), 'did you mean --unit "USD"?'),
        (("budget", "set", "film", "50 USD"), 'did you mean --limit "50 USD"?'),
        (("reservation", "commit", "res_1", "$5"), 'did you mean --amount "$5"?'),
        (("wallet", "create", "team", "crew"), "kling-ledger wallet create --help"),
        (("run",), "one of runapi, crun, evolink, uniall"),
        (("wallet", "fund"), "kling-ledger wallet fund [OPTIONS] NAME AMOUNT"),
    ],
)
def test_a_line_that_cannot_be_read_names_the_next_step(
    cli: Cli, words: tuple[str, ...], hint: str
):
    said = cli(*words)
    assert (said.code, said.out) == (2, "")
    assert said.lines[0].startswith("error: ")
    assert said.lines[1].startswith("hint: ")
    assert hint in said.lines[1]
    assert len(said.lines) == 2


@pytest.mark.parametrize(
    "written",
    [
        ("--provider", "RunAPI"),
        ("--model", "Kling-3.0"),
        ("--seconds", "5s"),
        ("--seconds", "5 seconds"),
        ("--resolution", "1080P"),
        ("--resolution", "1080"),
        ("--action", "Text-To-Video"),
        ("--PROVIDER", "runapi"),
    ],
)
def test_what_can_mean_one_thing_is_taken(cli: Cli, written: tuple[str, str]):
    asked = ("quote", "--provider", "runapi", "--model", "kling-3.0", *CLIP)
    told: dict[str, Any] = cli.json(*asked, *written)
    assert (told["provider"], told["model"], told["amount"]) == ("runapi", "kling-3.0", "0.675")


def test_format_of_another_program_is_not_ours(cli: Cli):
    said = cli("exec", "--wallet", "nobody", "--", "true", "--format", "json")
    assert (said.code, said.out) == (2, "")


def test_it_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "kling_ledger", "nosuch", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["message"] == "no such command: nosuch"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("wallet", "show", "taem"), "team"),
        (("wallet", "fund", "Team", "1"), "team"),
        (("budget", "show", "film-week"), "film-weekly"),
        (("budget", "history", "film-week"), "film-weekly"),
        (("token", "show", "bott"), "bot"),
        (("reservation", "list", "--wallet", "teams"), "team"),
    ],
)
def test_a_name_that_is_nearly_one_is_asked_about(cli: Cli, words: tuple[str, ...], meant: str):
    cli("budget", "set", "film-weekly", "--limit", "5 USD")
    cli("token", "create", "bot", "--wallet", "team")
    said = cli(*words)
    assert said.code == 2
    assert said.lines[-1] == f"hint: did you mean {meant}?"


def test_a_name_like_no_other_names_the_next_step(cli: Cli):
    assert "wallet create xyzzy" in cli("wallet", "show", "xyzzy").err


def test_an_amount_below_zero_is_no_option(cli: Cli):
    told = cli.json("wallet", "adjust", "team", "-3 USD", "--reason", "chargeback")
    assert told["available"] == "7"
    assert cli("wallet", "create", "halo", "--unit", "halo-credit", "--unknown").code == 0
    told = cli.json("wallet", "adjust", "halo", "-3 halo-credit", "--reason", "chargeback")
    assert told["available"] == "-3"


def test_capitals_of_a_provider_are_forgiven_where_jobs_are_chosen(cli: Cli):
    with Ledger(str(cli.database)) as ledger:
        job = Job(provider="runapi", model="kling-3.0")
        made = ledger.reserve("team", Money.parse("1 USD"), job=job)
        ledger.commit(made.id, Money.parse("1 USD"))
    assert len(cli.json("reservation", "list", "--provider", "RunAPI")) == 1
    for where in ("provider=RunAPI", "model=Kling-3.0", "provider=runapi"):
        said = cli("report", "spend", "--where", where, "--format", "json")
        assert [row["clips"] for row in said.json["tables"]["spend"]["rows"]] == [1], where
        assert "no job has" not in said.err


def test_every_exit_code_is_in_the_help(cli: Cli):
    told = " ".join(cli("--help").out.split())
    for code in (*range(11), 130, 141):
        assert f" {code} " in told.partition("Exit codes:")[2]


def test_who_required_two_people_is_told_in_words(cli: Cli):
    told = cli("close", "--two-people", "on", "--reason", "the audit").out
    assert "{" not in told
    assert ": on (the audit)" in " ".join(told.split())


def test_a_library_that_is_not_installed_is_named(tmp_path: Path):
    code = "import sys; sys.modules['pandas'] = None; from kling_ledger.cli import main; main()"
    words = ["report", "spend", "--db", str(tmp_path / "ledger.sqlite")]
    Ledger(words[-1]).close()
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: the library pandas is not installed",
        "hint: pip install kling-ledger installs it",
    ]
