"""A command in a process of its own, and how much memory that process took at most."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

MOST_MB: Final = 300
"""What no input may make a command exceed."""

_MEASURED: Final = """
import json, resource, subprocess, sys
ran = subprocess.run(sys.argv[1:], capture_output=True, text=True, timeout=60)
most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps([ran.returncode, ran.stdout, ran.stderr, most * unit]))
"""
"""Run by a small process: a child counts the memory of the process that it was forked of."""


class Measured(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str
    megabytes: float


def measured(folder: Path, *words: str) -> Measured:
    """Run `kling-ledger` to its end."""
    command = [str(Path(sys.executable).with_name("kling-ledger")), *words]
    ran = subprocess.run(
        [sys.executable, "-c", _MEASURED, *command],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        timeout=90,
    )
    code, out, err, size = json.loads(ran.stdout)
    return Measured(code, out, err, size / 1e6)
