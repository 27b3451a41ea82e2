"""`kling-ledger quote`: what it prints, what it refuses and with which exit code."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import Cli, body, changed

FIELDS = [
    "provider",
    "model",
    "action",
    "seconds",
    "billed_seconds",
    "resolution",
    "sound",
    "unit",
    "rate",
    "amount",
    "usd",
    "evidence",
    "source",
    "checked",
    "book",
    "lines",
]
FLAGS = ("quote", "--provider", "runapi", "--model", "kling-3.0", "--resolution", "720p", "--sound")
STDIN = ("quote", "--provider", "runapi", "--request", "-")


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("quote"))


@pytest.fixture(scope="module")
def request_file(cli: Cli) -> Path:
    path = cli.folder / "body.json"
    path.write_text(body())
    return path


@pytest.mark.parametrize(
    "command",
    [
        "",
        "quote",
        "wallet create",
        "wallet fund",
        "wallet list",
        "wallet show",
        "run",
        "resume",
        "reservation list",
        "reservation show",
        "report spend",
        "verify",
        "sandbox",
        "demo",
    ],
)
def test_every_command_explains_itself(cli: Cli, command: str) -> None:
    said = cli(*command.split(), "--help")
    assert said.code == 0
    assert said.out.startswith(f"Usage: kling-ledger {command}".rstrip())


@pytest.mark.parametrize("words", [("qoute",), ("quote", "--secnds", "5"), ("wallet", "burn")])
def test_a_misspelt_command_is_a_usage_error(cli: Cli, words: tuple[str, ...]) -> None:
    assert cli(*words).code == 2


def test_five_seconds_of_1080p_with_sound_cost_0675(cli: Cli, request_file: Path) -> None:
    quoted = cli.json(*STDIN[:-1], str(request_file))
    assert (quoted["amount"], quoted["usd"], quoted["unit"]) == ("0.675", "0.675", "USD")
    assert (quoted["rate"], quoted["billed_seconds"], quoted["sound"]) == ("0.135", 5, True)


def test_a_quote_has_every_promised_field(cli: Cli) -> None:
    quoted = cli.json(*STDIN, stdin=body())
    assert [name for name in FIELDS if quoted.get(name) is None] == []


def test_json_amounts_are_strings_in_plain_notation(cli: Cli) -> None:
    quoted = cli.json(*FLAGS, "--seconds", "10")
    amounts = [quoted["rate"], quoted["amount"], quoted["usd"], quoted["lines"][0]["amount"]]
    assert amounts == ["0.1", "1", "1", "1"]


def test_flags_and_a_body_of_the_same_clip_cost_the_same(cli: Cli) -> None:
    words = ("--provider", "runapi", "--model", "kling-3.0", "--seconds", "5")
    flags = cli.json("quote", *words, "--resolution", "1080p", "--sound")
    given = cli.json(*STDIN, stdin=body())
    assert [flags[name] for name in FIELDS] == [given[name] for name in FIELDS]


def test_csv_is_one_row_with_the_amount(cli: Cli) -> None:
    said = cli(*STDIN, "--format", "csv", stdin=body())
    (row,) = csv.DictReader(io.StringIO(said.out))
    assert row["amount"] == "0.675"
    assert json.loads(row["lines"])[0]["amount"] == "0.675"


def test_the_table_shows_the_total_and_where_the_price_is_from(cli: Cli) -> None:
    said = cli(*STDIN, stdin=body())
    assert said.code == 0
    assert "0.675" in said.out
    assert "https://" in said.out


def test_evolink_charges_credits_and_says_what_they_are_in_dollars(cli: Cli) -> None:
    words = ("--provider", "evolink", "--model", "kling-v3-text-to-video", "--seconds", "5")
    quoted = cli.json("quote", *words, "--resolution", "1080p", "--no-sound")
    assert (quoted["unit"], quoted["rate"]) == ("evolink-credit", "7.1982")
    assert (quoted["amount"], quoted["usd"]) == ("35.991", "0.499875")


@pytest.mark.parametrize(
    ("name", "value", "got", "allowed"),
    [
        ("duration_seconds", 2, "2", "3 to 15"),
        ("duration_seconds", 16, "16", "3 to 15"),
        ("duration_seconds", 5.5, "5.5", "3 to 15"),
        ("duration_seconds", "5s", '"5s"', "3 to 15"),
        ("duration_seconds", True, "true", "3 to 15"),
        ("output_resolution", "8k", '"8k"', "720p, 1080p, 4k"),
        ("enable_sound", "yes", '"yes"', "true or false"),
    ],
)
def test_a_body_is_refused_in_one_line_with_field_got_and_allowed(
    cli: Cli, name: str, value: object, got: str, allowed: str
) -> None:
    said = cli(*STDIN, stdin=changed(name, value))
    assert (said.code, said.out, len(said.lines)) == (2, "", 1)
    assert f"{name}: got {got}, allowed: " in said.lines[0]
    assert allowed in said.lines[0]


@pytest.mark.parametrize("seconds", [3, 15])
def test_the_shortest_and_the_longest_request_are_priced(cli: Cli, seconds: int) -> None:
    quoted = cli.json(*STDIN, stdin=body(duration_seconds=seconds))
    assert quoted["billed_seconds"] == quoted["seconds"] == seconds


def test_two_seconds_from_flags_are_billed_as_three_and_said_so(cli: Cli) -> None:
    quoted = cli.json(*FLAGS, "--seconds", "2")
    assert (quoted["seconds"], quoted["billed_seconds"], quoted["amount"]) == (2, 3, "0.3")
    assert [line["amount"] for line in quoted["lines"]] == ["0.2", "0.1"]
    assert "billed as 3 s" in quoted["warnings"][0]


def test_the_table_warns_of_the_billing_minimum_too(cli: Cli) -> None:
    said = cli(*FLAGS, "--seconds", "2")
    assert "billing minimum of 3 seconds" in said.out
    assert "2 s is billed as 3 s" in said.err


def test_a_quotes_own_instant_gives_the_same_quote(cli: Cli) -> None:
    first = cli.json(*FLAGS, "--seconds", "5", "--at", "2026-11-20T12:30:00.123456+02:00")
    assert first["at"] == "2026-11-20T10:30:00.123456+00:00"
    assert cli.json(*FLAGS, "--seconds", "5", "--at", first["at"]) == first


@pytest.mark.parametrize(
    ("at", "meant"),
    [
        ("2026-11-20", "2026-11-20T00:00:00+00:00"),
        ("2026-11-20T12:30", "2026-11-20T12:30:00+00:00"),
        ("2026-11-20 12:30:00Z", "2026-11-20T12:30:00+00:00"),
    ],
)
def test_an_instant_without_a_zone_is_in_utc(cli: Cli, at: str, meant: str) -> None:
    assert cli.json(*FLAGS, "--seconds", "5", "--at", at)["at"] == meant


def test_a_quote_starts_without_what_compares() -> None:
    code = (
        "import sys, kling_ledger.cli.quote; "
        "print(*[n for n in ('kling_pricing.compare', 'httpx', 'rich') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


BLOCKS = """
format = 1
provider = "worded"
name = "Worded"
unit = "USD"
[sources.page]
url = "https://example.com/worded"
checked = 2026-01-01
evidence = "user"
[rates.block]
family = "block"
models = { block = ["text_to_video"] }
from = 2026-01-01
source = "page"
per = "block"
block_s = 5
request = { min_s = 1, max_s = 15 }
fees = [{ label = "on top", multiply = "1.5" }]
prices = "0.1"
[rates.clip]
family = "clip"
models = { clip = ["text_to_video"] }
from = 2026-01-01
source = "page"
per = "clip"
prices = "0.1"
[rates.second]
family = "second"
models = { second = ["text_to_video"] }
from = 2026-01-01
source = "page"
per = "second"
request = { min_s = 1, max_s = 15 }
prices = "0.1"
"""


@pytest.mark.parametrize(
    ("model", "seconds", "said"),
    [
        (
            "block",
            "11",
            ["3 blocks of 5 seconds", "0.3 of what is above", "block text_to_video, 11 s"],
        ),
        ("block", "5", ["1 block of 5 seconds"]),
        ("clip", None, ["1 clip "]),
        ("second", "1", ["1 second "]),
        ("second", "2", ["2 seconds"]),
    ],
)
def test_quantities_are_said_as_a_person_would(
    cli: Cli, model: str, seconds: str | None, said: list[str]
) -> None:
    own = cli.folder / "worded.toml"
    own.write_text(BLOCKS)
    length = ("--seconds", seconds) if seconds else ()
    words = ("quote", "--provider", "worded", "--model", model, *length, "--book", str(own))
    printed = cli(*words)
    assert printed.code == 0, printed.err
    assert [one for one in said if one not in printed.out] == []
    assert "None" not in printed.out


@pytest.mark.parametrize("seconds", ["16", "5.5"])
def test_flags_too_long_or_in_part_seconds_are_refused(cli: Cli, seconds: str) -> None:
    said = cli(*FLAGS, "--seconds", seconds)
    assert (said.code, len(said.lines)) == (2, 1)
    assert f"seconds: got {seconds}, allowed: whole seconds, 3 to 15" in said.err


@pytest.mark.parametrize(
    "seconds", ["0", "-1", "nan", "five", "", "1_0", "\u0665", "1e1", "+5", " 5", "86400.1", "."]
)
def test_seconds_that_are_no_length_are_a_usage_error(cli: Cli, seconds: str) -> None:
    assert cli(*FLAGS, f"--seconds={seconds}").code == 2


@pytest.mark.parametrize("missing", ["--resolution", "--sound", "--seconds"])
def test_what_the_price_needs_must_be_given(cli: Cli, missing: str) -> None:
    flags = {"--seconds": ["5"], "--resolution": ["720p"], "--sound": []}
    words = [word for name, rest in flags.items() if name != missing for word in (name, *rest)]
    said = cli(*FLAGS[:5], *words)
    assert (said.code, said.out) == (2, "")
    assert missing.removeprefix("--") in said.err


def test_a_model_without_a_price_exits_with_7_and_names_the_known(cli: Cli) -> None:
    said = cli("quote", "--provider", "runapi", "--model", "kling-9", "--seconds", "5")
    assert (said.code, said.out) == (7, "")
    assert "kling-9" in said.err
    assert "kling-3.0" in said.err


def test_a_body_for_a_model_without_a_price_exits_with_7(cli: Cli) -> None:
    assert cli(*STDIN, stdin=body(model="kling-9")).code == 7


def test_a_resolution_that_is_not_listed_has_no_price(cli: Cli) -> None:
    words = ("--model", "kling-v3-text-to-video", "--seconds", "5", "--resolution", "4k", "--sound")
    assert cli("quote", "--provider", "evolink", *words).code == 7


def test_before_the_first_rate_there_is_no_price(cli: Cli) -> None:
    assert cli(*STDIN, "--at", "2026-06-02", stdin=body()).code == 7
    assert cli(*STDIN, "--at", "2026-06-03", stdin=body()).code == 0


@pytest.mark.parametrize(
    "at", ["2026-13-01", "yesterday", "2026-02-30", "20261121", "2026-06-03T25:00Z", "2026-06-03Z"]
)
def test_a_date_that_is_none_is_a_usage_error(cli: Cli, at: str) -> None:
    said = cli(*STDIN, "--at", at, stdin=body())
    assert said.code == 2
    assert at in said.err


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"model": "kling-3.0", "model": "kling-3.0"}',
        body().replace(": 5,", ": NaN,"),
    ],
)
def test_what_is_no_request_body_is_refused_in_one_line(cli: Cli, text: str) -> None:
    said = cli(*STDIN, stdin=text)
    assert (said.code, said.out, len(said.lines)) == (2, "", 1)


def test_a_key_given_twice_is_named(cli: Cli) -> None:
    said = cli(*STDIN, stdin='{"model": "kling-3.0", "prompt": "a", "prompt": "b"}')
    assert said.code == 2
    assert "prompt" in said.err


def test_a_request_file_that_is_not_there_is_named(cli: Cli) -> None:
    said = cli(*STDIN[:-1], "nowhere.json")
    assert said.code == 2
    assert "nowhere.json" in said.err


def test_a_body_and_flags_that_repeat_it_do_not_mix(cli: Cli) -> None:
    said = cli(*STDIN, "--seconds", "3", stdin=body())
    assert said.code == 2
    assert "--seconds" in said.err


def test_a_price_of_ones_own_is_not_told_as_the_sellers(tmp_path: Path):
    cli = Cli(tmp_path)
    (tmp_path / "own.toml").write_text(
        'format = 1\nprovider = "uniall"\nrates.kling-v3.prices.720p.off = "0.05"\n'
    )
    words = ("quote", "--provider", "uniall", "--model", "kling-v3-std-silent", "--seconds", "5")
    told = cli(*words, "--book", "own.toml")
    assert "user, your own price, replacing that of https://" in told.out
    assert "rates.kling-v3.prices.720p.off is set by own.toml" in told.err
