"""The settings file: option before variable before file before default, and never a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from kling_ledger import Ledger, config
from kling_ledger.errors import ConfigError
from kling_ledger.settings_file import PROVIDERS, read_settings
from kling_pricing.gateways import GATEWAYS
from tests.cli import Cli

CLIP = ("--model", "kling-3.0", "--seconds", "5", "--resolution", "1080p", "--sound")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


@pytest.fixture
def cli(tmp_path: Path, file: Path) -> Cli:
    made = Cli(tmp_path, {"KLING_LEDGER_CONFIG": str(file)})
    made.fund("10 USD")
    return made


def origins(cli: Cli, *words: str) -> dict[str, tuple[str | None, str]]:
    return {one["setting"]: (one["value"], one["origin"]) for one in cli.json("config", *words)}


def test_the_file_has_an_address_for_every_provider_that_runs_jobs():
    assert tuple(GATEWAYS) == PROVIDERS


def test_each_value_is_told_with_its_origin(cli: Cli, file: Path):
    file.write_text('wallet = "team"\n[base_url]\nrunapi = "http://127.0.0.1:1"\n')
    told = origins(cli)
    assert told["wallet"] == ("team", str(file))
    assert told["base_url.runapi"] == ("http://127.0.0.1:1", str(file))
    assert told["db"][1] == "KLING_LEDGER_DB"
    assert told["format"] == ("table", "default")
    assert told["project"] == (None, "not set")
    assert origins(cli, "--db", "x.sqlite")["db"] == ("sqlite:///x.sqlite", "--db")


def test_a_setting_is_kept_and_the_rest_of_the_file_stays(cli: Cli, file: Path):
    file.write_text('# ours\nwallet = "old"  \n\n[base_url]\ncrun = "http://c"\n')
    for words in (("wallet", "team"), ("timeout", "30s"), ("base_url.runapi", "http://r")):
        assert cli("config", "set", *words).code == 0
    assert file.read_text().startswith("# ours\n")
    assert cli("config", "unset", "base-url.crun").code == 0
    found = read_settings({"KLING_LEDGER_CONFIG": str(file)}).values
    assert found == {"wallet": "team", "timeout": 30.0, "base_url.runapi": "http://r"}


def test_the_wallet_of_the_file_pays_and_is_told(cli: Cli, file: Path):
    file.write_text('wallet = "team"\nprovider = "runapi"\n')
    said = cli("check", *CLIP)
    assert (said.code, said.lines[0]) == (0, f"note: wallet team, from {file}")
    assert "note: wallet" not in cli("check", *CLIP, "--wallet", "team").err
    other = cli("check", *CLIP, "--wallet", "other")
    assert other.lines[0] == "error: no such wallet: other"


def test_the_file_fills_no_filter_and_no_scope(cli: Cli, file: Path):
    file.write_text('wallet = "nobody"\nproject = "film"\nprovider = "crun"\n')
    assert cli.json("budget", "set", "all", "--limit", "1 USD")["wallet"] is None
    assert cli.json("reservation", "list") == []
    assert cli("report", "spend").code == 0


def test_an_option_comes_before_the_file(cli: Cli, file: Path):
    file.write_text('format = "json"\n')
    assert isinstance(cli("wallet", "list").json, list)
    assert cli("wallet", "list", "--format", "csv").out.splitlines()[1].startswith("team,USD")
    assert cli("wallet", "show", "nobody").json["error"]["code"] == "not_found"


def test_a_person_is_asked_above_what_the_file_says(cli: Cli, file: Path):
    file.write_text('wallet = "team"\nprovider = "runapi"\napprove_above = "0.5 USD"\n')
    assert cli("check", *CLIP).code == 3
    said = cli("run", *CLIP, "--prompt", "x", "--api-key", "k", "--base-url", "http://127.0.0.1:9")
    assert said.code == 3
    assert "kling-ledger approval grant apr_" in said.err
    (waiting,) = cli.json("approval", "list")
    assert cli("approval", "grant", waiting["id"]).code == 0
    ours = ("check", *CLIP, "--prompt", "x")
    assert cli(*ours).code == 0
    assert cli("check", *CLIP, "--prompt", "another").code == 3
    # What one person was granted lets nobody else in, as `run` would say.
    stranger = Cli(cli.folder, {**cli.environ, "KLING_LEDGER_ACTOR": "somebody-else"})
    assert stranger(*ours).code == 3


def test_a_script_opens_the_ledger_of_the_file(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
):
    file.write_text(f'db = "{tmp_path}/own.sqlite"\n[base_url]\ncrun = "http://c"\n')
    monkeypatch.setenv("KLING_LEDGER_CONFIG", str(file))
    with Ledger() as ledger:
        assert ledger.database.name == f"sqlite:///{tmp_path}/own.sqlite"
    assert config.base_url(None, default="http://own", provider="crun") == "http://c"
    assert config.base_url("http://given", default="http://own", provider="crun") == "http://given"
    assert config.base_url(None, default="http://own", provider="runapi") == "http://own"
    monkeypatch.setenv("KLING_LEDGER_DB", str(tmp_path / "variable.sqlite"))
    assert config.database_url(None).endswith("variable.sqlite")
    assert config.database_url("given.sqlite") == "sqlite:///given.sqlite"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('api_key = "x"', "looks like a secret"),
        ('RUNAPI_API_KEY = "x"', "looks like a secret"),
        ('[runapi]\ntoken = "x"', "looks like a secret"),
        ('db = "postgresql://ann:pw@host/x"', "holds a password"),
        ('walet = "x"', "no such setting: walet"),
        ("wallet = 1", "allowed: text"),
        ("timeout = -1", "seconds above 0"),
        ("timeout = true", "seconds above 0"),
        ('base_url.runapi = "nowhere"', "an address"),
        ("wallet = ", "is not valid TOML"),
    ],
)
def test_what_the_file_must_not_say_is_refused(cli: Cli, file: Path, text: str, told: str):
    file.write_text(text)
    said = cli("wallet", "list")
    assert (said.code, said.out) == (2, "")
    assert told in said.err
    assert "pw" not in said.err
    assert cli("wallet", "list", "--help").code == 0
    with pytest.raises(ConfigError):
        read_settings({"KLING_LEDGER_CONFIG": str(file)})


def test_a_file_that_is_named_and_not_there_is_an_error(cli: Cli, tmp_path: Path):
    said = cli("--config", "nofile.toml", "wallet", "list")
    assert said.code == 2
    assert "there is no settings file" in said.err


def test_nobody_is_asked_about_where_no_file_is(cli: Cli):
    cli.environ["KLING_LEDGER_CONFIG"] = ""
    cli.environ["XDG_CONFIG_HOME"] = str(cli.folder / "none")
    assert cli("wallet", "list").code == 0


def test_a_file_that_is_a_link_stays_a_link(cli: Cli, file: Path, tmp_path: Path):
    kept = tmp_path / "kept.toml"
    kept.write_text('project = "film"\n')
    file.unlink(missing_ok=True)
    file.symlink_to(kept)
    assert cli("config", "set", "wallet", "team").code == 0
    assert file.is_symlink()
    assert kept.read_text() == 'project = "film"\nwallet = "team"\n'
