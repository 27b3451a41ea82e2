"""Document: the whole page, and the part of it that is refreshed while it is open."""

from __future__ import annotations

from typing import Final

from kling_ledger.gateway.glance import Glance, Spend
from kling_ledger.gateway.page import tables
from kling_ledger.gateway.page.words import amount, moment, text
from kling_ledger.gateway.recent import Recent

_RELOAD_S: Final = 10
_PARTS: Final = (
    ("wallets", "Wallets"),
    ("budgets", "Budgets"),
    ("jobs", "Open jobs"),
    ("refusals", "Refused lately"),
)
_ALL_PARTS: Final = (("approvals", "Waiting for approval"), *_PARTS)
"""All parts, including the one that is shown only while a person has something to decide."""
_NAV: Final = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in _PARTS)
_HEAD: Final = f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>kling-ledger gateway</title>
<link rel="icon" href="/page/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/page/page.css">
<script src="/page/page.js" defer></script>
<noscript><meta http-equiv="refresh" content="{_RELOAD_S}"></noscript>
</head>
<body>
<a class="skip" href="#live">to the figures</a>
<header>
<h1>kling-ledger gateway</h1>
<p id="state" role="status"></p>
<nav aria-label="parts of this page"><ul>{_NAV}</ul></nav>
</header>
"""
_FOOT: Final = """
<footer><p>Amounts are exact and times are UTC. Spent is charges minus refunds. This page is
read-only.</p></footer> </body> </html>
"""


def whole(glance: Glance | None, recent: Recent) -> str:
    """Return the page; None stands for a ledger that cannot be read."""
    return f"{_HEAD}{live(glance, recent)}{_FOOT}"


def live(glance: Glance | None, recent: Recent) -> str:
    """Return the part of the page that changes, as one element."""
    if glance is None:
        return (
            '<main id="live"><p class="problem">The ledger cannot be read right now, so no'
            " figures are shown. Until it can be, no job is let through. The gateway's log has the"
            " reason.</p></main>"
        )
    parts = {
        "approvals": tables.approvals(glance) if glance.approvals else "",
        "wallets": tables.wallets(glance),
        "budgets": tables.budgets(glance),
        "jobs": tables.jobs(glance),
        "refusals": tables.refusals(recent, glance.at),
    }
    told = "\n".join(
        tables.section(name, title, parts[name]) for name, title in _ALL_PARTS if parts[name]
    )
    return (
        f'<main id="live"><p id="as-of">As of {moment(glance.at)}.</p>'
        f"{_spend(glance)}\n{told}</main>"
    )


def _spend(glance: Glance) -> str:
    if not glance.spend:
        return ""
    return f'<ul class="tiles">{"".join(map(_tile, glance.spend))}</ul>'


def _tile(spend: Spend) -> str:
    unit = text(spend.today.unit)
    return (
        f'<li data-key="{unit}"><span>spent today</span> <b>{amount(spend.today)}</b>'
        f' <span class="unit">{unit}</span>'
        f" <span>{amount(spend.month)} {unit} this month</span></li>"
    )
