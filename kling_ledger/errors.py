"""The errors of the ledger and of the providers, under the one root `KlingError`.

KlingError (kling_pricing.errors)
├── PricingError             see kling_pricing.errors
├── ConfigError              a setting that cannot be used, such as a key with a line break
├── LedgerError
│   ├── DatabaseError        the database cannot be opened, read or written
│   │   └── NoLedgerError    there is none yet
│   ├── NotFoundError        no wallet or reservation is called that
│   ├── ConflictError        the same name or key with other content; a state that forbids it
│   └── RefusedError         admission refused: nothing was changed, nothing was sent
│       ├── InsufficientCreditsError   the wallet does not hold enough
│       └── CeilingError               the job costs more than the caller's own ceiling
└── ProviderError
    ├── JobRefusedError      the provider did not take the job, for certain
    ├── JobInDoubtError      nobody knows whether the provider took the job
    ├── PollError            the provider did not say how the job stands
    └── LivePricesError      the provider did not tell its prices: nothing is in doubt

Each class builds its sentence from its facts. Exit codes and HTTP statuses are not known here.
"""

from __future__ import annotations

from kling_pricing.errors import KlingError
from kling_pricing.money import Money, plain


class ConfigError(KlingError):
    """A setting that cannot be used."""

    code = "config"


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


class RefusedError(LedgerError):
    """Admission was refused: nothing was changed and nothing was sent."""

    code = "refused"


class InsufficientCreditsError(RefusedError):
    """The wallet holds less than the job needs."""

    code = "insufficient_credits"

    def __init__(self, wallet: str, *, needed: Money, available: Money) -> None:
        short = f"{plain(needed.amount - available.amount)} {needed.unit}"
        super().__init__(
            f"wallet {wallet}: needed {needed}, available {available}, short by {short}",
            hint=f'fund it with: kling-ledger wallet fund {wallet} "{short}"',
        )
        self.wallet = wallet
        self.needed = needed
        self.available = available


class CeilingError(RefusedError):
    """The job costs more than the caller said that it may."""

    code = "ceiling"

    def __init__(self, *, cost: Money, ceiling: Money) -> None:
        super().__init__(
            f"the job costs {cost}, more than the ceiling of {ceiling}",
            hint="ask for fewer seconds, a lower resolution or no sound, or raise --max-cost",
        )
        self.cost = cost
        self.ceiling = ceiling


class ProviderError(KlingError):
    """The family of everything that goes wrong at a provider. Never holds a key."""

    code = "provider"

    def __init__(self, provider: str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"{provider}: {problem}", hint=hint)
        self.provider = provider
        self.problem = problem


class JobRefusedError(ProviderError):
    """The provider did not take the job, for certain: nothing was or will be charged."""

    code = "job_refused"


class JobInDoubtError(ProviderError):
    """The request may have reached the provider and no answer says what became of it."""

    code = "job_in_doubt"


class PollError(ProviderError):
    """The provider did not say how the job stands; unless `is_final`, asking again may help."""

    code = "poll"
    retryable = True

    def __init__(self, provider: str, problem: str, *, is_final: bool = False) -> None:
        super().__init__(provider, problem)
        self.is_final = is_final


class LivePricesError(ProviderError):
    """The provider did not tell its prices. No job was asked for, so nothing is in doubt."""

    code = "live_prices"
    retryable = True
