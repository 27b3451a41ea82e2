"""Four trials of one cap, by us and by whoever else promises to hold one, in the same run.

    pip install '.[test]'
    python -m benchmarks.rivals [--cache DIR] [--runs 3] [--format md|json]

A cap of 5 USD has room for fifty jobs of 0.10. Tried are a thousand reserves at once, from one
process and from four; a caller killed between reserving and settling, while the provider makes and
charges the job; a job that ends well after its hold ran out; and a submission whose answer is lost.
We reserve as snipz does, in tasks of one event loop, and in a second pair of rows in threads. After
each the rival itself is asked for how many jobs there is room: 49 where the job counts, 50
where the books forgot it. A rate counts attempts that were answered, and no errors. Before a rush
we and snipz make one call that moves nothing and let Python collect its garbage: without the call,
snipz makes a pool of connections for each of the first thousand callers on PostgreSQL, which is
more than a server has, and answers none; without the collection, that of what the imports made
falls into the rush.
Each rival is installed into an environment of its own and called as it documents; what could not be
tried says why. A Python of another version than this one is the one that `PYTHON313` names, or
`python3.13`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from tests.interpreters import python_of
from tests.postgres import own_server

DRIVERS: Final = Path(__file__).with_name("drivers")
ATTEMPTS, ALLOWED, PROCESSES = 1000, 50, 4
TOO_LONG_S: Final = 300


@dataclass(frozen=True, slots=True)
class Rival:
    """Who is tried, what installs it, and by which Python if not by this; nothing for us.

    `rush` names what its driver is asked to do for a rush.
    """

    name: str
    driver: str
    package: str | None = None
    python: str | None = None
    engine: str = "sqlite"
    rush: str = "rush"


@dataclass(frozen=True, slots=True)
class Row:
    """What one rival did. `allowed` is 50; a rate is attempts a second, times snipz' beside it."""

    name: str
    engine: str
    admitted: int
    of_four_processes: str
    errors: int
    killed: str
    late: str
    lost_reply: str
    per_second: float
    times_snipz: float | None = None


RIVALS: Final = (
    Rival("kling-ledger", "of_ours.py"),
    Rival("kling-ledger", "of_ours.py", engine="postgresql"),
    Rival("kling-ledger, threads", "of_ours.py", rush="rush_of_threads"),
    Rival("kling-ledger, threads", "of_ours.py", engine="postgresql", rush="rush_of_threads"),
    Rival("snipz", "of_snipz.py", "snipz[postgres]==0.2.0", "3.13"),
    Rival("snipz", "of_snipz.py", "snipz[postgres]==0.2.0", "3.13", engine="postgresql"),
    Rival("LiteLLM BudgetManager", "of_litellm.py", "litellm", engine="file"),
)
NOT_TRIED: Final = {
    "LiteLLM proxy": "its budgets need Prisma, whose engine is no package but a download",
    "bursar 2.0.4": "its PostgreSQL needs pg_partman 5 and pg_jsonschema, which are not here",
    "treg 0.27.0": "a hosted proxy; no driver yet for its money module",
    "Cycles 0.5.3": "the package is a client; its server is a container image",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rivals")
    parser.add_argument("--cache", type=Path, help="keep the environments here")
    parser.add_argument("--runs", type=int, default=3, help="rushes, of which the median counts")
    parser.add_argument("--format", choices=("md", "json"), default="md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, own_server() as server:
        rows, why = tried(asked, Path(scratch), server)
    rows = beside_snipz(rows)
    told = {"rows": [asdict(row) for row in rows], "not_tried": why}
    print(json.dumps(told, indent=2) if asked.format == "json" else table(rows, why))
    return 0


def tried(
    asked: argparse.Namespace, scratch: Path, server: str
) -> tuple[list[Row], dict[str, str]]:
    why = dict(NOT_TRIED)
    there: list[tuple[Rival, Trials]] = []
    for number, rival in enumerate(RIVALS):
        try:
            python = installed(rival, asked.cache or scratch)
        except (OSError, subprocess.CalledProcessError) as error:
            why[f"{rival.name} ({rival.engine})"] = f"not installed: {error}"
            continue
        places = Places(rival.engine, scratch / str(number), server)
        there.append((rival, Trials(python, rival.driver, places, rival.rush)))
    # One after another, again and again: a machine that is busy for a while is so for all of them.
    rounds = [[trials.rush() for _, trials in there] for _ in range(asked.runs)]
    rushes = zip(*rounds, strict=True)
    rows = [row_of(*one, own) for one, own in zip(there, rushes, strict=True)]
    return rows, why


def installed(rival: Rival, folder: Path) -> str:
    """Return the Python that has a rival, in an environment that is made once."""
    if rival.package is None:
        return sys.executable
    home = folder / rival.driver.removesuffix(".py")
    python = home / "bin" / "python"
    if not python.exists():
        base = sys.executable if rival.python is None else python_of(rival.python)
        if base is None:
            raise FileNotFoundError(f"Python {rival.python} is needed")
        subprocess.run([base, "-m", "venv", str(home)], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", rival.package], check=True)
    return str(python)


@dataclass(slots=True)
class Places:
    """A new file, or a new database on the server, for each trial."""

    engine: str
    folder: Path
    server: str
    made: int = 0

    def new(self) -> str:
        self.made += 1
        self.folder.mkdir(exist_ok=True)
        if self.engine != "postgresql":
            return str(self.folder / f"place{self.made}")
        name = f"bench_{self.folder.name}_{self.made}"
        import psycopg

        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return urlunsplit(urlsplit(self.server)._replace(path=f"/{name}"))


@dataclass(frozen=True, slots=True)
class Trials:
    """The driver of one rival, started once for each trial; `how` is its rush."""

    python: str
    driver: str
    places: Places
    how: str

    def prepared(self) -> str:
        place = self.places.new()
        self.ask("prepare", place)
        return place

    def ask(self, trial: str, place: str, *more: str) -> dict[str, Any]:
        with self.running(trial, place, *more) as child:
            return answer_of(child)

    def start(self, trial: str, place: str, *more: str) -> subprocess.Popen[str]:
        command = [self.python, str(DRIVERS / self.driver), trial, place, *more]
        told = os.environ if self.python == sys.executable else without_our_paths()
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=told)

    @contextmanager
    def running(self, trial: str, place: str, *more: str) -> Iterator[subprocess.Popen[str]]:
        child = self.start(trial, place, *more)
        try:
            yield child
        finally:
            child.kill()
            child.wait()

    def rush(self) -> dict[str, Any]:
        return self.ask(self.how, self.prepared(), str(ATTEMPTS))

    def rush_of_processes(self) -> str:
        """Return how many were admitted in all, and how many processes broke over it."""
        place, each = self.prepared(), str(ATTEMPTS // PROCESSES)
        children = [self.start(self.how, place, each) for _ in range(PROCESSES)]
        admitted, broken = 0, 0
        for child in children:
            try:
                admitted += answer_of(child)["admitted"]
            except RuntimeError:
                broken += 1
        return f"{admitted}, {broken} of {PROCESSES} broke" if broken else str(admitted)

    def killed(self) -> int:
        place = self.prepared()
        with self.running("crash", place) as child:
            assert child.stdout is not None
            # LiteLLM says other things first.
            assert any(line.strip() == "reserved" for line in child.stdout)
            child.send_signal(signal.SIGKILL)
        return int(self.ask("crashed", place)["room"])


def without_our_paths() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    # LiteLLM would ask the network for its prices whenever it starts.
    return {**kept, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def answer_of(child: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = child.communicate(timeout=TOO_LONG_S)
    if child.returncode != 0:
        raise RuntimeError(f"{child.args!r} ended with {child.returncode}")
    return dict(json.loads(out.splitlines()[-1]))


def row_of(rival: Rival, trials: Trials, rushes: Sequence[dict[str, Any]]) -> Row:
    late = trials.ask("late", trials.prepared())
    early = ", freed too early" if late["between"] == ALLOWED else ""
    return Row(
        name=rival.name,
        engine=rival.engine,
        admitted=max(rush["admitted"] for rush in rushes),
        of_four_processes=trials.rush_of_processes(),
        errors=max(rush["errors"] for rush in rushes),
        killed="held" if trials.killed() < ALLOWED else "forgotten",
        late=("charged" if late["room"] < ALLOWED else "lost") + early,
        lost_reply="held" if trials.ask("lost", trials.prepared())["room"] < ALLOWED else "freed",
        per_second=statistics.median(map(answered_per_second, rushes)),
    )


def answered_per_second(rush: dict[str, Any]) -> float:
    """Return how many attempts were admitted or refused in a second: an error answers nothing."""
    return float((ATTEMPTS - rush["errors"]) / rush["seconds"])


def beside_snipz(rows: list[Row]) -> list[Row]:
    """Return rows with each rate beside that of snipz on the same engine, else on SQLite.

    Where snipz answered nothing there is nothing to stand beside.
    """
    rates = {row.engine: row.per_second for row in rows if row.name == "snipz"}
    base = rates.get("sqlite")
    return [
        replace(row, times_snipz=row.per_second / rate)
        if (rate := rates.get(row.engine, base))
        else row
        for row in rows
    ]


def table(rows: list[Row], why: dict[str, str]) -> str:
    head = (
        f"| | kept in | admitted (allowed {ALLOWED}) | from four processes | errors | killed |"
        " late success | lost reply | answers a second | times snipz |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )
    lines = [
        f"| {row.name} | {row.engine} | {row.admitted} | {row.of_four_processes} | {row.errors} |"
        f" {row.killed} | {row.late} | {row.lost_reply} | {row.per_second:,.0f} |"
        f" {'' if row.times_snipz is None else format(row.times_snipz, '.1f')} |"
        for row in rows
    ]
    told = "Each rush by ours and by snipz came after one call that moves nothing."
    return "\n".join(
        [head, *lines, "", told, "", *(f"- {name}: {reason}." for name, reason in why.items())]
    )


if __name__ == "__main__":
    sys.exit(main())
