"""Scopes: what a budget covers, for one reservation and as an SQL condition on all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kling_ledger.errors import ConfigError
from kling_ledger.ledger import labels as label_words
from kling_pricing.money import USD

_AFTER_SLASH: Final = chr(ord("/") + 1)
"""The end (exclusive) of all names below a folder."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a budget covers: every job that matches all the fields that are set.

    A project that ends in `/` includes itself and everything below it; `label` is `name=value`.
    """

    wallet: str | None = None
    project: str | None = None
    provider: str | None = None
    model: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What a budget looks at in a reservation. `labels` is the text in the database."""

    wallet_id: str
    unit: str
    project: str | None
    provider: str | None
    model: str | None
    labels: str | None


def subject_of(row: Mapping[str, Any]) -> Subject:
    """Return what a budget looks at in a reservation's row."""
    return Subject(
        row["wallet_id"],
        row["unit"],
        row["project"],
        row["provider"],
        row["model"],
        row["labels"],
    )


def covers(scope: Scope, subject: Subject, *, wallet_id: str | None, unit: str) -> bool:
    """Whether a reservation counts in a budget of this scope; `wallet_id` is the scope's.

    A budget in US dollars counts every unit at its value, any other only its own unit.
    """
    return (
        (wallet_id is None or wallet_id == subject.wallet_id)
        and (unit in {USD, subject.unit})
        and (scope.project is None or is_within(subject.project, scope.project))
        and (scope.provider is None or scope.provider == subject.provider)
        and (scope.model is None or scope.model == subject.model)
        and (scope.label is None or label_words.within(scope.label) in (subject.labels or ""))
    )


def check_scope(scope: Scope) -> None:
    """Refuse a scope that could cover nothing: such a budget would never refuse anything."""
    if not isinstance(scope, Scope):
        raise ConfigError(f"a budget covers a Scope, got {scope!r}", hint="Scope(project='film/')")
    for field in ("project", "provider", "model"):
        word: str | None = getattr(scope, field)
        if word is not None and (not word.strip("/ ") or "\0" in word):
            raise ConfigError(f"invalid {field}: {word!r}", hint=f"omit it to cover every {field}")
    if scope.project is not None and not is_project(scope.project.removesuffix("/")):
        raise ConfigError(
            f"invalid project: {scope.project!r}",
            hint="write film/teaser, or film/ to cover all below it",
        )
    if scope.label is not None:
        label_words.read_label(scope.label)


def condition(scope: Scope, *, wallet_id: str | None, unit: str) -> tuple[str, dict[str, Any]]:
    """Write `covers` as a condition on rows of reservations."""
    parts: list[tuple[str, dict[str, Any]]] = [("1 = 1", {})]
    if wallet_id is not None:
        parts.append(("wallet_id = :wallet", {"wallet": wallet_id}))
    if unit != USD:
        parts.append(("unit = :unit", {"unit": unit}))
    if scope.project is not None:
        parts.append(within_project(scope.project))
    if scope.provider is not None:
        parts.append(("provider = :provider", {"provider": scope.provider}))
    if scope.model is not None:
        parts.append(("model = :model", {"model": scope.model}))
    if scope.label is not None:
        # LIKE ignores case on SQLite; removing the word does not, on either engine.
        within = {"label": label_words.within(scope.label)}
        parts.append(("replace(labels, :label, '') <> labels", within))
    condition = " AND ".join(part for part, _ in parts)
    return condition, {name: value for _, values in parts for name, value in values.items()}


def within_project(scope: str) -> tuple[str, dict[str, Any]]:
    """Write as a condition that a reservation is of a project, or of one below a folder."""
    if not scope.endswith("/"):
        return "project = :project", {"project": scope}
    name = scope.rstrip("/")
    # All names between the two are a range of an index; some, such as film-2, are not below film/.
    return (
        "project >= :project AND project < :beyond AND (project = :project OR project >= :below)",
        {"project": name, "below": f"{name}/", "beyond": f"{name}{_AFTER_SLASH}"},
    )


def is_within(project: str | None, scope: str) -> bool:
    """Whether a project is the one that a scope names, or below it if the scope ends in `/`."""
    if project is None:
        return False
    is_folder = scope.endswith("/")
    return project == scope or (
        is_folder and (project.startswith(scope) or project == scope.rstrip("/"))
    )


def is_project(project: str) -> bool:
    """Whether a path is a project that budgets can find: one spelling for each place."""
    parts = project.split("/")
    is_plain = all(part and part == part.strip() and part not in {".", ".."} for part in parts)
    return is_plain and "\0" not in project
