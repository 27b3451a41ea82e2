"""`kling-ledger changes`: what a change in a git repository adds, by both sides of each file."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Cli, body
from tests.repositories import Repository, new_repository

HEADER = "id,provider,model,seconds,resolution,sound,takes\n"
FIRST = "a,runapi,kling-3.0,5,1080p,yes,3\n"
SECOND = "b,runapi,kling-3.0,12,720p,no,2\n"
THIRD = "c,runapi,kling-3.0,8,1080p,yes,4\n"
UNPRICED = "d,runapi,kling-99,5,1080p,yes,1\n"
BAD = "e,runapi,kling-3.0,5,1080p,yes,none\n"
SHOTS = ("--manifest", "shots/**/*.csv", "--at", "2026-11-26")
BODIES = ("--request", "runapi=bodies/*.json", "--at", "2026-11-26")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository with a storyboard of 2.025 USD, and a note that is nobody's storyboard."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    made = new_repository(tmp_path)
    made.commit(**{"shots/one/clips.csv": HEADER + FIRST, "notes.csv": "a,b\n1,2\n"})
    return made


@pytest.fixture
def kl(repository: Repository) -> Cli:
    return Cli(repository.folder)


def test_a_row_that_is_added_adds_what_it_costs(kl: Cli, repository: Repository) -> None:
    # 2 x 0.84 + 4 x 1.08
    before = repository.commit()
    after = repository.commit(**{"shots/one/clips.csv": HEADER + FIRST + SECOND + THIRD})
    found = kl.json("changes", before, after, *SHOTS)
    assert found["summary"] == "this change adds 6.00 USD"
    assert found["usd"] == {"low": "6", "expected": "6", "high": "6"}
    told = [(row["file"], row["change"], row["id"], row["high"]) for row in found["rows"]]
    file = "shots/one/clips.csv"
    assert told == [(file, "added", "b", "1.68"), (file, "added", "c", "4.32")]
    back = kl.json("changes", after, before, *SHOTS)
    assert back["summary"] == "this change saves 6.00 USD"


def test_all_files_are_added_up_and_others_are_left_alone(kl: Cli, repository: Repository) -> None:
    repository.write("shots/two.csv", HEADER + SECOND)
    repository.write("bodies/one.json", body())
    repository.write("notes.csv", "nobody,reads,this\n")
    found = kl.json("changes", *SHOTS, *BODIES)
    assert found["summary"] == "this change adds 2.355 USD"
    assert [row["file"] for row in found["rows"]] == ["bodies/one.json", "shots/two.csv"]


def test_the_working_tree_counts_unless_only_what_is_staged_is_asked_for(
    kl: Cli, repository: Repository
) -> None:
    repository.write("shots/one/clips.csv", HEADER + FIRST + SECOND)
    repository.git("add", "--all")
    repository.write("shots/one/clips.csv", HEADER + FIRST + SECOND + THIRD)
    repository.write("shots/new.csv", HEADER + FIRST)
    assert kl.json("changes", *SHOTS)["usd"]["high"] == "8.025"
    assert kl.json("changes", "--staged", *SHOTS)["usd"]["high"] == "1.68"


def test_a_body_is_quoted_on_both_sides(kl: Cli, repository: Repository) -> None:
    repository.commit(**{"bodies/one.json": body()})
    repository.write("bodies/one.json", body(duration_seconds=10))
    found = kl.json("changes", *BODIES)
    (row,) = found["rows"]
    assert (row["change"], row["before"], row["after"], row["high"]) == (
        *("changed", "0.675", "1.35"),
        "0.675",
    )


def test_a_file_that_only_moves_adds_nothing(kl: Cli, repository: Repository) -> None:
    repository.git("mv", "shots/one/clips.csv", "shots/moved.csv")
    found = kl.json("changes", "--staged", *SHOTS)
    assert (found["summary"], found["rows"]) == ("this change adds nothing", [])


def test_a_file_that_goes_saves_what_it_cost(kl: Cli, repository: Repository) -> None:
    repository.git("rm", "--quiet", "shots/one/clips.csv")
    assert kl.json("changes", *SHOTS)["summary"] == "this change saves 2.025 USD"


def test_the_first_row_of_a_storyboard_adds_what_it_costs(kl: Cli, repository: Repository) -> None:
    # 2 x 12 s x 0.07: what was there before had a header and no clips.
    before = repository.commit(**{"shots/new.csv": HEADER})
    after = repository.commit(**{"shots/new.csv": HEADER + SECOND})
    assert kl.json("changes", before, after, *SHOTS)["summary"] == "this change adds 1.68 USD"
    assert kl.json("changes", after, before, *SHOTS)["summary"] == "this change saves 1.68 USD"


@pytest.mark.parametrize(("row", "code"), [(UNPRICED, 7), (BAD, 2)])
def test_a_row_without_a_price_is_never_zero(
    kl: Cli, repository: Repository, row: str, code: int
) -> None:
    repository.write("shots/one/clips.csv", HEADER + FIRST + SECOND + row)
    said = kl("changes", *SHOTS, "--format", "json")
    assert said.code == code
    assert said.json["usd"] is None
    assert said.json["summary"] == "what this change adds is unknown: 1 row has no price"
    assert said.json["rows"][-1]["error"]
    assert "shots/one/clips.csv: row 3" in said.err


@pytest.mark.parametrize(
    "text", ["", "no such column\n1\n", '{"model": ', "version https://example.com/large\n"]
)
def test_a_file_that_is_no_manifest_is_a_row_without_a_price(
    kl: Cli, repository: Repository, text: str
) -> None:
    repository.write("shots/other.csv", text)
    said = kl("changes", *SHOTS, "--format", "json")
    assert (said.code, said.json["usd"]) == (2, None)
    assert [row["file"] for row in said.json["rows"]] == ["shots/other.csv"]


def test_a_change_may_mend_what_had_no_price(kl: Cli, repository: Repository) -> None:
    repository.commit(**{"shots/one/clips.csv": HEADER + FIRST + BAD})
    repository.write("shots/one/clips.csv", HEADER + FIRST)
    said = kl("changes", *SHOTS, "--format", "json")
    assert (said.code, said.json["usd"]) == (0, None)


def test_a_comment_has_the_sentence_the_rows_and_what_is_wrong(
    kl: Cli, repository: Repository
) -> None:
    repository.write("shots/a|b.csv", HEADER + SECOND + UNPRICED)
    lines = kl("changes", *SHOTS, "--format", "markdown").out.splitlines()
    assert lines[0] == "**What this change adds is unknown: 1 row has no price.**"
    assert lines[2] == (
        "| file | change | row | provider | model | before | after | difference | unit |"
    )
    assert lines[4].startswith("| shots/a\\|b.csv | added | row 1 (b) | runapi | kling-3.0 |  |")
    assert lines[5].endswith("| unknown |  |")
    assert any(line.startswith("- shots/a\\|b.csv, row 2 (d) has no price: ") for line in lines)


def test_a_table_of_every_row_is_csv(kl: Cli, repository: Repository) -> None:
    repository.write("shots/one/clips.csv", HEADER + FIRST + SECOND)
    rows = list(csv.DictReader(io.StringIO(kl("changes", *SHOTS, "--format", "csv").out)))
    assert [(row["file"], row["change"]) for row in rows] == [
        ("shots/one/clips.csv", "same"),
        ("shots/one/clips.csv", "added"),
    ]


def test_a_table_names_the_files_and_ends_with_the_sentence(
    kl: Cli, repository: Repository
) -> None:
    repository.write("shots/one/clips.csv", HEADER + FIRST + SECOND)
    lines = kl("changes", *SHOTS).out.splitlines()
    assert lines[-1] == "this change adds 1.68 USD"
    assert any("shots/one/clips.csv" in line for line in lines)


def test_ids_that_repeat_do_not_stop_the_sum(kl: Cli, repository: Repository) -> None:
    repository.write("shots/one/clips.csv", HEADER + FIRST + FIRST)
    assert kl.json("changes", *SHOTS)["summary"] == "this change adds 2.025 USD"


def test_everything_is_new_before_the_first_commit(tmp_path: Path) -> None:
    fresh = new_repository(tmp_path / "fresh")
    fresh.write("shots/a.csv", HEADER + FIRST)
    fresh.git("add", "--all")
    found = Cli(fresh.folder).json("changes", "--staged", *SHOTS)
    assert found["summary"] == "this change adds 2.025 USD"


def test_patterns_are_those_of_the_folder_one_is_in(kl: Cli, repository: Repository) -> None:
    repository.write("shots/one/clips.csv", HEADER + FIRST + SECOND)
    inside = Cli(repository.folder / "shots")
    found = inside.json("changes", "--manifest", "one/*.csv", "--at", "2026-11-26")
    assert found["rows"][0]["file"] == "shots/one/clips.csv"


def test_a_name_of_any_bytes_is_told(kl: Cli, repository: Repository) -> None:
    name = b"shots/\xff.csv".decode(errors="surrogateescape")
    repository.write(name, HEADER + FIRST)
    found = kl.json("changes", *SHOTS)
    assert found["rows"][0]["file"] == "shots/\\xff.csv"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "no such revision: nowhere"),
        (("--", "--output=x"), "no such revision: --output=x"),
        (("HEAD", "HEAD", "--staged"), "leave out HEAD"),
        (("--request", "nobody=*.json"), "one of runapi"),
        (("--request", "runapi"), "PROVIDER=PATTERN"),
        (("--request", "runapi/sing=*.json"), "the action sing"),
        (("--request", "runapi=**/*.csv"), "notes.csv"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    kl: Cli, repository: Repository, words: tuple[str, ...], said: str
) -> None:
    repository.write("notes.csv", "changed\n")
    told = kl("changes", *SHOTS, *words)
    assert (told.code, said in told.out + told.err) == (2, True), told


def test_a_file_is_counted_once(kl: Cli, repository: Repository) -> None:
    repository.write("shots/one/clips.csv", HEADER)
    told = kl("changes", *SHOTS, "--request", "runapi=shots/**")
    assert (told.code, "two patterns match it" in told.err) == (2, True)


def test_patterns_have_to_be_given(kl: Cli) -> None:
    told = kl("changes")
    assert (told.code, "--manifest, --request or both" in told.err) == (2, True)


def test_there_has_to_be_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "none"
    folder.mkdir()
    told = Cli(folder)("changes", *SHOTS)
    assert (told.code, "not a git repository" in told.err) == (2, True)


def test_a_link_is_no_manifest(kl: Cli, repository: Repository) -> None:
    (repository.folder / "shots" / "link.csv").symlink_to("/etc/passwd")
    told = kl("changes", *SHOTS)
    assert (told.code, "a link or a submodule" in told.err) == (2, True)


def test_what_is_the_same_says_so(kl: Cli) -> None:
    said = kl("changes", *SHOTS, "--format", "json")
    answer: dict[str, Any] = json.loads(said.out)
    assert (said.code, answer["rows"]) == (0, [])
    assert "no file under these patterns differs" in said.err
