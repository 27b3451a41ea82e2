"""The environment of a guarded program: its proxy, whom it trusts, what it can spend."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from kling_ledger.agents.child.environment import (
    ADDED,
    REPLACED,
    Authorities,
    Keys,
    child_environment,
)

PROXY = "http://run:secret@127.0.0.1:1"
REAL = "sk-the-real-key"
TOKEN = "klr_the-token"
OURS = b"-----OURS-----\n"


def given(
    folder: Path, environ: dict[str, str] | None = None, *, has_loopback: bool = False
) -> dict[str, str]:
    keys = Keys({"runapi": REAL}, TOKEN)
    return child_environment(
        environ or {},
        proxy=PROXY,
        keys=keys,
        authorities=Authorities(folder, OURS),
        has_loopback=has_loopback,
    )


def test_every_spelling_names_the_proxy(tmp_path: Path):
    found = given(tmp_path, {"https_proxy": "http://other:1", "ALL_PROXY": "socks5://other:1"})
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        assert found[name] == found[name.lower()] == PROXY


def test_loopback_goes_around_unless_it_is_opened(tmp_path: Path):
    inherited = {"NO_PROXY": "*", "no_proxy": "runapi.ai"}
    found = given(tmp_path, inherited)
    assert found["NO_PROXY"] == found["no_proxy"] == "localhost,127.0.0.1,::1"
    found = given(tmp_path, inherited, has_loopback=True)
    assert found["NO_PROXY"] == found["no_proxy"] == ""


def test_no_variable_holds_a_real_key(tmp_path: Path):
    environ = {"RUNAPI_API_KEY": f" {REAL} ", "OTHER": f"Bearer {REAL}", "PATH": "/bin"}
    found = given(tmp_path, environ)
    assert found["RUNAPI_API_KEY"] == TOKEN
    assert found["OTHER"] == f"Bearer {TOKEN}"
    assert found["PATH"] == "/bin"
    assert not any(REAL in text for text in found.values())


def test_a_key_that_is_a_common_word_is_taken_out_of_its_own_variable_alone(tmp_path: Path):
    keys = Keys({"runapi": "key"}, TOKEN)
    authorities = Authorities(tmp_path, OURS)
    environ = {"RUNAPI_API_KEY": "key", "MONKEY": "monkey"}
    found = child_environment(
        environ, proxy=PROXY, keys=keys, authorities=authorities, has_loopback=False
    )
    assert found["RUNAPI_API_KEY"] == TOKEN
    assert found["MONKEY"] == "monkey"


def test_a_key_that_is_not_there_is_not_made_up(tmp_path: Path):
    assert "CRUN_API_KEY" not in given(tmp_path)


def test_the_authorities_of_the_system_stay_trusted(tmp_path: Path):
    found = given(tmp_path)
    system = ssl.create_default_context().get_ca_certs()
    for name in REPLACED:
        content = Path(found[name]).read_bytes()
        assert content.endswith(OURS), name
        assert content.count(b"BEGIN CERTIFICATE") >= len(system)


def test_node_and_deno_are_given_ours_on_top(tmp_path: Path):
    found = given(tmp_path)
    for name in ADDED:
        assert Path(found[name]).read_bytes().strip() == OURS.strip()


def test_what_a_variable_named_before_stays_what_it_trusts(tmp_path: Path):
    (tmp_path / "corporate.pem").write_bytes(b"CORPORATE\n")
    named = str(tmp_path / "corporate.pem")
    found = given(tmp_path, {"REQUESTS_CA_BUNDLE": named, "NODE_EXTRA_CA_CERTS": named})
    for name in ("REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        assert Path(found[name]).read_bytes() == b"CORPORATE\n\n" + OURS
    assert b"CORPORATE" not in Path(found["SSL_CERT_FILE"]).read_bytes()


@pytest.mark.parametrize("named", ["gone.pem", "."])
def test_a_folder_of_authorities_is_read_and_one_that_is_gone_is_empty(tmp_path: Path, named: str):
    (tmp_path / "a.pem").write_bytes(b"A")
    (tmp_path / "b.pem").write_bytes(b"B")
    (tmp_path / "out").mkdir()
    authorities = Authorities(tmp_path / "out", OURS)
    found = authorities.variables({"SSL_CERT_FILE": str(tmp_path / named)})
    content = Path(found["SSL_CERT_FILE"]).read_bytes()
    assert content == (b"A\nB\n" + OURS if named == "." else OURS)
