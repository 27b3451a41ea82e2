"""Mutation testing: its settings name modules and tests that exist."""

from __future__ import annotations

from collections import Counter

from benchmarks.mutation import PACKAGES, ROOT, caught_of, module_of, settings

PLACES = {path.rpartition("/")[2]: ROOT / path for path in PACKAGES}


def test_every_module_that_is_mutated_is_there():
    for group in settings().values():
        for module in group.modules:
            package, _, rest = module.partition("/")
            assert (PLACES[package] / rest).is_file(), module


def test_every_test_that_has_to_notice_is_there():
    for group in settings().values():
        for test in group.tests:
            assert (ROOT / "tests" / test).is_file(), test


def test_a_mutant_is_of_the_module_before_its_function():
    assert module_of("a.b.x_f__mutmut_3") == "a.b"


def test_a_mutant_that_no_test_reaches_is_not_caught():
    assert caught_of(Counter({"killed": 3, "timeout": 1, "survived": 2, "no tests": 5})) == 4
