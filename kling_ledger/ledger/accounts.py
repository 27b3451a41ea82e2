"""Accounts: whose key a job runs on at a provider.

An account is named by the user, or known by a keyed fingerprint of its API key. The key itself is
never kept, and without the ledger's own secret a fingerprint says nothing about it. One account may
have many keys: those it had before, and those of several people.
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
"""How the name of an account begins that nobody has named: the digits of its first key follow."""

_KNOWN_OF: Final = {
    "account_key": ("fingerprint",),
    "provider_record": ("task_id",),
    "bill_entry": ("digest",),
}
"""What goes with an account, and by which columns two such rows are the same.

A balance does not: it is history, and what is compared next begins a new one."""

_DIGITS: Final = 12
_LONGEST: Final = 80

Fingerprint = Callable[[str], str | None]
"""Gives the fingerprint of an API key under a ledger's secret, None where the key is not told.

Whoever has the key makes it: the key itself never comes to the ledger."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account at a provider: its name, how many keys it is known by, and since when."""

    provider: str
    name: str
    keys: int
    since: datetime


def secret(transaction: Transaction) -> str:
    """Return the ledger's own secret, in hexadecimal digits."""
    row = transaction.row("SELECT value FROM setting WHERE name = 'account_secret'")
    return str(row["value"]) if row else ""


def find(transaction: Transaction, provider: str, fingerprint: str) -> str | None:
    """Return the account that a key belongs to, None where the key was never seen."""
    row = transaction.row(
        "SELECT account FROM account_key WHERE provider = :provider AND fingerprint = :fingerprint",
        provider=provider,
        fingerprint=fingerprint,
    )
    return None if row is None else str(row["account"])


def seen(
    transaction: Transaction, provider: str, fingerprint: str, name: str | None, *, stamp: Stamp
) -> str:
    """Return the account of a key, which is written down where it was never seen before.

    Raises AccountError where the key belongs to another account than the one named, or the name to
    another key: then somebody has to say that both are one.
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
    """Let a key belong to an account, and give it the jobs of another; return how many.

    `jobs_of` names the other account; no letters stand for jobs from before accounts were recorded.
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
    """Give an account the jobs of another, its keys and what its bills said; return how many jobs.

    Raises ConflictError where both have a job of the same task: then they are two accounts.
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
    """Return the accounts that jobs at a provider were run on; None for jobs that name none."""
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
