"""Notices: what an operator reads in the log of a program that uses the ledger.

Each is logged after its transaction has ended, so that nothing undone is reported. The logger is
`kling_ledger.ledger`; without a handler nothing is written anywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from kling_ledger.errors import RefusedError
from kling_ledger.ledger.moves import Move
from kling_ledger.ledger.reservations import Reservation
from kling_ledger.ledger.states import State
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.ledger.verify.findings import Finding

log: Final = logging.getLogger("kling_ledger.ledger")


def tell_refusal(refusal: RefusedError) -> None:
    """Log that nothing was reserved, and why. Not a warning: a limit did its work."""
    log.info("refused (%s): %s", refusal.code, refusal.message)


def tell_move(move: Move, now: Reservation) -> None:
    """Warn of what a person should look at: a charge beyond the hold, or a job in doubt."""
    if move.change.to_state is State.IN_DOUBT:
        # The problem is not logged: it may quote a provider, and with it a prompt.
        log.warning("reservation %s is in doubt and keeps %s reserved", now.id, now.held)
    for kind, amount_micro in move.transfers:
        if amount_micro == 0:
            continue
        # A correction of a committed job is a late charge too, but a person asked for it.
        is_late = kind == "late_commit" and move.before["state"] != State.COMMITTED
        if is_late:
            log.warning(
                "reservation %s was %s and is charged after all: %s",
                now.id,
                move.before["state"],
                Money.from_micro(amount_micro, now.amount.unit),
            )
        elif kind == "overrun":
            log.warning(
                "reservation %s cost %s more than was held: %s of %s reserved",
                now.id,
                Money.from_micro(amount_micro, now.amount.unit),
                now.committed,
                now.amount,
            )


def tell_expired(ended: Iterable[Reservation]) -> None:
    """Log which reservations have expired: their credits are available again."""
    for one in ended:
        log.info("reservation %s of %s has expired in wallet %s", one.id, one.amount, one.wallet)


def tell_token(name: str, what: str) -> None:
    """Log what happened to a token: its caller only learns that it is not valid."""
    log.info("token %s %s", name, what)


def tell_findings(findings: Iterable[Finding]) -> None:
    """Log everything that does not agree with the journal."""
    for finding in findings:
        log.error("%s: %s: %s", finding.law, finding.subject, finding.problem)
