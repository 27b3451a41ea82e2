"""`kling-ledger report focus|beancount|hledger|close-pack`, as a person types them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import Cli, Said
from tests.export_ledger import Step, ledger_of
from tests.test_reports_command import run

JOBS = [Step("commit"), Step("less", hours=24 * 9)]
Ask = Callable[..., Said]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """A ledger with jobs in two months, September 2026 closed hard, and a way to ask it."""
    database = tmp_path_factory.mktemp("export") / "ledger.sqlite"
    with ledger_of(str(database), JOBS) as (ledger, _):
        ledger.periods.close("2026-09", hard=True)
    return lambda *words: run(database, *words)


@pytest.mark.parametrize("form", ["focus", "beancount", "hledger"])
def test_an_export_goes_to_standard_output_or_into_a_file(ask: Ask, tmp_path: Path, form: str):
    said = ask(form)
    assert (said.code, said.err) == (0, "")
    out = tmp_path / "export"
    told = ask(form, "--out", str(out))
    assert (told.code, told.out) == (0, "")
    assert out.read_bytes().decode().replace("\r\n", "\n") == said.out.replace("\r\n", "\n")
    assert "txf_" in said.out


@pytest.mark.parametrize(
    ("words", "fewer"),
    [
        (("focus", "--period", "2026-09"), True),
        (("beancount", "--through", "2026-09"), True),
        (("hledger", "--through", "2026-09"), True),
        (("hledger", "--through", "2026-10"), False),
    ],
)
def test_months_choose_what_is_exported(ask: Ask, words: tuple[str, ...], fewer: bool):
    assert (len(ask(*words).out) < len(ask(words[0]).out)) is fewer


def test_the_version_of_focus_can_be_chosen(ask: Ask):
    assert "ServiceProviderName" in ask("focus", "--focus-version", "1.4").out
    assert "ServiceProviderName" not in ask("focus").out


def test_a_close_pack_is_written_whole(ask: Ask, tmp_path: Path):
    out = tmp_path / "packs" / "2026-09"
    said = ask("close-pack", "2026-09", "--out", str(out))
    assert (said.code, said.out) == (0, "")
    assert "holds the close pack of 2026-09" in said.err
    assert (out / "manifest.json").exists()
    assert ask("close-pack", "2026-09", "--out", str(out)).code == 0


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("close-pack", "2026-10", "--out", "pack"), "kling-ledger close 2026-10"),
        (("close-pack", "October", "--out", "pack"), "write it as 2026-10"),
        (("close-pack", "2026-09"), "--out"),
        (("close-pack", "2026-09", "--out", "."), "name a new folder"),
        (("focus", "--rate", "crun-credit"), "--rate crun-credit=0.005"),
        (("focus", "--rate", "crun-credit=0"), "--rate crun-credit=0.005"),
        (("focus", "--focus-version", "1.3"), "1.2"),
        (("beancount", "--through", "2026-13"), "write it as 2026-10"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_the_next_step(
    ask: Ask, words: tuple[str, ...], hint: str
):
    said = ask(*words)
    assert (said.code, said.out) == (2, "")
    assert hint in said.err


def test_a_ledger_that_is_not_there_is_not_exported(tmp_path: Path):
    cli = Cli(tmp_path)
    said = cli("report", "focus")
    assert (said.code, said.out) == (2, "")
    assert not cli.database.exists()


def test_the_command_itself_writes_the_same_bytes(tmp_path: Path):
    cli = Cli(tmp_path)
    with ledger_of(str(cli.database), JOBS):
        pass
    assert cli("report", "hledger").out == run(cli.database, "hledger").out != ""
