"""The witness as any client sees it: its replies have the fields that the gateways' pages show."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.witness.account import Create, End, Poll, Script
from tests.witness.gateway import Dialect, Zipping
from tests.witness.server import serve
from tests.witness_ledger import GATEWAYS, KEYS, NAMES, TYPICAL, account_for, request_body

CREATE = {
    "runapi": "/api/v1/kling/text_to_video",
    "crun": "/api/v1/client/job/CreateTask",
    "evolink": "/v1/videos/generations",
    "uniall": "/v1/video/generations",
}
ASK = {
    "runapi": "/api/v1/kling/text_to_video/{}",
    "crun": "/api/v1/client/job/TaskInfo?task_id={}",
    "evolink": "/v1/tasks/{}",
    "uniall": "/v1/videos/{}",
}
BALANCE = {
    "runapi": "/api/v1/me/balance",
    "crun": "/api/v1/client/account/balance",
    "evolink": "/v1/credits",
}


@dataclass(frozen=True)
class Client:
    """The standard library's client with a gateway's key."""

    name: str
    url: str
    key: str

    def __call__(self, path: str, body: Any = None, **more: str) -> tuple[int, Any, HTTPMessage]:
        headers = {
            "Authorization": f"Bearer {self.key}",
            "x-api-key": self.key,
            **{name.replace("_", "-"): value for name, value in more.items()},
        }
        content = None if body is None else json.dumps(body)
        with closing(HTTPConnection(urlsplit(self.url).netloc, timeout=5)) as connection:
            connection.request("GET" if body is None else "POST", path, content, headers)
            reply = connection.getresponse()
            return reply.status, read(reply.read(), reply.headers), reply.headers

    def create(self, **headers: str) -> tuple[int, Any, HTTPMessage]:
        return self(CREATE[self.name], request_body(TYPICAL[self.name]), **headers)

    def ask(self, task_id: object) -> Any:
        return self(ASK[self.name].format(quote(str(task_id), safe="")))[1]


def read(content: bytes, headers: Any) -> Any:
    if headers.get("Content-Encoding") == "gzip":
        content = gzip.decompress(content)
    return json.loads(content) if content.startswith((b"{", b"[")) else content


def task_of(name: str, reply: Any) -> Any:
    return reply["data"]["task_id"] if name == "crun" else reply["id"]


@contextmanager
def talking(name: str, *, key: str = "", zips: bool = False, **settings: Any) -> Iterator[Any]:
    dialect: Dialect = GATEWAYS[name](account_for(name), KEYS[name], **settings)
    with serve(Zipping(dialect) if zips else dialect) as url:
        yield Client(name, url, key or KEYS[name]), dialect.account


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"zips": True},
        {"new_id": lambda number: f"a/b+c={number}"},
        {"new_id": lambda number: str(9000 + number), "wire_id": int},
    ],
    ids=["plain", "zipped", "odd", "number"],
)
def test_a_task_is_created_asked_for_and_charged(name: str, settings: Any) -> None:
    with talking(name, **settings) as (client, account):
        account.next_job(Script(polls=(Poll.WAIT, Poll.ODD)))
        status, reply, _ = client.create()
        task_id = task_of(name, reply)
        for _ in range(2):
            client.ask(task_id)
        end = client.ask(task_id)
    assert status == 200
    assert [str(task_id)] == list(account.tasks)
    assert f"https://files.example/{task_id}.mp4" in json.dumps(end)
    assert account.charged > 0


def test_the_replies_have_the_documented_fields() -> None:
    ends = {}
    for name in NAMES:
        with talking(name) as (client, _):
            ends[name] = client.ask(task_of(name, client.create()[1]))
    assert ends["runapi"].keys() == {"id", "status", "videos", "usage"}
    assert ends["runapi"]["usage"] == {"cost": 0.675}
    assert ends["crun"]["data"]["credits"] == 270
    assert ends["evolink"]["status"] == "completed"
    assert "usage" not in ends["evolink"]
    assert ends["uniall"].keys() == {
        *("id", "task_id", "object", "model", "status", "progress", "video_url")
    }


def test_evolink_reserves_the_figure_of_its_own_example() -> None:
    with talking("evolink") as (client, _):
        usage = client.create()[1]["usage"]
    assert usage == {
        "billing_rule": "per_second",
        "credits_reserved": 270000,
        "user_group": "default",
    }


@pytest.mark.parametrize(
    ("name", "expected"), [("runapi", 401), ("crun", 200), ("evolink", 401), ("uniall", 401)]
)
def test_a_wrong_key_is_denied_and_creates_nothing(name: str, expected: int) -> None:
    with talking(name, key="wrong") as (client, account):
        status, reply, _ = client.create()
    assert status == expected
    assert reply.get("code") == 401 or "error" in reply
    assert account.bodies == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", list(Create)[:9])
def test_whatever_the_reply_a_task_is_there_where_it_was_taken(name: str, step: Create) -> None:
    with talking(name) as (client, account):
        account.next_job(Script(create=(step,)))
        try:
            client.create()
        except (OSError, HTTPException, ValueError):
            assert "CUT" in step.name or "HALF" in step.name
    assert len(account.tasks) == int(step.takes)


@pytest.mark.parametrize("name", NAMES)
def test_a_failed_task_costs_nothing_and_says_why(name: str) -> None:
    with talking(name) as (client, account):
        account.next_job(Script(end=End.FAILED))
        end = client.ask(task_of(name, client.create()[1]))
    assert "failed" in json.dumps(end)
    assert account.charged == 0


@pytest.mark.parametrize("name", sorted(BALANCE))
def test_the_balance_falls_by_what_was_charged(name: str) -> None:
    with talking(name) as (client, account):
        before = client(BALANCE[name])[1]
        client.ask(task_of(name, client.create()[1]))
        after = client(BALANCE[name])[1]
    assert balance_of(name, before) - balance_of(name, after) == pytest.approx(
        account.charged / 1_000_000, abs=0.0051
    )


def balance_of(name: str, said: Any) -> float:
    match name:
        case "runapi":
            return float(said["balance_cents"] / 100)
        case "crun":
            return float(said["data"]["balance"])
        case _:
            return float(said["data"]["user"]["remaining_credits"])


def test_runapi_takes_one_key_once() -> None:
    with talking("runapi") as (client, account):
        first = client.create(Idempotency_Key="one")[1]
        again = client.create(Idempotency_Key="one")[1]
        other = client(
            CREATE["runapi"],
            {**request_body(TYPICAL["runapi"]), "duration_seconds": 6},
            Idempotency_Key="one",
        )
    assert first == again
    assert other[0] == 409
    assert len(account.tasks) == 1


def test_a_busy_gateway_says_when_to_come_back() -> None:
    with talking("runapi", retry_after="7") as (client, account):
        account.next_job(Script(create=(Create.BUSY,)))
        status, _, headers = client.create()
    assert (status, headers["Retry-After"]) == (429, "7")
