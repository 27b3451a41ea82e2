"""Own keys: meters for open jobs, under the gateway's own keys."""

from __future__ import annotations

from dataclasses import dataclass

from kling_ledger.errors import NoKeyError, OtherAddressError
from kling_ledger.gateway.settings import GatewaySettings
from kling_ledger.gateway.wires import Wires
from kling_ledger.jobs.meter import Meter
from kling_ledger.ledger import Ledger, Reservation
from kling_ledger.providers.registry import provider_facts


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """Makes meters for existing reservations: see `jobs.recovery.MeterFor`."""

    ledger: Ledger
    settings: GatewaySettings
    wires: Wires

    def __call__(self, found: Reservation) -> Meter:
        """Return the meter of a job's provider.

        Raises OtherAddressError for a job at another address, and NoKeyError if callers bring the
        key.
        """
        provider = found.job.provider or ""
        upstream = self.settings.upstreams.get(provider)
        if upstream is None or self.wires.address(provider) != found.job.address:
            asked = "not a provider of this gateway" if upstream is None else upstream.address
            raise OtherAddressError(found.id, address=found.job.address, asked=asked)
        if upstream.key is None:
            raise NoKeyError(provider_facts(provider).key_variable)
        wire = self.wires.wire(provider, upstream.key)
        return Meter(self.ledger, wire, wallet=found.wallet, asks_estimate=False)
