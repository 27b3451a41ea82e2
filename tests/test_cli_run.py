"""`kling-ledger run` and `resume` against a sandbox: where the credits are, whatever happens."""

from __future__ import annotations

import csv
import io
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kling_ledger import Ledger
from kling_pricing import Money
from tests.cli import API_KEY, Cli, SandboxProcess, body, changed, finish, sandbox_process
from tests.waiting import until

FIELDS = ["id", "state", "provider", "model", "task_id", "quoted", "committed", "unit", "videos"]
ONE_CLIP = "0.675 USD"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with sandbox_process(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A ledger whose wallet `team` holds 2 USD."""
    cli = Cli(tmp_path, {"RUNAPI_API_KEY": API_KEY})
    cli.fund("2 USD")
    return cli


@pytest.fixture(scope="module")
def spent(tmp_path_factory: pytest.TempPathFactory, sandbox: SandboxProcess) -> Cli:
    """A ledger after three clips, of which the second failed: nothing here may change it."""
    cli = Cli(tmp_path_factory.mktemp("spent"), {"RUNAPI_API_KEY": API_KEY})
    cli.fund("2 USD")
    for project, prompt in (("a", "one"), ("a", "two [fail]"), ("b", "three [cost 0.1]")):
        cli(*words(sandbox, "--project", project), stdin=body(prompt))
    return cli


def words(sandbox: SandboxProcess | str, *more: str) -> list[str]:
    """Return the words of a `run` that reads its body from standard input."""
    url = sandbox if isinstance(sandbox, str) else sandbox.url
    start = ["run", "--provider", "runapi", "--request", "-", "--wallet", "team"]
    return [*start, "--base-url", url, "--poll-every", "0.1", "--format", "json", *more]


def resume(sandbox: SandboxProcess, reservation_id: str) -> list[str]:
    options = ["--base-url", sandbox.url, "--poll-every", "0.1", "--format", "json"]
    return ["resume", reservation_id, *options]


def wait_for(cli: Cli, state: str) -> dict[str, Any]:
    """Wait until the newest reservation is in a state; the ledger is read while it is in use."""

    def found() -> dict[str, Any] | None:
        rows = read(cli, "SELECT * FROM reservation ORDER BY created_at DESC LIMIT 1")
        return rows[0] if rows and rows[0]["state"] == state else None

    return until(found, f"a reservation that is {state}")


def read(cli: Cli, query: str) -> list[dict[str, Any]]:
    connection = sqlite3.connect(cli.database)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(query)]
    finally:
        connection.close()


def interrupted(cli: Cli, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Press Ctrl-C once the job is submitted; return the reservation that it leaves open."""
    wait_for(cli, "submitted")
    process.send_signal(signal.SIGINT)
    said = finish(process)
    assert said.code == 5
    return dict(said.json)


def assert_untouched(cli: Cli) -> None:
    expected = {"funded": "2", "spent": "0", "reserved": "0", "available": "2"}
    assert cli.wallet() == expected


def test_a_run_ends_committed_at_what_the_provider_charged(
    cli: Cli, sandbox: SandboxProcess
) -> None:
    ended = cli.json(*words(sandbox)[:-2], stdin=body())
    assert [name for name in FIELDS if not ended.get(name)] == []
    assert (ended["state"], ended["quoted"], ended["committed"]) == ("committed", "0.675", "0.675")
    assert sandbox.task(ended["task_id"])["usage"] == {"cost": 0.675}
    assert cli.wallet() == {"funded": "2", "spent": "0.675", "reserved": "0", "available": "1.325"}


def test_a_request_may_come_from_a_file(cli: Cli, sandbox: SandboxProcess) -> None:
    path = cli.folder / "body.json"
    path.write_text(body())
    given = [str(path) if word == "-" else word for word in words(sandbox)]
    assert cli(*given).code == 0


@pytest.mark.parametrize(("cost", "available"), [("0.5", "1.5"), ("0.8", "1.2"), ("0", "2")])
def test_another_settled_cost_than_quoted_is_what_is_charged(
    cli: Cli, sandbox: SandboxProcess, cost: str, available: str
) -> None:
    ended = cli(*words(sandbox), stdin=body(f"a lake [cost {cost}]")).json
    assert (ended["quoted"], ended["committed"]) == ("0.675", cost)
    assert cli.wallet()["available"] == available


def test_a_settled_cost_above_the_wallet_is_shown_and_admits_nothing_more(
    cli: Cli, sandbox: SandboxProcess
) -> None:
    assert cli(*words(sandbox), stdin=body("a lake [cost 2.5]")).code == 0
    assert cli.wallet()["available"] == "-0.5"
    assert cli(*words(sandbox), stdin=body()).code == 3


def test_a_failed_job_gives_everything_back(cli: Cli, sandbox: SandboxProcess) -> None:
    said = cli(*words(sandbox), stdin=body("a lake [fail]"))
    assert (said.code, said.json["state"], said.json["committed"]) == (4, "rolled_back", None)
    assert "note: RunAPI does not charge for a job that failed (https://" in said.err
    assert_untouched(cli)


def test_a_job_that_the_provider_refuses_gives_everything_back(
    cli: Cli, sandbox: SandboxProcess
) -> None:
    said = cli(*words(sandbox), stdin=body("a lake [refuse 422]"))
    assert (said.code, said.json["state"]) == (4, "rolled_back")
    assert_untouched(cli)


def test_too_little_in_the_wallet_sends_nothing_and_says_how_to_fund(
    cli: Cli, sandbox: SandboxProcess
) -> None:
    before = sandbox.spent_cents()
    said = cli(*words(sandbox), stdin=body(output_resolution="4k", duration_seconds=15))
    assert (said.code, list(said.json)) == (3, ["error"])
    assert "needed 5.025 USD" in said.err
    assert "available 2 USD" in said.err
    assert 'kling-ledger wallet fund team "3.025 USD"' in said.err
    assert cli.reservations() == []
    time.sleep(0.3)  # a job that was sent after all would have ended, and been charged, by now
    assert sandbox.spent_cents() == before
    assert_untouched(cli)


def test_a_wallet_that_holds_exactly_the_cost_is_enough(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    cli = Cli(tmp_path, {"RUNAPI_API_KEY": API_KEY})
    cli.fund("0.674999 USD")
    assert cli(*words(sandbox), stdin=body()).code == 3
    cli.fund("0.000001 USD")
    assert cli(*words(sandbox), stdin=body()).code == 0


def test_a_job_may_cost_the_ceiling_and_not_a_millionth_more(
    cli: Cli, sandbox: SandboxProcess
) -> None:
    said = cli(*words(sandbox, "--max-cost", "0.674999 USD"), stdin=body())
    assert (said.code, cli.reservations()) == (3, [])
    assert "0.675 USD" in said.err
    assert "0.674999 USD" in said.err
    assert cli(*words(sandbox, "--max-cost", ONE_CLIP), stdin=body()).code == 0


@pytest.mark.parametrize("ceiling", ["a lot", "1 EUR"])
def test_a_ceiling_that_is_no_amount_is_bad_input(cli: Cli, ceiling: str) -> None:
    assert cli(*words(NOWHERE, "--max-cost", ceiling), stdin=body()).code == 2


@pytest.mark.parametrize("where", ["environment", "option"])
def test_a_wrong_key_gives_everything_back_and_is_nowhere_to_be_read(
    tmp_path: Path, sandbox: SandboxProcess, where: str
) -> None:
    secret = "rk-not-to-be-seen-0123456789"
    cli = Cli(tmp_path, {"RUNAPI_API_KEY": secret} if where == "environment" else {})
    cli.fund("2 USD")
    option = ["--api-key", secret] if where == "option" else []
    said = cli(*words(sandbox, *option), stdin=body())
    assert (said.code, said.json["state"]) == (10, "rolled_back")
    assert secret not in said.out + said.err
    assert not [f for f in tmp_path.iterdir() if secret.encode() in f.read_bytes()]
    assert_untouched(cli)


def test_a_key_that_works_is_stored_and_printed_nowhere(cli: Cli, sandbox: SandboxProcess) -> None:
    said = cli(*words(sandbox), stdin=body())
    assert API_KEY not in said.out + said.err
    assert not [f for f in cli.folder.iterdir() if API_KEY.encode() in f.read_bytes()]


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak"])
def test_without_a_usable_key_nothing_starts(tmp_path: Path, key: str) -> None:
    cli = Cli(tmp_path, {"RUNAPI_API_KEY": key})
    cli.fund("2 USD")
    said = cli(*words(NOWHERE), stdin=body())
    assert said.code == 2
    assert "RUNAPI_API_KEY" in said.err
    assert cli.reservations() == []


def test_where_nobody_listens_everything_comes_back(cli: Cli) -> None:
    said = cli(*words(NOWHERE), stdin=body())
    assert (said.code, said.json["state"]) == (10, "rolled_back")
    assert_untouched(cli)


@pytest.mark.parametrize(("name", "value"), [("duration_seconds", 2), ("output_resolution", "8k")])
def test_a_body_that_the_provider_would_refuse_is_never_sent(
    cli: Cli, name: str, value: object
) -> None:
    said = cli(*words(NOWHERE), stdin=changed(name, value))
    assert (said.code, len(said.lines)) == (2, 1)
    assert f"{name}: got " in said.err
    assert cli.reservations() == []


def test_a_model_without_a_price_is_never_sent(cli: Cli) -> None:
    assert cli(*words(NOWHERE), stdin=body(model="kling-9")).code == 7
    assert cli.reservations() == []


def test_a_wallet_that_is_not_there_is_named(cli: Cli) -> None:
    said = cli(*words(NOWHERE, "--wallet", "nobody"), stdin=body())
    assert said.code == 2
    assert "nobody" in said.err


def test_a_provider_that_dies_after_the_create_leaves_the_credits_reserved(
    cli: Cli, tmp_path: Path
) -> None:
    with sandbox_process(tmp_path) as doomed:
        running = cli.start(*words(doomed), stdin=body("a lake [never]"))
        wait_for(cli, "submitted")
        doomed.kill()
        said = finish(running)
        assert said.code == 5
        assert said.json["state"] in ("submitted", "in_doubt")
        assert f"kling-ledger resume {said.json['id']}" in said.err
        again = cli(*resume(doomed, said.json["id"]))
    assert again.code == 5
    assert again.json["state"] in ("submitted", "in_doubt")
    assert cli.wallet()["reserved"] == "0.675"


def test_a_job_is_asked_for_only_where_it_was_submitted(cli: Cli, tmp_path: Path) -> None:
    with sandbox_process(tmp_path) as doomed:
        left = interrupted(cli, cli.start(*words(doomed), stdin=body("a lake [never]")))
    with sandbox_process(tmp_path) as another:
        said = cli(*resume(another, left["id"]))
    assert said.code == 2
    assert f"give --base-url {doomed.url}" in said.err
    assert cli.wallet()["reserved"] == "0.675"


def test_a_person_may_end_what_nobody_decides(cli: Cli) -> None:
    with Ledger(str(cli.folder / "ledger.sqlite")) as ledger:
        held = [ledger.reserve("team", Money.parse("0.675 USD")).id for _ in range(2)]
        for left in held:
            ledger.mark_submitting(left)
            ledger.mark_in_doubt(left, "no answer")
    because = ("--reason", "seen in the provider's own list")
    charged = cli.json("reservation", "commit", held[0], "--amount", "0.5 USD", *because)
    assert (charged["state"], charged["settled_by"]) == ("committed", "person")
    returned = cli.json("reservation", "rollback", held[1], *because)
    assert returned["state"] == "rolled_back"
    assert cli.wallet()["spent"] == "0.5"


def test_ctrl_c_leaves_the_job_open_and_resume_finishes_it(
    cli: Cli, sandbox: SandboxProcess
) -> None:
    left = interrupted(cli, cli.start(*words(sandbox), stdin=body("a lake [takes 2]")))
    assert left["state"] == "submitted"
    assert cli.wallet()["reserved"] == "0.675"
    ended = cli(*resume(sandbox, left["id"]))
    assert (ended.code, ended.json["state"]) == (0, "committed")
    assert ended.json["task_id"] == left["task_id"]


def test_resuming_what_has_ended_says_how_it_ended(cli: Cli, sandbox: SandboxProcess) -> None:
    ended = cli(*words(sandbox), stdin=body()).json
    again = cli(*resume(sandbox, ended["id"]))
    assert (again.code, again.json) == (0, ended)


def test_a_job_without_a_verdict_in_time_is_in_doubt(cli: Cli, sandbox: SandboxProcess) -> None:
    said = cli(*words(sandbox, "--timeout", "0.3"), stdin=body("a lake [never]"))
    assert (said.code, said.json["state"]) == (5, "in_doubt")
    assert cli.wallet()["reserved"] == "0.675"


def test_an_absurd_cost_is_charged_and_said(cli: Cli, sandbox: SandboxProcess) -> None:
    said = cli(*words(sandbox, "--max-cost", "0.70 USD"), stdin=body("a lake [cost 67.5]"))
    odd = "charged 67.5 USD, 100 x what was held (0.675 USD), above the ceiling of 0.7 USD"
    assert (said.code, said.json["committed"], said.json["problem"]) == (0, "67.5", odd)
    assert f"note: {odd}" in said.err


def test_a_clip_that_cannot_be_had_is_said_and_its_job_stays_booked(
    cli: Cli, sandbox: SandboxProcess
) -> None:
    said = cli(*words(sandbox, "--out", "clips"), stdin=body("a lake [file 410]"))
    assert (said.code, said.json["state"]) == (9, "committed")
    assert f"note: a clip of {said.json['id']} is not in clips: http://" in said.err
    assert cli.wallet()["spent"] == "0.675"
    failed = cli(*words(sandbox, "--out", "clips"), stdin=body("a lake [fail]"))
    assert failed.code == 4


def test_a_clip_that_was_not_had_is_fetched_by_the_same_key_again(
    cli: Cli, sandbox: SandboxProcess
) -> None:
    asked = words(sandbox, "--out", "clips", "--key", "shot-7")
    content = body("a lake [file 404 1]")
    assert cli(*asked, stdin=content).code == 9
    assert cli(*asked, stdin=content).code == 0
    assert len(list((cli.folder / "clips").glob("*.mp4"))) == 1
    assert cli.wallet()["spent"] == "0.675"


def test_the_create_reply_of_the_published_page_works_too(cli: Cli, tmp_path: Path) -> None:
    with sandbox_process(tmp_path, "--reply", "page") as page:
        ended = cli(*words(page), stdin=body())
    assert (ended.code, ended.json["state"]) == (0, "committed")


def test_a_key_used_again_is_the_same_job(cli: Cli, sandbox: SandboxProcess) -> None:
    first = cli(*words(sandbox, "--key", "shot-1"), stdin=body())
    charged = sandbox.spent_cents()
    again = cli(*words(sandbox, "--key", "shot-1"), stdin=body())
    assert (again.code, again.json) == (0, first.json)
    assert [entry["id"] for entry in cli.reservations()] == [first.json["id"]]
    assert sandbox.spent_cents() == charged


def test_a_key_used_for_something_else_names_the_difference(
    cli: Cli, sandbox: SandboxProcess
) -> None:
    assert cli(*words(sandbox, "--key", "shot-1"), stdin=body()).code == 0
    said = cli(*words(sandbox, "--key", "shot-1"), stdin=body(duration_seconds=4))
    assert (said.code, list(said.json)) == (2, ["error"])
    assert "shot-1" in said.err
    assert "seconds 5; 4 differs" in said.err
    assert len(cli.reservations()) == 1


def test_two_processes_never_spend_one_clips_credits_twice(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    cli = Cli(tmp_path, {"RUNAPI_API_KEY": API_KEY})
    cli.fund(ONE_CLIP)
    before = sandbox.spent_cents()
    both = [cli.start(*words(sandbox), stdin=body()) for _ in range(2)]
    assert sorted(finish(process).code for process in both) == [0, 3]
    assert sandbox.spent_cents() == before + 67.5
    assert cli.wallet()["available"] == "0"


def test_the_spend_report_adds_up_to_what_was_committed(spent: Cli) -> None:
    rows = spent.json("report", "spend")["tables"]["spend"]["rows"]
    counted = [(row["project"], row["clips"], row["failed"]) for row in rows]
    assert counted == [("a", 1, 1), ("b", 1, 0)]
    assert sum(Decimal(row["spent"]) for row in rows) == Decimal("0.775")
    assert spent.wallet()["spent"] == "0.775"


def test_the_spend_report_says_the_same_in_csv_and_as_a_table(spent: Cli) -> None:
    said = spent("report", "spend", "--format", "csv")
    assert [row["spent"] for row in csv.DictReader(io.StringIO(said.out))] == ["0.675", "0.1"]
    assert "0.675" in spent("report", "spend").out


def test_reservations_are_listed_newest_first_and_shown_alike(spent: Cli) -> None:
    listed = spent.json("reservation", "list")
    assert [entry["state"] for entry in listed] == ["committed", "rolled_back", "committed"]
    assert spent.json("reservation", "show", listed[1]["id"]) == listed[1]
    assert spent.json("reservation", "list", "--state", "rolled_back") == [listed[1]]


def test_after_everything_verify_is_clean(spent: Cli) -> None:
    checked = spent.json("verify")
    assert (checked["findings"], checked["open_reservations"]) == ([], 0)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE transfer SET amount_micro = amount_micro + 1 WHERE kind = 'commit'",
        "UPDATE wallet SET posted_micro = posted_micro + 1",
        "UPDATE reservation SET committed_micro = 1 WHERE state = 'committed'",
        "DELETE FROM transfer WHERE kind = 'fund'",
    ],
)
def test_verify_finds_what_somebody_changed_by_hand(
    tmp_path: Path, spent: Cli, damage: str
) -> None:
    cli = Cli(tmp_path)
    shutil.copy(spent.database, cli.database)
    tamper(cli, damage)
    said = cli("verify", "--format", "json")
    assert said.code == 6
    assert said.json["findings"]


def tamper(cli: Cli, damage: str) -> None:
    connection = sqlite3.connect(cli.database, isolation_level=None)
    triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    for (name,) in triggers.fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(damage)
    connection.close()


def test_history_refuses_changes_while_its_guard_stands(cli: Cli) -> None:
    connection = sqlite3.connect(cli.database)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("UPDATE transfer SET amount_micro = 1")
    connection.close()
