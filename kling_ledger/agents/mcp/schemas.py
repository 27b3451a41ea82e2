"""Schemas: the fields of each tool's answer, on which clients can rely.

Any answer may be an `error` instead, so no field is guaranteed in every answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Schema = dict[str, Any]


def _amount(said: str) -> Schema:
    return {"type": ["string", "null"], "description": f"{said}; a decimal, as text"}


def _text(said: str) -> Schema:
    return {"type": ["string", "null"], "description": said}


def _flag(said: str) -> Schema:
    return {"type": ["boolean", "null"], "description": said}


def _list(said: str, of: Schema | None = None) -> Schema:
    return {"type": "array", "items": of or {"type": "object"}, "description": said}


_ERROR: Final[Schema] = {
    "type": "object",
    "description": "The error, if the call failed.",
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "hint": _text("what a person can do about it"),
        "command": _text("the command for a person to run"),
        "retryable": {"type": "boolean"},
        "would_fit": {"type": "object"},
    },
    "required": ["code", "message", "hint", "retryable"],
}


def _answer(**properties: Schema) -> Schema:
    return {"type": "object", "properties": {**properties, "error": _ERROR}}


_OFFER: Final[Schema] = {
    "type": "object",
    "properties": {
        "provider": {"type": "string"},
        "model": {"type": "string"},
        "amount": _amount("the price"),
        "unit": {"type": "string"},
        "usd": _amount("the same in US dollars"),
        "evidence": _text("how the price is known"),
        "checked": _text("the day on which the price was checked"),
        "can_run": _flag("whether `run` can submit to it"),
    },
}
_JOB: Final = _answer(
    id=_text("the reservation, for `status`"),
    state=_text("reserved, submitting, submitted, in_doubt, committed, rolled_back or expired"),
    is_over=_flag("whether the job is settled"),
    provider=_text("who makes it"),
    model=_text("the model"),
    task_id=_text("the provider's task id"),
    amount=_amount("the amount reserved for it"),
    reserved=_amount("the amount still reserved"),
    committed=_amount("the amount charged"),
    unit=_text("the unit of the amounts"),
    videos=_list("the addresses of the clips", {"type": "string"}),
    problem=_text("what is wrong with it"),
)

OUTPUTS: Final[Mapping[str, Schema]] = {
    "quote": _answer(
        provider=_text("who makes it"),
        model=_text("the model"),
        amount=_amount("the highest price"),
        hold=_amount("the amount that would be reserved"),
        unit=_text("the unit of the amounts"),
        usd=_amount("the price in US dollars"),
        evidence=_text("how the price is known"),
        lines=_list("the parts of the price"),
        warnings=_list("notes on the price", {"type": "string"}),
        assumptions=_list("what the figures are based on", {"type": "string"}),
    ),
    "compare": _answer(
        offers=_list("cheapest first", _OFFER),
        unable=_list("providers that cannot make it, and why"),
    ),
    "afford": _answer(options=_list("what the sum buys at each provider")),
    "check": _answer(
        admitted=_flag("whether `run` would be admitted now"),
        needs_approval=_flag("whether a person would need to approve it"),
        quoted=_amount("the price by the book"),
        held=_amount("the amount that would be reserved"),
        unit=_text("the unit of the amounts"),
        refusal={"type": ["object", "null"], "description": "what blocks it"},
        would_fit={"type": "object", "description": "what would be admitted instead"},
    ),
    "run": _JOB,
    "status": _JOB,
    "spend": _answer(
        rows=_list("one for each group and unit"),
        totals=_list("one for each unit"),
        notes=_list("how to read them", {"type": "string"}),
    ),
}
"""The output schema of each tool by its name."""
