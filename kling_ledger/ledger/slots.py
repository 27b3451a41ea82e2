"""Slots: shares of a hot wallet or window, so that many clients need not wait for one row.

A wallet, or a window of a budget, may be divided among slots, each a row of its own. What a slot is
given counts as set aside in its owner, the row that it comes from; from then on the slot admits and
settles by itself. Its `share` is what it may still admit; `held` and `spent` are what it moved.
They always add up to what it was given, so the owner's row always covers its slots, even for a
program that does not know slots.

A transaction beside others moves only the slots of its own connection. If a slot cannot decide, the
operation runs exclusively, like any refusal: all slots are first gathered into their owner, so that
it is decided on the whole, to the last millionth, and are then handed out again. A slot stays
within bounds in which there is nothing to report: it never reaches a budget's limit or passes a
threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final, NamedTuple

from kling_ledger.errors import ConfigError
from kling_ledger.ledger.budgets import Budget
from kling_ledger.ledger.engines.transaction import Transaction, overtaken
from kling_ledger.ledger.rules import SLOTS, Rules
from kling_pricing.money import MAX_MICRO

MOST: Final = 256
"""The most slots of a ledger: an exclusive operation writes all slots of its owners."""

_MOVES: Final = 8
"""How many moves a slot should be good for: an empty one forces an exclusive transaction."""

_GATHERED: Final = "owners whose slots are gathered"
_NOTHING_TO_GATHER: Final[AbstractContextManager[None]] = nullcontext()


def _of_slots(figure: str, owner: str, starts: str) -> str:
    return (
        f"COALESCE((SELECT CAST(SUM({figure}) AS BIGINT) FROM slot"
        f" WHERE slot.owner_id = {owner} AND slot.starts_at = {starts}), 0)"
    )


_UNHELD: Final = "share_micro + spent_micro"
"""What a slot was given and does not hold, though its owner counts it as held."""

WALLETS: Final = f"""(
SELECT id, name, unit, funded_micro, adjusted_micro, actor, created_at, costing,
       posted_micro - {_of_slots("spent_micro", "wallet.id", "0")} AS posted_micro,
       reserved_micro - {_of_slots(_UNHELD, "wallet.id", "0")} AS reserved_micro
FROM wallet) AS wallet"""
"""Every wallet's current figures: its own row and its slots together. All readers use this."""

WINDOWS: Final = f"""(
SELECT budget_id, starts_at, ends_at,
       held_micro - {_of_slots(_UNHELD, "budget_id", "budget_window.starts_at")} AS held_micro,
       spent_micro + {_of_slots("spent_micro", "budget_id", "budget_window.starts_at")}
       AS spent_micro
FROM budget_window) AS budget_window"""
"""Every window's current figures: its own row and its slots together."""

GATHERED: Final[Mapping[str, Mapping[str, str]]] = {
    "wallet": {
        "posted_micro": f"posted_micro - {_of_slots('spent_micro', 'wallet.id', '0')}",
        "reserved_micro": f"reserved_micro - {_of_slots(_UNHELD, 'wallet.id', '0')}",
        "shared_micro": "CAST(NULL AS BIGINT)",
    },
    "budget_window": {
        "held_micro": "held_micro - "
        + _of_slots(_UNHELD, "budget_window.budget_id", "budget_window.starts_at"),
        "spent_micro": "spent_micro + "
        + _of_slots("spent_micro", "budget_window.budget_id", "budget_window.starts_at"),
        "shared_to_micro": "CAST(NULL AS BIGINT)",
    },
}
"""The columns of a table as they are once its slots are gathered: what a copy holds."""

_MOVE: Final = """
UPDATE slot SET share_micro = share_micro - :used, held_micro = held_micro + :held,
    spent_micro = spent_micro + :spent
WHERE owner_id = :owner AND starts_at = :starts AND number = CAST(:place AS BIGINT) % among
  AND version = :version AND since_at <= :at
  AND share_micro - :used BETWEEN 0 AND most_micro
"""
_FOLD: Final = f"""
WITH gone AS (
    DELETE FROM slot WHERE owner_id = :owner AND starts_at = :starts
    RETURNING share_micro, spent_micro
), folded AS (
    SELECT CAST(COALESCE(SUM({_UNHELD}), 0) AS BIGINT) AS unheld,
           CAST(COALESCE(SUM(spent_micro), 0) AS BIGINT) AS spent FROM gone
)
"""
_GATHER_WALLET: Final = f"""{_FOLD}
UPDATE wallet SET reserved_micro = reserved_micro - unheld, posted_micro = posted_micro - spent,
    shared_micro = NULL
FROM folded WHERE id = :owner
"""
_GATHER_WINDOW: Final = f"""{_FOLD}
UPDATE budget_window SET held_micro = held_micro - unheld, spent_micro = spent_micro + spent,
    shared_to_micro = NULL
FROM folded WHERE budget_id = :owner AND starts_at = :starts
"""
_SHARE: Final = """
INSERT INTO slot (owner_id, starts_at, number, among, given_micro, share_micro, most_micro,
    held_micro, spent_micro, version, since_at)
SELECT :owner, CAST(:starts AS BIGINT), number, CAST(:among AS BIGINT), CAST(:share AS BIGINT),
    CAST(:share AS BIGINT), CAST(:most AS BIGINT), 0, 0, CAST(:version AS BIGINT),
    CAST(:since AS BIGINT)
FROM generate_series(0, CAST(:among AS BIGINT) - 1) AS number
"""
_COVER_IN_WALLET: Final = """
UPDATE wallet SET reserved_micro = reserved_micro + :given,
    shared_micro = CASE WHEN CAST(:up AS BIGINT) IS NOT NULL THEN CAST(:given AS BIGINT) END
WHERE id = :owner
"""
_COVER_IN_WINDOW: Final = """
UPDATE budget_window SET held_micro = held_micro + :given,
    shared_to_micro = held_micro + spent_micro + CAST(:up AS BIGINT)
WHERE budget_id = :owner AND starts_at = :starts
"""
_FREE_IN_WALLET: Final = (
    "SELECT posted_micro - reserved_micro AS free FROM wallet WHERE id = :owner"
)
_USED_IN_WINDOW: Final = """
SELECT held_micro + spent_micro AS used FROM budget_window
WHERE budget_id = :owner AND starts_at = :starts
"""


class Owner(NamedTuple):
    """A wallet by its id, or a window by its budget and its start in microseconds."""

    id: str
    starts_us: int = 0

    @property
    def is_window(self) -> bool:
        """Whether it is a window, not a wallet."""
        return self.id.startswith("bud_")


@dataclass(frozen=True, slots=True)
class Room:
    """How far a use may rise or fall before the whole has to be looked at."""

    up: int
    down: int


_NO_ROOM: Final = Room(0, 0)


def are_moved(transaction: Transaction, rules: Rules) -> bool:
    """Whether a transaction moves slots: it is not exclusive, and the ledger has slots."""
    return rules.slots > 0 and not transaction.is_exclusive


def move(
    transaction: Transaction, rules: Rules, owner: Owner, at_us: int, *, held: int, spent: int
) -> None:
    """Move what is held and spent, in millionths, in this connection's slot of an owner."""
    transaction.change(
        _MOVE,
        {
            "used": held + spent,
            "held": held,
            "spent": spent,
            "owner": owner.id,
            "starts": owner.starts_us,
            "place": transaction.place,
            "version": rules.version,
            "at": at_us,
        },
        expect=1,
        refused=overtaken,
    )


def gathered(
    transaction: Transaction, rules: Rules, owners: Mapping[Owner, int], at_us: int
) -> AbstractContextManager[None]:
    """Gather the slots of owners for the duration of a block, and then hand them out again.

    Each owner comes with the amount being moved: if a slot would be good for too few more moves of
    that size, fewer slots are made.

    Does nothing unless the transaction is exclusive and the ledger has slots. A block that raises
    leaves them gathered: undoing it restores them.
    """
    if not rules.slots or not transaction.is_exclusive:
        return _NOTHING_TO_GATHER
    return _gathered(transaction, rules, owners, at_us)


@contextmanager
def _gathered(
    transaction: Transaction, rules: Rules, owners: Mapping[Owner, int], at_us: int
) -> Iterator[None]:
    known: set[Owner] = transaction.known.setdefault(_GATHERED, set())
    own = sorted(set(owners) - known)
    for owner in own:
        _gather(transaction, owner)
    known.update(own)
    try:
        yield
    finally:
        known.difference_update(own)
    for owner in own:
        _share(transaction, rules, owner, at_us, moved=owners[owner])


def gather_before(transaction: Transaction, owner: Owner) -> None:
    """Gather slots left in a budget's earlier windows: its windows never stop coming."""
    rows = transaction.rows(
        "SELECT DISTINCT starts_at FROM slot WHERE owner_id = :owner AND starts_at < :starts"
        " ORDER BY starts_at",
        owner=owner.id,
        starts=owner.starts_us,
    )
    for row in rows:
        _gather(transaction, Owner(owner.id, row["starts_at"]))


def check_engine(dialect: str) -> None:
    """Refuse slots where they would not help. Raises ConfigError."""
    if dialect == "sqlite":
        raise ConfigError(
            "slots are for PostgreSQL: a file has one writer at a time, so they would not help"
        )


def use(transaction: Transaction, count: int) -> None:
    """Set a ledger's number of slots, 0 for none; the rules change with it.

    Raises ConfigError for an invalid number.
    """
    if not 0 <= count <= MOST:
        raise ConfigError(
            f"invalid number of slots: {count}", hint=f"use 0 for none, or up to {MOST}"
        )
    transaction.be_alone()
    rows = transaction.rows("SELECT DISTINCT owner_id, starts_at FROM slot ORDER BY 1, 2")
    for row in rows:
        _gather(transaction, Owner(row["owner_id"], row["starts_at"]))
    transaction.run("DELETE FROM setting WHERE name = :name", name=SLOTS)
    transaction.run(
        "INSERT INTO setting (name, value) VALUES (:name, :value)", name=SLOTS, value=str(count)
    )


def _gather(transaction: Transaction, owner: Owner) -> None:
    statement = _GATHER_WINDOW if owner.is_window else _GATHER_WALLET
    transaction.run(statement, owner=owner.id, starts=owner.starts_us)


def _share(transaction: Transaction, rules: Rules, owner: Owner, at_us: int, *, moved: int) -> None:
    """Give each slot its part of the room that an owner has; the rest stays with the owner."""
    budget = next((one for one in rules.budgets if one.id == owner.id), None)
    room = _room(transaction, owner, budget, at_us)
    if room is None:
        return
    among = max(1, min(rules.slots, room.up // max(_MOVES * abs(moved), 1)))
    share, fall = room.up // among, room.down // among
    transaction.run(
        _SHARE,
        owner=owner.id,
        starts=owner.starts_us,
        share=share,
        most=share + fall,
        version=rules.version,
        since=0 if budget is None else _since(budget, at_us),
        among=among,
    )
    transaction.run(
        _COVER_IN_WINDOW if owner.is_window else _COVER_IN_WALLET,
        owner=owner.id,
        starts=owner.starts_us,
        given=share * among,
        up=None if room == _NO_ROOM else room.up,
    )


def _room(transaction: Transaction, owner: Owner, budget: Budget | None, at_us: int) -> Room | None:
    """Return the room of an owner; None if it does not exist or no longer counts."""
    if not owner.is_window:
        row = transaction.row(_FREE_IN_WALLET, owner=owner.id)
        return None if row is None else room_of_wallet(row["free"])
    row = transaction.row(_USED_IN_WINDOW, owner=owner.id, starts=owner.starts_us)
    if row is None or budget is None:
        return None
    return room_of_window(budget, row["used"], at_us)


def room_of_wallet(free: int) -> Room:
    """Return the room of a wallet by what it has available; overdrawn, it has none."""
    return Room(free, MAX_MICRO) if free >= 0 else _NO_ROOM


def room_of_window(budget: Budget, used: int, at_us: int) -> Room:
    """Return the room of a window by what is used.

    It ends below the next threshold and at a hard limit, and at the last threshold passed: by the
    limit in force, and by each limit that follows as raises end.
    """
    instants = {at_us, *(one.until_us for one in budget.raises if one.until_us > at_us)}
    rooms = [_room_under(budget, budget.limit_at(instant), used) for instant in instants]
    if _NO_ROOM in rooms:
        return _NO_ROOM
    return Room(min(room.up for room in rooms), min(room.down for room in rooms))


def _since(budget: Budget, at_us: int) -> int:
    """Return the instant since which a window's room is valid: when the last raise ended."""
    return max((one.until_us for one in budget.raises if one.until_us <= at_us), default=0)


def _room_under(budget: Budget, limit: int, used: int) -> Room:
    if budget.mode == "hard" and used > limit:
        return _NO_ROOM
    # A threshold is passed by the first millionth that reaches its percentage.
    passes = [-(-one * limit // 100) for one in budget.thresholds]
    highest = min((one - 1 for one in passes if one > used), default=MAX_MICRO)
    if budget.mode == "hard":
        highest = min(highest, limit)
    lowest = max((one for one in passes if one <= used), default=used - MAX_MICRO)
    return Room(max(highest - used, 0), used - lowest)
