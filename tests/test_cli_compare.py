"""`kling-ledger compare` and `afford`, and `--book` for every command that prices."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from kling_ledger.cli import cli, exit_code
from kling_pricing.errors import KlingError

BOOK = """
format = 1
provider = "{name}"
name = "{name}"
unit = "USD"
[sources.page]
url = "https://example.com/{name}"
checked = 2026-01-01
evidence = "user"
[rates.clip]
family = "test-1"
models = {{ m1 = ["text_to_video"] }}
from = 2026-01-01
source = "page"
per = "second"
dimensions = ["sound"]
request = {{ min_s = 3, max_s = 15 }}
[rates.clip.prices]
off = "{off}"
on = "0.5"
"""
MINIMUM = "billing = { min_s = 3 }\n[rates.clip.prices]"
WANTED = ["--model", "test-1", "--seconds", "5", "--at", "2026-06-01"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of own books with one cheap and one dear provider."""
    books = tmp_path / "books"
    books.mkdir()
    (books / "dear.toml").write_text(BOOK.format(name="dear", off="0.3"))
    (books / "cheap.toml").write_text(BOOK.format(name="cheap", off="0.2"))
    monkeypatch.setenv("KLING_LEDGER_BOOKS", str(books))
    return books


def run(*arguments: str) -> Result:
    """Run a command; what it raises becomes the exit code that it has on the command line."""
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    if isinstance(result.exception, KlingError):
        result.exit_code = exit_code(result.exception)
    elif isinstance(result.return_value, int):
        result.exit_code = result.return_value
    return result


def rows(*arguments: str) -> list[dict[str, Any]]:
    result = run(*arguments, "--format", "json")
    parsed = json.loads(result.stdout)
    assert isinstance(parsed, list)
    return parsed


def test_compare_lists_the_cheapest_first_with_amounts_as_strings() -> None:
    found = rows("compare", *WANTED, "--no-sound")
    assert [(one["provider"], one["usd"], one["unit"]) for one in found] == [
        ("cheap", "1", "USD"),
        ("dear", "1.5", "USD"),
    ]


def test_compare_as_csv_has_those_that_cannot_with_their_reason() -> None:
    result = run("compare", *WANTED, "--format", "csv")
    found = list(csv.DictReader(io.StringIO(result.stdout)))
    assert result.exit_code == 2
    assert [one["usd"] for one in found] == ["", ""]
    assert all("sound: got nothing" in one["reason"] for one in found)


def test_compare_as_a_table_tells_on_stderr_who_cannot() -> None:
    result = run("compare", *WANTED)
    assert "unable: cheap m1: sound: got nothing" in result.stderr
    assert "unable" not in result.stdout


def test_a_length_that_would_be_refused_is_no_offer_and_bad_input(folder: Path) -> None:
    for book in folder.iterdir():
        book.write_text(book.read_text().replace("[rates.clip.prices]", MINIMUM))
    short = ["--model", "test-1", "--seconds", "2", "--at", "2026-06-01", "--no-sound"]
    result = run("compare", *short)
    assert result.exit_code == 2
    assert "cheap m1: a request for 2 s would be refused: cheap takes whole" in result.stderr
    assert run("afford", "20 USD", *short, "--format", "json").exit_code == 0
    assert {one["clips"] for one in rows("afford", "20 USD", *short)} == {None}


@pytest.mark.parametrize("command", [("quote", "--provider", "cheap"), ("compare",)])
def test_a_clip_is_described_alike_everywhere(command: tuple[str, ...]) -> None:
    for said in (run(*command, "--help").stdout, run("afford", "--help").stdout):
        assert all(one in said for one in ("--elements", "--frames", "--input-seconds", "--at"))
    model = "m1" if command[0] == "quote" else "test-1"
    options = ["--frames", "first", "--elements", "--seconds", "5", "--no-sound"]
    told = run(*command, "--model", model, *options, "--at", "2026-06-01", "--format", "json")
    assert told.exit_code == 0
    assert '"amount": "1"' in told.stdout


@pytest.mark.parametrize(
    ("at", "code"),
    [
        ("2026-01-01T00:00:00Z", 0),
        ("2026-01-01T00:00:00", 0),
        ("2025-12-31T23:59:59.999999+00:00", 7),
        ("2026-01-01T00:30:00+01:00", 7),
        ("2026-01-01T25:00:00Z", 2),
        ("0001-01-01T00:00:00+23:00", 2),
    ],
)
def test_compare_and_afford_take_an_instant(at: str, code: int) -> None:
    wanted = ["--model", "test-1", "--seconds", "5", "--no-sound", f"--at={at}"]
    for command in (["compare"], ["afford", "5 USD"]):
        result = run(*command, *wanted)
        is_usage = isinstance(result.exception, click.UsageError)
        assert (2 if is_usage else result.exit_code) == code


def test_a_price_of_the_users_own_is_evidence_of_its_own(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('provider = "runapi"\n[rates."kling-3.0".prices]\n1080p = { on = "0.2" }\n')
    wanted = ["compare", "--model", "kling-3.0", "--seconds", "5", "--resolution", "1080p"]
    for sound, evidence, count in (("--sound", "user", 1), ("--no-sound", "disputed", 0)):
        found = rows(*wanted, sound, "--book", str(own))
        [told] = [one for one in found if one["provider"] == "runapi"]
        assert told["evidence"] == evidence
        assert sum("is set by" in note for note in told["notes"]) == count


def test_a_family_that_nobody_sells_has_no_price() -> None:
    result = run("compare", "--model", "kling-99")
    assert result.exit_code == 7
    assert "test-1" in str(result.exception)


@pytest.mark.parametrize("budget", ["20 USD", "20USD", "20"])
def test_afford_says_how_many_how_long_and_how_good(budget: str) -> None:
    [cheap, dear] = rows("afford", budget, *WANTED, "--no-sound")
    # 20 / 1.00 and 20 / 1.50; 15 s are the longest that may be asked for
    assert (cheap["clips"], dear["clips"]) == (20, 13)
    assert (cheap["longest_s"], cheap["best"], cheap["best_amount"]) == (15, "with sound", "2.5")


def test_afford_can_ask_one_provider() -> None:
    [only] = rows("afford", "1.49 USD", *WANTED, "--no-sound", "--provider", "dear")
    assert (only["clips"], only["longest_s"], only["best"]) == (0, 4, None)


def test_a_budget_in_a_unit_that_nobody_counts_in_is_bad_input() -> None:
    result = run("afford", "5 EUR", *WANTED, "--no-sound")
    assert result.exit_code == 2
    assert str(result.exception) == "no such unit: EUR"


@pytest.mark.parametrize("budget", ["much", "0 USD", "1.0000001 USD"])
def test_a_budget_that_is_none_is_bad_input(budget: str) -> None:
    assert run("afford", budget, *WANTED, "--no-sound").exit_code == 2


# --book


def test_a_book_overrides_the_bundled_one_key_by_key_and_the_quote_says_so(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('provider = "runapi"\n[rates."kling-3.0".prices]\n1080p = { on = "0.2" }\n')
    asked = ["quote", "--provider", "runapi", "--model", "kling-3.0", "--seconds", "5"]
    asked += ["--resolution", "1080p", "--format", "json", "--book", str(own)]
    with_sound = json.loads(run(*asked, "--sound").stdout)
    silent = json.loads(run(*asked, "--no-sound").stdout)
    # 5 x 0.2, and 5 x the bundled 0.09
    assert (with_sound["amount"], silent["amount"]) == ("1", "0.45")
    assert with_sound["evidence"] == "user"
    note = f"rates.kling-3.0.prices.1080p.on is set by {own}"
    assert with_sound["assumptions"].count(note) == 1


def test_a_quote_from_a_book_of_ones_own_says_whose_it_is(folder: Path) -> None:
    asked = ["quote", "--provider", "cheap", "--model", "m1", "--seconds", "5", "--no-sound"]
    told = json.loads(run(*asked, "--format", "json").stdout)
    assert (told["amount"], told["assumptions"]) == (
        "1",
        [f"rates.clip is set by {folder / 'cheap.toml'}"],
    )


def test_a_given_book_takes_the_place_of_one_in_the_folder(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(BOOK.format(name="cheap", off="0.1"))
    result = run("compare", *WANTED, "--no-sound", "--format", "csv", "--book", str(other))
    assert "cheap,m1,0.5," in result.stdout
    assert "cheap.toml is ignored" in result.stderr


def test_two_given_books_of_one_provider_are_refused(tmp_path: Path) -> None:
    paths = [tmp_path / "one.toml", tmp_path / "two.toml"]
    for path in paths:
        path.write_text(BOOK.format(name="x", off="0.1"))
    result = run("compare", *WANTED, "--book", str(paths[0]), "--book", str(paths[1]))
    assert result.exit_code == 2
    assert "has prices of x too" in str(result.exception)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"provider = ", b"format = 1"])
def test_a_book_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_bytes(content)
    result = run("prices", "list", "--book", str(bad))
    assert result.exit_code == 2
    assert "bad.toml" in str(result.exception)
