"""Places: where a job runs, which is a provider, its address, and the account whose key is used.

Nobody's job is sent, asked for or judged at another place: another account knows nothing of it,
and would answer that it does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

from kling_ledger.errors import OtherAccountError, OtherAddressError
from kling_ledger.ledger import Ledger, Reservation
from kling_ledger.providers.base import Provider


@dataclass(frozen=True, slots=True)
class Place:
    """A provider at an address, and an account there: None where its key is not told."""

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

        A job without an address is one of a script's own: that has to say itself where it is.
        """
        job = one.job
        if job.address not in {None, self.address}:
            raise OtherAddressError(one.id, address=job.address, asked=self.address)
        if job.address is not None and job.account != self.account:
            raise OtherAccountError(
                one.id, provider=self.provider, account=job.account, asked=self.account
            )


def place_of(ledger: Ledger, provider: Provider, name: str | None = None) -> Place:
    """Return the place that a connection leads to; `name` is what the user calls its account.

    Raises AccountError where the connection's key is not of the account of that name.
    """
    account = ledger.accounts.of_key(provider.name, provider.fingerprint, name=name)
    return Place(provider.name, provider.address, account)
