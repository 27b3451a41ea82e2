"""The real command line: what it said, what it exited with.

A command runs in this process, which saves the start of another; `start` gives it one of its own,
for whatever is killed, interrupted or goes on while the test does.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import httpx

from kling_ledger import Ledger
from kling_ledger.cli import main
from kling_ledger.cli.reservation_rows import reservation_dict
from kling_ledger.cli.wallet_rows import wallet_dict
from kling_pricing import Money

COMMAND = str(Path(sys.executable).with_name("kling-ledger"))
API_KEY = "sandbox-key"
BODY: dict[str, Any] = {
    "model": "kling-3.0",
    "prompt": "a lake at sunrise",
    "duration_seconds": 5,
    "output_resolution": "1080p",
    "enable_sound": True,
}
"""A request that costs 0.675 USD."""

_LONGEST_S = 240

_OF_ITS_OWN = {"batch", "callbacks", "sandbox"}
"""Commands that change how their process takes signals, or end it by themselves."""


def body(prompt: str = "a lake at sunrise", **fields: Any) -> str:
    """Return the request as JSON, with another prompt and other fields."""
    return json.dumps({**BODY, "prompt": prompt, **fields})


def changed(name: str, value: object) -> str:
    """Return the request as JSON with one field changed."""
    return json.dumps({**BODY, name: value})


@dataclass(frozen=True)
class Said:
    """What a finished command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """The lines of its standard error."""
        return self.err.splitlines()


@dataclass(frozen=True)
class Cli:
    """The command with a database and an environment of its own, in a folder of its own."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Path:
        """The file that the ledger is in."""
        return self.folder / "ledger.sqlite"

    def start(self, *words: str, stdin: str | bytes = "") -> subprocess.Popen[bytes]:
        """Start a command and let it run."""
        given = stdin.encode() if isinstance(stdin, str) else stdin
        process = subprocess.Popen(
            [COMMAND, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=self._environment(),
        )
        if process.stdin is None:
            raise AssertionError("the process has no standard input")
        process.stdin.write(given)
        process.stdin.close()
        process.stdin = None
        return process

    def __call__(self, *words: str, stdin: str | bytes = "") -> Said:
        """Run a command to its end. No command ever answers with a traceback."""
        if words[:1] and words[0] in _OF_ITS_OWN:
            return finish(self.start(*words, stdin=stdin))
        given = io.BytesIO(stdin.encode() if isinstance(stdin, str) else stdin)
        out, err = _written(), _written()
        with (
            mock.patch.dict(os.environ, self._environment(), clear=True),
            mock.patch.object(sys, "argv", [COMMAND, *words]),
            mock.patch.object(sys, "stdin", io.TextIOWrapper(given, "utf-8")),
            redirect_stdout(out),
            redirect_stderr(err),
            chdir(self.folder),
        ):
            code = _exit_code_of_main()
        return Said(code, _read(out), _read(err))

    def json(self, *words: str, stdin: str | bytes = "") -> Any:
        """Run a command that succeeds and return what it printed as JSON."""
        said = self(*words, "--format", "json", stdin=stdin)
        assert said.code == 0, said.err
        return said.json

    def fund(self, amount: str, name: str = "team") -> None:
        """Create a wallet in USD and put an amount into it, in this process: it is quicker."""
        with Ledger(str(self.database)) as ledger:
            ledger.wallets.create(name, "USD")
            ledger.wallets.fund(name, Money.parse(amount))

    def wallet(self, name: str = "team") -> dict[str, str]:
        """Return what a wallet holds, once its ledger is found clean; read in this process."""
        with Ledger(str(self.database)) as ledger:
            assert ledger.verify().findings == ()
            found = wallet_dict(ledger.wallets.get(name))
        return {key: found[key] for key in ("funded", "spent", "reserved", "available")}

    def reservations(self) -> list[dict[str, Any]]:
        """Return every reservation, newest first; read in this process."""
        with Ledger(str(self.database)) as ledger:
            return [reservation_dict(entry) for entry in ledger.reservations.latest()]

    def _environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("KLING_", "RUNAPI_"))}
        own = {"KLING_LEDGER_DB": str(self.database), "KLING_LEDGER_CONFIG": os.devnull}
        return {**inherited, **own, **self.environ}


def _written() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), "utf-8", newline="", write_through=True)


def _read(written: io.TextIOWrapper) -> str:
    written.seek(0)
    return written.read()


def _exit_code_of_main() -> int:
    """Run the command line and return its exit code; whatever it does not catch fails the test."""
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)


def finish(process: subprocess.Popen[bytes]) -> Said:
    """Wait for a command to end and return what it said."""
    try:
        out, err = process.communicate(timeout=_LONGEST_S)
    finally:
        process.kill()
    said = Said(process.returncode, out.decode(), err.decode())
    assert "Traceback" not in said.err, said.err
    return said


@dataclass(frozen=True)
class SandboxProcess:
    """A `kling-ledger sandbox` that listens."""

    process: subprocess.Popen[bytes]
    url: str

    def spent_cents(self) -> float:
        """Return what the provider has charged for so far."""
        return float(self._get("/api/v1/me/balance")["spent_cents_total"])

    def task(self, task_id: str) -> dict[str, Any]:
        """Return a task as the provider knows it."""
        return dict(self._get(f"/api/v1/kling/text_to_video/{task_id}"))

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(_LONGEST_S)

    def _get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {API_KEY}"}
        return httpx.get(self.url + path, headers=headers).raise_for_status().json()


@contextmanager
def sandbox_process(folder: Path, *options: str) -> Iterator[SandboxProcess]:
    """Run a sandbox on a free port; jobs take a fifth of a second unless an option says else."""
    words = ("sandbox", "--port", "0", "--job-seconds", "0.2", *options)
    process = Cli(folder).start(*words)
    try:
        assert process.stdout is not None
        yield SandboxProcess(process, process.stdout.readline().decode().strip())
    finally:
        process.kill()
        process.communicate(timeout=_LONGEST_S)
