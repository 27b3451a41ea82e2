"""Methods of the ledger that reserve while an event loop goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, cast

from kling_ledger.ledger.asking import Asked
from kling_ledger.ledger.reservations import Job, Reservation
from kling_pricing.errors import KlingError
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.ledger.ledger import Ledger


class Awaited:
    """A ledger's methods for programs that use asyncio."""

    async def areserve(
        self,
        wallet: str,
        amount: Money,
        *,
        job: Job | None = None,
        project: str | None = None,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
        ceiling: Money | None = None,
        expires_at: datetime | None = None,
    ) -> Reservation:
        """Reserve credits for a job as `reserve` does, while the event loop goes on.

        Tasks that reserve at once share transactions and hold no threads. A cancelled call leaves
        nothing reserved, unless it had a `key`: then another call may already use the reservation.
        """
        asked = Asked(wallet, amount, job or Job(), project, labels or {}, key, ceiling, expires_at)
        return (await self.areserve_many([asked]))[0]

    async def areserve_many(self, asked: Sequence[Asked]) -> list[Reservation]:
        """Reserve as `reserve_many` does, while the event loop goes on; see `areserve`."""
        made, too_late = await cast("Ledger", self)._admissions.aall_of(asked)
        if too_late is None:
            return made
        await self._give_back(asked, made, too_late)
        raise too_late

    async def _give_back(
        self, asked: Sequence[Asked], made: Sequence[Reservation], told: BaseException
    ) -> None:
        """Return the credits of reservations whose caller was cancelled before it got them.

        One with a key is left: another call may use it. What fails is noted on the error.
        """
        # asyncio takes its time to load, and few scripts need it.
        from kling_ledger.ledger.engines.awaiting import in_thread

        roll_back = cast("Ledger", self).roll_back
        for one, reservation in zip(asked, made, strict=True):
            if one.key is not None:
                continue
            try:
                await in_thread(partial(roll_back, reservation.id, "its caller was cancelled"))
            except KlingError as error:
                told.add_note(f"reservation {reservation.id} is still open: {error}")
