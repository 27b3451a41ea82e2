"""How much a cold command costs: its CPU time over that of importing click and pydantic.

Run it as `python benchmarks/cold_start.py`. Every figure is the median of several runs of the whole
process, user and system time together. What is compared takes turns, so that a busy machine slows
both.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kling_ledger.ledger import Ledger
from kling_pricing.money import Money

ROUNDS = 9
PROGRAM = str(Path(sys.executable).with_name("kling-ledger"))
IMPORT = (sys.executable, "-c", "import click, pydantic")
QUOTE = (
    *(PROGRAM, "quote", "--provider", "evolink", "--model", "kling-v3-text-to-video"),
    *("--seconds", "8", "--resolution", "1080p", "--sound"),
)
RESERVE = (
    *(PROGRAM, "reservation", "create", "--wallet", "team", "--amount", "0.5 USD"),
    *("--format", "json", "--db"),
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "ledger.sqlite")
        with Ledger(file) as ledger:
            ledger.wallets.create("team", "USD")
            ledger.wallets.fund("team", Money.parse("1000 USD"))
        took = medians(
            {
                "import": IMPORT,
                "quote": (*QUOTE, "--format", "json"),
                "table": QUOTE,
                "reserve": (*RESERVE, file),
            }
        )
    print(f"import click, pydantic            {took['import'] * 1e3:6.0f} ms")
    show("quote as JSON", took["quote"], took["import"], "at most 1.3")
    show("quote as a table in a pipe", took["table"], took["import"], "")
    show("reservation create", took["reserve"], took["import"], "at most 2.5")


def medians(commands: dict[str, Sequence[str]]) -> dict[str, float]:
    """Return the median CPU seconds of each command, after one round to compile and to warm up."""
    took: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(ROUNDS + 1):
        for name, command in commands.items():
            seconds = cpu_s(command)
            if turn:
                took[name].append(seconds)
    return {name: statistics.median(times) for name, times in took.items()}


def cpu_s(command: Sequence[str]) -> float:
    """Run a command; return the user and system seconds that it took."""
    # An installed package is compiled: the round to warm up compiles ours, whatever the shell says.
    compiled = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    quiet = subprocess.DEVNULL
    subprocess.run(command, check=True, stdout=quiet, stderr=quiet, env=compiled)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def show(what: str, took: float, base: float, goal: str) -> None:
    ratio = f"{took * 1e3:6.0f} ms   ratio {took / base:.2f}"
    print(f"{what:<34}{ratio}{'   goal ' + goal if goal else ''}", flush=True)


if __name__ == "__main__":
    main()
