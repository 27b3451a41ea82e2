"""Turns what pydantic finds in a body into Problems: the JSON path, what it got, what is allowed.

A field's `description` is the sentence that says what is allowed; it serves the reader of the
model and the reader of the error alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from kling_pricing.errors import MISSING, Problem, RequestError


class RequestBody(BaseModel):
    """A table of a body as a provider documents it: no other key, no other type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Documented = TypeVar("Documented", bound=RequestBody)


def validate(
    documented: type[Documented], body: dict[str, Any], further: Iterable[Problem] = ()
) -> Documented:
    """Return the body as its documented model, or raise RequestError with every problem at once.

    `further` are problems that the caller found between fields; they are reported with the rest.
    """
    problems = list(further)
    try:
        read = documented.model_validate(body)
    except ValidationError as error:
        found = [_problem(documented, entry) for entry in error.errors(include_url=False)]
        raise RequestError(found + problems) from None
    if problems:
        raise RequestError(problems)
    return read


def _problem(documented: type[RequestBody], entry: Any) -> Problem:
    location = entry["loc"]
    path = _json_path(location)
    if entry["type"] == "extra_forbidden":
        return Problem(
            path, entry["input"], f"no such field; documented: {_names(documented, location)}"
        )
    got = MISSING if entry["type"] == "missing" else entry["input"]
    return Problem(path, got, _allowed(documented, location) or entry["msg"])


def _json_path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _allowed(documented: type[RequestBody], location: tuple[int | str, ...]) -> str | None:
    """Return the description of the innermost described field on the way to a place."""
    model: type[BaseModel] | None = documented
    described = None
    for part in location:
        field = model.model_fields.get(part) if model and isinstance(part, str) else None
        if field is not None:
            described = field.description or described
            model = _inner_model(field)
    return described


def _names(documented: type[RequestBody], location: tuple[int | str, ...]) -> str:
    model: type[BaseModel] | None = documented
    for part in location[:-1]:
        if model and isinstance(part, str):
            model = _inner_model(model.model_fields[part])
    return ", ".join(model.model_fields) if model else ""


def _inner_model(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model that a field holds, directly or in a list."""
    pending = [field.annotation]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation
        pending.extend(get_args(annotation))
    return None
