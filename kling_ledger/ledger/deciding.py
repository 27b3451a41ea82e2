"""Deciding: which of many calls are let in when they do not all fit, in their order.

In a rush on one limit most calls are refused. By itself, each would take an exclusive transaction
to read the same wallet and windows again. Here one such transaction reads them once and adds up in
memory what each call takes. That is only a forecast: the calls that it lets in are then reserved as
usual, by updates that each wallet and window must accept. The refusals come from the usual code
(`refusals.py`), with the same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial

from kling_ledger.errors import RefusedError
from kling_ledger.ledger import admission, idempotency
from kling_ledger.ledger.asking import Asked, content_of, wanted_by
from kling_ledger.ledger.demands import Demand, Wanted, demands_of, wallet_demands_of
from kling_ledger.ledger.engines.transaction import (
    Batch,
    NothingDoneError,
    Outcome,
    Stamp,
    Transaction,
)
from kling_ledger.ledger.figures import Figures, Kept
from kling_ledger.ledger.refusals import Refusals
from kling_ledger.ledger.reservations import Reservation
from kling_ledger.ledger.rules import Rules
from kling_ledger.ledger.wallets import Wallet

Call = Batch[Asked, Reservation]
"""The jobs of one caller: all of them are reserved, or none."""


class Way(Enum):
    """What happens to a call that is not refused."""

    IN = auto()
    """It fits, after the calls before it."""
    ALONE = auto()
    """It must run by itself: it repeats another call, brings a budget, or has an error."""


Ways = Sequence[Way | RefusedError]
"""What happens to each call."""


def let_in(ways: Ways) -> list[bool]:
    """Return for each call whether it is let in."""
    return [way is Way.IN for way in ways]


def decided(
    transaction: Transaction,
    rules: Rules,
    calls: Sequence[Call],
    *,
    figures: Figures,
    stamp: Stamp,
    wallets: Mapping[str, Wallet],
) -> Ways:
    """Decide each call, under one stamp for all of them; writes nothing.

    `figures` are those of windows and wallets before the first call.
    """
    asked = [one for call in calls for one in call.items]
    used = idempotency.known_keys(transaction, (key for one in asked for key in one.keys))
    deciding = _Deciding(rules, stamp, wallets, Kept(figures), set(used))
    return [deciding.of(call) for call in calls]


def reserved(
    transaction: Transaction,
    rules: Rules,
    calls: Sequence[Call],
    ways: Ways,
    *,
    stamp: Stamp,
    wallets: Mapping[str, Wallet],
) -> Sequence[Outcome]:
    """Reserve for the calls that were let in, and return the outcome of every call.

    Raises NothingDoneError if none was let in.
    """
    chosen = [call for call, is_in in zip(calls, let_in(ways), strict=True) if is_in]
    asked = [one for call in chosen for one in call.items]
    result_of = admission.reserve(transaction, rules, asked, stamp=stamp, wallets=wallets)
    outcomes: list[Outcome] = []
    first = 0
    for call, way in zip(calls, ways, strict=True):
        if way is Way.IN:
            outcomes.append(partial(_from, first, result_of))
            first += len(call.items)
        else:
            outcomes.append(None if way is Way.ALONE else way)
    if not chosen:
        raise NothingDoneError(outcomes)
    return outcomes


def _from(first: int, result_of: Callable[[int], Reservation], place: int) -> Reservation:
    return result_of(first + place)


@dataclass(frozen=True, slots=True)
class _Deciding:
    """Decides one call after another; `_used` are the keys that are already in use."""

    _rules: Rules
    _stamp: Stamp
    _wallets: Mapping[str, Wallet]
    _figures: Kept
    _used: set[str] = field(default_factory=set)

    def of(self, call: Call) -> Way | RefusedError:
        """Decide a call, and count what it takes."""
        try:
            if self._repeats(call) or self._brings_a_budget(call):
                return Way.ALONE
            wanted = self._wanted(call)
            demands = demands_of(self._rules, wanted, self._stamp.at_us)
        except RefusedError as by_itself:
            return by_itself
        except Exception:  # noqa: BLE001 - by itself it is told what is wrong with it
            return Way.ALONE
        if not self._is_of_this_time(call, demands):
            return Way.ALONE
        asked_of_wallets = wallet_demands_of(wanted)
        refusals = Refusals(self._figures, demands, asked_of_wallets, self._stamp.at_us)
        refusal = refusals.first()
        if refusal is None:
            self._figures.take(demands, asked_of_wallets)
            return Way.IN
        return refusal

    def _repeats(self, call: Call) -> bool:
        """Whether one of its keys is already in use, by another call or twice in this one."""
        for one in call.items:
            for key in one.keys:
                idempotency.result_in({}, key, content_of(self._wallets[one.wallet], one))
                if key in self._used:
                    return True
                self._used.add(key)
        return False

    def _brings_a_budget(self, call: Call) -> bool:
        caps = [one.cap for one in call.items if one.cap is not None]
        return not all(self._rules.has(cap.name, cap.scope) for cap in caps)

    def _wanted(self, call: Call) -> list[Wanted]:
        wanted = []
        for one in call.items:
            wallet = self._wallets[one.wallet]
            admission.check_asked(one, wallet, self._rules)
            wanted.append(wanted_by(one, wallet))
        return wanted

    def _is_of_this_time(self, call: Call, demands: Sequence[Demand]) -> bool:
        """Whether its month, windows and limits are still those of the instant of its own stamp."""
        asked_at, at = call.stamp.at_us, self._stamp.at_us
        if asked_at == at:
            return True
        budgets = [demand.budget for demand in demands]
        return self._rules.period(asked_at) == self._rules.period(at) and all(
            one.window_at(asked_at) == one.window_at(at)
            and one.limit_at(asked_at) == one.limit_at(at)
            for one in budgets
        )
