"""What the environment says of proxies and certificates: used, or named in an error of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from kling_ledger.errors import ConfigError, JobRefusedError
from kling_ledger.jobs.downloads import download
from kling_ledger.providers.crun.live_prices import CrunEstimates
from kling_ledger.providers.registry import connect
from kling_ledger.providers.runapi.live_prices import fetch_schedule
from tests.loopback import answering
from tests.providers import BODIES, KEY, NAMES

UNUSABLE = [
    ("ALL_PROXY", "socks5://127.0.0.1:1080", "socksio"),
    ("all_proxy", "socks5h://127.0.0.1:1080", "socksio"),
    ("HTTPS_PROXY", "http://user:secret@127.0.0.1:port", "an invalid address"),
    ("HTTP_PROXY", "://", "an invalid address"),
    ("http_proxy", "junk://127.0.0.1", "an invalid address"),
    ("HTTP_PROXY", "\x01", "an invalid address"),
    ("NO_PROXY", "[::1]", "an invalid address"),
    ("no_proxy", "localhost:port", "an invalid address"),
    ("SSL_CERT_FILE", "/no/such/file.pem", "No such file"),
    ("SSL_CERT_FILE", "/etc/hostname", "SSL"),
]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        for spelling in (name, name.lower()):
            monkeypatch.delenv(spelling, raising=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("variable", "value", "why"), UNUSABLE)
def test_a_variable_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, variable: str, value: str, why: str
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=variable) as error:
        connect(name, api_key=KEY)
    assert why in str(error.value)
    assert error.value.hint
    assert "secret" not in f"{error.value} {error.value.hint}"


def test_what_reads_prices_or_clips_names_it_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(ConfigError, match="ALL_PROXY"):
        fetch_schedule()
    with pytest.raises(ConfigError, match="ALL_PROXY"):
        CrunEstimates(KEY)
    with pytest.raises(ConfigError, match="ALL_PROXY"):
        download(["https://v/1.mp4"], tmp_path, name="clip")


@pytest.mark.parametrize("name", NAMES)
def test_a_proxy_that_lets_nobody_through_left_nothing_at_the_provider(
    monkeypatch: pytest.MonkeyPatch, name: str
):
    with answering((407, "")) as proxy:
        for variable in ("HTTPS_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(variable, proxy.url)
        for address in ("https://gateway.example", "http://gateway.example"):
            provider = connect(name, api_key=KEY, base_url=address, timeout_s=2)
            with pytest.raises(JobRefusedError, match="407"):
                provider.submit("text_to_video", BODIES[name], key="res_1")
            provider.close()
