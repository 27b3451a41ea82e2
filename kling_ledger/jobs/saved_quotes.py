"""Saved quotes: each is kept in a private file whose name is the hash of its content.

The file is JSON for people and programs. A file that was changed no longer matches its name and is
refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from kling_ledger.config import data_folder
from kling_ledger.errors import (
    ConfigError,
    InputChangedError,
    NotFoundError,
    PriceChangedError,
    QuoteExpiredError,
)
from kling_ledger.tabular.files import whole_file
from kling_pricing.clip import CLIP_FIELDS
from kling_pricing.gateways import Request
from kling_pricing.money import Money
from kling_pricing.quote import Quote

_FORMAT: Final = 1
_ID: Final = re.compile(r"quo_[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class SavedQuote:
    """A quote as it was given, and the request body that it is for; None if a clip was quoted."""

    id: str
    told: Mapping[str, Any]
    body: Mapping[str, Any] | None

    @property
    def amount(self) -> Money:
        """The highest cost of the job."""
        return Money.parse(f"{self.told['amount']} {self.told['unit']}")

    @property
    def expires_at(self) -> datetime:
        """The end of its validity (exclusive)."""
        return datetime.fromisoformat(self.told["expires_at"])

    def check(self, request: Request, quoted: Quote, *, at: datetime | None) -> None:
        """Refuse a request that is not the quoted one, or is too late.

        `quoted` is the request's own quote now; `at` is None if it cannot be too late. If a clip
        without a body was quoted, the clip has to be the same. Raises InputChangedError,
        QuoteExpiredError.
        """
        now = quoted.as_dict()
        for name in ("provider", "model", "action") if self.body is not None else CLIP_FIELDS:
            self._check_same(name, self.told[name], now[name])
        if self.body is not None:
            self._check_same("payload", self.told["payload_hash"], request.payload_hash)
        if at is not None and at >= self.expires_at:
            raise QuoteExpiredError(self.id, expired_at=self.expires_at)

    def check_price(self, cost: Money) -> None:
        """Refuse a cost above the quote's, or in another unit. Raises PriceChangedError."""
        if cost.unit != self.amount.unit or cost > self.amount:
            raise PriceChangedError(self.id, quoted=self.amount, now=cost)

    def _check_same(self, field: str, quoted: object, given: object) -> None:
        if quoted != given:
            raise InputChangedError(self.id, field=field, quoted=quoted, given=given)


def save_quote(
    told: Mapping[str, Any], *, body: Mapping[str, Any] | None, folder: Path | None = None
) -> str:
    """Save a quote, in the form of `Quote.as_dict`, and return its id.

    `body` is the request that it is for; `told` then has its `payload_hash`. Only the owner can
    read the file, because a body may be confidential. Raises ConfigError if it cannot be written.
    """
    text = _written({"format": _FORMAT, "quote": dict(told), "request": body})
    quote_id = _id_of(text)
    path = _path(quote_id, folder)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with whole_file(path, is_private=True) as beside, beside.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return quote_id


def load_quote(quote_id: str, *, folder: Path | None = None) -> SavedQuote:
    """Return a saved quote. NotFoundError for none of that id, ConfigError for a changed file."""
    path = _path(quote_id, folder)
    if not _ID.fullmatch(quote_id) or not path.is_file():
        raise NotFoundError("saved quote", quote_id, hint=f"saved quotes are in {path.parent}")
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if _id_of(text) != quote_id:
        raise ConfigError(f"{path} was changed: it is not the quote that was saved")
    said = json.loads(text)
    if said["format"] != _FORMAT:
        raise ConfigError(f"{path}: format {said['format']} is not supported, only {_FORMAT}")
    return SavedQuote(quote_id, said["quote"], said["request"])


def _written(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=True) + "\n").encode()


def _id_of(text: bytes) -> str:
    return f"quo_{hashlib.sha256(text).hexdigest()[:32]}"


def _path(quote_id: str, folder: Path | None) -> Path:
    return (folder or data_folder() / "quotes") / f"{quote_id}.json"
