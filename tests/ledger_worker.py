"""A process of its own on a ledger: reads one JSON command a line, answers each with one line."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from kling_ledger.errors import InsufficientCreditsError, StateError
from kling_ledger.ledger import Ledger
from kling_pricing.errors import KlingError
from kling_pricing.money import Money

Answer = dict[str, Any]


def open_ledger(path: str) -> Answer:
    with Ledger(path) as ledger:
        return {"is_clean": ledger.verify().is_clean}


def create_wallet(path: str, wallet: str, unit: str) -> Answer:
    with Ledger(path) as ledger:
        return {"wallet": ledger.create_wallet(wallet, unit).id}


def fund(path: str, wallet: str, amount: str, key: str) -> Answer:
    with Ledger(path) as ledger:
        return {"posted": str(ledger.fund_wallet(wallet, Money.parse(amount), key=key).posted)}


def reserve(path: str, wallet: str, amount: str, tries: int) -> Answer:
    outcomes: Counter[str] = Counter()
    with Ledger(path) as ledger:
        for _ in range(tries):
            try:
                ledger.reserve(wallet, Money.parse(amount))
                outcomes["admitted"] += 1
            except InsufficientCreditsError:
                outcomes["refused"] += 1
    return {"admitted": outcomes["admitted"], "refused": outcomes["refused"]}


def reserve_with_key(path: str, wallet: str, amount: str, key: str) -> Answer:
    with Ledger(path) as ledger:
        return {"id": ledger.reserve(wallet, Money.parse(amount), key=key).id}


def settle(path: str, reservation: str, amount: str, tries: int) -> Answer:
    """Commit and roll back in turns; say which of them the ledger accepted."""
    accepted: list[str] = []
    with Ledger(path) as ledger:
        for turn in range(tries):
            try:
                if (turn + os.getpid()) % 2:
                    settled = ledger.commit(reservation, Money.parse(amount))
                else:
                    settled = ledger.roll_back(reservation, "the provider says that it failed")
                accepted.append(settled.state)
            except StateError as error:
                accepted.append(f"refused: {error.state}")
    return {"accepted": accepted}


def show(path: str, reservation: str) -> Answer:
    with Ledger(path) as ledger:
        return {"state": ledger.reservation(reservation).state}


def submit_and_die(path: str, reservation: str) -> Answer:
    """Mark a reservation as submitting and end at once: nothing is closed, nothing is flushed."""
    Ledger(path).mark_submitting(reservation)
    os._exit(9)


COMMANDS: Final[dict[str, Callable[..., Answer]]] = {
    command.__name__: command
    for command in (
        open_ledger,
        create_wallet,
        fund,
        reserve,
        reserve_with_key,
        settle,
        show,
        submit_and_die,
    )
}


def _answer(line: str) -> Answer:
    values = json.loads(line)
    try:
        return COMMANDS[values.pop("do")](**values)
    except KlingError as error:
        return {"error": f"{error.code}: {error}"}


def _say(answer: Answer) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _say({"is_ready": True})
    for command_line in sys.stdin:
        _say(_answer(command_line))
