"""What programs are told of errors: an exit code that tells a wrong secret from a failed prompt,
and one JSON object where JSON was asked for."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.sandbox import Sandbox
from tests.cli import API_KEY, Cli, Said, body
from tests.hostile import MOST_MB, measured
from tests.witness.account import Account, Create, Script
from tests.witness.server import serve
from tests.witness_ledger import GATEWAYS, KEYS


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    made = Cli(tmp_path, {"RUNAPI_API_KEY": API_KEY})
    made.fund("10 USD")
    return made


def run(cli: Cli, address: str, *words: str) -> Said:
    asked = ["run", "--provider", "runapi", "--request", "-", "--wallet", "team"]
    reach = ["--base-url", address, "--poll-every", "0.05"]
    return cli(*asked, *reach, *words, stdin=body())


def batch(cli: Cli, address: str) -> Said:
    row = json.dumps({"provider": "runapi", "request": json.loads(body())})
    (cli.folder / "clips.jsonl").write_text(f"{row}\n{row}\n")
    reach = ["--base-url", address, "--poll-every", "0.05"]
    return cli("batch", "clips.jsonl", "--wallet", "team", *reach, "--format", "json")


def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


def assert_nothing_was_sent(cli: Cli, said: Said) -> None:
    assert said.code == 10, said.err
    assert cli.wallet() == {"funded": "10", "spent": "0", "reserved": "0", "available": "10"}


@pytest.mark.parametrize("command", [run, batch])
def test_a_key_that_is_refused_has_an_exit_code_of_its_own(
    cli: Cli, sandbox: Sandbox, command: Any
):
    cli.environ["RUNAPI_API_KEY"] = "a-wrong-secret"
    said = command(cli, sandbox.url)
    assert_nothing_was_sent(cli, said)
    assert "a-wrong-secret" not in said.out + said.err


def test_an_address_where_nobody_listens_has_it_too(cli: Cli):
    assert_nothing_was_sent(cli, run(cli, nobody()))


def test_a_name_that_no_server_knows_has_it_too(cli: Cli):
    assert_nothing_was_sent(cli, run(cli, "http://no-such-host.invalid"))


@pytest.mark.parametrize("command", [run, batch])
def test_a_prompt_that_is_refused_is_a_job_that_failed(cli: Cli, command: Any):
    account = Account(100_000_000_000, remembers_keys=True)
    account.next_job(Script(create=(Create.REFUSE,) * 10))
    cli.environ["RUNAPI_API_KEY"] = KEYS["runapi"]
    with serve(GATEWAYS["runapi"](account, KEYS["runapi"])) as address:
        assert command(cli, address).code == 4


# Errors as JSON


def error_of(said: Said) -> dict[str, Any]:
    """The one object on standard output; people read the same on standard error."""
    told = json.loads(said.out)
    assert list(told) == ["error"]
    error: dict[str, Any] = told["error"]
    assert error["exit_code"] == said.code
    assert error["message"] in said.err
    assert error["hint"] is None or error["hint"] in said.err
    return error


def test_a_refusal_tells_its_figures(cli: Cli):
    words = ["reservation", "create", "--wallet", "team", "--amount", "12.5 USD"]
    error = error_of(cli(*words, "--format", "json"))
    assert (error["code"], error["exit_code"], error["wallet"]) == (
        "insufficient_credits",
        3,
        "team",
    )
    assert error["needed"] == {"amount": "12.5", "unit": "USD"}
    assert error["available"] == {"amount": "10", "unit": "USD"}


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("wallet", "show", "nobody"), "not_found", 2),
        (("wallet", "fund", "team", "ten USD"), "amount", 2),
        (("wallet", "fund", "team"), "usage", 2),
        (("wallet", "create", "team", "--unit", "CNY"), "conflict", 2),
        (("budget", "set", "film"), "usage", 2),
        (("reservation", "show", "res_1"), "not_found", 2),
        (("quote", "--provider", "runapi", "--model", "kling-9", "--seconds", "5"), "no_price", 7),
    ],
)
@pytest.mark.parametrize("form", [("--format", "json"), ("--format=json",)])
def test_every_error_is_one_object(
    cli: Cli, words: tuple[str, ...], code: str, exit_code: int, form: tuple[str, ...]
):
    error = error_of(cli(*words, *form))
    assert (error["code"], error["exit_code"]) == (code, exit_code)


def test_without_json_standard_output_stays_empty(cli: Cli):
    for form in ((), ("--format", "csv"), ("--format", "json", "--format", "table")):
        said = cli("wallet", "show", "nobody", *form)
        assert (said.code, said.out) == (2, "")


@pytest.mark.parametrize("form", ["table", "json"])
def test_of_many_problems_the_first_twenty_are_told_and_how_many_there_are_more(
    tmp_path: Path, form: str
):
    shots = [{"duration": index} for index in range(900)]
    request = body(multi_shots=True, multi_prompt=shots)
    words = ("quote", "--provider", "runapi", "--request", "-", "--format", form)
    said = Cli(tmp_path)(*words, stdin=request)
    assert said.code == 2
    assert len(said.lines) <= 22
    more = next(line for line in said.lines if line.endswith(" more"))
    assert int(more.removeprefix("error: and ").removesuffix(" more").replace(",", "")) > 800
    assert len(said.out) < 20_000


@pytest.mark.parametrize(
    "fields",
    [
        {"multi_shots": True, "multi_prompt": [{"duration": 1}] * 300_000},
        {f"field {number}": 1 for number in range(100_000)},
    ],
)
def test_a_body_of_more_parts_than_any_has_is_told_in_one_sentence(
    tmp_path: Path, fields: dict[str, Any]
):
    (tmp_path / "clips.jsonl").write_text(
        json.dumps({"provider": "runapi", "request": json.loads(body(**fields))})
    )
    said = measured(tmp_path, "quote", "--manifest", "clips.jsonl")
    assert said.code == 2
    assert " of them" in said.out
    assert "allowed: at most 1,000" in said.out
    assert len(said.out) < 5_000
    assert said.megabytes < MOST_MB


def test_a_name_of_any_length_without_a_price_is_told_in_short(tmp_path: Path):
    for code, *words in (
        (2, "--provider", "x" * 50_000, "--model", "y"),
        (7, "--provider", "runapi", "--model", "x" * 50_000),
    ):
        said = Cli(tmp_path)("quote", *map(str, words))
        assert said.code == code
        assert len(said.err) < 2_000
