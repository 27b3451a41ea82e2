"""Accounts: whose key a job runs on at a provider.

An account is named by the user, or known by a keyed fingerprint of its API key. The key itself is
never stored, and without the ledger's own secret a fingerprint says nothing about it. One account
may have many keys: earlier ones, and those of several people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kling_ledger.errors import AccountError, ConfigError, ConflictError
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction, never
from kling_ledger.ledger.ids import from_us
from kling_ledger.ledger.schema import ACCOUNT_KEY

UNNAMED: Final = "key-"
"""How the name of an unnamed account begins: the digits of its first key follow."""

_KNOWN_OF: Final = {
    "account_key": ("fingerprint",),
    "provider_record": ("task_id",),
    "bill_entry": ("digest",),
}
"""What moves with an account, and the columns by which two such rows are the same.

Balances do not move: they are history, and the next comparison begins a new series."""

_DIGITS: Final = 12
_LONGEST: Final = 80

Fingerprint = Callable[[str], str | None]
"""Returns the fingerprint of an API key under a ledger's secret, None if the key is unknown.

The owner of the key computes it: the key itself never reaches the ledger."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account at a provider: its name, its number of known keys, and when it was first seen."""

    provider: str
    name: str
    keys: int
    since: datetime


def secret(transaction: Transaction) -> str:
    """Return the ledger's own secret, in hexadecimal digits."""
    row = transaction.row("SELECT value FROM setting WHERE name = 'account_secret'")
    return str(row["value"]) if row else ""


def find(transaction: Transaction, provider: str, fingerprint: str) -> str | None:
    """Return the account of a key; None if the key was never seen."""
    row = transaction.row(
        "SELECT account FROM account_key WHERE provider = :provider AND fingerprint = :fingerprint",
        provider=provider,
        fingerprint=fingerprint,
    )
    return None if row is None else str(row["account"])


def seen(
    transaction: Transaction, provider: str, fingerprint: str, name: str | None, *, stamp: Stamp
) -> str:
    """Return the account of a key; a key that was never seen is recorded.

    Raises AccountError if the key belongs to another account than the named one, or the name to
    another key: a person has to say that both are one account.
    """
    transaction.be_alone()
    known = find(transaction, provider, fingerprint)
    if known is not None:
        if name not in {None, known}:
            raise AccountError(provider, asked=name or "", known=known)
        return known
    if name is not None:
        _check_name(name)
        if _keys_of(transaction, provider, name):
            raise AccountError(provider, asked=name, known=None)
    account = name or f"{UNNAMED}{fingerprint[:_DIGITS]}"
    transaction.insert(ACCOUNT_KEY, [_row(provider, fingerprint, account, stamp)])
    return account


def adopt(
    transaction: Transaction,
    provider: str,
    name: str,
    fingerprint: str | None,
    *,
    jobs_of: str | None,
    stamp: Stamp,
) -> int:
    """Assign a key to an account, and move another account's jobs to it; return how many moved.

    `jobs_of` names the other account; an empty name stands for jobs from before accounts were
    recorded.
    """
    transaction.be_alone()
    _check_name(name)
    if fingerprint is not None:
        transaction.run(
            "DELETE FROM account_key WHERE provider = :provider AND fingerprint = :fingerprint",
            provider=provider,
            fingerprint=fingerprint,
        )
        transaction.insert(ACCOUNT_KEY, [_row(provider, fingerprint, name, stamp)])
    if jobs_of is None or jobs_of == name:
        return 0
    return _take_over(transaction, provider, name, jobs_of)


def _take_over(transaction: Transaction, provider: str, name: str, before: str) -> int:
    """Move an account's jobs, keys and bill rows to another; return how many jobs moved.

    Raises ConflictError if both have a job of the same task: then they are two accounts.
    """
    owner = {"provider": provider, "name": name}
    theirs = {**owner, "before": before} if before else owner
    are_theirs = "account = :before" if before else "account IS NULL AND address IS NOT NULL"
    both = transaction.row(
        "SELECT ours.task_id, ours.id AS known, theirs.id FROM reservation AS ours"
        " JOIN (SELECT id, task_id, address FROM reservation"
        f" WHERE provider = :provider AND {are_theirs}) AS theirs"
        " ON theirs.task_id = ours.task_id AND theirs.address = ours.address"
        " WHERE ours.provider = :provider AND ours.account = :name",
        **theirs,
    )
    if both is not None:
        subject = f"task {both['task_id']}"
        raise ConflictError(subject, field="reservation", stored=both["known"], given=both["id"])
    moved = transaction.change(
        f"UPDATE reservation SET account = :name WHERE provider = :provider AND {are_theirs}"
        " RETURNING id",
        theirs,
        expect=None,
        refused=never,
    )
    for table, key in _KNOWN_OF.items() if before else ():
        same = " AND ".join(f"known.{column} = {table}.{column}" for column in key)
        transaction.run(
            f"DELETE FROM {table} WHERE provider = :provider AND account = :before AND EXISTS"
            f" (SELECT 1 FROM {table} AS known WHERE known.provider = :provider"
            f" AND known.account = :name AND {same})",
            **theirs,
        )
        transaction.run(
            f"UPDATE {table} SET account = :name WHERE provider = :provider AND account = :before",
            **theirs,
        )
    return len(moved)


def every(transaction: Transaction) -> list[Account]:
    """Return every account by provider and name."""
    rows = transaction.rows(
        "SELECT provider, account, COUNT(*) AS keys, MIN(created_at) AS since FROM account_key"
        " GROUP BY provider, account ORDER BY provider, account"
    )
    return [
        Account(row["provider"], row["account"], int(row["keys"]), from_us(row["since"]))
        for row in rows
    ]


def of_jobs(transaction: Transaction, provider: str) -> list[str | None]:
    """Return the accounts that jobs at a provider ran on; None stands for jobs without one."""
    rows = transaction.rows(
        "SELECT DISTINCT account FROM reservation WHERE provider = :provider AND"
        " (account IS NOT NULL OR address IS NOT NULL) ORDER BY account",
        provider=provider,
    )
    return [row["account"] for row in rows]


def _keys_of(transaction: Transaction, provider: str, name: str) -> list[Row]:
    return transaction.rows(
        "SELECT fingerprint FROM account_key WHERE provider = :provider AND account = :name",
        provider=provider,
        name=name,
    )


def _row(provider: str, fingerprint: str, account: str, stamp: Stamp) -> Row:
    return {
        "provider": provider,
        "fingerprint": fingerprint,
        "account": account,
        "actor": stamp.actor,
        "created_at": stamp.at_us,
    }


def _check_name(name: str) -> None:
    if not name.strip() or name != name.strip() or len(name) > _LONGEST or not name.isprintable():
        raise ConfigError(
            f"invalid account name: {name!r}",
            hint="use a name such as studio or north-team",
        )
