"""Balances: how an account's balance moved, compared with our journal. The weakest evidence.

Others may spend from an account or top it up, and credits expire. A difference is a question,
unless a person says that nobody else spends from it and exactly one job can explain it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from kling_ledger.evidence.plan import Line, Verdict, settling
from kling_ledger.jobs.meter import Meter
from kling_ledger.ledger import Ledger, ProviderBalance, Reservation
from kling_pricing.money import Money

_LONGEST_S: Final = 60
"""No clip is longer than this, in seconds."""

_OUR_OWN: Final = frozenset({"quote", "measured"})
"""The bases of costs that we computed ourselves."""


def compare_balance(
    before: ProviderBalance,
    available: Money,
    charged: Money,
    reservations: Sequence[Reservation],
    *,
    topped_up: Money | None = None,
    is_ours_alone: bool = False,
) -> Line | None:
    """Compare how far an account fell with what our journal charged since; None if they agree.

    `topped_up` is what was paid into the account since. No job may be open. With `is_ours_alone`
    nobody else spends from the account: if only one job can explain the difference, it is corrected
    by that difference.
    """
    paid_in = topped_up or Money.zero(available.unit)
    apart = before.available + paid_in - available - charged
    if apart.micro == 0:
        return None
    problem = (
        f"since {before.at:%Y-%m-%d %H:%M} UTC {_moved(charged + apart)}, but the journal says"
    )
    problem += f" that jobs cost {charged}"
    guessed = [one for one in reservations if one.settled_by in _OUR_OWN and one.spent.micro > 0]
    perhaps = [one for one in guessed if one.updated_at > before.at]
    if is_ours_alone and len(perhaps) == 1:
        cost = perhaps[0].spent + apart
        if is_possible(perhaps[0], cost):
            change = settling(perhaps[0], cost, settled_by="provider")
            told = (perhaps[0], perhaps[0].task_id, cost, problem, change)
            return Line(Verdict.AMOUNT_DIFFERS, *told)
    hint = ": was it topped up, or does anyone else spend from it?"
    return Line(Verdict.QUESTION, problem=problem + hint)


def is_possible(one: Reservation, cost: Money) -> bool:
    """Whether a job could cost this: nothing, what was reserved, or whole seconds at its price."""
    if cost.micro in {0, one.amount.micro}:
        return True
    seconds = one.job.billed_seconds
    if cost.micro < 0 or not seconds or one.amount.micro % seconds:
        return False
    a_second = one.amount.micro // seconds
    return cost.micro % a_second == 0 and cost.micro // a_second <= _LONGEST_S


def _moved(fall: Money) -> str:
    """Say how far an account fell, or rose if `fall` is negative."""
    rise = Money.zero(fall.unit) - fall
    return f"the account fell by {fall}" if fall.micro > 0 else f"the account rose by {rise}"


class Seen(NamedTuple):
    """The result of checking an account: how our journal differs, or why that is unknown."""

    line: Line | None = None
    note: str | None = None


def look_at_balance(
    ledger: Ledger,
    meter: Meter,
    topped_up: Money | None,
    *,
    keeps: bool,
    is_ours_alone: bool = False,
) -> Seen:
    """Compare with the last balance that agreed; with `keeps`, keep this one if it agrees too.

    Keep no balance while corrections of our journal are pending: the account already includes them.
    While jobs are open, or if one changed during the call, nothing is compared: the account may
    hold credits for them. Raises NoAnswerError if the provider does not report a balance.
    """
    place = meter.place
    if place.account is None:
        return Seen(note="the owner of this account is unknown, so its balance was not compared")
    there = _jobs_there(ledger, meter)
    available = meter.provider.balance().available
    before = ledger.evidence.last_balance(place.provider, place.address, place.account)
    charged = None if before is None else ledger.evidence.charged_since(before)
    if any(one.is_open for one in there) or _jobs_there(ledger, meter) != there:
        return Seen(note="jobs are open, so the account's balance was not compared")
    line = None
    if before is not None and charged is not None and before.available.unit == available.unit:
        line = compare_balance(
            before, available, charged, there, topped_up=topped_up, is_ours_alone=is_ours_alone
        )
    if line is None and keeps:
        ledger.evidence.keep_balance(place.provider, place.address, place.account, available)
    return Seen(line)


def _jobs_there(ledger: Ledger, meter: Meter) -> list[Reservation]:
    place = meter.place
    return [one for one in ledger.reservations.at_provider(place.provider) if place.has(one)]
