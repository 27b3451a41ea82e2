"""What Windows does not have is taken away: the program does its work without it.

The interpreter's own libraries are loaded first, as those of Windows would not ask for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from kling_ledger import Ledger
from kling_pricing import Money
from tests.ledger_worker import ROOT

WITHOUT: Final = """
import asyncio, multiprocessing, os, pathlib, select, selectors, signal, subprocess, sys, tempfile
import platformdirs
for name in ("fcntl", "grp", "pwd", "resource", "syslog", "termios", "pty", "tty"):
    sys.modules[name] = None
for module, names in {
    os: "fork forkpty register_at_fork pread pwrite killpg fchmod fchown chown statvfs "
        "O_CLOEXEC O_DIRECTORY O_NOFOLLOW",
    select: "poll",
    signal: "SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGALRM setitimer pthread_kill",
}.items():
    for name in names.split():
        delattr(module, name)
"""
"""What our own code would miss on Windows; what libraries use on Linux alone stays."""

RESERVES: Final = f"""{WITHOUT}
from kling_ledger import Ledger
from kling_ledger.errors import InsufficientCreditsError
from kling_pricing import Money
admitted = 0
with Ledger(sys.argv[1]) as ledger:
    try:
        while True:
            ledger.reserve("team", Money.parse("1 USD"))
            admitted += 1
    except InsufficientCreditsError:
        print(admitted)
"""

COMMAND: Final = f"{WITHOUT}\nfrom kling_ledger.cli import main\nmain()"


def start(folder: Path, program: str, *words: str) -> subprocess.Popen[str]:
    here = os.pathsep.join(str(ROOT / name) for name in (".", "pricing", "reports"))
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": here, "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert "Traceback" not in err, err
    return out


def test_the_tour_goes_its_way(tmp_path: Path):
    assert "verify" in finished(start(tmp_path, COMMAND, "demo"))


def test_the_doctor_says_what_is_there(tmp_path: Path):
    assert "python" in finished(start(tmp_path, COMMAND, "doctor")).lower()


def test_processes_without_turns_admit_exactly_what_fits(tmp_path: Path):
    path = str(tmp_path / "ledger.sqlite")
    with Ledger(path) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", Money.parse("60 USD"))
    for turn in ("turn", "next"):
        Path(f"{path}-{turn}").unlink()
    started = [start(tmp_path, RESERVES, path) for _ in range(3)]
    assert sum(int(finished(one)) for one in started) == 60
    assert not list(tmp_path.glob("*-turn")), "they took turns"
    with Ledger(path) as ledger:
        assert ledger.verify().findings == ()
        assert ledger.wallets.get("team").available == Money.parse("0 USD")
