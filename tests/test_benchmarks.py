"""Benchmarks: each figure that a document promises has a program that measures it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks import sizes
from benchmarks.claims import CLAIMS, ENTRIES
from tests.interpreters import python_of

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


def test_another_python_is_found_by_its_version_or_by_the_variable_that_names_it(monkeypatch):
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    variable = f"PYTHON{own.replace('.', '')}"
    monkeypatch.setenv(variable, sys.executable)
    assert python_of(own) == sys.executable
    monkeypatch.setenv(variable, "no-such-python")
    assert python_of(own) is None
    assert python_of("3.0") is None


def point(letter: str, rows: int, ours_s: float, reference_s: float) -> sizes.Point:
    (subject,) = (one for one in sizes.SUBJECTS if one.letter == letter)
    return sizes.Point(subject, rows, ours_s, reference_s)


def test_sizes_go_from_a_thousand_to_the_largest_in_powers_of_ten():
    assert sizes.sizes_to(1_000_000) == [1_000, 10_000, 100_000, 1_000_000]
    assert sizes.sizes_to(99_999) == [1_000, 10_000]


def test_a_bound_is_one_of_the_largest_size_and_may_be_reached():
    assert sizes.is_met(point("B", 1_000, 9, 1), 10_000)
    assert sizes.is_met(point("B", 10_000, 3, 1), 10_000)
    assert not sizes.is_met(point("B", 10_000, 3.01, 1), 10_000)


def test_a_plot_has_a_line_a_power_of_ten_and_a_star_where_two_meet():
    points = [point("A", 1_000, 0.01, 0.1), point("B", 10_000, 1, 1)]
    assert list(sizes.plot(points, height=2, width=8)) == [
        "      1 s |           *",
        "    0.1 s |   a",
        "   0.01 s |   A",
        "          +----------------",
        "     rows   1,000   10,000",
    ]
