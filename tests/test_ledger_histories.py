"""The journal of a history is the same bytes on both engines, and what it was in earlier builds.

`goldens/journals.txt` holds a digest for each seed. A change of the journal's meaning changes them:
then say in the changelog what changed, and write them anew with

    python -m tests.test_ledger_histories
"""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path
from typing import Final

import pytest

from tests.ledger_histories import digest_of_history
from tests.ledgers import SLOTS, make_empty

GOLDENS: Final = Path(__file__).with_name("goldens") / "journals.txt"
USUAL: Final = 16
"""How many of the histories are made in every run."""


def goldens() -> dict[int, str]:
    rows = (line.split() for line in GOLDENS.read_text().splitlines())
    return {int(seed): digest for seed, digest in rows}


def check_in_files(seeds: dict[int, str], folder: Path) -> None:
    found = {seed: digest_of_history(str(folder / f"{seed}.sqlite"), seed) for seed in seeds}
    assert found == seeds


def check_on_a_server(seeds: dict[int, str], url: str, *, slots: int = 0) -> None:
    found = {}
    for seed in seeds:
        make_empty(url, slots=slots)
        found[seed] = digest_of_history(url, seed)
    assert found == seeds


def test_a_history_leaves_the_same_journal_in_a_file(tmp_path: Path):
    check_in_files(dict(islice(goldens().items(), USUAL)), tmp_path)


def test_a_history_leaves_the_same_journal_on_a_server(postgres_ledger: str):
    check_on_a_server(dict(islice(goldens().items(), USUAL)), postgres_ledger)


def test_a_history_leaves_the_same_journal_with_slots(postgres_ledger: str):
    check_on_a_server(dict(islice(goldens().items(), USUAL)), postgres_ledger, slots=SLOTS)


@pytest.mark.slow
def test_300_histories_leave_the_same_journals_in_files(tmp_path: Path):
    check_in_files(goldens(), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("slots", [0, 1, SLOTS, 16])
def test_300_histories_leave_the_same_journals_on_a_server(postgres_ledger: str, slots: int):
    check_on_a_server(goldens(), postgres_ledger, slots=slots)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        written = [
            f"{seed} {digest_of_history(f'{scratch}/{seed}.sqlite', seed)}\n" for seed in goldens()
        ]
    GOLDENS.write_text("".join(written))
