"""Places: where a job runs, by provider, address, and the account whose key is used.

No job is sent, polled or judged at another place: another account does not know it, and would
answer that it does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

from kling_ledger.errors import OtherAccountError, OtherAddressError
from kling_ledger.ledger import Ledger, Reservation
from kling_ledger.providers.base import Provider


@dataclass(frozen=True, slots=True)
class Place:
    """A provider at an address, and an account there: None if the key is not known."""

    provider: str
    address: str
    account: str | None

    def has(self, one: Reservation) -> bool:
        """Whether a reservation's job runs here."""
        job = one.job
        return (job.provider, job.address, job.account) == (
            self.provider,
            self.address,
            self.account,
        )

    def check(self, one: Reservation) -> None:
        """Raise OtherAddressError or OtherAccountError for a job that runs elsewhere.

        A job without an address belongs to a script, which has to know where it runs.
        """
        job = one.job
        if job.address not in {None, self.address}:
            raise OtherAddressError(one.id, address=job.address, asked=self.address)
        if job.address is not None and job.account != self.account:
            raise OtherAccountError(
                one.id, provider=self.provider, account=job.account, asked=self.account
            )


def place_of(ledger: Ledger, provider: Provider, name: str | None = None) -> Place:
    """Return the place that a connection leads to; `name` is the user's name for its account.

    Raises AccountError if the connection's key belongs to another account.
    """
    account = ledger.accounts.of_key(provider.name, provider.fingerprint, name=name)
    return Place(provider.name, provider.address, account)
