"""Tables: wallets, budgets, open jobs and refusals as HTML tables, or what to do without any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final

from kling_ledger.gateway.events import Kind
from kling_ledger.gateway.glance import Glance, OpenCount, OpenJob
from kling_ledger.gateway.page.words import amount, instant, sentence, span, text
from kling_ledger.gateway.recent import Recent, Refused
from kling_ledger.ledger import BudgetStatus, State, Wallet
from kling_ledger.ledger.approvals import Approval
from kling_ledger.ledger.scopes import Scope
from kling_pricing.counting import counted
from kling_pricing.money import Money

_BAR: Final = 100
_STATES: Final = {
    State.RESERVED: "reserved, not sent",
    State.SUBMITTING: "being sent",
    State.SUBMITTED: "running",
    State.IN_DOUBT: "in doubt",
}


def section(name: str, title: str, body: str) -> str:
    """Return one part of the page under its heading."""
    return f'<section id="{name}"><h2 id="{name}-h">{title}</h2>{body}</section>'


def wallets(glance: Glance) -> str:
    """Return the wallets, each with its balance and what it holds."""
    if not glance.wallets:
        return _empty(
            "No wallets yet, so nothing can be spent.",
            "Create one and fund it:",
            "kling-ledger wallet create team --unit USD",
            'kling-ledger wallet fund team "100 USD"',
        )
    caption = "Available is posted minus reserved."
    return _table(
        "wallets",
        caption + _more(glance.wallets_in_all - len(glance.wallets), "wallet"),
        (("wallet", ""), ("posted", "n"), ("reserved", "n"), ("available", "n")),
        map(_wallet, glance.wallets),
    )


def budgets(glance: Glance) -> str:
    """Return the budgets, each with what its current window has left and when it resets."""
    if not glance.budgets:
        return _empty(
            "No budgets: the wallets are the only limits.",
            "Set one, for example:",
            'kling-ledger budget set daily --limit "20 USD" --window day',
        )
    caption = "Each in its current window. Left is the limit minus spent and reserved."
    heads = ("left", "limit", "spent", "reserved")
    return _table(
        "budgets",
        caption + _more(glance.budgets_in_all - len(glance.budgets), "budget"),
        (("budget", ""), *((head, "n") for head in heads), ("resets", ""), ("covers", "")),
        (_budget(status, glance.at) for status in glance.budgets),
    )


def approvals(glance: Glance) -> str:
    """Return the jobs that wait for a person, each with the command that approves it."""
    return _table(
        "approvals",
        "None of these were sent. Each is for one job, and expires without a decision."
        + _more(glance.approvals_in_all - len(glance.approvals), "job"),
        (("job", ""), ("cost", "n"), ("asked by", ""), ("expires", ""), ("to let it run", "")),
        (_approval(one, glance.at) for one in glance.approvals),
    )


def jobs(glance: Glance) -> str:
    """Return the jobs that hold credits: those in doubt first, then the latest of the others."""
    in_all = sum(one.jobs for one in glance.open_counts)
    if not in_all:
        return _empty("No open jobs, so nothing is reserved.")
    shown = (*glance.doubts, *glance.running)
    return _in_all(glance) + _table(
        "jobs",
        "In doubt first, then newest first." + _more(in_all - len(shown), "job"),
        (
            ("model", ""),
            ("state", ""),
            ("age", "n"),
            ("held", "n"),
            ("wallet", ""),
            ("project", ""),
            ("reservation", ""),
        ),
        (_job(job, glance.at) for job in shown),
    )


def refusals(recent: Recent, now: datetime) -> str:
    """Return what was refused lately and why, and how many requests there were."""
    counts = recent.counts
    asked = sum(number for kind, number in counts.requests.items() if kind is Kind.SUBMIT)
    refused = sum(counts.refusals.values())
    told = f"Since this gateway started: {counted(asked, 'job')} requested, {refused:,} refused."
    shown = recent.refusals
    if not shown:
        return _empty(told)
    return f"<p>{told}</p>" + _table(
        "refusals",
        "Newest first. Refused jobs were neither sent nor charged.",
        (("at (UTC)", ""), ("why", ""), ("asked for", ""), ("by", "")),
        (_refusal(one, now) for one in shown),
    )


def _wallet(wallet: Wallet) -> str:
    return _row(
        wallet.name,
        f"{text(wallet.name)} <small>{text(wallet.unit)}</small>",
        *(_figure(money) for money in (wallet.posted, wallet.reserved, wallet.available)),
    )


def _budget(status: BudgetStatus, now: datetime) -> str:
    budget = status.budget
    warns = "" if budget.mode == "hard" else " <small>(only warns)</small>"
    return _row(
        budget.id,
        f"{text(budget.name)} <small>{text(budget.unit)}</small>{warns}{_bar(status)}",
        *(_figure(money) for money in (status.left, status.limit, status.spent, status.reserved)),
        _cell(_resets(status, now)),
        _cell(_covers(budget.scope), "w"),
    )


def _approval(asked: Approval, now: datetime) -> str:
    of = " ".join(filter(None, (text(asked.wallet), text(asked.project))))
    left = span((asked.expires_at - now).total_seconds())
    return _row(
        asked.id,
        f"{sentence(asked.said)} <small>{of}</small>",
        _cell(f"{amount(asked.asked)} <small>{text(asked.asked.unit)}</small>", "n"),
        _cell(text(asked.asked_by), "w"),
        _cell(f"in {left}"),
        _cell(f"<code>kling-ledger approval grant {text(asked.id)}</code>", "w"),
    )


def _bar(status: BudgetStatus) -> str:
    """Draw how much of a limit is spent and reserved; the figures beside it say the same."""
    limit, spent, reserved = status.limit.amount, status.spent.amount, status.reserved.amount
    if limit <= 0:
        return ""
    to_spent = min(int(_BAR * spent / limit), _BAR)
    to_reserved = min(int(_BAR * (spent + reserved) / limit), _BAR)
    kind = " beyond" if status.left.amount < 0 else ""
    return (
        f'<svg class="bar{kind}" viewBox="0 0 {_BAR} 6" preserveAspectRatio="none"'
        f' aria-hidden="true"><rect class="track" width="{_BAR}" height="6"/>'
        f'<rect class="held" width="{to_reserved}" height="6"/>'
        f'<rect class="spent" width="{to_spent}" height="6"/></svg>'
    )


def _resets(status: BudgetStatus, now: datetime) -> str:
    if status.ends_at is None:
        return "never"
    left = span((status.ends_at - now).total_seconds())
    return f"in {left} <small>{text(status.budget.window)}, {instant(status.ends_at, now)}</small>"


def _covers(scope: Scope) -> str:
    named = ("wallet", "project", "provider", "model", "label")
    told = [f"{name} {text(getattr(scope, name))}" for name in named if getattr(scope, name)]
    return ", ".join(told) or "every job"


def _job(job: OpenJob, now: datetime) -> str:
    doubt = "doubt" if job.state is State.IN_DOUBT else ""
    return _row(
        job.id,
        f"{text(job.model) or 'no model'} <small>{text(job.provider)}</small>",
        _cell(_STATES[job.state], doubt),
        _cell(span((now - job.created_at).total_seconds()), "n"),
        _cell(f"{amount(job.held)} <small>{text(job.held.unit)}</small>", "n"),
        _cell(text(job.wallet)),
        _cell(text(job.project), "w"),
        _cell(f"<code>{text(job.id)}</code>"),
    )


def _in_all(glance: Glance) -> str:
    """Say how many jobs are in each state, what they hold, and what to do about doubt."""
    told = "".join(
        f"<li>{_of_state(state, list(counts), glance.at)}</li>"
        for state, counts in groupby(glance.open_counts, key=lambda one: one.state)
    )
    doubt = (
        "<p>In doubt: whether the provider charged them is not known yet, so their credits stay "
        "reserved. <code>kling-ledger resume</code> polls them again and says what a person can "
        "do.</p>"
        if glance.doubts
        else ""
    )
    return f'<ul class="sums">{told}</ul>{doubt}'


def _of_state(state: State, counts: Sequence[OpenCount], now: datetime) -> str:
    jobs = sum(one.jobs for one in counts)
    held = " and ".join(_money(one.held) for one in counts)
    oldest_s = max((now - one.oldest_at).total_seconds() for one in counts)
    return f"{counted(jobs, 'job')} {_STATES[state]}: {held} held, the oldest for {span(oldest_s)}"


def _refusal(refused: Refused, now: datetime) -> str:
    hint = f"<small>{sentence(refused.hint)}</small>" if refused.hint else ""
    asked = " ".join(filter(None, (text(refused.model), text(refused.action))))
    cost = f"<small>{_money(refused.asked)}</small>" if refused.asked else ""
    by = [
        f"{name} {text(given)}"
        for name, given in (("token", refused.caller), ("project", refused.project))
        if given
    ]
    return _row(
        str(refused.number),
        instant(refused.at, now),
        _cell(f"{sentence(refused.reason)} {hint}", "w why"),
        _cell(f"{text(refused.provider)} {asked} {cost}", "w"),
        _cell("<br>".join(by) or text(refused.wallet), "w"),
    )


def _table(name: str, caption: str, heads: Iterable[tuple[str, str]], rows: Iterable[str]) -> str:
    """Return a table in its own region, which scrolls on a narrow screen."""
    head = "".join(f'<th scope="col"{_class(kind)}>{title}</th>' for title, kind in heads)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{name}-h">'
        f"<table><caption><span>{caption}</span></caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(key: str, first: str, *cells: str) -> str:
    return f'<tr data-key="{text(key)}"><th scope="row">{first}</th>{"".join(cells)}</tr>'


def _cell(content: str, kind: str = "") -> str:
    return f"<td{_class(kind)}>{content}</td>"


def _figure(money: Money) -> str:
    return _cell(amount(money), "n neg" if money.amount < 0 else "n")


def _money(money: Money) -> str:
    return f"{amount(money)} {text(money.unit)}"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _more(number: int, noun: str) -> str:
    return f" {counted(number, noun)} more not shown." if number > 0 else ""


def _empty(*lines: str) -> str:
    return "".join(_line(line) for line in lines)


def _line(line: str) -> str:
    is_command = line.startswith("kling-ledger ")
    return f"<pre>{sentence(line)}</pre>" if is_command else f"<p>{sentence(line)}</p>"
