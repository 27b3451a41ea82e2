"""The package as others get it: installed anew, and tested from there with no source beside it.

Installing needs a package index and some minutes, so this is left out by default:

    pip install '.[test,release]' && pytest -m packaging -n 0
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.interpreters import python_of
from tests.pages import ROOT
from tests.repositories import ENVIRON, new_repository
from tests.test_packaging import built, copied

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(1800)]

TOOLS: Final = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
UV: Final = shutil.which("uv", path=TOOLS)
VERSIONS: Final = ("3.11", "3.12", "3.13", "3.14")
SOME: Final = (
    *("pricing_quote", "pricing_plans", "ledger_wallets", "ledger_settlement", "cli_quote"),
    *("cli_wallet", "tabular_reading", "reports_spend", "sandbox_command"),
)
"""Tests of every room that need no page, which is not installed."""
MORE: Final = (
    *SOME,
    *("ledger_migrations", "pricing_bulk", "cli_run", "cli_plan", "reports_render_xlsx"),
    *("tabular_writing", "gateway_client", "gateway_metrics", "gateway_spans", "agents_mcp"),
    *("agents_child_certificates", "meter", "providers_runapi", "callbacks_unfinished", "receiver"),
)
"""Those in which a library of ours is really used, each at its lowest version."""


@dataclass(frozen=True)
class Clean:
    """A virtual environment, and a folder with tests but without what they test."""

    folder: Path
    python: Path

    def install(self, *words: str) -> None:
        """Install something with uv, which says what goes wrong."""
        assert UV is not None
        run([UV, "pip", "install", "--quiet", "--python", str(self.python), *words], self.folder)

    def test(self, names: Sequence[str]) -> None:
        """Run tests on what is installed."""
        if not (self.folder / "tests").exists():
            shutil.copytree(ROOT / "tests", self.folder / "tests")
            shutil.copy(ROOT / "pyproject.toml", self.folder)
        where = "import kling_ledger, kling_pricing, kling_reports as r; print(r.__file__)"
        assert "site-packages" in run([str(self.python), "-P", "-c", where], self.folder)
        files = [f"tests/test_{name}.py" for name in names]
        options = ["-n", "0", "-q", "-p", "no:cacheprovider"]
        run([str(self.python), "-P", "-m", "pytest", *options, *files], self.folder)

    def demo(self) -> str:
        """Run the demo as a new user does."""
        return run([str(self.python.with_name("kling-ledger")), "demo"], self.folder)


def run(words: Sequence[str], folder: Path) -> str:
    environ = {k: v for k, v in ENVIRON.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        words, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


def clean(folder: Path, version: str) -> Clean:
    if UV is None:
        pytest.skip("uv, of the extra `release`, is not here")
    python = python_of(version)
    if python is None:
        pytest.skip(f"Python {version} is not here")
    run([UV, "venv", "--quiet", "--python", python, str(folder / "venv")], folder)
    return Clean(folder, folder / "venv" / "bin" / "python")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that every user can read: PostgreSQL's own user runs its server from there."""
    with tempfile.TemporaryDirectory(prefix="kling-ledger-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("sources"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_wheel_works_on_every_python(sources: Path, tmp_path: Path, version: str) -> None:
    wheel = built(sources)
    here = clean(tmp_path, version)
    here.install(str(wheel))
    assert "transfers balance" in here.demo()
    here.install(f"{wheel}[test]")
    here.test(SOME)


def test_a_source_distribution_works(sources: Path, tmp_path: Path) -> None:
    here = clean(tmp_path, "3.11")
    here.install(f"{built(sources, 'sdist')}[test]")
    here.demo()
    here.test(SOME)


def test_the_lowest_versions_work(sources: Path, tmp_path: Path) -> None:
    """On the oldest Python: of later ones, old releases of some libraries know nothing."""
    here = clean(tmp_path, "3.11")
    here.install("--resolution", "lowest-direct", f"{sources}[test]")
    here.demo()
    here.test(MORE)


def test_the_lowest_versions_do_for_who_only_installs_the_package(
    sources: Path, tmp_path: Path
) -> None:
    """Without the extras, whose own requirements ask for later versions of ours."""
    here = clean(tmp_path, "3.11")
    here.install("--resolution", "lowest-direct", str(sources))
    here.demo()


def test_the_bill_of_materials_is_the_same_twice(sources: Path, tmp_path: Path) -> None:
    here = clean(tmp_path, "3.11")
    here.install(str(built(sources)))
    tool = Path(sys.executable).with_name("cyclonedx-py")
    if not tool.exists():
        pytest.skip("cyclonedx-bom, of the extra `release`, is not here")
    words = [str(tool), "environment", "--output-reproducible", "--pyproject", "pyproject.toml"]
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    told = [run([*words, str(here.python)], tmp_path) for _ in range(2)]
    assert told[0] == told[1]
    bill = json.loads(told[0])
    assert bill["bomFormat"] == "CycloneDX"
    assert {"sqlalchemy", "httpx", "pandas"} <= {one["name"].lower() for one in bill["components"]}
    assert all(one.get("version") for one in bill["components"])


def test_pre_commit_installs_the_hook_and_runs_it(sources: Path, tmp_path: Path) -> None:
    tool = shutil.which("pre-commit", path=TOOLS)
    if tool is None:
        pytest.skip("pre-commit is not here")
    hooks = new_repository(sources)
    hooks.commit()
    repository = new_repository(tmp_path / "here")
    repository.write("shots/a.csv", "provider,model,seconds,resolution,sound\n")
    repository.commit()
    row = "runapi,kling-3.0,5,1080p,yes\n"
    repository.write("shots/a.csv", f"provider,model,seconds,resolution,sound\n{row}")
    repository.git("add", "--all")
    args = ["--manifest", "shots/*.csv", "--at", "2026-11-26"]
    hook = {"id": "kling-ledger-changes", "args": args}
    revision = hooks.git("rev-parse", "HEAD")
    config = {"repos": [{"repo": str(sources), "rev": revision, "hooks": [hook]}]}
    (tmp_path / "here" / ".pre-commit-config.yaml").write_text(json.dumps(config), "utf-8")
    environ = {**ENVIRON, "PRE_COMMIT_HOME": str(tmp_path / "home")}
    words = [tool, "run", "--all-files"]
    done = subprocess.run(
        words, cwd=repository.folder, env=environ, capture_output=True, text=True, check=False
    )
    assert "this change adds 0.675 USD" in done.stdout, done.stdout + done.stderr


def test_the_action_installs_from_its_own_folder(sources: Path, tmp_path: Path) -> None:
    here = clean(tmp_path, "3.13")
    here.install("pip")
    script = 'python -m pip install --quiet --disable-pip-version-check "$GITHUB_ACTION_PATH"'
    assert script in (ROOT / "action.yml").read_text("utf-8")
    environ = {
        **ENVIRON,
        "PATH": f"{here.python.parent}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_ACTION_PATH": str(sources),
    }
    subprocess.run(["bash", "-eo", "pipefail", "-c", script], env=environ, check=True)
    here.demo()
