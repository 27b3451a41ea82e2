"""One reader of files of rows: the same rules, whatever the rows are about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kling_ledger.errors import ConfigError
from kling_ledger.tabular import json_table, table
from kling_ledger.tabular.reading import open_table
from kling_ledger.tabular.table import Block, Row, TableOfColumns, whole


def rows(folder: Path, text: str | bytes, name: str = "rows") -> list[Row]:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with open_table(path) as opened:
        return list(opened.rows())


def cells(folder: Path, text: str | bytes, name: str = "rows") -> list[Any]:
    return [dict(row.cells) for row in rows(folder, text, name)]


def blocks(path: Path) -> list[Block]:
    with open_table(path) as opened:
        assert isinstance(opened, TableOfColumns)
        return list(opened.blocks())


def refusal(folder: Path, text: str | bytes, name: str = "rows") -> str:
    with pytest.raises(ConfigError) as refused:
        rows(folder, text, name)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a,b\n1,x\n", "rows.csv"),
        ("a;b\r\n1;x\r\n", "rows.txt"),
        ("\ufeffa\tb\n1\tx", "-rows"),
        ('{"a": "1", "b": "x"}\n\n', "rows.jsonl"),
        ('[{"a": "1", "b": "x"}]', "rows.json"),
        ('\ufeff[\n{"a": "1",\n"b": "x"}]', "rows.csv"),
        ('{"a": "1", "b": "x"}', "rows.csv"),
    ],
)
def test_the_content_says_what_kind_of_file_it_is(tmp_path: Path, text: str, name: str):
    assert cells(tmp_path, text, name) == [{"a": "1", "b": "x"}]


def test_parquet_gives_its_own_types_and_no_blank_cells(tmp_path: Path):
    pd.DataFrame({"a": [1, 2], "b": ["x", None]}).to_parquet(tmp_path / "a.parquet")
    found = rows(tmp_path, (tmp_path / "a.parquet").read_bytes())
    assert found == [Row("row 1", {"a": 1, "b": "x"}), Row("row 2", {"a": 2})]


def test_a_row_knows_its_line_though_a_cell_has_lines_of_its_own(tmp_path: Path):
    found = rows(tmp_path, 'a,b\n\n1,"x\ny"\n2,z\n')
    assert [row.place for row in found] == ["line 4", "line 5"]


def test_a_line_of_json_may_hold_what_ends_lines_elsewhere(tmp_path: Path):
    text = json.dumps({"a": "one\u2028two\x85three"}, ensure_ascii=False)
    assert cells(tmp_path, text + "\n" + text) == [{"a": "one\u2028two\x85three"}] * 2


def test_a_row_that_is_none_does_not_end_the_others(tmp_path: Path):
    found = rows(tmp_path, "a,b\n1\n1,2\n1,2,3\n")
    assert [row.problem for row in found] == [
        "1 cells under a header of 2",
        None,
        "3 cells under a header of 2",
    ]
    found = rows(tmp_path, '{"a": 1}\n{"a"\n[]\n{"a": 2}', "rows.jsonl")
    assert [row.problem is None for row in found] == [True, False, False, True]


def test_whoever_wants_whole_rows_is_told_the_first_that_is_none(tmp_path: Path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n1\n")
    with (
        open_table(tmp_path / "rows.csv") as opened,
        pytest.raises(ConfigError, match="line 3: 1 cells under a header of 2"),
    ):
        list(whole(opened))


def test_a_block_has_every_row_and_says_which_are_none(tmp_path: Path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n,\n1\n1,2,3\n1,2,,\n")
    [block] = blocks(tmp_path / "rows.csv")
    assert block.frame.to_numpy().tolist() == [["1", "2"], ["1", ""], ["1", "2"], ["1", "2"]]
    assert block.problems == {
        1: "line 4: 1 cells under a header of 2",
        2: "line 5: 3 cells under a header of 2",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', "the key a is repeated"),
        ('{"a": {"b": 1, "b": 1}}', "the key b is repeated"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": ' + "9" * 5_000 + "}", "not JSON: a number has thousands of digits"),
        ('{"a": ' + "[" * 100 + "]" * 100 + "}", "nested too deep"),
        ('{"a": ' + "[" * 100_000, "nested too deep"),
    ],
)
def test_what_json_leaves_open_is_refused(tmp_path: Path, text: str, said: str):
    [row] = rows(tmp_path, text)
    assert said in (row.problem or "")


@pytest.mark.parametrize("text", ["a,a\n1,2\n", "a, a \n1,2\n", "a,column 3,\n1,,\n"])
def test_a_column_is_there_once(tmp_path: Path, text: str):
    assert "appears twice" in refusal(tmp_path, text)


@pytest.mark.parametrize("text", [b"", b"\xef\xbb\xbf", b" \n\n", b"\t\r\n"])
def test_a_file_with_nothing_in_it_is_no_table_without_rows(tmp_path: Path, text: bytes):
    assert "the file is empty" in refusal(tmp_path, text)
    assert "the file is empty" in refusal(tmp_path, text, "rows.jsonl")


def test_a_line_of_json_that_is_no_utf_8_does_not_end_the_others(tmp_path: Path):
    found = rows(tmp_path, b'{"a": 1}\n{"a": "\xff"}\n{"a": 2}', "rows.jsonl")
    assert [row.problem is None for row in found] == [True, False, True]
    assert "not UTF-8" in (found[1].problem or "")


def test_a_quote_that_never_ends_is_refused(tmp_path: Path):
    assert "not CSV" in refusal(tmp_path, 'a,b\n1,"x')


def test_lines_that_are_named_so_are_read_as_lines(tmp_path: Path):
    [row] = rows(tmp_path, '[{"a": 1}]', "rows.jsonl")
    assert (row.place, row.problem) == ("line 1", "not a JSON object")


def test_blocks_have_the_rows_in_their_order_however_many_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "rows").write_text("a,b\n1,x\n2,y\n3,z\n")
    [at_once] = blocks(tmp_path / "rows")
    monkeypatch.setattr(table, "CHUNK_ROWS", 2)
    parts = blocks(tmp_path / "rows")
    assert [len(part.frame) for part in parts] == [2, 1]
    pd.testing.assert_frame_equal(
        pd.concat([part.frame for part in parts], ignore_index=True), at_once.frame
    )


def test_long_rows_make_smaller_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(table, "CHUNK_BYTES", 50_000)
    (tmp_path / "rows").write_text("a,b\n" + f"{'1' * 10_000},x\n" * 100)
    assert [len(part.frame) for part in blocks(tmp_path / "rows")] == [16] * 6 + [4]


# --- what spreadsheets export -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "a;b\n1;für 5 €\n"),
        ("utf-8-sig", "a;b\n1;лес 是\n"),
        ("utf-16", "a\tb\n1\tлес 是\n"),
        ("utf-16-le", "a\tb\n1\tplain\n"),
        ("utf-16-be", "a\tb\n1\tplain\n"),
        ("utf-32", "a\tb\n1\tлес\n"),
        ("cp1252", "a;b\n1;für 5 €, Größe, déjà vu\n"),
        ("gb18030", "a,b\n1,湖上的日出，镜头缓慢推进。\n"),
        ("utf-16", '{"a": "1", "b": "лес"}\n'),
        ("utf-16", '[{"a": "1", "b": "лес"}]'),
    ],
)
def test_text_is_read_in_the_encoding_that_it_is_written_in(
    tmp_path: Path, encoding: str, text: str
):
    assert cells(tmp_path, text.encode(encoding)) == cells(tmp_path, text)


def test_what_is_no_text_at_all_is_one_sentence(tmp_path: Path):
    assert "not text in cp1252" in refusal(tmp_path, b"a,b\n1,\x81\x8d\xff\n")
    assert "not text in utf-16" in refusal(tmp_path, b"\xff\xfea")


@pytest.mark.parametrize("first", ["sep=;\n", "SEP=;\r\n", '"sep=;"\n', "\ufeffsep=;\n"])
def test_a_first_line_may_say_what_parts_cells(tmp_path: Path, first: str):
    [row] = rows(tmp_path, first + "a;b,c\n1;x,y\n")
    assert row == Row("line 3", {"a": "1", "b,c": "x,y"})


@pytest.mark.parametrize("blank", [",", " ,\t", "\u3000,\u00a0", '"",""', ""])
def test_rows_without_a_cell_are_none_and_lines_keep_their_numbers(tmp_path: Path, blank: str):
    found = rows(tmp_path, f"{blank}\na,b\n{blank}\n1,x\n{blank}\n2,y\n{blank}\n")
    assert [row.place for row in found] == ["line 4", "line 6"]


def test_columns_without_a_name_are_numbered(tmp_path: Path):
    assert cells(tmp_path, "a,,\n1,,x\n") == [{"a": "1", "column 2": "", "column 3": "x"}]


# --- files that are longer than what is held of them --------------------------------------------


@pytest.mark.parametrize("block", [1, 2, 7, 1 << 16])
def test_a_list_of_json_is_read_entry_by_entry(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(json_table, "_BLOCK", block)
    entries = [{"a": 'лес ] } \\"'}, {"b": [{"c": [1.5, None]}, []]}, {}, {"a": -12}]
    for indent in (None, 2):
        text = json.dumps(entries, indent=indent, ensure_ascii=False)
        assert cells(tmp_path, text + " \n") == entries
    assert cells(tmp_path, " [ \n ] ") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"a": 1},\n{"a": ]', "line 2: not JSON: Expecting value"),
        ('[{"a": 1},\n', "line 2: not JSON: Expecting value"),
        ('[{"a": 1}\n{"a": 2}]', "line 2: not JSON: expected , or ], got {"),
        ('[{"a": 1}] x', "line 1: not JSON: there is more after the end of the list"),
        ('[{"a": 1, "a": 2}]', "the key a is repeated"),
        ('[{"a": 1}, {"a": ' + "[" * 100 + "]" * 100 + "}]", "nested too deep"),
        ("[" * 100_000, "nested too deep"),
        ('[{"a": ' + "9" * 5_000 + "}]", "not JSON: a number has thousands of digits"),
    ],
)
def test_a_list_of_json_that_breaks_off_is_refused_with_its_line(
    tmp_path: Path, text: str, said: str
):
    assert said in refusal(tmp_path, text)


def test_an_entry_that_is_no_object_does_not_end_the_others(tmp_path: Path):
    found = rows(tmp_path, '[{"a": 1}, 5, [], null, {"a": 2}]')
    assert [row.problem is None for row in found] == [True, False, False, False, True]


def test_a_line_that_is_longer_than_any_row_does_not_end_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(json_table, "LONGEST", 100)
    found = rows(tmp_path, '{"a": 1}\n{"a": "' + "x" * 1_000 + '"}\n{"a": 2}', "rows.jsonl")
    assert [row.problem is None for row in found] == [True, False, True]
    assert (found[1].place, found[2].place) == ("line 2", "line 3")
