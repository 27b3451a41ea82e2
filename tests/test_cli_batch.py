"""`kling-ledger batch` against a sandbox: what it tells, what it leaves, how it goes on."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from kling_ledger import Ledger
from kling_pricing import Money
from tests.cli import API_KEY, BODY, COMMAND, Cli, Said, SandboxProcess, finish, sandbox_process
from tests.kill_worker import KillWorker, kill_worker_running
from tests.sweeps import sampled
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="terminals and signals of POSIX")

NOWHERE = "http://127.0.0.1:9"
UNIALL_KEY = f"sk-{API_KEY}"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with sandbox_process(tmp_path_factory.mktemp("sandbox"), "--balance", "10000") as running:
        yield running


@pytest.fixture(scope="module")
def worker() -> Iterator[KillWorker]:
    with kill_worker_running() as running:
        yield running


@dataclass(frozen=True)
class Quick(Cli):
    """The command in forked processes, which have imported everything already."""

    worker: KillWorker = field(kw_only=True)

    def __call__(self, *words: str, stdin: str | bytes = "") -> Said:
        environ = {"KLING_LEDGER_DB": str(self.database), **self.environ}
        ended = self.worker(self.folder, environ, words)
        assert ended.code is not None
        return Said(ended.code, ended.out, ended.err)


@pytest.fixture
def cli(tmp_path: Path, worker: KillWorker) -> Cli:
    """A ledger whose wallet `team` holds 20 USD."""
    return ledger_of(tmp_path, worker, "20 USD")


def ledger_of(folder: Path, worker: KillWorker, amount: str, uniall_key: str = UNIALL_KEY) -> Cli:
    cli = Quick(folder, {"RUNAPI_API_KEY": API_KEY, "UNIALL_API_KEY": uniall_key}, worker=worker)
    cli.fund(amount)
    return cli


def write(cli: Cli, *rows: Any) -> Path:
    """Write a manifest of rows; a text is a prompt of RunAPI. Prompts are the test's own."""
    path = cli.folder / "clips.jsonl"
    path.write_text("\n".join(json.dumps(row_of(cli, row)) for row in rows))
    return path


def row_of(cli: Cli, row: Any) -> Any:
    if not isinstance(row, str):
        return row
    return {"provider": "runapi", "request": {**BODY, "prompt": f"{cli.folder.name}: {row}"}}


def words(sandbox: SandboxProcess | str, *more: str) -> list[str]:
    url = sandbox if isinstance(sandbox, str) else sandbox.url
    start = ["batch", "clips.jsonl", "--wallet", "team", "--base-url", url, "--format", "json"]
    return [*start, "--poll-every", "0.1", "--polls-per-second", "200", *more]


def tasks(cli: Cli, sandbox: SandboxProcess) -> list[dict[str, Any]]:
    """Return what the sandbox really took from this ledger."""
    truth = httpx.get(f"{sandbox.url}/sandbox/truth").json()
    return [task for task in truth["tasks"] if task["prompt"].startswith(f"{cli.folder.name}: ")]


def results(cli: Cli, name: str = "clips.jsonl.results.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (cli.folder / name).read_text().splitlines()]


def assert_ledger_is_the_truth(cli: Cli, sandbox: SandboxProcess) -> None:
    taken = tasks(cli, sandbox)
    charged = sum(Decimal(task["charged"]) for task in taken)
    assert Decimal(cli.wallet()["spent"]) == charged
    assert cli.wallet()["reserved"] == "0"
    assert {task["times_charged"] for task in taken} <= {0, 1}


# --- what is told before anything starts --------------------------------------------------------


def test_a_dry_run_says_what_every_row_will_cost_and_starts_nothing(cli: Cli):
    write(
        cli,
        "one",
        {"provider": "uniall", "model": "kling-v3-pro-audio", "prompt": "two", "seconds": 5},
    )
    said = cli(*words(NOWHERE, "--dry-run"))
    assert said.code == 0, said.err
    assert [(row["row"], row["provider"], row["amount"]) for row in said.json] == [
        (1, "runapi", "0.675"),
        (2, "uniall", "0.84"),
    ]
    assert "2 jobs, 1.515 USD; 2 to do, 1.515 USD to reserve" in said.err
    assert cli.reservations() == []
    assert [path.name for path in cli.folder.glob("*results*")] == []


def test_a_dry_run_says_which_rows_a_budget_would_refuse(cli: Cli):
    cli("budget", "set", "tight", "--limit", "0.7 USD", "--wallet", "team")
    write(cli, "one", "two")
    said = cli(*words(NOWHERE, "--dry-run"))
    assert said.code == 3
    first, second = (row["refused"] for row in said.json)
    assert first is None
    assert second.startswith("budget tight: limit 0.7 USD, spent 0 USD, reserved 0.675 USD")
    assert "1 of 2 would be refused" in said.err
    assert cli.reservations() == []


def test_every_bad_row_is_told_at_once_and_nothing_starts(cli: Cli):
    path = write(cli, "one", {"provider": "runapi"}, {"provider": "runapi", "sound": 5})
    path.write_text(path.read_text() + '\n{"provider": \n[1]\n')
    said = cli(*words(NOWHERE))
    assert (said.code, said.out) == (2, "")
    assert [line.split(":")[1] for line in said.lines[:-1]] == [f" row {n}" for n in (2, 3, 4, 5)]
    assert said.lines[-1] == "nothing was started: 4 rows cannot be run"
    assert cli.reservations() == []


def test_what_is_wrong_with_many_rows_is_told_once_with_the_first_of_them(cli: Cli):
    unknown, wordy = {"prompt": "a", "colour": "red"}, {"prompt": "a", "size": "big"}
    write(cli, "one", wordy, *[unknown] * 7, wordy)
    said = cli(*words(NOWHERE))
    assert (said.code, said.out) == (2, "")
    size, colour, last = said.lines
    assert size.startswith("error: row 2 and row 10: size: no such column")
    assert colour.startswith(
        "error: row 3, row 4, row 5, row 6, row 7 and 2 more rows: colour: no such column"
    )
    assert last == "nothing was started: 9 rows cannot be run"
    assert cli.reservations() == []


def test_a_row_without_a_price_has_the_exit_code_for_that(cli: Cli):
    write(
        cli, {"provider": "runapi"}, {"provider": "runapi", "request": {**BODY, "model": "kling-9"}}
    )
    said = cli(*words(NOWHERE))
    assert said.code == 7
    assert "row 1" in said.err
    assert "row 2" in said.err


def test_a_callback_address_that_no_provider_could_call_is_told_before(cli: Cli):
    request = {**BODY, "callback_url": "ftp://127.0.0.1/called"}
    write(cli, "one", {"provider": "runapi", "request": request})
    said = cli(*words(NOWHERE))
    assert said.code == 2
    assert "row 2: " in said.err
    assert cli.reservations() == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--max-total", "1.35"), 0),
        (("--max-total", "1.349999 USD"), 3),
        (("--max-cost", "0.675"), 0),
        (("--max-cost", "0.674999"), 3),
        (("--max-total", "1 CNY"), 2),
        (("--wallet", "nobody"), 2),
        (("--results", "clips.jsonl"), 2),
    ],
)
def test_limits_are_kept_before_anything_starts(cli: Cli, options: tuple[str, ...], code: int):
    write(cli, "one", "two")
    said = cli(*words(NOWHERE, "--dry-run", *options))
    assert said.code == code, said.err
    assert cli.reservations() == []


def test_a_wallet_that_holds_a_millionth_too_little_starts_nothing(
    tmp_path: Path, worker: KillWorker
):
    cli = ledger_of(tmp_path, worker, "1.349999 USD")
    write(cli, "one", "two")
    said = cli(*words(NOWHERE))
    assert said.code == 3
    assert "needed 1.35 USD, available 1.349999 USD" in said.err
    assert cli.reservations() == []


def test_a_wallet_in_another_unit_is_refused(cli: Cli):
    write(
        cli,
        {
            "provider": "evolink",
            "model": "kling-v3-text-to-video",
            "prompt": "x",
            "seconds": 5,
            "resolution": "720p",
            "sound": False,
        },
    )
    said = cli(*words(NOWHERE))
    assert said.code == 2
    assert "evolink-credit" in said.err
    assert cli.reservations() == []


def test_without_a_key_for_every_provider_nothing_starts(
    tmp_path: Path, worker: KillWorker, sandbox: SandboxProcess
):
    cli = ledger_of(tmp_path, worker, "20 USD", uniall_key="")
    write(
        cli,
        "one",
        {"provider": "uniall", "model": "kling-v3-pro-audio", "prompt": "two", "seconds": 5},
    )
    said = cli(*words(sandbox))
    assert said.code == 2
    assert "UNIALL_API_KEY" in said.err
    assert cli.reservations() == []


# --- running ------------------------------------------------------------------------------------


def test_a_batch_runs_and_the_same_command_again_does_nothing(cli: Cli, sandbox: SandboxProcess):
    write(cli, "one", "two", "two", "three [fail]")
    first = cli(*words(sandbox))
    assert first.code == 4, first.err
    counts = {name: first.json[name] for name in ("jobs", "done", "failed", "running", "waiting")}
    assert counts == {"jobs": 4, "done": 3, "failed": 1, "running": 0, "waiting": 0}
    assert first.json["spent"] == "2.025 USD"
    assert [(row["row"], row["state"], row["committed"]) for row in results(cli)] == [
        (1, "committed", "0.675"),
        (2, "committed", "0.675"),
        (3, "committed", "0.675"),
        (4, "rolled_back", None),
    ]
    before = (cli.folder / "clips.jsonl.results.jsonl").read_text()
    again = cli(*words(sandbox))
    assert (again.code, again.json) == (4, first.json)
    assert (cli.folder / "clips.jsonl.results.jsonl").read_text() == before
    assert len(tasks(cli, sandbox)) == 4
    assert_ledger_is_the_truth(cli, sandbox)


def test_the_name_of_a_batch_decides_whether_it_runs_anew(cli: Cli, sandbox: SandboxProcess):
    write(cli, "one")
    for options in ((), ("--name", "clips.jsonl"), ("--name", "again", "--again")):
        assert cli(*words(sandbox, *options)).code == 0
    assert cli(*words(sandbox, "--name", "again")).code == 0
    assert len(tasks(cli, sandbox)) == 2
    assert_ledger_is_the_truth(cli, sandbox)


def test_failed_jobs_are_started_again_where_asked(cli: Cli, sandbox: SandboxProcess):
    write(cli, "one", "two [fail]")
    for options, made in (((), 2), ((), 2), (("--retry-failed",), 3), ((), 3)):
        assert cli(*words(sandbox, *options)).code == 4
        assert len(tasks(cli, sandbox)) == made


def test_a_key_of_ones_own_is_the_job_that_it_was_before(cli: Cli, sandbox: SandboxProcess):
    row = {**row_of(cli, "one"), "key": "shot-1"}
    write(cli, row)
    assert cli(*words(sandbox)).code == 0
    assert cli(*words(sandbox, "--name", "another")).code == 0
    assert len(tasks(cli, sandbox)) == 1


def test_a_key_of_ones_own_used_for_something_else_is_told_and_stops_nothing_else(
    cli: Cli, sandbox: SandboxProcess
):
    write(cli, {**row_of(cli, "one [never]"), "key": "shot-1"})
    assert cli(*words(sandbox, "--timeout", "0.3")).code == 5
    write(cli, {**row_of(cli, "two"), "key": "shot-1"}, "three")
    said = cli(*words(sandbox))
    assert said.code == 5
    # The first job was asked for at the start, and still runs.
    assert [row["state"] for row in results(cli)] == ["submitted", "committed"]
    assert "shot-1" in results(cli)[0]["problem"]
    assert len(tasks(cli, sandbox)) == 2


def test_projects_and_labels_reach_the_reservations(cli: Cli, sandbox: SandboxProcess):
    write(cli, {**row_of(cli, "one"), "project": "app", "labels": {"scene": 3}}, "two")
    said = cli(*words(sandbox, "--project", "film", "--label", "team=blue"))
    assert said.code == 0, said.err
    found = {one["project"]: one["labels"] for one in cli.reservations()}
    assert found == {"app": {"scene": "3", "team": "blue"}, "film": {"team": "blue"}}


def test_a_budget_that_refuses_in_the_middle_is_told_and_the_next_run_goes_on(
    cli: Cli, sandbox: SandboxProcess
):
    with Ledger(str(cli.database)) as ledger:
        ledger.budgets.set("films", Money.parse("1.35 USD"))
    write(cli, "one", "two", "three")
    said = cli(*words(sandbox, "--concurrency", "1"))
    assert said.code == 3, said.err
    assert [row["state"] for row in results(cli)] == ["committed", "committed", "not_started"]
    assert "films" in results(cli)[2]["problem"]
    with Ledger(str(cli.database)) as ledger:
        ledger.budgets.set("films", Money.parse("10 USD"))
    assert cli(*words(sandbox)).code == 0
    assert_ledger_is_the_truth(cli, sandbox)


@pytest.mark.parametrize(
    ("share", "states"),
    [
        ("200%", ["committed", "committed", "committed"]),
        ("201%", ["committed", "not_started", "committed"]),
    ],
)
def test_a_live_estimate_cannot_bring_a_batch_above_its_total(
    cli: Cli, sandbox: SandboxProcess, share: str, states: list[str]
):
    write(cli, "one", f"two [estimate {share}]", "three")
    said = cli(*words(sandbox, "--concurrency", "1", "--max-total", "2.025"))
    # The second job holds what is estimated while it runs, and costs what the others cost.
    assert [row["state"] for row in results(cli)] == states
    assert said.code == (0 if share == "200%" else 3), said.err


def test_what_a_provider_refused_is_tried_again_by_the_next_run(cli: Cli, sandbox: SandboxProcess):
    write(cli, "one")
    assert cli(*words(sandbox, "--api-key", "a-wrong-key")).code == 10
    assert results(cli)[0]["state"] == "rolled_back"
    assert cli(*words(sandbox)).code == 0
    assert results(cli)[0]["state"] == "committed"
    assert_ledger_is_the_truth(cli, sandbox)


def test_clips_are_downloaded_once(cli: Cli, sandbox: SandboxProcess):
    write(cli, "one", "two [file half]", "three [fail]")
    for _ in range(2):
        assert cli(*words(sandbox, "--out", "clips")).code == 4
        assert len(list((cli.folder / "clips").glob("*.mp4"))) == 2
    assert sorted(task["downloads"] for task in tasks(cli, sandbox)) == [0, 1, 2]


def test_an_absurd_cost_is_charged_and_said_with_its_row(cli: Cli, sandbox: SandboxProcess):
    write(cli, "one", "two [cost 13.5]")
    said = cli(*words(sandbox))
    odd = "charged 13.5 USD, 20 x what was held (0.675 USD)"
    assert (said.code, said.json["spent"]) == (0, "14.175 USD")
    assert [line for line in said.lines if odd in line] == [f"note: row 2: {odd}"]
    assert [row["problem"] for row in results(cli)] == [None, odd]


def test_a_clip_that_cannot_be_had_is_said_and_tells_scripts_so(cli: Cli, sandbox: SandboxProcess):
    write(cli, "one [file 410]", "two")
    said = cli(*words(sandbox, "--out", "clips"))
    assert (said.code, said.json["done"]) == (9, 2)
    missing = next(row["reservation"] for row in results(cli) if row["row"] == 1)
    assert f"note: a clip of {missing} is not in clips" in said.err
    assert len(list((cli.folder / "clips").glob("*.mp4"))) == 1
    assert_ledger_is_the_truth(cli, sandbox)
    write(cli, "one [fail]", "two [file 410]")
    assert cli(*words(sandbox, "--out", "clips", "--name", "other")).code == 4


def test_a_folder_that_cannot_be_written_loses_no_job(cli: Cli, sandbox: SandboxProcess):
    (cli.folder / "clips").write_text("a file of that name")
    write(cli, "one")
    said = cli(*words(sandbox, "--out", "clips/here"))
    assert (said.code, said.json["done"], said.json["spent"]) == (9, 1, "0.675 USD")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk here is always full")
def test_a_full_disk_stops_no_batch_that_is_paid_for(cli: Cli, sandbox: SandboxProcess):
    write(cli, "one", "two", "three")
    (cli.folder / "results").symlink_to("/dev/full")
    said = cli(*words(sandbox, "--results", "results"))
    assert (said.code, said.json["done"]) == (0, 3)
    assert said.err.count("note: results: No space left on device") == 1
    # The disk had room again: in the end they stand there, and not where the link led.
    assert not (cli.folder / "results").is_symlink()
    assert len((cli.folder / "results").read_text().splitlines()) == 3


def test_results_that_cannot_be_written_in_the_end_are_said_after_the_batch(
    cli: Cli, sandbox: SandboxProcess
):
    write(cli, "one [takes 1]")
    (cli.folder / "kept").mkdir()
    process = cli.start(*words(sandbox, "--results", "kept/results"))
    # Its folder is taken away while it runs.
    until((cli.folder / "kept" / "results").exists)
    shutil.rmtree(cli.folder / "kept")
    said = finish(process)
    assert said.code == 1
    assert said.json["done"] == 1
    assert "error: the results cannot be written: kept/results: No such file" in said.err
    assert cli(*words(sandbox)).code == 0
    assert len(tasks(cli, sandbox)) == 1


def test_clips_can_be_downloaded_later(cli: Cli, sandbox: SandboxProcess):
    write(cli, "one")
    assert cli(*words(sandbox)).code == 0
    assert cli(*words(sandbox, "--out", "clips")).code == 0
    assert len(list((cli.folder / "clips").glob("*.mp4"))) == 1


def test_jobs_that_nobody_can_decide_exit_with_that_and_name_the_next_step(
    cli: Cli, sandbox: SandboxProcess
):
    write(cli, "one [never]", "two")
    said = cli(*words(sandbox, "--timeout", "0.5"))
    assert said.code == 5
    assert (said.json["done"], said.json["in_doubt"], said.json["reserved"]) == (1, 1, "0.675 USD")
    assert "kling-ledger resume" in said.err


def test_without_a_terminal_progress_is_plain_lines(cli: Cli, sandbox: SandboxProcess):
    write(cli, *(f"shot {number}" for number in range(10)))
    said = cli(*words(sandbox, "--concurrency", "2"))
    assert said.code == 0
    assert "\x1b" not in said.err
    lines = [line for line in said.lines if " running, " in line]
    assert len(lines) == 10
    assert lines[-1] == "10 done, 0 running, 0 failed, 0 in doubt, 0 waiting, spent 6.75 USD"
    assert re.fullmatch(
        r"1 done, \d running, 0 failed, 0 in doubt, \d waiting, spent 0.675 USD,"
        r" reserved [\d.]+ USD, left [\d.]+ USD, \d+ s to go",
        lines[0],
    )


def test_on_a_terminal_progress_is_live(cli: Cli, sandbox: SandboxProcess):
    write(cli, *(f"shot {number} [takes 0.6]" for number in range(5)), "a [poll 500 3] [fail]")
    drawn = on_a_terminal(cli, words(sandbox, "--concurrency", "2"))
    assert "━" in drawn
    for figure in ("done", "running", "failed", "spent", "reserved", "left", "to go"):
        assert figure in drawn, drawn
    assert "5 done" in drawn
    assert "1 failed" in drawn
    assert "spent 3.375 USD" in drawn
    # What is said meanwhile stands on lines of its own, which the display does not write over.
    assert re.search(r"\x1b\[2K(\x1b\[0m)?note: runapi: 500[^\x1b]*\r\n", drawn), drawn


def test_a_terminal_that_is_made_narrower_breaks_no_line_of_the_display(
    cli: Cli, sandbox: SandboxProcess
):
    write(cli, *(f"shot {number} [takes 0.3]" for number in range(3)))
    drawn = on_a_terminal(cli, words(sandbox, "--name", "a name of its own"))
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", line) for line in drawn.splitlines()]
    shown = [line for line in lines if "━" in line or " done" in line or " waiting" in line]
    shown += [line for line in lines if re.match(r"(spent|reserved|left) ", line)]
    assert len(shown) >= 2 * 6
    assert max(map(len, shown)) <= 48


def on_a_terminal(cli: Cli, asked: list[str]) -> str:
    """Run a command whose standard error is a terminal; return what it drew there."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, **cli.environ, "KLING_LEDGER_DB": str(cli.database)}
    environ.update(TERM="xterm-256color", COLUMNS="100")
    process = subprocess.Popen(
        [COMMAND, *asked], stdout=subprocess.DEVNULL, stderr=theirs, cwd=cli.folder, env=environ
    )
    os.close(theirs)
    drawn = b""
    try:
        while piece := os.read(ours, 65536):
            drawn += piece
    except OSError:
        pass  # Linux's way to say that the other end is closed.
    finally:
        os.close(ours)
        assert process.wait(30) is not None
    return drawn.decode(errors="replace")


# --- interruptions ------------------------------------------------------------------------------


def interrupted(process: subprocess.Popen[bytes], after_s: float, times: int = 1) -> Said:
    """Press Ctrl-C so long after the command has said what it is about to do."""
    assert process.stderr is not None
    said = process.stderr.readline()
    assert b"to reserve" in said, said
    time.sleep(after_s)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    return finish(process)


@pytest.mark.parametrize("times", sampled([2, 1], every=2))
def test_ctrl_c_at_any_moment_loses_nothing_and_submits_nothing_twice(
    cli: Cli, sandbox: SandboxProcess, times: int
):
    chance = random.Random(times)  # noqa: S311 - instants to repeat, no secret
    names = [f"shot {number}" for number in range(12)] + ["bad [fail]", "slow [takes 0.5]"]
    write(cli, *names)
    asked = words(sandbox, "--concurrency", "4")
    for _ in range(6):
        said = interrupted(cli.start(*asked), chance.uniform(0, 1.2), times)
        # Whoever is interrupted as it leaves dies of the signal itself.
        assert said.code in {4, 5, 130, -signal.SIGINT}, said.err
    assert cli("resume", "--grace", "0", "--base-url", sandbox.url, "--poll-every", "0.1").code == 0
    ended = cli(*asked, "--grace", "0")
    assert ended.code == 4, ended.err
    assert [row["row"] for row in results(cli)] == list(range(1, 15))
    assert Counter(row["state"] for row in results(cli)) == {"committed": 13, "rolled_back": 1}
    assert set(Counter(task["prompt"] for task in tasks(cli, sandbox)).values()) == {1}
    assert len(tasks(cli, sandbox)) == 14
    assert_ledger_is_the_truth(cli, sandbox)


def test_a_stopped_batch_needs_no_more_than_is_left(
    tmp_path: Path, worker: KillWorker, sandbox: SandboxProcess
):
    cli = ledger_of(tmp_path, worker, "2.7 USD")
    write(cli, *(f"shot {number} [takes 3]" for number in range(4)))
    process = cli.start(*words(sandbox))
    until(lambda: len(tasks(cli, sandbox)) == 4)
    stopped = interrupted(process, 0)
    assert stopped.code == 5
    assert stopped.json["running"] == 4
    assert "run the same command again to continue" in stopped.err
    assert cli(*words(sandbox)).code == 0
    assert_ledger_is_the_truth(cli, sandbox)


def test_what_another_process_may_be_sending_is_waited_for_and_told(
    cli: Cli, sandbox: SandboxProcess
):
    write(cli, "another [refuse 422]")
    assert cli(*words(sandbox)).code == 4
    with Ledger(str(cli.database)) as ledger:
        right = ledger.reservations.latest()[0].job.account
    write(cli, {**row_of(cli, "one"), "key": "shot-1"})
    assert cli(*words(sandbox, "--api-key", "a-wrong-key")).code == 10
    with Ledger(str(cli.database)) as ledger:
        job = replace(ledger.reservations.latest()[0].job, account=right)
        left = ledger.reserve("team", Money.parse("0.675 USD"), job=job, key="shot-1/again-2")
        ledger.mark_submitting(left.id)
    said = cli(*words(sandbox, "--grace", "1.5"))
    assert said.code == 0, said.err
    assert "1 may still run in another process: waiting 1.5 s for it" in said.err
    assert results(cli)[0]["reservation"] == left.id
    assert len(tasks(cli, sandbox)) == 1


def test_two_batches_of_the_same_manifest_at_once_submit_each_job_once(
    cli: Cli, sandbox: SandboxProcess
):
    write(cli, *(f"shot {number}" for number in range(12)))
    both = [cli.start(*words(sandbox, "--concurrency", "4")) for _ in range(2)]
    assert [finish(process).code for process in both] == [0, 0]
    assert set(Counter(task["prompt"] for task in tasks(cli, sandbox)).values()) == {1}
    assert len(results(cli)) == 12
    assert_ledger_is_the_truth(cli, sandbox)


def test_a_wrong_key_is_told_once_with_its_count_and_what_was_not_begun_stays_so(
    cli: Cli, sandbox: SandboxProcess
):
    write(cli, *(f"row {n}" for n in range(20)))
    said = cli(*words(sandbox, "--api-key", "wrong", "--concurrency", "1"))
    assert said.code == 10, said.err
    assert [line for line in said.lines if line.startswith("1 row: ")]
    assert "check RUNAPI_API_KEY" in said.err
    assert "19 rows at runapi not started, nothing reserved" in said.lines
    assert said.err.count("no more rows are started") == 1
    assert len(cli.reservations()) == 1
    assert cli.wallet()["reserved"] == "0"


def test_a_rehearsal_is_not_the_real_run_and_is_told(cli: Cli, sandbox: SandboxProcess):
    write(cli, "one", "two")
    with sandbox_process(cli.folder) as rehearsal:
        assert cli(*words(rehearsal)).code == 0
    said = cli(*words(sandbox))
    assert said.code == 0, said.err
    told = f"2 rows were already run at {rehearsal.url} (a rehearsal), a different address"
    assert told in said.lines
    assert len(tasks(cli, sandbox)) == 2
    again = cli(*words(sandbox))
    assert (again.code, again.json["done"]) == (0, 2)
    assert "a different address" not in again.err
    assert len(tasks(cli, sandbox)) == 2


def test_another_wallet_is_another_batch_and_pays_only_where_asked(
    cli: Cli, sandbox: SandboxProcess
):
    write(cli, "one")
    assert cli(*words(sandbox)).code == 0
    with Ledger(str(cli.database)) as ledger:
        ledger.wallets.create("others", "USD")
        ledger.wallets.fund("others", Money.parse("5 USD"))
    assert cli(*words(sandbox, "--wallet", "others")).code == 2
    assert cli(*words(sandbox, "--wallet", "others", "--again")).code == 0
    assert cli.wallet("others")["spent"] == "0.675"


@pytest.mark.parametrize("options", [("--name", "renamed"), ("--project", "another")])
def test_rows_that_another_batch_has_made_are_refused_unless_they_are_asked_for_again(
    cli: Cli, sandbox: SandboxProcess, options: tuple[str, ...]
):
    write(cli, "one", "two")
    assert cli(*words(sandbox)).code == 0
    write(cli, "one", "two", "three")
    said = cli(*words(sandbox, *options))
    assert said.code == 2
    assert "2 of 3 rows were already run under another batch name or project" in said.err
    assert len(tasks(cli, sandbox)) == 2
    assert cli(*words(sandbox, *options, "--again")).code == 0
    assert len(tasks(cli, sandbox)) == 5


@pytest.mark.parametrize("account", ["known", "unknown"])
def test_a_batch_of_an_older_ledger_is_found_and_never_paid_for_twice(
    cli: Cli, sandbox: SandboxProcess, account: str
):
    """Keys of older ledgers know no place."""
    write(cli, "one")
    assert cli(*words(sandbox)).code == 0
    with sqlite3.connect(cli.database) as database:
        database.execute("UPDATE idempotency SET key = substr(key, 1, instr(key, '/at-') - 1)")
        if account == "unknown":
            database.execute("UPDATE reservation SET account = NULL")
    said = cli(*words(sandbox))
    assert (said.code, said.json["done"]) == (0, 1), said.err
    assert "0 to do" in said.err
    assert len(tasks(cli, sandbox)) == 1
