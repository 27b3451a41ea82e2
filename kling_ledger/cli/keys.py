"""Keys: a command that moves money has one, so that it can be repeated when its answer is lost."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from kling_ledger.cli.output import say
from kling_ledger.errors import DatabaseError

_PASSWORD: Final = re.compile(r"(?<=://)([^:/@\s]*):\S*@")


@contextmanager
def keyed(given: str | None, *, until: datetime | None = None) -> Iterator[str]:
    """Give the key that a command was given, or one of its own.

    Where the database goes away in the middle, the command that does it once and no more is told:
    nobody may know whether it was done. `until` is what its --until came to, because "in two hours"
    is another instant later.
    """
    key = given or f"cli-{os.urandom(8).hex()}"
    try:
        yield key
    except DatabaseError as error:
        if error.may_pass:
            say("it may have been done. The same command with its key is safe to repeat:")
            again = {} if until is None else {"--until": until.isoformat()}
            say(f"  {repeated({**again, '--key': key})}")
        raise


def repeated(options: Mapping[str, str]) -> str:
    """Return the command that is being run, with other options and without a password."""
    words = ["kling-ledger", *(_PASSWORD.sub(r"\1:...@", word) for word in sys.argv[1:])]
    for option, value in options.items():
        words = [*_without(words, option), option, value]
    return shlex.join(words)


def without_password(address: str) -> str:
    """Return a database's address as it may be shown."""
    return _PASSWORD.sub(r"\1:...@", address)


def _without(words: list[str], option: str) -> list[str]:
    """Return words without an option and its value."""
    if option in words:
        at = words.index(option)
        return words[:at] + words[at + 2 :]
    return [word for word in words if not word.startswith(f"{option}=")]
