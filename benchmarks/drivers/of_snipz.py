"""snipz 0.2, by its asynchronous `Budget`."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from contextlib import suppress
from decimal import Decimal

from snipz import Budget, Scope
from snipz.core import BudgetExceededError

TEAM = Scope("user", "team")
CAP, PRICE = Decimal(500), Decimal(10)
"""In cents."""
FIFTY = 50


async def prepare(budget: Budget) -> object:
    await budget.migrate()
    await budget.set_limit(TEAM, CAP)
    return {}


async def rush(budget: Budget, attempts: int) -> object:
    async def one() -> str:
        try:
            await budget.reserve(TEAM, PRICE)
        except BudgetExceededError:
            return "refused"
        except Exception as error:  # a busy file, a pool that has no more: told, not hidden
            return type(error).__name__
        return "admitted"

    # Its pool of connections is made by the first call, and by each that comes before it is made.
    await budget.sweep()
    gc.collect()
    began = time.perf_counter()
    told = await asyncio.gather(*(one() for _ in range(attempts)))
    took = time.perf_counter() - began
    errors = sum(one not in {"admitted", "refused"} for one in told)
    return {"admitted": told.count("admitted"), "seconds": took, "errors": errors}


async def room(budget: Budget) -> int:
    made = []
    with suppress(BudgetExceededError):
        for _ in range(FIFTY):
            made.append(await budget.reserve(TEAM, PRICE))
    for one in made:
        await one.release()
    return len(made)


async def crash(budget: Budget) -> object:
    async with await budget.reserve(TEAM, PRICE, ttl=1):
        print("reserved", flush=True)
        await asyncio.sleep(60)
    return {}


async def crashed(budget: Budget) -> object:
    await asyncio.sleep(1.2)
    await budget.sweep()
    return {"room": await room(budget)}


async def late(budget: Budget) -> object:
    made = await budget.reserve(TEAM, PRICE, ttl=1)
    await asyncio.sleep(1.2)
    await budget.sweep()
    between = await room(budget)
    await made.commit(PRICE)
    return {"between": between, "room": await room(budget)}


async def lost(budget: Budget) -> object:
    with suppress(TimeoutError):
        async with await budget.reserve(TEAM, PRICE):
            raise TimeoutError("no answer to the submission")
    return {"room": await room(budget)}


async def main(trial: str, place: str, *rest: str) -> object:
    budget = Budget(place)
    try:
        return await globals()[trial](budget, *map(int, rest))
    finally:
        await budget.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))), flush=True)
