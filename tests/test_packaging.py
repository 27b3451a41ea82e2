"""The package: the same bytes from the same sources, with all that they need and nothing else.

What takes installing is in test_packaging_clean.py.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pytest

from tests.pages import ROOT

ROOMS: Final = ("kling_ledger", "pricing/kling_pricing", "reports/kling_reports")
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SOURCES: Final = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
FOR_USE: Final = ("postgres", "parquet", "agents", "otel")
"""The extras that are for use; the others are for who works on the project."""
JUNK: Final = shutil.ignore_patterns("__pycache__", "*.sqlite*", ".*_cache", ".hypothesis")


def copied(folder: Path) -> Path:
    """Copy what a source distribution is made of into another folder, at another time."""
    for name in (*SOURCES, "/.gitignore"):
        source, target = ROOT / name[1:], folder / name[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            # Not copystat: the files have the time of the copy, as in a fresh clone.
            shutil.copytree(source, target, ignore=JUNK, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, target)
    return folder


def built(folder: Path, kind: str = "wheel") -> Path:
    """Build a distribution of a folder and return it."""
    pytest.importorskip("hatchling", reason="hatchling, of the extra `test`, is not here")
    out = folder.with_name(f"{folder.name}-built")
    run = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(out)]
    done = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source distribution, built once."""
    folder = copied(tmp_path_factory.mktemp("first"))
    return built(folder), built(folder, "sdist")


@pytest.fixture(scope="module")
def unpacked(made: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution as who has downloaded it unpacks it."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(made[1]) as archive:
        archive.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return top


def test_the_same_sources_make_the_same_bytes_wherever_they_are(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    again = copied(tmp_path / "a folder of another name")
    assert built(again).read_bytes() == made[0].read_bytes()
    assert built(again, "sdist").read_bytes() == made[1].read_bytes()


def test_a_source_distribution_makes_the_same_wheel(
    made: tuple[Path, Path], unpacked: Path
) -> None:
    assert built(unpacked).read_bytes() == made[0].read_bytes()


def files_of(room: str) -> Iterator[str]:
    folder = ROOT / room
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder.parent).as_posix()


def test_a_wheel_has_every_file_of_the_packages_and_no_other(made: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(made[0]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert "kling_ledger-0.1.0.dist-info/licenses/LICENSE" in wheel.namelist()
    assert names == {name for room in ROOMS for name in files_of(room)}


def test_a_source_distribution_has_what_its_tests_and_documents_need(unpacked: Path) -> None:
    expected = {name[1:] for name in SOURCES} | {".gitignore", "PKG-INFO"}
    found = {path.relative_to(unpacked).as_posix() for path in unpacked.iterdir()}
    assert found == {name.split("/")[0] for name in expected}
    assert list(unpacked.rglob("__pycache__")) == []


def test_the_metadata_say_what_the_project_says(made: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(made[0]) as wheel:
        told = Parser().parsestr(wheel.read("kling_ledger-0.1.0.dist-info/METADATA").decode())
    project = PROJECT["project"]
    assert (told["Name"], told["License-Expression"]) == ("kling-ledger", "Apache-2.0")
    assert set(told.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    assert told.get_all("Classifier") == project["classifiers"]
    # The versions that are named are those that test_packaging_clean.py tries.
    assert [name for name in project["classifiers"] if re.search(r":: 3\.\d+$", name)] == [
        f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)
    ]


def imports() -> dict[str, set[str]]:
    """Every package that a module of ours imports, with the modules that do."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            else:
                continue
            for name in names:
                found[name.partition(".")[0]].add(path.relative_to(ROOT).as_posix())
    return found


def name_of(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found, requirement
    return found[0].lower().replace("_", "-")


def test_what_is_imported_is_asked_for() -> None:
    """Whoever relies on what another package brings along breaks when that one drops it."""
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    declared = {
        name_of(one)
        for some in (project["dependencies"], *(extras[name] for name in extras if name in FOR_USE))
        for one in some
    }
    brought = packages_distributions()
    ours = {Path(room).name for room in ROOMS}
    undeclared = {
        name: sorted(where)[:2]
        for name, where in imports().items()
        if name not in ours
        and name not in sys.stdlib_module_names
        and not {one.lower().replace("_", "-") for one in brought.get(name, [name])} & declared
    }
    assert undeclared == {}


def test_every_requirement_has_a_lower_bound() -> None:
    project = PROJECT["project"]
    every = chain(project["dependencies"], *project["optional-dependencies"].values())
    assert [one for one in every if not re.search(r">=|==", one)] == []
