"""The GitHub Action and the pre-commit hook: their own steps, at real repositories."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.loopback import Loopback, answering
from tests.pages import ROOT
from tests.repositories import ENVIRON, Repository, new_repository

HEADER: Final = "id,provider,model,seconds,resolution,sound\n"
CLIP: Final = "a,runapi,kling-3.0,5,1080p,yes\n"
MORE: Final = "b,runapi,kling-3.0,8,1080p,yes\n"
UNPRICED: Final = "c,runapi,kling-99,8,1080p,yes\n"
MARK: Final = "<!-- kling-ledger changes -->"
INPUTS: Final = {"manifests": "shots/*.csv", "options": "--at=2026-11-26"}
ADDS: Final = "this change adds 1.08 USD"


@dataclass
class Runner:
    """What GitHub runs an action on: a shallow clone of a pull request's merge, and an event."""

    folder: Path
    clone: Repository
    environ: dict[str, str]

    def runs(self, **inputs: str) -> int:
        """Run the action's own steps, but not what installs it; return how it ended."""
        action = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
        given = {name: one["default"] for name, one in action["inputs"].items()}
        given |= {**INPUTS, **{name.replace("_", "-"): text for name, text in inputs.items()}}
        steps = [step for step in action["runs"]["steps"] if "run" in step]
        for step in steps[1:]:
            if "if" in step and given["fail-on-unknown"] != "true":
                continue
            if code := self._step(step, given):
                return code
        return 0

    def _step(self, step: dict[str, Any], given: dict[str, str]) -> int:
        (self.folder / "script").write_text(step["run"], encoding="utf-8")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(self.folder / "script")],
            cwd=self.clone.folder,
            env={
                **self.environ,
                **{name: self._filled(text, given) for name, text in step["env"].items()},
            },
            capture_output=True,
            check=False,
            timeout=120,
        )
        self.said = (done.stdout + done.stderr).decode()
        return done.returncode

    def _filled(self, text: str, given: dict[str, str]) -> str:
        found = re.fullmatch(r"\$\{\{ (inputs|steps\.\w+\.outputs)\.([\w-]+) \}\}", text)
        assert found, text
        return given[found[2]] if found[1] == "inputs" else self.outputs[found[2]]

    @property
    def outputs(self) -> dict[str, str]:
        lines = (self.folder / "output").read_text("utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def summary(self) -> str:
        return (self.folder / "summary").read_text("utf-8")


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A pull request that adds a clip, to a branch that has gone on meanwhile."""
    return pull_request(tmp_path, MORE)


def pull_request(folder: Path, more: str) -> Runner:
    origin = new_repository(folder / "origin")
    origin.commit(**{"shots/a.csv": HEADER + CLIP})
    origin.git("checkout", "--quiet", "-b", "feature")
    origin.commit(**{"shots/a.csv": HEADER + CLIP + more})
    origin.git("checkout", "--quiet", "main")
    origin.commit(**{"shots/elsewhere.csv": HEADER + CLIP})
    origin.git("merge", "--quiet", "--no-ff", "--no-edit", "feature")
    merged = origin.git("rev-parse", "HEAD")
    origin.git("update-ref", "refs/pull/1/merge", merged)
    origin.git("reset", "--quiet", "--hard", "HEAD^1")
    # As actions/checkout does it: one commit, and no branch.
    clone = new_repository(folder / "clone")
    clone.git("remote", "add", "origin", f"file://{origin.folder}")
    clone.git("fetch", "--quiet", "--depth=1", "origin", "refs/pull/1/merge")
    clone.git("checkout", "--quiet", "--detach", "FETCH_HEAD")
    (folder / "event").write_text(json.dumps({"pull_request": {"number": 1}}), encoding="utf-8")
    for name in ("output", "summary"):
        (folder / name).touch()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {
        **ENVIRON,
        "PATH": path,
        "KLING_LEDGER_CONFIG": os.devnull,
        "GITHUB_ACTION_PATH": str(ROOT),
        "GITHUB_API_URL": "http://127.0.0.1:9",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(folder / "event"),
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_REPOSITORY": "someone/shots",
        "GITHUB_SHA": merged,
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        "RUNNER_TEMP": str(folder),
    }
    return Runner(folder, clone, environ)


def calls(server: Loopback) -> list[tuple[str, str]]:
    return [(one.method, one.path) for one in server.seen]


def test_a_pull_request_is_told_exactly_what_merging_it_adds(runner: Runner) -> None:
    with answering((200, []), (201, {})) as github:
        runner.environ["GITHUB_API_URL"] = github.url
        assert runner.runs(token="secret") == 0, runner.said
    assert runner.outputs == {"code": "0", "summary": ADDS, "usd": "1.08"}
    assert runner.summary.startswith("**This change adds 1.08 USD.**")
    at = "/repos/someone/shots/issues/1/comments"
    assert calls(github) == [("GET", f"{at}?per_page=100"), ("POST", at)]
    posted = github.seen[1]
    assert posted.body["body"] == f"{MARK}\n{runner.summary}"
    assert "| shots/a.csv | added | row 2 (b) |" in posted.body["body"]
    assert {k.lower(): v for k, v in posted.headers.items()}["authorization"] == "Bearer secret"


def test_the_next_push_renews_the_comment(runner: Runner) -> None:
    theirs = [{"id": 7, "body": f"as they said: {MARK}"}, {"id": 8, "body": None}]
    with answering((200, theirs), (200, [{"id": 9, "body": f"{MARK}\nold"}]), (200, {})) as github:
        second = f"<{github.url}/second>; rel=next"
        github.answers[0] = (200, theirs, {"Link": second})
        runner.environ["GITHUB_API_URL"] = github.url
        assert runner.runs() == 0, runner.said
    renewed = ("PATCH", "/repos/someone/shots/issues/comments/9")
    assert calls(github)[1:] == [("GET", "/second"), renewed]


def test_a_token_that_may_only_read_is_a_warning(runner: Runner) -> None:
    with answering((200, []), (403, {"message": "not accessible"})) as github:
        runner.environ["GITHUB_API_URL"] = github.url
        assert runner.runs() == 0
    assert runner.outputs["summary"] == ADDS


def test_nothing_is_posted_where_nothing_differs_or_nobody_asked(runner: Runner) -> None:
    with answering((200, [])) as github:
        runner.environ["GITHUB_API_URL"] = github.url
        assert runner.runs(manifests="others/*.csv") == 0, runner.said
        assert [method for method, _ in calls(github)] == ["GET"]
        assert runner.runs(comment="false") == 0
        assert len(github.seen) == 1


def test_a_row_without_a_price_is_told_and_then_fails(tmp_path: Path) -> None:
    runner = pull_request(tmp_path, MORE + UNPRICED)
    with answering((200, []), (201, {}), (200, []), (201, {})) as github:
        runner.environ["GITHUB_API_URL"] = github.url
        assert runner.runs() == 7
        assert "what this change adds is unknown" in github.seen[1].body["body"].lower()
        assert runner.outputs["usd"] == ""
        assert runner.runs(fail_on_unknown="false") == 0


def test_a_base_may_be_given_and_is_fetched(runner: Runner) -> None:
    assert runner.runs(base="feature", comment="false") == 0, runner.said
    # What the branch has gone on by is then part of it.
    assert runner.outputs["summary"] == "this change adds 0.675 USD"


@pytest.mark.parametrize("event", ["pull_request", "pull_request_target"])
def test_another_commit_than_the_merge_needs_a_base(runner: Runner, event: str) -> None:
    runner.environ["GITHUB_EVENT_NAME"] = event
    if event == "pull_request":
        runner.environ["GITHUB_SHA"] = "0" * 40
    assert runner.runs() == 2
    assert "say what to compare with" in runner.said


def test_a_usage_error_ends_the_action(runner: Runner) -> None:
    assert runner.runs(requests="nobody=*.json") == 2
    assert "PROVIDER=PATTERN" in runner.said


def test_what_a_branch_is_called_is_never_run(runner: Runner) -> None:
    harmful = "$(touch harmed); `touch harmed`"
    assert runner.runs(base=harmful, manifests=harmful) != 0
    assert not list(runner.folder.rglob("harmed"))


def test_a_long_answer_is_cut_to_what_a_comment_holds(tmp_path: Path) -> None:
    many = "".join(f"x{n},runapi,kling-3.0,5,1080p,yes\n" for n in range(1500))
    runner = pull_request(tmp_path, many)
    with answering((200, []), (201, {})) as github:
        runner.environ["GITHUB_API_URL"] = github.url
        assert runner.runs() == 0, runner.said
    text = github.seen[1].body["body"]
    assert len(text) < 65_536
    assert text.endswith("\n\nThere are more rows than a comment can hold.\n")


def test_the_hook_says_what_a_commit_adds(tmp_path: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    repository = new_repository(tmp_path / "here")
    repository.commit(**{"shots/a.csv": HEADER + CLIP})
    repository.write("shots/a.csv", HEADER + CLIP + MORE)
    repository.git("add", "--all")
    entry = [*hook["entry"].split(), "--manifest", "shots/*.csv", "--at", "2026-11-26"]
    entry[0] = str(Path(sys.executable).with_name(entry[0]))
    environ = {**ENVIRON, "KLING_LEDGER_CONFIG": os.devnull}
    done = subprocess.run(
        entry, cwd=repository.folder, env=environ, capture_output=True, check=True
    )
    assert done.stdout.decode().splitlines()[-1] == ADDS
    assert (hook["language"], hook["pass_filenames"], hook["verbose"]) == ("python", False, True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not here")
def test_the_script_is_clean() -> None:
    subprocess.run(["shellcheck", ROOT / ".github" / "price-changes.sh"], check=True)
