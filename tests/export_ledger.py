"""A ledger for the exports: random or eventful, over several months, with text of all kinds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st

from kling_ledger.ledger import Job, Ledger
from kling_pricing.money import Money
from tests.ledgers import Chance, Clock, found

START = datetime(2026, 9, 28, 12, tzinfo=UTC)
UNITS = {"team": "USD", "Team": "crun-credit", "team-a/b.c": "evolink-credit"}
USD_PER_UNIT = {"USD": (1, 1), "crun-credit": (1, 200), "evolink-credit": (1, 72)}
WORTH = {"crun-credit": Decimal("0.005"), "evolink-credit": Decimal("0.0139")}
"""What credits are worth where no job says it: what amends a month may come before all jobs."""
NASTY = (
    '=1+1"; DROP',
    "a, b: c | d ; e",
    "line\nbreak\ttab\r",
    "\\n \\ {x} #tag ^link",
    "影片 é 🎬",
)


def spelled(text: str | None) -> str | None:
    """The project that a text names, in the one spelling that a ledger takes."""
    parts = [part.strip() for part in (text or "").split("/")]
    return "/".join(part for part in parts if part not in {"", ".", ".."}) or None


@dataclass(frozen=True)
class Step:
    """One thing that happens: to whom, how many hours later, and with which amount."""

    what: str
    wallet: str = "team"
    hours: int = 1
    micro: int = 675_000
    text: str | None = None
    seconds: int | None = 5
    provider: str | None = "runapi"


ENDS = ("commit", "less", "more", "part", "roll_back", "open", "doubt", "refund", "late", "correct")
_SIGNS = st.characters(codec="utf-8", exclude_characters="\0")
_TEXT = st.sampled_from(NASTY) | st.text(_SIGNS, min_size=1, max_size=12).filter(str.strip)

steps = st.lists(
    st.builds(
        Step,
        what=st.sampled_from(
            (*ENDS, *ENDS, "fund", "buy", "buy", "euros", "adjust", "adjust_down", "close", "amend")
        ),
        wallet=st.sampled_from(sorted(UNITS)),
        hours=st.integers(1, 30 * 24),
        micro=st.integers(2, 10**9),
        text=st.none() | _TEXT,
        seconds=st.sampled_from((None, 3, 5, 7, 10)),
        provider=st.sampled_from((None, "runapi", "crun", "Some:One  else; (x)")),
    ),
    min_size=1,
    max_size=10,
)
"""Histories of a few jobs, over as many months."""


EVENTFUL = [
    Step(what, wallet, hours=29, micro=675_001, text=text, seconds=seconds, provider=provider)
    for wallet in UNITS
    for what, text, seconds, provider in zip(
        (*ENDS, "fund", "adjust", "adjust_down"),
        (*NASTY, *[None] * 8),
        [5, 7, None, 3] * 4,
        ["runapi", "crun", None, "Some:One  else; (x)"] * 4,
        strict=False,
    )
]
"""Everything that can happen, in every unit, with text of all kinds, over four months."""


@contextmanager
def ledger_of(
    url: str, history: Sequence[Step], *, paid: bool = False
) -> Iterator[tuple[Ledger, Clock]]:
    """A ledger in which all this happened, and its clock.

    Its wallets hold one allowance, or if `paid` two lots with an allowance between them, the first
    of which is soon used up; one wallet is costed at the average.
    """
    clock = Clock(START)
    with Ledger(url, clock=clock, chance=Chance(), actor="ann") as ledger:
        for name, unit in UNITS.items():
            is_average = paid and name == "team-a/b.c"
            ledger.wallets.create(name, unit, costing="average" if is_average else None)
            if paid:
                happen(ledger, Step("buy", name, micro=700_003, text="INV-0"))
                ledger.wallets.fund(name, Money.from_micro(500_001, unit))
                happen(ledger, Step("euros", name, micro=9 * 10**8 + 1, text="=INV"))
            ledger.wallets.fund(name, Money.from_micro(10**12, unit))
            _reserve(ledger, Step("open", name))
        for step in history:
            clock.forward(hours=step.hours)
            if step.what in {"close", "amend"}:
                _close(ledger, clock, step)
            else:
                happen(ledger, step)
        yield ledger, clock


def _close(ledger: Ledger, clock: Clock, step: Step) -> None:
    """Close the month before softly; and amend it, which then counts in it."""
    last = clock.now.replace(day=1) - timedelta(days=1)
    ledger.periods.close(f"{last:%Y-%m}")
    if step.what == "amend":
        amount = Money.from_micro(step.micro, UNITS[step.wallet])
        ledger.wallets.adjust(step.wallet, amount, reason="amended", corrects=f"{last:%Y-%m}")


def happen(ledger: Ledger, step: Step) -> None:
    """Let one thing happen to a wallet."""
    unit = UNITS[step.wallet]
    amount = Money.from_micro(step.micro, unit)
    if step.what == "fund":
        ledger.wallets.fund(step.wallet, amount, reason=step.text)
    elif step.what in {"buy", "euros"}:
        _buy(ledger, step, amount)
    elif step.what == "adjust":
        ledger.wallets.adjust(step.wallet, amount, reason=step.text or "found")
    elif step.what == "adjust_down":
        minus = Money.from_micro(-step.micro, unit)
        ledger.wallets.adjust(step.wallet, minus, reason=step.text or "lost")
    else:
        _job(ledger, step, amount)


def _buy(ledger: Ledger, step: Step, amount: Money) -> None:
    """Buy credits at a price that divides nowhere, with tax and an invoice where there is text."""
    currency = "USD" if step.what == "buy" else "EUR"
    ledger.wallets.purchase(
        step.wallet,
        amount,
        cash=Money.from_micro(step.micro // 7 + 1, currency),
        seller=step.provider or "unnamed",
        bought_on=START.date(),
        invoice=(step.text or "").strip() or None,
        tax=None if step.text is None else Money.from_micro(step.micro // 100, currency),
        key=None,
        reason=step.text,
    )


def _job(ledger: Ledger, step: Step, amount: Money) -> None:
    one = _reserve(ledger, step)
    half = Money.from_micro(step.micro // 2, amount.unit)
    if step.what == "part":
        ledger.commit(one, half, is_part=True, key=one, settled_by="provider")
    if step.what in {"roll_back", "late", "doubt"}:
        ledger.mark_submitting(one)
    if step.what == "doubt":
        ledger.mark_in_doubt(one, "no reply")
    if step.what in {"roll_back", "late"}:
        ledger.roll_back(one, step.text or "failed")
    charged = {"less": half, "more": amount + half}.get(step.what, amount)
    if step.what in {"commit", "less", "more", "refund", "late", "correct"}:
        ledger.commit(one, charged, settled_by="provider")
    if step.what == "correct":
        ledger.correct(one, half, reason=step.text or "the bill says so")
    if step.what == "refund":
        ledger.refund(one, half, reason=step.text or "bad")


def _reserve(ledger: Ledger, step: Step) -> str:
    unit = UNITS[step.wallet]
    up, down = USD_PER_UNIT[unit]
    usd = Money.from_micro(max(1, step.micro * up // down), "USD")
    job = Job(
        provider=step.provider,
        model="kling-3.0",
        action="text_to_video",
        resolution="1080p",
        sound=True,
        billed_seconds=step.seconds,
        usd=usd,
    )
    labels = {"team": "ads", "cost-centre": "4711"}
    amount = Money.from_micro(step.micro, unit)
    return ledger.reserve(
        step.wallet, amount, job=job, project=spelled(step.text), labels=labels
    ).id


def held(ledger: Ledger, through: str = "9999-12") -> dict[tuple[str, str], int]:
    """What every account of the journal holds through a month, in millionths, by SQL alone."""
    rows = found(
        ledger,
        "SELECT account, unit, SUM(micro) AS micro FROM ("
        " SELECT credit_account AS account, unit, amount_micro AS micro FROM transfer"
        " WHERE period <= :through UNION ALL"
        " SELECT debit_account, unit, -amount_micro FROM transfer WHERE period <= :through"
        ") AS moved GROUP BY account, unit",
        through=through,
    )
    return {(row["account"], row["unit"]): int(row["micro"]) for row in rows}
