"""What the gateway does not judge: it goes to the provider's address and back as it is."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from kling_ledger import Ledger
from kling_ledger.gateway.doors import DOORS, Other, Poll, Submit
from kling_ledger.gateway.paths import PathError, checked_path
from kling_ledger.gateway.server import Gateway
from kling_ledger.gateway.settings import GatewaySettings, Upstream
from kling_ledger.serving import Served, bind
from tests.ledgers import unchanged


class Recording:
    """An upstream of the test's own: takes everything, and remembers how it came."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, list[tuple[str, str]], bytes]] = []
        self.release = threading.Event()
        self.app = Starlette(
            routes=[
                Route("/drip", self._drip),
                Route("/{rest:path}", self._take, methods=["GET", "POST", "PUT", "DELETE"]),
            ]
        )

    async def _take(self, request: Request) -> Response:
        headers = list(request.headers.items())
        target = request.scope["raw_path"].decode() + "?" + request.url.query
        self.seen.append((request.method, target, headers, await request.body()))
        reply = Response(b"\x00\xffraw", 207, {"X-Own": "yes", "Connection": "close, X-Hop"})
        reply.headers["X-Hop"] = "1"
        reply.headers.append("Set-Cookie", "a=1")
        return reply

    async def _drip(self, _: Request) -> Response:
        async def parts() -> Any:
            yield b"first"
            while not self.release.is_set():
                await asyncio.sleep(0.01)
            yield b"second"

        return StreamingResponse(parts())


async def _nothing() -> None:
    return


@pytest.fixture
def recording() -> Iterator[tuple[Recording, str]]:
    upstream = Recording()
    bound = bind("127.0.0.1", 0, problem="no upstream")
    served = Served(upstream.app, bound, name="upstream", stopping=_nothing)
    yield upstream, served.url
    upstream.release.set()
    served.close(5)


@pytest.fixture
def gateway(ledger: Ledger, team: str, recording: tuple[Recording, str]) -> Iterator[Gateway]:
    settings = GatewaySettings(
        {name: Upstream(name, recording[1]) for name in DOORS}, wallet=team, asks_estimate=False
    )
    with Gateway(ledger, settings) as one:
        yield one


def test_what_is_not_judged_arrives_as_it_was_sent(gateway, recording, ledger):
    with unchanged(ledger):
        reply = httpx.post(
            f"{gateway.url}/crun/some/other%20path?a=b%2Fc&d",
            content=b"\x01\x02",
            headers={"x-api-key": "own", "X-Trace": "t", "Content-Type": "odd/type"},
        )
    ((method, target, headers, body),) = recording[0].seen
    assert (method, target, body) == ("POST", "/some/other%20path?a=b%2Fc&d", b"\x01\x02")
    told = dict(headers)
    assert (told["x-api-key"], told["x-trace"], told["content-type"]) == ("own", "t", "odd/type")
    assert told["host"] == recording[1].removeprefix("http://")
    assert (reply.status_code, reply.content) == (207, b"\x00\xffraw")
    assert (reply.headers["x-own"], reply.headers["set-cookie"]) == ("yes", "a=1")


def test_what_is_about_one_connection_or_for_the_gateway_stays_behind(gateway, recording):
    httpx.post(
        f"{gateway.url}/evolink/v1/files",
        headers={
            "Authorization": "Bearer own",
            "Connection": "X-Mine",
            "X-Mine": "1",
            "TE": "trailers",
            "X-Kling-Project": "film",
            "X-HTTP-Method-Override": "DELETE",
            "X-Forwarded-For": "10.0.0.1",
        },
    )
    names = {name for name, _ in recording[0].seen[0][2]}
    assert "authorization" in names
    ours = {"x-mine", "te", "x-kling-project", "x-http-method-override", "x-forwarded-for"}
    assert not names & ours


def test_an_answer_streams_through_while_it_is_made(gateway, recording):
    with httpx.stream("GET", f"{gateway.url}/uniall/drip") as reply:
        parts = reply.iter_raw()
        assert next(parts) == b"first"
        recording[0].release.set()
        assert b"".join(parts) == b"second"


def test_an_answer_names_no_hop(gateway):
    reply = httpx.get(f"{gateway.url}/runapi/api/v1/me")
    assert "x-hop" not in reply.headers


def test_an_upstream_that_is_away_is_told_as_such(ledger, team):
    settings = GatewaySettings({"crun": Upstream("crun", "http://127.0.0.1:9")}, wallet=team)
    with Gateway(ledger, settings) as gateway:
        reply = httpx.get(f"{gateway.url}/crun/api/v1/client/account/balance")
        unknown = httpx.get(f"{gateway.url}/runapi/api/v1/me")
    assert (reply.status_code, reply.json()["code"]) == (200, 502)
    assert unknown.status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/runapi/../crun/x",
        "/runapi/./api/v1/kling/text_to_video",
        "/runapi//api/v1/kling/text_to_video",
        "/runapi/api/v1/kling/%74ext_to_video",
        "/runapi/api%2fv1/kling/text_to_video",
        "/runapi/api%2Fv1",
        "/runapi/api%5cv1",
        "/runapi/%2e%2e/x",
        "/runapi/api/%252e%252e/x",
        "/runapi/api\\v1",
        "/runapi/a%00b",
        "/runapi/a%0d%0ab",
        "/runapi/a%zz",
        "/runapi/" + "a" * 3000,
        "/runapi/v1/k;x=%3b",
    ],
)
def test_a_path_that_two_servers_may_read_differently_goes_nowhere(
    path, gateway, recording, ledger
):
    host, port = gateway.url.removeprefix("http://").split(":")
    with unchanged(ledger), socket.create_connection((host, int(port))) as raw:
        raw.sendall(
            f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 2\r\n"
            "Connection: close\r\n\r\n{}".encode()
        )
        status = raw.makefile("rb").readline()
    assert status.split()[1] in {b"400", b"404"}
    assert recording[0].seen == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/kling/text_to_video/"),
        ("POST", "/API/v1/kling/text_to_video"),
        ("PUT", "/api/v1/kling/text_to_video"),
        ("POST", "/api/v1/kling/text_to_video/x"),
        ("DELETE", "/api/v1/kling/text_to_video/x"),
    ],
)
def test_what_is_nearly_a_submission_is_none_and_goes_nowhere(method, path):
    with pytest.raises(PathError):
        DOORS["runapi"].way(method, path, "")


@pytest.mark.parametrize(
    ("provider", "method", "path", "query", "way"),
    [
        ("runapi", "POST", "/api/v1/kling/edit_video", "", Submit("edit_video")),
        ("runapi", "GET", "/api/v1/kling/edit_video/t-1", "", Poll("t-1")),
        ("runapi", "POST", "/api/v1/price_quotes", "", Other(is_free=True)),
        ("runapi", "POST", "/api/v1/suno/generate", "", Other(is_free=False)),
        ("crun", "POST", "/api/v1/client/job/CreateTask", "", Submit()),
        ("crun", "GET", "/api/v1/client/job/TaskInfo", "task_id=a%20b", Poll("a b")),
        ("crun", "GET", "/api/v1/client/job/TaskInfo", "", Other(is_free=True)),
        ("crun", "POST", "/api/v1/client/job/EstimateTask", "", Other(is_free=True)),
        ("evolink", "POST", "/v1/videos/generations", "", Submit()),
        ("evolink", "GET", "/v1/tasks/task-unified-1", "", Poll("task-unified-1")),
        ("evolink", "POST", "/v1/images/generations", "", Other(is_free=False)),
        ("uniall", "POST", "/v1/video/generations", "", Submit()),
        ("uniall", "POST", "/v1/videos/generations", "", Submit()),
        ("uniall", "GET", "/v1/videos/task_1", "", Poll("task_1")),
    ],
)
def test_a_door_knows_its_providers_addresses(provider, method, path, query, way):
    assert DOORS[provider].way(method, path, query) == way


def test_an_escape_that_is_needed_stays_as_it_is():
    assert checked_path(b"/crun/a%20b/%C3%A9") == "/crun/a%20b/%C3%A9"
