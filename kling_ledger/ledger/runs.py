"""Runs: the cap on all jobs of one run under a token, as a budget over the run's label.

A run's name comes from a stranger. A plain one stays legible; any other is replaced by its SHA-256.
Two runs never share a label, nor do two tokens: a run's own word has no slash.
"""

from __future__ import annotations

import re
from typing import Final

from kling_ledger.errors import ConfigError, RunNeededError
from kling_ledger.ledger import limits
from kling_ledger.ledger import rules as rule_book
from kling_ledger.ledger.budgets import DEFAULT_THRESHOLDS
from kling_ledger.ledger.engines.transaction import Stamp, Transaction
from kling_ledger.ledger.limits import Setting
from kling_ledger.ledger.scopes import Scope
from kling_ledger.ledger.states import OPEN_STATES
from kling_ledger.ledger.tokens import Token
from kling_ledger.ledger.wallets import NAME

LABEL: Final = "run"
LONGEST_RUN: Final = 200
"""The most characters in the name of a run."""

_PREFIX: Final = "run/"
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:+-]{0,62}")
_HASHED: Final = "sha256-"
_DIGITS: Final = 40

_OPEN: Final = ", ".join(f"'{state}'" for state in OPEN_STATES)
_RESTED: Final = f"""
SELECT budget.name, budget.label FROM budget
WHERE removed_at IS NULL AND budget.created_at < :before AND budget.repeats = 'none'
  AND substr(budget.name, 1, 4) = 'run/' AND substr(budget.label, 1, 4) = 'run='
  AND NOT EXISTS (
    SELECT 1 FROM budget_event
    WHERE budget_id = budget.id AND (step > 1 OR COALESCE(reason, '') <> :made)
  )
  AND NOT EXISTS (
    SELECT 1 FROM reservation_label AS labelled
    JOIN reservation ON reservation.id = labelled.reservation_id
    WHERE labelled.label = budget.label
      AND (labelled.created_at >= :before OR reservation.state IN ({_OPEN}))
  )
ORDER BY budget.id
"""
"""Run budgets without an open or recent job; those that a person set or changed stay."""


def label_value(token: Token, run: str | None) -> str | None:
    """Return the value of the label `run` of a token's job; None for a job without a run.

    Raises RunNeededError if the token has a cap by run and no run is named, and ConfigError for an
    invalid name.
    """
    if run is None or not run.strip():
        if token.run_limit is not None:
            raise RunNeededError(token.name)
        return None
    if len(run) > LONGEST_RUN or not run.isprintable():
        raise ConfigError(
            f"a run name has up to {LONGEST_RUN} printable characters",
            hint="use a name such as nightly-2026-11-27",
        )
    return f"{token.name}/{_word(run)}"


def budget_name(value: str) -> str:
    """Return the name of the budget over a run's label: the label itself if it fits."""
    name = f"{_PREFIX}{value}"
    return name if NAME.fullmatch(name) else f"{_PREFIX}{_hashed(value)}"


def cap(token: Token, value: str) -> Setting | None:
    """Return the budget that counts the jobs of a run; None if its token has no cap by run."""
    if token.run_limit is None:
        return None
    scope = Scope(label=f"{LABEL}={value}")
    return Setting(
        budget_name(value), token.run_limit, scope, "none", "UTC", "hard", DEFAULT_THRESHOLDS, None
    )


def rested(transaction: Transaction, before_us: int) -> list[str]:
    """Return the budgets of runs without an open job or any job since an instant."""
    rows = transaction.rows(_RESTED, before=before_us, made=limits.WITH_A_JOB)
    return [row["name"] for row in rows if _is_ours(row["name"], row["label"])]


def rest(transaction: Transaction, before_us: int, *, stamp: Stamp) -> list[str]:
    """Remove the budgets that `rested` finds; return their names."""
    transaction.be_alone()
    names = rested(transaction, before_us)
    for name in names:
        limits.remove(transaction, name, stamp=stamp)
    if names:
        rule_book.changed(transaction)
    return names


def _is_ours(name: str, written: str) -> bool:
    return name == budget_name(written.partition("=")[2])


def _word(run: str) -> str:
    # A name that looks like a hash could be another run's hash: it is hashed too.
    is_plain = _PLAIN.fullmatch(run) is not None and not run.startswith(_HASHED)
    return run if is_plain else _hashed(run)


def _hashed(text: str) -> str:
    import hashlib

    return f"{_HASHED}{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:_DIGITS]}"
