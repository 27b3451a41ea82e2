"""Admissions: reserving in one transaction, and anew once what the clock has ended went back.

A reservation is only refused for good after that: expired ones hold their credits until somebody
ends them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from kling_ledger.errors import OutcomeUnknownError, RefusedError
from kling_ledger.ledger import admissible, admission, expiry, limits, notices, wallets
from kling_ledger.ledger.access import Access, under
from kling_ledger.ledger.admissible import Admissible
from kling_ledger.ledger.asking import Asked
from kling_ledger.ledger.engines.transaction import Stamp, Transaction
from kling_ledger.ledger.reservations import Reservation
from kling_ledger.ledger.rules import Rules
from kling_ledger.ledger.wallets import Wallet

Admitted = Callable[[], Reservation] | RefusedError
"""What became of one job that was asked for, told once the transaction has ended."""


@dataclass(frozen=True, slots=True)
class Admissions:
    """Reserves for one ledger; keeps what it has once read of wallets."""

    _access: Access
    _wallets: dict[str, Wallet] = field(default_factory=dict)

    def all_of(self, asked: Sequence[Asked]) -> list[Reservation]:
        """Set credits aside for every job that is asked for, or for none of them."""
        self._know_wallets(asked)
        try:
            return self._reserve_all(asked, self._access.stamp())
        except RefusedError as refusal:
            notices.tell_refusal(refusal)
            raise

    def each_of(self, asked: Sequence[Asked]) -> list[Reservation | RefusedError]:
        """Set credits aside for every job that is admitted; another gives its refusal instead."""
        self._know_wallets(asked)
        stamp = self._access.stamp()
        outcomes = self._reserve_each(asked, stamp)
        refused = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, RefusedError)]
        if refused and self._is_any_due():
            again = replace(stamp, chance=stamp.chance + len(asked))
            sweep = self._access.stamp()
            rest = self._reserve_each([asked[n] for n in refused], again, sweep=sweep)
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

    def _reserve_all(self, asked: Sequence[Asked], stamp: Stamp) -> list[Reservation]:
        try:
            return self._access.database.write_many(self._reserve, asked, stamp=stamp)
        except OutcomeUnknownError as unknown:
            raise under(unknown, asked[0].key if len(asked) == 1 else None) from unknown
        except RefusedError:
            if not self._is_any_due():
                raise
        return self._reserve_after_expiry(asked, stamp)

    def _reserve_after_expiry(self, asked: Sequence[Asked], stamp: Stamp) -> list[Reservation]:
        sweep = self._access.stamp()

        def reserve(
            transaction: Transaction,
        ) -> tuple[list[Reservation], Callable[[int], Reservation]]:
            ended = expiry.expire_due(
                transaction, self._access.rules.read(transaction), stamp=sweep
            )
            return ended, self._reserve(transaction, asked, stamp)

        ended, result_of = self._access.write(reserve)
        notices.tell_expired(ended)
        return [result_of(place) for place in range(len(asked))]

    def _reserve_each(
        self, asked: Sequence[Asked], stamp: Stamp, *, sweep: Stamp | None = None
    ) -> list[Reservation | RefusedError]:
        """Reserve in one transaction; with a `sweep`, after what the clock has ended went back."""

        def reserve(transaction: Transaction) -> tuple[list[Reservation], list[Admitted]]:
            rules = self._access.rules.read(transaction)
            ended = [] if sweep is None else expiry.expire_due(transaction, rules, stamp=sweep)
            rules = self._with_caps(transaction, asked, stamp)
            return ended, admission.reserve_each(
                transaction, rules, asked, stamp=stamp, wallets=self._wallets
            )

        ended, outcomes = self._access.write(reserve)
        notices.tell_expired(ended)
        return [one if isinstance(one, RefusedError) else one() for one in outcomes]

    def _reserve(
        self, transaction: Transaction, asked: Sequence[Asked], stamp: Stamp
    ) -> Callable[[int], Reservation]:
        rules = self._with_caps(transaction, asked, stamp)
        return admission.reserve(transaction, rules, asked, stamp=stamp, wallets=self._wallets)

    def _with_caps(self, transaction: Transaction, asked: Sequence[Asked], stamp: Stamp) -> Rules:
        """Return the rules, with the budgets that jobs bring with them: those are set if new."""
        rules = self._access.rules.read(transaction)
        caps = [one.cap for one in asked if one.cap is not None]
        return limits.define_missing(transaction, rules, caps, stamp=stamp) if caps else rules

    def _is_any_due(self) -> bool:
        with self._access.read() as transaction:
            return expiry.is_any_due(transaction, self._access.at_us())

    def _know_wallets(self, asked: Sequence[Asked]) -> None:
        """Look up the wallets of an operation once: their ids, names and units never change."""
        unknown = {one.wallet for one in asked} - self._wallets.keys()
        if unknown:
            with self._access.read() as transaction:
                found = {name: wallets.find(transaction, name) for name in sorted(unknown)}
            self._wallets.update(found)
