"""Scripts by seed: always the same markers, all of them real, every kind of trouble among them."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from kling_ledger.sandbox.markers import read_markers, written_markers
from kling_ledger.sandbox.scripts import job_seed, script

SEEDS = range(3000)
PASSED_ON = {1: ("[fail]",), 2: ("[poll malformed 2]", "[fail]"), 3: ("[refuse cut 1]",)}


def test_a_seed_is_the_same_script_in_another_process() -> None:
    code = "from kling_ledger.sandbox.scripts import script; print([script(n) for n in range(50)])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str([script(seed) for seed in range(50)])


def test_a_script_is_what_it_was_when_it_was_first_passed_on() -> None:
    assert script(1) == script("1")
    assert {seed: script(seed) for seed in (1, 2, 3)} == PASSED_ON


def test_every_marker_of_every_script_is_one() -> None:
    for seed in SEEDS:
        drawn = script(seed)
        assert written_markers(" ".join(drawn)) == drawn


def test_some_seeds_are_without_trouble_and_most_are_not() -> None:
    plain = sum(script(seed) == () for seed in SEEDS)
    assert 0.03 < plain / len(SEEDS) < 0.3


def test_no_script_says_how_long_a_job_takes() -> None:
    assert not any("[takes" in " ".join(script(seed)) for seed in SEEDS)


@pytest.mark.parametrize(
    "kind",
    [
        *("[refuse 402", "[refuse 429", "[refuse 5", "[refuse moderation", "[refuse cut"),
        *("[refuse hang", "[lose 5", "[lose cut", "[lose half", "[lose hang", "[lose malformed"),
        *("[poll 5", "[poll 429", "[poll cut", "[poll malformed", "[poll hang", "[state "),
        *("[fail]", "[revive", "[never", "[cost ", "[latency", "[callback twice"),
        *("[callback reordered", "[callback never"),
    ],
)
def test_every_kind_of_trouble_comes_up(kind: str) -> None:
    drawn = Counter(marker for seed in SEEDS for marker in script(seed))
    assert sum(count for marker, count in drawn.items() if marker.startswith(kind)) >= 5


def test_what_is_refused_by_its_connection_is_taken_the_next_time() -> None:
    for seed in SEEDS:
        refuse = read_markers("".join(script(seed))).refuse
        if refuse is not None and refuse.word in {"cut", "hang"}:
            assert refuse.times == 1


def test_jobs_of_one_seed_have_scripts_by_their_prompts() -> None:
    assert job_seed(7, "a lake") == job_seed("7", "a lake")
    drawn = {script(job_seed(7, f"clip {number}")) for number in range(50)}
    assert len(drawn) > 20
    assert script(job_seed(7, "half an emoji \ud83d")) == script(
        job_seed(7, "half an emoji \ud83d")
    )
