"""Admissible: whether a reservation would be admitted, and the largest that would be.

It applies the rules of `admission.py` without acting on them: it writes nothing, opens no window
and takes no writer's turn. A later reservation may still find another state.
"""

from __future__ import annotations

from dataclasses import dataclass

from kling_ledger.errors import RefusedError, UnknownWorthError
from kling_ledger.ledger import idempotency, limits, reservations
from kling_ledger.ledger.asking import (
    Asked,
    check,
    check_place,
    check_spelling,
    content_of,
    over_ceiling,
    wanted_by,
)
from kling_ledger.ledger.demands import demands_of, wallet_demands_of
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.figures import WithoutDue
from kling_ledger.ledger.refusals import Refusals
from kling_ledger.ledger.rules import Rules
from kling_ledger.ledger.wallets import Wallet
from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class Admissible:
    """What would happen to a reservation now: its refusal, None if it would be admitted.

    `fits` is the most that would be admitted for such a job, in the wallet's unit; 0 for nothing.
    If a budget counts in another unit, amounts are converted at the ratio of what was asked.
    """

    refusal: RefusedError | None
    fits: Money


def would_admit(
    transaction: Transaction, rules: Rules, asked: Asked, *, at_us: int, wallet: Wallet
) -> Admissible:
    """Return what `reserve` would answer now. Raises its errors other than refusals.

    A key that has already reserved sets nothing more aside, so it is admitted. A budget that the
    job would bring with it counts as if it were set.
    """
    is_known = _has_reserved(transaction, asked, wallet)
    rules = limits.as_if_defined(transaction, rules, asked.cap, at_us=at_us)
    if not is_known:
        check(asked, wallet)
        check_spelling(asked.project, rules.budgets)
    said: list[RefusedError] = []
    if (dear := over_ceiling(asked)) is not None:
        said.append(dear)
    one = wanted_by(asked, wallet)
    demands = demands_of(rules, [one], at_us, refuse=said.append)
    # Before a final refusal, expired reservations return their credits.
    figures = WithoutDue(transaction, at_us)
    refusals = Refusals(figures, demands, wallet_demands_of([one]), at_us)
    refusal = said[0] if said else refusals.first()
    return Admissible(None if is_known else refusal, _fits(asked, refusals.fits(), said))


def _has_reserved(transaction: Transaction, asked: Asked, wallet: Wallet) -> bool:
    known, content = idempotency.known_keys(transaction, asked.keys), content_of(wallet, asked)
    found = (idempotency.result_in(known, key, content) for key in asked.keys)
    earlier = next(filter(None, found), None)
    if earlier is None:
        return False
    check_place(asked, reservations.find_rows(transaction, [earlier])[earlier])
    return True


def _fits(asked: Asked, fits: Money, said: list[RefusedError]) -> Money:
    """Limit what fits to the caller's own ceiling; an unknown value never fits."""
    if any(isinstance(one, UnknownWorthError) for one in said):
        return Money.from_micro(0, fits.unit)
    return fits if asked.ceiling is None else min(fits, asked.ceiling)
