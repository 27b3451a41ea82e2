"""The documents say what is true: commands exist, options are real, links lead somewhere."""

from __future__ import annotations

import html
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from runapi.core import config

from kling_ledger import Ledger
from kling_ledger.errors import StateError
from kling_ledger.providers.runapi.dialect import RunApi
from kling_ledger.sandbox import Sandbox
from kling_pricing.gateways import GATEWAYS
from tests.cli import COMMAND, Cli
from tests.ledgers import usd
from tests.page_reader import MyClient, commands
from tests.pages import ROOT
from tests.sandbox_rig import Caller, plain_client


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def shown(name: str) -> list[str]:
    """The command lines that a page shows, continued lines put together."""
    text = page(name).replace("\\\n", " ")
    return re.findall(r"(?:\$ |`|&& )kling-ledger ([a-z]+[^`\n|]*)", text)


@pytest.mark.parametrize("words", sorted(commands()))
def test_every_command_and_option_has_help(words: str):
    command = commands()[words]
    assert command.help
    unexplained = [
        option.name
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert unexplained == []


@pytest.mark.parametrize("noun", sorted({words.split()[0] for words in commands()}))
def test_the_readme_speaks_of_every_command(noun: str):
    assert re.search(rf"\b{noun}\b", page("README.md"))


@pytest.mark.parametrize("name", ["README.md", "pricing/README.md"])
def test_every_command_that_is_shown_exists_with_its_options(name: str):
    known = commands()
    for line in shown(name):
        words = [word for word in line.split() if re.fullmatch("[a-z][a-z-]*", word)]
        found = known.get(" ".join(words[:2])) or known.get(words[0])
        assert found is not None, line
        options = {
            flag for option in found.params for flag in (*option.opts, *option.secondary_opts)
        }
        assert set(re.findall(r"--[a-z-]+", line)) <= options, line


ROOMS = ("kling_ledger", "pricing/kling_pricing", "reports/kling_reports")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of Unix")
def test_the_picture_of_the_demo_shows_what_it_prints():
    from docs.pictures import written

    drawn = re.findall(r">([^<>]+)</text>", page("docs/assets/demo.svg"))
    told = re.sub(r"\x1b\[[\d;]*m", "", written((COMMAND, "demo")))
    assert words_of(" ".join(map(html.unescape, drawn))) == [
        "kling-ledger",
        *words_of(f"$ kling-ledger demo {told}"),
    ], "take it again with: python -m docs.pictures"


def words_of(text: str) -> list[str]:
    """The words of a text; a port, which is another each time, is the same."""
    return re.sub(r":\d{4,5}\b", ":PORT", text).split()


def test_every_file_of_the_map_is_there():
    """A file may be named by the end of its path; `NAME` stands for every gateway."""
    known = [f"/{path.relative_to(ROOT)}" for room in ROOMS for path in (ROOT / room).rglob("*")]
    for named in re.findall(r"`([\w./]*(?:\.py|\.toml|/))`", page("ARCHITECTURE.md")):
        for gateway in GATEWAYS if "NAME" in named else ("",):
            target = named.replace("NAME", gateway).rstrip("/")
            is_there = (ROOT / target).exists() or any(one.endswith(f"/{target}") for one in known)
            assert is_there, target


TOLD_ANEW = re.compile(r" *(\.\.\.|id .*|.*frees at .*|─*)")
"""Lines that differ from run to run, rule a table, or stand for more of them."""


def tour() -> Iterator[tuple[str, list[str]]]:
    """The commands of the README's console blocks in their order, each with what it prints."""
    for block in re.findall(r"```console\n(.*?)```", page("README.md"), re.DOTALL):
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = entry.replace("\\\n", " ").partition("\n")
            yield command, printed.rstrip().split("\n")


def is_part_of(line: str, told: str) -> bool:
    """Whether a line says the same words in the same order: a narrow table leaves columns out."""
    words = iter(told.split())
    return all(word in words for word in line.split())


def test_the_tour_in_the_readme_prints_what_it_shows(tmp_path: Path, sandbox: Sandbox):
    cli = Cli(tmp_path, {"RUNAPI_API_KEY": sandbox.settings.api_key})
    (cli.folder / "bill.csv").write_text("task_id,amount\n")
    followed = 0
    for command, printed in tour():
        words = shlex.split(command.replace("http://127.0.0.1:8765", sandbox.url))
        if words[0] == "cat":
            (cli.folder / words[1]).write_text("\n".join(printed) + "\n")
        elif words[0] == "kling-ledger":
            said = cli(*words[1:])
            told = (said.out + said.err).splitlines()
            for line in printed:
                is_told = any(is_part_of(line, one) for one in told)
                assert is_told or TOLD_ANEW.fullmatch(line), (command, line, told)
            assert (said.code == 0) is not any(line.startswith("error") for line in printed), (
                command
            )
            followed += 1
    assert followed > 10


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> list[str]:
    """The README's scripts, and around them the settings and the wallet that the page speaks of."""
    monkeypatch.setenv("KLING_LEDGER_DB", str(tmp_path / "ledger.sqlite"))
    monkeypatch.setenv("RUNAPI_API_KEY", sandbox.settings.api_key)
    monkeypatch.setattr(config, "base_url", sandbox.url)
    with Ledger() as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("6"))
    return re.findall(r"```python\n(.*?)```", page("README.md"), re.DOTALL)


def test_the_scripts_in_the_readme_run_as_they_stand(scripts: list[str], sandbox: Sandbox):
    spent = []
    with plain_client() as http:
        caller = Caller("runapi", sandbox.url, sandbox.settings.api_key, http)
        names: dict[str, Any] = {"my_client": MyClient(caller)}
        for script in scripts:
            exec(script, names)  # noqa: S102 - the page's own script
            with Ledger() as ledger:
                spent.append(ledger.wallets.get("team").spent)
                assert ledger.verify().is_clean
        RunApi(names["client"].client).close()
    # The one with asyncio leaves its jobs to `resume`, and the last is for tests: it spends from a
    # ledger of its own.
    spent_once = [usd("0.675"), usd("1.35"), usd("2.025")]
    assert spent == [*spent_once, spent_once[-1], spent_once[-1]]
    with Ledger() as ledger:
        # Two jobs that go on, each at the higher of RunAPI's two figures.
        assert ledger.wallets.get("team").reserved == usd("2.7")
    assert names["my_client"].sent[:2] == ["a mountain lake", "the same lake at night"]
    assert sorted(names["my_client"].sent[2:]) == ["the lake in rain", "the lake in snow"]


def test_the_block_in_the_readme_sends_nothing_twice(scripts: list[str], sandbox: Sandbox):
    with plain_client() as http:
        caller = Caller("runapi", sandbox.url, sandbox.settings.api_key, http)
        names: dict[str, Any] = {"my_client": MyClient(caller), "Ledger": Ledger}
        exec(scripts[1], names)  # noqa: S102 - the page's own script
        with pytest.raises(StateError):
            exec(scripts[1], names)  # noqa: S102 - the page's own script
    assert len(sandbox.runapi.jobs()) == len(names["my_client"].sent) == 1
