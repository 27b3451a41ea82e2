"""The arithmetic that checks servers finds what is wrong: here it is made wrong by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import server_load
from tests.ledgers import tamper
from tests.server_load import Findings, check, read_logs

CALLS = 12


class Stops:
    """A file that is there once it was looked for a number of times."""

    def __init__(self, looks: int) -> None:
        self._left = looks

    def exists(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.fixture(scope="module")
def worked(postgres, tmp_path_factory) -> tuple[str, Sequence[server_load.Answer]]:
    """A ledger on which one caller worked, and what it was told."""
    url = postgres.new_database()
    server_load.set_up(url, 1)
    folder: Path = tmp_path_factory.mktemp("load")
    with (folder / "log").open("w", buffering=1) as told:
        caller = server_load.Caller(0, told, Stops(10**6))
        assert caller.open(url)
        for _ in range(CALLS):
            caller.fund()
            caller.spend()
        caller.close()
    return url, read_logs([folder / "log"])


def test_a_ledger_that_was_left_alone_has_no_findings(worked):
    url, told = worked
    assert len(told) == 1 + 3 * CALLS
    assert check(url, told) == Findings()


ONE = "(SELECT min(id) FROM reservation WHERE state = 'committed')"
FIRST_OF_5 = "(SELECT min(id) FROM transfer WHERE kind = 'fund' AND amount_micro = 5)"


@pytest.mark.parametrize(
    ("law", "statement", "undo"),
    [
        (
            "lost",
            "UPDATE transfer SET amount_micro = 4000 WHERE kind = 'fund' AND amount_micro = 4",
            "UPDATE transfer SET amount_micro = 4 WHERE amount_micro = 4000",
        ),
        (
            "lost",
            f"UPDATE reservation SET state = 'in_doubt' WHERE id = {ONE}",
            "UPDATE reservation SET state = 'committed' WHERE state = 'in_doubt'",
        ),
        (
            "doubled",
            "UPDATE transfer SET amount_micro = 5 WHERE kind = 'fund' AND amount_micro = 4",
            f"UPDATE transfer SET amount_micro = 4 WHERE id = {FIRST_OF_5}",
        ),
        (
            "strange",
            "UPDATE reservation SET actor = 'caller-9' WHERE project = 'load/0-1'",
            "UPDATE reservation SET actor = 'caller-0'",
        ),
        (
            "sums",
            "UPDATE wallet SET reserved_micro = 1 WHERE name = 'team'",
            "UPDATE wallet SET reserved_micro = 0 WHERE name = 'team'",
        ),
        (
            "sums",
            "UPDATE budget_window SET spent_micro = spent_micro + 1",
            "UPDATE budget_window SET spent_micro = spent_micro - 1",
        ),
    ],
)
def test_each_wrong_is_found(worked, law, statement, undo):
    url, told = worked
    tamper(url, statement)
    try:
        assert getattr(check(url, told), law) != []
    finally:
        tamper(url, undo)
    assert check(url, told) == Findings()


def test_what_was_told_failed_and_is_there_is_found(worked):
    url, told = worked
    failed = [
        row | {"told": "failed", "text": "gone"} if row.get("micro") == 3 else row for row in told
    ]
    assert len(check(url, failed).posted_though_failed) == 1
