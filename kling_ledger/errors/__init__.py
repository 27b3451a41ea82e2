"""The errors of the ledger and of the providers, under the one root `KlingError`.

KlingError (kling_pricing.errors)
├── PricingError             see kling_pricing.errors
├── ConfigError              a setting that cannot be used, such as a key with a line break
│   ├── NoKeyError           no API key was given
│   ├── PortError            a port that cannot be listened on
│   ├── OtherAddressError    a job is polled at another address than it was submitted to
│   ├── OtherAccountError    a job is polled with the key of another account
│   ├── AccountError         an API key and a named account do not belong together
│   └── BillQuestionError    a bill that can be read in more than one way
├── InputChangedError        a saved quote is for another request than the one to run
├── SignatureError           a callback without a valid, recent signature
├── DownloadError            a clip could not be downloaded
│   ├── LinkExpiredError     its link has expired
│   └── FolderError          the folder cannot be written, or is full
├── LedgerError
│   ├── DatabaseError        the database cannot be opened, read or written
│   │   ├── OutcomeUnknownError   it was lost during a write: the outcome is unknown
│   │   ├── NoLedgerError    there is no database yet
│   │   ├── NotEmptyError    the target of a copy already exists
│   │   ├── ForeignDatabaseError  it is a database of another program
│   │   ├── OlderSchemaError it has to be upgraded first
│   │   ├── NewerSchemaError it was written by a newer version of this program
│   │   └── TaskNotWrittenError   it could not record the task of a job
│   ├── NotFoundError        no wallet, budget or reservation has that name
│   ├── ConflictError        the same name or key with other content
│   ├── WalletKeptError      a used wallet cannot be removed or renamed
│   ├── LedgerMovedError     a reservation changed between comparing and correcting
│   ├── PlanUndoneError      a correction plan was already undone
│   ├── AmbiguousTaskError   jobs of several accounts have this task id
│   ├── StateError           a reservation's state does not allow the change
│   │   └── KeyUsedError     a key belongs to a reservation that can no longer be sent
│   ├── ApprovalClosedError  an approval was already decided, or has expired
│   ├── TokenError           no valid token has this secret
│   ├── PeriodError          a month cannot be closed, or is closed
│   │   ├── PeriodOrderError an earlier month must be sealed first
│   │   └── TwoPeopleError   the person who prepared a month cannot approve it
│   └── RefusedError         admission refused: nothing was changed, nothing was sent
│       ├── InsufficientCreditsError   the wallet does not hold enough
│       ├── BudgetError                a budget has less left than the job needs
│       ├── TotalError           a batch costs more than its limit
│       ├── UnknownWorthError    a budget counts in another unit and no rate is known
│       ├── CeilingError               the job costs more than the limit for one job
│       ├── ModelNotAllowedError       a token does not allow this model
│       ├── ProjectNotAllowedError     a token does not allow this project
│       ├── LabelNotAllowedError       a caller sets a label that the token fixes
│       ├── RunNeededError       a token has a cap per run, and no run was named
│       ├── ApprovalNeededError  a person must approve the job first
│       ├── ApprovalDeniedError  a person denied the job
│       ├── ApprovalsWaitError   too many jobs of one caller wait for approval
│       ├── PriceChangedError    it costs more than its saved quote says
│       └── QuoteExpiredError    its saved quote has expired
└── ProviderError
    ├── JobRefusedError      the provider definitely did not accept the job
    ├── JobInDoubtError      it is unknown whether the provider accepted the job
    ├── QuestionError        a question that moves no money got no answer
    │   ├── PollError        the provider did not report the job's state
    │   └── NoAnswerError    the provider did not return a balance or an estimate
    ├── CallbackError        a request is not a callback of the provider
    └── LivePricesError      the provider did not return its prices: nothing is in doubt

Each class builds its message from its facts and keeps them as fields. A hint fits every caller; the
command line turns it into an option or a command. Exit codes and HTTP statuses are not defined here
either.
"""

from __future__ import annotations

from kling_ledger.errors.downloads import (
    DownloadError,
    FolderError,
    LinkExpiredError,
)
from kling_ledger.errors.ledger import (
    AmbiguousTaskError,
    ApprovalClosedError,
    ClockError,
    ConflictError,
    DatabaseError,
    ForeignDatabaseError,
    KeyUsedError,
    LedgerError,
    LedgerMovedError,
    NewerSchemaError,
    NoLedgerError,
    NotEmptyError,
    NotFoundError,
    OlderSchemaError,
    OutcomeUnknownError,
    PeriodError,
    PeriodOrderError,
    PlanUndoneError,
    StateError,
    TaskNotWrittenError,
    TwoPeopleError,
    WalletKeptError,
)
from kling_ledger.errors.providers import (
    CallbackError,
    JobInDoubtError,
    JobRefusedError,
    LivePricesError,
    NoAnswerError,
    PollError,
    ProviderError,
    QuestionError,
    SignatureError,
)
from kling_ledger.errors.quotes import (
    InputChangedError,
    PriceChangedError,
    QuoteExpiredError,
)
from kling_ledger.errors.refusals import (
    ApprovalDeniedError,
    ApprovalNeededError,
    ApprovalsWaitError,
    BudgetError,
    CeilingError,
    InsufficientCreditsError,
    RefusedError,
    TotalError,
    UnknownWorthError,
)
from kling_ledger.errors.settings import (
    AccountError,
    BillQuestionError,
    ConfigError,
    NoKeyError,
    OtherAccountError,
    OtherAddressError,
    PortError,
)
from kling_ledger.errors.tokens import (
    LabelNotAllowedError,
    ModelNotAllowedError,
    ProjectNotAllowedError,
    RunNeededError,
    TokenError,
)
from kling_pricing.errors import KlingError

__all__ = [
    "AccountError",
    "AmbiguousTaskError",
    "ApprovalClosedError",
    "ApprovalDeniedError",
    "ApprovalNeededError",
    "ApprovalsWaitError",
    "BillQuestionError",
    "BudgetError",
    "CallbackError",
    "CeilingError",
    "ClockError",
    "ConfigError",
    "ConflictError",
    "DatabaseError",
    "DownloadError",
    "FolderError",
    "ForeignDatabaseError",
    "InputChangedError",
    "InsufficientCreditsError",
    "JobInDoubtError",
    "JobRefusedError",
    "KeyUsedError",
    "KlingError",
    "LabelNotAllowedError",
    "LedgerError",
    "LedgerMovedError",
    "LinkExpiredError",
    "LivePricesError",
    "ModelNotAllowedError",
    "NewerSchemaError",
    "NoAnswerError",
    "NoKeyError",
    "NoLedgerError",
    "NotEmptyError",
    "NotFoundError",
    "OlderSchemaError",
    "OtherAccountError",
    "OtherAddressError",
    "OutcomeUnknownError",
    "PeriodError",
    "PeriodOrderError",
    "PlanUndoneError",
    "PollError",
    "PortError",
    "PriceChangedError",
    "ProjectNotAllowedError",
    "ProviderError",
    "QuestionError",
    "QuoteExpiredError",
    "RefusedError",
    "RunNeededError",
    "SignatureError",
    "StateError",
    "TaskNotWrittenError",
    "TokenError",
    "TotalError",
    "TwoPeopleError",
    "UnknownWorthError",
    "WalletKeptError",
]
