"""`kling-ledger reservation resolve`: many open reservations, all of them or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from kling_ledger import Ledger
from kling_ledger.ledger import Job
from kling_pricing import Money
from tests.cli import Cli

REASON = ("--reason", "the statement names none of them")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A ledger with three jobs in doubt, one submitted, one committed."""
    cli = Cli(tmp_path)
    cli.fund("20 USD")
    with Ledger(str(cli.database)) as ledger:
        for at, (provider, project) in enumerate(
            [("crun", "film/a"), ("crun", "filmed"), ("evolink", "film")]
        ):
            id_ = _sent(ledger, f"doubt-{at}", provider, project)
            ledger.mark_in_doubt(id_, "503")
        _sent(ledger, "submitted", "crun", "film")
        ledger.commit(_sent(ledger, "committed", "crun", "film"))
    return cli


def _sent(ledger: Ledger, key: str, provider: str, project: str) -> str:
    job = Job(provider=provider, account=f"{provider}-1")
    made = ledger.reserve("team", Money.parse("0.5 USD"), job=job, project=project, key=key)
    ledger.mark_submitting(made.id)
    ledger.mark_submitted(made.id, f"t-{key}")
    return made.id


def states(cli: Cli) -> list[str]:
    return sorted(one["state"] for one in cli.reservations())


def resolve(*words: str) -> list[str]:
    return ["reservation", "resolve", *words, *REASON]


def test_without_yes_it_only_says_what_it_would_do(cli: Cli):
    before = cli.reservations()
    said = cli(*resolve("--rollback"))
    assert said.code == 0, said.err
    assert said.lines == ["3 would be rolled back, which hold 1.5 USD; --yes does it"]
    assert cli.reservations() == before


def test_with_yes_all_of_them_are_ended_and_nothing_else(cli: Cli):
    rows = cli.json(*resolve("--rollback", "--yes"))
    assert [row["state"] for row in rows] == ["rolled_back"] * 3
    assert {row["problem"] for row in rows} == {REASON[1]}
    assert states(cli) == ["committed", "rolled_back", "rolled_back", "rolled_back", "submitted"]
    assert (cli.wallet()["spent"], cli.wallet()["reserved"]) == ("0.5", "0.5")
    assert cli.json(*resolve("--rollback", "--yes")) == []


def test_a_commit_is_of_what_is_held_and_is_no_word_of_the_provider(cli: Cli):
    rows = cli.json(*resolve("--commit", "--yes", "--provider", "evolink"))
    assert [(row["committed"], row["settled_by"]) for row in rows] == [("0.5", "quote")]


@pytest.mark.parametrize(
    ("words", "many"),
    [
        (("--provider", "crun"), 2),
        (("--account", "evolink-1"), 1),
        (("--wallet", "team"), 3),
        (("--project", "film"), 2),
        (("--older-than", "1h"), 0),
        (("--where", "submitted"), 1),
    ],
)
def test_every_condition_leaves_out_what_it_is_not_of(cli: Cli, words: tuple[str, ...], many: int):
    assert len(cli.json(*resolve("--rollback", *words))) == many


def test_an_amount_is_for_one_job(cli: Cli):
    said = cli(*resolve("--commit-at", "0.3", "--yes"))
    assert (said.code, "these are 3" in said.err) == (2, True)
    [row] = cli.json(*resolve("--commit-at", "0.3", "--provider", "evolink", "--yes"))
    assert (row["committed"], row["settled_by"]) == ("0.3", "person")


@pytest.mark.parametrize(
    "words", [(), ("--rollback", "--commit"), ("--where", "committed", "--rollback")]
)
def test_what_is_to_be_done_is_said_once_and_only_of_what_is_open(cli: Cli, words: tuple[str, ...]):
    before = cli.reservations()
    assert cli(*resolve(*words, "--yes")).code == 2
    assert cli("reservation", "resolve", "--rollback", "--yes").code == 2
    assert cli.reservations() == before
