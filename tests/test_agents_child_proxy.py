"""The proxy of one child: opened hosts lead to the gateway, all else goes where it was going."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.agents.child.bridges import Bridges
from kling_ledger.agents.child.heads import LONGEST_HEAD
from kling_ledger.agents.child.onward import Onward
from kling_ledger.agents.child.opened import Directory, Origin, host_of
from kling_ledger.agents.child.proxy import Inside, Listening, Proxy
from kling_ledger.errors import ConfigError
from tests.children import TOKEN, Guarded, Stranger, guard, listening

RUNAPI = "runapi.ai"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with guard() as given:
        yield given


@pytest.fixture
def stranger(tmp_path: Path) -> Stranger:
    return Stranger(tmp_path)


def basic(guarded: Guarded) -> str:
    credentials = base64.b64encode(guarded.proxy[2].encode()).decode()
    return f"Proxy-Authorization: Basic {credentials}\r\n"


def said(guarded: Guarded, sent: bytes) -> bytes:
    """Send bytes to the proxy and read until it hangs up."""
    with guarded.connect() as connection:
        connection.sendall(sent)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    found = b""
    while piece := connection.recv(65536):
        found += piece
    return found


def status(answer: bytes) -> int:
    return int(answer.split()[1]) if answer else 0


def request(guarded: Guarded, line: str, *headers: str, is_child: bool = True) -> bytes:
    lines = "".join(f"{one}\r\n" for one in headers)
    authorization = basic(guarded) if is_child else ""
    return said(
        guarded, f"{line} HTTP/1.1\r\nHost: x\r\n{authorization}{lines}\r\n".encode("latin-1")
    )


def tunnel(guarded: Guarded, target: str) -> socket.socket:
    """Open a tunnel, as a client does, and return the connection behind it."""
    connection = guarded.connect()
    connection.sendall(
        f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{basic(guarded)}\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = connection.recv(1)
        assert piece, answer
        answer += piece
    assert status(answer) == 200, answer
    return connection


def trusting(authorities: str | bytes) -> ssl.SSLContext:
    data = Path(authorities).read_bytes() if isinstance(authorities, str) else authorities
    return ssl.create_default_context(cadata=data.decode())


def asked(
    guarded: Guarded,
    target: str,
    *,
    sni: str,
    host: str = "",
    path: str = "/api/v1/me",
    more: str = "",
) -> tuple[int, Any]:
    """Ask for something over TLS behind a tunnel; return the status and the body."""
    context = trusting(guarded.environ["NODE_EXTRA_CA_CERTS"])
    with (
        tunnel(guarded, target) as plain,
        context.wrap_socket(plain, server_hostname=sni) as connection,
    ):
        head = f"GET {path} HTTP/1.1\r\nHost: {host or sni}\r\nConnection: close\r\n{more}\r\n"
        connection.sendall(head.encode("latin-1"))
        answer = read_all(connection)
    body = answer.partition(b"\r\n\r\n")[2]
    return status(answer), json.loads(body) if body[:1] == b"{" else body


# --- opened hosts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "provider", "name"),
    [
        ("runapi.ai:443", "runapi", RUNAPI),
        ("RunAPI.AI:443", "runapi", RUNAPI),
        ("runapi.ai.:443", "runapi", RUNAPI),
        ("api.crun.ai:443", "crun", "api.crun.ai"),
        ("api.crunai.com:443", "crun", "api.crunai.com"),
        ("api.evolink.ai:443", "evolink", "api.evolink.ai"),
        ("api.uniall.ai:443", "uniall", "api.uniall.ai"),
    ],
)
def test_an_opened_host_is_answered_by_the_gateway(
    guarded: Guarded, target: str, provider: str, name: str
):
    code, told = asked(guarded, target, sni=name, path="/some/path?q=1")
    assert code == 200
    assert told["path"] == f"/{provider}/some/path"
    assert told["raw_path"] == f"/{provider}/some/path"


def test_the_token_of_the_run_spends_our_keys_and_another_key_its_own(guarded: Guarded):
    for header, keys in (
        (f"Authorization: Bearer {TOKEN}", "ours"),
        (f"x-api-key: {TOKEN}", "ours"),
        ("Authorization: Bearer a-key-of-a-file", "own"),
        ("Accept: */*", "own"),
    ):
        _, told = asked(guarded, "runapi.ai:443", sni=RUNAPI, more=f"{header}\r\n")
        assert told["keys"] == keys, header
    assert told["headers"].get("authorization") is None


def test_the_program_does_not_say_who_pays(guarded: Guarded):
    more = "X-Kling-Labels: run=other\r\nx-kling-token: klt_x\r\nX-Kling-Project: p\r\n"
    _, told = asked(guarded, "runapi.ai:443", sni=RUNAPI, more=more)
    assert [name for name in told["headers"] if name.startswith("x-kling")] == []


def test_a_connection_is_for_the_provider_that_it_was_opened_for(guarded: Guarded):
    for host in ("api.crun.ai", "example.com", "runapi.ai@evil", ""):
        before = len(guarded.seen.requests)
        code, _ = asked(guarded, "runapi.ai:443", sni=RUNAPI, host=host or "x x")
        assert code in {400, 421}, host
        assert len(guarded.seen.requests) == before


def test_another_name_in_the_hello_is_not_vouched_for_beyond_the_opened_ones(guarded: Guarded):
    with (
        tunnel(guarded, "runapi.ai:443") as plain,
        pytest.raises(ssl.SSLCertVerificationError, match="mismatch"),
    ):
        trusting(guarded.environ["NODE_EXTRA_CA_CERTS"]).wrap_socket(
            plain, server_hostname="example.com"
        )


@pytest.mark.parametrize("target", ["runapi.ai:8443", "api.crun.ai:22", "RUNAPI.AI.:444"])
def test_other_ports_of_an_opened_host_are_not_reached(guarded: Guarded, target: str):
    assert status(request(guarded, f"CONNECT {target}")) == 403


def test_an_opened_host_over_plain_http_is_guarded_too(guarded: Guarded):
    answer = request(guarded, "GET http://RUNAPI.ai./a/b?c=d", "Authorization: Bearer " + TOKEN)
    assert status(answer) == 200
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (told["path"], told["keys"]) == ("/runapi/a/b", "ours")
    assert "proxy-authorization" not in told["headers"]


def test_a_whole_address_over_https_is_guarded_too(guarded: Guarded):
    told = json.loads(request(guarded, "GET https://runapi.ai/a").partition(b"\r\n\r\n")[2])
    assert told["path"] == "/runapi/a"


def test_an_upstream_on_this_machine_is_opened_under_each_of_its_names():
    with guard(upstreams={"runapi": "http://127.0.0.1:8765"}) as guarded:
        for host in (
            "127.0.0.1",
            "localhost",
            "[::1]",
            "127.0.0.9",
            "0.0.0.0",  # noqa: S104
            "[::ffff:127.0.0.1]",
        ):
            answer = request(guarded, f"GET http://{host}:8765/a")
            assert status(answer) == 200, host
        with tunnel(guarded, "localhost:8765") as connection:
            connection.sendall(
                b"GET /b HTTP/1.1\r\nHost: localhost:8765\r\nConnection: close\r\n\r\n"
            )
            assert b'"/runapi/b"' in read_all(connection)
        # The provider's own name is opened as well.
        assert asked(guarded, "runapi.ai:443", sni=RUNAPI)[0] == 200


def test_where_several_providers_are_at_one_address_the_path_says_whose_it_is():
    address = "http://127.0.0.1:8765"
    everywhere = dict.fromkeys(("runapi", "crun", "evolink", "uniall"), address)
    with guard(upstreams=everywhere) as guarded:
        for line, provider in (
            ("POST {}/api/v1/kling/text_to_video", "runapi"),
            ("GET {}/api/v1/kling/text_to_video/abc", "runapi"),
            ("POST {}/api/v1/client/job/CreateTask", "crun"),
            ("POST {}/v1/video/generations", "uniall"),
            ("GET {}/v1/tasks/abc", "evolink"),
            # Nearly RunAPI's: its door refuses it.
            ("PUT {}/API/v1/kling/text_to_video", "runapi"),
        ):
            answer = request(guarded, line.format(address), "Content-Length: 0")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["path"].startswith(f"/{provider}/")
        # Both start a job there: nobody can say whose it would be.
        both = request(guarded, f"POST {address}/v1/videos/generations", "Content-Length: 0")
        assert status(both) == 421


# --- everything else ---------------------------------------------------------------------------


def test_another_host_shows_its_own_certificate(guarded: Guarded, stranger: Stranger):
    with stranger.listening() as port, tunnel(guarded, f"localhost:{port}") as plain:
        context = trusting(stranger.authority)
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            assert connection.getpeercert(binary_form=True) == stranger.certificate
            head = b"GET /x HTTP/1.1\r\nHost: localhost\r\nX-Kling-Project: p\r\n\r\n"
            connection.sendall(head)
            assert read_all(connection).endswith(head)
    assert guarded.seen.requests[-1:] == [] or guarded.seen.requests[-1]["path"] != "/x"


def test_bytes_that_are_no_tls_pass_as_they_are(guarded: Guarded):
    async def greeting(reader: Any, writer: Any) -> None:
        # The server speaks first, as in SSH or SMTP.
        writer.write(b"hello\n")
        writer.write(b"got " + await reader.readline())
        await writer.drain()
        writer.close()

    with listening(greeting) as port, tunnel(guarded, f"127.0.0.1:{port}") as connection:
        assert connection.recv(6) == b"hello\n"
        connection.sendall(bytes([0xFF]) + b"any\n")
        assert read_all(connection) == b"got \xffany\n"


def test_half_a_connection_may_end_before_the_other(guarded: Guarded):
    async def counted(reader: Any, writer: Any) -> None:
        writer.write(b"%d" % len(await reader.read()))
        await writer.drain()
        writer.close()

    with listening(counted) as port, tunnel(guarded, f"127.0.0.1:{port}") as connection:
        connection.sendall(b"x" * 300_000)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b"300000"


def test_plain_http_is_passed_on_without_what_is_ours(guarded: Guarded, stranger: Stranger):
    with stranger.listening(is_tls=False) as port:
        address = f"http://127.0.0.1:{port}"
        answer = request(guarded, f"GET {address}/p%20q?r#s", "X-Kling-Project: p", "Cookie: c")
        wanted = f"GET /p%20q?r#s HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n".encode()
        head = answer.partition(b"\r\n\r\n")[2]
        assert head == wanted + b"X-Kling-Project: p\r\nCookie: c\r\nconnection: close\r\n\r\n"


def test_a_hello_for_an_opened_host_is_guarded_whatever_address_it_goes_to(
    guarded: Guarded, stranger: Stranger
):
    """As from a program that looks names up itself, or tries to get around."""
    with stranger.listening() as port:
        code, told = asked(guarded, f"127.0.0.1:{port}", sni=RUNAPI)
    assert (code, told["path"]) == (200, "/runapi/api/v1/me")


def test_a_hello_in_pieces_is_read_whole(guarded: Guarded, stranger: Stranger):
    context = trusting(guarded.environ["NODE_EXTRA_CA_CERTS"])
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(coming, going, server_hostname=RUNAPI)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = going.read()
    with stranger.listening() as port, tunnel(guarded, f"127.0.0.1:{port}") as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(hello), 50):
            connection.sendall(hello[at : at + 50])
        while True:
            coming.write(connection.recv(65536))
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                continue
            break
        found = client.getpeercert()
        assert found is not None
        assert ("DNS", RUNAPI) in found["subjectAltName"]
        connection.sendall(going.read())


def test_what_cannot_be_reached_is_said_to_be(guarded: Guarded):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert status(request(guarded, f"CONNECT 127.0.0.1:{port}")) == 502
        assert status(request(guarded, f"GET http://127.0.0.1:{port}/")) == 502


def test_a_client_that_leaves_tls_to_us_is_told_whom_we_do_not_trust(
    guarded: Guarded, stranger: Stranger
):
    with stranger.listening() as port:
        answer = request(guarded, f"GET https://localhost:{port}/")
    assert status(answer) == 502
    assert b"is not trusted" in answer


# --- who may, and what is no request -----------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "Accept: */*",
        "Proxy-Authorization: Basic cnVuOndyb25n",
        "Proxy-Authorization: Bearer run",
        "Proxy-Authorization: Basic \xff",
    ],
)
@pytest.mark.parametrize("line", ["CONNECT runapi.ai:443", "GET http://runapi.ai/", "CONNECT x:1"])
def test_nobody_without_the_runs_credentials_is_let_in(guarded: Guarded, line: str, header: str):
    before = len(guarded.seen.requests)
    answer = request(guarded, line, header, is_child=False)
    assert status(answer) == 407
    assert b'proxy-authenticate: Basic realm="kling-ledger exec"' in answer
    assert len(guarded.seen.requests) == before


def test_nobody_comes_in_by_the_door_inside(guarded: Guarded):
    """Its port is on loopback like the proxy's, but who shows no credentials has no bridge."""
    context = trusting(guarded.environ["NODE_EXTRA_CA_CERTS"])
    doors = [port for port in ports_of_this_process() if port != guarded.proxy[1]]
    refused = 0
    for port in doors:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            try:
                with context.wrap_socket(plain, server_hostname=RUNAPI) as connection:
                    forged = b"X-Forwarded-For: 127.0.0.1\r\nConnection: close\r\n\r\n"
                    connection.sendall(b"GET /a HTTP/1.1\r\nHost: runapi.ai\r\n" + forged)
                    refused += status(read_all(connection)) == 403
            except OSError:
                continue
    assert refused == 1


def ports_of_this_process() -> list[int]:
    """The ports that this process listens on, as Linux tells them."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {one.stat().st_ino for one in Path("/proc/self/fd").iterdir() if one.exists()}
    return [
        int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and int(row[9]) in inodes
    ]


@pytest.mark.parametrize(
    "target",
    [
        "runapi.ai",
        "runapi.ai:",
        "runapi.ai:0",
        "runapi.ai:65536",
        "runapi.ai:443:443",
        "user@runapi.ai:443",
        "http://runapi.ai:443",
        "runapi.ai:443/",
        "[::1:443",
        "[runapi.ai]:443",
        "::1:443",
        "run%61pi.ai:443",
        "r\xfcnapi.ai:443",
        "2130706433:80",
        "0x7f000001:80",
        "127.1:80",
        "runapi.ai\\:443",
        "*",
        "/",
        "a" * 254 + ":443",
    ],
)
def test_an_odd_connect_is_refused(guarded: Guarded, target: str):
    assert status(request(guarded, f"CONNECT {target}")) == 400


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "*",
        "runapi.ai",
        "ftp://runapi.ai/",
        "http://user:pw@runapi.ai/",
        "http://runapi.ai\\@example.com/",
        "http:///x",
        "http://[::1/",
        "http://runapi.ai:99999/",
        "http://[fe80::1%25lo]/",
    ],
)
def test_an_odd_address_is_refused(guarded: Guarded, target: str):
    assert status(request(guarded, f"GET {target}")) == 400


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"CONNECT runapi.ai:443\r\n\r\n",
        b"CONNECT runapi.ai:443 HTTP/1.1\r\n no: colon\r\n\r\n",
        b"CONNECT runapi.ai:443 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"CONNECT runapi.ai:443 HTTP/1.1\r\nHost: a\x00\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(guarded: Guarded, sent: bytes):
    assert status(said(guarded, sent)) == 400


def test_a_flood_of_headers_is_not_read(guarded: Guarded):
    with guarded.connect() as connection:
        connection.sendall(
            b"CONNECT runapi.ai:443 HTTP/1.1\r\n" + b"a: b\r\n" * (LONGEST_HEAD // 6)
        )
        assert status(connection.recv(65536)) == 431


def test_a_head_that_ends_early_is_refused(guarded: Guarded):
    with guarded.connect() as connection:
        connection.sendall(b"CONNECT runapi.ai:443 HTTP/1.1\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert status(read_all(connection)) == 400


def test_who_says_nothing_is_hung_up_on():
    trust = ssl.create_default_context()
    inside = Inside("127.0.0.1", 9, trust, RUNAPI)
    proxy = Proxy(Directory({}), inside, Bridges(), Onward(), head_s=0.05)
    with closing(Listening(proxy)) as slow:
        for sent in (b"", b"CONNECT runapi"):
            with socket.create_connection(("127.0.0.1", slow.port), timeout=20) as connection:
                connection.sendall(sent)
                assert status(read_all(connection)) == 408


def test_a_second_request_on_one_connection_is_not_passed_on_with_the_first(guarded: Guarded):
    before = len(guarded.seen.requests)
    first = f"GET http://runapi.ai/one HTTP/1.1\r\nHost: x\r\n{basic(guarded)}\r\n"
    second = f"GET http://api.crun.ai/two HTTP/1.1\r\nHost: api.crun.ai\r\n{basic(guarded)}\r\n"
    said(guarded, (first + second).encode())
    assert [one["path"] for one in guarded.seen.requests[before:]] == ["/runapi/one"]


# --- the way on, and addresses -----------------------------------------------------------------


def test_the_proxy_of_this_machine_is_used_for_what_is_passed_on(stranger: Stranger):
    with guard() as outer, stranger.listening() as port:
        environ = {"https_proxy": outer.environ["HTTPS_PROXY"]}
        with guard(environ=environ) as guarded:
            context = trusting(stranger.authority)
            with (
                tunnel(guarded, f"localhost:{port}") as plain,
                context.wrap_socket(plain, server_hostname="localhost") as connection,
            ):
                assert connection.getpeercert(binary_form=True) == stranger.certificate
            wrong = outer.environ["HTTPS_PROXY"].replace("run:", "run:not-")
        with guard(environ={"HTTPS_PROXY": wrong}) as guarded:
            assert status(request(guarded, f"CONNECT localhost:{port}")) == 502
            # What is excepted is reached directly.
        with guard(environ={"HTTPS_PROXY": wrong, "NO_PROXY": "localhost"}) as guarded:
            tunnel(guarded, f"localhost:{port}").close()


def test_a_proxy_that_is_none_is_told_before_anything_starts():
    for address in ("socks5://127.0.0.1:1", "https://127.0.0.1:1", "http://[::1"):
        with (
            pytest.raises(ConfigError, match="HTTPS_PROXY names a proxy"),
            guard(environ={"HTTPS_PROXY": address}),
        ):
            raise AssertionError


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("RunAPI.ai", "runapi.ai"),
        ("runapi.ai.", "runapi.ai"),
        ("[::1]", "::1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ("my_host", "my_host"),
        ("127.1", None),
        ("", None),
        ("a b", None),
        ("r\u00fcnapi.ai", None),
        ("\uff52unapi.ai", None),
    ],
)
def test_one_host_is_written_one_way(written: str, host: str | None):
    assert host_of(written) == host


@pytest.mark.parametrize(
    "address", ["ftp://x", "127.0.0.1:8765", "http://", "http://x/path", "http://x:y"]
)
def test_what_is_no_address_is_not_opened(address: str):
    with pytest.raises(ConfigError):
        Directory({"runapi": address})


def test_other_ports_of_an_upstream_are_others():
    directory = Directory({"runapi": "http://127.0.0.1:8765"})
    assert directory.find(Origin("127.0.0.1", 8766)) is None
    assert not directory.is_own_name("127.0.0.1")
