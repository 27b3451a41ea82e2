"""`kling-ledger token`: a secret is shown once, and what a token allows can be read again."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from kling_ledger import Ledger
from kling_ledger.errors import TokenError
from kling_pricing import Money
from tests.cli import Cli


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    cli = Cli(tmp_path, {"KLING_LEDGER_ACTOR": "ada"})
    cli.fund("10 USD")
    return cli


def test_the_secret_alone_is_on_standard_output(cli: Cli) -> None:
    said = cli("token", "create", "bot", "--wallet", "team")
    assert (said.code, said.out.count("\n")) == (0, 1)
    assert said.lines == [
        "created token bot. Its secret is shown only now: store it where it is used"
    ]
    with Ledger(str(cli.database)) as ledger:
        assert ledger.tokens.of_secret(said.out.strip()).name == "bot"


@pytest.mark.parametrize("form", ["json", "csv"])
def test_programs_are_given_the_secret_as_a_field(cli: Cli, form: str) -> None:
    said = cli("token", "create", "bot", "--wallet", "team", "--format", form)
    told = said.json if form == "json" else next(csv.DictReader(io.StringIO(said.out)))
    with Ledger(str(cli.database)) as ledger:
        assert ledger.tokens.of_secret(told["secret"]).id == told["id"]


def test_a_token_is_what_its_options_say(cli: Cli) -> None:
    made = cli.json(
        *("token", "create", "bot", "--wallet", "team", "--project", "film/"),
        *("--label", "team=fx", "--label", "shot=7", "--model", "kling-3.0"),
        *("--model", "runapi:kling-*", "--max-cost", "2", "--run-limit", "5 USD"),
        *("--approve-above", "1.5", "--expires", "2036-12-01"),
    )
    secret = made.pop("secret")
    assert cli.json("token", "show", "bot") == made
    assert made.pop("id").startswith("tok_")
    created = datetime.fromisoformat(made.pop("created_at"))
    assert abs(created - datetime.now(UTC)) < timedelta(hours=1)
    assert made == {
        "name": "bot",
        "wallet": "team",
        "unit": "USD",
        "project": "film/",
        "labels": {"team": "fx", "shot": "7"},
        "models": ["kling-3.0", "runapi:kling-*"],
        "ceiling": "2",
        "run_limit": "5",
        "approve_above": "1.5",
        "state": "in force",
        "actor": "ada",
        "expires_at": "2036-12-01T00:00:00.000Z",
        "revoked_at": None,
        "revoked_by": None,
    }
    assert secret not in str(made)


def test_no_command_shows_a_secret_or_its_digest_again(cli: Cli) -> None:
    secret = cli("token", "create", "bot", "--wallet", "team").out.strip()
    digest = sha256(secret.encode()).hexdigest()
    for words in (("list",), ("list", "--all"), ("show", "bot"), ("revoke", "bot")):
        for form in ("table", "json", "csv"):
            said = cli("token", *words, "--format", form)
            assert said.code == 0
            assert not any(hidden in said.out + said.err for hidden in (secret, digest))


def test_how_long_a_token_lives_may_be_said(cli: Cli) -> None:
    made = cli.json("token", "create", "bot", "--wallet", "team", "--expires", "30d")
    lives = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert abs(lives - timedelta(days=30)) < timedelta(minutes=5)


def test_a_revoked_token_is_listed_only_with_all_and_opens_nothing(cli: Cli) -> None:
    secret = cli("token", "create", "bot", "--wallet", "team").out.strip()
    cli("token", "create", "ci", "--wallet", "team")
    said = cli("token", "revoke", "bot", "--reason", "a laptop was lost")
    assert said.lines == ["token bot is revoked: every gateway of this ledger now refuses it"]
    assert [one["name"] for one in cli.json("token", "list")] == ["ci"]
    told = {
        one["name"]: (one["state"], one["revoked_by"]) for one in cli.json("token", "list", "--all")
    }
    assert told == {"bot": ("revoked", "ada"), "ci": ("in force", None)}
    with Ledger(str(cli.database)) as ledger, pytest.raises(TokenError):
        ledger.tokens.of_secret(secret)


def test_a_list_reads_well(cli: Cli) -> None:
    cli("token", "create", "bot", "--wallet", "team", "--max-cost", "2", "--model", "kling-3.0")
    head, _, row = [line for line in cli("token", "list").out.splitlines() if line.strip()]
    assert head.split() == [
        *("name", "wallet", "project", "models", "ceiling", "run", "limit", "approve", "above"),
        *("unit", "state", "expires", "at"),
    ]
    assert row.split() == ["bot", "team", "kling-3.0", "2", "USD", "in", "force"]
    listed = csv.DictReader(io.StringIO(cli("token", "list", "--format", "csv").out))
    assert next(listed)["models"] == "kling-3.0"


def test_a_ledger_without_tokens_says_how_to_make_one(cli: Cli) -> None:
    assert cli("token", "list").lines == [
        "no tokens in force: kling-ledger token create NAME --wallet WALLET"
    ]
    assert cli.json("token", "list") == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("a b",), "invalid token name: 'a b'"),
        (("bot", "--model", "kling-9"), "unknown model kling-9"),
        (("bot", "--model", "sora-*"), "no known model begins with sora-"),
        (("bot", "--model", "nowhere:kling-3.0"), "unknown provider nowhere"),
        (("bot", "--label", "token=x"), "label token is set by the ledger"),
        (("bot", "--label", "team"), "invalid label: team"),
        (("bot", "--project", "../film"), "invalid project: '../film'"),
        (("bot", "--max-cost", "0"), 'ceiling: got "0 USD", allowed: more than 0'),
        (("bot", "--run-limit", "5 crun-credit"), "crun-credit"),
        (("bot", "--expires", "2020-01-01"), "would expire before it is created"),
        (("bot", "--expires", "soon"), "got soon"),
    ],
)
def test_what_no_token_can_have_is_a_usage_error(
    cli: Cli, words: tuple[str, ...], told: str
) -> None:
    said = cli("token", "create", *words, "--wallet", "team")
    assert (said.code, said.out) == (2, "")
    assert told in said.err
    assert cli.json("token", "list", "--all") == []


def test_a_model_that_nobody_knows_is_taken_on_demand(cli: Cli) -> None:
    made = cli.json("token", "create", "bot", "--wallet", "team", "--model", "kling-9", "--unknown")
    assert made["models"] == ["kling-9"]


def test_errors_say_what_to_do(cli: Cli) -> None:
    cli("token", "create", "bot", "--wallet", "team")
    again = cli("token", "create", "bot", "--wallet", "team")
    assert again.code == 2
    assert "revoke it first, or choose another name" in again.err
    for words in (("show", "nobody"), ("revoke", "nobody")):
        said = cli("token", *words)
        assert said.code == 2
        assert said.lines == [
            "error: no such token: nobody",
            "hint: kling-ledger token list --all",
        ]
    nowhere = cli("token", "create", "ci", "--wallet", "nobody")
    assert (nowhere.code, "kling-ledger wallet create nobody" in nowhere.err) == (2, True)


def test_jobs_of_a_token_count_in_a_budget_by_day_as_its_help_says(cli: Cli) -> None:
    cli("token", "create", "bot", "--wallet", "team")
    assert "--label token=bot --window day" in cli("token", "--help").out
    cli("budget", "set", "by-day", "--limit", "1 USD", "--label", "token=bot", "--window", "day")
    with Ledger(str(cli.database)) as ledger:
        ledger.reserve("team", Money.parse("1 USD"), labels={"token": "bot"})
    assert cli.json("budget", "show", "by-day")["left"] == "0"
