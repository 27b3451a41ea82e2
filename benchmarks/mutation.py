"""Mutation testing: the rules about money are broken one by one, and the tests have to notice.

    pip install '.[test,proof]'
    python -m benchmarks.mutation [GROUP ...] [--folder DIR] [--children 1] [--postgres] [--list]

A group is a few modules and the tests that hold them; pyproject.toml names both, under
`tool.mutation`. mutmut takes a module's name from its path, so the three packages are copied side
by side into a folder of their own and changed there; the checkout stays as it is. Mutants that
nobody noticed are named; `mutmut show NAME` in that folder prints one. Tests that need
PostgreSQL are left out, as they take most of the time; with --postgres they share one server.
Lines that raise an error are left alone: their words are held by the tests of errors, and would
drown the arithmetic.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.postgres import VARIABLE, own_server

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = ("kling_ledger", "pricing/kling_pricing", "reports/kling_reports")
CAUGHT: Final = frozenset({"killed", "timeout", "suspicious", "segfault"})
"""What mutmut calls a mutant that some test noticed."""

PYTEST: Final = '''
[tool.pytest.ini_options]
addopts = """-n 0 -p no:cacheprovider --import-mode=append {without}
  -m 'not slow and not cluster and not agents'"""
timeout = 300
filterwarnings = ["error"]
markers = ["slow: x", "agents: x", "cluster: x"]
'''


@dataclass(frozen=True, slots=True)
class Group:
    """Modules that are mutated together, and the tests that are to notice."""

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the mutants of one group: how many, and which nobody noticed."""

    name: str
    verdicts: Mapping[str, Counter[str]]
    """By module, how often each verdict was given."""
    survivors: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        for module, counted in sorted(self.verdicts.items()):
            caught, tried = caught_of(counted), counted.total()
            yield f"{self.name:12}  {module:44}  {tried:5}  {caught:5}  {caught / tried:6.1%}"


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parse(arguments)
    groups = settings()
    if asked.list:
        print("\n".join(f"{one.name:12}  {' '.join(one.modules)}" for one in groups.values()))
        return 0
    with own_server() if asked.postgres else nullcontext("") as server:
        for name in asked.groups or groups:
            outcome = run(groups[name], asked, server)
            print("\n".join(outcome.lines()), flush=True)
            print("\n".join(outcome.survivors), flush=True)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutation")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="by default all")
    parser.add_argument("--folder", type=Path, help="keep the copies and verdicts here")
    parser.add_argument("--children", type=int, default=1, help="mutants tried at once")
    parser.add_argument("--postgres", action="store_true", help="with the tests that need it")
    parser.add_argument("--list", action="store_true", help="only name the groups")
    return parser.parse_args(arguments)


def settings() -> dict[str, Group]:
    """Return the groups that pyproject.toml names, in its order."""
    written = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mutation"]
    return {
        name: Group(name, tuple(one["modules"]), tuple(one["tests"]))
        for name, one in written.items()
    }


def run(group: Group, asked: argparse.Namespace, server: str) -> Outcome:
    """Copy, mutate and try one group, and return what became of each mutant."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = (asked.folder or Path(scratch)) / group.name
        lay_out(folder, group, on_server=bool(server))
        mutmut(folder, "run", "--max-children", str(asked.children), server=server)
        return outcome_of(folder, group)


def lay_out(folder: Path, group: Group, *, on_server: bool) -> None:
    """Copy the packages and the tests side by side, as far as they are not there yet."""
    for package in PACKAGES:
        copy(ROOT / package, folder / Path(package).name)
    copy(ROOT / "tests", folder / "tests")
    copy(ROOT / "docs", folder / "docs")
    (folder / "pyproject.toml").write_text(configuration(group, on_server=on_server), "utf-8")


def copy(source: Path, target: Path) -> None:
    shutil.copytree(
        source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )


def configuration(group: Group, *, on_server: bool) -> str:
    names = [Path(package).name for package in PACKAGES]
    return f"""
[tool.mutmut]
source_paths = {names!r}
only_mutate = {list(group.modules)!r}
also_copy = ["docs"]
pytest_add_cli_args_test_selection = {[f"tests/{test}" for test in group.tests]!r}
do_not_mutate_patterns = ["^\\\\s*raise ", "Problem\\\\("]
use_git_change_detection = false
track_dependencies = false
use_setproctitle = false
timeout_constant = 5.0
{PYTEST.format(without="" if on_server else "-k 'not postgres'")}"""


def mutmut(folder: Path, *arguments: str, server: str = "") -> str:
    """Run mutmut in a folder; CalledProcessError, with what it said, if it could not."""
    told = {**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1", VARIABLE: server}
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=folder,
        env=told,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def outcome_of(folder: Path, group: Group) -> Outcome:
    verdicts: dict[str, Counter[str]] = {}
    survivors: list[str] = []
    for line in mutmut(folder, "results", "--all", "true").splitlines():
        name, _, verdict = (part.strip() for part in line.partition(":"))
        if verdict:
            verdicts.setdefault(module_of(name), Counter())[verdict] += 1
            if verdict not in CAUGHT:
                survivors.append(f"{verdict}: {name}")
    return Outcome(group.name, verdicts, tuple(survivors))


def module_of(mutant: str) -> str:
    """Return the module in whose function a mutant is: `a.b.x_f__mutmut_3` is of `a.b`."""
    return mutant.rpartition(".")[0]


def caught_of(counted: Counter[str]) -> int:
    return sum(count for verdict, count in counted.items() if verdict in CAUGHT)


if __name__ == "__main__":
    sys.exit(main())
