"""A batch's manifest: every way to write a row, and what is said of rows that are none."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kling_ledger.errors import ConfigError
from kling_ledger.jobs.batch_jobs import BatchJob
from kling_ledger.manifests.batch import BadRow, read_jobs
from kling_pricing import NoPriceError
from kling_pricing.library import Library
from tests.hostile import MOST_MB, measured
from tests.sandbox_rig import AT, PRICES, PROVIDERS, body

BOOKS = Library()
CLIP = {
    "provider": "runapi",
    "model": "kling-3.0",
    "seconds": 5,
    "resolution": "1080p",
    "sound": True,
    "prompt": "a lake",
}


def read(path: Path, **more: Any) -> tuple[list[BatchJob], list[BadRow]]:
    given = {"name": "clips", "at": AT, "project": None, "labels": {}, "library": BOOKS, **more}
    return read_jobs(path, **given)


def jsonl(folder: Path, *rows: Any, name: str = "clips.jsonl") -> Path:
    path = folder / name
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def table(folder: Path, *rows: Mapping[str, object], delimiter: str = ",") -> Path:
    path = folder / "clips.csv"
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, names, restval="", delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def only(found: tuple[list[BatchJob], list[BadRow]]) -> BatchJob:
    jobs, bad = found
    assert bad == []
    [job] = jobs
    return job


def problem(found: tuple[list[BatchJob], list[BadRow]]) -> str:
    jobs, bad = found
    assert jobs == []
    [row] = bad
    return str(row.error)


# --- what a row may be --------------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_row_may_be_any_providers_own_body(tmp_path: Path, provider: str):
    row = {"provider": provider, "request": body(provider)}
    job = only(read(jsonl(tmp_path, row)))
    assert (job.provider, job.request.body) == (provider, body(provider))
    assert job.cost.amount == Decimal(PRICES[provider])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_body_in_a_cell_of_csv_is_the_same_job(tmp_path: Path, provider: str):
    by_json = only(read(jsonl(tmp_path, {"provider": provider, "request": body(provider)})))
    row = {"provider": provider, "request": json.dumps(body(provider))}
    assert only(read(table(tmp_path, row))) == by_json


def test_one_manifest_may_hold_all_providers(tmp_path: Path):
    rows = [{"provider": name, "request": body(name)} for name in PROVIDERS]
    jobs, bad = read(jsonl(tmp_path, *rows))
    assert [job.provider for job in jobs] == list(PROVIDERS)
    assert [job.place for job in jobs] == [1, 2, 3, 4]
    assert bad == []


def test_a_row_may_be_a_clip_and_its_prompt(tmp_path: Path):
    job = only(read(jsonl(tmp_path, CLIP)))
    assert job.request.body == body("runapi")
    assert job.cost.amount == Decimal("0.675")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_clip_in_csv_is_the_same_job(tmp_path: Path, delimiter: str):
    expected = only(read(jsonl(tmp_path, CLIP)))
    assert only(read(table(tmp_path, {**CLIP, "sound": "Yes"}, delimiter=delimiter))) == expected


def test_seconds_may_be_written_with_a_point(tmp_path: Path):
    assert (
        only(read(jsonl(tmp_path, {**CLIP, "seconds": 5.0}))).key
        == only(read(jsonl(tmp_path, CLIP))).key
    )


def test_a_json_line_may_hold_what_ends_lines_elsewhere(tmp_path: Path):
    row = json.dumps({**CLIP, "prompt": "one\u2028two\x85three"}, ensure_ascii=False)
    job = only(read(jsonl(tmp_path, row)))
    assert job.request.body["prompt"] == "one\u2028two\x85three"


def test_a_prompt_in_csv_may_hold_commas_quotes_and_lines(tmp_path: Path):
    prompt = 'a "lake", at\nsunrise; тихо'
    assert only(read(table(tmp_path, {**CLIP, "prompt": prompt}))).request.body["prompt"] == prompt


def test_a_row_has_its_own_project_key_and_labels_or_those_of_all(tmp_path: Path):
    own = {**CLIP, "project": "app", "key": "shot-1", "labels": {"a": 1}, "label:b": "2"}
    jobs, bad = read(jsonl(tmp_path, own, CLIP), project="film", labels={"a": "0", "c": "3"})
    assert bad == []
    assert [(job.project, dict(job.labels)) for job in jobs] == [
        ("app", {"a": "1", "b": "2", "c": "3"}),
        ("film", {"a": "0", "c": "3"}),
    ]
    assert jobs[0].key == "shot-1"
    assert jobs[1].key.startswith("batch/clips/")


def test_empty_lines_are_no_rows(tmp_path: Path):
    jobs, bad = read(jsonl(tmp_path, "", CLIP, "  ", CLIP, ""))
    assert [job.place for job in jobs] == [1, 2]
    assert jobs[0].key != jobs[1].key
    assert bad == []


# --- what is no row -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"provider": ', "line 1"),
        ("[1]", "line 1"),
        ('{"provider": "runapi", "provider": "crun"}', "line 1"),
        ({"provider": "runapi", "request": {}}, "model"),
        ({"provider": "runapi", "request": "no object"}, "valid JSON"),
        ({"provider": "runapi", "request": "[]"}, "a JSON object"),
        ({"provider": "runapi", "request": body("runapi", duration_seconds=2)}, "duration_seconds"),
        (
            {"provider": "runapi", "request": body("runapi"), "seconds": 6},
            "seconds: got 6, allowed: 5, from its request",
        ),
        ({"provider": "runapi", "request": body("runapi"), "prompt": "x"}, "prompt: no such"),
        ({**CLIP, "duration": 5}, "duration: no such column: meant seconds?"),
        ({**CLIP, "Audio ": True}, "Audio: no such column: meant sound?"),
        ({**CLIP, "colour": "blue"}, "colour: no such column"),
        ({**CLIP, "seconds": "five"}, "seconds"),
        ({**CLIP, "sound": "perhaps"}, "sound"),
        ({**CLIP, "project": 5}, "project: got 5"),
        ({**CLIP, "key": " "}, "key: got ' '"),
        ({**CLIP, "labels": "a=1"}, "labels"),
        ({**CLIP, "prompt": 5}, "prompt"),
        ({name: value for name, value in CLIP.items() if name != "prompt"}, "prompt"),
    ],
)
def test_a_row_that_is_none_says_what_is_wrong_with_it(tmp_path: Path, row: Any, said: str):
    assert said in problem(read(jsonl(tmp_path, row)))


@pytest.mark.parametrize("row", [{**CLIP, "model": "kling-9"}, {**CLIP, "provider": "nobody"}])
def test_a_row_without_a_price_says_so(tmp_path: Path, row: dict[str, Any]):
    _, [bad] = read(jsonl(tmp_path, row))
    assert isinstance(bad.error, NoPriceError)


def test_every_bad_row_is_told_with_its_place(tmp_path: Path):
    jobs, bad = read(jsonl(tmp_path, CLIP, "{", CLIP, {"provider": "runapi"}, "[]"))
    assert [job.place for job in jobs] == [1, 3]
    assert [row.place for row in bad] == [2, 4, 5]


def test_bad_cells_of_csv_are_told_row_by_row(tmp_path: Path):
    path = table(tmp_path, CLIP, {**CLIP, "seconds": "long"}, CLIP)
    path.write_text(path.read_text(encoding="utf-8") + "too,few\n", encoding="utf-8")
    jobs, bad = read(path)
    assert [job.place for job in jobs] == [1, 3]
    assert [row.place for row in bad] == [2, 4]
    path = table(tmp_path, {"provider": "runapi", "request": "{"}, CLIP)
    assert [row.place for row in read(path)[1]] == [1]


def test_a_bad_row_says_where_it_stands_though_rows_above_it_are_empty(tmp_path: Path):
    path = tmp_path / "clips.csv"
    path.write_text("sep=,\nProvider , MODEL\n,\nrunapi,\n,\n,,x\n")
    _, bad = read(path)
    assert [(row.place, row.where) for row in bad] == [(1, "line 4"), (2, "line 6")]


@pytest.mark.parametrize("sound", [None, "", " "])
def test_a_row_that_leaves_out_what_its_price_depends_on_is_told(tmp_path: Path, sound: Any):
    told = problem(read(jsonl(tmp_path, {**CLIP, "sound": sound})))
    assert told == "sound: got nothing, allowed: without sound, with sound"


def test_how_an_old_encoding_was_read_is_told(tmp_path: Path):
    path, notes = table(tmp_path, {**CLIP, "prompt": "Größe"}), list[str]()
    path.write_bytes(path.read_text(encoding="utf-8-sig").encode("cp1252"))
    assert only(read(path, note=notes.append)).request.body["prompt"] == "Größe"
    assert notes == ["not UTF-8: it was read as cp1252; save it as UTF-8 if letters are wrong"]


def test_two_rows_cannot_share_a_key_of_their_own(tmp_path: Path):
    rows = [{**CLIP, "key": "shot-1"}, CLIP, {**CLIP, "key": "shot-1"}]
    _, [bad] = read(jsonl(tmp_path, *rows))
    assert bad.place == 3
    assert "row 1" in str(bad.error)


@pytest.mark.parametrize("content", [b"", b" \n\n", b"\xff\xfe\x00"])
def test_a_file_without_rows_is_an_error(tmp_path: Path, content: bytes):
    path = tmp_path / "clips.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        read(path)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path / "clips.jsonl")


ODD: list[Any] = [None, True, 0, -1, 5.5, "", "x", [], {}, [[]], {"a": {}}, "1e999", 10**30]


def test_whatever_a_row_holds_is_a_job_or_told(tmp_path: Path):
    chance = random.Random(5)  # noqa: S311 - rows to repeat, no secret
    names = [
        *CLIP,
        "action",
        "request",
        "project",
        "key",
        "labels",
        "label:x",
        "image_url",
        "cfg_scale",
    ]
    for _ in range(300):
        changed = {chance.choice(names): chance.choice(ODD) for _ in range(chance.randrange(1, 3))}
        jobs, bad = read(jsonl(tmp_path, {**CLIP, **changed}))
        assert len(jobs) + len(bad) == 1, changed


# --- other kinds of file ------------------------------------------------------------------------


def test_a_manifest_may_be_a_list_of_json_or_parquet(tmp_path: Path):
    expected = only(read(jsonl(tmp_path, CLIP)))
    path = tmp_path / "clips.json"
    path.write_text(json.dumps([CLIP]))
    assert only(read(path)) == expected
    pd.DataFrame([CLIP]).to_parquet(tmp_path / "clips.parquet")
    assert only(read(tmp_path / "clips.parquet")) == expected


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path):
    path = tmp_path / "clips.csv"
    path.write_text("provider,model,seconds,seconds\nrunapi,kling-3.0,5,6\n")
    with pytest.raises(ConfigError, match="the column seconds appears twice"):
        read(path)


def test_many_bad_rows_are_counted_in_little_memory(tmp_path: Path):
    row = "runapi,kling-3.0,five,1080p,yes,a lake\n"
    header = "provider,model,seconds,resolution,sound,prompt\n"
    (tmp_path / "clips.csv").write_text(header + row * 200_000)
    ran = measured(tmp_path, "batch", "clips.csv", "--wallet", "team")
    assert (ran.code, ran.out) == (2, "")
    told, last = ran.err.splitlines()
    named = ", ".join(f"row {n} (line {n + 1})" for n in range(1, 6))
    what = 'seconds: got "five", allowed: a number'
    assert told.startswith(f"error: {named} and 199,995 more rows: {what}")
    assert last == "nothing was started: 200,000 rows cannot be run"
    assert ran.megabytes < MOST_MB
