"""The truth and the bill: exactly what was accepted and charged, for comparing a ledger with it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.sandbox_rig import PRICES, PROVIDERS, UNITS, Rig, rigged

every_provider = pytest.mark.parametrize("provider", PROVIDERS)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with rigged() as running:
        yield running


def bill(rig: Rig, provider: str) -> list[dict[str, str]]:
    """Return a provider's bill as somebody would download it."""
    reply = rig.http.get(f"{rig.sandbox.url}/sandbox/statement?provider={provider}")
    assert reply.headers["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(reply.text.splitlines()))


@every_provider
def test_the_truth_knows_a_task_from_its_beginning_to_its_end(rig: Rig, provider: str) -> None:
    task_id = rig[provider].made("a lake [takes 3]")
    rig.wait(3)
    rig[provider].poll(task_id)
    assert rig.only_task(provider) == {
        "provider": provider,
        "id": task_id,
        "key": None,
        "client_request_id": None,
        "prompt": "a lake [takes 3]",
        "model": rig.only_task(provider)["model"],
        "action": "text_to_video",
        "script": ["[takes 3]"],
        "state": "completed",
        "quoted": PRICES[provider],
        "charged": PRICES[provider],
        "unit": UNITS[provider],
        "times_charged": 1,
        "accepted_at": "2026-11-20T12:00:00Z",
        "ended_at": "2026-11-20T12:00:03Z",
        "polls": 1,
        "downloads": 0,
        "callbacks": [],
    }


def test_the_truth_names_the_callers_own_key_and_id(rig: Rig) -> None:
    rig["runapi"].create(**{"Idempotency-Key": "res_1", "X-Client-Request-Id": "order-1"})
    task = rig.only_task("runapi")
    assert (task["key"], task["client_request_id"]) == ("res_1", "order-1")


@every_provider
def test_an_account_adds_up_to_what_its_tasks_were_charged(rig: Rig, provider: str) -> None:
    for marker in ("", "[fail]", "[cost 33%]", "[revive 1]", "[never]", "[charge twice]"):
        rig[provider].made(f"a lake {marker}")
    rig.wait(10)
    account = rig.truth(provider)
    charged = sum(Decimal(task["charged"]) for task in account["tasks"])
    assert Decimal(account["spent"]) == charged
    assert Decimal(account["funded"]) - charged == Decimal(account["balance"])
    assert account["reserved"] == PRICES[provider]


@every_provider
def test_the_bill_has_a_line_for_each_charge_and_for_nothing_else(rig: Rig, provider: str) -> None:
    ids = {marker: rig[provider].made(marker) for marker in ("[cost 10]", "[fail]", "[never]")}
    twice = rig[provider].made("[charge twice] [takes 1]")
    assert bill(rig, provider) == []
    rig.wait(2)
    lines = bill(rig, provider)
    assert [line["task_id"] for line in lines] == [ids["[cost 10]"], twice, twice]
    assert lines[0] == {
        "task_id": ids["[cost 10]"],
        "count": "1",
        "model": lines[1]["model"],
        "created_at": "2026-11-20T12:00:00Z",
        "completed_at": "2026-11-20T12:00:02Z",
        "amount": "10",
        "unit": UNITS[provider],
    }
    spent = sum(Decimal(line["amount"]) for line in lines)
    assert spent == Decimal(rig.truth(provider)["spent"])


def test_the_bill_comes_as_json_too(rig: Rig) -> None:
    task_id = rig["crun"].made()
    rig.wait(2)
    address = f"{rig.sandbox.url}/sandbox/statement?provider=crun&format=json"
    content = rig.http.get(address).json()
    assert content["provider"] == "crun"
    assert [(line["task_id"], line["amount"]) for line in content["lines"]] == [(task_id, "135")]


def test_the_whole_truth_covers_every_provider(rig: Rig) -> None:
    for provider in PROVIDERS:
        rig[provider].made()
    content = rig.http.get(f"{rig.sandbox.url}/sandbox/truth").json()
    assert set(content["providers"]) == set(PROVIDERS)
    assert [task["provider"] for task in content["tasks"]] == list(PROVIDERS)


@pytest.mark.parametrize("path", ["truth?provider=fal", "statement?provider=fal", "statement"])
def test_a_provider_that_is_not_here_is_not_found(rig: Rig, path: str) -> None:
    reply = rig.http.get(f"{rig.sandbox.url}/sandbox/{path}")
    assert reply.status_code == 404
    assert "runapi, crun, evolink, uniall" in reply.text


def test_a_task_that_revived_ended_when_it_was_charged(rig: Rig) -> None:
    rig["evolink"].made("[revive 5]")
    rig.wait(2)
    failed = rig.only_task("evolink")
    rig.wait(5)
    revived = rig.only_task("evolink")
    assert (failed["state"], failed["ended_at"]) == ("failed", "2026-11-20T12:00:02Z")
    assert (revived["state"], revived["ended_at"]) == ("completed", "2026-11-20T12:00:07Z")
    assert bill(rig, "evolink")[0]["completed_at"] == "2026-11-20T12:00:07Z"
