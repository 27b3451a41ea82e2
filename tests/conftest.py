"""What every test room shares: a ledger in a file of its own, a funded wallet, a sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kling_ledger import Ledger
from kling_ledger.sandbox import Sandbox, SandboxSettings
from kling_pricing import Money


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KLING_LEDGER_DB", "KLING_LEDGER_ACTOR", "RUNAPI_API_KEY", "CRUN_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KLING_LEDGER_BOOKS", "no-such-folder-of-books")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger in an SQLite file."""
    with Ledger(str(tmp_path / "ledger.sqlite"), actor="tester") as opened:
        yield opened


@pytest.fixture
def team(ledger: Ledger) -> str:
    """The name of a wallet that holds 2 USD."""
    ledger.create_wallet("team", "USD")
    ledger.fund_wallet("team", Money.parse("2 USD"))
    return "team"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox whose jobs take a fifth of a second."""
    with Sandbox(SandboxSettings(job_s=0.2)) as running:
        yield running
