"""Approvals: a person is asked about one job before it may be reserved, and decides once.

An approval is for one payload at one provider, from one wallet and for one project, up to a ceiling
and for a time. It is good for one reservation: the one made under its `key`. Whether that exists is
known from the ledger's stored keys, so nothing is stored twice.

The ledger believes the names that it is given: it keeps both who asked and who decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal

from kling_ledger.errors import (
    ApprovalClosedError,
    ApprovalsWaitError,
    ConfigError,
    NotFoundError,
)
from kling_ledger.ledger import wallets
from kling_ledger.ledger.asking import Asked
from kling_ledger.ledger.engines.transaction import (
    Row,
    Stamp,
    Transaction,
    overtaken,
    plain,
)
from kling_ledger.ledger.ids import from_us, new_id, numbers
from kling_ledger.ledger.schema import APPROVAL
from kling_pricing.errors import AmountError
from kling_pricing.money import Money

Verdict = Literal["granted", "denied"]
"""What a person decided."""

Standing = Literal["undecided", "granted", "denied", "used", "expired"]
"""The state of an approval: what was decided, that its job is reserved, or that it has expired."""

KEY_PREFIX: Final = "approval/"
"""How the key of an approved job's reservation begins."""

LIVES_S: Final = 3600
"""How long an approval can be decided and used by default, in seconds."""

MOST_WAITING: Final = 100
"""How many requests of one asker may wait for a person: each is a permanent row."""

_LONGEST_SAID: Final = 500
_LONGEST_NAME: Final = 200
_SECOND_US: Final = 1_000_000

_SELECT: Final = (
    f"SELECT {APPROVAL.selected}, wallet.name AS wallet_name, wallet.unit,"
    " idempotency.result_id AS reservation_id"
    " FROM approval JOIN wallet ON wallet.id = approval.wallet_id"
    f" LEFT JOIN idempotency ON idempotency.key = '{KEY_PREFIX}' || approval.id"
)


@dataclass(frozen=True, slots=True)
class Approval:
    """What a person was asked about one job, and the answer.

    `asked` is what the job was to cost, `ceiling` the most that it may cost, both in the wallet's
    unit. `said` is the job in words. `reservation_id` is the job's, once it is reserved.
    """

    id: str
    wallet: str
    wallet_id: str
    payload_hash: str
    provider: str
    model: str | None
    action: str | None
    project: str | None
    said: str
    asked: Money
    ceiling: Money
    asked_by: str
    asked_at: datetime
    expires_at: datetime
    verdict: Verdict | None
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None
    reservation_id: str | None

    @property
    def key(self) -> str:
        """The key that its one job is reserved under."""
        return f"{KEY_PREFIX}{self.id}"

    def is_of(self, asked: Asked) -> bool:
        """Whether it is for the given job, whatever the job costs."""
        job = asked.job
        own = (self.payload_hash, self.provider, self.project)
        is_same = own == (job.payload_hash, job.provider, asked.project)
        return is_same and asked.wallet in {self.wallet, self.wallet_id}

    def standing_at(self, at: datetime) -> Standing:
        """Return its state at an instant; `expires_at` is exclusive."""
        if self.reservation_id is not None:
            return "used"
        if self.verdict == "denied":
            return "denied"
        if at >= self.expires_at:
            return "expired"
        return self.verdict or "undecided"


def find(transaction: Transaction, approval_id: str) -> Approval:
    """Return an approval by its id; NotFoundError if there is none."""
    row = transaction.row(f"{_SELECT} WHERE approval.id = :id", id=plain(approval_id))
    if row is None:
        raise NotFoundError("approval", approval_id)
    return _approval(row)


def every(transaction: Transaction, *, undecided_at_us: int | None = None) -> list[Approval]:
    """Return all approvals, oldest first, or those that can be decided at an instant."""
    if undecided_at_us is None:
        return [_approval(row) for row in transaction.rows(f"{_SELECT} ORDER BY approval.id")]
    rows = transaction.rows(
        f"{_SELECT} WHERE verdict IS NULL AND expires_at > :at ORDER BY approval.id",
        at=undecided_at_us,
    )
    return [_approval(row) for row in rows]


def standing_for(
    transaction: Transaction, asked: Asked, *, asked_by: str, at_us: int
) -> Approval | None:
    """Return the existing approval of a job by this asker; None if a person has to be asked.

    A granted approval comes first, the oldest of several; it is valid until it is used or expires.
    A denied one is valid until it expires, whatever the job costs by then; any other only while the
    job costs no more than its ceiling.
    """
    rows = transaction.rows(
        f"{_SELECT} WHERE approval.wallet_id = :wallet AND payload_hash = :payload"
        " AND provider = :provider AND COALESCE(project, '') = :project AND asked_by = :asked_by"
        " AND expires_at > :at AND (verdict = 'denied' OR ceiling_micro >= :amount)"
        " AND idempotency.key IS NULL"
        " ORDER BY CASE verdict WHEN 'granted' THEN 0 WHEN 'denied' THEN 1 ELSE 2 END, approval.id"
        " LIMIT 1",
        wallet=wallets.find(transaction, asked.wallet).id,
        payload=plain(asked.job.payload_hash or ""),
        provider=plain(asked.job.provider or ""),
        project=plain(asked.project or ""),
        asked_by=_name(asked_by),
        amount=asked.amount.micro,
        at=at_us,
    )
    return _approval(rows[0]) if rows else None


def ask(
    transaction: Transaction, asked: Asked, *, said: str, asked_by: str, lives_s: int, stamp: Stamp
) -> Approval:
    """Ask a person about a job, unless an approval already exists.

    Raises ConfigError for a job without a payload or provider, which could not be recognised later,
    and ApprovalsWaitError if too many requests of this asker are waiting.
    """
    transaction.be_alone()
    known = standing_for(transaction, asked, asked_by=asked_by, at_us=stamp.at_us)
    if known is not None:
        return known
    job, wallet = asked.job, wallets.find(transaction, asked.wallet)
    if job.payload_hash is None or job.provider is None:
        raise ConfigError(
            "only a job whose provider and request are known can be approved",
            hint="reserve it from its request",
        )
    if asked.amount.unit != wallet.unit:
        raise AmountError("unit of the amount", got=asked.amount.unit, allowed=wallet.unit)
    _check_waiting(transaction, asked_by, stamp.at_us)
    approval_id = new_id("apr", next(numbers(stamp.at_us, stamp.chance)))
    row = {
        "id": approval_id,
        "wallet_id": wallet.id,
        "payload_hash": job.payload_hash,
        "provider": job.provider,
        "model": job.model,
        "action": job.action,
        "project": asked.project,
        "said": _plain_line(said, _LONGEST_SAID),
        "asked_micro": asked.amount.micro,
        "ceiling_micro": asked.amount.micro,
        "asked_by": _name(asked_by),
        "asked_at": stamp.at_us,
        "expires_at": stamp.at_us + lives_s * _SECOND_US,
        "verdict": None,
        "decided_by": None,
        "decided_at": None,
        "reason": None,
    }
    transaction.insert(APPROVAL, [row])
    return find(transaction, approval_id)


def decide(
    transaction: Transaction,
    approval_id: str,
    verdict: Verdict,
    *,
    ceiling: Money | None,
    stamp: Stamp,
) -> Approval:
    """Record what a person decided; only the first decision counts.

    Raises ApprovalClosedError, which says who decided, if it was already decided or has expired;
    AmountError for a ceiling below what was asked, or in another unit.
    """
    transaction.be_alone()
    known = find(transaction, approval_id)
    if known.verdict is not None:
        raise ApprovalClosedError(
            known.id,
            verdict=known.verdict,
            by=known.decided_by,
            at=known.decided_at or known.expires_at,
        )
    if from_us(stamp.at_us) >= known.expires_at:
        raise ApprovalClosedError(known.id, verdict=None, by=None, at=known.expires_at)
    if ceiling is not None and ceiling < known.asked:
        raise AmountError(
            "ceiling", got=str(ceiling), allowed=f"at least what was asked, {known.asked}"
        )
    transaction.change(
        "UPDATE approval SET verdict = :verdict, ceiling_micro = :ceiling, decided_by = :actor,"
        " decided_at = :at, reason = :reason WHERE id = :id AND verdict IS NULL",
        {
            "verdict": verdict,
            "ceiling": (known.ceiling if ceiling is None else ceiling).micro,
            "actor": stamp.actor,
            "at": stamp.at_us,
            "reason": stamp.reason,
            "id": known.id,
        },
        expect=1,
        refused=overtaken,
    )
    return find(transaction, known.id)


def _check_waiting(transaction: Transaction, asked_by: str, at_us: int) -> None:
    row = transaction.row(
        "SELECT COUNT(*) AS waiting FROM approval"
        " WHERE asked_by = :asked_by AND verdict IS NULL AND expires_at > :at",
        asked_by=_name(asked_by),
        at=at_us,
    )
    if row is not None and row["waiting"] >= MOST_WAITING:
        raise ApprovalsWaitError(_name(asked_by), waiting=int(row["waiting"]))


def _name(actor: str) -> str:
    return _plain_line(actor, _LONGEST_NAME)


def _plain_line(text: str, longest: int) -> str:
    """Return text for a terminal: one line, without control characters."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text[:longest])
    return line.encode(errors="replace").decode()


def _approval(row: Row) -> Approval:
    money: Any = partial(Money.from_micro, unit=row["unit"])
    return Approval(
        id=row["id"],
        wallet=row["wallet_name"],
        wallet_id=row["wallet_id"],
        payload_hash=row["payload_hash"],
        provider=row["provider"],
        model=row["model"],
        action=row["action"],
        project=row["project"],
        said=row["said"],
        asked=money(row["asked_micro"]),
        ceiling=money(row["ceiling_micro"]),
        asked_by=row["asked_by"],
        asked_at=from_us(row["asked_at"]),
        expires_at=from_us(row["expires_at"]),
        verdict=row["verdict"],
        decided_by=row["decided_by"],
        decided_at=None if row["decided_at"] is None else from_us(row["decided_at"]),
        reason=row["reason"],
        reservation_id=row["reservation_id"],
    )
