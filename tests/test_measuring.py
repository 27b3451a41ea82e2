"""Measuring: the length of a clip says what a job costs whose provider bills what it makes.

EvoLink bills motion control by the seconds of the file, to the nearest whole one, 8.1648 credits
each: 3 to 30 of them where the clip follows a video.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from kling_ledger.jobs.downloads import download
from kling_ledger.jobs.measuring import cost_of, length_of, settled_by_length
from kling_ledger.ledger import Reservation, State
from kling_reports import accruals, variance
from tests.cli import Cli, SandboxProcess, sandbox_process
from tests.ledgers import found, money
from tests.metering import SETTINGS, House, house
from tests.reports_ledger import query, rows
from tests.test_pricing_bodies import body_of


def credits_(amount: str) -> str:
    return f"{amount} evolink-credit"


def box(name: bytes, content: bytes = b"", size: int | None = None) -> bytes:
    return (8 + len(content) if size is None else size).to_bytes(4, "big") + name + content


def header(parts: int, length: int, *, is_long: bool = False) -> bytes:
    """A movie header of so many parts of a second, in either of its two forms."""
    size = 8 if is_long else 4
    version = b"\x01\0\0\0" if is_long else b"\0\0\0\0"
    instants = bytes(2 * size)
    return box(
        b"mvhd",
        version + instants + parts.to_bytes(4, "big") + length.to_bytes(size, "big") + bytes(80),
    )


@pytest.fixture
def here(tmp_path: Path) -> Iterator[House]:
    with house(str(tmp_path / "ledger")) as made:
        yield made


def motion(here: House, prompt: str = "the hat") -> Reservation:
    body = {**body_of("evolink_motion"), "prompt": prompt}
    return here.meter("evolink").run(body)


def file_of(folder: Path, *boxes: bytes) -> Path:
    path = folder / "clip.mp4"
    path.write_bytes(b"".join(boxes))
    return path


@pytest.mark.parametrize(
    ("boxes", "seconds"),
    [
        ((box(b"ftyp", b"isom"), box(b"moov", header(1000, 10_041))), "10.041"),
        ((box(b"moov", header(600, 3000, is_long=True)),), "5"),
        # The movie may come last, after what it plays; a large box has its size in eight bytes.
        ((box(b"mdat", bytes(64)), box(b"moov", box(b"udta") + header(24, 60))), "2.5"),
        ((box(b"mdat", (24).to_bytes(8, "big") + bytes(8), 1), box(b"moov", header(1, 7))), "7"),
        ((box(b"moov", header(1000, 4000), 0),), "4"),
        # What does not say its length, or is no movie at all.
        ((box(b"moov", header(1000, 0)),), None),
        ((box(b"moov", header(0, 5)),), None),
        ((box(b"moov", header(1000, 2**32 - 1)),), None),
        ((box(b"moov", box(b"trak")),), None),
        ((box(b"moov", header(1000, 5000))[:12],), None),
        ((b"<html>gone</html>",), None),
        ((), None),
    ],
)
def test_a_file_says_how_long_it_plays(
    tmp_path: Path, boxes: tuple[bytes, ...], seconds: str | None
):
    expected = None if seconds is None else Decimal(seconds)
    assert length_of(file_of(tmp_path, *boxes)) == expected


def test_what_was_reserved_before_the_run_confirms_no_cost_that_the_run_decides(here: House):
    ended = motion(here, "the hat [cost 81.648]")
    # EvoLink reserves 5 s of a clip that may be 3 to 30 s long, and its answer names no cost.
    assert (ended.state, ended.settled_by) == (State.COMMITTED, "quote")
    figures = (ended.low, ended.committed, ended.quoted)
    assert figures == tuple(money(credits_(one)) for one in ("24.4944", "40.824", "244.944"))
    assert not ended.is_confirmed
    month = f"{ended.created_at:%Y-%m}"
    jobs = accruals.report(here.ledger.database, query(period=month)).table("jobs")
    assert rows(jobs, "kind", "expected", "low", "high") == [
        ("not confirmed", *map(Decimal, ("40.824", "24.4944", "244.944")))
    ]


@pytest.mark.parametrize(
    ("length_s", "cost"),
    [
        ("10", "81.648"),
        ("10.041667", "81.648"),
        ("9.5", "81.648"),
        ("9.499", "73.4832"),
        ("3", "24.4944"),
        ("30.3", "244.944"),
        # No clip of this job is so short, or so long: that file is of something else.
        ("2", None),
        ("31", None),
    ],
)
def test_the_quotes_own_rate_prices_what_came_out(here: House, length_s: str, cost: str | None):
    expected = None if cost is None else money(credits_(cost))
    assert cost_of(motion(here), Decimal(length_s)) == expected


def test_a_job_of_ten_seconds_is_settled_by_them(here: House, tmp_path: Path):
    ended = motion(here, "the hat [cost 81.648]")
    clip = file_of(tmp_path, box(b"moov", header(1000, 10_041)))
    settled = settled_by_length(here.ledger, ended, [clip])
    assert (settled.spent, settled.settled_by) == (money(credits_("81.648")), "measured")
    # What the sandbox really charged: the ledger agrees, and still knows that nobody said so.
    (task,) = here.tasks("evolink")
    assert task["charged"] == "81.648"
    assert not settled.is_confirmed
    assert settled_by_length(here.ledger, settled, [clip]) == settled
    events = "SELECT settled_by, reason FROM job_event ORDER BY step"
    assert found(here.ledger, events)[-1] == {
        "settled_by": "measured",
        "reason": "its clip is 10.041 s long",
    }
    assert here.ledger.verify().is_clean
    table = variance.report(here.ledger.database, query("provider")).main
    assert rows(table, "quoted", "held", "settled", "variance", "confirmation", "accuracy") == [
        (*map(Decimal, ("244.944", "244.944", "81.648", "-163.296")), "none yet", None)
    ]


def test_the_sandboxs_clips_are_as_long_as_what_it_charges(here: House, tmp_path: Path):
    ended = motion(here)
    files = download(ended.videos, tmp_path, name=ended.id)
    settled = settled_by_length(here.ledger, ended, files)
    (task,) = here.tasks("evolink")
    assert settled.spent == money(credits_(task["charged"])) == money(credits_("40.824"))


def test_a_word_on_its_cost_outweighs_a_length(here: House, tmp_path: Path):
    ended = motion(here)
    clip = file_of(tmp_path, box(b"moov", header(1000, 10_000)))
    billed = here.ledger.correct(
        ended.id, money(credits_("89.8128")), reason="the bill", settled_by="bill"
    )
    assert settled_by_length(here.ledger, billed, [clip]) == billed


def test_a_price_that_does_not_follow_the_file_is_not_measured(here: House, tmp_path: Path):
    ended = here.run("uniall")
    clip = file_of(tmp_path, box(b"moov", header(1000, 4_000)))
    assert ended.settled_by == "quote"
    assert settled_by_length(here.ledger, ended, [clip]) == ended


def test_several_clips_or_none_measure_nothing(here: House, tmp_path: Path):
    ended = motion(here)
    clip = file_of(tmp_path, box(b"moov", header(1000, 10_000)))
    assert settled_by_length(here.ledger, ended, []) == ended
    assert settled_by_length(here.ledger, ended, [clip, clip]) == ended


@pytest.fixture
def process(tmp_path: Path) -> Iterator[SandboxProcess]:
    with sandbox_process(tmp_path) as running:
        yield running


def test_run_settles_by_the_clip_that_it_saves(tmp_path: Path, process: SandboxProcess):
    cli = Cli(tmp_path, {"EVOLINK_API_KEY": SETTINGS.key_of("evolink")})
    cli("wallet", "create", "evo", "--unit", "evolink-credit")
    cli("wallet", "fund", "evo", "1000")
    words = ["run", "--provider", "evolink", "--request", "-", "--wallet", "evo", "--out", "clips"]
    more = ["--base-url", process.url, "--poll-every", "0.1", "--format", "json"]
    said = cli(*words, *more, stdin=json.dumps(body_of("evolink_motion")))
    assert said.code == 0, said.err
    told = said.json
    assert (told["settled_by"], told["quoted"], told["low"]) == ("measured", "244.944", "24.4944")
    assert Decimal(told["committed"]) - Decimal(told["refunded"]) == Decimal("40.824")
    assert "costs 40.824 evolink-credit, from the length of its clip" in said.err
