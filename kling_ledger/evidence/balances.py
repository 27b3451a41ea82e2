"""Balances: how an account moved beside what our journal says, the weakest evidence there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kling_ledger.evidence.charges import Charge
from kling_ledger.evidence.plan import Line, Verdict, correction, spent
from kling_ledger.jobs.places import place_of
from kling_ledger.ledger import Ledger, ProviderBalance, Reservation
from kling_ledger.providers.base import Provider, TaskState
from kling_pricing.money import Money


def compare_balance(
    before: ProviderBalance,
    available: Money,
    charged: Money,
    reservations: Sequence[Reservation],
    *,
    topped_up: Money | None = None,
) -> Line | None:
    """Compare how far an account fell with what our journal charged since; None if they agree.

    `topped_up` is what was paid into the account meanwhile. No job may be open. Where one job alone
    was charged at its quote since then, because the provider names no cost, the difference is what
    that job really cost.
    """
    paid_in = topped_up or Money.zero(available.unit)
    apart = before.available + paid_in - available - charged
    if apart.micro == 0:
        return None
    problem = f"since {before.at:%Y-%m-%d %H:%M} UTC {_moved(charged + apart)}, our journal says"
    problem += f" that jobs cost {charged}"
    guessed = [one for one in reservations if one.settled_by == "quote"]
    guessed = [one for one in guessed if one.updated_at > before.at and (spent(one) or apart).micro]
    cost = (spent(guessed[0]) or apart) + apart if len(guessed) == 1 else None
    if cost is None or cost.micro < 0:
        hint = ": was it topped up, or do others spend from it too?"
        return Line(Verdict.AMOUNT_DIFFERS, problem=problem + hint)
    charge = Charge(guessed[0].task_id or "", cost, TaskState.COMPLETED)
    mends = correction(guessed[0], cost, charge)
    return Line(Verdict.AMOUNT_DIFFERS, guessed[0], charge, problem, (mends,))


def _moved(fall: Money) -> str:
    """Say how an account moved, that fell by so much: it rose where that is less than nothing."""
    rise = Money.zero(fall.unit) - fall
    return f"the account fell by {fall}" if fall.micro > 0 else f"the account rose by {rise}"


class Seen(NamedTuple):
    """What asking an account came to: where it moved away from our journal, or why nobody knows."""

    line: Line | None = None
    note: str | None = None


def look_at_balance(
    ledger: Ledger, reached: Provider, topped_up: Money | None, *, keeps: bool
) -> Seen:
    """Compare with the last balance that agreed; with `keeps`, keep this one if it does too.

    A balance is not to be kept while our journal is still to be corrected, because the account
    knows that already. While jobs are open an account may hold credits for them, and what has moved
    since it was asked is not in its answer: then its balance says nothing.
    Raises NoAnswerError where the provider does not tell it.
    """
    there = _jobs_there(ledger, reached)
    available = reached.balance().available
    place = place_of(ledger, reached)
    account = place.account or ""
    before = ledger.evidence.last_balance(reached.name, reached.address, account)
    charged = None if before is None else ledger.evidence.charged_since(before)
    if any(one.is_open for one in there) or _jobs_there(ledger, reached) != there:
        return Seen(note="jobs are open, so what the account holds was not compared")
    line = None
    if before is not None and charged is not None and before.available.unit == available.unit:
        line = compare_balance(before, available, charged, there, topped_up=topped_up)
    if line is None and keeps:
        ledger.evidence.keep_balance(reached.name, reached.address, account, available)
    return Seen(line)


def _jobs_there(ledger: Ledger, reached: Provider) -> list[Reservation]:
    ours = ledger.reservations.at_provider(reached.name)
    return [one for one in ours if one.job.address == reached.address]
