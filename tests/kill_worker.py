"""The command line in forked processes that can be told at which point of their work to die.

As a program it imports everything once, reads one command a line as JSON, runs it in a process of
its own and answers with what became of it. As a module it is what tests speak to it with. A point
comes before each statement of SQLite, and before and after each piece that is sent to a provider
or comes from one. Nothing in the product knows of them.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, Final

from httpcore._backends.sync import SyncStream

from kling_ledger.cli import main
from kling_pricing.gateways import GATEWAYS
from tests.ledger_failpoints import Fuse, watching
from tests.ledger_worker import ROOT

Answer = dict[str, Any]

IMPORTED: Final = (
    "kling_ledger.cli.batch",
    "kling_ledger.cli.reconcile",
    "kling_ledger.cli.reconcile_rows",
    "kling_ledger.cli.resume",
    "kling_ledger.cli.run",
    "kling_ledger.evidence.apply",
    "kling_ledger.evidence.balances",
    "kling_ledger.evidence.missing",
    "kling_ledger.evidence.reading",
    "kling_ledger.evidence.matching",
    "kling_ledger.evidence.plan",
    "kling_ledger.evidence.sources",
    "kling_ledger.evidence.tasks",
    "kling_ledger.jobs.batch",
    "kling_ledger.jobs.downloads",
    "kling_ledger.jobs.recovery",
    "kling_ledger.manifests.batch",
    *(f"kling_ledger.providers.{name}.dialect" for name in GATEWAYS),
)
"""What commands import only when they run, by name."""

PATIENCE_S: Final = 100
"""How long a command may take; whoever takes longer is stuck."""


class _Fuse(Fuse):
    """A fuse that many threads pass: it kills the process at one of its points, once."""

    def __init__(self, at: int) -> None:
        super().__init__(at, lambda: os.kill(os.getpid(), signal.SIGKILL))
        self._is_lit = True
        self._turn = Lock()

    def point(self, name: str) -> None:
        with self._turn:
            super().point(name)


@contextmanager
def _wires_watched(fuse: Fuse) -> Iterator[None]:
    """Let every piece that goes over a connection pass its points."""
    read, write = SyncStream.read, SyncStream.write

    def watched_read(self: SyncStream, *given: Any, **named: Any) -> bytes:
        fuse.point("before a reply")
        content = read(self, *given, **named)
        fuse.point("after a reply")
        return content

    def watched_write(self: SyncStream, *given: Any, **named: Any) -> None:
        fuse.point("before a request")
        write(self, *given, **named)
        fuse.point("after a request")

    SyncStream.read, SyncStream.write = watched_read, watched_write  # type: ignore[method-assign]
    try:
        yield
    finally:
        SyncStream.read, SyncStream.write = read, write  # type: ignore[method-assign]


def _in_child(told: Answer) -> int:
    """Run a command as the process would that a person starts; return its exit code."""
    os.chdir(told["folder"])
    os.environ.update(told["environ"])
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["kling-ledger", *told["words"]]
    fuse = _Fuse(told["kill_at"])
    code = 1
    try:
        with watching(fuse), _wires_watched(fuse):
            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - a child must end here, whatever happened
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    Path("points").write_text(json.dumps(fuse.passed))
    return code


def _ran(told: Answer) -> Answer:
    folder = Path(told["folder"])
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = _in_child(told)
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    is_killed = os.WIFSIGNALED(status)
    return {
        "code": None if is_killed else os.WEXITSTATUS(status),
        "out": (folder / "out").read_text(),
        "err": (folder / "err").read_text(),
        "points": [] if is_killed else json.loads((folder / "points").read_text()),
    }


def _serve() -> None:
    _import_all()
    for line in sys.stdin:
        print(json.dumps(_ran(json.loads(line))), flush=True)  # noqa: T201 - it is the answer


def _import_all() -> None:
    """Import what commands import when they run: each child would do it again."""
    for name in IMPORTED:
        import_module(name)


# --- what tests speak to it with ----------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a command ended; `code` None where it was killed at a point."""

    code: int | None
    out: str
    err: str
    points: list[str]

    @property
    def is_killed(self) -> bool:
        return self.code is None

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class KillWorker:
    """The program as a test speaks to it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kill_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )

    def __call__(
        self, folder: Path, environ: dict[str, str], words: Sequence[str], *, kill_at: int = 0
    ) -> Ended:
        """Run a command in a folder; it dies at a point of its way, or comes to its end at 0."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        told = {
            "folder": str(folder),
            "environ": environ,
            "words": list(words),
            "kill_at": kill_at,
        }
        stdin.write(json.dumps(told) + "\n")
        stdin.flush()
        is_done, _, _ = select.select([stdout], [], [], PATIENCE_S)
        assert is_done, f"stuck for {PATIENCE_S} s: {words}"
        ended = Ended(**json.loads(stdout.readline()))
        assert "Traceback" not in ended.err, ended.err
        return ended

    def end(self) -> None:
        """End the program, and whatever it started that still runs."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@contextmanager
def kill_worker_running() -> Iterator[KillWorker]:
    """A worker for as long as some tests run."""
    worker = KillWorker()
    try:
        yield worker
    finally:
        worker.end()


if __name__ == "__main__":
    _serve()
