"""What the gateway says no to: in each provider's own shape, with nothing sent and nothing kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from kling_ledger import Ledger, Scope, State
from kling_ledger.sandbox import Sandbox
from kling_pricing import Money
from tests.gateways import BODIES, Running, running, wallet_of
from tests.ledgers import unchanged, usd

PAID = ("runapi", "crun", "evolink")
"""The providers with a wallet of their own unit here; UniAll's prices are assumed."""


@pytest.fixture(params=PAID)
def provider(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def poor(ledger: Ledger, provider: str, sandbox: Sandbox) -> Iterator[Running]:
    """A gateway whose wallet holds 0.5 of its unit: less than any job costs."""
    with running(ledger, sandbox, wallet=wallet_of(ledger, provider, "0.5")) as one:
        yield one


def shape(provider: str, reply: object) -> tuple[object, dict[str, Any]]:
    """Return the error of a reply as its provider writes it, and the problem inside."""
    assert isinstance(reply, dict)
    if provider == "crun":
        assert reply["data"] is None
        return reply["code"], reply["problem"]
    error = reply["error"]
    return error["code"], error["problem"]


def test_a_refusal_has_the_providers_shape_and_status(provider, poor, ledger):
    with unchanged(ledger):
        reply = poor.post(provider)
    code, problem = shape(provider, reply.json())
    assert reply.status_code == (200 if provider == "crun" else 402)
    assert code == (402 if provider == "crun" else "insufficient_credits")
    assert problem["code"] == "insufficient_credits"
    assert problem["left"] == f"0.5 {ledger.wallets.get(provider).unit}"
    assert problem["would_fit"]["amount"] == "0.5"
    assert poor.made(provider) == 0
    assert "x-kling-reservation" not in reply.headers


def test_evolink_names_its_own_type(ledger, sandbox):
    with running(ledger, sandbox, wallet=wallet_of(ledger, "evolink", "0.5")) as gateway:
        error = gateway.post("evolink").json()["error"]
    assert error["type"] == "insufficient_quota_error"
    assert (error["param"], error["fallback_suggestion"]) == (
        None,
        "fund it with 26.5 evolink-credit",
    )


def test_a_budget_says_when_waiting_helps(ledger, team, sandbox):
    ledger.budgets.set("daily", usd("1"), scope=Scope(wallet=team), window="day")
    with running(ledger, sandbox) as gateway:
        assert gateway.post("runapi").status_code == 200
        reply = gateway.post("runapi")
        # A job that is dearer than the whole limit fits in no window: waiting is no use.
        ledger.budgets.set("daily", usd("0.6"), scope=Scope(wallet=team), window="day")
        never = gateway.post("runapi")
    problem = reply.json()["error"]["problem"]
    resets = datetime.fromisoformat(problem["resets_at"])
    assert (resets.hour, resets.minute, resets.utcoffset()) == (0, 0, UTC.utcoffset(None))
    assert 0 < int(reply.headers["retry-after"]) <= 86_400
    assert problem["left"] == "0.325 USD"
    assert never.status_code == 402
    assert "retry-after" not in never.headers


def test_a_ceiling_refuses(ledger, team, sandbox):
    with running(ledger, sandbox, ceiling=usd("0.6")) as gateway, unchanged(ledger):
        problem = gateway.post("runapi").json()["error"]["problem"]
    assert (problem["code"], problem["limit"], problem["asked"]) == (
        "ceiling",
        "0.6 USD",
        "0.675 USD",
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"model":"kling-3.0","model":"kling-3.0"}',
        b'{"model": NaN}',
        b"[" * 5000,
        b'{"prompt": "\\ud800", "model": "kling-3.0"}',
    ],
)
def test_what_is_no_body_is_refused(body, ledger, team, sandbox):
    with running(ledger, sandbox) as gateway, unchanged(ledger):
        reply = gateway.post("runapi", body)
    assert reply.status_code in {400, 422}
    assert reply.json()["error"]["problem"]["code"] in {"request", "config"}
    assert gateway.made("runapi") == 0


def test_a_model_without_a_price_is_refused_and_never_free(ledger, team, sandbox):
    body = {**BODIES["runapi"], "model": "kling-9"}
    with running(ledger, sandbox) as gateway, unchanged(ledger):
        reply = gateway.post("runapi", body)
    assert reply.status_code == 422
    assert gateway.made("runapi") == 0


def test_an_action_that_is_not_documented_is_refused(ledger, team, sandbox):
    with running(ledger, sandbox) as gateway, unchanged(ledger):
        reply = gateway.post("runapi", path="/runapi/api/v1/kling/make_anything")
    assert reply.status_code == 422


def test_a_body_that_is_too_large_is_not_read(ledger, team, sandbox):
    with running(ledger, sandbox) as gateway, unchanged(ledger):
        reply = gateway.post("runapi", b" " * (5 * 1024 * 1024))
    assert reply.status_code == 413


def test_without_its_ledger_the_gateway_sends_nothing(team, ledger, sandbox, tmp_path):
    with running(ledger, sandbox) as gateway:
        (tmp_path / "ledger.sqlite").rename(tmp_path / "elsewhere.sqlite")
        try:
            reply = gateway.post("runapi")
        finally:
            (tmp_path / "elsewhere.sqlite").rename(tmp_path / "ledger.sqlite")
        assert reply.status_code == 503
        assert reply.headers["retry-after"] == "5"
        assert reply.json()["error"]["problem"]["code"] == "database"
        assert gateway.made("runapi") == 0


def test_an_upstream_that_is_not_reached_costs_nothing(ledger, team, sandbox):
    from kling_ledger.gateway.server import Gateway
    from kling_ledger.gateway.settings import GatewaySettings, Upstream

    nobody = Upstream("runapi", "http://127.0.0.1:9")
    settings = GatewaySettings({"runapi": nobody}, wallet=team, asks_estimate=False)
    with Gateway(ledger, settings) as gateway:
        reply = Running(gateway, sandbox, []).post("runapi")
    assert reply.status_code == 502
    (job,) = ledger.reservations.latest()
    assert (job.state, job.spent) == (State.ROLLED_BACK, usd("0"))


@pytest.mark.parametrize("marker", ["[lose cut]", "[lose half]"])
def test_a_lost_answer_is_told_as_doubt_and_its_credits_stay(marker, ledger, team, sandbox):
    with running(ledger, sandbox) as gateway:
        reply = gateway.post("runapi", {**BODIES["runapi"], "prompt": f"a lake {marker}"})
    (job,) = ledger.reservations.latest()
    assert reply.status_code == 504
    assert reply.headers["x-kling-reservation"] == job.id
    assert (job.state, job.held) == (State.IN_DOUBT, usd("0.675"))
    assert gateway.made("runapi") == 1


def test_a_refusal_of_the_provider_is_passed_on_and_gives_the_credits_back(ledger, team, sandbox):
    with running(ledger, sandbox) as gateway:
        reply = gateway.post("runapi", {**BODIES["runapi"], "prompt": "a lake [refuse 429]"})
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
    assert reply.json()["error"]["code"] == "rate_limit"
    (job,) = ledger.reservations.latest()
    assert (job.state, job.spent) == (State.ROLLED_BACK, usd("0"))


def test_nobody_is_let_in_from_elsewhere_without_a_token(ledger, team, sandbox):
    from kling_ledger.errors import ConfigError
    from kling_ledger.gateway.server import Gateway
    from kling_ledger.gateway.settings import GatewaySettings, Upstream

    settings = GatewaySettings({"runapi": Upstream("runapi", sandbox.url)}, wallet=team)
    with pytest.raises(ConfigError, match="reachable from other machines"):
        Gateway(ledger, settings, host="0.0.0.0")  # noqa: S104 - it is what is refused


def test_the_gateways_key_is_spent_on_nothing_that_is_not_metered(ledger, team, sandbox):
    with running(ledger, sandbox, has_keys=True) as gateway, unchanged(ledger):
        reply = gateway.post("runapi", {}, path="/runapi/api/v1/suno/generate")
        free = gateway.get("runapi", "/api/v1/me/balance", authorization="")
    assert (reply.status_code, reply.json()["error"]["problem"]["code"]) == (400, "config")
    assert free.status_code == 200


def test_a_token_is_shown_only_the_tasks_of_its_wallet(ledger, team, sandbox):
    ledger.wallets.create("other", "USD")
    ledger.wallets.fund("other", Money.parse("1 USD"))
    secrets = [ledger.tokens.create(name, wallet=name)[1] for name in (team, "other")]
    mine, others = ({"authorization": f"Bearer {secret}"} for secret in secrets)
    with running(ledger, sandbox, wallet=None, has_keys=True) as gateway:
        task = gateway.post("runapi", **mine).json()["id"]
        path = f"/api/v1/kling/text_to_video/{task}"
        assert gateway.get("runapi", path, **mine).status_code == 200
        assert gateway.get("runapi", path, **others).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x_kling_project": "film/other"}, 403, "project_not_allowed"),
        ({"x_kling_labels": "token=boss"}, 403, "label_not_allowed"),
        ({"x_kling_labels": "a b"}, 400, "config"),
        ({"x_kling_run": "a" * 600}, 400, "config"),
    ],
)
def test_a_token_bounds_what_a_caller_may_say(headers, status, code, ledger, team, sandbox):
    _, secret = ledger.tokens.create("agent", wallet=team, project="film/teaser")
    with running(ledger, sandbox, wallet=None, has_keys=True) as gateway, unchanged(ledger):
        reply = gateway.post("runapi", authorization=f"Bearer {secret}", **headers)
    assert (reply.status_code, reply.json()["error"]["problem"]["code"]) == (status, code)
    assert gateway.made("runapi") == 0


def test_a_caller_without_a_token_is_shown_no_task_of_another_wallet(ledger, team, sandbox):
    ledger.wallets.create("other", "USD")
    ledger.wallets.fund("other", usd("1"))
    _, secret = ledger.tokens.create("bot", wallet="other")
    with running(ledger, sandbox, has_keys=True) as gateway:
        task = gateway.post("runapi", authorization=f"Bearer {secret}").json()["id"]
        own = gateway.post("runapi").json()["id"]
        path = "/api/v1/kling/text_to_video"
        assert gateway.get("runapi", f"{path}/{task}").status_code == 404
        assert gateway.get("runapi", f"{path}/{own}").status_code == 200


def test_a_run_has_a_cap_of_its_own(ledger, team, sandbox):
    _, secret = ledger.tokens.create("agent", wallet=team, run_limit=usd("1"))
    token = {"authorization": f"Bearer {secret}"}
    with running(ledger, sandbox, wallet=None, has_keys=True) as gateway:
        assert gateway.post("runapi", **token).status_code == 400
        assert gateway.post("runapi", **token, x_kling_run="a").status_code == 200
        refused = gateway.post("runapi", **token, x_kling_run="a")
        assert gateway.post("runapi", **token, x_kling_run="b").status_code == 200
    assert refused.status_code == 402
    assert refused.json()["error"]["problem"]["left"] == "0.325 USD"


def test_above_a_sum_a_person_is_asked_and_the_refusal_names_the_command(ledger, team, sandbox):
    with running(ledger, sandbox, approve_above=usd("0.5")) as gateway:
        refused = gateway.post("runapi").json()["error"]["problem"]
        assert refused["code"] == "approval_needed"
        (asked,) = ledger.approvals.all()
        assert refused["approval"] == asked.id
        assert refused["command"] == f"kling-ledger approval grant {asked.id}"
        ledger.approvals.grant(asked.id)
        granted = gateway.post("runapi", x_kling_approval=asked.id)
        again = gateway.post("runapi", x_kling_approval=asked.id)
    assert granted.status_code == again.status_code == 200
    assert granted.json()["id"] == again.json()["id"]
    assert gateway.made("runapi") == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"host": "evil.example"},
        {"host": "evil.example:80"},
    ],
)
def test_no_web_page_spends_through_somebodys_browser(headers, ledger, team, sandbox):
    with running(ledger, sandbox, has_keys=True) as gateway, unchanged(ledger):
        reply = gateway.post("runapi", **headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "foreign")
    assert gateway.made("runapi") == 0


@pytest.mark.parametrize(
    "headers",
    [{"x_kling_labels": "token=bot"}, {"x_kling_labels": "run=bot/a"}, {"x_kling_run": "bot/a"}],
)
def test_nobody_uses_up_the_cap_of_somebody_elses_token(headers, ledger, team, sandbox):
    with running(ledger, sandbox) as gateway, unchanged(ledger):
        reply = gateway.post("runapi", **headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "config")
    assert gateway.made("runapi") == 0


def test_a_run_without_a_token_is_a_label(ledger, team, sandbox):
    with running(ledger, sandbox) as gateway:
        gateway.post("runapi", x_kling_run="a", x_kling_labels="client=north")
    (job,) = ledger.reservations.latest()
    assert job.labels == {"run": "a", "client": "north"}
