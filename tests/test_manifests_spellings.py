"""One reader of tables of clips: a quote, a batch and a plan read the same of any spelling."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_ledger.manifests.batch import read_jobs
from kling_ledger.manifests.planning import Usual, read_storyboard
from kling_ledger.manifests.pricing import price_chunk
from kling_ledger.manifests.reading import open_manifest
from kling_pricing import Clip, PricingError, Quote, quote
from kling_pricing.bulk.rows import clips_of, read_column
from kling_pricing.clip import CLIP_FIELDS
from kling_pricing.library import Library

AT = datetime(2026, 11, 20, tzinfo=UTC)
LIBRARY = Library()
FIELDS: Final = ("provider", "model", "seconds", "resolution", "sound")
COLUMNS: Final = (*FIELDS, "prompt")

MODELS: Final = (
    ("runapi", "kling-3.0"),
    ("crun", "kling/v3"),
    ("evolink", "kling-v3-text-to-video"),
    ("nobody", "kling-3.0"),
)
TRUE: Final = ("TRUE", "true", "1", "yes", "On", "WAHR", "ja", "Vrai", "是")
FALSE: Final = ("FALSE", "false", "0", "no", "OFF", "FALSCH", "Nein", "faux", "否")
NO_FLAG: Final = ("perhaps", "2", "-1")
NO_LENGTH: Final = ("five", "5,125", "1e1", "-5", "0", "")
BLANKS: Final = ("", " ", "\u00a0", "\t")

Table = list[dict[str, str]]


# --- a table, and the ways in which people write it ---------------------------------------------


@st.composite
def spelt_rows(draw: st.DrawFn) -> dict[str, str]:
    """One row as text: a clip whose every cell is spelt at random, sometimes one that is none."""
    provider, model = draw(st.sampled_from(MODELS))
    seconds = draw(st.integers(3, 12))
    spellings = {
        "provider": [provider, provider.upper(), provider.title()],
        "model": [model],
        "seconds": [f"{seconds}", f"{seconds}.0", f"{seconds},0", f"0{seconds}", *NO_LENGTH],
        "resolution": ["720p", "720P", "1080p", "1080P", "4k", "4K", "8k", ""],
        "sound": [*TRUE, *FALSE, *NO_FLAG, ""],
    }
    cells = {name: draw(st.sampled_from(many)) for name, many in spellings.items()}
    if cells["seconds"] not in NO_LENGTH and draw(st.booleans()):
        cells["seconds"] = draw(st.sampled_from(BLANKS)) + cells["seconds"]
    return {**cells, "prompt": "a lake"}


def headers(pick: random.Random) -> dict[str, str]:
    def spelt(name: str) -> str:
        word = pick.choice([name, name.upper(), name.title()])
        return pick.choice(["", " "]) + word + pick.choice(["", " ", "\u00a0"])

    return {name: spelt(name) for name in COLUMNS}


def as_csv(rows: Table, pick: random.Random) -> bytes:
    text, delimiter = io.StringIO(), pick.choice(",;\t")
    named = headers(pick)
    order = pick.sample(COLUMNS, len(COLUMNS))
    if pick.random() < 0.3:
        text.write(f"sep={delimiter}\r\n")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow([named[name] for name in order])
    for row in rows:
        if pick.random() < 0.3:
            writer.writerow([pick.choice(["", " "]) for _ in order])
        writer.writerow([row[name] for name in order])
    written = text.getvalue()
    encodings = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]
    return written.encode(pick.choice(encodings))


def as_objects(rows: Table, pick: random.Random) -> list[dict[str, Any]]:
    """Return the rows as programs write them: some cells with a type of their own."""
    named = headers(pick)
    return [{named[name]: typed(name, row[name], pick) for name in COLUMNS} for row in rows]


def typed(name: str, cell: str, pick: random.Random) -> Any:
    choices: list[Any] = [cell]
    if name == "sound" and cell in {*TRUE, *FALSE}:
        choices += [cell in TRUE, int(cell in TRUE), float(cell in TRUE)]
    if name == "seconds" and cell.strip().isdecimal():
        choices += [int(cell), float(cell)]
    if not cell:
        choices.append(None)
    return pick.choice(choices)


def as_jsonl(rows: Table, pick: random.Random) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in as_objects(rows, pick)).encode()


def as_json(rows: Table, pick: random.Random) -> bytes:
    return json.dumps(as_objects(rows, pick), indent=pick.choice([None, 1])).encode()


def as_parquet(rows: Table, pick: random.Random) -> bytes:
    """Return the rows in columns of one type each: numbers where all of a column are some."""
    named, file = headers(pick), io.BytesIO()
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in COLUMNS}
    if all(cell.strip().isdecimal() for cell in columns["seconds"]):
        columns["seconds"] = np.array(columns["seconds"], dtype=pick.choice(["int16", "float64"]))
    if all(cell in {*TRUE, *FALSE} for cell in columns["sound"]):
        flags = [cell in TRUE for cell in columns["sound"]]
        columns["sound"] = np.array(flags, dtype=pick.choice(["bool", "int64", "float64"]))
    pd.DataFrame(columns).rename(columns=named).to_parquet(file)
    return file.getvalue()


WRITERS: Final = {"csv": as_csv, "jsonl": as_jsonl, "json": as_json, "parquet": as_parquet}


# --- what both readers make of it ---------------------------------------------------------------


def quoted(path: Path) -> list[tuple[Clip, int] | None]:
    """Return the clip of each row and its millionths, as a quote of the manifest reads it."""
    found: list[tuple[Clip, int] | None] = []
    with open_manifest(str(path)) as manifest:
        for chunk in manifest.chunks:
            priced = price_chunk(chunk, AT, LIBRARY)
            amounts = priced["amount_micro"].tolist()
            found += [
                None if said is None or pd.isna(amount) else (said, amount)
                for said, amount in zip(clips(priced), amounts, strict=True)
            ]
    return found


def clips(frame: pd.DataFrame) -> Sequence[Clip | None]:
    columns = [read_column(name, frame[name]) for name in CLIP_FIELDS if name in frame.columns]
    return [clip_or_none(said) for said in clips_of(columns, np.arange(len(frame)))]


def clip_or_none(said: Mapping[str, Any]) -> Clip | None:
    try:
        return Clip(**said)
    except (PricingError, TypeError):
        return None


def batched(path: Path) -> list[tuple[Clip, int] | None]:
    """Return the clip of each row and its millionths, as a batch of the manifest reads it."""
    jobs, bad = read_jobs(path, name="x", at=AT, project=None, labels={}, library=LIBRARY)
    # What only its provider can price is a job, and no quote.
    found = {
        job.place: (job.request.clip, job.quote.amount.micro)
        for job in jobs
        if isinstance(job.quote, Quote)
    }
    return [found.get(place) for place in range(1, len(jobs) + len(bad) + 1)]


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=60)
@given(rows=st.lists(spelt_rows(), min_size=1, max_size=6), seed=st.integers(0, 2**16))
def test_a_quote_a_batch_and_a_plan_read_the_same_clips_from_the_same_table(
    kind: str, rows: Table, seed: int
) -> None:
    pick = random.Random(seed)  # noqa: S311 - spellings to repeat, no secret
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clips.{kind}"
        path.write_bytes(WRITERS[kind](rows, pick))
        one, other, third = quoted(path), batched(path), planned(path)
    assert len(one) == len(rows)
    assert one == other
    assert [pair and pair[0] for pair in one] == [
        clip if pair else None for clip, pair in zip(third, one, strict=True)
    ]
    assert one == [meant(row) for row in rows]


def planned(path: Path) -> list[Clip | None]:
    """Return the clip of each row, as a plan of the manifest reads it."""
    rows = read_storyboard(str(path), Usual(Fraction(1), Fraction(0))).rows
    return [clip_or_none(row.fields) for row in rows]


def meant(row: Mapping[str, str]) -> tuple[Clip, int] | None:
    """Return the clip that a row of text means, and its price, by rules of this test's own."""
    cells = {name: cell.strip() for name, cell in row.items()}
    if cells["seconds"] in NO_LENGTH or cells["sound"] not in {*TRUE, *FALSE}:
        return None
    with contextlib.suppress(PricingError):
        clip = Clip(
            cells["provider"].lower(),
            cells["model"],
            seconds=int(cells["seconds"].replace(",", ".").removesuffix(".0")),
            resolution=cells["resolution"].lower() or None,
            sound=cells["sound"] in TRUE,
        )
        return clip, quote(clip, at=AT).amount.micro
    return None
