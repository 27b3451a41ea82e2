"""`kling-ledger reservation`: what a script in any language needs, with JSON and exit codes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.ledger import Ledger
from kling_pricing import Money
from tests.cli import Cli, Said, body


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command with a wallet `team` that holds 10 USD."""
    cli = Cli(tmp_path)
    cli.fund("10 USD")
    return cli


def create(cli: Cli, *words: str, stdin: str = "") -> dict[str, Any]:
    made = cli.json("reservation", "create", "--wallet", "team", *words, stdin=stdin)
    return dict(made)


def do(cli: Cli, word: str, *words: str) -> dict[str, Any]:
    return dict(cli.json("reservation", word, *words))


def refused(cli: Cli, *words: str, stdin: str = "") -> Said:
    said = cli("reservation", *words, stdin=stdin)
    assert said.out == ""
    return said


def test_the_whole_life_of_a_job_in_five_calls(cli: Cli) -> None:
    made = create(cli, "--amount", "0.675 USD", "--project", "film/teaser", "--key", "job-7")
    assert (made["state"], made["reserved"], made["project"]) == (
        "reserved",
        "0.675",
        "film/teaser",
    )
    assert cli.wallet()["reserved"] == "0.675"
    assert do(cli, "submitting", made["id"])["state"] == "submitting"
    assert do(cli, "submitted", made["id"], "task-1")["task_id"] == "task-1"
    ended = do(cli, "commit", made["id"], "--amount", "0.6 USD", "--reason", "the bill")
    assert (ended["state"], ended["committed"], ended["settled_by"]) == (
        "committed",
        "0.6",
        "person",
    )
    # What a person says of a cost confirms no quote.
    assert ended["variance"] is None
    assert do(cli, "show", made["id"]) == ended
    wallet = cli.wallet()
    assert (wallet["spent"], wallet["reserved"], wallet["available"]) == ("0.6", "0", "9.4")


def test_a_request_body_is_priced_and_kept(cli: Cli) -> None:
    words = ("--provider", "runapi", "--request", "-", "--label", "team=a", "--label", "shot=7")
    made = create(cli, *words, stdin=body())
    assert (made["amount"], made["provider"], made["model"]) == ("1.35", "runapi", "kling-3.0")
    # RunAPI has two figures for it, and the higher is set aside.
    assert (made["quoted"], made["low"], made["estimated"]) == ("0.675", "0.675", None)
    assert (made["seconds"], made["resolution"], made["sound"]) == ("5", "1080p", True)
    assert made["labels"] == {"shot": "7", "team": "a"}


def test_a_key_makes_a_call_repeatable_and_names_what_differs(cli: Cli) -> None:
    words = ("--amount", "1", "--key", "job-7", "--label", "team=a")
    first = create(cli, *words)
    assert create(cli, *words) == first
    assert cli.wallet()["reserved"] == "1"
    other = refused(cli, "create", "--wallet", "team", "--key", "job-7", "--amount", "2")
    assert other.code == 2
    assert "key job-7 already has amount 1 USD; 2 USD differs" in other.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give --amount, or --provider and its --request FILE"),
        (("--amount", "1", "--request", "-"), "give --amount, or --provider"),
        (("--request", "-"), "--request needs a --provider"),
        (("--request", "-", "--provider", "runapi", "--model", "x"), "leave out --model"),
        (("--amount", "0"), "more than 0"),
        (("--amount", "-1"), "more than 0"),
        (("--amount", "1 CNY"), "unit of the amount"),
        (("--amount", "1", "--label", "a"), "error: invalid label: a"),
        (("--amount", "1", "--label", "a=1", "--label", "a=2"), "given twice: 1 and 2"),
        (("--amount", "1", "--project", ""), "invalid project"),
        (("--amount", "1", "--expires-in", "soon"), "such as 30m, 2h, 3d or 1w"),
        (("--amount", "1", "--expires-in", "0m"), "such as 30m, 2h, 3d or 1w"),
        (("--amount", "1", "--expires-at", "2020-01-01"), "has passed"),
        (("--amount", "1", "--expires-at", "2099-01-01", "--expires-in", "1h"), "not both"),
        (("--amount", "1", "--key", " "), "a key has"),
    ],
)
def test_what_cannot_be_reserved_is_bad_input(cli: Cli, words: tuple[str, ...], said: str) -> None:
    found = refused(cli, "create", "--wallet", "team", *words, stdin=body())
    assert found.code == 2
    assert said in found.err
    assert cli.reservations() == []


def test_a_refusal_is_3_and_changes_nothing(cli: Cli) -> None:
    for words, said in (
        (("--amount", "10.000001"), "needed 10.000001 USD, available 10 USD, short by 0.000001"),
        (("--amount", "1", "--max-cost", "0.99"), "more than the ceiling of 0.99 USD"),
    ):
        found = refused(cli, "create", "--wallet", "team", *words)
        assert found.code == 3
        assert said in found.err
    assert cli.reservations() == []


def test_a_model_without_a_price_is_7(cli: Cli) -> None:
    words = ("--wallet", "team", "--provider", "runapi", "--request", "-")
    assert refused(cli, "create", *words, stdin=body(model="kling-99")).code == 7


def test_only_one_caller_begins_to_submit(cli: Cli) -> None:
    made = create(cli, "--amount", "1")
    do(cli, "submitting", made["id"])
    again = refused(cli, "submitting", made["id"])
    assert again.code == 2
    assert "is submitting" in again.err


def test_a_commit_without_an_amount_charges_what_is_reserved(cli: Cli) -> None:
    made = create(cli, "--amount", "1.25")
    first = do(cli, "commit", made["id"], "--key", "end")
    assert (first["committed"], first["settled_by"]) == ("1.25", "quote")
    assert do(cli, "commit", made["id"], "--key", "end") == first
    other = refused(cli, "commit", made["id"], "--amount", "1")
    assert other.code == 2
    assert "settled cost 1.25 USD; 1 USD differs" in other.err


def test_more_than_was_reserved_is_charged_because_it_was(cli: Cli) -> None:
    made = create(cli, "--amount", "10")
    do(cli, "commit", made["id"], "--amount", "10.5")
    assert cli.wallet()["available"] == "-0.5"
    assert refused(cli, "create", "--wallet", "team", "--amount", "0.000001").code == 3


def test_parts_leave_the_rest_reserved_and_a_last_commit_takes_it(cli: Cli) -> None:
    made = create(cli, "--amount", "1")
    part = ("commit", made["id"], "--part", "--amount", "0.3")
    for _ in range(2):
        told = cli.json("reservation", *part, "--key", "part-1")
        assert (told["committed"], told["reserved"]) == ("0.3", "0.7")
    without_key = cli("reservation", *part)
    assert "without a --key, repeating this command charges the part again" in without_key.err
    ended = do(cli, "commit", made["id"])
    assert (ended["state"], ended["committed"], ended["variance"]) == ("committed", "1", None)
    assert cli("reservation", "commit", made["id"], "--part").code == 2


def test_a_rollback_returns_everything_and_a_late_bill_is_still_charged(cli: Cli) -> None:
    made = create(cli, "--amount", "1")
    first = do(cli, "rollback", made["id"])
    assert (first["state"], first["reserved"]) == ("rolled_back", "0")
    assert do(cli, "rollback", made["id"]) == first
    unsaid = refused(cli, "commit", made["id"])
    assert unsaid.code == 2
    assert "holds nothing: give the charged amount with --amount" in unsaid.err
    late = do(cli, "commit", made["id"], "--amount", "0.9", "--reason", "it is on the bill")
    assert (late["state"], late["committed"]) == ("committed", "0.9")
    assert cli.wallet()["spent"] == "0.9"


def test_a_refund_gives_back_at_most_what_was_charged(cli: Cli) -> None:
    made = create(cli, "--amount", "1")
    do(cli, "commit", made["id"])
    back = ("refund", made["id"], "--amount", "0.4 USD", "--reason", "a broken clip")
    for _ in range(2):
        assert cli.json("reservation", *back, "--key", "back-1")["refunded"] == "0.4"
    assert cli.wallet()["spent"] == "0.6"
    more = refused(cli, "refund", made["id"], "--amount", "0.7", "--reason", "more")
    assert more.code == 2
    assert "at most 0.6 USD" in more.err


def test_a_job_in_doubt_keeps_its_credits(cli: Cli) -> None:
    made = create(cli, "--amount", "1")
    do(cli, "submitting", made["id"])
    doubtful = do(cli, "in-doubt", made["id"], "--reason", "no answer")
    assert (doubtful["state"], doubtful["problem"]) == ("in_doubt", "no answer")
    assert cli.wallet()["reserved"] == "1"


def test_only_what_is_past_its_time_and_was_never_sent_expires(cli: Cli) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with Ledger(str(cli.database), clock=lambda: yesterday) as earlier:
        one, sent = (
            earlier.reserve("team", Money.parse("1 USD"), expires_at=yesterday + timedelta(hours=1))
            for _ in range(2)
        )
        earlier.mark_submitting(sent.id)
    kept = create(cli, "--amount", "2", "--expires-in", "1h")
    assert kept["expires_at"] > kept["created_at"]
    ended = cli.json("reservation", "expire")
    assert [(row["id"], row["state"]) for row in ended] == [(one.id, "expired")]
    assert cli.json("reservation", "expire") == []
    assert cli.wallet()["reserved"] == "3"


@pytest.mark.parametrize("word", ["commit", "rollback", "submitting", "show"])
def test_a_reservation_that_is_not_there_is_named(cli: Cli, word: str) -> None:
    said = refused(cli, word, "res_none")
    assert said.code == 2
    assert "no such reservation: res_none" in said.err


@pytest.mark.parametrize(
    "words", [("list", "--wallet", "nobody"), ("create", "--wallet", "nobody", "--amount", "1")]
)
def test_a_wallet_that_is_not_there_is_named(cli: Cli, words: tuple[str, ...]) -> None:
    said = refused(cli, *words)
    assert said.code == 2
    assert "no such wallet: nobody" in said.err


def test_who_acts_is_written_down(cli: Cli) -> None:
    named = Cli(cli.folder, {"KLING_LEDGER_ACTOR": "render-farm"})
    assert create(named, "--amount", "1")["actor"] == "render-farm"


@pytest.mark.parametrize(("amount", "spent"), [("0.9 USD", "0.9"), ("0.2", "0.2"), ("0", "0")])
def test_what_a_job_cost_in_the_end_is_corrected_by_a_person(
    cli: Cli, amount: str, spent: str
) -> None:
    made = create(cli, "--amount", "0.675 USD")
    do(cli, "commit", made["id"], "--amount", "0.6", "--reason", "the bill")
    ended = do(cli, "correct", made["id"], "--amount", amount, "--reason", "they said so")
    assert ended["settled_by"] == "person"
    assert cli.wallet()["spent"] == spent


def test_what_is_still_open_is_not_corrected(cli: Cli) -> None:
    made = create(cli, "--amount", "0.675 USD")
    said = refused(cli, "correct", made["id"], "--amount", "1", "--reason", "x")
    assert said.code == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ((("rollback",),), "is rolled_back: nothing is reserved for it"),
        ((("commit",),), "is committed: nothing is reserved for it"),
        ((("submitting",),), "is submitting: it was sent before"),
    ],
)
def test_a_key_of_what_must_not_be_sent_again_is_3_with_its_state(
    cli: Cli, changes: tuple[tuple[str, ...], ...], said: str
) -> None:
    words = ("create", "--wallet", "team", "--amount", "1", "--key", "job-7")
    made = cli.json("reservation", *words)
    for change in changes:
        do(cli, change[0], made["id"], *change[1:])
    again = cli("reservation", *words, "--format", "json")
    assert (again.code, again.json["id"]) == (3, made["id"])
    assert f"{made['id']}, which {said}" in again.err


def test_a_key_of_what_is_past_its_time_is_3(cli: Cli) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with Ledger(str(cli.database), clock=lambda: yesterday) as earlier:
        earlier.reserve(
            "team", Money.parse("1 USD"), key="job-7", expires_at=yesterday + timedelta(hours=1)
        )
    words = ("create", "--wallet", "team", "--amount", "1", "--key", "job-7", "--expires-in", "1h")
    said = cli("reservation", *words)
    assert said.code == 3
    assert "which is past its expiry" in said.err
    cli("reservation", "expire")
    said = cli("reservation", *words)
    assert said.code == 3
    assert "which is expired" in said.err
