"""`kling-ledger doctor`: what is wrong, what to do, and nothing is changed by looking."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from kling_ledger import Ledger
from tests.cli import Cli
from tests.ledgers import usd


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    made = Cli(tmp_path)
    made.fund("10 USD")
    return made


def findings(cli: Cli, *words: str) -> dict[str, dict[str, Any]]:
    said = cli("doctor", *words, "--format", "json")
    found = {one["check"]: one for one in said.json}
    assert said.code == (6 if any(one["level"] == "fail" for one in said.json) else 0)
    return found


def test_a_ledger_in_order_fails_nothing_and_is_left_as_it_was(cli: Cli):
    before = {one.name: one.read_bytes() for one in cli.folder.iterdir()}
    found = findings(cli)
    assert found["ledger"]["found"].endswith("(KLING_LEDGER_DB)")
    assert {found[one]["level"] for one in ("schema", "writing", "clock", "jobs")} == {"ok"}
    assert {one.name: one.read_bytes() for one in cli.folder.iterdir()} == before


def test_a_ledger_that_is_named_and_not_there_is_a_finding(cli: Cli):
    one = findings(cli, "--db", "typo.sqlite")["ledger"]
    assert (one["level"], "wallet create" in one["then"]) == ("fail", True)
    assert not (cli.folder / "typo.sqlite").exists()


@pytest.mark.parametrize(
    ("text", "told"), [(b"no database at all" * 100, "database"), (None, "schema")]
)
def test_a_file_that_is_no_ledger_or_another_version_is_a_finding(
    cli: Cli, text: bytes | None, told: str
):
    if text is not None:
        cli.database.write_bytes(text)
    else:
        with sqlite3.connect(cli.database) as connection:
            connection.execute("UPDATE kling_ledger_version SET version_num = '0001'")
        connection.close()
    assert findings(cli)[told]["level"] == "fail"


def test_what_waits_in_the_ledger_is_told_with_its_command(cli: Cli):
    with Ledger(str(cli.database)) as ledger:
        made = ledger.reserve("team", usd("1"))
        ledger.mark_submitting(made.id)
        ledger.mark_in_doubt(made.id, "nobody knows")
    (cli.folder / f"{made.id}.task").write_text(f'{{"reservation": "{made.id}", "task": "t-1"}}')
    found = findings(cli)
    assert (found["jobs"]["level"], found["jobs"]["then"]) == ("warn", "kling-ledger resume")
    assert found["task files"]["then"] == "kling-ledger resume"


def test_a_key_is_told_by_its_fingerprint_alone(cli: Cli):
    cli.environ["CRUN_API_KEY"] = "a-secret-of-mine"
    said = cli("doctor")
    assert "a-secret-of-mine" not in said.out + said.err
    assert "CRUN_API_KEY: fingerprint " in said.out


def test_a_settings_file_that_cannot_be_read_is_a_finding(cli: Cli):
    file = cli.folder / "settings.toml"
    file.write_text("walet = 1")
    cli.environ["KLING_LEDGER_CONFIG"] = str(file)
    assert findings(cli)["settings"]["level"] == "fail"


def test_a_provider_that_does_not_answer_fails_only_when_it_is_asked(cli: Cli):
    file = cli.folder / "settings.toml"
    addresses = "\n".join(
        f'{name} = "http://127.0.0.1:9"' for name in ("runapi", "crun", "evolink", "uniall")
    )
    file.write_text(f"[base_url]\n{addresses}\n")
    cli.environ["KLING_LEDGER_CONFIG"] = str(file)
    assert findings(cli)["runapi"]["level"] == "warn"
    assert findings(cli, "--online")["runapi"]["level"] == "fail"


def test_a_server_is_told_with_its_version(tmp_path: Path, postgres_ledger: str):
    found = findings(Cli(tmp_path), "--db", postgres_ledger)
    assert found["schema"]["level"] == "ok"
    assert found["PostgreSQL"]["found"][:1].isdigit()


def test_a_server_that_is_away_is_a_finding_without_its_password(tmp_path: Path):
    url = "postgresql://ann:pass-word@127.0.0.1:9/ledger?connect_timeout=1"
    said = Cli(tmp_path)("doctor", "--db", url)
    assert said.code == 6
    assert "pass-word" not in said.out + said.err
    assert os.linesep in said.out
