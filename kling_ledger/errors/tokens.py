"""Tokens: who may spend, and what a caller may choose. Nothing was changed and nothing was sent."""

from __future__ import annotations

from collections.abc import Sequence

from kling_ledger.errors.ledger import LedgerError
from kling_ledger.errors.refusals import RefusedError


class TokenError(LedgerError):
    """No valid token has this secret; whether one ever had it is not disclosed."""

    code = "token"

    def __init__(self) -> None:
        super().__init__("no such token", hint="ask the operator of this gateway for one")


class ModelNotAllowedError(RefusedError):
    """A token does not allow this model; `allowed` are its models, as written."""

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
    """A token does not allow this project, only one project or those below a folder."""

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
    """A caller cannot change a label that the token fixes; `own` is its value."""

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
    """A token has a cap per run, and no run was named."""

    code = "run_needed"

    def __init__(self, token: str) -> None:
        super().__init__(
            f"token {token} has a cap per run, but this job has no run",
            hint="send the run's name in the header X-Kling-Run, the same for all of its jobs",
        )
        self.token = token
