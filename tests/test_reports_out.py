"""Where a report goes: one table of it, a file for each, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pandas import DataFrame

from kling_ledger.cli.report_forms import FORMS, Out, write
from kling_reports.report import Stream
from tests.cli import COMMAND, Said
from tests.reports_any import KINDS, report, table
from tests.reports_ledger import Made, ledger_of
from tests.test_reports_command import run

TABLES = ["statement", "charges", "lines"]
ENDINGS = {form: endings[0] for form, (_, endings) in FORMS.items()}
JOBS = 120


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of some hundred lines: a JSON of them is larger than the disk of a test below."""
    path = tmp_path_factory.mktemp("out") / "ledger.sqlite"
    with ledger_of(str(path), [Made(minute=at) for at in range(JOBS)]):
        pass
    return path


def in_bash(database: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Run `$0 report ...` as a shell does, with its pipes and limits."""
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}", COMMAND],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KLING_LEDGER_DB": str(database)},
        cwd=database.parent,
        timeout=60,
    )


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("form", FORMS)
def test_one_table_alone_is_written_in_any_form(database: Path, tmp_path: Path, form: str):
    out = tmp_path / f"lines{ENDINGS[form]}"
    said = run(database, "statement", "--table", "lines", "--out", str(out))
    assert (said.code, said.out, said.err) == (0, "", f"wrote {out}\n")
    assert files(tmp_path) == [out.name]
    assert out.stat().st_size > 1000
    assert out.stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_table_that_a_report_does_not_have_is_refused_with_those_that_it_has(database: Path):
    said = run(database, "statement", "--table", "line", "--format", "csv")
    assert (said.code, said.out) == (2, "")
    assert "no table 'line'" in said.err
    assert "statement, charges, lines" in said.err


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_what_holds_one_table_says_which_others_there_are(database: Path, form: str):
    said = run(database, "statement", "--format", form)
    assert said.code == 0
    (note,) = said.err.splitlines()
    assert note.startswith("note: this is only the table statement; there are also charges, lines")
    assert "--table" in note
    assert "--out" in note
    assert run(database, "statement", "--format", form, "--table", "lines").err == ""
    assert run(database, "spend", "--format", form).err == ""
    assert run(database, "statement", "--format", "json").err == ""


@pytest.mark.parametrize("form", ["csv", "json", "parquet", "xlsx", "html", "table", "jsonl"])
def test_a_folder_gets_a_file_for_each_table(database: Path, tmp_path: Path, form: str):
    there = tmp_path / "there"
    there.mkdir()
    (there / "mine.txt").write_text("mine")
    names = [f"{name}{ENDINGS[form]}" for name in TABLES]
    for folder, ending in ((tmp_path / "made" / "of", "/"), (there, "")):
        for _ in range(2):
            said = run(database, "statement", "--format", form, "--out", f"{folder}{ending}")
            assert (said.code, said.out) == (0, "")
            assert said.err == f"wrote {', '.join(names)} to {folder}\n"
    assert files(tmp_path / "made") == ["of"]
    assert files(tmp_path / "made" / "of") == sorted(names)
    assert files(there) == sorted(["mine.txt", *names])
    assert (tmp_path / "made" / "of").stat().st_mode & 0o777 == 0o777 & ~umask()


def test_a_folder_is_written_as_csv_and_its_files_are_those_of_single_tables(
    database: Path, tmp_path: Path
):
    assert run(database, "statement", "--out", f"{tmp_path}/all/").code == 0
    for name in TABLES:
        alone = run(database, "statement", "--table", name, "--format", "csv").out
        assert (tmp_path / "all" / f"{name}.csv").read_bytes().decode() == alone
    lines = list(csv.DictReader(io.StringIO(alone)))
    # Three wallets were funded, and each job was charged.
    assert len(lines) == JOBS + 3


def test_a_link_leads_to_the_file_that_is_written(database: Path, tmp_path: Path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "real" / "report.json")
    assert run(database, "statement", "--out", str(link)).code == 0
    assert link.is_symlink()
    assert json.loads((tmp_path / "real" / "report.json").read_text())["report"] == "statement"


@pytest.mark.parametrize("form", ["table", "csv", "json", "jsonl"])
def test_whoever_has_read_enough_of_a_pipe_is_not_told_of_it(database: Path, form: str):
    done = in_bash(database, f'"$0" report statement --table lines --format {form} | head -c 10')
    assert (done.returncode in {0, 141}, done.stderr) == (True, "")
    assert len(done.stdout) == 10


@pytest.mark.parametrize("form", ["table", "csv", "json", "jsonl"])
def test_standard_output_that_is_full_is_told_plainly(database: Path, form: str):
    done = in_bash(database, f'"$0" report statement --table lines --format {form} > /dev/full')
    assert done.returncode == 1
    assert re.fullmatch(r"error: .*No space left on device.*\n", done.stderr)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_file_is_written_to_and_may_be_full(database: Path, form: str):
    line = f'"$0" report statement --table lines --format {form} --out /dev/full'
    done = in_bash(database, line)
    assert done.returncode == 1
    assert "error: [Errno 28] No space left on device: '/dev/full'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("out", ["large.json", "large/", "there"])
def test_a_disk_that_is_full_leaves_what_was_there(database: Path, out: str):
    folder = database.parent
    (folder / "there").mkdir(exist_ok=True)
    (folder / "large.json").write_text("old")
    before = files(folder)
    # So many kilobytes a file may have: the index of the ledger's log, and no more.
    line = f'ulimit -f 40; "$0" report statement --format json --out {out}'
    done = in_bash(database, line)
    assert done.returncode == 1
    assert re.search(r"error: \[Errno 27\] File too large: '\S+\.json'", done.stderr)
    assert "Traceback" not in done.stderr
    assert [name for name in files(folder) if "ledger" not in name] == [
        name for name in before if "ledger" not in name
    ]
    assert (folder / "large.json").read_text() == "old"
    assert files(folder / "there") == []


def test_a_form_is_asked_for_by_the_ending_of_a_file(database: Path, tmp_path: Path):
    said: Said = run(database, "statement", "--out", str(tmp_path / "lines.ndjson"))
    assert said.code == 0
    first = (tmp_path / "lines.ndjson").read_text().splitlines()[0]
    assert json.loads(first)["wallet"] == "crun"


@pytest.mark.parametrize("form", [form for form in FORMS if form != "html"])
@pytest.mark.parametrize("is_folder", [False, True])
def test_who_stops_while_it_is_written_leaves_nothing(tmp_path: Path, form: str, is_folder: bool):
    one = table([{**dict.fromkeys(KINDS), "unit": "USD", "clips": 1}])

    def batches() -> Iterator[DataFrame]:
        yield one.frame
        raise KeyboardInterrupt

    long = report(one, replace(one, name="long", stream=Stream(2, batches)))
    with pytest.raises(KeyboardInterrupt):
        write(long, form, Out(tmp_path / "out", is_folder), table=None if is_folder else "long")
    assert files(tmp_path) == []
