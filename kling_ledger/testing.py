"""Testing: a sandbox, a ledger and a few checks, for test suites of programs that spend.

    from kling_ledger import testing

    def test_a_teaser_costs_what_we_planned():
        with testing.sandbox() as provider, testing.ledger(team="2 USD") as ledger:
            make_the_teaser(ledger, base_url=provider.url, api_key=provider.settings.api_key)
            testing.drain(ledger, api_key=provider.settings.api_key)
            testing.assert_spent(ledger, "team", "0.675 USD")

Nothing here is a mock: jobs run over real HTTP on loopback, money moves in a real SQLite file.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.recovery import Meters, Recovery
from kling_ledger.jobs.watch import Patience
from kling_ledger.ledger import Ledger, Reservation
from kling_ledger.providers.registry import connect
from kling_ledger.sandbox import Sandbox, SandboxSettings
from kling_pricing.money import Money

JOB_S = 0.2
"""How long a job of the sandbox takes here, in seconds, unless a test says otherwise."""

_POLL_EVERY_S = 0.05


def sandbox(**settings: Any) -> AbstractContextManager[Sandbox]:
    """Return a sandbox of all gateways on loopback, running while the `with` block lasts.

    `settings` are those of `SandboxSettings`, for example `job_s=1.0` or `misbehave=7`.
    """
    return Sandbox(SandboxSettings(**{"job_s": JOB_S, **settings}))


@contextmanager
def ledger(url: str | None = None, *, actor: str = "tester", **wallets: str) -> Iterator[Ledger]:
    """Open a ledger with funded wallets: `ledger(team="2 USD", film="50 evolink-credit")`.

    Without a `url` it is a temporary file. Raises AssertionError if the ledger does not verify at
    the end of the block.
    """
    with (
        TemporaryDirectory(prefix="kling-ledger-") as folder,
        Ledger(url or str(Path(folder) / "ledger.sqlite"), actor=actor) as opened,
    ):
        for name, funds in wallets.items():
            amount = Money.parse(funds)
            opened.wallets.create(name, amount.unit)
            opened.wallets.fund(name, amount)
        yield opened
        assert_clean(opened)


def assert_clean(ledger: Ledger) -> None:
    """Raise AssertionError, naming each finding, unless the ledger verifies."""
    findings = ledger.verify().findings
    assert not findings, "\n".join(str(finding) for finding in findings)  # noqa: S101


def assert_spent(
    ledger: Ledger, wallet: str, amount: str | Money, *, reserved: str | Money | None = None
) -> None:
    """Raise AssertionError unless a wallet has spent exactly `amount` and still holds `reserved`.

    `reserved` is zero by default: credits held for an open job are not yet spent.
    """
    found = ledger.wallets.get(wallet)
    unit = found.spent.unit
    expected = _money(amount, unit), _money(reserved or Money.zero(unit), unit)
    told = f"wallet {wallet}: spent {found.spent}, reserved {found.reserved}"
    wanted = f"expected: spent {expected[0]}, reserved {expected[1]}"
    assert (found.spent, found.reserved) == expected, f"{told}; {wanted}"  # noqa: S101


def drain(ledger: Ledger, *, api_key: str, timeout_s: float = 30.0) -> list[Reservation]:
    """Follow every open job until none is left; return how they ended.

    Jobs are polled where they were submitted, with `api_key`. Raises AssertionError, naming them,
    for jobs still open after `timeout_s`.
    """
    opened = [one.id for one in ledger.reservations.open()]
    give_up_at = time.monotonic() + timeout_s
    meters = Meters(lambda name, address: _meter(ledger, name, address, api_key, timeout_s))
    try:
        while ledger.reservations.open() and time.monotonic() < give_up_at:
            recovery = Recovery(ledger, meters, now=datetime.now(UTC), grace_s=0, waits=True)
            for _ in recovery.run():
                pass
            time.sleep(_POLL_EVERY_S)
    finally:
        meters.close()
    left = [f"{one.id} is {one.state}: {one.problem}" for one in ledger.reservations.open()]
    assert not left, "still open:\n" + "\n".join(left)  # noqa: S101
    return [ledger.reservations.get(one) for one in opened]


def _meter(
    ledger: Ledger, provider: str, address: str | None, api_key: str, timeout_s: float
) -> Meter:
    connected = connect(provider, api_key=api_key, base_url=address)
    patience = Patience(poll_every_s=_POLL_EVERY_S, longest_s=timeout_s)
    # The wallet is asked for only by new reservations, and none is made here.
    return Meter(ledger, connected, wallet="", patience=patience)


def _money(amount: str | Money, unit: str) -> Money:
    return Money.parse(amount, default_unit=unit) if isinstance(amount, str) else amount
