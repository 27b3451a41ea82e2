"""The tokens of a ledger: `ledger.tokens`. Each method is one transaction at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kling_ledger.errors import TokenError
from kling_ledger.ledger import ids, notices, runs, token_bounds, tokens
from kling_ledger.ledger.access import Access
from kling_ledger.ledger.asking import Asked
from kling_ledger.ledger.tokens import Token, Wish
from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class Tokens:
    """Who may spend through a gateway, by name."""

    _access: Access

    def create(
        self,
        name: str,
        *,
        wallet: str,
        project: str | None = None,
        labels: Mapping[str, str] | None = None,
        models: Sequence[str] = (),
        ceiling: Money | None = None,
        run_limit: Money | None = None,
        approve_above: Money | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[Token, str]:
        """Create a token; return it and its secret, which is never returned again.

        `Token` documents its limits. Raises ConfigError for invalid limits and for a name in use,
        AmountError, and NotFoundError for an unknown wallet.
        """
        wish = Wish(
            name,
            wallet,
            project,
            labels or {},
            models,
            ceiling,
            run_limit,
            approve_above,
            expires_at,
        )
        secret, stamp = tokens.new_secret(), self._access.stamp()
        digest = tokens.digest_of(secret)
        made = self._access.write(
            lambda transaction: tokens.create(transaction, wish, digest, stamp=stamp)
        )
        return made, secret

    def of_secret(self, secret: str) -> Token:
        """Return the token of a secret, if it is valid now.

        Raises TokenError, which does not say whether it is unknown, expired or revoked: the log
        does.
        """
        with self._access.read() as transaction:
            found = tokens.of_secret(transaction, secret)
        if found is None:
            raise TokenError
        if not found.is_in_force_at(self._access.clock()):
            was = (
                "has expired" if found.revoked_at is None else f"was revoked by {found.revoked_by}"
            )
            notices.tell_token(found.name, f"was used and {was}")
            raise TokenError
        return found

    def revoke(self, name: str, *, reason: str | None = None) -> Token:
        """Revoke a token at every gateway; revoking it twice is harmless.

        Who and when is recorded; the reason goes to the log. Raises NotFoundError if there is none.
        """
        stamp = self._access.stamp(reason)
        revoked = self._access.write(
            lambda transaction: tokens.revoke(transaction, name, stamp=stamp)
        )
        why = f": {stamp.reason}" if stamp.reason else ""
        notices.tell_token(revoked.name, f"was revoked by {revoked.revoked_by}{why}")
        return revoked

    def get(self, name: str) -> Token:
        """Return a token by its name, revoked or not; NotFoundError if there is none."""
        with self._access.read() as transaction:
            return tokens.find(transaction, name)

    def all(self) -> list[Token]:
        """Return every token that was ever made, by name."""
        with self._access.read() as transaction:
            return tokens.every(transaction)

    def bound(
        self,
        token: Token,
        asked: Asked,
        *,
        project: str | None = None,
        labels: Mapping[str, str] | None = None,
        run: str | None = None,
    ) -> Asked:
        """Return a job within all limits of a token.

        The caller chooses project, labels and run within the token's limits; wallet and ceiling are
        the token's. The job has the labels `token=NAME` and `run=NAME/RUN`. The cap of its run
        comes with it: the first job of a run creates it.

        Raises ModelNotAllowedError, ProjectNotAllowedError, LabelNotAllowedError, RunNeededError,
        and ConfigError for an invalid label or run name.
        """
        token_bounds.check_model(token, asked.job.provider or "", asked.job.model)
        ceilings = [one for one in (asked.ceiling, token.ceiling) if one is not None]
        value = runs.label_value(token, run)
        return replace(
            asked,
            wallet=token.wallet,
            project=token_bounds.project_of(token, project),
            labels=token_bounds.labels_of(token, labels or {}, value),
            ceiling=min(ceilings, default=None),
            cap=asked.cap if value is None else runs.cap(token, value),
        )

    def rest_runs(self, before: datetime) -> list[str]:
        """Remove the caps of runs without an open job or any job since an instant; return them.

        A run that continues gets its cap again, which counts its earlier spending. A cap that a
        person has changed or raised stays.
        """
        before_us = ids.to_us(before)
        with self._access.read() as transaction:
            if not runs.rested(transaction, before_us):
                return []
        stamp = self._access.stamp("its run has rested")
        return self._access.write(
            lambda transaction: runs.rest(transaction, before_us, stamp=stamp)
        )
