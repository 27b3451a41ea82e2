"""The errors of the ledger and of the providers, under the one root `KlingError`.

KlingError (kling_pricing.errors)
├── PricingError             see kling_pricing.errors
├── ConfigError              a setting that cannot be used, such as a key with a line break
├── SignatureError           a callback that its sender did not sign, or not lately
├── DownloadError            a clip could not be fetched; what came of it is kept
│   ├── LinkExpiredError     its link leads nowhere any more
│   └── FolderError          the folder cannot be written, or is full
├── LedgerError
│   ├── DatabaseError        the database cannot be opened, read or written
│   │   ├── NoLedgerError    there is none yet
│   │   ├── OlderSchemaError it has to be upgraded first
│   │   └── NewerSchemaError it was written by a later version of this program
│   ├── NotFoundError        no wallet, budget or reservation is called that
│   ├── ConflictError        the same name or key with other content
│   ├── StateError           a reservation's state does not allow the change
│   ├── PeriodError          a month cannot be closed, or is closed
│   └── RefusedError         admission refused: nothing was changed, nothing was sent
│       ├── InsufficientCreditsError   the wallet does not hold enough
│       ├── BudgetError                a budget has less left than the job needs
│       ├── UnknownWorthError    a budget counts in another unit and no rate is known
│       └── CeilingError               the job costs more than a single job may
└── ProviderError
    ├── JobRefusedError      the provider did not take the job, for certain
    ├── JobInDoubtError      nobody knows whether the provider took the job
    ├── QuestionError        a question that moves no money got no answer
    │   ├── PollError        the provider did not say how the job stands
    │   └── NoAnswerError    the provider did not tell a balance or an estimate
    ├── CallbackError        what was posted to us is no callback of the provider
    └── LivePricesError      the provider did not tell its prices: nothing is in doubt

Each class builds its sentence from its facts. Exit codes and HTTP statuses are not known here.
"""

from __future__ import annotations

from datetime import datetime

from kling_pricing.errors import KlingError
from kling_pricing.money import Money, plain


class ConfigError(KlingError):
    """A setting that cannot be used."""

    code = "config"


class SignatureError(KlingError):
    """A message whose signature is missing, wrong or too old: it may come from anybody."""

    code = "signature"


class DownloadError(KlingError):
    """A clip could not be fetched from its link; nothing of it is kept.

    `link` is the link without its query, which may hold a signature that opens it for anybody.
    """

    code = "download"

    def __init__(
        self, link: str, problem: str, *, hint: str | None = None, retryable: bool = False
    ) -> None:
        super().__init__(f"{link}: {problem}", hint=hint)
        self.link = link
        self.problem = problem
        self.retryable = retryable


class LinkExpiredError(DownloadError):
    """A link that leads nowhere any more; `expired_at` is None where no promise was known."""

    code = "link_expired"

    def __init__(self, link: str, *, status: int, name: str, expired_at: datetime | None) -> None:
        until = f", it was promised until {expired_at:%Y-%m-%d %H:%M} UTC" if expired_at else ""
        super().__init__(
            link,
            f"the link has expired or is not open to us: HTTP {status}{until}",
            hint=f"look for a newer link of {name} in your account at the provider; where it keeps"
            " no copy, the clip has to be made again",
        )
        self.status = status
        self.expired_at = expired_at


class FolderError(DownloadError):
    """The folder for the clips cannot be written, or its disk is full."""

    code = "folder"

    def __init__(self, folder: object, problem: str) -> None:
        super().__init__(
            str(folder), problem, hint="make room or name another folder, then run it again"
        )


class LedgerError(KlingError):
    """The family of everything that the ledger refuses or cannot do."""

    code = "ledger"


class DatabaseError(LedgerError):
    """The database cannot be opened, read or written; `retryable` if somebody else has it."""

    code = "database"

    def __init__(self, message: str, *, hint: str | None = None, retryable: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retryable = retryable


class NoLedgerError(DatabaseError):
    """There is no database file where one was to be read."""

    code = "no_ledger"

    def __init__(self, path: object) -> None:
        super().__init__(
            f"there is no ledger at {path}",
            hint="make one with: kling-ledger wallet create NAME, or name another with --db",
        )


class OlderSchemaError(DatabaseError):
    """The database was written by an earlier version of this program."""

    code = "older_schema"

    def __init__(self, name: str, *, version: str, needed: str) -> None:
        super().__init__(
            f"{name} has schema {version}, this program needs {needed}",
            hint="bring it up to date with: kling-ledger db upgrade",
        )
        self.version = version
        self.needed = needed


class NewerSchemaError(DatabaseError):
    """The database was written by a later version of this program."""

    code = "newer_schema"

    def __init__(self, name: str, *, version: str, needed: str) -> None:
        super().__init__(
            f"{name} has schema {version}, this program knows up to {needed}",
            hint="use the version of kling-ledger that wrote it, or a later one",
        )
        self.version = version
        self.needed = needed


class NotFoundError(LedgerError):
    """Nothing is called that."""

    code = "not_found"

    def __init__(self, noun: str, name: str, *, hint: str | None = None) -> None:
        super().__init__(f"no {noun} is called {name}", hint=hint)
        self.noun = noun
        self.name = name


class ConflictError(LedgerError):
    """The same name or key was used before with other content; `field` is what differs."""

    code = "conflict"

    def __init__(self, subject: str, *, field: str, stored: object, given: object) -> None:
        super().__init__(f"{subject} was used before with {field} {stored}, now with {given}")
        self.field = field
        self.stored = stored
        self.given = given


class StateError(LedgerError):
    """A reservation's state does not allow the change."""

    code = "state"

    def __init__(self, reservation_id: str, *, state: str, change: str) -> None:
        super().__init__(f"reservation {reservation_id} is {state}: it cannot be {change}")
        self.reservation_id = reservation_id
        self.state = state


class PeriodError(LedgerError):
    """A month cannot be closed as asked, or is closed for what was asked of it."""

    code = "period"


class RefusedError(LedgerError):
    """Admission was refused: nothing was changed and nothing was sent."""

    code = "refused"


class InsufficientCreditsError(RefusedError):
    """The wallet holds less than the job needs; `fits` is the most that would be admitted."""

    code = "insufficient_credits"

    def __init__(
        self, wallet: str, *, needed: Money, available: Money, fits: Money | None = None
    ) -> None:
        short = f"{plain(needed.amount - available.amount)} {needed.unit}"
        super().__init__(
            f"wallet {wallet}: needed {needed}, available {available}, short by {short}",
            hint=f'fund it with: kling-ledger wallet fund {wallet} "{short}"',
        )
        self.wallet = wallet
        self.needed = needed
        self.available = available
        self.fits = available if fits is None else fits


class BudgetError(RefusedError):
    """A budget's window has less left than the job needs.

    `limit` counts raises that are in force; `left` is below zero where a job cost more than was
    reserved; `frees_at` is when the window ends, None for one that never does; `fits` is the most
    that wallet and all budgets together would admit now, in the unit of the job.
    """

    code = "budget"

    def __init__(
        self,
        budget: str,
        *,
        limit: Money,
        spent: Money,
        reserved: Money,
        asked: Money,
        frees_at: datetime | None,
        fits: Money,
    ) -> None:
        left = limit - spent - reserved
        until = f", frees at {frees_at:%Y-%m-%d %H:%M} UTC" if frees_at else ""
        super().__init__(
            f"budget {budget}: limit {limit}, spent {spent}, reserved {reserved},"
            f" asked {asked}, left {left}{until}",
            hint=f"{_would_fit(fits)}; or raise it for a time with:"
            f' kling-ledger budget raise {budget} "AMOUNT" --until WHEN --reason WHY',
        )
        self.budget = budget
        self.limit = limit
        self.spent = spent
        self.reserved = reserved
        self.asked = asked
        self.left = left
        self.frees_at = frees_at
        self.fits = fits


class CeilingError(RefusedError):
    """The job costs more than a single job may: by the caller's own word, or by a budget's."""

    code = "ceiling"

    def __init__(self, *, cost: Money, ceiling: Money, budget: str | None = None) -> None:
        of = f" of budget {budget}" if budget else ""
        raised = f"the ceiling of budget {budget}" if budget else "--max-cost"
        super().__init__(
            f"the job costs {cost}, more than the ceiling{of} of {ceiling}",
            hint=f"ask for fewer seconds, a lower resolution or no sound, or raise {raised}",
        )
        self.cost = cost
        self.ceiling = ceiling
        self.budget = budget
        self.fits = ceiling


class TotalError(RefusedError):
    """The jobs of a batch cost more than they may in all."""

    code = "total"

    def __init__(self, *, cost: Money, most: Money) -> None:
        super().__init__(
            f"the batch costs {cost}, more than its most of {most}",
            hint="run fewer rows, or raise --max-total",
        )
        self.cost = cost
        self.most = most
        self.fits = most


class UnknownWorthError(RefusedError):
    """A budget counts in US dollars and nobody knows what the job is worth in them."""

    code = "unknown_worth"

    def __init__(self, budget: str, *, asked: Money, unit: str) -> None:
        super().__init__(
            f"budget {budget} counts {unit}, and what {asked} are worth in it is not known",
            hint="reserve from a quote, which carries its amount in USD, or limit the unit itself",
        )
        self.budget = budget
        self.asked = asked
        self.unit = unit


def _would_fit(fits: Money) -> str:
    return f"up to {fits} would be admitted now" if fits.amount > 0 else "nothing fits now"


class ProviderError(KlingError):
    """The family of everything that goes wrong at a provider. Never holds a key."""

    code = "provider"

    def __init__(self, provider: str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"{provider}: {problem}", hint=hint)
        self.provider = provider
        self.problem = problem


class JobRefusedError(ProviderError):
    """The provider did not take the job, for certain: nothing was or will be charged.

    `retryable` where the same request may be taken later, after `retry_after_s` if that was said.
    """

    code = "job_refused"

    def __init__(
        self,
        provider: str,
        problem: str,
        *,
        hint: str | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(provider, problem, hint=hint)
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class JobInDoubtError(ProviderError):
    """The request may have reached the provider and no answer says what became of it."""

    code = "job_in_doubt"


class QuestionError(ProviderError):
    """A question that moves no money got no answer; unless `is_final`, asking again may help.

    `retry_after_s` is how long the provider asked to be left alone, None if it did not.
    """

    code = "question"

    def __init__(
        self,
        provider: str,
        problem: str,
        *,
        is_final: bool = False,
        hint: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(provider, problem, hint=hint)
        self.is_final = is_final
        self.retryable = not is_final
        self.retry_after_s = retry_after_s


class PollError(QuestionError):
    """The provider did not say how the job stands."""

    code = "poll"


class NoAnswerError(QuestionError):
    """The provider did not tell a balance or an estimate."""

    code = "no_answer"


class CallbackError(ProviderError):
    """What was posted to us is not what the provider documents: nothing was changed."""

    code = "callback"


class LivePricesError(ProviderError):
    """The provider did not tell its prices. No job was asked for, so nothing is in doubt."""

    code = "live_prices"
    retryable = True
