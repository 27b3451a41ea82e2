"""Whatever is sent to the gateway, no job starts that was not reserved, and nothing falls over.

The upstream here takes everything as a job and writes down what it gets. Each test holds what it
got to the rows of the ledger: a request that may start a job needs a reservation of its own, and
what was refused leaves neither a row nor a byte at the provider.
"""

from __future__ import annotations

import gzip
import json
import re
import select
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kling_ledger import Ledger
from tests.gateway_witness import (
    KEYS,
    NO_REPLY,
    Program,
    Recorder,
    Reply,
    ask,
    authorised,
    command,
    counts,
    exchange,
    gateway_environ,
    make_ledger,
    read_replies,
    recording,
    rows,
    running,
    written,
)
from tests.loopback import Answer, Loopback, answering
from tests.postgres import PostgresServer
from tests.sandbox_rig import PATHS, PROVIDERS, body

SUBMITS: Final = {provider: submit for provider, (submit, _) in PATHS.items()}
RUNAPI: Final = f"/runapi{SUBMITS['runapi']}"
PROMPT: Final = "a lake that nobody else may read about"


def starts_a_job(head: str) -> bool:
    """Whether the most lenient provider may take a request for the start of a job."""
    method, _, rest = head.partition(" ")
    path = rest.rpartition(" ")[0] or rest
    for _ in range(5):
        path = unquote(path)
    path = re.sub(r"^\w+://[^/]*", "", path.replace("\\", "/").lower())
    parts: list[str] = []
    for part in re.sub(r";[^/]*", "", re.split(r"[?#]", path)[0]).split("/"):
        name = part.strip(" \t\r\n\0").removesuffix(".json")
        if name == ".." and parts:
            parts.pop()
        if name not in {"", ".", ".."}:
            parts.append(name)
    is_look = method in {"GET", "HEAD", "OPTIONS"}
    return not is_look and bool(_STARTS.fullmatch("/" + "/".join(parts)))


_STARTS: Final = re.compile(
    r"/api/v1/kling/[^/]+|/api/v1/client/job/createtask|/v1/videos?/generations"
)


@dataclass(frozen=True)
class Rig:
    """A gateway, what it forwards to, somebody else's server, and its ledger."""

    gateway: Program
    upstream: Recorder
    trap: Recorder
    database: str
    tokens: dict[str, str]

    @property
    def address(self) -> tuple[str, int]:
        return self.gateway.address

    def memory_mb(self) -> float:
        """How much memory the gateway has used at most."""
        status = Path(f"/proc/{self.gateway.process.pid}/status")
        if not status.exists():
            pytest.skip("only Linux tells it")
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        assert found is not None
        return int(found[1]) / 1000

    def started(self) -> int:
        """How many requests reached the provider that may have started a job."""
        return sum(map(starts_a_job, self.upstream.heads))

    def assert_well(self) -> None:
        """It lives, nobody else was called, and its log says neither secrets nor where it fell."""
        assert self.gateway.is_alive
        assert self.trap.heads == []
        said = self.gateway.said
        assert "Traceback" not in said
        assert PROMPT not in said
        secrets = (*KEYS.values(), *self.tokens.values(), "klt_")
        assert not [one for one in secrets if one in said]

    @contextmanager
    def unspent(self) -> Iterator[None]:
        """Nothing that comes to the provider starts a job without a reservation of its own."""
        before, started = counts(self.database), self.started()
        yield
        made = counts(self.database)["reservation"] - before["reservation"]
        assert self.started() - started <= made
        self.assert_well()

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Nothing is written, and nothing is forwarded."""
        before, heads = counts(self.database), list(self.upstream.heads)
        yield
        assert counts(self.database) == before
        assert self.upstream.heads == heads
        self.assert_well()

    def send(self, content: bytes, *, timeout_s: float = 30) -> list[Reply]:
        replies = exchange(self.address, content, timeout_s=timeout_s)
        for reply in replies:
            assert_harmless(reply)
        return replies

    def post(
        self,
        provider: str,
        content: bytes,
        *more: tuple[str, str],
        path: str | None = None,
        key: str | None = None,
    ) -> Reply:
        """Send a body to where jobs start, with the provider's token unless another is named."""
        headers = authorised(provider, self.tokens[provider] if key is None else key)
        where = f"/{provider}{SUBMITS[provider]}" if path is None else path
        typed = ("Content-Type", "application/json")
        reply = ask(self.address, "POST", where, headers=[*headers, typed, *more], body=content)
        assert_harmless(reply)
        return reply


def assert_harmless(reply: Reply) -> None:
    """No reply tells of the inside, of keys or of tokens."""
    told = f"{reply.headers} {reply.body!r}"
    for word in ("Traceback", 'File "', "klt_", *KEYS.values(), "kling_ledger/"):
        assert word not in told


def is_refused(provider: str, reply: Reply) -> bool:
    """Whether a client of that provider takes the reply for an error."""
    if provider == "crun" and reply.status == 200:
        return int(reply.json["code"]) >= 400
    return reply.status >= 400


def content(provider: str = "runapi", **more: Any) -> bytes:
    return json.dumps(body(provider, PROMPT, **more)).encode()


def _rig(folder: Path, *words: str, database: str = "") -> Iterator[Rig]:
    database = database or str(folder / "ledger.sqlite")
    tokens = make_ledger(database)
    with ExitStack() as stack:
        upstream, trap = (stack.enter_context(recording()) for _ in range(2))
        served = ("gateway", "--port", "0", "--no-estimate", "--poll-every", "3600", *words)
        log = folder / "gateway.log"
        environ = gateway_environ(database)
        made = running(log, *served, "--upstream", upstream.url, **environ)
        rig = Rig(stack.enter_context(made), upstream, trap, database, tokens)
        yield rig
        # Whatever was sent, an honest client is still served.
        headers = [*key_for(rig), ("Content-Type", "application/json")]
        reply = ask(rig.address, "POST", RUNAPI, headers=headers, body=content())
        assert reply.status == 200
        rig.assert_well()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Everybody needs a token, and the gateway has the providers' keys."""
    yield from _rig(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Callers bring their own keys: what is no job passes through, whatever it is."""
    yield from _rig(tmp_path_factory.mktemp("own"), "--own-keys", "--wallet", "team")


@pytest.fixture(scope="module")
def on_server(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Rig]:
    """As `rig`, with its ledger on PostgreSQL."""
    yield from _rig(tmp_path_factory.mktemp("server"), database=postgres.new_database())


@pytest.fixture(params=["rig", "on_server"])
def engine(request: pytest.FixtureRequest) -> Rig:
    found: Rig = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["rig", "own"])
def either(request: pytest.FixtureRequest) -> Rig:
    found: Rig = request.getfixturevalue(request.param)
    return found


def key_for(rig: Rig, provider: str = "runapi") -> list[tuple[str, str]]:
    """Say a key that works at either gateway."""
    token = [("X-Kling-Token", rig.tokens[provider])]
    return [*authorised(provider, "own-key-of-the-caller"), *token]


# --- paths ---------------------------------------------------------------------------------------

TRICKS: Final = (
    "/runapi/../runapi/api/v1/kling/text_to_video",
    "/runapi/api/v1/../v1/kling/text_to_video",
    "/runapi/api/v1/./kling/text_to_video",
    "/runapi/api/v1/x/../kling/text_to_video",
    "/runapi/api/v1/x/%2e%2e/kling/text_to_video",
    "/runapi/api/v1/x/.%2E/kling/text_to_video",
    "/runapi/api/v1/x/%252e%252e/kling/text_to_video",
    "/runapi/api/v1/x%2f..%2fkling/text_to_video",
    "/runapi/api/v1/x/..%2fkling/text_to_video",
    "/runapi/api/v1/x/..%5ckling/text_to_video",
    "/runapi/api/v1/x/..\\kling/text_to_video",
    "/runapi/api/v1%2fkling%2ftext_to_video",
    "/runapi/api/v1%252fkling%252ftext_to_video",
    "/runapi%2fapi/v1/kling/text_to_video",
    "/runapi/api/v1/%6bling/text_to_video",
    "/runapi/api/v1/kling/%74ext_to_video",
    "/runapi/api/v1/kling/text%5fto%5fvideo",
    "/runapi/api/v1/%256bling/text_to_video",
    "/runapi//api/v1/kling/text_to_video",
    "/runapi/api//v1/kling/text_to_video",
    "//runapi/api/v1/kling/text_to_video",
    "/runapi/api/v1/kling/text_to_video/",
    "/runapi/api/v1/kling/text_to_video//",
    "/runapi/api/v1/kling/text_to_video/.",
    "/runapi/api/v1/kling/text_to_video/x/..",
    "/runapi/api/v1/kling/text_to_video/%2e",
    "/runapi/api/v1/kling/text_to_video%20",
    "/runapi/api/v1/kling/text_to_video%00",
    "/runapi/api/v1/kling/text_to_video%0a",
    "/runapi/api/v1/kling/text_to_video%0d%0aX-A:%20b",
    "/runapi/api/v1/kling/text_to_video;a=b",
    "/runapi/api/v1/kling;a=b/text_to_video",
    "/runapi/api/v1/kling/text_to_video%3bx",
    "/runapi/api/v1/kling/text_to_video?",
    "/runapi/api/v1/kling/text_to_video?a=b",
    "/runapi/api/v1/kling/text_to_video?x=/../y",
    "/runapi/api/v1/kling/text_to_video#x",
    "/runapi/api/v1/kling/text_to_video%23x",
    "/runapi/api/v1/kling/text_to_video%3fx",
    "/runapi/api/v1/Kling/text_to_video",
    "/runapi/API/V1/KLING/TEXT_TO_VIDEO",
    "/RUNAPI/api/v1/kling/text_to_video",
    "/runapi/api/v1/kling/TEXT_TO_VIDEO",
    "/runapi/api/v1/kling/",
    "/runapi/api/v1/kling/..",
    "/runapi/api/v1/kling/%2e%2e/kling/text_to_video",
    "/runapi/api/v1/kl\u0131ng/text_to_video",
    "/runapi/api/v1/kling/text_to_video.json",
    "/runapi/api/v1/kling/text_to_video\\",
    "/runapi\\api\\v1\\kling\\text_to_video",
    "/runapi/api/v2/kling/text_to_video",
    "/runapi/v1/videos/generations",
    "/runapi/v1/video/generations",
    "/runapi/api/v1/client/job/CreateTask",
    "/crun/api/v1/client/job/createtask",
    "/crun/api/v1/client/job/CreateTask/",
    "/crun/api/v1/client/job/Create%54ask",
    "/crun/api/v1/client//job/CreateTask",
    "/crun/api/v1/client/job/x/../CreateTask",
    "/crun/api/v1/client/job/CreateTask;a=b",
    "/crun/api/v1/client/job;a=b/CreateTask",
    "/crun/api/v1/client/job/CreateTask.json",
    "/evolink/v1/videos/generations/",
    "/evolink/v1/videos//generations",
    "/evolink/v1/videos/%67enerations",
    "/evolink/V1/videos/generations",
    "/evolink/v1/video/generations",
    "/evolink/v1/videos/x/../generations",
    "/uniall/v1/video/generations/",
    "/uniall/v1/videos/generations",
    "/uniall/v1/video/x/%2e%2e/generations",
    "/uniall/v1/video/generation%73",
    "/uniall/v1;a/video/generations.json",
    "/evolink/api/v1/kling/text_to_video",
)


@pytest.mark.parametrize("path", TRICKS)
def test_no_spelling_of_a_path_starts_a_job_without_a_reservation(either: Rig, path: str):
    provider = path.strip("/").partition("/")[0].lower()
    provider = provider if provider in PROVIDERS else "runapi"
    with either.unspent():
        reply = ask(
            either.address,
            "POST",
            path,
            headers=[*key_for(either, provider), ("Content-Type", "application/json")],
            body=content(provider),
        )
        assert_harmless(reply)


TARGETS: Final = (
    "http://{trap}/runapi/api/v1/kling/text_to_video",
    "http://{gateway}/runapi/api/v1/kling/text_to_video",
    "http://{gateway}/runapi/http://{trap}/api/v1/me",
    "//{trap}/runapi/api/v1/me",
    "/runapi//{trap}/api/v1/me",
    "/runapi///{trap}/api/v1/me",
    "/runapi/\\{trap}/api/v1/me",
    "/runapi\\\\{trap}/api/v1/me",
    "/runapi/@{trap}/api/v1/me",
    "/runapi@{trap}/api/v1/me",
    "/runapi:@{trap}/",
    "/runapi/http:%2f%2f{trap}/api/v1/me",
    "/runapi/%2f%2f{trap}/api/v1/me",
    "/runapi/.{trap}/api/v1/me",
    "/runapi/?url=http://{trap}/",
    "/runapi/api/v1/me?base_url=http://{trap}",
    "*",
    "{trap}",
    "?http://{trap}/",
    "runapi/api/v1/me",
    "file:///etc/passwd",
    "/runapi/file:///etc/passwd",
    "/runapi/../../../../etc/passwd",
    "/sandbox/truth",
    "/",
    "",
)


@pytest.mark.parametrize("method", ["GET", "POST", "CONNECT"])
@pytest.mark.parametrize("target", TARGETS)
def test_no_address_leads_anywhere_but_to_the_upstream(either: Rig, target: str, method: str):
    where = target.format(
        trap=either.trap.url.removeprefix("http://"), gateway="{}:{}".format(*either.address)
    )
    headers = [
        *key_for(either),
        ("X-Forwarded-Host", either.trap.url.removeprefix("http://")),
        ("Forwarded", f"host={either.trap.url}"),
        ("X-Original-URL", "/api/v1/kling/text_to_video"),
        ("X-Rewrite-URL", "/api/v1/kling/text_to_video"),
    ]
    payload = content() if method == "POST" else b""
    with either.unspent():
        either.send(written(method, where, headers, payload))


METHODS: Final = (
    "HEAD",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "post",
    "Post",
    "PROPFIND",
    "POSTS",
    "GET",
    "M-SEARCH",
    "\x01POST",
)
OVERRIDES: Final = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_only_a_post_starts_a_job(either: Rig, provider: str, method: str):
    headers = [*key_for(either, provider), *((name, "POST") for name in OVERRIDES)]
    headers.append(("Content-Type", "application/json"))
    payload = content(provider)
    headers.append(("Content-Length", str(len(payload))))
    where = f"/{provider}{SUBMITS[provider]}?_method=POST"
    heads = len(either.upstream.heads)
    with either.unspent():
        before = counts(either.database)
        either.send(written(method, where, headers) + payload)
        assert counts(either.database) == before
    for sent in either.upstream.raw[heads:]:
        assert b"method-override" not in sent.lower()


# --- two requests in one -------------------------------------------------------------------------

SMUGGLED: Final = (
    b"POST /runapi/api/v1/kling/text_to_video HTTP/1.1\r\nHost: x\r\nX-Smuggled: yes\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def raw(rig: Rig, lines: Sequence[bytes], payload: bytes, *, end: bytes = b"\r\n") -> bytes:
    """Write a submission with header lines that no client would write."""
    first = b"POST /runapi/api/v1/kling/text_to_video HTTP/1.1"
    usual = [b"Host: 127.0.0.1", b"Content-Type: application/json"]
    usual += [f"{name}: {value}".encode() for name, value in key_for(rig)]
    if not any(line.startswith(b"Connection:") for line in lines):
        usual.append(b"Connection: close")
    return end.join([first, *usual, *lines, b"", b""]) + payload


def chunked(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(payload), payload)


BODY: Final = content()
LENGTH: Final = b"Content-Length: %d" % len(BODY)
MORE: Final = b"Content-Length: %d" % (len(BODY) + len(SMUGGLED))
FRAMES: Final[dict[str, tuple[list[bytes], bytes]]] = {
    "both": ([LENGTH, b"Transfer-Encoding: chunked"], chunked(BODY) + SMUGGLED),
    "both, length first": ([MORE, b"Transfer-Encoding: chunked"], b"0\r\n\r\n" + SMUGGLED),
    "both, length last": ([b"Transfer-Encoding: chunked", b"Content-Length: 4"], chunked(BODY)),
    "two lengths": ([LENGTH, MORE], BODY + SMUGGLED),
    "two lengths alike": ([LENGTH, LENGTH], BODY),
    "a list of lengths": ([LENGTH + b", %d" % (len(BODY) + 1)], BODY + SMUGGLED),
    "a list of lengths alike": ([LENGTH + b", %d" % len(BODY)], BODY),
    "length with a plus": ([b"Content-Length: +%d" % len(BODY)], BODY),
    "negative length": ([b"Content-Length: -1"], BODY),
    "length in hex": ([b"Content-Length: 0x%x" % len(BODY)], BODY),
    "length with an underscore": ([b"Content-Length: 1_0"], BODY),
    "length in other digits": (["Content-Length: \u0661\u0660".encode()], BODY),
    "huge length": ([b"Content-Length: 99999999999999999999999999"], BODY),
    "empty length": ([b"Content-Length:"], BODY),
    "length with space inside": ([b"Content-Length: 1 0"], BODY),
    "length of nothing": ([b"Content-Length: 0"], BODY + SMUGGLED),
    "length too short": ([b"Content-Length: 10"], BODY + SMUGGLED),
    "chunked by another name": ([b"Transfer-Encoding: xchunked"], chunked(BODY)),
    "chunked with identity": ([b"Transfer-Encoding: chunked, identity"], chunked(BODY)),
    "chunked twice": ([b"Transfer-Encoding: chunked, chunked"], chunked(BODY)),
    "chunked in two lines": ([b"Transfer-Encoding: chunked"] * 2, chunked(BODY)),
    "gzip, chunked": ([b"Transfer-Encoding: gzip, chunked"], chunked(gzip.compress(BODY))),
    "chunked with a tab": ([b"Transfer-Encoding:\tchunked"], chunked(BODY)),
    "chunked with a vertical tab": ([b"Transfer-Encoding: \x0bchunked"], chunked(BODY)),
    "chunked in quotes": ([b'Transfer-Encoding: "chunked"'], chunked(BODY)),
    "chunked folded": ([b"Transfer-Encoding:\r\n chunked"], chunked(BODY)),
    "space before the colon": ([b"Transfer-Encoding : chunked", LENGTH], chunked(BODY)),
    "space before length's colon": ([b"Content-Length : %d" % len(BODY)], BODY),
    "underscore in the name": ([b"Content_Length: 5", LENGTH], BODY),
    "chunked beside close": ([b"Transfer-Encoding: chunked", b"Connection: close"], chunked(BODY)),
    "chunk size in 0x": ([b"Transfer-Encoding: chunked"], b"0x5\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    "chunk size with an extension": (
        [b"Transfer-Encoding: chunked"],
        b"%x;a=b;c\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    ),
    "negative chunk size": ([b"Transfer-Encoding: chunked"], b"-1\r\n" + BODY),
    "huge chunk size": ([b"Transfer-Encoding: chunked"], b"ffffffffffffffffff\r\n" + BODY),
    "chunks ended by bare LF": (
        [b"Transfer-Encoding: chunked"],
        b"%x\n%b\n0\n\n" % (len(BODY), BODY) + SMUGGLED,
    ),
    "chunk with a wrong end": (
        [b"Transfer-Encoding: chunked"],
        b"%x\r\n%bXX0\r\n\r\n" % (len(BODY), BODY) + SMUGGLED,
    ),
    "trailer with a length": (
        [b"Transfer-Encoding: chunked"],
        b"%x\r\n%b\r\n0\r\nContent-Length: 5\r\nX-Kling-Token: klt_x\r\n\r\n" % (len(BODY), BODY),
    ),
    "folded header": ([LENGTH, b"X-A: b\r\n c"], BODY),
    "line without a colon": ([LENGTH, b"nonsense"], BODY),
    "empty name": ([LENGTH, b": empty"], BODY),
    "NUL in a value": ([LENGTH, b"X-A: a\0b"], BODY),
    "NUL in a name": ([LENGTH, b"X\0A: b"], BODY),
    "bare CR in a value": ([LENGTH, b"X-A: a\rTransfer-Encoding: chunked"], BODY),
    "bare LF in a value": ([LENGTH, b"X-A: a\nTransfer-Encoding: chunked"], BODY),
    "two hosts": ([LENGTH, b"Host: elsewhere"], BODY),
    "upgrade": ([LENGTH, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"], BODY),
    "websocket": (
        [LENGTH, b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"],
        BODY,
    ),
    "expects to be asked": ([LENGTH, b"Expect: 100-continue"], BODY),
    "hides what matters": ([LENGTH, b"Connection: close, authorization, content-length"], BODY),
    "more than one request": ([LENGTH], BODY + SMUGGLED + SMUGGLED),
    "says its key twice": ([LENGTH, b"Authorization: Bearer another"], BODY),
    "says its token twice": ([LENGTH, b"X-Kling-Token: klt_another"], BODY),
    "says who pays for it twice": ([LENGTH, b"X-Kling-Project: a", b"X-Kling-Project: b"], BODY),
    "says its labels twice": ([LENGTH, b"X-Kling-Labels: a=b", b"X-Kling-Labels: c=d"], BODY),
    "says its run twice": ([LENGTH, b"X-Kling-Run: a", b"X-Kling-Run: b"], BODY),
    "says two keys": ([LENGTH, b"Idempotency-Key: a", b"Idempotency-Key: b"], BODY),
    "says two approvals": ([LENGTH, b"X-Kling-Approval: a", b"X-Kling-Approval: b"], BODY),
}


@pytest.mark.parametrize("name", FRAMES)
def test_no_request_hides_another(either: Rig, name: str):
    lines, payload = FRAMES[name]
    heads = len(either.upstream.raw)
    with either.unspent():
        either.send(raw(either, lines, payload), timeout_s=1)
    for sent in either.upstream.raw[heads:]:
        assert b"Smuggled" not in sent.partition(b"\r\n\r\n")[0]
        assert sent.count(b"HTTP/1.1\r\n") == 1
        assert not (b"content-length:" in sent.lower() and b"transfer-encoding:" in sent.lower())


TWICE: Final = [name for name in FRAMES if name.startswith(("says", "both"))]


@pytest.mark.parametrize("name", TWICE)
def test_what_is_said_twice_is_refused(either: Rig, name: str):
    lines, payload = FRAMES[name]
    with either.untouched():
        first, *_ = either.send(raw(either, lines, payload), timeout_s=5)
        assert is_refused("runapi", first)


BEGUN: Final = (
    b"", b"\r\n" * 100, b"\0" * 1000, b"\xff" * 1000, b"GET /runapi/api/v1/me\r\n\r\n",
    b"POST /runapi/api/v1/kling/text_to_video\r\n\r\n", b"GET /x HTTP/0.9\r\n\r\n",
    b"GET /x HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    b"GET / HTTP/1.1\r\n\r\n", b"GET  /  HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1 \r\n\r\n",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\0" * 100, b"POST", b"POST / HTTP/1.1\r\nHost",
    b"A" * 200_000, b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 500_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 50_000 + b"\r\n",
)  # fmt: skip


@pytest.mark.parametrize("number", range(len(BEGUN)))
def test_what_is_no_request_is_refused_or_ignored(rig: Rig, number: int):
    with rig.untouched(), socket.create_connection(rig.address, 2) as connection:
        with suppress(OSError):
            connection.sendall(BEGUN[number])
            connection.shutdown(socket.SHUT_WR)
        replies = read_replies(connection)
        assert all(one.status >= 400 or one == NO_REPLY for one in replies)


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\r\n", b"\n\r"])
def test_lines_that_end_otherwise_hide_nothing(either: Rig, line_end: bytes):
    with either.unspent():
        either.send(raw(either, [LENGTH], BODY, end=line_end), timeout_s=2)


# --- bodies --------------------------------------------------------------------------------------


def spelt(**more: str) -> bytes:
    """A body with values as they are written."""
    usual = {
        "model": '"kling-3.0"',
        "prompt": json.dumps(PROMPT),
        "duration_seconds": "5",
        "output_resolution": '"1080p"',
    }
    fields = ",".join(f"{json.dumps(name)}:{value}" for name, value in {**usual, **more}.items())
    return f"{{{fields}}}".encode("utf-8", "surrogatepass")


REFUSED_BODIES: Final[dict[str, bytes]] = {
    "nothing": b"",
    "spaces": b"   ",
    "no object": b"[]",
    "text": b'"POST"',
    "null": b"null",
    "a number": b"1e999",
    "half": BODY[:-1],
    "two objects": BODY + BODY,
    "trailing comma": BODY[:-1] + b",}",
    "comment": b"/* */" + BODY,
    "single quotes": BODY.replace(b'"', b"'"),
    "NUL at the end": BODY + b"\0",
    "NUL in front": b"\0" + BODY,
    "invalid UTF-8": BODY.replace(b"lake", b"l\xffke"),
    "overlong UTF-8": BODY.replace(b"lake", b"l\xc0\xafke"),
    "UTF-16": BODY.decode().encode("utf-16"),
    "UTF-32": BODY.decode().encode("utf-32"),
    "the same key twice": spelt()[:-1] + b',"duration_seconds":15}',
    "the same key in two spellings": spelt()[:-1] + b',"duration\\u005fseconds":15}',
    "deep": spelt(x="[" * 100_000 + "]" * 100_000),
    "deep objects": spelt(x='{"a":' * 100_000 + "1" + "}" * 100_000),
    "only deep": b"[" * 1_000_000,
    "a huge length": spelt(duration_seconds="9" * 5000),
    "a huger length": spelt(duration_seconds="9" * 500_000),
    "a length beyond floats": spelt(duration_seconds="1e999"),
    "a length that is no number": spelt(duration_seconds="NaN"),
    "an infinite length": spelt(duration_seconds="Infinity"),
    "a huge exponent": spelt(duration_seconds="1e1000000000"),
    "a tiny length": spelt(duration_seconds="1e-1000000000"),
    "a negative length": spelt(duration_seconds="-5"),
    "no length at all": spelt(duration_seconds="0"),
    "a length in words": spelt(duration_seconds='"five"'),
    "a true length": spelt(duration_seconds="true"),
    "a list of lengths": spelt(duration_seconds="[5]"),
    "a length too long": spelt(duration_seconds="3600"),
    "another resolution": spelt(output_resolution='"8k"'),
    "another model": spelt(model='"kling-99"'),
    "a model by path": spelt(model='"../kling-3.0"'),
    "a list of models": spelt(model='["kling-3.0"]'),
}


@pytest.mark.parametrize("name", REFUSED_BODIES)
def test_a_body_that_is_not_understood_is_refused(either: Rig, name: str):
    with either.untouched():
        headers = [*key_for(either), ("Content-Type", "application/json")]
        reply = ask(either.address, "POST", RUNAPI, headers=headers, body=REFUSED_BODIES[name])
        assert_harmless(reply)
        assert 400 <= reply.status < 500
        assert len(reply.body) < 5000


ODD_BODIES: Final[dict[str, bytes]] = {
    "a mark in front": b"\xef\xbb\xbf" + BODY,
    "NUL in a model": spelt(model='"kling-3.0\\u0000"'),
    "NUL in a name": spelt(**{"x\0y": "1"}),
    "NUL in a prompt": spelt(prompt='"a\\u0000lake"'),
    "half a character": spelt(prompt='"a \\ud800 lake"'),
    "a long prompt": spelt(prompt=json.dumps("a" * 1_000_000)),
    "an unknown field": spelt(count="100"),
    "a field of every name": spelt(**{f"field_{number}": "1" for number in range(5000)}),
    "a fraction": spelt(cfg_scale="0.50"),
    "many digits": spelt(cfg_scale="0." + "1" * 5000),
    "a length as text": spelt(duration_seconds='"5"'),
    "a length as a fraction": spelt(duration_seconds="5.0"),
    "a length in exponents": spelt(duration_seconds="5e0"),
    "minus nothing": spelt(cfg_scale="-0"),
    "prototype": spelt(__proto__='{"duration_seconds": 15}'),
}


@pytest.mark.parametrize("name", ODD_BODIES)
def test_an_odd_body_is_refused_or_reserved_first(engine: Rig, name: str):
    with engine.unspent():
        assert engine.post("runapi", ODD_BODIES[name]).status < 500


TYPES: Final = (
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain",
    "application/json; charset=utf-16",
    "application/json; charset=utf-7",
    "",
)


@pytest.mark.parametrize("kind", TYPES)
def test_another_kind_of_content_is_no_way_around(either: Rig, kind: str):
    with either.unspent():
        for payload in (BODY, b"model=kling-3.0&duration_seconds=15&prompt=a"):
            where = f"/runapi{SUBMITS['runapi']}"
            headers = [*key_for(either), ("Content-Type", kind)]
            reply = ask(either.address, "POST", where, headers=headers, body=payload)
            assert_harmless(reply)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "identity", "gzip, gzip", "x"])
def test_a_packed_body_is_refused_or_understood(either: Rig, coding: str):
    packed = gzip.compress(BODY)
    if coding == "gzip, gzip":
        packed = gzip.compress(packed)
    with either.unspent():
        headers = [*key_for(either), ("Content-Encoding", coding)]
        for payload in (packed, BODY):
            reply = ask(either.address, "POST", RUNAPI, headers=headers, body=payload)
            assert_harmless(reply)
            assert reply.status < 500


def test_a_body_without_end_is_refused_before_it_is_read(rig: Rig):
    head = raw(rig, [b"Content-Length: 10000000000"], b"")
    with rig.untouched():
        assert _endless(rig, head, b"a" * 65536).status == 413


def test_a_chunked_body_without_end_is_refused_before_it_is_read(rig: Rig):
    head = raw(rig, [b"Transfer-Encoding: chunked"], b"")
    with rig.untouched():
        assert _endless(rig, head, b"10000\r\n" + b"a" * 65536 + b"\r\n").status == 413


def _endless(rig: Rig, head: bytes, piece: bytes) -> Reply:
    """Send until there is a reply, and no more than 200 MB."""
    before = rig.memory_mb()
    with socket.create_connection(rig.address, 10) as connection:
        connection.sendall(head)
        for _ in range(200_000_000 // len(piece)):
            try:
                connection.sendall(piece)
            except ConnectionError:
                break
            if select.select([connection], [], [], 0)[0]:
                break
        connection.settimeout(2)
        [reply] = read_replies(connection)
    assert rig.memory_mb() - before < 50
    return reply


# --- where it could be led -----------------------------------------------------------------------

CALLBACKS: Final = (
    "{trap}/hook",
    "http://127.0.0.1/",
    "http://localhost:1/",
    "https://[::1]/",
    "http://169.254.169.254/latest/meta-data/",
    "https://10.0.0.1/",
    "http://2130706433/",
    "http://0x7f.1/",
    "https://user:secret@example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:25/_HELO",
    "javascript:alert(1)",
    "https://example.com/\r\nX-A: b",
    "",
    "x" * 5000,
)


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_nobody_is_called_at_an_address_that_a_body_names(rig: Rig, provider: str, callback: str):
    named = callback.format(trap=rig.trap.url)
    with rig.unspent():
        rig.post(provider, content(provider, callback_url=named))


UNKNOWN_SENDERS: Final = (
    "/callbacks/runapi",
    "/callbacks/crun",
    "/callbacks/../runapi",
    "/callbacks/x",
)


@pytest.mark.parametrize("path", UNKNOWN_SENDERS)
@pytest.mark.parametrize("named", ["task_1", "task_of_nobody", "../x", ""])
def test_a_callback_that_anybody_may_send_settles_nothing(rig: Rig, path: str, named: str):
    told = {"id": named, "task_id": named, "status": "completed", "usage": {"cost": 99}}
    heads = len(rig.upstream.heads)
    before = counts(rig.database)
    reply = ask(rig.address, "POST", path, body=json.dumps(told).encode())
    assert_harmless(reply)
    # What may be about a job that is just being sent is to be said again.
    assert reply.status < 500 or reply.header("retry-after"), reply
    assert counts(rig.database) == before
    # At the most its provider is asked whether it is so.
    assert [head for head in rig.upstream.heads[heads:] if not head.startswith("GET ")] == []
    rig.assert_well()


# --- who asks ------------------------------------------------------------------------------------

STRANGERS: Final[dict[str, list[tuple[str, str]]]] = {
    "nobody": [],
    "the sandbox's key": [("Authorization", "Bearer sandbox-key")],
    "an invented token": [("Authorization", "Bearer klt_" + "a" * 43)],
    "an empty token": [("Authorization", "Bearer ")],
    "only the scheme": [("Authorization", "Bearer")],
    "another scheme": [("Authorization", "Basic a2x0Xzo=")],
    "no scheme": [("Authorization", "klt_" + "a" * 43)],
    "two words": [("Authorization", "Bearer klt_a klt_b")],
    "no ASCII": [("Authorization", "Bearer klt_\u00e9")],
    "a long one": [("Authorization", "Bearer klt_" + "a" * 30_000)],
    "a query of the database": [("Authorization", "Bearer klt_' OR '1'='1")],
    "an empty X-Kling-Token": [("X-Kling-Token", "")],
    "an invented X-Kling-Token": [("X-Kling-Token", "klt_x")],
    "another header": [("x-api-key", "klt_" + "a" * 43)],
}


@pytest.mark.parametrize("who", STRANGERS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_who_has_no_token_gets_nothing(rig: Rig, provider: str, who: str):
    headers = STRANGERS[who]
    if provider == "crun":
        headers = [("x-api-key", value.removeprefix("Bearer ")) for _, value in headers]
    with rig.untouched():
        for method, path, payload in (
            ("POST", SUBMITS[provider], content(provider)),
            ("GET", PATHS[provider][1].format(id="task_1"), b""),
            ("GET", "/api/v1/me/balance", b""),
            ("GET", "/", b""),
            ("POST", "/anything", b"{}"),
        ):
            where = f"/{provider}{path}"
            reply = ask(rig.address, method, where, headers=headers, body=payload)
            assert_harmless(reply)
            assert is_refused(provider, reply)


@pytest.mark.parametrize("place", ["?token={}", "?api_key={}", "?access_token={}"])
def test_a_token_in_an_address_is_no_token(rig: Rig, place: str):
    where = f"/runapi{SUBMITS['runapi']}{place.format(rig.tokens['runapi'])}"
    with rig.untouched():
        assert ask(rig.address, "POST", where, body=content()).status == 401


def test_a_revoked_token_is_no_token(rig: Rig):
    with Ledger(rig.database) as ledger:
        _, secret = ledger.tokens.create("once", wallet="uniall")
        assert rig.post("uniall", content("uniall"), key=secret).status == 200
        ledger.tokens.revoke("once")
    with rig.untouched():
        assert rig.post("uniall", content("uniall"), key=secret).status == 401


def test_nobody_asks_for_the_task_of_another(rig: Rig):
    with Ledger(rig.database) as ledger:
        ledger.wallets.create("others", "USD")
        _, secret = ledger.tokens.create("another", wallet="others")
    rig.post("runapi", content())
    [found] = rows(
        rig.database, "SELECT task_id FROM reservation WHERE task_id IS NOT NULL LIMIT 1"
    )
    where = f"/runapi/api/v1/kling/text_to_video/{found['task_id']}"
    with rig.untouched():
        reply = ask(rig.address, "GET", where, headers=authorised("runapi", secret))
        assert reply.status == 404


OWN_WORDS: Final[dict[str, list[tuple[str, str]]]] = {
    "another token's label": [("X-Kling-Labels", "token=crun")],
    "another run's label": [("X-Kling-Labels", "run=crun/1")],
    "a label without a value": [("X-Kling-Labels", "a")],
    "the same label twice": [("X-Kling-Labels", "a=b,a=c")],
    "empty labels": [("X-Kling-Labels", ",,,")],
    "a long label": [("X-Kling-Labels", "a=" + "b" * 20_000)],
    "a thousand labels": [("X-Kling-Labels", ",".join(f"a{n}=b" for n in range(1000)))],
    "labels in quotes": [("X-Kling-Labels", "a='; DROP TABLE reservation; --")],
    "a label in other letters": [("X-Kling-Labels", "\u00e9=\u00fc")],
    "a project upwards": [("X-Kling-Project", "../other")],
    "a project of slashes": [("X-Kling-Project", "///")],
    "a long project": [("X-Kling-Project", "p" * 20_000)],
    "a run with a slash": [("X-Kling-Run", "a/b")],
    "a run of spaces": [("X-Kling-Run", "   ")],
    "a long run": [("X-Kling-Run", "r" * 20_000)],
    "a long key": [("Idempotency-Key", "k" * 20_000)],
    "an empty key": [("Idempotency-Key", "")],
    "a key in other letters": [("Idempotency-Key", "\u00e9\u00fc")],
    "a key that is a reservation's": [("Idempotency-Key", "res_" + "0" * 26)],
    "a key that is an approval's": [("Idempotency-Key", "approval/apr_" + "0" * 26)],
    "an approval of nobody's": [("X-Kling-Approval", "apr_" + "0" * 26)],
    "an approval by path": [("X-Kling-Approval", "../../x")],
}


@pytest.mark.parametrize("name", OWN_WORDS)
def test_odd_words_for_the_gateway_are_refused_or_harmless(engine: Rig, name: str):
    with engine.unspent():
        assert engine.post("runapi", content(), *OWN_WORDS[name]).status < 500
    for row in rows(engine.database, "SELECT labels FROM reservation WHERE provider = 'runapi'"):
        assert ",token=runapi," in row["labels"]


OTHERS_LABELS: Final[dict[str, list[tuple[str, str]]]] = {
    "a token's label": [("X-Kling-Labels", "token=crun")],
    "a token's run": [("X-Kling-Run", "runapi/night")],
    "a run's label": [("X-Kling-Labels", "run=runapi/night")],
}


@pytest.mark.parametrize("name", OTHERS_LABELS)
def test_who_has_no_token_cannot_fill_the_limits_of_one_that_has(own: Rig, name: str):
    headers = [*authorised("runapi", "own-key"), *OTHERS_LABELS[name]]
    headers.append(("Content-Type", "application/json"))
    with own.unspent():
        assert_harmless(ask(own.address, "POST", RUNAPI, headers=headers, body=content()))
    made = rows(own.database, "SELECT labels FROM reservation WHERE labels IS NOT NULL")
    for row in made:
        assert ",token=crun," not in row["labels"]
        assert ",run=runapi/night," not in row["labels"]


def test_a_label_that_is_said_twice_is_refused(rig: Rig):
    with rig.untouched():
        reply = rig.post("runapi", content(), ("X-Kling-Labels", "team=a,team=b"))
        assert is_refused("runapi", reply)


OTHERS_TASKS: Final = (
    "/runapi/api/v1/kling/text_to_video/{}",
    "/runapi/api/v1/kling/text_to_video/{}/",
    "/runapi/API/v1/kling/text_to_video/{}",
    "/runapi/api/v1/kling/text_to_video;a/{}",
    "/runapi/api/v1/kling/text_to_video/{}.json",
    "/runapi/api/v1/kling/text_to_video/{};a",
    "/runapi/api/v1/kling/image_to_video/{}",
    "/crun/api/v1/client/job/TaskInfo?task_id={}",
    "/crun/api/v1/client/job/TaskInfo/?task_id={}",
    "/crun/api/v1/client/job/taskinfo?task_id={}",
    "/crun/api/v1/client/job/TaskInfo?task_id={}&task_id={}",
    "/crun/api/v1/client/job/TaskInfo?task_id=other&task_id={}",
    "/crun/api/v1/client/job/TaskInfo?task_id=&task_id={}",
    "/crun/api/v1/client/job/TaskInfo?a=b;task_id={}",
    "/crun/api/v1/client/job/TaskInfo?TASK_ID={}",
    "/crun/api/v1/client/job/TaskInfo?task%5fid={}",
    "/crun/api/v1/client/job/TaskInfo?task_id[]={}",
    "/evolink/v1/tasks/{}",
    "/evolink/v1/tasks/{}/",
    "/evolink/v1/Tasks/{}",
    "/evolink/v1/tasks;a/{}",
    "/uniall/v1/videos/{}",
    "/uniall/v1/videos/{}/",
    "/uniall/V1/videos/{}",
    "/uniall/v1/videos/{};a",
)


@pytest.mark.parametrize("path", OTHERS_TASKS)
def test_no_spelling_shows_a_task_of_another_wallet(rig: Rig, path: str):
    provider = path.split("/")[1]
    rig.post(provider, content(provider))
    with Ledger(rig.database) as ledger:
        name = f"other {counts(rig.database)['reservation']} {OTHERS_TASKS.index(path)}"
        ledger.wallets.create(name.replace(" ", "-"), "USD")
        _, secret = ledger.tokens.create(name.replace(" ", "-"), wallet=name.replace(" ", "-"))
    with rig.untouched():
        where = path.replace("{}", "task_1")
        reply = ask(rig.address, "GET", where, headers=authorised(provider, secret))
        assert is_refused(provider, reply)


HOSTS: Final = (
    b"", b"[", b"[::1", b"a b", b"x:99999", b"x:y", b"@", b"x@y", b"//", b"evil/a?b#c", b"x\\y",
    b"x?task_id=a#", b"\xff", b"%00",
)  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_no_host_confuses_it(either: Rig, host: bytes):
    for method, path, payload in (
        (b"GET", b"/runapi/api/v1/me?a=b", b""),
        (b"POST", RUNAPI.encode(), BODY),
    ):
        lines = [method + b" " + path + b" HTTP/1.1", b"Host: " + host, b"Connection: close"]
        lines += [f"{name}: {value}".encode() for name, value in key_for(either)]
        lines += [b"Content-Length: %d" % len(payload)]
        with either.unspent():
            replies = either.send(b"\r\n".join([*lines, b"", b""]) + payload, timeout_s=5)
            assert all(one.status < 500 for one in replies)


def test_what_passes_through_is_one_request_too(own: Rig):
    # Each is a request that would pass with the caller's own key, framed in two ways.
    for lines, payload in (
        ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], chunked(SMUGGLED)),
        ([b"Content-Length: 500", b"Transfer-Encoding: chunked"], chunked(b"hello")),
        ([b"Transfer-Encoding: chunked", b"Content-Length: 0"], chunked(SMUGGLED)),
    ):
        heads = len(own.upstream.raw)
        sent = raw(own, lines, payload).replace(RUNAPI.encode(), b"/runapi/api/v1/files", 1)
        with own.untouched():
            [reply] = own.send(sent, timeout_s=5)
            assert reply.status == 400
        assert own.upstream.raw[heads:] == []


# --- from a browser ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """On this machine alone: nobody needs a token, and the gateway has the providers' keys."""
    yield from _rig(tmp_path_factory.mktemp("home"), "--wallet", "team")


FOREIGN: Final[dict[str, list[str]]] = {
    "a name that leads here": ["Host: evil.example"],
    "a name that leads here, with its port": ["Host: evil.example:{port}"],
    "a name that looks like here": ["Host: 127.0.0.1.evil.example:{port}"],
    "a name that begins like here": ["Host: localhost.evil.example"],
    "no name": ["Host: "],
    "another page": ["Host: 127.0.0.1:{port}", "Origin: http://evil.example"],
    "a page without an address": ["Host: 127.0.0.1:{port}", "Origin: null"],
    "a page of another port": ["Host: 127.0.0.1:{port}", "Origin: http://127.0.0.1:1"],
    "a page elsewhere": ["Host: 127.0.0.1:{port}", "Sec-Fetch-Site: cross-site"],
    "a page of the same site": ["Host: 127.0.0.1:{port}", "Sec-Fetch-Site: same-site"],
}


@pytest.mark.parametrize("who", FOREIGN)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_page_of_another_site_spends(at_home: Rig, provider: str, who: str):
    lines = [line.format(port=at_home.address[1]) for line in FOREIGN[who]]
    payload = content(provider)
    # What a browser sends for a page without asking first.
    lines += ["Content-Type: text/plain;charset=UTF-8", "User-Agent: Mozilla/5.0"]
    lines += ["Connection: close", f"Content-Length: {len(payload)}", "", ""]
    first = f"POST /{provider}{SUBMITS[provider]} HTTP/1.1"
    with at_home.untouched():
        [reply] = at_home.send("\r\n".join([first, *lines]).encode() + payload)
        assert is_refused(provider, reply)


@pytest.mark.parametrize("path", ["/", "/metrics", "/runapi/api/v1/me/balance"])
@pytest.mark.parametrize("who", [who for who in FOREIGN if "name" in who])
def test_no_name_that_somebody_else_gave_shows_anything(at_home: Rig, path: str, who: str):
    lines = [line.format(port=at_home.address[1]) for line in FOREIGN[who]]
    with at_home.untouched():
        head = "\r\n".join([f"GET {path} HTTP/1.1", *lines, "Connection: close", "", ""])
        [reply] = at_home.send(head.encode())
        assert reply.status >= 400


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_names_of_this_machine_show_the_page(at_home: Rig, host: str):
    name = f"{host}:{at_home.address[1]}"
    head = f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    [reply] = at_home.send(head.encode())
    assert reply.status == 200


def test_no_reply_may_be_read_by_a_page_of_another_site(at_home: Rig):
    for method in ("GET", "OPTIONS"):
        headers = [("Origin", "http://evil.example"), ("Access-Control-Request-Method", "POST")]
        for path in ("/", RUNAPI, "/healthz"):
            reply = ask(at_home.address, method, path, headers=headers)
            assert reply.header("access-control-allow-origin") is None


# --- slow ----------------------------------------------------------------------------------------


def test_slow_clients_keep_nobody_waiting(rig: Rig):
    begun = raw(rig, [LENGTH], BODY)
    with ExitStack() as stack, rig.unspent():
        slow = [stack.enter_context(socket.create_connection(rig.address, 10)) for _ in range(300)]
        for number, connection in enumerate(slow):
            connection.sendall(begun[: number % len(begun)])
        before = counts(rig.database)["reservation"]
        assert rig.post("runapi", content()).status == 200
        assert counts(rig.database)["reservation"] == before + 1


def test_a_client_that_leaves_in_the_middle_of_what_passes_through_breaks_nothing(own: Rig):
    whole = raw(own, [LENGTH], BODY[:-1]).replace(RUNAPI.encode(), b"/runapi/api/v1/files", 1)
    with own.unspent():
        for _ in range(5):
            with socket.create_connection(own.address, 10) as connection:
                connection.sendall(whole)
        assert ask(own.address, "GET", "/runapi/x", headers=key_for(own)).status == 200


def test_a_client_that_leaves_in_the_middle_of_its_body_starts_nothing(rig: Rig):
    with rig.untouched():
        with socket.create_connection(rig.address, 10) as connection:
            connection.sendall(raw(rig, [LENGTH], BODY[:-1]))
        assert ask(rig.address, "GET", "/healthz").status in {200, 404}


# --- anything ------------------------------------------------------------------------------------

WORDS: Final = st.sampled_from([*re.split(r"[ /]", " ".join(TRICKS)), ".json", "%0d%0a"])
ODD: Final = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=40)
USUAL: Final = settings(
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@USUAL
@given(path=st.lists(WORDS, max_size=9).map("/".join))
def test_any_path_is_safe(own: Rig, path: str):
    with own.unspent():
        headers = [*key_for(own), ("Content-Type", "application/json")]
        assert_harmless(ask(own.address, "POST", f"/runapi/{path}", headers=headers, body=BODY))


@USUAL
@given(headers=st.lists(st.tuples(ODD, ODD), max_size=8))
def test_any_headers_are_safe(rig: Rig, headers: list[tuple[str, str]]):
    lines = [f"{name}: {value}".encode("latin-1") for name, value in headers]
    with rig.unspent():
        rig.send(raw(rig, [*lines, LENGTH, b"Connection: close"], BODY), timeout_s=2)


@USUAL
@given(piece=st.binary(max_size=200), at=st.integers(0, len(BODY)))
def test_any_bytes_in_a_body_are_safe(rig: Rig, piece: bytes, at: int):
    with rig.unspent():
        reply = rig.post("runapi", BODY[:at] + piece + BODY[at:])
        assert 200 <= reply.status < 500


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@USUAL
@given(
    provider=st.sampled_from(PROVIDERS),
    field=st.sampled_from(["model", "prompt", "duration", "duration_seconds", "input", "quality"]),
    value=JSON,
)
def test_any_value_of_a_field_is_safe(rig: Rig, provider: str, field: str, value: Any):
    with rig.unspent():
        said = {**body(provider, PROMPT), field: value}
        reply = rig.post(provider, json.dumps(said).encode())
        assert 200 <= reply.status < 500


@USUAL
@given(cut=st.integers(0, 600), flip=st.integers(0, 600), bit=st.integers(0, 7))
def test_any_bit_of_a_request_may_be_wrong(rig: Rig, cut: int, flip: int, bit: int):
    whole = bytearray(raw(rig, [LENGTH, b"Connection: close"], BODY))
    whole[flip % len(whole)] ^= 1 << bit
    with rig.unspent():
        rig.send(bytes(whole[: len(whole) - cut % 3]), timeout_s=0.3)


# --- an upstream that is no friend ---------------------------------------------------------------


@dataclass(frozen=True)
class Foe:
    """A gateway whose upstream answers what a test tells it to."""

    gateway: Program
    upstream: Loopback
    trap: Recorder
    database: str
    token: str

    def ask(self, method: str, path: str, *answers: Answer) -> Reply:
        self.upstream.answers[:] = answers
        headers = [*authorised("runapi", self.token), ("Content-Type", "application/json")]
        payload = content() if method == "POST" else b""
        reply = ask(self.gateway.address, method, path, headers=headers, body=payload)
        assert_harmless(reply)
        return reply

    def spent(self) -> tuple[int, int]:
        query = "SELECT posted_micro, reserved_micro FROM wallet WHERE name = 'runapi'"
        [row] = rows(self.database, query)
        return row["posted_micro"], row["reserved_micro"]


@pytest.fixture(scope="module")
def foe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foe]:
    folder = tmp_path_factory.mktemp("foe")
    database = str(folder / "ledger.sqlite")
    tokens = make_ledger(database)
    words = ("gateway", "--port", "0", "--no-estimate", "--poll-every", "3600", "--upstream")
    with answering((200, {})) as upstream, recording() as trap:
        log = folder / "gateway.log"
        with running(log, *words, upstream.url, **gateway_environ(database)) as gateway:
            yield Foe(gateway, upstream, trap, database, tokens["runapi"])
        said = log.read_text()
        assert "Traceback" not in said
        assert KEYS["runapi"] not in said


SPOOFED: Final = {
    "X-Kling-Reservation": "res_of_nobody",
    "X-Kling-Committed": "0 USD",
    "X-Kling-Wallet-Left": "999999 USD",
    "X-Kling-Budget-Left": "all=999999 USD",
}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/runapi/api/v1/me"), ("GET", f"{RUNAPI}/x"), ("POST", RUNAPI)]
)
def test_no_redirection_is_followed(foe: Foe, method: str, path: str, status: int):
    posted, _ = foe.spent()
    foe.ask(method, path, (status, {}, {"Location": f"{foe.trap.url}/api/v1/kling/text_to_video"}))
    assert foe.trap.heads == []
    assert foe.spent()[0] == posted


def test_no_provider_says_what_the_gateway_would(foe: Foe):
    taken = {"id": "task_spoofed", "status": "pending"}
    for method, path in (("POST", RUNAPI), ("GET", f"{RUNAPI}/task_spoofed"), ("GET", "/runapi/x")):
        reply = foe.ask(method, path, (200, taken, SPOOFED))
        assert reply.status == 200
        for name, text in SPOOFED.items():
            assert reply.header(name) != text


ODD_REPLIES: Final[dict[str, Any]] = {
    "nothing": {},
    "a list": [],
    "no JSON": "<html>",
    "an id of a path": {"id": "../../x", "status": "pending"},
    "a long id": {"id": "x" * 100_000, "status": "pending"},
    "an id of lines": {"id": "x\r\nX-A: b", "status": "pending"},
    "NUL in an id": {"id": "x\0y", "status": "pending"},
    "half a character": {"id": "x\ud800", "status": "pending"},
    "a number": {"id": 1, "status": "pending"},
    "a list of ids": {"id": ["a"], "status": "pending"},
    "deep": '{"id": ' + "[" * 50_000 + "]" * 50_000 + "}",
    "large": {"id": "large", "status": "pending", "x": "y" * 20_000_000},
    "ended at once": {"id": "at-once", "status": "failed", "error": "it"},
}


@pytest.mark.parametrize("name", ODD_REPLIES)
def test_no_odd_reply_gives_credits_back(foe: Foe, name: str):
    posted, reserved = foe.spent()
    foe.ask("POST", RUNAPI, (200, ODD_REPLIES[name]))
    now_posted, now_reserved = foe.spent()
    assert (now_posted, now_reserved - reserved) == (posted, 675_000 * 2)


ODD_COSTS: Final = ("-1", "NaN", "1e400", "1e30", "true", "[]", "null", "0.0000001")


@pytest.mark.parametrize("cost", ODD_COSTS)
def test_no_odd_cost_gives_credits_away(foe: Foe, cost: str):
    number = ODD_COSTS.index(cost)
    foe.ask("POST", RUNAPI, (200, {"id": f"odd-{number}", "status": "pending"}))
    posted, reserved = foe.spent()
    ended = f'{{"id": "odd-{number}", "status": "completed", "usage": {{"cost": {cost}}}}}'
    foe.ask("GET", f"{RUNAPI}/odd-{number}", (200, ended))
    now_posted, now_reserved = foe.spent()
    # Either nothing is settled, or all that was quoted: none of these is a cost.
    assert (now_posted - posted, now_reserved - reserved) in {(0, 0), (-675_000 * 2, -675_000 * 2)}


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104
def test_where_others_can_reach_it_everybody_needs_a_token(tmp_path: Path, host: str):
    database = str(tmp_path / "ledger.sqlite")
    make_ledger(database)
    words = ("gateway", "--port", "0", "--wallet", "team", "--host", host)
    ended = command(*words, **gateway_environ(database))
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "token" in ended.stderr
