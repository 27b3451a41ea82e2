"""The guard: on loopback only this machine's names, elsewhere only a secret, other sites never."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from kling_ledger.gateway.guard import HEADERS, Guard
from tests.gateway_exchanges import served


def asked(guard: Guard, headers: Any = None, *, is_page: bool = False) -> httpx.Response:
    """Ask a guarded address; `{port}` in a header is the one that it is served on."""

    def answer(request: Request) -> Response:
        return guard.refusal(request, is_page=is_page) or PlainTextResponse("let in")

    with served([Route("/", answer)]) as address:
        port = address.rpartition(":")[2]
        given = [
            (name.encode(), text.format(port=port).encode("latin-1"))
            for name, text in (headers or {}).items()
        ]
        return httpx.get(address, headers=given)


@pytest.mark.parametrize(
    "host", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "LocalHost:{port}"]
)
def test_on_loopback_this_machine_is_known_by_its_names(host: str):
    assert asked(Guard(), {"Host": host}).text == "let in"


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example:{port}",
        "localhost",
        "localhost:1",
        "localhost:{port}.rebound.example",
        "127.0.0.1.rebound.example:{port}",
        "localhost:{port}@rebound.example",
        "127.0.0.1:0{port}",
        "0.0.0.0:{port}",
        "",
        "localhost.:{port}",
    ],
)
def test_a_name_of_another_site_that_points_here_is_refused(host: str):
    answer = asked(Guard(), {"Host": host})
    assert answer.status_code == 421
    assert "let in" not in answer.text


@pytest.mark.parametrize("host", ["ledger.internal", "ledger.internal:{port}"])
def test_a_name_that_was_allowed_is_known_with_our_port_or_none(host: str):
    assert asked(Guard(hosts=("Ledger.Internal",)), {"Host": host}).text == "let in"
    assert asked(Guard(hosts=("ledger.internal:8443",)), {"Host": host}).status_code == 421


def basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


@pytest.mark.parametrize(
    "headers",
    [
        basic("anybody:s3cret"),
        basic(":s3cret"),
        {"Authorization": "Bearer s3cret"},
        {"Authorization": "bearer s3cret"},
    ],
)
def test_the_secret_lets_in_as_password_and_as_bearer(headers: dict[str, str]):
    assert asked(Guard.of_secret("s3cret"), headers).text == "let in"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("anybody:other"),
        basic("s3cret"),
        basic("s3cret:"),
        basic("anybody:s3cret "),
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic \xff"},
        {"Authorization": "Basic"},
        {"Authorization": "Bearer"},
        {"Authorization": "Digest s3cret"},
        {"Authorization": "s3cret"},
        {"Cookie": "token=s3cret"},
    ],
)
def test_nothing_else_does(headers: dict[str, str]):
    answer = asked(Guard.of_secret("s3cret"), headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic realm=")
    assert "s3cret" not in answer.text


def test_the_password_is_asked_of_who_opens_and_not_of_what_a_page_fetches():
    guard = Guard.of_secret("s3cret")
    opened = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}
    fetched = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert "www-authenticate" in asked(guard, opened).headers
    answer = asked(guard, fetched)
    assert answer.status_code == 401
    assert "www-authenticate" not in answer.headers


def test_a_secret_with_any_characters_is_a_password():
    assert asked(Guard.of_secret("pä:ss wörd"), basic("me:pä:ss wörd")).text == "let in"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_may_open_the_page_and_read_nothing(site: str):
    opened = {
        "Sec-Fetch-Site": site,
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }
    assert asked(Guard(), opened, is_page=True).text == "let in"
    assert asked(Guard(), opened).status_code == 403
    for mode, dest in (("no-cors", "script"), ("cors", "empty"), ("navigate", "iframe")):
        read = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
        assert asked(Guard(), read, is_page=True).status_code == 403
        assert asked(Guard(), read).status_code == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_page_itself_and_its_reader_may_read(site: str):
    assert asked(Guard(), {"Sec-Fetch-Site": site}).text == "let in"


def test_a_refusal_is_as_closed_as_the_page():
    answer = asked(Guard.of_secret("s3cret"))
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
