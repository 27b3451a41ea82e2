"""Callers: who is asking, whose money it is, and with which of the provider's keys it is spent.

Where the gateway has a provider's key, that key is used, and what callers bring is at most a token.
Where it has none, what they bring is passed through, and a token has a header of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers

from kling_ledger.errors import ConfigError
from kling_ledger.gateway.settings import GatewaySettings
from kling_ledger.ledger import Ledger
from kling_ledger.ledger import labels as label_words
from kling_ledger.providers.http import Secret
from kling_ledger.providers.http_provider import Dialect
from kling_pricing.errors import KlingError
from kling_pricing.money import Money

TOKEN_HEADER: Final = "X-Kling-Token"  # noqa: S105 - the header's name
PROJECT_HEADER: Final = "X-Kling-Project"
LABELS_HEADER: Final = "X-Kling-Labels"
RUN_HEADER: Final = "X-Kling-Run"
APPROVAL_HEADER: Final = "X-Kling-Approval"
KEY_HEADER: Final = "Idempotency-Key"

OURS: Final = frozenset(
    name.lower()
    for name in (TOKEN_HEADER, PROJECT_HEADER, LABELS_HEADER, RUN_HEADER, APPROVAL_HEADER)
)
"""Headers that are for the gateway alone: no provider is told them."""

_LONGEST: Final = 512
_ONCE: Final = frozenset({"authorization", "x-api-key", "idempotency-key", "content-length", *OURS})


class CallerError(KlingError):
    """Nobody that may call here: no token, or one that is none any more."""

    code = "unauthorized"

    def __init__(self) -> None:
        super().__init__(
            "the token is missing, or is not valid here",
            hint=f"bring one of kling-ledger token create, as the API key or in {TOKEN_HEADER}",
        )


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: `name` is the token's, None where none is needed; `key` is the provider's.

    `brings_key` says that the key is the caller's own.
    """

    wallet: str
    key: Secret = field(repr=False)
    brings_key: bool
    name: str | None = None
    project: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ceiling: Money | None = None
    approve_above: Money | None = None
    approval: str | None = None
    own_key: str | None = None


def caller_of(
    ledger: Ledger, settings: GatewaySettings, dialect: Dialect, headers: Headers
) -> Caller:
    """Return who asks. Raises CallerError for nobody, ConfigError for headers that say nothing."""
    _check_headers(headers)
    del ledger  # tokens are looked up in it
    key = settings.upstreams[dialect.facts.name].key
    brought = _credential(dialect, headers)
    if settings.wallet is None:
        raise CallerError
    return Caller(
        settings.wallet,
        key or Secret(brought),
        brings_key=key is None,
        project=headers.get(PROJECT_HEADER, settings.project),
        labels={**read_labels(headers.get(LABELS_HEADER)), **settings.labels},
        ceiling=settings.ceiling,
        approve_above=settings.approve_above,
        approval=headers.get(APPROVAL_HEADER),
        own_key=headers.get(KEY_HEADER),
    )


def read_labels(written: str | None) -> dict[str, str]:
    """Read `name=value` words between commas. Raises ConfigError for what is none."""
    words = [word.strip() for word in (written or "").split(",")]
    return dict(label_words.read_label(word) for word in words if word)


def _credential(dialect: Dialect, headers: Headers) -> str:
    written = headers.get(dialect.key_header, "")
    scheme = dialect.key_scheme
    if scheme and written[: len(scheme)].lower() != scheme.lower():
        return ""
    return written[len(scheme) :].strip()


def _check_headers(headers: Headers) -> None:
    """Refuse a header that is there twice: two readers could take either."""
    seen: set[str] = set()
    for name, text in headers.items():
        if name not in _ONCE:
            continue
        if name in seen or len(text) > _LONGEST or not text.isprintable():
            raise ConfigError(
                f"the header {name} is there twice, is too long or holds an odd character",
                hint=f"send it once, in at most {_LONGEST} plain characters",
            )
        seen.add(name)
