"""Keys: a command that moves money has one, so that it can be repeated if its answer is lost."""

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
    """Yield the command's --key, or a new one.

    If the database fails midway, the outcome is unknown: print the command that safely repeats it.
    `until` is the resolved --until, because "in two hours" would be another instant later.
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
    """Return the running command, with other options and without a password."""
    words = ["kling-ledger", *(_PASSWORD.sub(r"\1:...@", word) for word in sys.argv[1:])]
    for option, value in options.items():
        words = [*_without(words, option), option, value]
    return shlex.join(words)


def without_password(address: str) -> str:
    """Return a database's address without its password."""
    return _PASSWORD.sub(r"\1:...@", address)


def _without(words: list[str], option: str) -> list[str]:
    """Return words without an option and its value."""
    if option in words:
        at = words.index(option)
        return words[:at] + words[at + 2 :]
    return [word for word in words if not word.startswith(f"{option}=")]
