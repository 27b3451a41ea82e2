"""Error codes: what each means, what to do about it, and its exit code and HTTP status.

The meaning is the first sentence of the class; exit code and HTTP status come from the tables of
the command line and the gateway. Only the next step is written here.
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
    "error": "Please report it: every error should say what to do.",
    "pricing": "Read the message: it names the problem, the given value and the allowed ones.",
    "amount": 'Write an amount with its unit: "10 USD", 10usd or $10; at most six decimals.',
    "book": "Fix the named key in the file. `kling-ledger prices schema` helps your editor check "
    "it.",
    "clip": "Give the missing option, or one of the allowed values.",
    "request": "Fix the named fields: the provider would refuse the body.",
    "no_price": "`kling-ledger prices list` shows what has a price. Add one with --book FILE, or"
    " pull the provider's own: `kling-ledger prices pull`.",
    # settings
    "config": "Fix the named setting. `kling-ledger config` shows where each comes from.",
    "no_api_key": "Set the named environment variable, such as RUNAPI_API_KEY.",
    "port": "Choose another --port, or --port 0 for any that is free.",
    "other_address": "Use the address where the job was submitted: give the named --base-url.",
    "account": "Use the account's own key; for its new key: `kling-ledger account adopt`.",
    "other_account": "Use the key of the job's account, or `kling-ledger account adopt` it.",
    "bill_question": "Answer the question with the named option; --save-profile keeps the answer.",
    "input_changed": "Run what was quoted, or make a new quote with `kling-ledger quote --save`.",
    # the ledger
    "ledger": "Read the message: it names what the ledger does not accept.",
    "database": "`kling-ledger doctor` checks whether the database is reachable and writable. If "
    "another process holds it, try again.",
    "outcome_unknown": "Repeat the same call with the same --key: it takes effect once. Without a "
    "key, first check whether it was done.",
    "no_ledger": "Create one with `kling-ledger wallet create NAME`, or choose another database "
    "with --db.",
    "not_empty": "Choose another path, or move the existing file away.",
    "foreign_database": "Name the ledger's own database with --db or KLING_LEDGER_DB.",
    "older_schema": "Back it up, then `kling-ledger db upgrade`.",
    "newer_schema": "Use the version of kling-ledger that wrote it, or a newer one.",
    "task_not_written": "Once the database is back, run `kling-ledger resume`: it reads the named "
    "file. Without a file: `kling-ledger reservation submitted ID TASK`.",
    "clock": "Correct this machine's clock. If it is right, set KLING_LEDGER_TRUST_CLOCK=yes.",
    "not_found": "List what exists: `wallet list`, `budget list`, `reservation list`.",
    "conflict": "Use the stored value, or another name or key.",
    "ambiguous_task": "Give the reservation id, or the --account.",
    "wallet_kept": "Put new credits into a new wallet, and let this one run out: one with nothing"
    " left admits nothing.",
    "ledger_moved": "Compare again: `kling-ledger reconcile` makes a new plan.",
    "plan_undone": "Compare again: an undone plan is not applied twice.",
    "state": "`kling-ledger reservation show ID` shows the job's state.",
    "key_used": "Use another key, once you know that the first job made nothing.",
    "approval_closed": "Request the job again: that creates a new approval.",
    "period": "`kling-ledger close --list` shows which months are closed.",
    "period_order": "Seal the earlier month first: `kling-ledger close MONTH --hard`.",
    "two_people": "Another person seals the month: set KLING_LEDGER_ACTOR to their name.",
    "token": "Ask whoever runs the gateway for a token: `kling-ledger token create`.",
    # refusals
    "refused": "Nothing was sent. The message says what would fit.",
    "insufficient_credits": 'Fund the wallet: `kling-ledger wallet fund NAME "10 USD"`, or request'
    " less.",
    "budget": "Request what fits, wait until the window ends, or use `kling-ledger budget raise`.",
    "ceiling": "Request fewer seconds, a lower resolution or no sound, or raise --max-cost.",
    "total": "Run fewer rows, or raise --max-total.",
    "unknown_worth": "Reserve from a quote, which has a value in USD, or set the limit in the "
    "provider's own unit.",
    "approval_needed": "A person grants it with `kling-ledger approval grant ID`; then request the "
    "same job again.",
    "approval_denied": "Request something cheaper, or talk to the person who denied it.",
    "approvals_wait": "Decide some first: `kling-ledger approval list`.",
    "price_changed": "Make a new quote with `kling-ledger quote --save`.",
    "quote_expired": "Make a new quote with `kling-ledger quote --save`.",
    "model_not_allowed": "Use a model that the token allows, or another token.",
    "project_not_allowed": "Use a project that the token allows, or none.",
    "label_not_allowed": "Leave the label out, or use another name.",
    "run_needed": "Send the run's name in the header X-Kling-Run, the same for all of its jobs.",
    # providers
    "provider": "Read the message: it quotes the provider.",
    "job_refused": "Nothing was charged. Fix what the provider reports: after 401 check the API "
    "key, after 429 wait. Exit code 10 if the provider refused the key or could not "
    "be reached.",
    "job_in_doubt": "The credits stay reserved. `kling-ledger resume` polls the provider.",
    "question": "Try again later: no money moved.",
    "poll": "`kling-ledger resume` polls the job again.",
    "no_answer": "Try again later, or use the price book with --no-estimate.",
    "callback": "Nothing was changed. Check that this address is used only as the provider's "
    "callback.",
    "live_prices": "Try again later; bundled prices need no network.",
    "path": "Write the path as the provider documents it, without dots or encoded slashes.",
    "foreign": "Open the gateway's page at its own address, or allow yours with --allow-host.",
    "signature": "Give the sender's signing secret: --webhook-secret.",
    # clips
    "download": "Run the same command again: nothing is paid twice.",
    "link_expired": "Look for the clip in your account at the provider, or run the job again.",
    "folder": "Free some space, or choose another folder with --out; then run it again.",
    # from the command line itself
    "usage": "Add `--help` to any command to see its usage.",
    "os": "The system refused: usually a full disk, or a folder without write permission.",
}
"""What to do about each error, by its code."""

_OURSELVES: Final[Mapping[str, tuple[str, int]]] = {
    "usage": ("A command with wrong options or arguments.", EXIT_USAGE),
    "os": ("The operating system refused something.", EXIT_OURS),
}
"""Codes without a class, with their meaning and exit code."""

_IT_DEPENDS: Final = (
    errors.DatabaseError,
    errors.DownloadError,
    errors.JobRefusedError,
    errors.QuestionError,
)


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """The explanation of an error code. `retryable` is None if it differs between errors of the
    code.

    `http_status` is the gateway's answer, None for errors of the command line only.
    """

    code: str
    name: str | None
    meaning: str
    next_step: str
    exit_code: int
    http_status: int | None
    retryable: bool | None


def error_codes() -> Sequence[ErrorCode]:
    """Return every stable code: prices, settings, the ledger, refusals, providers, clips."""
    by_code = {kind.code: kind for kind in kinds()}
    return [
        _of_kind(by_code[code]) if code in by_code else _of_ourselves(code) for code in NEXT_STEPS
    ]


def kinds() -> Sequence[type[KlingError]]:
    """Return every class of error that callers can get."""
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
