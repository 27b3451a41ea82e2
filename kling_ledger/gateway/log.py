"""Log: one line of JSON for each exchange, in ASCII; never a prompt, a key or an address.

A caller's input cannot break or fake a line: unusual characters are escaped.
"""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC
from typing import Any, Final, TextIO

from kling_ledger.gateway import said
from kling_ledger.gateway.events import Exchange
from kling_pricing.money import Money

LOGGER: Final = logging.getLogger("kling_ledger.gateway")
"""The logger for lines without a stream, at level INFO."""

_DELETE: Final = "\x7f"


class Log:
    """An observer that writes every exchange. Safe to share between threads."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        """Write one line."""
        written = line(exchange)
        if self._stream is None:
            LOGGER.info("%s", written)
            return
        with self._lock:
            self._stream.write(f"{written}\n")
            self._stream.flush()


def line(exchange: Exchange) -> str:
    """Return an exchange as one line of JSON without a line end, leaving out what is unknown.

    Amounts are exact texts with their unit, such as `0.675 USD`; times are in milliseconds.
    """
    known = {name: value for name, value in _told(exchange).items() if value is not None}
    # The one ASCII character that JSON leaves unescaped but that affects a terminal.
    return json.dumps(known, ensure_ascii=True).replace(_DELETE, "\\u007f")


def _told(exchange: Exchange) -> dict[str, Any]:
    refusal = exchange.refusal
    return {
        "time": exchange.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "provider": said.word(exchange.provider),
        "kind": str(exchange.kind),
        "status": exchange.status,
        "took_ms": round(exchange.took_s * 1000),
        "upstream_ms": round(exchange.upstream_s * 1000),
        "caller": said.word(exchange.caller),
        "wallet": said.word(exchange.wallet),
        "project": said.word(exchange.project),
        "model": said.word(exchange.model),
        "action": said.word(exchange.action),
        "reservation": exchange.reservation_id,
        "quoted": _amount(exchange.quoted),
        "held": _amount(exchange.held),
        "committed": _amount(exchange.committed),
        "settled_by": exchange.settled_by,
        "refusal": None if refusal is None else refusal.code,
        "reason": None if refusal is None else said.reason(refusal),
    }


def _amount(money: Money | None) -> str | None:
    return None if money is None else str(money)
