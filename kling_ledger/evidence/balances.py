"""Balances: how an account moved beside what our journal says, the weakest evidence there is.

Others spend from an account, top it up, and let credits expire. A difference is a question, unless
a person says that nobody else spends from it, and it fits the one job that could explain it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from kling_ledger.evidence.plan import Line, Verdict, settling
from kling_ledger.jobs.meter import Meter
from kling_ledger.ledger import Ledger, ProviderBalance, Reservation
from kling_pricing.money import Money

_LONGEST_S: Final = 60
"""No clip is longer, whatever it was asked to be."""

_OUR_OWN: Final = frozenset({"quote", "measured"})
"""What a cost rests on that we have worked out ourselves."""


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

    `topped_up` is what was paid into the account meanwhile. No job may be open. With
    `is_ours_alone` nobody else spends from the account: then what one job alone could explain is
    what that job cost.
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
    """Whether a job could cost that much: nothing, its quote, or whole seconds at its price."""
    if cost.micro in {0, one.amount.micro}:
        return True
    seconds = one.job.billed_seconds
    if cost.micro < 0 or not seconds or one.amount.micro % seconds:
        return False
    a_second = one.amount.micro // seconds
    return cost.micro % a_second == 0 and cost.micro // a_second <= _LONGEST_S


def _moved(fall: Money) -> str:
    """Say how an account moved, that fell by so much: it rose where that is less than nothing."""
    rise = Money.zero(fall.unit) - fall
    return f"the account fell by {fall}" if fall.micro > 0 else f"the account rose by {rise}"


class Seen(NamedTuple):
    """What asking an account came to: where it differs from our journal, or why that is unknown."""

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
    """Compare with the last balance that agreed; with `keeps`, keep this one if it does too.

    A balance is not to be kept while our journal is still to be corrected, because the account
    knows that already. While jobs are open an account may hold credits for them, and what has moved
    since it was asked is not in its answer: then its balance says nothing.
    Raises NoAnswerError where the provider does not tell it.
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
