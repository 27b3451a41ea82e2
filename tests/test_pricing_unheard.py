"""A field that no page documents: it is sent and told, and refused where a price may hang on it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from kling_pricing.errors import RequestError
from kling_pricing.gateways import Request, parse_body, read_request
from tests.cli import Cli, body
from tests.ledgers import money
from tests.test_pricing_bodies import body_of

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOTE = "seed is no documented field: it is sent as it is, and what it may cost is unknown"

BODIES = {"crun": "crun_text", "evolink": "evolink_motion", "uniall": "uniall_openai_style"}


def asked(provider: str, **more: Any) -> dict[str, Any]:
    """A published body with more in it, and the same without."""
    said = parse_body(body()) if provider == "runapi" else body_of(BODIES[provider])
    return {**said, **more}


@pytest.mark.parametrize("provider", ["runapi", "crun", "evolink", "uniall"])
def test_a_new_optional_field_is_sent_and_told_and_the_rest_is_priced(provider: str):
    before: Request = read_request(provider, asked(provider))
    found = read_request(provider, asked(provider, seed=7))
    assert found.quote(at=AT).amount == before.quote(at=AT).amount
    assert found.clip == before.clip
    assert (found.unheard, found.assumptions) == ((NOTE,), (NOTE, *before.assumptions))
    assert found.sent == {**before.sent, "seed": 7}
    assert found.payload_hash != before.payload_hash
    assert before.unheard == ()


@pytest.mark.parametrize("provider", ["runapi", "crun", "evolink", "uniall"])
def test_who_is_strict_refuses_it_and_is_told_that_its_cost_is_unknown(provider: str):
    with pytest.raises(RequestError, match=r"seed: got 7.*what it may cost is unknown"):
        read_request(provider, asked(provider, seed=7), strict=True)


@pytest.mark.parametrize(
    "name",
    [
        *("length", "sound", "num_videos", "n", "output_video_url", "Frames", "voice-id"),
        *("Prompt", "promt", "negativeprompt", "", "a.b", "input[0]"),
    ],
)
def test_what_a_price_may_hang_on_and_what_is_misspelt_is_refused(name: str):
    with pytest.raises(RequestError) as refusal:
        read_request("runapi", asked("runapi", **{name: 1}))
    (problem,) = refusal.value.problems
    assert "no such field" in problem.allowed


def test_a_slip_of_the_pen_is_told_what_it_may_have_meant():
    with pytest.raises(RequestError, match=r"did you mean prompt\?"):
        read_request("runapi", asked("runapi", promt="a lake"))


def test_a_field_deep_in_a_body_is_told_by_its_path():
    said = asked("crun")
    said = {**said, "input": {**said["input"], "style": "film"}}
    (note,) = read_request("crun", said).unheard
    assert note.startswith("input.style is no documented field")


def test_with_another_problem_everything_is_told_at_once():
    with pytest.raises(RequestError) as refusal:
        read_request("runapi", asked("runapi", seed=7, duration_seconds=99))
    assert {one.path for one in refusal.value.problems} == {"seed", "duration_seconds"}


def test_the_command_line_warns_and_refuses_where_it_is_strict(tmp_path: Any):
    cli = Cli(tmp_path)
    words = ("quote", "--provider", "runapi", "--request", "-")
    said = cli(*words, stdin=body(seed=7))
    assert said.code == 0
    assert f"note: {NOTE}" in said.err
    told = cli.json(*words, stdin=body(seed=7))
    assert (told["amount"], NOTE in told["assumptions"]) == ("0.675", True)
    refused = cli(*words, "--strict", stdin=body(seed=7))
    assert (refused.code, refused.out) == (2, "")
    assert "what it may cost is unknown" in refused.err
    assert cli(*words, "--strict", stdin=body()).code == 0
    assert money(f"{told['amount']} {told['unit']}") == money("0.675 USD")


def test_run_warns_before_it_reserves_and_refuses_where_it_is_strict(tmp_path: Any, sandbox: Any):
    cli = Cli(tmp_path, {"RUNAPI_API_KEY": sandbox.settings.api_key})
    cli.fund("5 USD")
    words = ("run", "--provider", "runapi", "--base-url", sandbox.url, "--wallet", "team")
    refused = cli(*words, "--request", "-", "--strict", stdin=body(seed=7))
    assert (refused.code, refused.out) == (2, "")
    assert "what it may cost is unknown" in refused.err
    assert cli.reservations() == []
    said = cli(*words, "--request", "-", stdin=body(seed=7))
    assert f"note: {NOTE}" in said.err
