"""Blocks: methods of the ledger that reserve around code that uses its own client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from kling_ledger.ledger.charging import charging
from kling_ledger.ledger.reserving import NotSent, Reserving, asked_for, check_payer
from kling_pricing.money import Money
from kling_pricing.quote import Quote

if TYPE_CHECKING:
    from kling_ledger.ledger.areserving import AsyncReserving
    from kling_ledger.ledger.ledger import Ledger

Result = TypeVar("Result")


class Blocks:
    """A ledger's methods for blocks and functions."""

    def reserving(
        self,
        cost: Quote | Money,
        *,
        wallet: str,
        project: str | None = None,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
        ceiling: Money | None = None,
        not_sent: NotSent = (),
    ) -> Reserving:
        """Return a reservation for a `with` block that uses its own client.

        `not_sent` names exceptions after which nothing can have been sent: only these return the
        credits by themselves. See `kling_ledger.ledger.reserving.Reserving`. Raises ConfigError and
        AmountError for arguments that no job could be reserved with.
        """
        asked = asked_for(
            cost, wallet=wallet, project=project, labels=labels, key=key, ceiling=ceiling
        )
        return Reserving(cast("Ledger", self), asked, not_sent=not_sent)

    def areserving(
        self,
        cost: Quote | Money,
        *,
        wallet: str,
        project: str | None = None,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
        ceiling: Money | None = None,
        not_sent: NotSent = (),
    ) -> AsyncReserving:
        """Return a reservation for an `async with` block; otherwise as `reserving`."""
        # asyncio takes its time to load, and few scripts need it.
        from kling_ledger.ledger.areserving import AsyncReserving

        return AsyncReserving(
            self.reserving(
                cost,
                wallet=wallet,
                project=project,
                labels=labels,
                key=key,
                ceiling=ceiling,
                not_sent=not_sent,
            ),
            cast("Ledger", self)._admissions.aall_of,
        )

    def charged(
        self,
        cost: Callable[..., Quote | Money],
        *,
        wallet: str,
        project: str | None = None,
        labels: Mapping[str, str] | None = None,
        ceiling: Money | None = None,
        not_sent: NotSent = (),
    ) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
        """Return a decorator that reserves for each call of a function, plain or `async def`.

        `cost` is called with the function's own arguments. The function gets its `Reserving`, or
        `AsyncReserving`, before them, and may ignore it. `not_sent` is as in `reserving`. Raises at
        once what the first call would: NotFoundError, ConfigError, AmountError, and TypeError for a
        generator or a cost that is not a function.
        """
        check_payer(wallet, ceiling, labels)
        if not callable(cost):
            raise TypeError(f"cost is a function of each call's arguments, got {cost!r}")
        cast("Ledger", self).wallets.get(wallet)
        given: dict[str, Any] = {
            "wallet": wallet,
            "project": project,
            "labels": labels,
            "ceiling": ceiling,
            "not_sent": not_sent,
        }

        def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
            return charging(
                function,
                cost,
                block=lambda price: self.reserving(price, **given),
                ablock=lambda price: self.areserving(price, **given),
            )

        return decorate
