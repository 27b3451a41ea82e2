"""RunAPI over plain HTTP, for the gateway, which passes its answers on as received.

Scripts reach RunAPI through its own published client (`dialect.py`); `words.py` says what its
answers mean, for both.

Source: as `words.py`, and https://github.com/runapi-ai/core-sdk, checked 2026-11-20.
"""

from __future__ import annotations

from typing import Final

from kling_ledger.providers.base import Balance, Estimate
from kling_ledger.providers.http_provider import Dialect
from kling_ledger.providers.replies import (
    Answer,
    Json,
    Verdict,
    amount_of,
    error_in,
    first_id,
    inner,
    read_task_id,
    task_or_data,
    verdict_of_status,
)
from kling_ledger.providers.runapi.facts import FACTS as RUNAPI
from kling_ledger.providers.runapi.words import ID_NAMES, TASK_HEADER, VERDICTS, read_task
from kling_pricing.errors import AmountError

_CENTS: Final = 100


def _verdict(answer: Answer) -> Verdict:
    return verdict_of_status(answer, VERDICTS)


def _told(answer: Answer) -> str:
    error = error_in(inner(answer.body, "error")) or error_in(answer.body)
    return f"{answer.status} {error or 'without a message'}"


def _task_in(answer: Answer) -> Json:
    """Return the task of an answer; its id may be in a header only."""
    task = task_or_data(answer.body or {}, *ID_NAMES)
    named = read_task_id(answer.headers.get(TASK_HEADER))
    if first_id(task, *ID_NAMES) is None and named is not None:
        return {**task, "task_id": named}
    return task


def _balance(body: Json) -> Balance:
    return Balance(
        amount_of(body.get("balance_cents"), RUNAPI.unit, per_unit=_CENTS),
        spent=amount_of(body.get("spent_cents_total"), RUNAPI.unit, per_unit=_CENTS),
    )


def _estimate_body(action: str, body: Json) -> Json:
    params = {name: value for name, value in body.items() if name != "model"}
    return {"service": "kling", "action": action, "model": body.get("model"), "params": params}


def _estimate(body: Json) -> Estimate:
    quoted = inner(body, "price_quote")
    status, currency = inner(quoted, "pricing_status"), inner(quoted, "currency")
    if (status, currency) != ("available", RUNAPI.unit):
        raise AmountError("price", got=status, allowed=f"one in {RUNAPI.unit} that is available")
    cents = inner(quoted, "reservation_amount_cents")
    return Estimate(amount_of(cents, RUNAPI.unit, per_unit=_CENTS))


DIALECT: Final = Dialect(
    facts=RUNAPI,
    submit_path="/api/v1/kling/{action}",
    task_path="/api/v1/kling/{action}/{task_id}",
    verdict=_verdict,
    told=_told,
    code=lambda answer: answer.status,
    task_in=_task_in,
    task_id=lambda task: first_id(task, *ID_NAMES),
    status=lambda task, now: read_task(task, now=now),
    balance_path="/api/v1/me/balance",
    balance=_balance,
    estimate_path="/api/v1/price_quotes",
    estimate=_estimate,
    estimate_body=_estimate_body,
)
