"""Admissions: reserve in one transaction, and again after expired reservations were ended.

A final refusal comes only then: expired reservations hold their credits until somebody ends them.
The refusing transaction itself checks for them. After it, somebody else might have ended them
already, and the refusal would stand although the credits are free again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from kling_ledger.errors import (
    LedgerError,
    NotFoundError,
    OutcomeUnknownError,
    RefusedError,
)
from kling_ledger.ledger import (
    admissible,
    admission,
    deciding,
    expiry,
    limits,
    notices,
    wallets,
)
from kling_ledger.ledger.access import Access, under
from kling_ledger.ledger.admissible import Admissible
from kling_ledger.ledger.asking import Asked
from kling_ledger.ledger.deciding import Call, Ways, let_in
from kling_ledger.ledger.engines.transaction import Batch, Outcome, Stamp, Transaction
from kling_ledger.ledger.figures import Read, WithoutDue
from kling_ledger.ledger.reservations import Reservation
from kling_ledger.ledger.rules import Rules
from kling_ledger.ledger.wallets import Wallet

if TYPE_CHECKING:
    from kling_ledger.ledger.engines.awaiting import TooLate, Turns

Admitted = Callable[[], Reservation] | RefusedError
"""The result for one job, to be called after the transaction has ended, or its refusal."""


class _AnyDueError(LedgerError):
    """A refusal while expired reservations still hold credits; no caller sees this."""

    code = "any_due"

    def __init__(self) -> None:
        super().__init__("what the clock has ended holds its credits")


@dataclass(frozen=True, slots=True)
class Admissions:
    """Reserves for one ledger; caches what it has read about wallets."""

    _access: Access
    _wallets: dict[str, Wallet] = field(default_factory=dict)
    _turns: Turns = field(default_factory=WeakKeyDictionary)

    def all_of(self, asked: Sequence[Asked]) -> list[Reservation]:
        """Set credits aside for every given job, or for none of them."""
        with _told(asked):
            return self._reserve_known(asked)

    async def aall_of(self, asked: Sequence[Asked]) -> tuple[list[Reservation], TooLate]:
        """Set credits aside as `all_of` does, while the event loop goes on.

        Also returns a cancellation that came when it had begun, to be raised by the caller.
        """
        # asyncio takes its time to load, and few scripts need it.
        from kling_ledger.ledger.engines.awaiting import ended_in_thread, in_thread, turn_in

        if not self._is_ready(asked):
            # In turn: of a thousand tasks that begin at once only the first has to ask.
            async with turn_in(self._turns):
                if not self._is_ready(asked):
                    await ended_in_thread(partial(self.call, asked))
        try:
            with _told(asked):
                return await self._access.database.awrite_batch(self._batch(asked))
        except (_AnyDueError, NotFoundError):
            # These take several transactions, each of which may wait.
            return await in_thread(partial(self.all_of, asked))

    def call(self, asked: Sequence[Asked]) -> Call:
        """Return one caller's jobs as a batch that may be written together with others."""
        self._know_wallets(asked)
        return self._batch(asked)

    def _batch(self, asked: Sequence[Asked]) -> Call:
        return Batch(self._reserve, asked, self._access.stamp(), self._reserve_in_turn)

    def each_of(self, asked: Sequence[Asked]) -> list[Reservation | RefusedError]:
        """Set credits aside for every admitted job; the others return their refusals."""
        self._know_wallets(asked)
        stamp = self._access.stamp()
        is_any_due, outcomes = self._reserve_each(asked, stamp)
        if is_any_due:
            refused = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, RefusedError)]
            again = replace(stamp, chance=stamp.chance + len(asked))
            sweep = self._access.stamp()
            _, rest = self._reserve_each([asked[n] for n in refused], again, sweep=sweep)
            for n, outcome in zip(refused, rest, strict=True):
                outcomes[n] = outcome
        for outcome in outcomes:
            if isinstance(outcome, RefusedError):
                notices.tell_refusal(outcome)
        return outcomes

    def would_admit(self, asked: Asked) -> Admissible:
        """Say whether a reservation would be admitted now; writes nothing."""
        self._know_wallets([asked])
        at_us, wallet = self._access.at_us(), self._wallets[asked.wallet]
        with self._access.read() as transaction:
            rules = self._access.rules.read(transaction)
            return admissible.would_admit(transaction, rules, asked, at_us=at_us, wallet=wallet)

    def _reserve_known(self, asked: Sequence[Asked]) -> list[Reservation]:
        try:
            return self._reserve_all(self.call(asked))
        except NotFoundError:
            # A wallet was removed since the look-up; another may have its name now.
            self._look_up({one.wallet for one in asked})
            return self._reserve_all(self.call(asked))

    def _reserve_all(self, call: Call) -> list[Reservation]:
        asked = call.items
        try:
            return self._access.database.write_batch(call)
        except _AnyDueError:
            return self._reserve_after_expiry(asked, call.stamp)

    def _reserve_after_expiry(self, asked: Sequence[Asked], stamp: Stamp) -> list[Reservation]:
        sweep = self._access.stamp()

        def reserve(
            transaction: Transaction,
        ) -> tuple[list[Reservation], Callable[[int], Reservation]]:
            ended = expiry.expire_due(
                transaction, self._access.rules.read(transaction), stamp=sweep
            )
            return ended, self._admitted(transaction, asked, stamp)

        ended, result_of = self._access.write(reserve)
        notices.tell_expired(ended)
        return [result_of(place) for place in range(len(asked))]

    def _reserve_each(
        self, asked: Sequence[Asked], stamp: Stamp, *, sweep: Stamp | None = None
    ) -> tuple[bool, list[Reservation | RefusedError]]:
        """Reserve in one transaction; with a `sweep`, end expired reservations first.

        Also returns whether anything was refused while expired reservations held credits.
        """

        def reserve(transaction: Transaction) -> tuple[bool, list[Reservation], list[Admitted]]:
            rules = self._access.rules.read(transaction)
            ended = [] if sweep is None else expiry.expire_due(transaction, rules, stamp=sweep)
            rules = self._with_caps(transaction, asked, stamp)
            outcomes = admission.reserve_each(
                transaction, rules, asked, stamp=stamp, wallets=self._wallets
            )
            is_refused = any(isinstance(outcome, RefusedError) for outcome in outcomes)
            return is_refused and self._is_any_due(transaction), ended, outcomes

        is_any_due, ended, outcomes = self._access.write(reserve)
        notices.tell_expired(ended)
        told = [one if isinstance(one, RefusedError) else one() for one in outcomes]
        return is_any_due, told

    def _reserve(
        self, transaction: Transaction, asked: Sequence[Asked], stamp: Stamp
    ) -> Callable[[int], Reservation]:
        try:
            return self._admitted(transaction, asked, stamp)
        except RefusedError:
            # Without exclusive access a refusal is only a guess, and the operation runs again.
            if transaction.is_exclusive and self._is_any_due(transaction):
                raise _AnyDueError from None
            raise

    def _admitted(
        self, transaction: Transaction, asked: Sequence[Asked], stamp: Stamp
    ) -> Callable[[int], Reservation]:
        rules = self._with_caps(transaction, asked, stamp)
        return admission.reserve(transaction, rules, asked, stamp=stamp, wallets=self._wallets)

    def _reserve_in_turn(
        self, transaction: Transaction, calls: Sequence[Call]
    ) -> Callable[[], Sequence[Outcome]]:
        """Reserve for each admitted call, and refuse the others for good."""
        # Calls that are left to run by themselves still need their own stamps.
        stamp = replace(calls[0].stamp, chance=calls[0].stamp.chance + 1)
        ways, ended = self._decided(transaction, calls, stamp)
        outcomes = deciding.reserved(
            transaction,
            self._access.rules.read(transaction),
            calls,
            ways,
            stamp=stamp,
            wallets=self._wallets,
        )

        def told() -> Sequence[Outcome]:
            notices.tell_expired(ended)
            return outcomes

        return told

    def _decided(
        self, transaction: Transaction, calls: Sequence[Call], stamp: Stamp
    ) -> tuple[Ways, list[Reservation]]:
        """Decide each call; end expired reservations if that admits more calls."""
        rules = self._access.rules.read(transaction)
        decide = partial(
            deciding.decided, transaction, rules, calls, stamp=stamp, wallets=self._wallets
        )
        at_first = decide(figures=Read(transaction))
        is_refused = any(isinstance(way, RefusedError) for way in at_first)
        if not is_refused or not self._is_any_due(transaction):
            return at_first, []
        sweep = replace(stamp, at_us=self._access.at_us(), chance=stamp.chance + 1)
        ways = decide(figures=WithoutDue(transaction, sweep.at_us))
        if let_in(ways) == let_in(at_first):
            return ways, []
        return ways, expiry.expire_due(transaction, rules, stamp=sweep)

    def _with_caps(self, transaction: Transaction, asked: Sequence[Asked], stamp: Stamp) -> Rules:
        """Return the rules with the budgets that jobs bring along, which are set if new."""
        rules = self._access.rules.read(transaction)
        caps = [one.cap for one in asked if one.cap is not None]
        return limits.define_missing(transaction, rules, caps, stamp=stamp) if caps else rules

    def _is_any_due(self, transaction: Transaction) -> bool:
        return expiry.is_any_due(transaction, self._access.at_us())

    def _is_ready(self, asked: Sequence[Asked]) -> bool:
        """Whether a call can be made without asking the database."""
        is_known = all(one.wallet in self._wallets for one in asked)
        return is_known and not self._access.has_to_look

    def _know_wallets(self, asked: Sequence[Asked]) -> None:
        """Look up the wallets of an operation once: what is cached of a used one never changes."""
        unknown = {one.wallet for one in asked} - self._wallets.keys()
        if unknown:
            self._look_up(unknown)

    def _look_up(self, names: Collection[str]) -> None:
        with self._access.read() as transaction:
            found = {name: wallets.find(transaction, name) for name in sorted(names)}
        self._wallets.update(found)


@contextmanager
def _told(asked: Sequence[Asked]) -> Iterator[None]:
    """Log a refusal, and name the key that an unknown outcome can be asked for with."""
    try:
        yield
    except RefusedError as refusal:
        notices.tell_refusal(refusal)
        raise
    except OutcomeUnknownError as unknown:
        raise under(unknown, asked[0].key if len(asked) == 1 else None) from unknown
