"""Every figure that a document promises, measured beside its reference: one command.

    python -m benchmarks [NAME ...] [--list] [--quick]

Each entry is a program of this folder, run in a process of its own; its reference is in the same
run, so that a busy machine slows both. `--quick` leaves out what takes longer than a minute. The
run ends with a table and a plot of daily work with a thousand rows to a million, and with the
names of the benchmarks that missed a bound.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.claims import ENTRIES, Entry


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parse(arguments)
    chosen = [one for one in ENTRIES if wanted(one, asked)]
    if asked.list:
        print("\n".join(f"{one.name:12}  {one.measures}" for one in chosen))
        return 0
    missed = [one.name for one in chosen if run(one, quick=asked.quick) != 0]
    print(f"\n{len(chosen)} measured, {len(missed)} missed a bound: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("--list", action="store_true", help="only name what is measured")
    parser.add_argument("--quick", action="store_true", help="in two minutes")
    asked = parser.parse_args(arguments)
    known = {one.name for one in ENTRIES}
    for name in asked.names:
        if name not in known:
            parser.error(f"there is no benchmark {name!r}; known are {', '.join(sorted(known))}")
    return asked


def wanted(one: Entry, asked: argparse.Namespace) -> bool:
    named = not asked.names or one.name in asked.names
    return named and not (asked.quick and one.quick is None)


def run(one: Entry, *, quick: bool) -> int:
    """Run one benchmark to its end and return its exit code."""
    options = one.quick if quick and one.quick is not None else ()
    print(f"\n# {one.name}: {one.measures}", flush=True)
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{one.name}", *options], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
