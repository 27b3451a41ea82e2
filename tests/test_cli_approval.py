"""`kling-ledger approval`: a person sees what is asked, and says yes or no once."""

from __future__ import annotations

from pathlib import Path

import pytest

from kling_ledger import Ledger
from kling_ledger.cli import exit_code
from kling_ledger.cli.hints import hint_for
from kling_ledger.errors import ApprovalNeededError
from kling_ledger.jobs.approving import approved
from kling_ledger.ledger import Asked, Job
from kling_pricing import Money
from tests.cli import Cli

JOB = Job(
    provider="runapi",
    model="kling-3.0",
    action="text_to_video",
    seconds="10",
    request='{"prompt": "a secret lake"}',
    payload_hash="a" * 64,
)


def usd(amount: str) -> Money:
    return Money.parse(f"{amount} USD")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    cli = Cli(tmp_path, {"KLING_LEDGER_ACTOR": "ada"})
    cli.fund("10 USD")
    return cli


def let_in(cli: Cli, amount: str = "5") -> Asked:
    """Ask for a job as an agent does, and reserve it if that is approved."""
    asked = Asked("team", usd(amount), job=JOB, project="film")
    with Ledger(str(cli.database), actor="agent") as ledger:
        admitted = approved(ledger, asked, above=usd("2"), asked_by="bot")
        ledger.reserve_many([admitted])
    return admitted


def question(cli: Cli, amount: str = "5") -> str:
    with pytest.raises(ApprovalNeededError) as caught:
        let_in(cli, amount)
    return caught.value.approval


def test_what_waits_is_listed_with_all_that_a_person_has_to_know(cli: Cli) -> None:
    first = question(cli)
    (row,) = cli.json("approval", "list")
    assert row.pop("asked_at") < row.pop("expires_at")
    assert row == {
        "id": first,
        "said": "kling-3.0 text_to_video at runapi, 10 s",
        "asked": "5",
        "ceiling": "5",
        "unit": "USD",
        "wallet": "team",
        "project": "film",
        "provider": "runapi",
        "model": "kling-3.0",
        "action": "text_to_video",
        "state": "undecided",
        "asked_by": "bot",
        "decided_by": None,
        "decided_at": None,
        "reason": None,
        "reservation_id": None,
        "payload_hash": "a" * 64,
    }
    table = cli("approval", "list").out
    assert first in table
    assert "secret lake" not in table


def test_the_hint_of_a_refusal_is_the_command_that_grants_it(cli: Cli) -> None:
    with pytest.raises(ApprovalNeededError) as caught:
        let_in(cli)
    hint = hint_for(caught.value) or ""
    assert hint.startswith(f"a person grants it with: {caught.value.command};")
    assert exit_code(caught.value) == 3
    said = cli(*caught.value.command.split()[1:])
    assert said.code == 0
    assert let_in(cli).key == f"approval/{caught.value.approval}"


def test_a_granted_job_is_made_once(cli: Cli) -> None:
    asked = question(cli)
    granted = cli.json("approval", "grant", asked, "--reason", "the client waits")
    assert (granted["state"], granted["decided_by"]) == ("granted", "ada")
    assert granted["reason"] == "the client waits"
    let_in(cli)
    used = cli.json("approval", "show", asked)
    assert used["state"] == "used"
    assert used["reservation_id"] == cli.reservations()[0]["id"]
    assert question(cli) != asked
    assert cli.wallet()["reserved"] == "5"


def test_a_grant_may_allow_for_a_price_that_rises(cli: Cli) -> None:
    asked = question(cli)
    assert cli.json("approval", "grant", asked, "--max-cost", "6")["ceiling"] == "6"
    assert question(cli, "6.000001") != asked
    let_in(cli, "6")


def test_below_what_was_asked_nothing_is_granted(cli: Cli) -> None:
    said = cli("approval", "grant", question(cli), "--max-cost", "4.99 USD")
    assert said.code == 2
    assert "at least what was asked, 5 USD" in said.err


def test_a_denial_has_a_reason_and_leaves_the_list(cli: Cli) -> None:
    asked = question(cli)
    assert cli("approval", "deny", asked).code == 2
    denied = cli.json("approval", "deny", asked, "--reason", "too long")
    assert (denied["state"], denied["reason"]) == ("denied", "too long")
    assert cli("approval", "list").lines == ["nothing waits for an approval"]
    assert [one["id"] for one in cli.json("approval", "list", "--all")] == [asked]


def test_the_second_who_decides_is_told_who_did(cli: Cli) -> None:
    asked = question(cli)
    cli("approval", "grant", asked)
    cli.environ["KLING_LEDGER_ACTOR"] = "ben"
    said = cli("approval", "deny", asked, "--reason", "too long")
    assert said.code == 2
    assert f"approval {asked} was granted by ada at" in said.err
    assert said.lines[-1] == f"hint: kling-ledger approval show {asked}"


def test_an_approval_that_nobody_asked_for_is_not_found(cli: Cli) -> None:
    for words in (("show", "apr_1"), ("grant", "apr_1"), ("deny", "apr_1", "--reason", "no")):
        said = cli("approval", *words)
        assert said.code == 2
        assert said.lines == [
            "error: no such approval: apr_1",
            "hint: kling-ledger approval list --all",
        ]


def test_an_empty_ledger_has_nothing_to_approve(cli: Cli) -> None:
    assert cli("approval", "list").lines == ["nothing waits for an approval"]
    assert cli("approval", "list", "--all").lines == ["no approvals yet"]
    assert cli.json("approval", "list") == []
