"""Errors of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from kling_pricing.errors import KlingError

if TYPE_CHECKING:
    from pathlib import Path


class LedgerError(KlingError):
    """The ledger refused something or could not do it."""

    code = "ledger"


class DatabaseError(LedgerError):
    """The database cannot be opened, read or written; `retryable` if another process holds it."""

    code = "database"

    def __init__(self, message: str, *, hint: str | None = None, retryable: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retryable = retryable

    @property
    def may_pass(self) -> bool:
        """Whether an idempotent call can be repeated.

        It can, even if the outcome of the first is unknown.
        """
        return self.retryable or self.code == "outcome_unknown"


class OutcomeUnknownError(DatabaseError):
    """The database was lost during a write, so its outcome is unknown; check by `ids` or `key`.

    Not `retryable` by itself: only the same key guarantees that nothing happens twice.
    """

    code = "outcome_unknown"

    def __init__(self, name: str, ids: Sequence[str], *, key: str | None = None) -> None:
        known_by = f" ({', '.join(ids)})" if ids else ""
        super().__init__(
            f"{name} was lost during a write{known_by}: it may have been done",
            hint=f"repeat the call with key {key}"
            if key
            else "repeat the call only with the same key, or check first whether it was done",
        )
        self.name = name
        self.ids = tuple(ids)
        self.key = key

    def under(self, key: str | None) -> OutcomeUnknownError:
        """Return the same error for a call that has a key."""
        return OutcomeUnknownError(self.name, self.ids, key=key)


class NoLedgerError(DatabaseError):
    """There is no database file at this path."""

    code = "no_ledger"

    def __init__(self, path: object) -> None:
        super().__init__(f"there is no ledger at {path}", hint="create it, or use another path")
        self.path = path


class NotEmptyError(DatabaseError):
    """The target of a copy or a restore already exists: nothing was done."""

    code = "not_empty"

    def __init__(self, place: object, *, hint: str) -> None:
        super().__init__(f"{place} already exists and was not changed", hint=hint)
        self.place = place


class ForeignDatabaseError(DatabaseError):
    """The database holds tables of another program: nothing was changed in it."""

    code = "foreign_database"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is a database of another program", hint="use another database")
        self.name = name


class OlderSchemaError(DatabaseError):
    """The database was written by an earlier version of this program."""

    code = "older_schema"

    def __init__(self, name: str, *, version: str, needed: str) -> None:
        super().__init__(
            f"{name} has schema {version}, this program needs {needed}",
            hint="upgrade it first",
        )
        self.version = version
        self.needed = needed


class NewerSchemaError(DatabaseError):
    """The database was written by a newer version of this program."""

    code = "newer_schema"

    def __init__(self, name: str, *, version: str, needed: str) -> None:
        super().__init__(
            f"{name} has schema {version}, this program supports up to {needed}",
            hint="use the version of kling-ledger that wrote it, or a newer one",
        )
        self.version = version
        self.needed = needed


class TaskNotWrittenError(DatabaseError):
    """The provider accepted the job, but the database could not record its task id.

    `kept_in` is the file with the task id; without one, only this error has it.
    """

    code = "task_not_written"

    def __init__(
        self,
        problem: str,
        *,
        reservation_id: str,
        task_id: str,
        kept_in: Path | None = None,
        retryable: bool = False,
    ) -> None:
        where = f", which is kept in {kept_in}" if kept_in else ""
        super().__init__(
            f"{problem}; job {reservation_id} is task {task_id}{where}",
            hint="mark the reservation as submitted with this task",
            retryable=retryable,
        )
        self.reservation_id = reservation_id
        self.task_id = task_id
        self.kept_in = kept_in


class ClockError(LedgerError):
    """The clock of this process differs by hours or days from the ledger's or its server's."""

    code = "clock"

    def __init__(self, *, now: datetime, last: datetime, server: datetime | None) -> None:
        told = f"the last transfer was at {last:%Y-%m-%d %H:%M} UTC"
        if server is not None:
            told = f"{told}, the server's clock says {server:%Y-%m-%d %H:%M} UTC"
        super().__init__(
            f"this clock says {now:%Y-%m-%d %H:%M} UTC, {told}: nothing was written",
            hint="correct the clock, or set KLING_LEDGER_TRUST_CLOCK=yes if it is right",
        )
        self.now = now
        self.last = last
        self.server = server


class NotFoundError(LedgerError):
    """Nothing has this name; `known` are the existing names, where they may help."""

    code = "not_found"

    def __init__(
        self, noun: str, name: str, *, hint: str | None = None, known: Sequence[str] = ()
    ) -> None:
        super().__init__(f"no such {noun}: {name}", hint=hint)
        self.noun = noun
        self.name = name
        self.known = known


class ConflictError(LedgerError):
    """The same name or key was used before with other content; `field` is what differs."""

    code = "conflict"

    def __init__(self, subject: str, *, field: str, stored: object, given: object) -> None:
        super().__init__(f"{subject} already has {field} {stored}; {given} differs")
        self.field = field
        self.stored = stored
        self.given = given


class WalletKeptError(LedgerError):
    """A used wallet cannot be removed or renamed; `stands` is what uses it."""

    code = "wallet_kept"

    def __init__(self, wallet: str, *, change: str, stands: Sequence[str], hint: str) -> None:
        super().__init__(
            f"wallet {wallet} cannot be {change}: it has {', '.join(stands)}", hint=hint
        )
        self.wallet = wallet
        self.change = change
        self.stands = tuple(stands)


class AmbiguousTaskError(LedgerError):
    """Jobs of several accounts have the same task id; `reservations` are their ids."""

    code = "ambiguous_task"

    def __init__(self, task_id: str, reservations: Sequence[str]) -> None:
        super().__init__(
            f"{len(reservations)} jobs have a task {task_id}: {', '.join(reservations)}",
            hint="name the account, or the reservation",
        )
        self.task_id = task_id
        self.reservations = tuple(reservations)


class LedgerMovedError(LedgerError):
    """A reservation changed between comparing and applying: nothing was applied."""

    code = "ledger_moved"
    retryable = True

    def __init__(self, reservation_id: str) -> None:
        super().__init__(
            f"reservation {reservation_id} has changed since it was compared: nothing was applied",
            hint="compare again",
        )
        self.reservation_id = reservation_id


class PlanUndoneError(LedgerError):
    """A correction plan was already undone."""

    code = "plan_undone"

    def __init__(self, plan_id: str, *, at: datetime, by: str) -> None:
        super().__init__(f"plan {plan_id} was undone by {by} at {at:%Y-%m-%d %H:%M} UTC")
        self.plan_id = plan_id


_VERBS: Final = {
    "submitting": "submitted",
    "in_doubt": "put in doubt",
    "rolled_back": "rolled back",
}


class StateError(LedgerError):
    """A reservation's state does not allow the change."""

    code = "state"

    def __init__(self, reservation_id: str, *, state: str, change: str) -> None:
        verb = _VERBS.get(change, change)
        super().__init__(f"reservation {reservation_id} is {state} and cannot be {verb}")
        self.reservation_id = reservation_id
        self.state = state


class KeyUsedError(StateError):
    """A key belongs to a reservation that can no longer be sent: nothing was sent."""

    code = "key_used"

    def __init__(self, key: str, *, reservation_id: str, state: str) -> None:
        LedgerError.__init__(
            self,
            f"key {key} was already used: reservation {reservation_id} is {state}, and one key"
            " never sends twice",
            hint="to try again, use another key, once you are sure that the first job did not run",
        )
        self.key = key
        self.reservation_id = reservation_id
        self.state = state


class ApprovalClosedError(LedgerError):
    """An approval can no longer be decided: it was already decided, or has expired.

    `verdict` and `by` are None if it was not decided.
    """

    code = "approval_closed"

    def __init__(self, approval: str, *, verdict: str | None, by: str | None, at: datetime) -> None:
        what = "expired" if verdict is None else f"was {verdict} by {by}"
        super().__init__(
            f"approval {approval} {what} at {at:%Y-%m-%d %H:%M} UTC: nothing was changed",
            hint="if the job still needs approval, request it again",
        )
        self.approval = approval
        self.verdict = verdict
        self.by = by
        self.at = at


class PeriodError(LedgerError):
    """A month cannot be closed like this, or is closed for this operation."""

    code = "period"


class PeriodOrderError(PeriodError):
    """Months are sealed in order, and an earlier one with transfers is not sealed yet."""

    code = "period_order"

    def __init__(self, period: str, *, earlier: str) -> None:
        super().__init__(
            f"period {earlier}, before {period}, is not sealed",
            hint=f"seal {earlier} first",
        )
        self.period = period
        self.earlier = earlier


class TwoPeopleError(PeriodError):
    """A month must be sealed by another person than `prepared_by`, None if unknown."""

    code = "two_people"

    def __init__(self, period: str, *, prepared_by: str | None) -> None:
        if prepared_by is None:
            said = (
                f"this ledger needs two people to close a month, and {period} is not prepared yet"
            )
            hint = "close it softly first, then another person seals it"
        else:
            said = f"period {period} was prepared by {prepared_by}, who cannot also approve it"
            hint = "another person must seal it"
        super().__init__(said, hint=hint)
        self.period = period
        self.prepared_by = prepared_by
