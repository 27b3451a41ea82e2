"""Benchmarks: each figure that a document promises has a program that measures it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.claims import CLAIMS, ENTRIES

ROOT = Path(__file__).resolve().parent.parent


def test_every_entry_is_a_program_of_the_folder():
    for entry in ENTRIES:
        assert (ROOT / "benchmarks" / f"{entry.name}.py").is_file(), entry.name


def test_every_claim_stands_in_its_document_and_has_a_benchmark():
    names = {entry.name for entry in ENTRIES}
    for claim in CLAIMS:
        assert claim.words in (ROOT / claim.document).read_text("utf-8"), claim
        assert claim.entry in names, claim


def listed(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_list_names_every_benchmark_and_measures_nothing():
    told = [line.split()[0] for line in listed("--list").stdout.splitlines()]
    assert told == [entry.name for entry in ENTRIES]


def test_an_unknown_benchmark_is_refused_with_the_known_ones():
    done = listed("speed")
    assert done.returncode == 2
    assert "there is no benchmark 'speed'; known are batch" in done.stderr
