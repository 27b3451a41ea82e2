"""Hints: what may help after an error, as options and commands.

An error's own hint is written for every caller; here it becomes the option or the command to use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from kling_ledger import errors
from kling_pricing.errors import KlingError

_NAMES: Final[Mapping[str, str]] = {
    "wallet": "create it with: kling-ledger wallet create {name} --unit USD",
    "budget": "kling-ledger budget list",
    "reservation": "kling-ledger reservation list",
    "closed period": "kling-ledger close {name}",
    "approval": "kling-ledger approval list --all",
    "token": "kling-ledger token list --all",
}
"""What to do about something that does not exist, by its kind."""


def hint_for(error: KlingError) -> str | None:
    """Return the next step after an error, None if there is none."""
    write = _HINTS.get(error.code)
    return error.hint if write is None else write(error)


def _no_such(error: Any) -> str | None:
    from kling_ledger.cli.known_words import alike
    from kling_ledger.cli.usage import did_you_mean

    near = did_you_mean(alike(error.name, error.known))
    if near:
        return near
    written = _NAMES.get(error.noun)
    return error.hint if written is None else written.format(name=error.name)


def _under_a_ceiling(error: Any) -> str:
    raised = f"the ceiling of budget {error.budget}" if error.budget else "--max-cost"
    return f"request fewer seconds, a lower resolution or no sound, or raise {raised}"


def _option_of(error: Any) -> str:
    """Return the option that answers a question about a bill, with an example value."""
    option = f"--{error.settles}"
    return option if error.settles == "itemised" else f'{option} "{error.example}"'


_HINTS: Final[Mapping[str, Callable[[Any], str | None]]] = {
    errors.NoKeyError.code: lambda error: f"set {error.variable} or give --api-key",
    errors.PortError.code: lambda _: "choose another --port, or --port 0 for any that is free",
    errors.OtherAddressError.code: lambda error: f"give --base-url {error.address}",
    errors.OtherAccountError.code: lambda error: (
        f"use that account's key, or run: kling-ledger account adopt {error.asked}"
        f" --provider {error.provider}"
        + (" --unclaimed" if error.account is None else f" --jobs-of {error.account}")
    ),
    errors.AccountError.code: lambda error: (
        "use the account's own key, or, if it has a new one:"
        f" kling-ledger account adopt {error.asked} --provider {error.provider}"
    ),
    errors.BillQuestionError.code: lambda error: f"give {_option_of(error)}",
    errors.NoLedgerError.code: lambda _: (
        "create one with: kling-ledger wallet create NAME, or choose another with --db"
    ),
    errors.ForeignDatabaseError.code: lambda _: (
        "choose another database with --db or KLING_LEDGER_DB"
    ),
    errors.OlderSchemaError.code: lambda _: "upgrade it with: kling-ledger db upgrade",
    errors.TaskNotWrittenError.code: lambda error: (
        f"kling-ledger reservation submitted {error.reservation_id} {error.task_id}"
        + (", or kling-ledger resume, which reads that file" if error.kept_in else "")
    ),
    errors.NotFoundError.code: _no_such,
    errors.PeriodOrderError.code: lambda error: f"kling-ledger close {error.earlier} --hard",
    errors.TwoPeopleError.code: lambda error: (
        f"kling-ledger close {error.period}, then another person: --hard"
        if error.prepared_by is None
        else "another person must seal it; the name comes from KLING_LEDGER_ACTOR"
    ),
    errors.InsufficientCreditsError.code: lambda error: (
        f'fund it with: kling-ledger wallet fund {error.wallet} "{error.short}"'
    ),
    errors.BudgetError.code: lambda error: (
        f"{error.hint} with:"
        f' kling-ledger budget raise {error.budget} "AMOUNT" --until WHEN --reason WHY'
    ),
    errors.CeilingError.code: _under_a_ceiling,
    errors.ApprovalNeededError.code: lambda error: (
        f"a person grants it with: {error.command}; then request the same job again"
    ),
    errors.ApprovalsWaitError.code: lambda error: f"{error.hint}: kling-ledger approval list",
    errors.ApprovalClosedError.code: lambda error: f"kling-ledger approval show {error.approval}",
    errors.TotalError.code: lambda _: "run fewer rows, or raise --max-total",
}
"""Hints by error code; every other error's own hint is used."""
