"""Branch coverage: how many of the ways through the rules about money the tests take.

    pip install '.[test,proof]'
    python -m benchmarks.branches [GROUP ...]

A group is that of benchmarks/mutation.py: a few modules and the tests that hold them. A branch is
one way out of an `if`, a loop or a `match`. A test that fails is named, and counts all the same:
under coverage more modules are loaded than a test of what is loaded allows. The whole project takes
as long as the whole suite:

    coverage run -m pytest -n 0 && coverage combine && coverage report
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.mutation import PACKAGES, ROOT, Group, settings


def main(arguments: Sequence[str] | None = None) -> int:
    groups = settings()
    reader = argparse.ArgumentParser(prog="python -m benchmarks.branches")
    reader.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(groups)}")
    for name in reader.parse_args(arguments).groups or groups:
        print("\n".join(lines(groups[name], measured(groups[name]))), flush=True)
    return 0


def measured(group: Group) -> dict[str, Any]:
    """Run the tests of a group, and return what coverage says of its modules, by path."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        tests = [f"tests/{test}" for test in group.tests]
        modules = ",".join(place_of(module) for module in group.modules)
        ran = coverage(folder, "run", "-m", "pytest", "-n0", "-q", "-k", "not postgres", *tests)
        print("\n".join(line for line in ran.splitlines() if line.startswith(("FAILED", "ERROR"))))
        coverage(folder, "combine", "-q", folder)
        coverage(folder, "json", "-q", "--include", modules, "-o", str(report))
        files: dict[str, Any] = json.loads(report.read_text("utf-8"))["files"]
    return files


def place_of(module: str) -> str:
    """Return where a module of a package lies in the checkout."""
    package, _, rest = module.partition("/")
    (folder,) = (place for place in PACKAGES if Path(place).name == package)
    return f"{folder}/{rest}"


def coverage(folder: str, *words: str) -> str:
    """Run coverage and return what it wrote; CalledProcessError for all but a failed test."""
    told = {**os.environ, "COVERAGE_FILE": str(Path(folder) / "data")}
    command = [sys.executable, "-m", "coverage", *words]
    done = subprocess.run(
        command, cwd=ROOT, env=told, check=False, stdout=subprocess.PIPE, text=True
    )
    if done.returncode not in {0, 1}:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout)
    return done.stdout


def lines(group: Group, files: dict[str, Any]) -> Iterator[str]:
    for path, found in sorted(files.items()):
        told = found["summary"]
        taken, ways = told["covered_branches"], told["num_branches"]
        missing = [f"{start}->{end}" for start, end in found["missing_branches"]]
        percent = f"{taken / ways:6.1%}" if ways else "  none"
        yield f"{group.name:12}  {path:44}  {ways:4}  {taken:4}  {percent}  {' '.join(missing)}"


if __name__ == "__main__":
    sys.exit(main())
