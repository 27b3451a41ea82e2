"""`kling-ledger quote --manifest`: a file of clips in, the same file with its prices out."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pytest

from kling_ledger.cli import manifest
from kling_ledger.errors import ConfigError
from kling_ledger.manifests import pricing
from kling_ledger.tabular import table
from kling_pricing.book_reader import BookText
from kling_pricing.gateways import read_request
from kling_pricing.library import bundled_text, library_of
from tests.cli import Cli, Said
from tests.hostile import MOST_MB, measured

AT = datetime(2026, 11, 20, tzinfo=UTC)
HEADER = "id,provider,model,seconds,resolution,sound\n"
GOOD = "001,runapi,kling-3.0,5,1080p,yes\n"
BAD = "002,runapi,kling-3.0,five,1080p,yes\n"
UNPRICED = "003,nobody,kling-3.0,5,1080p,yes\n"
CLIP = {"provider": "runapi", "model": "kling-3.0", "seconds": 5, "resolution": "1080p"}
BODY = {
    "model": "kling-3.0",
    "prompt": "a lake at sunrise",
    "duration_seconds": 5,
    "output_resolution": "1080p",
    "enable_sound": True,
}


def run(*arguments: str, stdin: str = "") -> Said:
    return Cli(Path.cwd())("quote", "--at", "2026-11-20", *arguments, stdin=stdin)


def written(folder: Path, text: str, name: str = "clips.csv") -> str:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return str(file)


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_csv_file_comes_back_with_its_prices(tmp_path: Path) -> None:
    out = tmp_path / "priced.csv"
    ran = run("--manifest", written(tmp_path, HEADER + GOOD * 3), "--out", str(out))
    assert (ran.code, ran.out) == (0, "")
    rows = read_csv(out.read_text(encoding="utf-8"))
    assert [row["amount"] for row in rows] == ["0.675"] * 3
    assert rows[0]["id"] == "001"
    assert rows[0]["unit"] == "USD"
    assert "2.025" in ran.err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["clips.csv", "priced.csv"]


@pytest.mark.parametrize(
    ("rows", "code"),
    [(GOOD, 0), (GOOD + BAD, 2), (GOOD + UNPRICED, 7), (UNPRICED + BAD, 2), (UNPRICED, 7)],
)
def test_the_exit_code_says_what_kind_of_rows_there_were(
    tmp_path: Path, rows: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = written(tmp_path, HEADER + rows)
    assert manifest.quote_manifest(clips, at=AT, form="csv") == code
    assert len(read_csv(capsys.readouterr().out)) == rows.count("\n")


def test_bad_rows_are_kept_with_their_error_and_counted(tmp_path: Path) -> None:
    ran = run("--manifest", written(tmp_path, HEADER + GOOD + BAD), "--format", "json")
    good, bad = json.loads(ran.out)
    assert (good["amount"], good["billed_seconds"], good["error"]) == ("0.675", 5, None)
    assert (bad["amount"], bad["error_code"]) == (None, "clip")
    assert bad["error"].startswith('seconds: got "five"')
    assert "1 of 2 rows have no price (clip 1)" in ran.err


def test_lines_of_json_may_hold_a_providers_own_body(tmp_path: Path) -> None:
    rows = lines(
        {"scene": 1, **CLIP, "sound": True},
        {"scene": 2, "provider": "runapi", "request": BODY},
        {"scene": 3, "provider": "runapi", "request": {**BODY, "model": 7}},
        {"scene": 4, "provider": "runapi", "request": BODY, "seconds": 6},
        {"scene": 5, "request": BODY},
    )
    out = tmp_path / "priced.jsonl"
    ran = run("--manifest", written(tmp_path, rows, "clips.jsonl"), "--out", str(out))
    priced = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert ran.code == 2
    assert [row["amount"] for row in priced] == ["0.675", "0.675", None, None, None]
    assert priced[1]["model"] == "kling-3.0"
    assert priced[1]["request"] == BODY
    assert "model" in priced[2]["error"]
    assert priced[3]["error"].startswith("seconds: got 6, allowed: 5, from its request")
    assert priced[4]["error"] == "provider: got nothing, allowed: a name"


@pytest.mark.parametrize(
    "text", [HEADER + GOOD, "\ufeff" + HEADER + GOOD, lines(CLIP | {"sound": True})]
)
def test_stdin_is_read_as_what_it_is(text: str) -> None:
    ran = run("--manifest", "-", "--format", "json", stdin=text)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)[0]["amount"] == "0.675"


def test_parquet_keeps_the_types_of_other_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame([CLIP | {"sound": True}, CLIP | {"sound": None}])
    frame["take"] = pd.array([2**53 + 1, None], dtype="Int64")
    frame.to_parquet(tmp_path / "clips.parquet")
    out = tmp_path / "priced.parquet"
    ran = run("--manifest", str(tmp_path / "clips.parquet"), "--out", str(out))
    priced = pd.read_parquet(out, dtype_backend="numpy_nullable")
    assert ran.code == 2
    assert priced["take"].tolist() == [2**53 + 1, pd.NA]
    assert priced["amount_micro"].tolist() == [675_000, pd.NA]
    assert priced["error"].tolist()[1].startswith("sound: got nothing")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_kind_of_file_can_be_priced_again(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
    clips = written(tmp_path, HEADER + GOOD + BAD)
    manifest.quote_manifest(clips, at=AT, form="csv", out=str(first))
    ran = run("--manifest", str(first), "--out", str(second))
    assert ran.code == 2
    assert ran.err.count("columns replaced by new answers: unit, amount") == 1
    if suffix == "parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(first), pd.read_parquet(second))
    else:
        assert second.read_text(encoding="utf-8") == first.read_text(encoding="utf-8")


def test_a_column_that_an_answer_replaces_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(table, "CHUNK_ROWS", 1)
    text = "amount,scene,error,provider,model,seconds,resolution,sound,notes\n"
    row = "9,a,none,runapi,kling-3.0,5,1080p,yes,take two\n"
    manifest.quote_manifest(written(tmp_path, text + row * 3), at=AT, form="csv")
    told = capsys.readouterr()
    assert told.err.count("replaced by new answers: amount, error, notes\n") == 1
    first = read_csv(told.out)[0]
    assert (first["scene"], first["amount"], first["error"]) == ("a", "0.675", "")
    assert "take two" not in first["notes"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_range_is_written_with_its_ends_and_a_note(tmp_path: Path, suffix: str) -> None:
    text = "provider,model,action,resolution,orientation\n"
    clips = written(tmp_path, text + "runapi,kling-3.0,motion_control,1080p,video\n")
    out = tmp_path / f"priced.{suffix}"
    assert manifest.quote_manifest(clips, at=AT, form="csv", out=str(out)) == 0
    told = out.read_text(encoding="utf-8")
    [row] = read_csv(told) if suffix == "csv" else [json.loads(told)]
    assert (row["low"], row["expected"] or None, row["amount"]) == ("0.405", None, "4.05")
    assert row["notes"].startswith("the billed seconds are known after the run: 3 to 30 s;")


def test_a_parquet_file_holds_millionths_and_notes(tmp_path: Path) -> None:
    out = tmp_path / "priced.parquet"
    manifest.quote_manifest(written(tmp_path, HEADER + GOOD), at=AT, form="csv", out=str(out))
    row = pd.read_parquet(out).to_dict("records")[0]
    assert row["low_micro"] == row["expected_micro"] == row["amount_micro"] == 675_000
    assert "notes" in row


def test_a_table_for_people_shows_a_range_only_where_there_is_one(tmp_path: Path) -> None:
    plain = run("--manifest", written(tmp_path, HEADER + GOOD))
    assert "expected" not in plain.out
    text = "provider,model,action,resolution,orientation\n"
    clips = written(tmp_path, text + "runapi,kling-3.0,motion_control,1080p,video\n")
    assert "0.405" in run("--manifest", clips).out


def test_notes_say_what_reading_a_body_assumed(tmp_path: Path) -> None:
    body = {name: value for name, value in BODY.items() if name != "enable_sound"}
    rows = [{"provider": "runapi", "request": asked} for asked in (body, BODY, body | {"model": 7})]
    ran = run("--manifest", written(tmp_path, lines(*rows), "a.jsonl"), "--format", "json")
    silent, loud, wrong = (row["notes"] for row in json.loads(ran.out))
    [assumed] = read_request("runapi", body).assumptions
    assert assumed in silent
    assert assumed not in (loud or "")
    assert wrong is None


def test_notes_say_that_a_rate_is_the_users_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = bundled_text("runapi").text.replace('"runapi"', '"mine"')
    library = library_of([BookText("mine.toml", text)])
    clips = written(tmp_path, HEADER + GOOD + GOOD.replace("runapi", "mine"))
    assert manifest.quote_manifest(clips, at=AT, form="json", library=library) == 0
    bundled, own = (row["notes"] or "" for row in json.loads(capsys.readouterr().out))
    assert "is set by" not in bundled
    assert own.endswith("rates.kling-3.0 is set by mine.toml")


def test_a_row_that_is_refused_has_no_price_beside_its_error(tmp_path: Path) -> None:
    row = CLIP | {"sound": False, "request": BODY}
    ran = run("--manifest", written(tmp_path, lines(row), "a.jsonl"), "--format", "json")
    [told] = json.loads(ran.out)
    assert told["error"].startswith("sound: got false, allowed: true, from its request")
    assert (told["amount"], told["unit"], told["notes"]) == (None, None, None)
    assert "1 of 1 rows have no price" in ran.err


def test_a_column_that_looks_misspelt_is_warned_about(tmp_path: Path) -> None:
    text = "provider,model,secnds,scene,id\nrunapi,kling-3.0,5,a,1\n"
    ran = run("--manifest", written(tmp_path, text))
    assert "warning: the column secnds is not used for the price; did you mean seconds?" in ran.err
    assert ran.err.count("warning:") == 1
    assert ran.code == 2


def test_no_cell_of_a_csv_file_is_taken_for_a_formula(tmp_path: Path) -> None:
    text = '=1+1,provider,model,seconds\n"=HYPERLINK(""x"")",runapi,+cmd,5\n'
    ran = run("--manifest", written(tmp_path, text), "--format", "csv")
    assert ran.out.startswith("'=1+1,")
    assert "'=HYPERLINK" in ran.out
    assert "'+cmd" in ran.out


def test_a_model_is_asked_for_its_own_action_where_none_is_said(tmp_path: Path) -> None:
    text = HEADER + "1,evolink,kling-v3-image-to-video,5,720p,off\n"
    ran = run("--manifest", written(tmp_path, text), "--format", "json")
    assert json.loads(ran.out)[0]["action"] == "image_to_video"
    assert ran.code == 0


def test_semicolons_part_cells_too(tmp_path: Path) -> None:
    text = (HEADER + GOOD).replace(",", ";")
    ran = run("--manifest", written(tmp_path, text), "--format", "json")
    assert json.loads(ran.out)[0]["amount"] == "0.675"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("clips.csv", "", "the file is empty"),
        ("clips.csv", HEADER, "no clips in it"),
        ("clips.csv", "provider,seconds\nrunapi,5\n", "no column model"),
        ("clips.csv", HEADER + '1,"runapi', "not CSV"),
        ("clips.csv", "model,provider,model\na,b,c\n", "the column model appears twice"),
        ("clips.csv", "model,provider,Model \na,b,c\n", "the column model appears twice"),
        ("clips.jsonl", "", "the file is empty"),
        ("clips.parquet", "PAR1", "not a Parquet file"),
        ("clips.xlsx", "a", "got .xlsx, allowed: .csv, .jsonl, .json or .parquet"),
    ],
)
def test_a_file_that_is_no_manifest_is_one_line_and_leaves_nothing(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    out = tmp_path / "priced.csv"
    with pytest.raises(ConfigError, match=f"{name}: {told}") as caught:
        manifest.quote_manifest(written(tmp_path, text, name), at=AT, form="csv", out=str(out))
    assert "\n" not in caught.value.message
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_missing_file_and_a_missing_folder_are_told(tmp_path: Path) -> None:
    missing = run("--manifest", str(tmp_path / "none.csv"))
    assert (missing.code, missing.err.count("\n")) == (2, 1)
    clips = written(tmp_path, HEADER + GOOD)
    folder = run("--manifest", clips, "--out", str(tmp_path / "none" / "out.csv"))
    assert (folder.code, folder.err.count("\n")) == (2, 1)


def test_the_manifest_is_never_written_over(tmp_path: Path) -> None:
    clips = written(tmp_path, HEADER + GOOD)
    assert run("--manifest", clips, "--out", clips).code == 2
    assert Path(clips).read_text(encoding="utf-8") == HEADER + GOOD


@pytest.mark.parametrize(
    "flags", [("--out", "x.csv"), ("--manifest", "-", "--seconds", "5"), ("--seconds", "5")]
)
def test_flags_that_do_not_go_together_are_refused(flags: tuple[str, ...]) -> None:
    assert run(*flags).code == 2


def test_whoever_stops_it_finds_the_old_file_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "priced.csv"
    out.write_text("old", encoding="utf-8")
    clips = written(tmp_path, HEADER + GOOD * 3)
    monkeypatch.setattr(table, "CHUNK_ROWS", 1)
    monkeypatch.setattr(pricing, "totals", _stopped)
    with pytest.raises(KeyboardInterrupt):
        manifest.quote_manifest(clips, at=AT, form="csv", out=str(out))
    assert out.read_text(encoding="utf-8") == "old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["clips.csv", "priced.csv"]


def _stopped(priced: pd.DataFrame) -> pd.DataFrame:
    raise KeyboardInterrupt


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_the_answer_does_not_depend_on_the_chunks(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = lines(
        CLIP | {"sound": True}, {"late": [1], **CLIP}, {"provider": "nobody", "model": "x"}
    )
    clips = written(tmp_path, rows, "clips.jsonl")
    whole, parts = tmp_path / f"whole.{suffix}", tmp_path / f"parts.{suffix}"
    manifest.quote_manifest(clips, at=AT, form="csv", out=str(whole))
    monkeypatch.setattr(table, "CHUNK_ROWS", 1)
    assert manifest.quote_manifest(clips, at=AT, form="csv", out=str(parts)) == 2
    if suffix == "parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(whole), pd.read_parquet(parts))
    else:
        assert whole.read_bytes() == parts.read_bytes()


def test_parquet_without_pyarrow_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match="need pyarrow") as caught:
        manifest.quote_manifest(written(tmp_path, "PAR1", "a.parquet"), at=AT, form="csv")
    assert caught.value.hint == 'install it with: pip install "kling-ledger[parquet]"'


def test_200_000_rows_are_priced_one_by_one(tmp_path: Path) -> None:
    clips = written(tmp_path, HEADER + (GOOD + GOOD.replace("5", "6")) * 100_000)
    out = tmp_path / "priced.csv"
    ran = run("--manifest", clips, "--out", str(out))
    assert ran.code == 0
    assert "148500" in ran.err
    with out.open(encoding="utf-8") as file:
        assert sum(1 for _ in file) == 200_001


def test_a_csv_of_bodies_needs_no_column_of_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = json.dumps(BODY).replace('"', '""')
    clips = written(tmp_path, f'provider,request\nrunapi,"{cell}"\n')
    assert manifest.quote_manifest(clips, at=AT, form="json") == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["model"], row["amount"]) == ("kling-3.0", "0.675")


# --- rows that are none -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", HEADER + GOOD + ",,,,,\nrunapi\n" + GOOD, "line 4: 1 cells under a header of 6"),
        (
            "a.jsonl",
            lines(CLIP | {"sound": True}) + "{\n" + lines(CLIP | {"sound": True}),
            "line 2: ",
        ),
        (
            "a.jsonl",
            lines(CLIP | {"sound": True})
            + '{"provider": "a", "provider": "b"}\n'
            + lines(CLIP | {"sound": True}),
            "line 2: not JSON: the key provider is repeated",
        ),
        (
            "a.jsonl",
            lines(CLIP | {"sound": True})
            + '{"provider": "a", "Provider": "b"}\n'
            + lines(CLIP | {"sound": True}),
            "line 2: the column provider appears twice",
        ),
        (
            "a.json",
            json.dumps([CLIP | {"sound": True}, 5, CLIP | {"sound": True}]),
            "entry 2: not a JSON object",
        ),
    ],
)
def test_a_row_that_is_none_does_not_keep_the_others_from_their_prices(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    ran = run("--manifest", written(tmp_path, text, name), "--format", "json")
    first, bad, last = json.loads(ran.out)
    assert (first["amount"], bad["amount"], last["amount"]) == ("0.675", None, "0.675")
    assert bad["error"].startswith(told)
    assert (bad["error_code"], ran.code) == ("config", 2)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet"])
def test_a_priced_manifest_of_bodies_can_be_priced_again(tmp_path: Path, suffix: str) -> None:
    rows: list[dict[str, Any]] = [
        {"provider": "RunAPI", "request": BODY},
        {**CLIP, "sound": "on"},
    ]
    first, second = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
    assert (
        run("--manifest", written(tmp_path, lines(*rows), "a.jsonl"), "--out", str(first)).code == 0
    )
    again = run("--manifest", str(first), "--out", str(second))
    assert again.code == 0, again.err
    if suffix == "parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(first), pd.read_parquet(second))
    else:
        assert second.read_text(encoding="utf-8") == first.read_text(encoding="utf-8")


@pytest.mark.parametrize("missing", ["provider", "model"])
def test_a_parquet_file_without_a_column_says_which(tmp_path: Path, missing: str) -> None:
    clip = {name: value for name, value in CLIP.items() if name != missing}
    pd.DataFrame([{**clip, "vendor": "runapi", "model_name": "kling-3.0"}]).to_parquet(
        tmp_path / "a.parquet"
    )
    ran = run("--manifest", str(tmp_path / "a.parquet"))
    assert ran.code == 2
    assert f"no column {missing}; it has " in ran.err
    assert f"rename {'vendor' if missing == 'provider' else 'model_name'} to {missing}" in ran.err


def test_columns_of_other_tools_are_told_what_ours_are_called(tmp_path: Path) -> None:
    text = "provider,model,Duration,audio,resolution\nrunapi,kling-3.0,5,true,1080p\n"
    ran = run("--manifest", written(tmp_path, text))
    assert (
        "warning: the column Duration is not used for the price; did you mean seconds?" in ran.err
    )
    assert "warning: the column audio is not used for the price; did you mean sound?" in ran.err
    assert ran.code == 2


def test_a_table_in_an_old_encoding_says_how_it_was_read(tmp_path: Path) -> None:
    file = tmp_path / "clips.csv"
    file.write_bytes((HEADER + GOOD.replace("001", "Größe")).encode("cp1252"))
    ran = run("--manifest", str(file), "--format", "json")
    assert json.loads(ran.out)[0]["id"] == "Größe"
    assert "note: not UTF-8: it was read as cp1252" in ran.err


def test_of_many_bad_rows_the_table_shows_twenty_and_how_many_there_are(tmp_path: Path) -> None:
    ran = run("--manifest", written(tmp_path, HEADER + BAD * 3_000 + GOOD))
    assert ran.out.count('seconds: got "five"') == 20
    assert "0.675" in ran.out
    told = "21 of 3001 rows; the first 20 of 3,000 without a price; --out FILE"
    assert told in ran.err
    assert "seconds: got" not in ran.err
    assert "3000 of 3001 rows have no price (clip 3000)" in ran.err


def test_of_many_bad_rows_in_a_file_twenty_are_told_and_all_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "CHUNK_ROWS", 7)
    out = tmp_path / "priced.csv"
    rows = HEADER + (GOOD + BAD) * 100
    ran = run("--manifest", written(tmp_path, rows), "--out", str(out))
    told = [line for line in ran.lines if line.startswith("row ")]
    assert [line.split(":")[0] for line in told] == [f"row {n}" for n in range(2, 42, 2)]
    assert told[0].startswith('row 2: seconds: got "five"')
    assert "and 80 more rows" in ran.lines
    kept = [row["error"] for row in read_csv(out.read_text(encoding="utf-8"))]
    assert sum(error.startswith("seconds") for error in kept) == 100


# --- hostile tables -----------------------------------------------------------------------------

_DEEP = '{"provider": "runapi", "request": ' + "[" * 100_000
_ROW = json.dumps(CLIP | {"sound": True})
TABLES: dict[str, tuple[str, Callable[[IO[bytes]], object], int]] = {
    "no lines": ("a.csv", lambda file: file.truncate(1 << 30), 2),
    "one long line": ("a.csv", lambda file: file.write(b"a" * (64 << 20)), 2),
    "one long line of json": ("a.jsonl", lambda file: file.write(b"[" * (64 << 20)), 2),
    "one long entry": ("a.json", lambda file: file.write(b"[" + b'{"a":"' + b"x" * (64 << 20)), 2),
    "many columns": ("a.csv", lambda file: file.write(b",a" * 400_000 + b"\n1"), 2),
    "columns without a name": ("a.csv", lambda file: file.write(b"," * 100_000 + b"\n1"), 2),
    "an open quote": ("a.csv", lambda file: file.write(HEADER.encode() + b'"' + b"x\n" * 10**7), 2),
    "a deep line": ("a.jsonl", lambda file: file.write(f"{_DEEP}\n{_ROW}".encode()), 2),
    "a deep entry": ("a.json", lambda file: file.write(f"[{_DEEP}".encode()), 2),
    "5,000 digits": ("a.jsonl", lambda file: file.write(b'{"seconds": ' + b"9" * 5_000 + b"}"), 2),
    "digits in a cell": (
        "a.csv",
        lambda file: file.write(HEADER.encode() + b"1,runapi,kling-3.0," + b"9" * 50_000 + b",,\n"),
        2,
    ),
    "many keys": (
        "a.jsonl",
        lambda file: file.write(
            b"{" + b"".join(b'"k%d":0,' % key for key in range(300_000)) + b'"k299999":1}'
        ),
        2,
    ),
    "empty objects": ("a.json", lambda file: file.write(b"[" + b"{}," * 200_000 + b"{}]"), 2),
    "long rows": (
        "a.jsonl",
        lambda file: file.write((_ROW[:-1] + ', "x": "' + "y" * 100_000 + '"}\n').encode() * 600),
        0,
    ),
    "bytes": ("a.csv", lambda file: file.write(bytes(range(256)) * 1_000), 2),
    "half of utf-16": ("a.csv", lambda file: file.write(b"\xff\xfe" + b"a\0" * 1_000 + b"a"), 2),
    "a cut parquet": ("a.parquet", lambda file: file.write(b"PAR1" + b"\0" * 1_000), 2),
    "many bad rows": ("a.csv", lambda file: file.write((HEADER + BAD * 300_000).encode()), 2),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_hostile_table_is_told_in_few_words_and_takes_little_memory(
    what: str, tmp_path: Path
) -> None:
    name, write, code = TABLES[what]
    with (tmp_path / name).open("wb") as file:
        write(file)
    ran = measured(tmp_path, "quote", "--manifest", name, "--at", "2026-11-20", "--out", "o.csv")
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err
    assert len(ran.err) < 20_000
    assert ran.megabytes < MOST_MB
