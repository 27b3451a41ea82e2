"""kling-ledger, by its blocks and its ledger, with asyncio and with threads."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta

from kling_ledger import Ledger, Money, RefusedError

CAP, PRICE, TOO_MUCH = map(Money.parse, ("5 USD", "0.10 USD", "6 USD"))
FIFTY = 50


def prepare(place: str) -> object:
    with Ledger(place) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", CAP)
    return {}


def rush(place: str, attempts: int) -> object:
    with Ledger(place) as ledger:
        return asyncio.run(rush_of_tasks(ledger, attempts))


async def rush_of_tasks(ledger: Ledger, attempts: int) -> object:
    async def one() -> str:
        try:
            await ledger.areserve("team", PRICE)
        except RefusedError:
            return "refused"
        except Exception as error:  # told, not hidden
            return type(error).__name__
        return "admitted"

    # What a process does once: it connects, looks at the clock and learns about the wallet.
    with suppress(RefusedError):
        await ledger.areserve("team", TOO_MUCH)
    gc.collect()
    began = time.perf_counter()
    told = await asyncio.gather(*(one() for _ in range(attempts)))
    took = time.perf_counter() - began
    errors = sum(one not in {"admitted", "refused"} for one in told)
    return {"admitted": told.count("admitted"), "seconds": took, "errors": errors}


def rush_of_threads(place: str, attempts: int) -> object:
    admitted, errors, begin = [], [], threading.Event()
    with Ledger(place) as ledger:

        def one() -> None:
            begin.wait()
            try:
                admitted.append(ledger.reserve("team", PRICE).id)
            except RefusedError:
                return
            except Exception as error:  # told, not hidden
                errors.append(error)

        with suppress(RefusedError):
            ledger.reserve("team", TOO_MUCH)
        gc.collect()
        threads = [threading.Thread(target=one) for _ in range(attempts)]
        for thread in threads:
            thread.start()
        began = time.perf_counter()
        begin.set()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - began
    return {"admitted": len(admitted), "seconds": took, "errors": len(errors)}


def room(ledger: Ledger) -> int:
    """Say for how many jobs there is room, and leave it as it was."""
    made = []
    with suppress(RefusedError):
        for _ in range(FIFTY):
            made.append(ledger.reserve("team", PRICE).id)
    for one in made:
        ledger.roll_back(one, "only counted")
    return len(made)


def crash(place: str) -> object:
    with Ledger(place) as ledger, ledger.reserving(PRICE, wallet="team"):
        print("reserved", flush=True)
        time.sleep(60)
    return {}


def crashed(place: str) -> object:
    with Ledger(place) as ledger:
        ledger.expire()
        return {"room": room(ledger)}


def late(place: str) -> object:
    with Ledger(place) as ledger:
        ends_at = ledger.now() + timedelta(seconds=1)
        made = ledger.reserve("team", PRICE, expires_at=ends_at)
        ledger.mark_submitting(made.id)
        ledger.mark_submitted(made.id, "task-1")
        time.sleep(1.2)
        ledger.expire()
        between = room(ledger)
        ledger.commit(made.id, PRICE, settled_by="provider")
        return {"between": between, "room": room(ledger)}


def lost(place: str) -> object:
    with Ledger(place) as ledger:
        with suppress(TimeoutError), ledger.reserving(PRICE, wallet="team"):
            raise TimeoutError("no answer to the submission")
        return {"room": room(ledger)}


if __name__ == "__main__":
    trial, place, *rest = sys.argv[1:]
    print(json.dumps(globals()[trial](place, *map(int, rest))), flush=True)
