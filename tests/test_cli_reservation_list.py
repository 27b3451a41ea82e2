"""`kling-ledger reservation list`: what is asked for, newest first, few or all of it."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kling_ledger.ledger import Asked, Job, Ledger
from tests.cli import COMMAND, Cli
from tests.ledgers import NOON, Clock, usd

MANY = 12_000
MEASURED = """
import re, sys
from pathlib import Path
from kling_ledger.cli import main
try:
    main()
finally:
    used = re.search("VmHWM:[^0-9]*([0-9]+)", Path("/proc/self/status").read_text())[1]
    print(used, file=sys.stderr)
"""
"""A command that says at its end how many kB of memory it had at most."""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Twelve reservations, a minute apart, in two wallets, of two kinds."""
    cli, clock = Cli(tmp_path), Clock(NOON)
    with Ledger(str(cli.database), clock=clock) as ledger:
        for wallet in ("team", "other"):
            ledger.wallets.create(wallet, "USD")
            ledger.wallets.fund(wallet, usd("10"))
        for place in range(12):
            is_odd = place % 2 == 1
            job = Job(
                provider="crun" if is_odd else "runapi",
                model="kling-2.6" if is_odd else "kling-3.0",
                account="north" if is_odd else "studio",
                address="https://gateway.example",
            )
            ledger.reserve(
                "other" if is_odd else "team",
                usd("0.1"),
                job=job,
                project="film/odd" if is_odd else "film",
                labels={"client": "b" if is_odd else "a", "place": str(place)},
            )
            clock.forward(minutes=1)
    return cli


def places(rows: list[dict[str, object]]) -> list[int]:
    return [int(row["labels"]["place"]) for row in rows]  # type: ignore[index]


ODD = [11, 9, 7, 5, 3, 1]
EVEN = [10, 8, 6, 4, 2, 0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--project", "film/odd"], ODD),
        (["--project", "film"], EVEN),
        (["--project", "film/"], list(range(11, -1, -1))),
        (["--provider", "crun"], ODD),
        (["--account", "studio"], EVEN),
        (["--model", "kling-2.6"], ODD),
        (["--label", "client=a"], EVEN),
        (["--label", "place=7"], [7]),
        (["--wallet", "other", "--limit", "2"], [11, 9]),
        (["--since", "2026-03-18T12:09:00Z"], [11, 10, 9]),
        (["--until", "2026-03-18T12:02:00Z"], [1, 0]),
        (["--until", "2026-03-18T12:05:00Z", "--model", "kling-3.0"], [4, 2, 0]),
        (["--provider", "crun", "--state", "committed"], []),
    ],
)
def test_a_list_is_of_what_is_asked_for(cli: Cli, words: list[str], expected: list[int]) -> None:
    assert places(cli.json("reservation", "list", *words)) == expected


def test_a_list_that_is_cut_says_how_it_goes_on(cli: Cli) -> None:
    words = ["reservation", "list", "--limit", "5", "--label", "client=a", "--format", "json"]
    said = cli(*words)
    assert places(said.json) == [10, 8, 6, 4, 2]
    first, command = said.lines
    assert first == "note: there are more. To list the next:"
    name, *again = shlex.split(command)
    assert (name, again) == ("kling-ledger", [*words, "--after", said.json[-1]["id"]])
    rest = cli(*again)
    assert (places(rest.json), rest.err) == ([0], "")


def test_a_list_that_ends_at_its_limit_is_not_cut(cli: Cli) -> None:
    assert cli("reservation", "list", "--limit", "12").err == ""
    assert "there are more" in cli("reservation", "list", "--limit", "11").err


def test_every_form_has_the_same_reservations(cli: Cli) -> None:
    listed = cli.json("reservation", "list")
    said = cli("reservation", "list", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert [row["id"] for row in rows] == [row["id"] for row in listed]
    table = cli("reservation", "list").out
    assert [line.split()[0] for line in table.splitlines()[3:-1]] == [row["id"] for row in listed]
    assert cli("reservation", "list", "--format", "json").out == (
        json.dumps(listed, indent=2, ensure_ascii=False) + "\n"
    )


def test_nothing_is_an_empty_list_in_every_form(cli: Cli) -> None:
    words = ("reservation", "list", "--state", "expired")
    assert cli(*words, "--format", "json").out == "[]\n"
    assert len(cli(*words, "--format", "csv").out.splitlines()) == 1
    assert cli(*words).err == "no reservations\n"


def test_an_unknown_wallet_or_page_or_label_is_an_error(cli: Cli) -> None:
    for words in (["--wallet", "nobody"], ["--after", "res_none"], ["--label", "client"]):
        said = cli("reservation", "list", *words)
        assert (said.code, said.out) == (2, "")


def test_a_narrow_terminal_keeps_what_matters(cli: Cli) -> None:
    ours, theirs = pty.openpty()
    environ = {**os.environ, "KLING_LEDGER_DB": str(cli.database), "COLUMNS": "80"}
    command = [COMMAND, "reservation", "list", "--limit", "2", "--wallet", "team"]
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=environ)
    os.close(theirs)
    shown = b""
    # A terminal whose other side was closed is an error to read.
    with suppress(OSError):
        while some := os.read(ours, 65_536):
            shown += some
    os.close(ours)
    _, said = process.communicate(timeout=60)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    assert max(map(len, lines)) <= 80
    head = next(line for line in lines if "state" in line)
    assert " ".join(head.split()) == "state wallet project model amount committed unit age"
    assert b"no room for id, created at; --format json has all" in said


@pytest.mark.parametrize(
    ("age", "told"),
    [
        (timedelta(days=400), "400d"),
        (timedelta(hours=47, minutes=30), "1d"),
        (timedelta(hours=23, minutes=30), "23h"),
        (timedelta(minutes=59), "59min"),
        (timedelta(seconds=30), "3"),
    ],
)
def test_an_age_is_told_in_its_largest_whole_unit(
    tmp_path: Path, age: timedelta, told: str
) -> None:
    cli = Cli(tmp_path)
    cli.fund("1 USD")
    with Ledger(str(cli.database), clock=lambda: datetime.now(UTC) - age) as ledger:
        ledger.reserve("team", usd("0.1"))
    row = cli("reservation", "list").out.splitlines()[3]
    assert f"  {told}" in row


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of jobs whose requests are 5 kB long: all of them at once are 60 MB."""
    path = tmp_path_factory.mktemp("large") / "ledger.sqlite"
    asked = Asked("team", usd("0.1"), Job(request=json.dumps({"prompt": "a lake " * 700})))
    with Ledger(str(path)) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("10000"))
        for _ in range(MANY // 1000):
            ledger.reserve_many([asked] * 1000)
    return path


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_a_long_list_is_not_held_in_memory(large: Path, form: str) -> None:
    words = ["reservation", "list", "--limit", "100000", "--format", form, "--db", str(large)]
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, *words], capture_output=True, check=True, text=True
    )
    assert sum("res_0" in line for line in ran.stdout.splitlines()) == MANY
    assert int(ran.stderr) < 80 * 1024
