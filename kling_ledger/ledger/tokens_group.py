"""The tokens of a ledger: `ledger.tokens`. Each method is one transaction at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kling_ledger.errors import TokenError
from kling_ledger.ledger import ids, limits, notices, runs, token_bounds, tokens
from kling_ledger.ledger.access import Access
from kling_ledger.ledger.asking import Asked
from kling_ledger.ledger.limits import Setting
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
        """Make a token; return it and its secret, which is told here and never again.

        What it allows is as `Token` says. Raises ConfigError for what no token can have and for a
        name that is in force, AmountError, and NotFoundError for an unknown wallet.
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
        """Return the token of a secret, if it is in force now.

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
        """Let a token open nothing from now on, at any gateway; again, it changes nothing.

        Who and when is kept, why is told in the log. Raises NotFoundError if there is none.
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
        """Return a job as a token lets it be asked for: all that bounds it, in one step.

        Wallet, project, labels and ceiling are the token's, as far as the caller may not choose
        them. The cap of its run comes with the job: the reservation counts in it, and sets it for
        the first job of a run. Raises what `check_model`, `project_of` and `job_labels` raise.
        """
        self.check_model(token, asked.job.provider or "", asked.job.model)
        ceilings = [one for one in (asked.ceiling, token.ceiling) if one is not None]
        value = runs.label_value(token, run)
        return replace(
            asked,
            wallet=token.wallet,
            project=self.project_of(token, project),
            labels=token_bounds.labels_of(token, labels or {}, value),
            ceiling=min(ceilings, default=None),
            cap=asked.cap if value is None else runs.cap(token, value),
        )

    def check_model(self, token: Token, provider: str, model: str | None) -> None:
        """Refuse a model that a token is not for; raises ModelNotAllowedError."""
        token_bounds.check_model(token, provider, model)

    def project_of(self, token: Token, asked: str | None) -> str | None:
        """Return the project of a token's job; raises ProjectNotAllowedError for one outside."""
        return token_bounds.project_of(token, asked)

    def job_labels(
        self, token: Token, run: str | None, *, asked: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the labels of a token's job; the cap of its run is there when this returns.

        They are what the caller `asked` for, the token's own, `token=NAME` and `run=NAME/RUN`. A
        run that is known costs nothing; one that is new writes its budget. Where `rest_runs` may
        remove that before the job is reserved, `bound` is exact: it brings the cap with the job.

        Raises RunNeededError where the token has a cap by run and none is named, ConfigError for
        what cannot name one or is no label, and LabelNotAllowedError.
        """
        value = runs.label_value(token, run)
        labels = token_bounds.labels_of(token, asked or {}, value)
        cap = None if value is None else runs.cap(token, value)
        if cap is not None:
            self._set(cap)
        return labels

    def rest_runs(self, before: datetime) -> list[str]:
        """Remove the caps of runs that have no open job and none since an instant; return them.

        A run that comes back gets its cap again, which counts what it has spent before. A cap that
        a person has changed or raised stays.
        """
        before_us = ids.to_us(before)
        with self._access.read() as transaction:
            if not runs.rested(transaction, before_us):
                return []
        stamp = self._access.stamp("its run has rested")
        return self._access.write(
            lambda transaction: runs.rest(transaction, before_us, stamp=stamp)
        )

    def _set(self, cap: Setting) -> None:
        rules = self._access.rules
        if rules.kept is not None and rules.kept.has(cap.name, cap.scope):
            return
        stamp = self._access.stamp()
        self._access.write(
            lambda transaction: limits.define_missing(
                transaction, rules.read(transaction), [cap], stamp=stamp
            )
        )
