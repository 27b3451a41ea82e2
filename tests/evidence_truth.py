"""What providers truly did, told without the product: accounts, jobs, every movement of money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

Kind = Literal["charge", "surcharge", "refund", "adjustment"]
Fate = Literal[
    "charged",
    "untaken",
    "failed",
    "surcharged",
    "refunded",
    "partly refunded",
    "surcharged, partly refunded",
    "adjusted up",
    "adjusted down",
]
Belief = Literal[
    "reserved",
    "submitting",
    "submitted",
    "in doubt",
    "in doubt, task unknown",
    "committed",
    "committed by quote",
    "committed wrongly",
    "committed wrongly by quote",
    "rolled back",
    "rolled back, task unknown",
]

BEGIN: Final = datetime(2026, 3, 1, tzinfo=UTC)
END: Final = datetime(2026, 3, 25, tzinfo=UTC)
"""The period of all bills: long over, so that no clock makes it the future."""

ACCOUNTS: Final = ("north", "south")
ADDRESSES: Final[Mapping[str, str]] = {
    "runapi": "https://runapi.ai",
    "crun": "https://api.crun.ai",
    "evolink": "https://api.evolink.ai",
    "uniall": "https://api.uniall.ai",
}
UNITS: Final[Mapping[str, str]] = {
    "runapi": "USD",
    "crun": "crun-credit",
    "evolink": "evolink-credit",
    "uniall": "USD",
}
MODELS: Final[Mapping[str, tuple[str, str]]] = {
    "runapi": ("kling-3.0", "kling-v2.6"),
    "crun": ("kling/v3", "kling/v2-6-motion-control"),
    "evolink": ("kling-v3-text-to-video", "kling-o3-text-to-video"),
    "uniall": ("kling-v3", "kling-v2-6"),
}
PRICES: Final[Mapping[str, tuple[Decimal, Decimal]]] = {
    "runapi": (Decimal("0.675"), Decimal("0.54")),
    "crun": (Decimal(135), Decimal(189)),
    "evolink": (Decimal("40.5"), Decimal(27)),
    "uniall": (Decimal("0.84"), Decimal("0.56")),
}
PARTS: Final[Mapping[str, tuple[Decimal, Decimal, Decimal]]] = {
    "runapi": (Decimal("0.12"), Decimal("0.175"), Decimal("0.03")),
    "crun": (Decimal(20), Decimal(35), Decimal(7)),
    "evolink": (Decimal("5.25"), Decimal("10.5"), Decimal("1.5")),
    "uniall": (Decimal("0.1"), Decimal("0.14"), Decimal("0.02")),
}
"""What a surcharge, a refund of a part, and an adjustment come to at each gateway."""

TASKS: Final = (
    "task-unified-{n}-ab",
    "86728374175911{n:04}",
    "a/b+c{n}==",
    "00{n}2",
    "x,y;z{n}",
    'q"uote {n}',
    "Zürich-東京-{n}",
    "7f3a-{n}",
)
"""How tasks are called: integers too, leading zeros, signs that files have a use for."""

BELIEFS: Final[Mapping[str, tuple[Belief, ...]]] = {
    "untaken": (
        "in doubt, task unknown",
        "submitting",
        "rolled back, task unknown",
        "reserved",
        "committed wrongly by quote",
    ),
    "failed": (
        "submitted",
        "in doubt",
        "rolled back",
        "committed wrongly by quote",
        "committed wrongly",
    ),
}
"""What our ledger may believe of jobs that cost nothing."""

BELIEFS_CHARGED: Final[tuple[Belief, ...]] = (
    "committed",
    "committed by quote",
    "committed wrongly",
    "committed wrongly by quote",
    "submitted",
    "in doubt",
    "in doubt, task unknown",
    "submitting",
    "rolled back",
    "rolled back, task unknown",
)
TASK_UNKNOWN: Final = frozenset(
    {"reserved", "submitting", "in doubt, task unknown", "rolled back, task unknown"}
)
"""Beliefs of a ledger that was never told the task."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One job of a history: where and whose it is, what becomes of it, what we believe of it."""

    account: str = "north"
    is_ours: bool = True
    fate: Fate = "charged"
    belief: Belief = "committed"
    hour: int = 24
    price: int = 0
    model: int = 0
    task: int = 0
    namesake: bool = False
    """Whether its task is called as one of the other account may be."""
    later: bool = False
    """Whether all after the first movement is made only later in the history."""
    elsewhere: bool = False
    """Whether it ran at another gateway than the one whose bills are read."""


@dataclass(frozen=True, slots=True)
class Movement:
    """Money that a provider took for a job, or gave back with a minus."""

    kind: Kind
    amount: Decimal
    at: datetime


@dataclass
class TrueJob:
    """A job as its provider knows it; `made` counts the movements that happened by now."""

    number: int
    provider: str
    plan: Plan
    task: str | None
    movements: tuple[Movement, ...]
    made: int
    reservation: str = ""
    seen: int = field(default=0)
    """How many movements at least any bill has shown that was taken for evidence so far."""

    @property
    def at(self) -> datetime:
        return BEGIN + timedelta(hours=self.plan.hour, minutes=self.number)

    @property
    def account(self) -> tuple[str, str]:
        return (self.provider, self.plan.account)

    @property
    def model(self) -> str:
        return MODELS[self.provider][self.plan.model]

    @property
    def price(self) -> Decimal:
        return PRICES[self.provider][self.plan.price]

    @property
    def cost(self) -> Decimal:
        """What it was charged by now."""
        return self.cost_after(self.made)

    @property
    def is_unknown(self) -> bool:
        """Whether our ledger was never told its task."""
        return self.task is None or self.plan.belief in TASK_UNKNOWN

    @property
    def is_in_period(self) -> bool:
        return BEGIN <= self.at < END

    def cost_after(self, count: int) -> Decimal:
        """What it had cost after so many movements."""
        return sum((one.amount for one in self.movements[:count]), Decimal(0))


def true_job(number: int, provider: str, plan: Plan) -> TrueJob:
    """Return what becomes of a planned job at a provider."""
    job = TrueJob(number, provider, plan, None, (), 0)
    if plan.fate == "untaken":
        return job
    # Odd numbers take the name of the even one before them, at whichever account that is.
    named = number // 2 if plan.namesake else 100 + number
    job.task = TASKS[plan.task].format(n=named)
    job.movements = _movements(job)
    job.made = min(1, len(job.movements)) if plan.later else len(job.movements)
    return job


def _movements(job: TrueJob) -> tuple[Movement, ...]:
    surcharge, part, step = PARTS[job.provider]
    ways: dict[str, tuple[tuple[Kind, Decimal], ...]] = {
        "failed": (),
        "charged": (),
        "surcharged": (("surcharge", surcharge),),
        "refunded": (("refund", -job.price),),
        "partly refunded": (("refund", -part),),
        "surcharged, partly refunded": (("surcharge", surcharge), ("refund", -part)),
        "adjusted up": (("adjustment", step),),
        "adjusted down": (("adjustment", -step),),
    }
    if job.plan.fate == "failed":
        return ()
    first: tuple[Kind, Decimal] = ("charge", job.price)
    return tuple(
        Movement(kind, amount, job.at + timedelta(minutes=7, hours=26 * index))
        for index, (kind, amount) in enumerate((first, *ways[job.plan.fate]))
    )
