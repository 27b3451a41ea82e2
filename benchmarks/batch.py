"""How a thousand jobs at once go through one `batch` process, against the sandbox.

    python -m benchmarks.batch [--jobs 1000] [--job-seconds 10] [--polls-per-second 100]

Sandbox and batch are processes of their own. The batch may take 500 MB at its largest, has to
settle every job once and at what the sandbox charged, and may not poll oftener than it is told to.
The most polls in any one second are counted by asking the sandbox ten times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import httpx

from kling_ledger.ledger import Ledger
from kling_pricing.money import Money

MOST_RSS_MB: Final = 500
COMMAND: Final = str(Path(sys.executable).with_name("kling-ledger"))
KEY: Final = "sandbox-key"
SAMPLE_S: Final = 0.1
CALLS_AT_ONCE: Final = 32
"""So many calls may be under way: polls whose turn had come may start together."""


@dataclass
class Watcher:
    """Asks the sandbox how often it was polled, again and again."""

    url: str
    samples: list[tuple[float, int]] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(SAMPLE_S):
            tasks = truth(self.url)
            self.samples.append((time.monotonic(), sum(task["polls"] for task in tasks)))

    def most_in(self, seconds: float) -> float:
        """Return the most polls per second over any time at least so long."""
        rates = [
            (later[1] - at[1]) / (later[0] - at[0])
            for place, at in enumerate(self.samples)
            for later in self.samples[place + 1 :]
            if later[0] - at[0] >= seconds
        ]
        return max(rates, default=0.0)


def truth(url: str) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = httpx.get(f"{url}/sandbox/truth", timeout=60).json()["tasks"]
    return tasks


@contextmanager
def sandbox(job_s: float) -> Iterator[str]:
    words = ["sandbox", "--port", "0", "--job-seconds", str(job_s), "--balance", "1000000"]
    process = subprocess.Popen(
        [COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def prepared(folder: Path, jobs: int) -> None:
    """Write the manifest and fund a wallet that can pay for it."""
    request = {
        "model": "kling-3.0",
        "duration_seconds": 5,
        "output_resolution": "1080p",
        "enable_sound": True,
    }
    rows = [
        {"provider": "runapi", "request": {**request, "prompt": f"clip {number}"}}
        for number in range(jobs)
    ]
    (folder / "clips.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with Ledger(str(folder / "ledger.sqlite")) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", Money(Decimal(jobs), "USD"))


def ran(folder: Path, url: str, asked: argparse.Namespace) -> tuple[dict[str, Any], float, float]:
    """Run the batch; return what it said, how long it took, and its largest size in MB."""
    words = ["batch", "clips.jsonl", "--wallet", "team", "--base-url", url, "--format", "json"]
    words += ["--concurrency", str(asked.concurrency or asked.jobs)]
    words += ["--polls-per-second", str(asked.polls_per_second)]
    environ = {
        **os.environ,
        "RUNAPI_API_KEY": KEY,
        "KLING_LEDGER_DB": str(folder / "ledger.sqlite"),
    }
    began = time.monotonic()
    process = subprocess.Popen(
        [COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=environ,
    )
    assert process.stdout is not None
    said = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"exit code {process.returncode}"
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return json.loads(said), time.monotonic() - began, kilobytes / 1024


def check(folder: Path, url: str, jobs: int) -> None:
    """Compare the ledger with what the sandbox really took and charged."""
    tasks = truth(url)
    assert len(tasks) == len({task["prompt"] for task in tasks}) == jobs, "not each job once"
    assert {task["times_charged"] for task in tasks} == {1}
    charged = sum(Decimal(task["charged"]) for task in tasks)
    with Ledger(str(folder / "ledger.sqlite")) as ledger:
        wallet = ledger.wallets.get("team")
        assert ledger.verify().is_clean
    assert wallet.spent.amount == charged, f"{wallet.spent} spent, {charged} charged"
    assert wallet.reserved.micro == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, help="in flight at once; by default all")
    parser.add_argument("--job-seconds", type=float, default=10)
    parser.add_argument("--polls-per-second", type=float, default=100)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sandbox(asked.job_seconds) as url:
        folder = Path(name)
        prepared(folder, asked.jobs)
        watcher = Watcher(url)
        with watcher.watching():
            said, took_s, rss_mb = ran(folder, url, asked)
        check(folder, url, asked.jobs)
        polls = sum(task["polls"] for task in truth(url))
    per_s, over_5_s = watcher.most_in(1), watcher.most_in(5)
    may = asked.polls_per_second + CALLS_AT_ONCE
    verdicts = {
        f"largest size {rss_mb:,.0f} MB, at most {MOST_RSS_MB}": rss_mb <= MOST_RSS_MB,
        f"{per_s:,.0f} polls in the busiest second, at most {may:,.0f}": per_s <= may,
    }
    print(f"{said['done']} of {asked.jobs} jobs done, {said['spent']}, the sandbox says the same")
    print(f"{took_s:.1f} s; {polls} polls, {over_5_s:,.0f}/s over the busiest five seconds")
    for text, holds in verdicts.items():
        print(f"{'ok  ' if holds else 'FAIL'} {text}")
    return 0 if all(verdicts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
