"""Every call that changes a ledger, and the ledger that it is tried on.

Whoever interrupts calls takes them from here: a call that was interrupted is made again, and the
ledger must then be what it would be without the interruption.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from typing import Final

from kling_ledger.errors import LedgerError, NotFoundError, StateError
from kling_ledger.ledger import Asked, Change, Job, Ledger, Scope, State
from kling_ledger.ledger.engines.database import Database
from kling_pricing.money import Money
from tests.ledger_in_turn import admissions_of, told_in_turn
from tests.ledgers import dump

OCTOBER: Final = datetime(2026, 10, 20, 12, tzinfo=UTC)
NOVEMBER: Final = datetime(2026, 11, 5, 9, tzinfo=UTC)
CLIP: Final = Money.parse("0.675 USD")
HALF: Final = Money.parse("0.3 USD")

_ID: Final = re.compile(r"(wal|res|txf|bud|rse)_[0-9a-z]{26}")
Ids = Mapping[str, str]
"""The reservations of the ledger that is set up, by what became of them."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of a ledger; made again after it has happened it may say `again` instead."""

    call: Callable[[Ledger, Ids], object]
    again: type[LedgerError] | None = None


def asked(key: str, *, wallet: str = "team", expires_at: datetime | None = None) -> Asked:
    """Ask for a clip in the scope of every budget, under a key that also labels it."""
    return Asked(
        wallet,
        CLIP,
        Job(provider="runapi"),
        project="film/teaser",
        labels={"owner": "ann", "is": key},
        key=key,
        expires_at=expires_at,
    )


def _set_new_budget(ledger: Ledger, _: Ids) -> object:
    return ledger.budgets.set("new", CLIP, scope=Scope(project="film/"))


def _change_budget(ledger: Ledger, _: Ids) -> object:
    limit = Money.parse("51 USD")
    return ledger.budgets.set("films", limit, scope=Scope(project="film/"), window="month")


def _raise_budget(ledger: Ledger, _: Ids) -> object:
    until = NOVEMBER + timedelta(days=1)
    return ledger.budgets.raise_limit("films", CLIP, until=until, reason="one more take", key="k")


def _reserve_each(ledger: Ledger, _: Ids) -> object:
    too_much = Asked("team", Money.parse("900 USD"), key="too much")
    return ledger.reserve_each([asked("k1"), too_much, asked("k2")])


def _reserve_in_turn(ledger: Ledger, _: Ids) -> object:
    admissions = admissions_of(ledger, lambda _: 7_000_000)
    too_much = Asked("team", Money.parse("900 USD"), key="too much")
    return told_in_turn(ledger, admissions, [[asked("k1")], [too_much], [asked("k2")]])


def _reserve_in_turn_after_expiry(ledger: Ledger, _: Ids) -> object:
    admissions = admissions_of(ledger, lambda _: 7_000_000)
    return told_in_turn(ledger, admissions, [[asked(key, wallet="small")] for key in ("k1", "k2")])


def _settle_many(ledger: Ledger, ids: Ids) -> object:
    committed = Change(ids["submitted"], State.COMMITTED, HALF, settled_by="provider")
    return ledger.settle([committed, Change(ids["reserved"], State.ROLLED_BACK, problem="no")])


OPERATIONS: Final[Mapping[str, Operation]] = {
    "create_wallet": Operation(lambda ledger, ids: ledger.wallets.create("new", "USD")),
    "fund": Operation(lambda ledger, ids: ledger.wallets.fund("team", CLIP, key="k")),
    "adjust": Operation(
        lambda ledger, ids: ledger.wallets.adjust("team", CLIP, reason="counted", key="k")
    ),
    "set_budget": Operation(_set_new_budget),
    "change_budget": Operation(_change_budget),
    "raise_budget": Operation(_raise_budget),
    "remove_budget": Operation(lambda ledger, ids: ledger.budgets.remove("films"), NotFoundError),
    "reserve": Operation(lambda ledger, ids: ledger.reserve_many([asked("k")])),
    "reserve_after_expiry": Operation(
        lambda ledger, ids: ledger.reserve_many([asked("k", wallet="small")])
    ),
    "reserve_many": Operation(
        lambda ledger, ids: ledger.reserve_many([asked(f"k{number}") for number in range(3)])
    ),
    "reserve_each": Operation(_reserve_each),
    "reserve_in_turn": Operation(_reserve_in_turn),
    "reserve_in_turn_after_expiry": Operation(_reserve_in_turn_after_expiry),
    "mark_submitting": Operation(
        lambda ledger, ids: ledger.mark_submitting(ids["reserved"]), StateError
    ),
    "mark_submitted": Operation(
        lambda ledger, ids: ledger.mark_submitted(ids["submitting"], "new task")
    ),
    "mark_in_doubt": Operation(
        lambda ledger, ids: ledger.mark_in_doubt(ids["submitting"], "no answer")
    ),
    "record_task": Operation(lambda ledger, ids: ledger.record_task(ids["rolled_back"], "late")),
    "commit_less": Operation(lambda ledger, ids: ledger.commit(ids["submitted"], HALF)),
    "commit_equal": Operation(lambda ledger, ids: ledger.commit(ids["submitted"], CLIP)),
    "commit_more": Operation(
        lambda ledger, ids: ledger.commit(ids["submitted"], CLIP + HALF, key="k")
    ),
    "commit_part": Operation(
        lambda ledger, ids: ledger.commit(ids["submitted"], HALF, is_part=True, key="k")
    ),
    "commit_rest": Operation(lambda ledger, ids: ledger.commit(ids["partly"], HALF, key="k")),
    "settle_many": Operation(_settle_many),
    "roll_back": Operation(lambda ledger, ids: ledger.roll_back(ids["submitted"], "it failed")),
    "refund": Operation(
        lambda ledger, ids: ledger.refund(ids["committed"], HALF, reason="dark", key="k")
    ),
    "late_commit": Operation(lambda ledger, ids: ledger.commit(ids["rolled_back"], HALF)),
    "expire": Operation(lambda ledger, ids: ledger.expire()),
    "close_softly": Operation(lambda ledger, ids: ledger.periods.close("2026-10")),
    "close_hard": Operation(lambda ledger, ids: ledger.periods.close("2026-10", hard=True)),
    "reopen": Operation(lambda ledger, ids: ledger.periods.reopen("2026-09", reason="a bill")),
}
"""What is called on the ledger that `set_up` makes."""


def set_up(url: str, *, slots: int = 0) -> None:
    """Make a ledger with budgets on four levels and reservations in every state."""
    numbers = count(1)
    now = OCTOBER
    with Ledger(url, actor="tester", clock=lambda: now, chance=lambda _: next(numbers)) as ledger:
        for wallet, amount in (("team", "100 USD"), ("small", "0.675 USD")):
            ledger.wallets.create(wallet, "USD")
            ledger.wallets.fund(wallet, Money.parse(amount))
        fifty = Money.parse("50 USD")
        ledger.budgets.set("all", fifty, scope=Scope(wallet="team"))
        ledger.budgets.set("films", fifty, scope=Scope(project="film/"), window="month")
        ledger.budgets.set("runapi", fifty, scope=Scope(provider="runapi"), window="day")
        ledger.budgets.set("of-ann", fifty, scope=Scope(label="owner=ann"), mode="warn")
        names = ("reserved", "submitting", "submitted", "partly", "committed", "rolled_back")
        made = dict(zip(names, ledger.reserve_many([asked(name) for name in names]), strict=True))
        for name in names[1:]:
            ledger.mark_submitting(made[name].id)
        for name in ("submitted", "partly", "committed"):
            ledger.mark_submitted(made[name].id, f"task of {name}")
        ledger.commit(made["partly"].id, HALF, is_part=True)
        ledger.commit(made["committed"].id, Money.parse("0.6 USD"))
        ledger.roll_back(made["rolled_back"].id, "it failed")
        now = NOVEMBER - timedelta(days=1)
        over_at = NOVEMBER - timedelta(hours=1)
        ledger.reserve_many(
            [asked(f"due_{one}", wallet=one, expires_at=over_at) for one in ("team", "small")]
        )
        ledger.periods.close("2026-09")
        if slots:
            ledger.use_slots(slots)
            # Whoever moves a wallet and its windows first shares them out.
            ledger.roll_back(ledger.reserve_many([asked("shared")])[0].id, "no")


def opened(url: str, chance: int) -> Ledger:
    """Open the ledger at the instant of the operations; `chance` numbers what it makes."""
    numbers = count(chance, 1000)
    return Ledger(url, actor="tester", clock=lambda: NOVEMBER, chance=lambda _: next(numbers))


def ids_of(ledger: Ledger) -> Ids:
    """Find the reservations of the ledger that is set up."""
    return {one.labels["is"]: one.id for one in ledger.reservations.latest(limit=100)}


def call_again(ledger: Ledger, ids: Ids, name: str) -> None:
    """Make a call that may have happened before."""
    operation = OPERATIONS[name]
    try:
        operation.call(ledger, ids)
    except LedgerError as error:
        if operation.again is None or not isinstance(error, operation.again):
            raise


def state_of(ledger: Ledger) -> list[str]:
    """Everything in the database; ids are numbered, so that the chance in them is left out.

    How often the rules were changed is left out too: to set what is set already counts.
    """
    text = "\n".join(line for line in dump(ledger) if not line.startswith("rules: "))
    ids = sorted({found.group() for found in _ID.finditer(text)})
    names = {one: f"{one[:3]}_{number}" for number, one in enumerate(ids)}
    return _ID.sub(lambda found: names[found.group()], text).splitlines()


def digest_of(ledger: Ledger) -> str:
    """A digest of everything in the database."""
    return sha256("\n".join(state_of(ledger)).encode()).hexdigest()


def _upgrade(url: str) -> None:
    with closing(Database(url, any_version=True)) as database:
        database.upgrade()


OPENINGS: Final[Mapping[str, Callable[[str], object]]] = {
    "create": lambda url: opened(url, 1).close(),
    "upgrade": _upgrade,
}
"""What makes the tables: in an empty database, and in one of the first release."""
