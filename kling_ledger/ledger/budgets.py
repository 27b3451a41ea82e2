"""Budgets: what they cover, what they allow, and how they are set, raised and removed.

A budget counts every reservation in its scope that was admitted within a window, whenever the
budget itself was set: a window's figures follow from the reservations alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

from kling_ledger.errors import ConfigError, ConflictError, NotFoundError
from kling_ledger.ledger import idempotency
from kling_ledger.ledger import labels as label_words
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction, overtaken
from kling_ledger.ledger.ids import from_us, new_id, numbers, to_us
from kling_ledger.ledger.tables import BudgetEventRow, BudgetRaiseRow, BudgetRow, BudgetWindowRow
from kling_ledger.ledger.wallets import NAME, find
from kling_ledger.ledger.windows import REPEATS, read_zone, window_at
from kling_pricing.errors import AmountError
from kling_pricing.money import USD, Money

Mode = Literal["hard", "warn"]

MODES: Final[tuple[str, ...]] = get_args(Mode)
DEFAULT_THRESHOLDS: Final = (80, 100)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a budget covers: whatever agrees with all that is named here.

    A project that ends in `/` stands for itself and everything below it; `label` is `name=value`.
    """

    wallet: str | None = None
    project: str | None = None
    provider: str | None = None
    model: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What a budget looks at in a reservation. `labels` is as the database keeps it."""

    wallet_id: str
    unit: str
    project: str | None
    provider: str | None
    model: str | None
    labels: str | None


@dataclass(frozen=True, slots=True)
class Raise:
    """A temporary raise of a limit, in millionths, until an instant in microseconds."""

    amount_micro: int
    until_us: int


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit over a scope. Amounts are in millionths of `unit`; `wallet_id` is the scope's."""

    id: str
    name: str
    unit: str
    limit_micro: int
    ceiling_micro: int | None
    mode: Mode
    thresholds: tuple[int, ...]
    scope: Scope
    wallet_id: str | None
    window: str
    timezone: str
    raises: tuple[Raise, ...]

    def covers(self, subject: Subject) -> bool:
        """Whether a reservation counts in this budget."""
        scope = self.scope
        return (
            (self.wallet_id is None or self.wallet_id == subject.wallet_id)
            and (self.unit in {USD, subject.unit})
            and (scope.project is None or _is_within(subject.project, scope.project))
            and (scope.provider is None or scope.provider == subject.provider)
            and (scope.model is None or scope.model == subject.model)
            and (scope.label is None or label_words.within(scope.label) in (subject.labels or ""))
        )

    def limit_at(self, at_us: int) -> int:
        """Return the limit in millionths, with the raises that are in force."""
        return self.limit_micro + sum(
            raised.amount_micro for raised in self.raises if at_us < raised.until_us
        )

    def window_at(self, at_us: int) -> tuple[int, int]:
        """Return the start and the end of the window that holds an instant."""
        return window_at(self.window, self.timezone, at_us)

    @property
    def limit(self) -> Money:
        """The limit without raises."""
        return Money.from_micro(self.limit_micro, self.unit)

    @property
    def ceiling(self) -> Money | None:
        """The most that a single job may cost."""
        micro = self.ceiling_micro
        return None if micro is None else Money.from_micro(micro, self.unit)


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """A budget and where it stands in one window; `limit` is with raises, `left` may be negative.

    `starts_at` and `ends_at` are None for a window that never ends.
    """

    budget: Budget
    starts_at: datetime | None
    ends_at: datetime | None
    limit: Money
    spent: Money
    reserved: Money

    @property
    def left(self) -> Money:
        """What the window would still admit."""
        return self.limit - self.spent - self.reserved


def define(
    transaction: Transaction,
    name: str,
    limit: Money,
    *,
    stamp: Stamp,
    scope: Scope,
    window: str,
    timezone: str,
    mode: str,
    thresholds: Sequence[int],
    ceiling: Money | None,
) -> BudgetStatus:
    """Set a budget: a new one, or another limit, mode, thresholds or ceiling of the one there.

    Its scope, window, zone and unit never change: ConflictError names the one that differs. Set
    again as it is, nothing happens.
    """
    transaction.be_alone()
    _check(name, limit, window, timezone, mode, thresholds, ceiling)
    _check_scope(scope)
    wallet = None if scope.wallet is None else find(transaction, scope.wallet)
    known = by_name(transaction, name)
    budget = Budget(
        id=new_id("bud", next(numbers(stamp.at_us, stamp.chance))) if known is None else known.id,
        name=name,
        unit=limit.unit,
        limit_micro=limit.micro,
        ceiling_micro=None if ceiling is None else ceiling.micro,
        mode="hard" if mode == "hard" else "warn",
        thresholds=tuple(sorted(set(thresholds))),
        scope=scope if wallet is None else replace(scope, wallet=wallet.name),
        wallet_id=None if wallet is None else wallet.id,
        window=window,
        timezone=timezone,
        raises=() if known is None else known.raises,
    )
    if known is None:
        transaction.insert(BudgetRow, [_row(budget, stamp.at_us)])
    else:
        _check_unchanged(known, budget)
        if budget == known:
            return status(transaction, budget, stamp.at_us)
        transaction.change(
            "UPDATE budget SET limit_micro = :limit_micro, ceiling_micro = :ceiling_micro,"
            " mode = :mode, thresholds = :thresholds WHERE id = :id",
            {
                "limit_micro": budget.limit_micro,
                "ceiling_micro": budget.ceiling_micro,
                "mode": budget.mode,
                "thresholds": _words(budget.thresholds),
                "id": budget.id,
            },
            expect=1,
            refused=overtaken,
        )
    _record(transaction, budget.id, _said(budget), stamp)
    return status(transaction, budget, stamp.at_us)


def raise_limit(
    transaction: Transaction,
    name: str,
    amount: Money,
    *,
    until: datetime,
    key: str | None,
    stamp: Stamp,
) -> BudgetStatus:
    """Raise a budget's limit for a time, once per key; the raise ends by itself."""
    transaction.be_alone()
    budget = find_budget(transaction, name)
    content = {
        "operation": "raise",
        "budget": budget.id,
        "amount": str(amount),
        "until": until.astimezone(UTC).isoformat(),
    }
    if idempotency.earlier_result(transaction, key, content) is not None:
        return status(transaction, budget, stamp.at_us)
    if not isinstance(amount, Money):
        raise AmountError("raise", got=amount, allowed="Money, such as Money.parse('50 USD')")
    if not isinstance(amount, Money):
        raise AmountError("raise", got=amount, allowed="Money, such as Money.parse('5 USD')")
    if amount.unit != budget.unit:
        raise AmountError("unit", got=amount.unit, allowed=budget.unit)
    if amount.micro <= 0:
        raise AmountError("raise", got=str(amount), allowed="more than nothing")
    if not (stamp.reason or "").strip():
        raise ConfigError("a raise needs a reason", hint="say why, for the journal")
    if to_us(until) <= stamp.at_us:
        raise ConfigError(
            f"the raise would end at {until:%Y-%m-%d %H:%M %Z}, which has passed",
            hint="name an instant to come",
        )
    raise_id = new_id("rse", next(numbers(stamp.at_us, stamp.chance)))
    row = (raise_id, budget.id, amount.micro, to_us(until), stamp.actor, stamp.reason, stamp.at_us)
    transaction.insert(BudgetRaiseRow, [row])
    idempotency.remember(transaction, key, content, result_id=raise_id, at_us=stamp.at_us)
    _record(transaction, budget.id, {"raise": str(amount), "until": until.isoformat()}, stamp)
    return status(transaction, find_budget(transaction, name), stamp.at_us)


def remove(transaction: Transaction, name: str, *, stamp: Stamp) -> None:
    """Remove a budget: it counts and refuses nothing from now on. Its history stays."""
    transaction.be_alone()
    budget = find_budget(transaction, name)
    transaction.change(
        "UPDATE budget SET removed_at = :at WHERE id = :id",
        {"at": stamp.at_us, "id": budget.id},
        expect=1,
        refused=overtaken,
    )
    _record(transaction, budget.id, {"removed": "yes"}, stamp)


def status(transaction: Transaction, budget: Budget, at_us: int) -> BudgetStatus:
    """Return where a budget stands in the window that holds an instant."""
    starts_us, ends_us = budget.window_at(at_us)
    held, spent = window_figures(transaction, budget, starts_us, ends_us)
    is_endless = budget.window == "none"
    return BudgetStatus(
        budget=budget,
        starts_at=None if is_endless else from_us(starts_us),
        ends_at=None if is_endless else from_us(ends_us),
        limit=Money.from_micro(budget.limit_at(at_us), budget.unit),
        spent=Money.from_micro(spent, budget.unit),
        reserved=Money.from_micro(held, budget.unit),
    )


def window_figures(
    transaction: Transaction, budget: Budget, starts_us: int, ends_us: int
) -> tuple[int, int]:
    """Return what a window holds and has spent, in millionths, opened or not."""
    row = transaction.row(
        "SELECT held_micro, spent_micro FROM budget_window"
        " WHERE budget_id = :budget AND starts_at = :starts",
        budget=budget.id,
        starts=starts_us,
    )
    if row is None:
        return counted(transaction, budget, starts_us, ends_us)
    return int(row["held_micro"]), int(row["spent_micro"])


def open_window(transaction: Transaction, budget: Budget, starts_us: int, ends_us: int) -> bool:
    """Make the row of a window, with what it has counted so far; False if it is there."""
    row = transaction.row(
        "SELECT 1 AS is_there FROM budget_window WHERE budget_id = :budget AND starts_at = :starts",
        budget=budget.id,
        starts=starts_us,
    )
    if row is not None:
        return False
    held, spent = counted(transaction, budget, starts_us, ends_us)
    transaction.insert(BudgetWindowRow, [(budget.id, starts_us, ends_us, held, spent)])
    return True


def counted(
    transaction: Transaction, budget: Budget, starts_us: int, ends_us: int
) -> tuple[int, int]:
    """Work out what a window holds and has spent from the reservations themselves."""
    condition, values = _covered(budget)
    if budget.unit == USD:
        held, spent = "usd_held_micro", "usd_spent_micro"
    else:
        held, spent = "held_micro", "COALESCE(committed_micro, 0) - refunded_micro"
    row = transaction.row(
        f"SELECT COALESCE(SUM({held}), 0) AS held, COALESCE(SUM({spent}), 0) AS spent"
        f" FROM reservation WHERE {condition}"
        " AND created_at >= :starts AND created_at < :ends",
        starts=starts_us,
        ends=ends_us,
        **values,
    )
    return (int(row["held"]), int(row["spent"])) if row else (0, 0)


def every(transaction: Transaction) -> tuple[Budget, ...]:
    """Return every budget that was not removed, by id: the order in which they are locked."""
    raises: dict[str, list[Raise]] = {}
    for row in transaction.rows("SELECT * FROM budget_raise ORDER BY id"):
        raises.setdefault(row["budget_id"], []).append(Raise(row["amount_micro"], row["until_at"]))
    rows = transaction.rows(
        "SELECT budget.*, wallet.name AS wallet_name FROM budget"
        " LEFT JOIN wallet ON wallet.id = budget.wallet_id"
        " WHERE removed_at IS NULL ORDER BY budget.id"
    )
    return tuple(_budget(row, tuple(raises.get(row["id"], ()))) for row in rows)


def by_name(transaction: Transaction, name: str) -> Budget | None:
    """Return a budget by its name, None if there is none."""
    found = [budget for budget in every(transaction) if budget.name == name]
    return found[0] if found else None


def find_budget(transaction: Transaction, name: str) -> Budget:
    """Return a budget by its name; NotFoundError if there is none."""
    found = by_name(transaction, name)
    if found is None:
        raise NotFoundError("budget", name, hint="kling-ledger budget list")
    return found


def _covered(budget: Budget) -> tuple[str, dict[str, Any]]:
    """Write `covers` as a condition on rows of reservations."""
    scope = budget.scope
    parts: list[tuple[str, dict[str, Any]]] = [("1 = 1", {})]
    if budget.wallet_id is not None:
        parts.append(("wallet_id = :wallet", {"wallet": budget.wallet_id}))
    if budget.unit != USD:
        parts.append(("unit = :unit", {"unit": budget.unit}))
    if scope.project is not None and scope.project.endswith("/"):
        length = len(scope.project)
        parts.append(
            (
                f"(project = :project OR substr(project, 1, {length}) = :below)",
                {"project": scope.project.rstrip("/"), "below": scope.project},
            )
        )
    elif scope.project is not None:
        parts.append(("project = :project", {"project": scope.project}))
    if scope.provider is not None:
        parts.append(("provider = :provider", {"provider": scope.provider}))
    if scope.model is not None:
        parts.append(("model = :model", {"model": scope.model}))
    if scope.label is not None:
        # LIKE would not tell capitals apart on SQLite; taking the word out does, on both.
        within = {"label": label_words.within(scope.label)}
        parts.append(("replace(labels, :label, '') <> labels", within))
    condition = " AND ".join(part for part, _ in parts)
    return condition, {name: value for _, values in parts for name, value in values.items()}


def _is_within(project: str | None, scope: str) -> bool:
    if project is None:
        return False
    is_folder = scope.endswith("/")
    return project == scope or (
        is_folder and (project.startswith(scope) or project == scope.rstrip("/"))
    )


def _check(
    name: str,
    limit: Money,
    window: str,
    timezone: str,
    mode: str,
    thresholds: Sequence[int],
    ceiling: Money | None,
) -> None:
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a budget",
            hint="use up to 64 letters, digits and . _ / - beginning with a letter or digit",
        )
    for money in (limit,) if ceiling is None else (limit, ceiling):
        if not isinstance(money, Money):
            raise AmountError("limit", got=money, allowed="Money, such as Money.parse('50 USD')")
        if money.micro < 0:
            raise AmountError("limit", got=str(money), allowed="nothing or more")
        if money.unit != limit.unit:
            raise AmountError("unit of the ceiling", got=money.unit, allowed=limit.unit)
    if window not in REPEATS:
        raise ConfigError(f"there is no window {window!r}", hint=f"use {', '.join(REPEATS)}")
    if mode not in MODES:
        raise ConfigError(f"there is no mode {mode!r}", hint=f"use {' or '.join(MODES)}")
    if not all(0 < threshold <= 1000 for threshold in thresholds):
        raise ConfigError("a threshold is a percentage above 0", hint="such as 50, 80 or 100")
    read_zone(timezone)


def _check_scope(scope: Scope) -> None:
    """Refuse a scope that could cover nothing: such a budget would never refuse either."""
    for field in ("project", "provider", "model"):
        word: str | None = getattr(scope, field)
        if word is not None and (not word.strip("/ ") or "\0" in word):
            raise ConfigError(f"{word!r} names no {field}", hint=f"leave it out for every {field}")
    if scope.label is not None:
        label_words.read_label(scope.label)


def _check_unchanged(known: Budget, given: Budget) -> None:
    before, after = _identity(known), _identity(given)
    for field in before:
        if before[field] != after[field]:
            raise ConflictError(
                f"budget {known.name}", field=field, stored=before[field], given=after[field]
            )


def _identity(budget: Budget) -> dict[str, str | None]:
    scope = budget.scope
    return {
        "wallet": budget.wallet_id and scope.wallet,
        "project": scope.project,
        "provider": scope.provider,
        "model": scope.model,
        "label": scope.label,
        "window": budget.window,
        "timezone": budget.timezone,
        "unit": budget.unit,
    }


def _said(budget: Budget) -> dict[str, str | None]:
    return {
        "limit": str(budget.limit),
        "ceiling": None if budget.ceiling is None else str(budget.ceiling),
        "mode": budget.mode,
        "thresholds": _words(budget.thresholds),
        **_identity(budget),
    }


def _record(
    transaction: Transaction, budget_id: str, change: dict[str, str | None], stamp: Stamp
) -> None:
    said = {name: text for name, text in change.items() if text is not None}
    row = transaction.row(
        "SELECT COALESCE(MAX(step), 0) AS step FROM budget_event WHERE budget_id = :id",
        id=budget_id,
    )
    step = 1 + (int(row["step"]) if row else 0)
    written = json.dumps(said, sort_keys=True, ensure_ascii=False)
    event = (budget_id, step, written, stamp.actor, stamp.reason, stamp.at_us)
    transaction.insert(BudgetEventRow, [event])


def _row(budget: Budget, at_us: int) -> tuple[Any, ...]:
    scope = budget.scope
    return (
        budget.id,
        budget.name,
        budget.unit,
        budget.limit_micro,
        budget.ceiling_micro,
        budget.mode,
        _words(budget.thresholds),
        budget.wallet_id,
        scope.project,
        scope.provider,
        scope.model,
        scope.label,
        budget.window,
        budget.timezone,
        at_us,
        None,
    )


def _budget(row: Row, raises: tuple[Raise, ...]) -> Budget:
    return Budget(
        id=row["id"],
        name=row["name"],
        unit=row["unit"],
        limit_micro=row["limit_micro"],
        ceiling_micro=row["ceiling_micro"],
        mode=row["mode"],
        thresholds=tuple(int(word) for word in row["thresholds"].split(",") if word),
        scope=Scope(
            row["wallet_name"], row["project"], row["provider"], row["model"], row["label"]
        ),
        wallet_id=row["wallet_id"],
        window=row["repeats"],
        timezone=row["timezone"],
        raises=raises,
    )


def _words(thresholds: Sequence[int]) -> str:
    return ",".join(str(threshold) for threshold in thresholds)
