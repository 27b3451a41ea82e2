"""Token bounds: what a caller may choose under a token - its model, its project, its labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kling_ledger.errors import (
    ConfigError,
    LabelNotAllowedError,
    ModelNotAllowedError,
    ProjectNotAllowedError,
)
from kling_ledger.ledger import labels as label_words
from kling_ledger.ledger import scopes
from kling_ledger.ledger.tokens import OWN_LABELS, Token

MOST_LABELS: Final = 20
"""The most labels that a caller may add: each is a row besides the job's."""


def check_model(token: Token, provider: str, model: str | None) -> None:
    """Refuse a model that a token does not allow. Raises ModelNotAllowedError.

    A token for certain models also refuses a job that names none.
    """
    if not token.models:
        return
    named = model if model and model.strip() else None
    if named is None or not any(_is_meant(entry, provider, named) for entry in token.models):
        raise ModelNotAllowedError(token.name, provider=provider, model=model, allowed=token.models)


def project_of(token: Token, asked: str | None) -> str | None:
    """Return the project of a token's job: the caller's choice if allowed, or the token's own.

    Raises ProjectNotAllowedError for one outside the token's.
    """
    allowed = token.project
    if allowed is None:
        return asked
    if asked is None:
        return allowed.removesuffix("/")
    if not (scopes.is_within(asked, allowed) and scopes.is_project(asked)):
        raise ProjectNotAllowedError(token.name, asked=asked, allowed=allowed)
    return asked


def labels_of(token: Token, asked: Mapping[str, str], run: str | None) -> dict[str, str]:
    """Return the labels of a token's job: its own, its name, the run, and the caller's.

    `run` is the value of that label. Raises LabelNotAllowedError for a label that the caller may
    not set, and ConfigError for an invalid label or too many of them.
    """
    if len(asked) > MOST_LABELS:
        raise ConfigError(
            f"{len(asked)} labels on one job", hint=f"a caller adds at most {MOST_LABELS}"
        )
    label_words.check(asked)
    for name, value in asked.items():
        if name in OWN_LABELS or value != token.labels.get(name, value):
            raise LabelNotAllowedError(token.name, name=name, own=token.labels.get(name))
    ran = {} if run is None else {"run": run}
    return {**asked, **token.labels, "token": token.name, **ran}


def _is_meant(entry: str, provider: str, model: str) -> bool:
    """Whether an entry matches a model; one with a colon names the provider too."""
    name = f"{provider}:{model}" if ":" in entry else model
    return name.startswith(entry[:-1]) if entry.endswith("*") else name == entry
