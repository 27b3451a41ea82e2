"""The accounts of a ledger, as `ledger.accounts`: whose keys its jobs run on."""

from __future__ import annotations

from dataclasses import dataclass, field

from kling_ledger.ledger import accounts
from kling_ledger.ledger.access import Access


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts at providers that a ledger's jobs run on, by provider and name."""

    _access: Access
    _secret: list[str] = field(default_factory=list, repr=False)
    _known: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)

    def of_key(
        self, provider: str, fingerprint: accounts.Fingerprint, *, name: str | None = None
    ) -> str | None:
        """Return the account of an API key; a new key creates one.

        `fingerprint` gets the ledger's secret and returns the key's fingerprint under it: the key
        itself never gets here. Without it, the account is `name`. Raises AccountError if the key
        belongs to another account than `name`, or `name` has another key.
        """
        print_ = fingerprint(self._own_secret())
        if print_ is None:
            return name
        known = self._known.get((provider, print_))
        if known is None or name not in {None, known}:
            known = self._seen(provider, print_, name)
            self._known[provider, print_] = known
        return known

    def adopt(
        self,
        provider: str,
        name: str,
        *,
        fingerprint: accounts.Fingerprint | None = None,
        jobs_of: str | None = None,
    ) -> int:
        """Assign a key, or another account's jobs, to an account; return how many jobs moved.

        `jobs_of` is the account whose jobs and keys become this one's; an empty name stands for
        jobs from before accounts were recorded. Raises ConfigError for an invalid name.
        """
        print_ = None if fingerprint is None else fingerprint(self._own_secret())
        stamp = self._access.stamp()
        self._known.clear()
        return self._access.write(
            lambda transaction: accounts.adopt(
                transaction, provider, name, print_, jobs_of=jobs_of, stamp=stamp
            )
        )

    def all(self) -> list[accounts.Account]:
        """Return every account whose key was used, by provider and name."""
        with self._access.read() as transaction:
            return accounts.every(transaction)

    def of_jobs(self, provider: str) -> list[str | None]:
        """Return the accounts that jobs at a provider ran on; None stands for jobs without one."""
        with self._access.read() as transaction:
            return accounts.of_jobs(transaction, provider)

    def _own_secret(self) -> str:
        if not self._secret:
            with self._access.read() as transaction:
                self._secret.append(accounts.secret(transaction))
        return self._secret[0]

    def _seen(self, provider: str, print_: str, name: str | None) -> str:
        with self._access.read() as transaction:
            known = accounts.find(transaction, provider, print_)
        if known is not None and name in {None, known}:
            return known
        stamp = self._access.stamp()
        return self._access.write(
            lambda transaction: accounts.seen(transaction, provider, print_, name, stamp=stamp)
        )
