"""Answers: a provider's answer, passed on unchanged, with the gateway's own headers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from starlette.responses import Response

from kling_ledger.ledger import Reservation
from kling_ledger.ledger.lefts import Left
from kling_ledger.providers.http import Reply

RESERVATION_HEADER: Final = "X-Kling-Reservation"
QUOTE_HEADER: Final = "X-Kling-Quote"
HELD_HEADER: Final = "X-Kling-Held"
COMMITTED_HEADER: Final = "X-Kling-Committed"
WALLET_HEADER: Final = "X-Kling-Wallet-Left"
BUDGET_HEADER: Final = "X-Kling-Budget-Left"

_OURS: Final = "x-kling-"
_BETWEEN_TWO: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of a single connection, not of the message."""


def passed_on(headers: Iterable[tuple[str, str]], *, leaving: frozenset[str]) -> dict[str, str]:
    """Return headers without those of the connection, and without those in `leaving`.

    Headers listed in `Connection` belong to the connection too. Upstream cannot set the gateway's
    own headers.
    """
    pairs = [(name.lower(), text) for name, text in headers]
    named = {
        word.strip().lower()
        for name, text in pairs
        if name == "connection"
        for word in text.split(",")
    }
    kept: dict[str, str] = {}
    for name, text in pairs:
        if name in _BETWEEN_TWO or name in named or name in leaving or name.startswith(_OURS):
            continue
        kept[name] = f"{kept[name]}, {text}" if name in kept else text
    return kept


def answer(reply: Reply) -> Response:
    """Return a whole reply of a provider, byte for byte."""
    headers = passed_on(reply.headers.items(), leaving=frozenset({"content-length"}))
    # The forwarding server adds its own date and name.
    for ours in ("date", "server"):
        headers.pop(ours, None)
    return Response(reply.content, reply.status, headers)


def money_headers(reservation: Reservation, left: Left | None) -> Mapping[str, str]:
    """Return the gateway's headers about a job, added to the provider's answer."""
    told = {RESERVATION_HEADER: reservation.id, HELD_HEADER: str(reservation.held)}
    if reservation.job.quoted is not None:
        told[QUOTE_HEADER] = str(reservation.job.quoted)
    if reservation.committed is not None:
        told[COMMITTED_HEADER] = str(reservation.committed)
    if left is not None:
        told[WALLET_HEADER] = str(left.wallet)
        if left.budgets:
            told[BUDGET_HEADER] = ", ".join(f"{name}={one}" for name, one in left.budgets.items())
    return told
