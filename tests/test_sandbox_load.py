"""A thousand jobs at once: all taken, each poll as quick as the first, and little kept of each."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections import Counter
from decimal import Decimal
from typing import Any

import httpx
import pytest

from kling_ledger.sandbox import SandboxSettings
from kling_pricing import Money
from tests.sandbox_rig import PATHS, PRICES, PROVIDERS, Rig, body, rigged

JOBS = 1000
AT_ONCE = 200
RICH = SandboxSettings(balance=Money(Decimal(100_000), "USD"))


async def ask(rig: Rig, provider: str, method: str, path: str, content: object) -> Any:
    """Send one request by hand: with a thousand waiting, a client's pool is what would be slow."""
    caller, sent = rig[provider], json.dumps(content).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(caller.url).port)
    headers = {**caller.headers, "Host": "sandbox", "Content-Length": str(len(sent))}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode() + sent)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    reply = await reader.readexactly(int(head.partition("content-length: ")[2].split()[0]))
    writer.close()
    await writer.wait_closed()
    return json.loads(reply)


async def all_at_once(rig: Rig, provider: str) -> list[str]:
    """Create a thousand jobs, then poll each while it runs and when it has ended."""
    create, poll = PATHS[provider]
    gate = asyncio.Semaphore(AT_ONCE)

    async def created(number: int) -> str:
        async with gate:
            content = body(provider, f"clip {number}")
            reply = await ask(rig, provider, "POST", create, content)
        return str(reply["data"]["task_id"] if provider == "crun" else reply["id"])

    async def state(task_id: str) -> str:
        async with gate:
            reply = await ask(rig, provider, "GET", poll.format(id=task_id), None)
        return str(reply["data"]["status"] if provider == "crun" else reply["status"])

    ids = await asyncio.gather(*map(created, range(JOBS)))
    before = await asyncio.gather(*map(state, ids))
    rig.wait(2)
    assert len(set(ids)) == JOBS
    assert Counter(before) == {"pending": JOBS}
    return await asyncio.gather(*map(state, ids))


@pytest.mark.parametrize("provider", ["runapi", "crun"])
def test_a_thousand_jobs_at_once_are_taken_and_charged_once_each(provider: str) -> None:
    with rigged(RICH) as rig:
        assert len(set(asyncio.run(all_at_once(rig, provider)))) == 1
        account = rig.truth(provider)
    assert Decimal(account["spent"]) == JOBS * Decimal(PRICES[provider])
    assert {task["polls"] for task in account["tasks"]} == {2}
    assert {task["times_charged"] for task in account["tasks"]} == {1}


def test_a_job_takes_a_few_kilobytes() -> None:
    with rigged(RICH) as rig:
        rig["evolink"].made()
        tracemalloc.start()
        try:
            for number in range(100):
                rig["evolink"].made(f"clip {number}")
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept / 100 < 20_000


def test_the_accounts_of_all_providers_are_apart() -> None:
    with rigged(RICH) as rig:
        for provider in PROVIDERS:
            rig[provider].made()
            assert len(rig.truth(provider)["tasks"]) == 1
