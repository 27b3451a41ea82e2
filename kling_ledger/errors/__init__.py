"""The errors of the ledger and of the providers, under the one root `KlingError`.

KlingError (kling_pricing.errors)
├── PricingError             see kling_pricing.errors
├── ConfigError              a setting that cannot be used, such as a key with a line break
│   ├── NoKeyError           no API key was given
│   ├── PortError            a port that cannot be listened on
│   ├── OtherAddressError    a job is asked for where it was not submitted
│   ├── OtherAccountError    a job is asked for with the key of another account
│   ├── AccountError         an API key and a named account do not belong together
│   └── BillQuestionError    a bill that can be read in more than one way
├── InputChangedError        a saved quote is of another request than the one that is to run
├── SignatureError           a callback that its sender did not sign, or not lately
├── DownloadError            a clip could not be fetched; what came of it is kept
│   ├── LinkExpiredError     its link leads nowhere any more
│   └── FolderError          the folder cannot be written, or is full
├── LedgerError
│   ├── DatabaseError        the database cannot be opened, read or written
│   │   ├── OutcomeUnknownError   it was lost while it wrote: nobody knows whether it did
│   │   ├── NoLedgerError    there is none yet
│   │   ├── NotEmptyError    something is there already, where a copy was to go
│   │   ├── ForeignDatabaseError  it is a database of another program
│   │   ├── OlderSchemaError it has to be upgraded first
│   │   ├── NewerSchemaError it was written by a later version of this program
│   │   └── TaskNotWrittenError   it did not take down which task a job is
│   ├── NotFoundError        no wallet, budget or reservation is called that
│   ├── ConflictError        the same name or key with other content
│   ├── WalletKeptError      a wallet that was used is kept, under its name
│   ├── LedgerMovedError     a reservation moved on between comparing and correcting
│   ├── PlanUndoneError      a correction plan was undone before
│   ├── AmbiguousTaskError   jobs of several accounts have a task of that name
│   ├── StateError           a reservation's state does not allow the change
│   │   └── KeyUsedError     a key stands for a reservation that cannot be sent any more
│   ├── ApprovalClosedError  an approval was decided before, or has expired
│   ├── TokenError           no token that is in force has this secret
│   ├── PeriodError          a month cannot be closed, or is closed
│   │   ├── PeriodOrderError an earlier month has to be sealed first
│   │   └── TwoPeopleError   who prepared a month may not approve it too
│   └── RefusedError         admission refused: nothing was changed, nothing was sent
│       ├── InsufficientCreditsError   the wallet does not hold enough
│       ├── BudgetError                a budget has less left than the job needs
│       ├── TotalError           a batch costs more than it may in all
│       ├── UnknownWorthError    a budget counts in another unit and no rate is known
│       ├── CeilingError               the job costs more than a single job may
│       ├── ModelNotAllowedError       a token is not for this model
│       ├── ProjectNotAllowedError     a token is not for this project
│       ├── LabelNotAllowedError       a caller sets a label that is the token's
│       ├── RunNeededError       a token has a cap by run, and no run was named
│       ├── ApprovalNeededError  a person has to approve the job first
│       ├── ApprovalDeniedError  a person was asked and said no
│       ├── ApprovalsWaitError   too many jobs of one asker wait for a person
│       ├── PriceChangedError    it costs more than its saved quote says
│       └── QuoteExpiredError    its saved quote may not be relied on any more
└── ProviderError
    ├── JobRefusedError      the provider did not take the job, for certain
    ├── JobInDoubtError      nobody knows whether the provider took the job
    ├── QuestionError        a question that moves no money got no answer
    │   ├── PollError        the provider did not say how the job stands
    │   └── NoAnswerError    the provider did not tell a balance or an estimate
    ├── CallbackError        what was posted to us is no callback of the provider
    └── LivePricesError      the provider did not tell its prices: nothing is in doubt

Each class builds its sentence from its facts and keeps them as fields. A hint says what may help in
words that fit every caller: which option or command that is, the command line says itself. Exit
codes and HTTP statuses are not known here either.
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
