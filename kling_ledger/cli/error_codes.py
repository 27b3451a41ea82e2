"""Error codes: what each means, what to do about it, and how programs are told.

The meaning is the first sentence of the class; exit code and HTTP status are where the command line
and the gateway look them up themselves. Only the next step is written here.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kling_ledger import errors
from kling_ledger.cli import EXIT_OURS, EXIT_USAGE, exit_code_of
from kling_pricing import errors as pricing_errors
from kling_pricing.errors import KlingError

NEXT_STEPS: Final[Mapping[str, str]] = {
    # prices
    "error": "Report it: every error should be of a kind that says what to do.",
    "pricing": "Read the message: it names what is wrong, what was given and what is allowed.",
    "amount": 'Write an amount with its unit: "10 USD", 10usd or $10; six decimals at most.',
    "book": "Mend the file at the key that is named. `kling-ledger prices schema` helps an editor.",
    "clip": "Give the option that is missing, or one of the values that are allowed.",
    "request": "Mend the fields that are named: the provider would refuse the body as it is.",
    "no_price": "`kling-ledger prices list` shows what has a price. Add one with --book FILE, or"
    " pull the provider's own: `kling-ledger prices pull`.",
    # settings
    "config": "Mend the setting that is named. `kling-ledger config` shows where each comes from.",
    "no_api_key": "Set the variable that is named, such as RUNAPI_API_KEY.",
    "port": "Choose another --port, or --port 0 for any that is free.",
    "other_address": "Ask where the job was submitted: give the --base-url that is named.",
    "account": "Use the account's own key; for its new key: `kling-ledger account adopt`.",
    "other_account": "Use the key of the job's account, or `kling-ledger account adopt` it.",
    "bill_question": "Say how to read the bill with the option that is named; keep the answer with"
    " --save-profile.",
    "input_changed": "Run what was quoted, or make a new quote with `kling-ledger quote --save`.",
    # the ledger
    "ledger": "Read the message: it names what the ledger does not take.",
    "database": "`kling-ledger doctor` looks whether the database is there and can be written. If"
    " another process has it, try again.",
    "outcome_unknown": "Make the same call again with the same --key: it is done once. Without a"
    " key, look first whether it was done.",
    "no_ledger": "Make one with `kling-ledger wallet create NAME`, or name another with --db.",
    "not_empty": "Name another place, or move away what is there.",
    "foreign_database": "Name the ledger's own database with --db or KLING_LEDGER_DB.",
    "older_schema": "Back it up, then `kling-ledger db upgrade`.",
    "newer_schema": "Use the version of kling-ledger that wrote it, or a later one.",
    "task_not_written": "Once the database is back, `kling-ledger resume`: it reads the file that"
    " is named. Without a file: `kling-ledger reservation submitted ID TASK`.",
    "clock": "Set this machine's clock right. If it is right, say so:"
    " KLING_LEDGER_TRUST_CLOCK=yes.",
    "not_found": "List what there is: `wallet list`, `budget list`, `reservation list`.",
    "conflict": "Use the stored value, or another name or key.",
    "ambiguous_task": "Name the reservation, or the --account.",
    "ledger_moved": "Compare again: `kling-ledger reconcile` makes a new plan.",
    "plan_undone": "Compare again: an undone plan is not applied twice.",
    "state": "`kling-ledger reservation show ID` says where the job stands.",
    "key_used": "Use another key, once you know that the first job came to nothing.",
    "approval_closed": "Ask for the job again: that asks a person anew.",
    "period": "`kling-ledger close --list` shows which months are closed.",
    "period_order": "Seal the earlier month first: `kling-ledger close MONTH --hard`.",
    "two_people": "Another person seals the month: set KLING_LEDGER_ACTOR to their name.",
    "token": "Ask whoever runs the gateway for a token: `kling-ledger token create`.",
    # refusals
    "refused": "Nothing was sent. The message says what would fit.",
    "insufficient_credits": 'Fund the wallet: `kling-ledger wallet fund NAME "10 USD"`, or ask for'
    " less.",
    "budget": "Ask for what fits, wait until the window ends, or `kling-ledger budget raise`.",
    "ceiling": "Ask for fewer seconds, a lower resolution or no sound, or raise --max-cost.",
    "total": "Run fewer rows, or raise --max-total.",
    "unknown_worth": "Reserve from a quote, which carries its worth in USD, or limit the provider's"
    " own unit.",
    "approval_needed": "A person grants it with `kling-ledger approval grant ID`; then ask for the"
    " same job again.",
    "approval_denied": "Ask for something cheaper, or talk to the person who said no.",
    "approvals_wait": "Decide some first: `kling-ledger approval list`.",
    "price_changed": "Make a new quote with `kling-ledger quote --save`.",
    "quote_expired": "Make a new quote with `kling-ledger quote --save`.",
    "model_not_allowed": "Ask for a model that the token is for, or for another token.",
    "project_not_allowed": "Name a project that the token is for, or none.",
    "label_not_allowed": "Leave the label out, or use another name.",
    "run_needed": "Name the run in the header X-Kling-Run, the same for all of its jobs.",
    # providers
    "provider": "Read the message: it has the provider's own words.",
    "job_refused": "Nothing was charged. Mend what the provider says; after 401 look at the API"
    " key, after 429 wait. Exit code 10 where the provider refused the key or was not reached.",
    "job_in_doubt": "The credits stay reserved. `kling-ledger resume` asks the provider.",
    "question": "Ask again later: no money moved.",
    "poll": "`kling-ledger resume` asks for the job again.",
    "no_answer": "Ask again later, or go by the price book with --no-estimate.",
    "callback": "Nothing was changed. Look whether the address is the provider's own callback.",
    "live_prices": "Try again later; bundled prices need no network.",
    "path": "Write the path as the provider documents it, without dots or encoded slashes.",
    "foreign": "Open the gateway's page by its own address, or name yours with --allow-host.",
    "signature": "Give the secret that the sender signs with: --webhook-secret.",
    # clips
    "download": "Run the same command again: what was paid for is not paid twice.",
    "link_expired": "Look for the clip in your account at the provider, or make it again.",
    "folder": "Make room, or name another folder with --out; then run it again.",
    # said by the command line itself
    "usage": "`--help` after any command shows how it is written.",
    "os": "The system refused: most often a full disk, or a folder that cannot be written.",
}
"""What to do about each error, by its code."""

_OURSELVES: Final[Mapping[str, tuple[str, int]]] = {
    "usage": ("A line that the command line cannot read.", EXIT_USAGE),
    "os": ("Something that the operating system refused.", EXIT_OURS),
}
"""Codes that no class has, with their meaning and their exit code."""

_IT_DEPENDS: Final = (
    errors.DatabaseError,
    errors.DownloadError,
    errors.JobRefusedError,
    errors.QuestionError,
)


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """An error as it is explained. `retryable` is None where each error of the kind says it itself.

    `http_status` is what the gateway answers with, None for what the command line alone says.
    """

    code: str
    name: str | None
    meaning: str
    next_step: str
    exit_code: int
    http_status: int | None
    retryable: bool | None


def error_codes() -> Sequence[ErrorCode]:
    """Return every stable code: of prices, settings, the ledger, refusals, providers, clips."""
    by_code = {kind.code: kind for kind in kinds()}
    return [
        _of_kind(by_code[code]) if code in by_code else _of_ourselves(code) for code in NEXT_STEPS
    ]


def kinds() -> Sequence[type[KlingError]]:
    """Return every class of error that callers can be told of."""
    from kling_ledger.gateway import guard, paths

    found = {
        one.code: one
        for room in (pricing_errors, guard, paths, errors)
        for _, one in inspect.getmembers(room, inspect.isclass)
        if issubclass(one, KlingError) and not one.__name__.startswith("_")
    }
    return list(found.values())


def _of_kind(kind: type[KlingError]) -> ErrorCode:
    from kling_ledger.gateway.refusing import status_of

    return ErrorCode(
        code=kind.code,
        name=kind.__name__,
        meaning=_first_sentence(inspect.getdoc(kind) or ""),
        next_step=NEXT_STEPS[kind.code],
        exit_code=exit_code_of(kind),
        http_status=status_of(kind),
        retryable=None if issubclass(kind, _IT_DEPENDS) else kind.retryable,
    )


def _of_ourselves(code: str) -> ErrorCode:
    meaning, exit_code = _OURSELVES[code]
    return ErrorCode(code, None, meaning, NEXT_STEPS[code], exit_code, None, retryable=False)


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.split("\n\n", maxsplit=1)[0].split())
    return f"{paragraph.split('. ')[0].rstrip('.')}."
