"""Tokens: who may spend from which wallet; how tokens are made, recognised and revoked.

A secret is shown once and not stored: the ledger has its SHA-256. It is 256 random bits, so nobody
can guess it, and how long a look-up takes says nothing about it.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from kling_ledger.errors import ConfigError, NotFoundError
from kling_ledger.ledger import labels as label_words
from kling_ledger.ledger import scopes, wallets
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction, overtaken, plain
from kling_ledger.ledger.ids import from_us, new_id, numbers, to_us
from kling_ledger.ledger.schema import TOKEN
from kling_pricing.errors import AmountError
from kling_pricing.money import Money

SECRET_PREFIX: Final = "klt_"  # noqa: S105 - how a secret begins, and none itself
"""How a token's secret begins, so that a person recognises one that turns up somewhere."""

OWN_LABELS: Final = ("token", "run")
"""Labels that only the ledger sets on a token's jobs."""

_SECRET_BYTES: Final = 32
_LONGEST_SECRET: Final = 200
_LONGEST_MODEL: Final = 128
_SELECT: Final = (
    f"SELECT {TOKEN.selected}, wallet.name AS wallet_name, wallet.unit"
    " FROM token JOIN wallet ON wallet.id = token.wallet_id"
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token: `wallet` pays its jobs, for `project`; they carry `labels` and the token's name.

    A `project` that ends in `/` lets the caller choose below it. `models` are names, or beginnings
    of names followed by `*`, optionally after `PROVIDER:`; empty means every model. `ceiling`
    bounds one job, `run_limit` all jobs of one run; above `approve_above` a person is asked. All
    amounts are in the wallet's `unit`.
    """

    id: str
    name: str
    wallet: str
    unit: str
    project: str | None
    labels: Mapping[str, str]
    models: tuple[str, ...]
    ceiling: Money | None
    run_limit: Money | None
    approve_above: Money | None
    actor: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None

    def is_in_force_at(self, at: datetime) -> bool:
        """Whether it is valid at an instant: not revoked, and before its expiry (exclusive)."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


@dataclass(frozen=True, slots=True)
class Wish:
    """A token to be made; its fields are those of `Token`."""

    name: str
    wallet: str
    project: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    models: Sequence[str] = ()
    ceiling: Money | None = None
    run_limit: Money | None = None
    approve_above: Money | None = None
    expires_at: datetime | None = None


def new_secret() -> str:
    """Return a new random secret."""
    chance = base64.urlsafe_b64encode(os.urandom(_SECRET_BYTES))
    return SECRET_PREFIX + chance.rstrip(b"=").decode()


def digest_of(secret: str) -> str:
    """Return what the ledger stores of a secret."""
    import hashlib

    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def create(transaction: Transaction, wish: Wish, digest: str, *, stamp: Stamp) -> Token:
    """Create a token. Raises ConfigError for invalid limits, or if its name is in use."""
    transaction.be_alone()
    wallet = wallets.find(transaction, wish.wallet)
    _check(wish, wallet.unit, stamp)
    taken = _in_force(transaction, wish.name)
    if taken is not None:
        raise ConfigError(
            f"token {wish.name} already exists, created at {taken.created_at:%Y-%m-%d %H:%M} UTC",
            hint="revoke it first, or choose another name",
        )
    token_id = new_id("tok", next(numbers(stamp.at_us, stamp.chance)))
    row = {
        "id": token_id,
        "name": wish.name,
        "digest": digest,
        "wallet_id": wallet.id,
        "project": wish.project,
        "labels": label_words.to_text(wish.labels),
        "models": " ".join(dict.fromkeys(wish.models)) or None,
        "ceiling_micro": _micro(wish.ceiling),
        "run_limit_micro": _micro(wish.run_limit),
        "approve_above_micro": _micro(wish.approve_above),
        "actor": stamp.actor,
        "created_at": stamp.at_us,
        "expires_at": None if wish.expires_at is None else to_us(wish.expires_at),
        "revoked_at": None,
        "revoked_by": None,
    }
    transaction.insert(TOKEN, [row])
    return _token(transaction.rows(f"{_SELECT} WHERE token.id = :id", id=token_id)[0])


def of_secret(transaction: Transaction, secret: str) -> Token | None:
    """Return the token of a secret, valid or not; None if no token ever had it."""
    if not secret.startswith(SECRET_PREFIX) or len(secret) > _LONGEST_SECRET:
        return None
    import hmac

    digest = digest_of(secret)
    row = transaction.row(f"{_SELECT} WHERE digest = :digest", digest=digest)
    if row is None or not hmac.compare_digest(str(row["digest"]), digest):
        return None
    return _token(row)


def find(transaction: Transaction, name: str) -> Token:
    """Return the token of a name: the one not revoked, else the last; NotFoundError if none.

    A name may be used again once its token is revoked.
    """
    rows = transaction.rows(
        f"{_SELECT} WHERE token.name = :name"
        " ORDER BY CASE WHEN revoked_at IS NULL THEN 0 ELSE 1 END, token.id DESC LIMIT 1",
        name=plain(name),
    )
    if not rows:
        names = transaction.rows("SELECT DISTINCT name FROM token ORDER BY name")
        raise NotFoundError("token", name, known=[row["name"] for row in names])
    return _token(rows[0])


def every(transaction: Transaction) -> list[Token]:
    """Return every token that was ever made, by name, oldest first."""
    return [_token(row) for row in transaction.rows(f"{_SELECT} ORDER BY token.name, token.id")]


def revoke(transaction: Transaction, name: str, *, stamp: Stamp) -> Token:
    """Revoke a token; a revoked one stays as it is."""
    transaction.be_alone()
    known = find(transaction, name)
    if known.revoked_at is not None:
        return known
    transaction.change(
        "UPDATE token SET revoked_at = :at, revoked_by = :actor WHERE id = :id"
        " AND revoked_at IS NULL",
        {"at": stamp.at_us, "actor": stamp.actor, "id": known.id},
        expect=1,
        refused=overtaken,
    )
    return find(transaction, name)


def _in_force(transaction: Transaction, name: str) -> Token | None:
    row = transaction.row(f"{_SELECT} WHERE token.name = :name AND revoked_at IS NULL", name=name)
    return None if row is None else _token(row)


def _check(wish: Wish, unit: str, stamp: Stamp) -> None:
    # Its name is also the value of a label, and every name valid here is a valid value.
    if not wallets.NAME.fullmatch(wish.name):
        raise ConfigError(
            f"invalid token name: {wish.name!r}",
            hint="use up to 64 letters, digits and . _ / - beginning with a letter or digit",
        )
    if wish.project is not None and not scopes.is_project(wish.project.removesuffix("/")):
        raise ConfigError(
            f"invalid project: {wish.project!r}",
            hint="write film/teaser, or film/ to let the caller choose a project below it",
        )
    label_words.check(wish.labels)
    for name in OWN_LABELS:
        if name in wish.labels:
            raise ConfigError(f"label {name} is set by the ledger", hint="use another name for it")
    for model in wish.models:
        _check_model(model)
    for name in ("ceiling", "run_limit", "approve_above"):
        _check_amount(name, getattr(wish, name), unit)
    if wish.expires_at is not None and to_us(wish.expires_at) <= stamp.at_us:
        raise ConfigError("the token would expire before it is created", hint="use a later time")


def _check_model(model: str) -> None:
    is_word = bool(model) and model.isprintable() and not any(map(str.isspace, model))
    if not is_word or len(model) > _LONGEST_MODEL or "*" in model[:-1]:
        raise ConfigError(
            f"invalid model: {model!r}",
            hint="write kling-3.0, kling-* or runapi:kling-3.0, with * only at the end",
        )


def _check_amount(name: str, amount: Money | None, unit: str) -> None:
    if amount is None:
        return
    if not isinstance(amount, Money):
        raise AmountError(name, got=repr(amount), allowed="Money, such as Money.parse('1 USD')")
    if amount.unit != unit:
        raise AmountError(f"unit of the {name}", got=amount.unit, allowed=unit)
    # Asking a person about everything is reasonable; a token that can buy nothing is a mistake.
    if amount.micro < 0 or (amount.micro == 0 and name != "approve_above"):
        raise AmountError(name, got=str(amount), allowed="more than 0")


def _micro(amount: Money | None) -> int | None:
    return None if amount is None else amount.micro


def _token(row: Row) -> Token:
    money: Any = partial(_money, unit=row["unit"])
    return Token(
        id=row["id"],
        name=row["name"],
        wallet=row["wallet_name"],
        unit=row["unit"],
        project=row["project"],
        labels=label_words.from_text(row["labels"]),
        models=tuple((row["models"] or "").split()),
        ceiling=money(row["ceiling_micro"]),
        run_limit=money(row["run_limit_micro"]),
        approve_above=money(row["approve_above_micro"]),
        actor=row["actor"],
        created_at=from_us(row["created_at"]),
        expires_at=_instant(row["expires_at"]),
        revoked_at=_instant(row["revoked_at"]),
        revoked_by=row["revoked_by"],
    )


def _money(micro: int | None, *, unit: str) -> Money | None:
    return None if micro is None else Money.from_micro(micro, unit)


def _instant(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)
