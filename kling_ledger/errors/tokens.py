"""Tokens: who may spend, and what a caller may choose. Nothing was changed and nothing was sent."""

from __future__ import annotations

from collections.abc import Sequence

from kling_ledger.errors.ledger import LedgerError
from kling_ledger.errors.refusals import RefusedError


class TokenError(LedgerError):
    """No token that is in force has this secret: whether one ever had it is not said."""

    code = "token"

    def __init__(self) -> None:
        super().__init__("no such token", hint="ask the operator of this gateway for one")


class ModelNotAllowedError(RefusedError):
    """A token is for some models, and this is none of them; `allowed` are those, as written."""

    code = "model_not_allowed"

    def __init__(
        self, token: str, *, provider: str, model: str | None, allowed: Sequence[str]
    ) -> None:
        asked = f"{model} at {provider}" if model and model.strip() else "a job without a model"
        super().__init__(
            f"token {token} is not for {asked}; it is for {', '.join(allowed)}",
            hint="use one of those, or another token",
        )
        self.token = token
        self.provider = provider
        self.model = model
        self.allowed = tuple(allowed)


class ProjectNotAllowedError(RefusedError):
    """A token is for one project, or for what is below a folder, and this is none of it."""

    code = "project_not_allowed"

    def __init__(self, token: str, *, asked: str, allowed: str) -> None:
        where = f"projects below {allowed}" if allowed.endswith("/") else allowed
        super().__init__(
            f"token {token} is for {where}, not for project {asked!r}",
            hint="use a project there, or none",
        )
        self.token = token
        self.asked = asked
        self.allowed = allowed


class LabelNotAllowedError(RefusedError):
    """A caller may add labels, and not change what a token says; `own` is what it says."""

    code = "label_not_allowed"

    def __init__(self, token: str, *, name: str, own: str | None) -> None:
        said = f"is {own}" if own is not None else "is set by the ledger"
        super().__init__(
            f"label {name} of token {token} {said}: a caller cannot set it",
            hint="leave it out, or use another name",
        )
        self.token = token
        self.name = name
        self.own = own


class RunNeededError(RefusedError):
    """A token has a cap by run, and no run was named that could be counted."""

    code = "run_needed"

    def __init__(self, token: str) -> None:
        super().__init__(
            f"token {token} has a cap per run, but this job has no run",
            hint="send the run's name in the header X-Kling-Run, the same for all of its jobs",
        )
        self.token = token
