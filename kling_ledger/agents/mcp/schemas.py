"""Schemas: what each tool answers, field by field, as its client may rely on it.

Every answer may be an `error` instead, so no field is promised in each.
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
    "description": "Why nothing came of it, where nothing did.",
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "hint": _text("what a person may do about it"),
        "command": _text("what a person runs"),
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
        "checked": _text("the day on which somebody looked at it"),
        "can_run": _flag("whether `run` can submit to it"),
    },
}
_JOB: Final = _answer(
    id=_text("the reservation, for `status`"),
    state=_text("reserved, submitting, submitted, in_doubt, committed, rolled_back or expired"),
    is_over=_flag("whether nothing changes any more"),
    provider=_text("who makes it"),
    model=_text("the model"),
    task_id=_text("what the provider calls it"),
    amount=_amount("what was set aside for it"),
    reserved=_amount("what is still set aside"),
    committed=_amount("what was charged"),
    unit=_text("the unit of the amounts"),
    videos=_list("where the clips are", {"type": "string"}),
    problem=_text("what is wrong with it"),
)

OUTPUTS: Final[Mapping[str, Schema]] = {
    "quote": _answer(
        provider=_text("who makes it"),
        model=_text("the model"),
        amount=_amount("the price at most"),
        hold=_amount("what would be set aside"),
        unit=_text("the unit of the amounts"),
        usd=_amount("the price in US dollars"),
        evidence=_text("how the price is known"),
        lines=_list("what the price is made of"),
        warnings=_list("what to know of it", {"type": "string"}),
        assumptions=_list("what it rests on", {"type": "string"}),
    ),
    "compare": _answer(
        offers=_list("cheapest first", _OFFER), unable=_list("who cannot make it, and why")
    ),
    "afford": _answer(options=_list("what each provider sells for the sum")),
    "check": _answer(
        admitted=_flag("whether `run` would be admitted now"),
        needs_approval=_flag("whether a person would have to approve it"),
        quoted=_amount("the price by the book"),
        held=_amount("what would be set aside"),
        unit=_text("the unit of the amounts"),
        refusal={"type": ["object", "null"], "description": "what stands in the way"},
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
