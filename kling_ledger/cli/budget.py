"""`kling-ledger budget`: set, raise, remove and show limits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli.budget_history import history
from kling_ledger.cli.inputs import When, key_option
from kling_ledger.cli.keys import keyed
from kling_ledger.cli.known_words import (
    in_known_unit,
    known_model,
    known_provider,
    unknown_option,
)
from kling_ledger.cli.output import (
    database_option,
    format_option,
    instant,
    print_many,
    print_one,
    say,
)
from kling_pricing.money import USD, Money, plain, plain_or_none

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_ledger.ledger import Budget, BudgetStatus, Ledger, Scope
    from kling_ledger.ledger.budget_history import Matched

_COLUMNS = (
    "name",
    "covers",
    "limit",
    "base_limit",
    "spent",
    "reserved",
    "left",
    "unit",
    "jobs",
    "window",
    "frees_at",
    "mode",
)
_OPTIONAL = ("mode", "frees_at", "unit", "window", "jobs")
_WINDOWS = ("none", "hour", "day", "week", "month")
_MODES = ("hard", "warn")
_SCOPE = ("wallet", "project", "provider", "model", "label")
_NOTHING = "none"


@click.group()
def budget() -> None:
    """Set limits over what is reserved and spent: by wallet, project, provider, model, label."""


budget.add_command(history)


@budget.command("set")
@click.argument("name")
@click.option("--limit", metavar="AMOUNT", help='The limit, such as "50 USD".')
@click.option("--wallet", help="Count only jobs that this wallet pays for.")
@click.option(
    "--project", help="Count only this project; with a / at the end, everything below it too."
)
@click.option("--provider", help="Count only jobs of this provider.")
@click.option("--model", help="Count only jobs of this model.")
@click.option("--label", metavar="NAME=VALUE", help="Count only jobs with this label.")
@click.option(
    "--window", type=click.Choice(_WINDOWS), help="How often the limit resets. [default: none]"
)
@click.option(
    "--timezone",
    metavar="ZONE",
    help="The time zone of the window, such as Europe/Berlin. [default: UTC]",
)
@click.option(
    "--mode",
    type=click.Choice(_MODES),
    help="Refuse jobs beyond the limit, or only warn. [default: hard]",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    type=click.IntRange(1, 1000),
    metavar="PERCENT",
    help="Warn once this much is used; may be repeated. [default: 80, 100]",
)
@click.option(
    "--ceiling", metavar="AMOUNT", help="The most that one job may cost; `none` removes it."
)
@click.option("--reason", help="The reason, kept in the journal.")
@unknown_option
@database_option
@format_option
def set_(
    name: str,
    limit: str | None,
    db: str | None,
    form: str,
    *,
    takes_unknown: bool,
    window: str | None,
    timezone: str | None,
    mode: str | None,
    thresholds: tuple[int, ...],
    ceiling: str | None,
    reason: str | None,
    **scope: str | None,
) -> None:
    """Set a limit, or change the budget NAME; options you omit keep their value.

    \b
    kling-ledger budget set film --limit "50 USD" --project film/ --window month
    kling-ledger budget set each-day --limit "500 crun-credit" --window day --mode warn
    kling-ledger budget set film --limit "60 USD" --ceiling "2 USD"

    A limit in USD counts every job by its amount in US dollars, a limit in another unit only the
    jobs in that unit. Jobs already in its window count too. A budget's scope and window never
    change: remove it and set another.
    """
    from kling_ledger.errors import NotFoundError
    from kling_ledger.ledger import Ledger
    from kling_ledger.ledger.budgets import DEFAULT_THRESHOLDS

    with Ledger(db, create=False) as ledger:
        try:
            known: Budget | None = ledger.budgets.get(name).budget
        except NotFoundError:
            known = None
        most, covers = _limit(name, known, limit), _scope(known, scope)
        if not takes_unknown:
            most, covers = _in_known_words(ledger, known, most, covers)
        found = ledger.budgets.set(
            name,
            most,
            scope=covers,
            window=window or (known.window if known else "none"),
            timezone=timezone or (known.timezone if known else "UTC"),
            mode=mode or (known.mode if known else "hard"),
            thresholds=thresholds or (known.thresholds if known else DEFAULT_THRESHOLDS),
            ceiling=_ceiling(known, ceiling, most.unit),
            reason=reason,
        )
        past = _past(ledger, name)
    _print(found, form, past)


@budget.command("list")
@database_option
@format_option
def list_budgets(db: str | None, form: str) -> None:
    """List all budgets, with the figures of their current window."""
    from kling_ledger.ledger import Ledger

    now = datetime.now(UTC)
    with Ledger(db, create=False) as ledger:
        matched = ledger.budgets.matched()
        rows = [
            budget_dict(found, now) | _matched_dict(matched[found.budget.name])
            for found in ledger.budgets.all(at=now)
        ]
    empty = "no budgets yet: kling-ledger budget set NAME --limit AMOUNT"
    # Without a raise it equals the limit, and would only repeat it.
    is_raised = form != "table" or any(row["raises"] for row in rows)
    columns = [name for name in _COLUMNS if is_raised or name != "base_limit"]
    print_many(rows, columns, form, empty=empty, optional=_OPTIONAL)


@budget.command()
@click.argument("name")
@database_option
@format_option
def show(name: str, db: str | None, form: str) -> None:
    """Show one budget: its scope, the jobs it has matched, and who changed what.

    `budget history` also covers removed budgets; `report limits` covers all budgets.
    """
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        found = ledger.budgets.get(name)
        past = _past(ledger, name)
    _print(found, form, past)


@budget.command("raise")
@click.argument("name")
@click.argument("amount")
@click.option(
    "--until",
    type=When(),
    required=True,
    metavar="WHEN",
    help="When it ends: 2h, 3d, or an instant such as 2026-12-01T00:00+01:00.",
)
@click.option("--reason", required=True, help="The reason, kept in the journal.")
@key_option
@database_option
@format_option
def raise_(
    name: str,
    amount: str,
    until: datetime,
    reason: str,
    key: str | None,
    db: str | None,
    form: str,
) -> None:
    """Raise a limit by AMOUNT for a time; the raise ends by itself."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        more = Money.parse(amount, default_unit=ledger.budgets.get(name).budget.unit)
        with keyed(key, until=until) as own:
            found = ledger.budgets.raise_limit(name, more, until=until, reason=reason, key=own)
        past = _past(ledger, name)
    _print(found, form, past)


@budget.command()
@click.argument("name")
@click.option("--reason", help="The reason, kept in the journal.")
@database_option
@format_option
def remove(name: str, reason: str | None, db: str | None, form: str) -> None:
    """Remove a budget and print its last state; it no longer limits anything."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        found = ledger.budgets.get(name)
        past = _past(ledger, name)
        ledger.budgets.remove(name, reason=reason)
    _print(found, form, past)
    say(f"budget {name} is removed and no longer limits anything")


def budget_dict(found: BudgetStatus, at: datetime) -> dict[str, Any]:
    """Return a budget for printing: amounts as plain decimal strings in its unit."""
    known = found.budget
    raises = [one for one in known.raises if at < _instant(one.until_us)]
    return {
        "id": known.id,
        "name": known.name,
        "limit": plain(found.limit.amount),
        "base_limit": plain(known.limit.amount),
        "spent": plain(found.spent.amount),
        "reserved": plain(found.reserved.amount),
        "left": plain(found.left.amount),
        "unit": known.unit,
        "mode": known.mode,
        "thresholds": list(known.thresholds),
        "ceiling": plain_or_none(known.ceiling),
        "covers": _covers(known.scope),
        **{name: getattr(known.scope, name) for name in _SCOPE},
        "window": known.window,
        "timezone": known.timezone,
        "starts_at": found.starts_at and instant(found.starts_at),
        "frees_at": found.ends_at and instant(found.ends_at),
        "raises": [
            {
                "amount": plain(Money.from_micro(one.amount_micro, known.unit).amount),
                "until": instant(_instant(one.until_us)),
            }
            for one in raises
        ],
    }


def _covers(scope: Scope) -> str:
    """Format a budget's scope for a list."""
    said = [f"{name} {getattr(scope, name)}" for name in _SCOPE if getattr(scope, name) is not None]
    return ", ".join(said) or "everything"


def _past(ledger: Ledger, name: str) -> dict[str, Any]:
    """Return what a budget has matched so far, and its history."""
    from kling_ledger.ledger.budget_history import changes

    events = ledger.budgets.history(name)
    fields: dict[int, list[dict[str, str | None]]] = {id(event): [] for event in events}
    for one in changes(events):
        fields[id(one.event)].append({"field": one.field, "from": one.before, "to": one.after})
    told = [
        {
            "at": instant(one.at),
            "by": one.actor,
            "reason": one.reason,
            "change": dict(one.change),
            "fields": fields[id(one)],
        }
        for one in events
    ]
    return {**_matched_dict(ledger.budgets.matched()[name]), "history": told}


def _matched_dict(matched: Matched) -> dict[str, Any]:
    return {"jobs": matched.jobs, "matched": plain(matched.amount.amount)}


def _said(event: Mapping[str, Any]) -> str:
    change = ", ".join(map(_changed, event["fields"]))
    why = f" ({event['reason']})" if event["reason"] else ""
    return f"{event['at']} {event['by']}: {change}{why}"


def _changed(field: Mapping[str, Any]) -> str:
    if field["from"] is None:
        return f"{field['field']} {field['to']}"
    return f"{field['field']} {field['from']} -> {field['to'] or 'none'}"


def _print(found: BudgetStatus, form: str, past: Mapping[str, Any]) -> None:
    told = {**budget_dict(found, datetime.now(UTC)), **past}
    if form == "table":
        told["base_limit"] = told["base_limit"] if told["raises"] else None
        told["history"] = [_said(event) for event in told["history"]]
        told["thresholds"] = ", ".join(f"{percent} %" for percent in told["thresholds"])
        told["raises"] = [f"{one['amount']} until {one['until']}" for one in told["raises"]]
    print_one(told, form)


def _in_known_words(
    ledger: Ledger, known: Budget | None, most: Money, covers: Scope
) -> tuple[Money, Scope]:
    """Return a limit and a scope with known units, providers and models; UsageError for others.

    Words that the budget already has are not checked again.
    """
    from kling_pricing.library import open_library

    library = open_library()
    stored = known.scope if known else None
    if known is None or most.unit != known.unit:
        most = in_known_unit(most, ledger, library)
    if covers.provider is not None and not (stored and stored.provider == covers.provider):
        covers = replace(covers, provider=known_provider(covers.provider, library))
    if covers.model is not None and not (stored and stored.model == covers.model):
        covers = replace(covers, model=known_model(covers.model, covers.provider, library))
    return most, covers


def _scope(known: Budget | None, given: Mapping[str, str | None]) -> Scope:
    from kling_ledger.ledger import Scope

    kept = {name: getattr(known.scope, name) if known else None for name in _SCOPE}
    return Scope(**{name: kept[name] if given[name] is None else given[name] for name in _SCOPE})


def _limit(name: str, known: Budget | None, given: str | None) -> Money:
    if given is not None:
        return Money.parse(given, default_unit=known.unit if known else USD)
    if known is None:
        raise click.UsageError(
            f'budget {name} does not exist yet: give it a --limit, such as "50 USD"'
        )
    return known.limit


def _ceiling(known: Budget | None, given: str | None, unit: str) -> Money | None:
    if given is None:
        return known.ceiling if known else None
    return None if given == _NOTHING else Money.parse(given, default_unit=unit)


def _instant(us: int) -> datetime:
    from kling_ledger.ledger.ids import from_us

    return from_us(us)
