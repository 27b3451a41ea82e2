"""Asking: a request for one reservation, and which requests are valid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kling_ledger.errors import CeilingError, ConfigError, ConflictError
from kling_ledger.ledger import idempotency, scopes
from kling_ledger.ledger import labels as label_words
from kling_ledger.ledger.budgets import Budget
from kling_ledger.ledger.demands import Wanted
from kling_ledger.ledger.engines.transaction import Row
from kling_ledger.ledger.limits import Setting
from kling_ledger.ledger.reservations import Job
from kling_ledger.ledger.scopes import Subject
from kling_ledger.ledger.wallets import Wallet
from kling_pricing.errors import AmountError
from kling_pricing.money import USD, Money


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for one reservation: how much, from which wallet, for which job.

    `key` makes the call repeatable; `ceiling` bounds this job; past `expires_at` the reservation
    may expire by itself, if nothing was sent for it. `cap` is a budget that must count the job: a
    missing one is set in the same transaction. `approval` is a second key: that of the approval
    that this job uses up.
    """

    wallet: str
    amount: Money
    job: Job = field(default_factory=Job)
    project: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    ceiling: Money | None = None
    expires_at: datetime | None = None
    cap: Setting | None = None
    approval: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that stand for this job's reservation, and for no other."""
        return tuple(key for key in (self.key, self.approval) if key is not None)


def check(one: Asked, wallet: Wallet) -> None:
    """Refuse what no ledger could set aside, before any window or wallet is asked.

    Raises AmountError, and ConfigError for an invalid project.
    """
    amount = one.amount
    if not isinstance(amount, Money):
        raise AmountError("amount", got=amount, allowed="Money, such as Money.parse('0.675 USD')")
    if amount.unit != wallet.unit:
        raise AmountError("unit of the amount", got=amount.unit, allowed=wallet.unit)
    if amount.amount <= 0:
        raise AmountError("amount", got=str(amount), allowed="more than 0")
    if one.job.usd is not None:
        _check_worth(one.job.usd)
    check_ceiling(one.ceiling)
    if one.project is not None and not scopes.is_project(one.project):
        raise ConfigError(
            f"invalid project: {one.project!r}",
            hint="write it as film/teaser: no / at either end, no part that is empty, . or .., or"
            " padded with spaces",
        )


def check_spelling(project: str | None, budgets: Iterable[Budget]) -> None:
    """Refuse a project that escapes a budget by its capitals alone.

    Raises ConfigError.
    """
    named = [one for one in budgets if one.scope.project is not None] if project else []
    if any(scopes.is_within(project, one.scope.project or "") for one in named):
        return
    for one in named:
        scope = one.scope.project or ""
        if scopes.is_within((project or "").casefold(), scope.casefold()):
            raise ConfigError(
                f"{project!r} differs from {scope!r} of budget {one.name} only in capitals",
                hint="write it as the budget does, or set a budget for the other spelling too",
            )


def over_ceiling(one: Asked) -> CeilingError | None:
    """Return the refusal of a job above its caller's ceiling; None if it is not above."""
    if one.ceiling is None or one.amount <= one.ceiling:
        return None
    return CeilingError(cost=one.amount, ceiling=one.ceiling)


def subject_of(one: Asked, wallet: Wallet) -> Subject:
    """Return what budgets look at in a requested job."""
    job, labels = one.job, label_words.to_text(one.labels)
    return Subject(wallet.id, wallet.unit, one.project, job.provider, job.model, labels)


def worth_micro(one: Asked) -> int | None:
    """Return the value of a job in millionths of a US dollar; None if unknown."""
    if one.amount.unit == USD:
        return one.amount.micro
    return None if one.job.usd is None else one.job.usd.micro


def wanted_by(one: Asked, wallet: Wallet, reservation_id: str = "") -> Wanted:
    """Return what a requested job would take."""
    subject = subject_of(one, wallet)
    return Wanted(reservation_id, wallet.name, subject, one.amount.micro, worth_micro(one))


def check_ceiling(ceiling: object) -> None:
    """Refuse a ceiling that is not an amount."""
    if ceiling is not None and not isinstance(ceiling, Money):
        raise AmountError(
            "ceiling", got=repr(ceiling), allowed="Money, such as Money.parse('1 USD')"
        )


def check_place(one: Asked, earlier: Row) -> None:
    """Refuse a key that was used for a job elsewhere: a rehearsal is not the real run.

    Raises ConflictError for another address or account. If an older ledger did not record them,
    nothing is refused.
    """
    for name, given in (("address", one.job.address), ("account", one.job.account)):
        stored = earlier[name]
        if None not in (stored, given) and stored != given:
            raise ConflictError(f"key {one.key}", field=name, stored=stored, given=given)


def content_of(wallet: Wallet, one: Asked) -> idempotency.Content:
    """Return what a key stands for, field by field.

    The ceiling, the cap and the expiry are not part of it: they bound a call and do not change its
    job.
    """
    job = one.job
    return {
        "operation": "reserve",
        "wallet": wallet.name,
        # A price may change between two calls: the same request under the same key is the same.
        "amount": str(one.amount) if job.payload_hash is None else None,
        "project": one.project,
        "labels": label_words.to_text(one.labels),
        "provider": job.provider,
        "model": job.model,
        "action": job.action,
        "seconds": job.seconds,
        "resolution": job.resolution,
        "sound": None if job.sound is None else str(job.sound).lower(),
        "payload": job.payload_hash,
    }


def _check_worth(worth: object) -> None:
    if not isinstance(worth, Money) or worth.unit != USD or worth.amount < 0:
        raise AmountError("worth of the job", got=str(worth), allowed="US dollars, 0 or more")
