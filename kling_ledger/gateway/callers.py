"""Callers: who is calling, which wallet pays, and which provider key is used.

If the gateway has a provider's key, that key is used, and callers send at most a token. If it has
none, the caller's key is passed through, and a token has its own header.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from starlette.datastructures import Headers

from kling_ledger.errors import ConfigError, TokenError
from kling_ledger.gateway.settings import GatewaySettings
from kling_ledger.ledger import Ledger
from kling_ledger.ledger import labels as label_words
from kling_ledger.ledger.tokens import OWN_LABELS, SECRET_PREFIX, Token
from kling_ledger.providers.http import Secret
from kling_ledger.providers.http_provider import Dialect
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
"""Headers for the gateway only; providers do not get them."""

_LONGEST: Final = 512
_ONCE: Final = frozenset({"authorization", "x-api-key", "idempotency-key", "content-length", *OURS})


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller: `token` is None for callers without one; `key` is the provider key to use.

    `brings_key` says that the key is the caller's own. Wallet, project, labels and run are as
    requested: a token limits them.
    """

    wallet: str
    key: Secret = field(repr=False)
    brings_key: bool
    token: Token | None = None
    project: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    run: str | None = None
    ceiling: Money | None = None
    approve_above: Money | None = None
    approval: str | None = None
    own_key: str | None = None

    @property
    def name(self) -> str | None:
        """The name of the caller's token."""
        return None if self.token is None else self.token.name


Said = Mapping[str, str]
"""The headers of a request, by lower-case name."""


def said_in(headers: Headers) -> Said:
    """Return the caller's headers of a request. Raises ConfigError for repeated ones."""
    if "content-length" in headers and "transfer-encoding" in headers:
        raise ConfigError(
            "the body's length is given twice",
            hint="send Content-Length or Transfer-Encoding, not both",
        )
    said: dict[str, str] = {}
    for name, text in headers.items():
        if name in _ONCE and (name in said or len(text) > _LONGEST or not text.isprintable()):
            raise ConfigError(
                f"the header {name} is repeated, too long or contains an invalid character",
                hint=f"send it once, in at most {_LONGEST} plain characters",
            )
        said[name] = text
    return said


def names_token(dialect: Dialect, said: Said) -> bool:
    """Whether a request has a token, which only the ledger can check."""
    return TOKEN_HEADER.lower() in said or _credential(dialect, said).startswith(SECRET_PREFIX)


def caller_of(ledger: Ledger, settings: GatewaySettings, dialect: Dialect, said: Said) -> Caller:
    """Return the caller.

    Raises TokenError for an unknown one, ConfigError for invalid headers and without a provider
    key.
    """
    key = settings.upstreams[dialect.facts.name].key
    brought = _credential(dialect, said)
    is_token = brought.startswith(SECRET_PREFIX)
    secret = said.get(TOKEN_HEADER.lower()) or (brought if is_token else None)
    if key is None and is_token:
        raise ConfigError(
            f"this gateway has no key for {dialect.facts.name}",
            hint=f"send your own in {dialect.key_header}, and the token in {TOKEN_HEADER}",
        )
    used = key or Secret(brought)
    return _bounded(
        Caller(
            settings.wallet or "",
            used,
            brings_key=key is None,
            token=None if secret is None else ledger.tokens.of_secret(secret),
            project=said.get(PROJECT_HEADER.lower()),
            labels=read_labels(said.get(LABELS_HEADER.lower())),
            run=said.get(RUN_HEADER.lower()),
            approval=said.get(APPROVAL_HEADER.lower()),
            own_key=said.get(KEY_HEADER.lower()),
        ),
        settings,
    )


def _bounded(caller: Caller, settings: GatewaySettings) -> Caller:
    """Return a caller with its limits: the token's, or those for callers without one."""
    if caller.token is not None:
        return replace(caller, wallet=caller.token.wallet, approve_above=caller.token.approve_above)
    if settings.wallet is None:
        raise TokenError
    _check_labels(caller)
    run = {} if caller.run is None else {"run": caller.run}
    return replace(
        caller,
        project=settings.project if caller.project is None else caller.project,
        labels={**caller.labels, **run, **settings.labels},
        ceiling=settings.ceiling,
        approve_above=settings.approve_above,
    )


def _check_labels(caller: Caller) -> None:
    """Refuse labels that count a token or one of its runs.

    A token's run is called NAME/RUN, so callers without a token cannot use that form.
    """
    taken = [name for name in OWN_LABELS if name in caller.labels]
    if taken or "/" in (caller.run or ""):
        raise ConfigError(
            f"the label {taken[0] if taken else 'run'} is of tokens, and there is none",
            hint=f"omit it, and name a run in {RUN_HEADER} without a slash",
        )


def read_labels(written: str | None) -> dict[str, str]:
    """Read comma-separated `name=value` words, each name once; else raises ConfigError."""
    words = [word.strip() for word in (written or "").split(",")]
    pairs = [label_words.read_label(word) for word in words if word]
    if len(labels := dict(pairs)) < len(pairs):
        raise ConfigError("a label is repeated", hint="send each once")
    return labels


def _credential(dialect: Dialect, said: Said) -> str:
    written = said.get(dialect.key_header.lower(), "")
    scheme = dialect.key_scheme
    if scheme and written[: len(scheme)].lower() != scheme.lower():
        return ""
    return written[len(scheme) :].strip()
