"""The real `runapi-kling` client through the gateway: nothing of it changes but its base URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from runapi.core import (
    AuthenticationError,
    InsufficientCreditsError,
    RequestOptions,
    TaskFailedError,
    ValidationError,
)
from runapi.kling import KlingClient

from kling_ledger import Ledger, State
from kling_ledger.sandbox import Sandbox
from tests.gateways import Running, running
from tests.ledgers import standing, unchanged, usd

JOB: dict[str, Any] = {
    "model": "kling-3.0",
    "prompt": "a lake",
    "duration_seconds": 5,
    "enable_sound": True,
    "output_resolution": "1080p",
}


def fitting(options: str, amount: str) -> dict[str, str]:
    seller = {"provider": "runapi", "model": "kling-3.0", "unit": "USD"}
    return {**seller, "options": options, "amount": amount, "held": amount}


@contextmanager
def client_of(gateway: Running, api_key: str) -> Iterator[KlingClient]:
    client = KlingClient(api_key=api_key, base_url=f"{gateway.gateway.url}/runapi")
    try:
        yield client
    finally:
        client._http.close()


@pytest.fixture
def gateway(ledger: Ledger, team: str, sandbox: Sandbox) -> Iterator[Running]:
    with running(ledger, sandbox, wallet=team) as one:
        yield one


@pytest.fixture
def client(gateway: Running) -> Iterator[KlingClient]:
    with client_of(gateway, gateway.sandbox.settings.api_key) as one:
        yield one


def test_a_run_is_quoted_reserved_and_settled_at_what_the_provider_charged(ledger, client):
    done = client.text_to_video.run(**JOB)
    (job,) = ledger.reservations.latest()
    assert (job.task_id, job.state, job.committed) == (done["id"], State.COMMITTED, usd("0.675"))
    # 2 USD were funded; 5 seconds at 0.135 were charged.
    assert standing(ledger, "team") == (usd("1.325"), usd("0"), usd("1.325"))


def test_create_and_get_settle_too(ledger, gateway, client):
    task = client.text_to_video.create(**JOB)
    (job,) = ledger.reservations.latest()
    assert (job.state, job.held) == (State.SUBMITTED, usd("0.675"))
    gateway.sandbox.finish()
    assert client.text_to_video.get(task["id"])["status"] == "completed"
    assert ledger.reservations.get(job.id).committed == usd("0.675")


def test_a_job_that_fails_gives_everything_back(ledger, client):
    with pytest.raises(TaskFailedError):
        client.text_to_video.run(**{**JOB, "prompt": "a lake [fail]"})
    (job,) = ledger.reservations.latest()
    assert (job.state, job.spent) == (State.ROLLED_BACK, usd("0"))


def test_over_budget_the_client_raises_its_own_insufficient_credits(ledger, gateway, client):
    ledger.budgets.set("little", usd("0.5"))
    with unchanged(ledger), pytest.raises(InsufficientCreditsError) as refused:
        client.text_to_video.run(**JOB)
    assert refused.value.status == 402
    assert "budget little: limit 0.5 USD" in str(refused.value)
    assert gateway.made("runapi") == 0
    assert refused.value.details["error"]["problem"] == {
        "type": "urn:kling-ledger:budget",
        "title": "Refused by a spending limit",
        "status": 402,
        "detail": "budget little: limit 0.5 USD, spent 0 USD, reserved 0 USD, asked 0.675 USD,"
        " left 0.5 USD",
        "code": "budget",
        "retryable": False,
        "limit": "0.5 USD",
        "spent": "0 USD",
        "reserved": "0 USD",
        "asked": "0.675 USD",
        "left": "0.5 USD",
        # 3 s are 0.405 and 4 s would be 0.54; 720p with sound is 0.10 a second, silent 1080p 0.09.
        "would_fit": {
            "amount": "0.5",
            "unit": "USD",
            "max_seconds": "3",
            "lower_resolution": fitting("720p with sound", "0.5"),
            "without_sound": fitting("1080p without sound", "0.45"),
            "other_seller": None,
        },
        "next_step": "up to 0.5 USD would be admitted now; or raise it temporarily",
    }


def test_an_empty_wallet_is_the_clients_insufficient_credits_too(ledger, gateway, client):
    for _ in range(2):
        client.text_to_video.create(**JOB)
    with unchanged(ledger), pytest.raises(InsufficientCreditsError, match="wallet team"):
        client.text_to_video.create(**JOB)
    assert gateway.made("runapi") == 2


def test_a_body_that_the_gateway_refuses_is_the_clients_validation_error(ledger, gateway, client):
    too_long = {**JOB, "duration_seconds": 99}
    with unchanged(ledger), pytest.raises(ValidationError):
        client.text_to_video.create(**too_long)
    assert gateway.made("runapi") == 0


def test_a_wrong_token_is_the_clients_authentication_error(ledger, team, sandbox):
    with running(ledger, sandbox, wallet=None, has_keys=True) as gateway:
        for wrong in ("klt_wrong", sandbox.settings.api_key):
            with (
                client_of(gateway, wrong) as client,
                unchanged(ledger),
                pytest.raises(AuthenticationError, match="token"),
            ):
                client.text_to_video.create(**JOB)
        assert gateway.made("runapi") == 0


def test_a_token_spends_the_gateways_key_and_never_sees_it(ledger, team, sandbox):
    _, secret = ledger.tokens.create("agent", wallet=team, project="film/teaser")
    with (
        running(ledger, sandbox, wallet=None, has_keys=True) as gateway,
        client_of(gateway, secret) as client,
    ):
        client.text_to_video.run(**JOB)
    (job,) = ledger.reservations.latest()
    assert (job.project, job.labels, job.committed) == (
        "film/teaser",
        {"token": "agent"},
        usd("0.675"),
    )
    (told,) = {one.caller for one in gateway.told}
    assert told == "agent"


def test_the_same_idempotency_key_is_one_job(ledger, gateway, client):
    options = RequestOptions(headers={"Idempotency-Key": "shot-7"})
    first = client.text_to_video.create(options=options, **JOB)
    again = client.text_to_video.create(options=options, **JOB)
    assert first["id"] == again["id"]
    assert (gateway.made("runapi"), len(ledger.reservations.latest())) == (1, 1)


def test_the_balance_is_the_providers_own(gateway, client):
    assert client.account.balance()["balance_cents"] == 10_000
    assert gateway.told[-1].kind == "other"
