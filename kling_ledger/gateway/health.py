"""Health: whether the process runs, and whether it can accept work: `/healthz` and `/readyz`.

Both are public, so they disclose little, and both answer in bounded time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from kling_ledger.ledger import Ledger
from kling_ledger.ledger.engines.transaction import Transaction, overtaken
from kling_pricing.errors import KlingError

WITHIN_S: Final = 2.0
"""How long `/readyz` waits for the ledger before it reports no answer."""

_GOOD_FOR_S: Final = 1.0
_NO_STORE: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def routes(
    ledger: Ledger, settlement_is_alive: Callable[[], bool], *, within_s: float = WITHIN_S
) -> Sequence[Route]:
    """Return the two addresses. `/readyz` answers 503, with a reason, if work would fail.

    It is ready while its ledger can be read and written to, and open jobs are being settled.
    """
    readiness = _Readiness(ledger, settlement_is_alive, within_s)

    async def ready(_: Request) -> Response:
        return _answer(await readiness.problem())

    return [Route("/healthz", _healthy), Route("/readyz", ready)]


async def _healthy(_: Request) -> Response:
    return _answer(None)


def _answer(problem: str | None) -> Response:
    said, status = ("ok\n", 200) if problem is None else (f"{problem}\n", 503)
    return PlainTextResponse(said, status, _NO_STORE)


class _Readiness:
    """Checks whether the ledger can be used: one check at a time, however many callers.

    A check that hangs is abandoned, and no second one is started beside it.
    """

    def __init__(
        self, ledger: Ledger, settlement_is_alive: Callable[[], bool], within_s: float
    ) -> None:
        self._ledger = ledger
        self._settlement_is_alive = settlement_is_alive
        self._within_s = within_s
        self._looking: asyncio.Task[str | None] | None = None
        self._looked_at = 0.0

    async def problem(self) -> str | None:
        """Return why this gateway is not ready, None if it is."""
        if not self._settlement_is_alive():
            return "not ready: settlement of open jobs has stopped"
        if self._looking is None or self._is_old():
            self._looking = asyncio.create_task(self._look())
        await asyncio.wait({self._looking}, timeout=self._within_s)
        if not self._looking.done():
            return f"not ready: the ledger did not answer within {self._within_s:g} seconds"
        return self._looking.result()

    def _is_old(self) -> bool:
        is_done = self._looking is not None and self._looking.done()
        return is_done and time.monotonic() - self._looked_at > _GOOD_FOR_S

    async def _look(self) -> str | None:
        problem = await run_in_threadpool(self._ledger_problem)
        self._looked_at = time.monotonic()
        return problem

    def _ledger_problem(self) -> str | None:
        for operation, said in ((_read, "read"), (_write_nothing, "written to")):
            try:
                operation(self._ledger)
            # Whatever the cause, the gateway cannot work; the log has the details.
            except KlingError as error:
                return f"not ready: the ledger cannot be {said} ({error.code})"
        return None


def _read(ledger: Ledger) -> None:
    with ledger.database.read() as transaction:
        transaction.row("SELECT 1 AS is_there FROM wallet LIMIT 1")


def _write_nothing(ledger: Ledger) -> None:
    """Run a write that matches no row: a read-only ledger refuses it."""

    def touch(transaction: Transaction) -> None:
        transaction.change(
            "UPDATE wallet SET name = name WHERE id = :nobody",
            {"nobody": ""},
            expect=0,
            refused=overtaken,
        )

    ledger.database.write(touch)
