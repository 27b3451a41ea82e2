"""`kling-ledger plan`: a storyboard in, what it will come to out; and what a change of it adds."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.cli import COMMAND, Cli, Said
from tests.test_cli_compare import BOOK

HEADER = "id,provider,model,seconds,resolution,sound,takes\n"
FIRST = "a,runapi,kling-3.0,5,1080p,yes,3\n"
SECOND = "b,runapi,kling-3.0,12,720p,no,2\n"
THIRD = "c,runapi,kling-3.0,8,1080p,yes,4\n"
ROWS = HEADER + FIRST + SECOND + THIRD
UNPRICED = "d,nobody,kling-3.0,5,1080p,yes,1\n"
BAD = "e,runapi,kling-3.0,5,1080p,yes,none\n"
AT = ("--at", "2026-11-26")
BODY = {
    "model": "kling-3.0",
    "prompt": "a lake at sunrise",
    "duration_seconds": 5,
    "output_resolution": "1080p",
    "enable_sound": True,
}


@pytest.fixture
def kl(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def write(cli: Cli, text: str, name: str = "clips.csv") -> str:
    (cli.folder / name).write_text(text, encoding="utf-8")
    return name


def read(said: Said) -> Any:
    return json.loads(said.out)


def test_a_storyboard_comes_to_its_quotes_times_their_takes(kl: Cli) -> None:
    # 3 x 0.675 + 2 x 0.84 + 4 x 1.08 = 8.025, and a third of it is 2.675.
    answer = kl.json("plan", write(kl, ROWS), *AT)
    assert [row["high"] for row in answer["rows"]] == ["2.025", "1.68", "4.32"]
    figures = [(one["of"], one["low"], one["expected"], one["high"]) for one in answer["totals"]]
    assert figures == [
        ("all 3 clips", "8.025", "8.025", "8.025"),
        ("one accepted clip", "2.675", "2.675", "2.675"),
    ]


def test_takes_are_those_of_the_option_where_no_row_says_any(kl: Cli) -> None:
    clips = write(kl, "".join(line.rpartition(",")[0] + "\n" for line in ROWS.splitlines()))
    once, thrice = (kl.json("plan", clips, "--takes", n, *AT)["totals"][0] for n in ("1", "3"))
    assert (once["high"], thrice["high"]) == ("2.595", "7.785")


def test_every_kind_of_manifest_comes_to_the_same(kl: Cli) -> None:
    rows = list(csv.DictReader(io.StringIO(ROWS)))
    typed = [
        {**row, "seconds": int(row["seconds"]), "sound": row["sound"] == "yes", "takes": 3.0}
        for row in rows
    ]
    bodies = [*typed[:2], {"id": "c", "provider": "runapi", "request": BODY, "takes": "5/2"}]
    write(kl, "".join(json.dumps(row) + "\n" for row in bodies), "clips.jsonl")
    pd.DataFrame(typed).to_parquet(kl.folder / "clips.parquet")
    parquet, lines = (kl.json("plan", f"clips.{end}", *AT) for end in ("parquet", "jsonl"))
    assert [row["high"] for row in parquet["rows"]] == ["2.025", "2.52", "3.24"]
    # The body costs 0.675 a take.
    assert [row["high"] for row in lines["rows"]] == ["2.025", "2.52", "1.6875"]
    piped = kl("plan", "-", *AT, "--format", "json", stdin=ROWS)
    assert read(piped)["totals"][0]["high"] == "8.025"


def test_failures_are_counted_at_most_where_nobody_knows_who_pays(kl: Cli) -> None:
    crun = "f,crun,kling/v3,5,1080p,yes,3\n"
    answer = kl.json("plan", write(kl, HEADER + FIRST + crun), "--failure-rate", "10%", *AT)
    runapi, other = answer["rows"]
    assert (runapi["failures"], runapi["low"], runapi["high"]) == ("free", "2.025", "2.025")
    # 135 credits a take: 3 of them, or 3 / 0.9 of them.
    assert (other["failures"], other["low"], other["expected"], other["high"]) == (
        "unknown",
        "405",
        "405",
        "450",
    )
    assert any("charges for failed takes is not known" in note for note in answer["notes"])
    assert [one["unit"] for one in answer["totals"]][::2] == ["USD", "crun-credit", "USD"]


def test_a_table_fits_eighty_columns(kl: Cli) -> None:
    words = ("--failure-rate", "10%", "--budget", "5 USD", "--takes", "3")
    said = kl("plan", write(kl, ROWS), *words, *AT)
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 80
    assert "budget 5 USD, at most: 2 of 3 rows fit, 1.295 USD is left" in said.out


@pytest.mark.parametrize(
    ("rows", "code"),
    [(FIRST, 0), (FIRST + UNPRICED, 7), (FIRST + BAD, 2), (UNPRICED + BAD, 2)],
)
def test_the_exit_code_says_what_kind_of_rows_there_were(kl: Cli, rows: str, code: int) -> None:
    said = kl("plan", write(kl, HEADER + rows), *AT, "--sellers", "--format", "json")
    assert said.code == code
    priced = read(said)["priced"]
    assert priced == rows.count("a,runapi")
    assert ("no provider is known to make every clip" in said.err) is (code != 0)


def test_rows_without_a_price_are_named_and_counted(kl: Cli) -> None:
    said = kl("plan", write(kl, HEADER + FIRST + UNPRICED + BAD), *AT)
    assert "error: row 2 (d): no price known for provider nobody" in said.err
    assert 'error: row 3 (e): takes: got "none", allowed: a number from 1' in said.err
    assert "1 of 3 clips" in said.out


def test_a_budget_ends_where_a_row_has_no_price(kl: Cli) -> None:
    clips = write(kl, HEADER + FIRST + UNPRICED + SECOND)
    said = kl("plan", clips, "--budget", "50", *AT, "--format", "json")
    fit = read(said)["fits"]["high"]
    assert (fit["rows"], fit["left"], fit["stopped_by"]) == (1, "47.975", 2)
    assert "nobody" in fit["reason"]


def test_dollars_are_shown_at_the_rate_that_is_given(kl: Cli) -> None:
    words = ("--show-in", "eur", "--rate", "0.91 EUR/USD", "--rate-date", "2026-11-20")
    answer = kl.json("plan", write(kl, ROWS), *words, "--rate-source", "ECB", *AT)
    assert answer["rate"] == {
        "unit": "EUR",
        "rate": "0.91 EUR/USD",
        "date": "2026-11-20",
        "source": "ECB",
    }
    # 8.025 x 0.91.
    assert [one["high"] for one in answer["totals"] if one["unit"] == "EUR"] == [
        "7.30275",
        "2.43425",
    ]
    printed = kl("plan", "clips.csv", *words, *AT)
    assert "EUR at 0.91 EUR/USD of 2026-11-20, given with --rate" in printed.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--show-in", "EUR"), "give --rate too"),
        (("--rate", "0.91 EUR/USD", "--show-in", "EUR"), "give --rate-date too"),
        (("--rate-source", "ECB"), "give --show-in too"),
        (("--takes", "0"), "got 0, allowed: a number from 1"),
        (("--failure-rate", "1"), "got 1, allowed: a share from 0 to below 1"),
        (("--budget", "five"), "allowed: an amount and its unit"),
        (("--budget", "5 crun-credit"), "unit of the budget"),
    ],
)
def test_what_cannot_be_meant_is_bad_input(kl: Cli, words: tuple[str, ...], told: str) -> None:
    said = kl("plan", write(kl, ROWS), *words, *AT)
    assert (said.code, said.out) == (2, "")
    assert told in said.err


def test_a_column_that_looks_like_takes_is_told(kl: Cli) -> None:
    said = kl("plan", write(kl, ROWS.replace("takes", "take")), *AT)
    assert "the column take is not used; did you mean takes?" in said.err


def test_the_sellers_of_all_of_it_come_cheapest_first(kl: Cli) -> None:
    books = kl.folder / "books"
    books.mkdir()
    for name, off in (("dear", "0.3"), ("cheap", "0.2")):
        (books / f"{name}.toml").write_text(BOOK.format(name=name, off=off))
    one = Cli(kl.folder, {"KLING_LEDGER_BOOKS": str(books)})
    rows = "provider,model,seconds,sound,takes\ndear,m1,5,no,2\ndear,m1,4,yes,1\n"
    sellers = one.json("plan", write(one, rows), "--sellers", *AT)["sellers"]
    # 2 x 5 x 0.2 + 4 x 0.5 = 4, and 2 x 5 x 0.3 + 4 x 0.5 = 5.
    assert [(s["provider"], s["usd_high"]) for s in sellers if s["reason"] is None] == [
        ("cheap", "4"),
        ("dear", "5"),
    ]
    crun = next(s for s in sellers if s["provider"] == "crun")
    assert (crun["rows_missing"], crun["reason"]) == (
        2,
        "row 1: no price known for test-1 text_to_video",
    )


def test_csv_has_every_row(kl: Cli) -> None:
    said = kl("plan", write(kl, HEADER + FIRST + UNPRICED), *AT, "--format", "csv")
    good, bad = csv.DictReader(io.StringIO(said.out))
    assert (good["id"], good["high"], good["usd_high"]) == ("a", "2.025", "2.025")
    assert (bad["id"], bad["high"], bad["error_code"]) == ("d", "", "no_price")


BEFORE = HEADER + FIRST + "b,runapi,kling-3.0,10,720p,no,2\nz,runapi,kling-3.0,5,720p,no,1\n"


def test_a_change_of_a_storyboard_adds_what_its_rows_add(kl: Cli) -> None:
    before, after = write(kl, BEFORE, "before.csv"), write(kl, ROWS, "after.csv")
    found = kl.json("plan", "diff", before, after, *AT)
    # b: 2 x 2 s x 0.07 = 0.28 more; c: 4.32 new; z: 0.35 gone.
    assert [(row["change"], row["id"], row["high"]) for row in found["rows"]] == [
        ("changed", "b", "0.28"),
        ("added", "c", "4.32"),
        ("removed", "z", "-0.35"),
    ]
    assert found["usd"] == {"low": "4.25", "expected": "4.25", "high": "4.25"}
    assert found["summary"] == "this change adds 4.25 USD"
    assert kl.json("plan", "diff", after, before, *AT)["summary"] == "this change saves 4.25 USD"
    assert kl.json("plan", "diff", after, after, *AT)["summary"] == "this change adds nothing"


def test_a_difference_for_a_pull_request_is_markdown(kl: Cli) -> None:
    before, after = write(kl, BEFORE, "before.csv"), write(kl, ROWS, "after.csv")
    said = kl("plan", "diff", before, after, *AT, "--format", "markdown")
    lines = said.out.splitlines()
    assert lines[0] == "**This change adds 4.25 USD.**"
    assert "| added | row 3 (c) | runapi | kling-3.0 |  | 4.32 | 4.32 | USD |" in lines
    assert lines[-1].startswith("rows: 1 added, 1 removed, 1 changed, 1 same;")


def test_a_cell_of_markdown_cannot_end_its_cell(kl: Cli) -> None:
    rows = HEADER + FIRST.replace("a,", "a|**b**,", 1)
    said = kl(
        "plan",
        "diff",
        write(kl, HEADER + SECOND, "one.csv"),
        write(kl, rows),
        *AT,
        "--format",
        "markdown",
    )
    assert r"| row 1 (a\|\*\*b\*\*) |" in said.out


def test_one_storyboard_with_two_books_shows_what_a_price_does(kl: Cli) -> None:
    for name, off in (("one", "0.2"), ("two", "0.3")):
        write(kl, BOOK.format(name="seller", off=off), f"{name}.toml")
    clips = write(kl, "provider,model,seconds,sound,takes\nseller,m1,5,no,2\n")
    books = ("--book", "one.toml", "--book-b", "two.toml")
    said = kl("plan", "diff", clips, *books, *AT)
    assert said.code == 0
    # 2 x 5 s x 0.1.
    assert "this change adds 1.00 USD" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_one_storyboard_at_two_dates_shows_what_a_price_change_did(kl: Cli) -> None:
    later = BOOK.format(name="seller", off="0.2").replace(
        "from = 2026-01-01", "from = 2026-01-01\nuntil = 2026-06-01", 1
    )
    second = later[later.index("[rates.clip]") :].replace("rates.clip", "rates.later")
    second = second.replace("from = 2026-01-01\nuntil = 2026-06-01", "from = 2026-06-01")
    write(kl, later + second.replace('"0.2"', '"0.25"'), "seller.toml")
    clips = write(kl, "provider,model,seconds,sound\nseller,m1,5,no\n")
    dates = ("--at", "2026-05-31", "--at-b", "2026-06-01", "--book", "seller.toml")
    found = kl.json("plan", "diff", clips, *dates)
    assert found["summary"] == "this change adds 0.25 USD"
    assert [row["change"] for row in found["rows"]] == ["changed"]


def test_no_difference_is_told_beside_a_row_without_a_price(kl: Cli) -> None:
    before, after = write(kl, ROWS, "a.csv"), write(kl, ROWS + UNPRICED, "b.csv")
    said = kl("plan", "diff", before, after, *AT, "--format", "json")
    assert said.code == 7
    assert read(said)["usd"] is None
    assert "error: b.csv: row 4 (d): no price known" in said.err
    assert read(said)["summary"] == "what this change adds is unknown: 1 row has no price"


def test_a_change_of_the_unit_shows_both_units(kl: Cli) -> None:
    crun = FIRST.replace("runapi,kling-3.0", "crun,kling/v3")
    before, after = write(kl, HEADER + FIRST, "a.csv"), write(kl, HEADER + crun, "b.csv")
    found = kl.json("plan", "diff", before, after, *AT)
    assert [(row["unit"], row["high"]) for row in found["rows"]] == [
        ("crun-credit", "405"),
        ("USD", "-2.025"),
    ]
    assert found["usd"]["high"] == "0"


def test_a_difference_of_ranges_is_told_part_by_part(kl: Cli) -> None:
    crun = HEADER + "a,crun,kling/v3,5,1080p,yes,3\n"
    before, after = write(kl, HEADER + FIRST, "a.csv"), write(kl, crun, "b.csv")
    # 405 or 450 credits are 2.025 or 2.25 dollars; RunAPI frees failures.
    found = kl.json("plan", "diff", before, after, "--failure-rate", "10%", *AT)
    summary = "this change adds low 0.00 USD, expected 0.00 USD, high 0.225 USD"
    assert found["summary"] == summary


def test_a_terminal_of_eighty_columns_shows_the_unit(kl: Cli) -> None:
    model = "fal-ai/kling-video/v3/pro/text-to-video"
    crun = "f,crun,kling/v3,5,1080p,yes,3\n"
    clips = write(kl, HEADER + f"shot-01,fal,{model},5,1080p,yes,3\n" + crun)
    lines = on_a_terminal(kl, "plan", clips, "--failure-rate", "10%", "--sellers", *AT)
    # The model is too long a word for a table of so many columns: each row is lines of its own.
    assert max(map(len, lines)) <= 80
    assert {"unit  USD", "unit  crun-credit"} <= {line.strip() for line in lines}


def test_a_note_that_differs_in_its_amounts_alone_is_told_once(kl: Cli) -> None:
    longer = "b,runapi,kling-3.0,10,1080p,yes,1\nc,runapi,kling-3.0,15,1080p,yes,1\n"
    said = kl("plan", write(kl, HEADER + FIRST + longer), *AT)
    assert said.err.count("two figures of RunAPI disagree") == 1
    assert "(so for 2 more of these prices)" in said.err
    found = kl.json("plan", write(kl, HEADER + FIRST + longer), *AT)
    assert sum("two figures" in note for note in found["notes"]) == 3


def on_a_terminal(cli: Cli, *words: str) -> list[str]:
    """Run a command on a terminal of eighty columns; return its lines without their colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    subprocess.run(
        [COMMAND, *words],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        cwd=cli.folder,
        check=True,
    )
    os.close(theirs)
    written = b""
    with suppress(OSError):
        while block := os.read(ours, 65_536):
            written += block
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;]*m", "", written.decode())
    return [line.rstrip() for line in text.splitlines()]


def test_a_difference_needs_two_sides_and_ids_that_name_one_row(kl: Cli) -> None:
    clips = write(kl, ROWS)
    said = kl("plan", "diff", clips)
    assert (said.code, "nothing to compare" in said.err) == (2, True)
    twice = kl("plan", "diff", clips, write(kl, HEADER + FIRST + FIRST, "twice.csv"))
    assert twice.code == 2
    assert "an id that no other row has" in twice.err


def test_the_help_has_an_example(kl: Cli) -> None:
    assert "plan storyboard.csv --takes 3" in kl("plan", "--help").out
    assert "plan diff before.csv after.csv" in kl("plan", "diff", "--help").out
