"""The examples of running as a service do what their page says, as far as can be tried here."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.parse import urlsplit

import httpx
import pytest

from tests.cli import COMMAND, Cli
from tests.page_reader import command_of
from tests.pages import ROOT

EXAMPLES: Final = ROOT / "docs" / "examples"
UNITS: Final = ("kling-ledger-gateway.service", "kling-ledger-callbacks.service")
WORST: Final = 20
"""The most exposed that a unit may be: 2.0 of 10, by `systemd-analyze security`."""


def lines(name: str, key: str) -> list[str]:
    """What a unit says of a key, line by line."""
    text = (EXAMPLES / name).read_text("utf-8")
    return [line[len(key) + 1 :] for line in text.splitlines() if line.startswith(f"{key}=")]


def words_of(name: str) -> list[str]:
    (line,) = lines(name, "ExecStart")
    program, *words = shlex.split(line)
    assert program == "/opt/kling-ledger/bin/kling-ledger"
    return words


@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_a_unit_and_finds_little_exposed(name: str, tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not here")
    # The program where it is here, and a user that is here.
    text = (EXAMPLES / name).read_text("utf-8")
    text = text.replace("/opt/kling-ledger/bin/kling-ledger", COMMAND)
    unit = tmp_path / name
    unit.write_text(text.replace("User=kling-ledger", f"User={getpass.getuser()}"), "utf-8")
    verify = [tool, "verify", "--man=no", str(unit)]
    told = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout + told.stderr) == (0, "")
    # Who it runs as is part of that figure.
    unit.write_text(text, "utf-8")
    rate = [tool, "security", "--offline=yes", f"--threshold={WORST}", str(unit)]
    told = subprocess.run(rate, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_listens_on_this_machine_alone(name: str) -> None:
    words = words_of(name)
    command = command_of(words)
    assert "--host" not in words
    (host,) = (one for one in command.params if one.name == "host")
    assert host.default == "127.0.0.1"


@pytest.mark.parametrize("name", UNITS)
def test_the_command_of_a_unit_starts_with_its_settings_and_ends_with_a_sigterm(
    name: str, tmp_path: Path
) -> None:
    set_by_unit = dict(one.split("=", 1) for one in lines(name, "Environment"))
    here = {k: str(tmp_path / Path(path).name) for k, path in set_by_unit.items()}
    assert set(here) == {"KLING_LEDGER_DB"}
    cli = Cli(tmp_path, here)
    cli.fund("2 USD")
    process = cli.start(*words_of(name), "--port", "0")
    try:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        assert urlsplit(url).hostname == "127.0.0.1"
        if "gateway" in name:
            assert httpx.get(f"{url}/readyz").text == "ok\n"
            assert health_check(urlsplit(url).port) == 0
        process.send_signal(signal.SIGTERM)
        # systemd takes a death by SIGTERM for a clean end too.
        assert process.wait(60) in {0, -signal.SIGTERM}
    finally:
        process.kill()
        process.communicate()
    if "gateway" in name:
        assert health_check(urlsplit(url).port) == 1


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in their order, continued lines put together."""
    text = (EXAMPLES / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    written = (line for line in text.splitlines() if line.strip() and line[0] != "#")
    return [(word, " ".join(rest.split())) for word, _, rest in (w.partition(" ") for w in written)]


def health_check(port: int | None) -> int:
    """Run the image's health check on another port and return how it ended."""
    ((_, check),) = (one for one in instructions() if one[0] == "HEALTHCHECK")
    _, *words = json.loads(check.partition(" CMD ")[2])
    asked = [word.replace("8770", str(port)) for word in words]
    environ = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    run = subprocess.run([sys.executable, *asked], env=environ, capture_output=True, check=False)
    assert run.returncode == 0 or URLError.__name__ in run.stderr.decode()
    return run.returncode


def test_an_image_is_run_by_nobody_special_and_listens_to_itself() -> None:
    found = instructions()
    last = max(place for place, (word, _) in enumerate(found) if word == "FROM")
    final = found[last:]
    assert [rest for word, rest in final if word == "USER"] == ["10001"]
    (start,) = (json.loads(rest) for word, rest in final if word == "ENTRYPOINT")
    (words,) = (json.loads(rest) for word, rest in final if word == "CMD")
    assert start == ["kling-ledger"]
    assert "--host" not in words
    command_of(words)
    (port,) = (one for one in command_of(words).params if one.name == "port")
    assert [rest for word, rest in final if word == "EXPOSE"] == [str(port.default)]


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not here")
def test_a_linter_finds_nothing_in_the_dockerfile() -> None:
    subprocess.run(["hadolint", EXAMPLES / "Dockerfile"], check=True)
