"""`quote --save` and `run --quote`: what was quoted runs at that price or lower, or not at all."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli import API_KEY, Cli, Said, SandboxProcess, body, sandbox_process

PRICES = 'rates."kling-3.0".prices'


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with sandbox_process(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A ledger whose wallet `team` holds 2 USD, with a data folder of its own."""
    folder = tmp_path / "data"
    cli = Cli(tmp_path, {"RUNAPI_API_KEY": API_KEY, "XDG_DATA_HOME": str(folder)})
    cli.fund("2 USD")
    return cli


def book(cli: Cli, price: str) -> tuple[str, str]:
    """Return the option for a book of one's own with another price of 1080p with sound."""
    path = cli.folder / f"{price}.toml"
    path.write_text(f'format = 1\nprovider = "runapi"\n[{PRICES}]\n1080p = {{ on = "{price}" }}\n')
    return "--book", str(path)


def save(cli: Cli, *more: str, text: str | None = None) -> dict[str, Any]:
    words = ("quote", "--provider", "runapi", "--request", "-", "--save")
    told = cli.json(*words, *more, stdin=text or body())
    assert isinstance(told, dict)
    return told


def run(cli: Cli, sandbox: SandboxProcess, quote_id: str, *more: str, text: str = "") -> Said:
    words = ["run", "--provider", "runapi", "--quote", quote_id, "--wallet", "team"]
    given = ["--request", "-"] if text else []
    at = ["--base-url", sandbox.url, "--poll-every", "0.1", "--format", "json"]
    return cli(*words, *given, *at, *more, stdin=text)


def refused(cli: Cli, said: Said, *, code: str, exit_code: int) -> dict[str, Any]:
    """Check that a run was refused, and that nothing of it is in the ledger."""
    assert said.code == exit_code, said.err
    error = json.loads(said.out)["error"]
    assert (error["code"], error["exit_code"]) == (code, exit_code)
    assert cli.reservations() == []
    assert isinstance(error, dict)
    return error


def test_a_saved_quote_is_a_private_file_that_is_named_by_its_content(cli: Cli) -> None:
    told = save(cli)
    (path,) = (cli.folder / "data").rglob("quo_*")
    assert path.name == f"{told['id']}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = json.loads(path.read_text())
    assert (kept["quote"]["amount"], kept["request"]) == ("0.675", json.loads(body()))
    printed = cli("quote", "--provider", "runapi", "--request", "-", "--save", stdin=body())
    assert "saved as quo_" in printed.out


def test_what_was_quoted_runs_with_the_body_that_was_quoted(
    cli: Cli, sandbox: SandboxProcess
) -> None:
    said = run(cli, sandbox, save(cli)["id"])
    assert said.code == 0, said.err
    assert said.json["committed"] == "0.675"
    again = run(cli, sandbox, save(cli)["id"], text=body())
    assert again.code == 0, again.err


def test_another_body_is_not_what_was_quoted(cli: Cli, sandbox: SandboxProcess) -> None:
    quote_id = save(cli)["id"]
    said = run(cli, sandbox, quote_id, text=body("another lake"))
    error = refused(cli, said, code="input_changed", exit_code=2)
    assert error["field"] == "payload"


def test_a_clip_that_was_quoted_runs_with_any_prompt(cli: Cli, sandbox: SandboxProcess) -> None:
    words = ["--model", "kling-3.0", "--seconds", "5", "--resolution", "1080p"]
    told = cli.json("quote", "--provider", "runapi", *words, "--sound", "--save")
    silent = run(cli, sandbox, told["id"], *words, "--no-sound", "--prompt", "a lake")
    error = refused(cli, silent, code="input_changed", exit_code=2)
    assert error["field"] == "sound"
    said = run(cli, sandbox, told["id"], *words, "--sound", "--prompt", "a lake")
    assert said.code == 0, said.err


def test_a_price_that_is_higher_now_is_refused(cli: Cli, sandbox: SandboxProcess) -> None:
    said = run(cli, sandbox, save(cli)["id"], *book(cli, "0.136"))
    error = refused(cli, said, code="price_changed", exit_code=3)
    assert error["quoted"] == {"amount": "0.675", "unit": "USD"}
    assert error["now"] == {"amount": "0.68", "unit": "USD"}


def test_a_price_that_is_lower_now_is_taken_and_said(cli: Cli, sandbox: SandboxProcess) -> None:
    told = save(cli, *book(cli, "0.14"))
    said = run(cli, sandbox, told["id"])
    assert said.code == 0, said.err
    assert "it now costs 0.675 USD, less than the quoted 0.7 USD" in said.err
    assert said.json["quoted"] == "0.675"


def test_a_quote_that_has_expired_is_refused(cli: Cli, sandbox: SandboxProcess) -> None:
    said = run(cli, sandbox, save(cli, "--at", "2026-11-20")["id"])
    error = refused(cli, said, code="quote_expired", exit_code=3)
    assert error["expired_at"] == "2026-11-21T00:00:00+00:00"


def test_a_job_that_its_key_has_started_is_followed(cli: Cli, sandbox: SandboxProcess) -> None:
    quote_id = save(cli)["id"]
    first, second = (run(cli, sandbox, quote_id, "--key", "shot-7") for _ in range(2))
    assert (first.code, second.code) == (0, 0), second.err
    assert first.json["id"] == second.json["id"]


def test_a_quote_that_was_changed_or_is_not_there_is_refused(
    cli: Cli, sandbox: SandboxProcess
) -> None:
    quote_id = save(cli)["id"]
    (path,) = (cli.folder / "data").rglob("quo_*")
    path.write_text(path.read_text().replace('"0.675"', '"6.75"'))
    error = refused(cli, run(cli, sandbox, quote_id), code="config", exit_code=2)
    assert "was changed" in error["message"]
    for name in ("quo_" + "0" * 32, "../../secret"):
        refused(cli, run(cli, sandbox, name), code="not_found", exit_code=2)


def test_only_one_quote_is_saved(cli: Cli) -> None:
    said = cli("quote", "--manifest", "clips.csv", "--save")
    assert (said.code, "leave out --manifest" in said.err) == (2, True)
