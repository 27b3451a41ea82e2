"""Running: a program as our child: signals are passed on, and its exit code is ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import Any, Final

from kling_ledger.errors import ConfigError

_TAKEN: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
_OF_A_TERMINAL: Final = ("SIGINT", "SIGQUIT")
"""Signals that the terminal sends to the whole process group, our child included."""

_SIGNALLED: Final = 128
"""What a shell adds to the number of the signal that ended a program."""


class Child:
    """One program, from before it is started until after it has ended.

    It stays in our process group, so it owns the terminal: it reads keys, and gets Ctrl-C and
    Ctrl-Z as we do. Before it starts, a signal ends us after cleaning up; while it runs, signals
    are passed on; after that a signal sets `stop`, and nothing is waited for.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: list[int] | None = None
        self.stop = Event()

    def run(self, words: Sequence[str], environ: Mapping[str, str]) -> int:
        """Run a program to its end; return its exit code, as a shell would.

        Raises ConfigError if it cannot be started.
        """
        self._waiting = []
        try:
            self._process = subprocess.Popen(words, env=environ)  # noqa: S603 - it is what was asked for
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"cannot run {words[0]}: {reason}") from None
        for number in self._waiting:
            self._process.send_signal(number)
        code = self._process.wait()
        return code if code >= 0 else _SIGNALLED - code

    @property
    def _has_ended(self) -> bool:
        return self._process is not None and self._process.returncode is not None

    def taken(self, number: int, frame: FrameType | None = None) -> None:  # noqa: ARG002 - as called
        """Handle a signal."""
        if self._waiting is None:
            sys.exit(_SIGNALLED + number)
        if self._has_ended:
            self.stop.set()
        elif _came_from_keys(number):
            return
        elif self._process is None:
            self._waiting.append(number)
        else:
            self._process.send_signal(number)


@contextmanager
def child() -> Iterator[Child]:
    """Take signals for a child, until it is over."""
    one = Child()
    before: dict[int, Any] = {number: signal.signal(number, one.taken) for number in _TAKEN}
    try:
        yield one
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _came_from_keys(number: int) -> bool:
    """Whether a signal came from the terminal, so that the child already has it."""
    if signal.Signals(number).name not in _OF_A_TERMINAL:
        return False
    if os.name != "posix":
        return True
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
