"""The registry: from a provider's name to its facts and to a connection."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from importlib import import_module

import pytest

from kling_ledger.errors import ConfigError
from kling_ledger.providers.registry import FACTS, connect, provider_facts
from kling_ledger.sandbox import registry as sandbox_gateways
from kling_pricing import bundled_book
from kling_pricing.gateways import GATEWAYS
from tests.providers import KEY, NAMES

VARIABLES = {
    "runapi": "RUNAPI_API_KEY",
    "crun": "CRUN_API_KEY",
    "evolink": "EVOLINK_API_KEY",
    "uniall": "UNIALL_API_KEY",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_provider_is_connected_by_its_name(name: str):
    with closing(connect(name, api_key=KEY)) as provider:
        facts = provider_facts(name)
        assert (provider.name, provider.facts) == (name, facts)
        assert provider.address == facts.base_url
        assert provider.repeats_safely is facts.takes_key is (name == "runapi")


@pytest.mark.parametrize("name", NAMES)
def test_a_providers_key_is_read_from_its_own_variable(name: str, monkeypatch: pytest.MonkeyPatch):
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigError, match="no API key") as error:
        connect(name)
    assert VARIABLES[name] in str(error.value.hint)
    monkeypatch.setenv(VARIABLES[name], KEY)
    connect(name).close()


@pytest.mark.parametrize("name", NAMES)
def test_a_provider_and_its_price_book_count_the_same_unit(name: str):
    assert provider_facts(name).unit == bundled_book(name).unit


def test_exactly_the_four_providers_are_known():
    assert sorted(FACTS) == sorted(NAMES)


def test_a_name_that_is_none_is_told_with_those_that_are():
    with pytest.raises(ConfigError) as error:
        connect("fal", api_key=KEY)
    assert "runapi, crun, evolink, uniall" in str(error.value.hint)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("url", ["", "runapi.ai", "ftp://example.com", "http://", "http://a b/"])
def test_an_address_that_is_none_is_a_setting(name: str, url: str):
    with pytest.raises(ConfigError, match="address"):
        connect(name, api_key=KEY, base_url=url)


@pytest.mark.parametrize("name", NAMES)
def test_an_address_with_a_password_is_not_taken(name: str):
    with pytest.raises(ConfigError, match="user name") as error:
        connect(name, api_key=KEY, base_url="https://me:secret@example.com")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_a_call_always_has_a_time_out(timeout_s: float):
    with pytest.raises(ConfigError, match="time-out"):
        connect("crun", api_key=KEY, timeout_s=timeout_s)


@pytest.mark.parametrize("name", ["crun", "evolink", "uniall"])
def test_who_speaks_to_another_provider_does_not_load_runapis_client(name: str):
    code = (
        "import sys; from kling_ledger.providers.registry import connect\n"
        f"connect({name!r}, api_key='key-0123').close()\n"
        "assert not any(module.startswith('runapi') for module in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateway_has_all_that_adding_one_takes(name: str):
    """Its bodies, its facts and dialect, a book, and a rendering of its own in the sandbox."""
    body = import_module(f"kling_pricing.gateways.{name}.body")
    dialect = import_module(f"kling_ledger.providers.{name}.dialect")
    assert callable(body.read)
    assert callable(body.write_body)
    assert callable(dialect.connect)
    assert callable(dialect.read_callback)
    assert FACTS[name].name == name
    assert bundled_book(name).unit == FACTS[name].unit
    assert sandbox_gateways.GATEWAYS[name].name == name
