"""The relay: a client's own server is called as its provider would, and nothing else ever is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path

import pytest

from kling_ledger.gateway.hosts import is_public
from kling_ledger.gateway.relay import (
    AT_ONCE_EACH,
    Relay,
    RelayError,
    RelayRefusedError,
    check_address,
    host_of,
)
from tests.client_server import ClientServer, Names, Network, certified, client_server
from tests.waiting import until

NAME = "hooks.example.com"
PUBLIC = "93.184.216.34"
HEADERS = [
    (b"content-type", b"application/json"),
    (b"webhook-id", b"msg_1"),
    (b"webhook-signature", b"v1,abc="),
]


@pytest.fixture
def server() -> Iterator[ClientServer]:
    with client_server() as made:
        yield made


@pytest.fixture
def relay() -> Iterator[Relay]:
    with closing(Relay(timeout_s=2)) as made:
        yield made


# --- what is called -------------------------------------------------------------------------


def test_the_same_bytes_and_headers_arrive_over_tls_at_the_address_that_was_looked_at(
    tmp_path: Path,
):
    shown, trusting = certified(NAME, tmp_path)
    with client_server(204, tls=shown) as server:
        network, names = Network(server.port), Names([[PUBLIC], ["127.0.0.1"]])
        with closing(Relay(look_up=names, network=network, trust=trusting)) as relay:
            status = relay.post(f"https://{NAME}/hook?token=s3cret", b'{"id": "t"}  ', HEADERS)
    assert status == 204
    (post,) = server.posts
    assert (post.path, post.content) == ("/hook?token=s3cret", b'{"id": "t"}  ')
    told = {name.lower(): value for name, value in post.headers.items()}
    assert {name.decode(): value.decode() for name, value in HEADERS}.items() <= told.items()
    assert told["host"] == NAME
    # Nothing of a client's own is added.
    assert set(told) - {name.decode() for name, _ in HEADERS} <= {
        "host",
        "content-length",
        "accept-encoding",
    }
    # A name that leads elsewhere a moment later: it is looked up once, and called there.
    assert (names.asked, network.asked) == ([NAME], [(PUBLIC, 443)])


def test_a_certificate_of_another_name_is_not_trusted(tmp_path: Path):
    shown, trusting = certified("other.example.com", tmp_path)
    with client_server(tls=shown) as server:
        network = Network(server.port)
        with (
            closing(Relay(look_up=Names([[PUBLIC]]), network=network, trust=trusting)) as relay,
            pytest.raises(RelayError),
        ):
            relay.post(f"https://{NAME}/hook", b"{}", HEADERS)
    assert server.posts == []


def test_of_several_addresses_the_next_is_called_where_one_does_not_answer(tmp_path: Path):
    shown, trusting = certified(NAME, tmp_path)
    with client_server(tls=shown) as server:
        network = Network(server.port, refused=[PUBLIC])
        names = Names([[PUBLIC, "8.8.8.8"]])
        with closing(Relay(look_up=names, network=network, trust=trusting)) as relay:
            assert relay.post(f"https://{NAME}:8443/hook", b"{}", HEADERS) == 200
    assert network.asked == [(PUBLIC, 8443), ("8.8.8.8", 8443)]


def test_a_rehearsal_calls_this_machine(server: ClientServer, relay: Relay):
    for host in ("127.0.0.1", "localhost"):
        url = f"http://{host}:{server.port}/hook"
        assert relay.post(url, b"{}", HEADERS, may_be_local=True) == 200
    assert len(server.posts) == 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_nothing_is_followed(relay: Relay, status: int):
    with client_server() as other, client_server(status) as server:
        server.answer_headers["Location"] = f"{other.url}/elsewhere"
        assert relay.post(f"{server.url}/hook", b"{}", HEADERS, may_be_local=True) == status
        assert other.connections == []


def test_proxies_of_the_environment_are_not_used(
    server: ClientServer, monkeypatch: pytest.MonkeyPatch
):
    with client_server() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        with closing(Relay()) as relay:
            relay.post(f"{server.url}/hook", b"{}", HEADERS, may_be_local=True)
        assert (len(server.posts), proxy.connections) == (1, [])


# --- what is not ----------------------------------------------------------------------------

NEVER = [
    "http://example.com/hook",
    "ftp://example.com/hook",
    "file:///etc/passwd",
    "https://",
    "https:///hook",
    "https://127.0.0.1/hook",
    "https://127.1/hook",
    "https://2130706433/hook",
    "https://0x7f000001/hook",
    "https://0177.0.0.1/hook",
    "https://127.0.0.1./hook",
    "https://localhost/hook",
    "https://localhost./hook",
    "https://LOCALHOST/hook",
    "https://api.localhost/hook",
    "https://printer.local/hook",
    "https://db.internal./hook",
    "https://１２７.0.0.1/hook",
    "https://127。0。0。1/hook",
    "https://10.0.0.7/hook",
    "https://172.16.0.1/hook",
    "https://192.168.1.1/hook",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.100.100.200/latest/meta-data/",
    "https://192.0.0.192/opc/v2/",
    "https://168.63.129.16/machine/",
    "https://0.0.0.0/hook",
    "https://255.255.255.255/hook",
    "https://224.0.0.1/hook",
    "https://[::1]/hook",
    "https://[::]/hook",
    "https://[::ffff:127.0.0.1]/hook",
    "https://[::ffff:7f00:1]/hook",
    "https://[::127.0.0.1]/hook",
    "https://[64:ff9b::7f00:1]/hook",
    "https://[64:ff9b::a9fe:a9fe]/hook",
    "https://[64:ff9b:1::7f00:1]/hook",
    "https://[2002:7f00:1::]/hook",
    "https://[2002:a9fe:a9fe::1]/hook",
    "https://[fe80::1]/hook",
    "https://[fe80::1%25eth0]/hook",
    "https://[fec0::1]/hook",
    "https://[fd00:ec2::254]/hook",
    "https://[ff02::1]/hook",
    "https://user:secret@example.com/hook",
    "https://example.com@127.0.0.1/hook",
    "https://127.0.0.1\\@example.com/hook",
    "https://example.com\\.127.0.0.1/hook",
    "https://example.com:22/hook",
    "https://example.com:80/hook",
    "https://example.com:99999/hook",
    "https://example.com:port/hook",
    "https://exa mple.com/hook",
    "https://example.com/hook\r\nX-More: 1",
    "https://example.com/\x00",
    "https://example.com/" + "h" * 2048,
    "",
    "hook",
    None,
    7,
    ["https://example.com/hook"],
]


@pytest.mark.parametrize("url", NEVER)
def test_what_is_no_public_https_address_is_refused_before_anything_is_looked_up(url):
    network, names = Network(1), Names([[PUBLIC]])
    with (
        closing(Relay(look_up=names, network=network)) as relay,
        pytest.raises(RelayRefusedError),
    ):
        relay.post(url, b"{}", HEADERS)
    assert (names.asked, network.asked) == ([], [])


LEAD_HOME = [
    ["127.0.0.1"],
    ["::1"],
    ["10.0.0.1"],
    ["169.254.169.254"],
    ["::ffff:10.0.0.1"],
    ["64:ff9b::a00:1"],
    ["2002:a00:1::"],
    [PUBLIC, "127.0.0.1"],
    ["127.0.0.1", PUBLIC],
    ["fe80::1%eth0"],
    ["not an address"],
    ["255.255.255.255"],
]


@pytest.mark.parametrize("addresses", LEAD_HOME)
def test_a_name_that_leads_to_a_private_address_is_not_called(addresses: list[str]):
    network = Network(1)
    with (
        closing(Relay(look_up=Names([addresses]), network=network)) as relay,
        pytest.raises(RelayRefusedError),
    ):
        relay.post(f"https://{NAME}/hook", b"{}", HEADERS)
    assert network.asked == []


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["169.254.169.254"], ["127.0.0.1", PUBLIC]])
def test_a_rehearsal_calls_no_other_private_address(addresses: list[str]):
    network = Network(1)
    with closing(Relay(look_up=Names([addresses]), network=network)) as relay:
        for url in (f"https://{NAME}/hook", "http://localhost:8000/hook"):
            with pytest.raises(RelayRefusedError):
                relay.post(url, b"{}", HEADERS, may_be_local=True)
        with pytest.raises(RelayRefusedError):
            relay.post("http://10.0.0.1/hook", b"{}", HEADERS, may_be_local=True)
    assert network.asked == []


def test_without_a_rehearsal_nobody_connects_to_this_machine(server: ClientServer, relay: Relay):
    port = server.port
    for url in (
        f"http://127.0.0.1:{port}/",
        f"https://127.0.0.1:{port}/",
        f"https://localhost:{port}/",
        f"https://[::ffff:127.0.0.1]:{port}/",
        f"https://2130706433:{port}/",
    ):
        with pytest.raises(RelayRefusedError):
            relay.post(url, b"{}", HEADERS)
    assert server.connections == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700:4700::1111", True),
        ("64:ff9b::808:808", True),
        ("2002:808:808::1", True),
        ("64:ff9b::c0a8:1", False),
        ("2001:db8::1", False),
        ("3fff::1", True),
        ("5f00::1", False),
        ("198.18.0.1", False),
        ("192.88.99.1", False),
        ("240.0.0.1", False),
        ("ff0e::1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool):
    assert is_public(ip_address(address)) is public


# --- when it goes wrong ---------------------------------------------------------------------


def test_what_goes_wrong_tells_the_host_and_no_more():
    secret = "https://hooks.example.com:22/T000/s3cret?token=s3cret#s3cret"
    with pytest.raises(RelayRefusedError) as refused:
        check_address(secret)
    with (
        closing(Relay(look_up=Names([[]]))) as relay,
        pytest.raises(RelayError) as failed,
    ):
        relay.post(f"https://{NAME}/s3cret?token=s3cret", b"{}", HEADERS)
    for error in (refused.value, failed.value):
        assert NAME in str(error)
        assert "s3cret" not in f"{error} {error.hint} {error!r} {error.__cause__}"
    assert host_of("https://[") == "the address given"


def test_nobody_there_is_an_error_and_may_pass(relay: Relay):
    with client_server() as gone:
        url = f"{gone.url}/hook"
    with pytest.raises(RelayError) as error:
        relay.post(url, b"{}", HEADERS, may_be_local=True)
    assert error.value.retryable
    assert not isinstance(error.value, RelayRefusedError)


def test_a_server_that_hangs_is_left_in_time(server: ClientServer):
    server.hangs = True
    with closing(Relay(timeout_s=0.2)) as relay, pytest.raises(RelayError, match="in time"):
        relay.post(f"{server.url}/hook", b"{}", HEADERS, may_be_local=True)


def test_a_name_whose_look_up_hangs_is_left_in_time():
    may_end = threading.Event()

    def slow(host: str, port: int) -> list[str]:
        may_end.wait(30)
        return [PUBLIC]

    network = Network(1)
    with closing(Relay(look_up=slow, network=network, timeout_s=0.2)) as relay:
        with pytest.raises(RelayError, match="timed out"):
            relay.post(f"https://{NAME}/hook", b"{}", HEADERS)
        may_end.set()
    assert network.asked == []


def test_one_server_that_hangs_keeps_no_other_waiting(relay: Relay):
    with (
        client_server(host="127.0.0.2") as slow,
        client_server() as quick,
        ThreadPoolExecutor(AT_ONCE_EACH) as pool,
    ):
        slow.hangs = True
        url = f"{slow.url}/hook"
        calls = [
            pool.submit(relay.post, url, b"{}", HEADERS, may_be_local=True)
            for _ in range(AT_ONCE_EACH)
        ]
        until(lambda: len(slow.posts) == AT_ONCE_EACH)
        with pytest.raises(RelayError, match="busy"):
            relay.post(url, b"{}", HEADERS, may_be_local=True)
        assert relay.post(f"{quick.url}/hook", b"{}", HEADERS, may_be_local=True) == 200
        slow.free.set()
        assert [call.result() for call in calls] == [200] * AT_ONCE_EACH
        slow.hangs = False
        assert relay.post(url, b"{}", HEADERS, may_be_local=True) == 200


def test_an_endless_answer_is_not_read_to_its_end(tmp_path: Path):
    def drip(connection: object) -> None:
        import socket

        assert isinstance(connection, socket.socket)
        try:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                connection.sendall(b"X-More: 1\r\n")
                time.sleep(0.01)
        except OSError:
            pass
        finally:
            connection.close()

    import socket

    with socket.create_server(("127.0.0.1", 0)) as bound_to:
        port = bound_to.getsockname()[1]

        def serve() -> None:
            drip(bound_to.accept()[0])

        thread = threading.Thread(target=serve)
        thread.start()
        with closing(Relay(timeout_s=0.3)) as relay, pytest.raises(RelayError):
            relay.post(f"http://127.0.0.1:{port}/", b"{}", HEADERS, may_be_local=True)
        thread.join(10)
        assert not thread.is_alive()
