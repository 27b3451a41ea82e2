"""A wallet as commands print it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kling_ledger.cli.output import instant
from kling_pricing.money import plain

if TYPE_CHECKING:
    from kling_ledger.ledger import Wallet


def wallet_dict(found: Wallet) -> dict[str, Any]:
    """Return a wallet for printing: amounts as plain decimal strings in its unit."""
    return {
        "id": found.id,
        "name": found.name,
        "unit": found.unit,
        "costing": found.costing,
        "funded": plain(found.funded.amount),
        "adjusted": plain(found.adjusted.amount),
        "spent": plain(found.spent.amount),
        "posted": plain(found.posted.amount),
        "reserved": plain(found.reserved.amount),
        "available": plain(found.available.amount),
        "created_at": instant(found.created_at),
    }
