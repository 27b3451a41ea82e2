"""What a client gets through the gateway is what its provider says, to the byte.

Every conversation is held twice: with one sandbox directly, and with another of the same settings
through the gateway. Only ids, times, addresses and the gateway's own headers may differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.gateway_witness import (
    KEYS,
    Program,
    Recorder,
    Reply,
    ask,
    authorised,
    counts,
    finish,
    gateway_environ,
    make_ledger,
    recording,
    rows,
    running,
    truth,
)
from tests.sandbox_rig import BALANCES, PATHS, PROVIDERS, body

FILES: Final = sorted(Path(__file__).with_name("requests").glob("*.json"))
VALID: Final = [file for file in FILES if "duplicate" not in file.name]

OURS: Final = re.compile(r"x-kling-|date$|server$|connection$|content-length$")
"""Headers of the connection, and the gateway's own.

RunAPI echoes the name that a client gives to a request: the gateway names those without one after
their reservations, and such an echo is left out too.
"""

DIFFERS: Final = (
    (re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), b"UUID"),
    (re.compile(rb'("task_id": ")[0-9a-f]{7}$'), rb"\1UUID"),
    (re.compile(rb"task-unified-\d+-[0-9a-z]+"), b"TASK"),
    (re.compile(rb"\b(task|tsk)_[0-9a-f]{32}"), rb"\1_ID"),
    (re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"), b"TIME"),
    (re.compile(rb"\"(created|create_at|complete_at|expires_at)\": ?\d+"), rb'"\1": TIME'),
    (
        re.compile(rb"\"((?:total_|user_)?\w*(?:balance|credits)\w*)\": ?[\d.]+(?=[,}])"),
        rb'"\1": MONEY',
    ),
    (re.compile(rb"127\.0\.0\.1:\d+"), b"ADDRESS"),
    (re.compile(rb"(expires|signature|token)=[0-9a-f]+"), rb"\1=X"),
)


def plain(content: bytes) -> bytes:
    """A body without its ids, times and addresses, and without what an account holds by now."""
    for what, instead in DIFFERS:
        content = what.sub(instead, content)
    return content


def seen(reply: Reply) -> tuple[int, list[tuple[str, str]], bytes]:
    """What must be the same of a reply."""
    headers = sorted(
        (name, plain(value.encode("latin-1")).decode("latin-1"))
        for name, value in reply.headers
        if not OURS.match(name) and not value.startswith("res_")
    )
    return reply.status, headers, plain(reply.body)


@dataclass(frozen=True)
class Side:
    """One way to a provider, and the sandbox at its end."""

    sandbox: Program
    address: tuple[str, int]
    prefix: str
    provider: str
    key: str

    def ask(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        *more: tuple[str, str],
        key: str | None = None,
    ) -> Reply:
        headers = [*authorised(self.provider, self.key if key is None else key), *more]
        if content:
            headers.append(("Content-Type", "application/json"))
        return ask(self.address, method, self.prefix + path, headers=headers, body=content)

    def create(self, content: bytes, *more: tuple[str, str], path: str | None = None) -> Reply:
        return self.ask("POST", path or PATHS[self.provider][0], content, *more)

    def poll(self, task_id: str) -> Reply:
        return self.ask("GET", PATHS[self.provider][1].format(id=task_id))

    def finish(self) -> None:
        finish(self.sandbox)


Conversation = Callable[[Side], Iterator[Reply]]


@dataclass(frozen=True)
class Both:
    """The same settings twice: directly, and behind the gateway."""

    direct: Program
    behind: Program
    gateway: Program
    database: str
    tokens: dict[str, str]

    def sides(self, provider: str) -> tuple[Side, Side]:
        return (
            Side(self.direct, self.direct.address, "", provider, KEYS[provider]),
            Side(
                self.behind, self.gateway.address, f"/{provider}", provider, self.tokens[provider]
            ),
        )

    def same(self, provider: str, conversation: Conversation) -> list[Reply]:
        """Hold a conversation on both sides, say that they are the same; return the gateway's."""
        ours, theirs = (list(conversation(side)) for side in reversed(self.sides(provider)))
        assert [seen(one) for one in ours] == [seen(one) for one in theirs]
        assert all(one.is_whole for one in ours)
        return ours


def _both(folder: Path, *sandbox: str, gateway: tuple[str, ...] = ()) -> Iterator[Both]:
    # Jobs end when a test says so, and nobody but the client asks for them before.
    words = ("sandbox", "--port", "0", "--job-seconds", "3600", "--balance", "100000 USD", *sandbox)
    database = str(folder / "ledger.sqlite")
    tokens = make_ledger(database)
    with ExitStack() as stack:
        direct, behind = (
            stack.enter_context(running(folder / f"{name}.log", *words))
            for name in ("direct", "behind")
        )
        served = ["gateway", "--port", "0", "--upstream", behind.url, "--poll-every", "3600"]
        environ = gateway_environ(database)
        made = running(folder / "gateway.log", *served, *gateway, **environ)
        yield Both(direct, behind, stack.enter_context(made), database, tokens)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    yield from _both(
        tmp_path_factory.mktemp("bytes"),
    )


def id_of(provider: str, reply: Reply) -> str:
    content = reply.json
    return str(
        content["data"]["task_id"]
        if provider == "crun"
        else content.get("id") or content["task_id"]
    )


def life(provider: str, content: bytes) -> Conversation:
    """Create a job and ask for it until it has ended, and once more."""

    def conversation(side: Side) -> Iterator[Reply]:
        created = side.create(content)
        yield created
        try:
            task_id = id_of(provider, created)
        except (KeyError, ValueError, TypeError):
            return
        yield side.poll(task_id)
        side.finish()
        yield side.poll(task_id)
        yield side.poll(task_id)

    return conversation


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
def test_a_published_request_is_answered_through_the_gateway_as_it_is_directly(
    both: Both, file: Path
):
    provider = file.stem.partition("_")[0]
    created, pending, *ended = both.same(provider, life(provider, file.read_bytes()))
    assert created.header("x-kling-reservation")
    assert pending.header("x-kling-reservation") == created.header("x-kling-reservation")
    assert len(ended) == 2


def prompted(provider: str, marker: str) -> bytes:
    made = body(provider)
    place = made.get("input", made)
    place["prompt"] = f"a lake {marker}"
    return json.dumps(made).encode()


ANSWERED: Final = (
    "[fail]",
    "[fail moderation]",
    "[cost 120%]",
    "[revive]",
    "[charge twice]",
    *(f"[refuse {status}]" for status in (400, 401, 402, 403, 404, 409, 413, 422, 429, 451)),
    *(f"[refuse {status}]" for status in (500, 502, 503, 504)),
    "[refuse moderation]",
    "[refuse malformed]",
    "[lose 500]",
    "[lose 503]",
    "[lose malformed]",
    *(f"[poll {status}]" for status in (404, 429, 500, 503, "malformed", "moderation")),
    "[malformed]",
    "[state archived]",
    "[state odd 2]",
    "[estimate 500]",
    "[estimate 150%]",
)
"""Whatever comes as a whole reply."""


@pytest.mark.parametrize("marker", ANSWERED)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_goes_wrong_at_a_provider_is_told_in_its_own_words(
    both: Both, provider: str, marker: str
):
    both.same(provider, life(provider, prompted(provider, marker)))


CUT: Final = ("[refuse cut]", "[lose cut]", "[refuse half]", "[lose half]")
NO_ANSWER: Final = {"runapi": 504, "crun": 504, "evolink": 500, "uniall": 504}
"""What a lost reply is called. EvoLink's own client sends a job again after 429, 502 and 503."""


def code_of(provider: str, reply: Reply) -> int:
    """What a provider's client takes for the outcome."""
    if provider == "crun":
        assert reply.status == 200
        return int(reply.json["code"])
    assert set(reply.json) == {"error"}
    return reply.status


@pytest.mark.parametrize("marker", CUT)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_submission_without_a_reply_is_an_error_and_keeps_its_hold(
    both: Both, provider: str, marker: str
):
    _, side = both.sides(provider)
    reply = side.create(prompted(provider, marker))
    assert code_of(provider, reply) == NO_ANSWER[provider]
    name = reply.header("x-kling-reservation")
    [found] = rows(both.database, f"SELECT state, held_micro FROM reservation WHERE id = '{name}'")
    assert found["state"] == "in_doubt"
    assert found["held_micro"] > 0


@pytest.mark.parametrize("marker", ["[poll cut]", "[poll half]"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_poll_without_an_answer_is_an_error_and_the_next_one_is_answered(
    both: Both, provider: str, marker: str
):
    _, side = both.sides(provider)
    task_id = id_of(provider, side.create(prompted(provider, marker)))
    assert code_of(provider, side.poll(task_id)) == NO_ANSWER[provider]
    assert seen(side.poll(task_id))[0] == 200


SUBMITS: Final = [submit for submit, _ in PATHS.values()]
LOOKED_AT: Final = (
    "/",
    "/nothing",
    "/a%20b?q=%2F&q=2&q",
    "/%E4%BD%A0",
    "/api/v1/me",
    "/api/v1/price_schedules?service=kling&action=text_to_video&model=kling-3.0",
    *BALANCES.values(),
    # Where EvoLink starts jobs, UniAll would look for a task of the name `generations`.
    *(submit for submit in SUBMITS if submit != PATHS["evolink"][0]),
)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Through a gateway whose callers bring their own keys."""
    yield from _both(tmp_path_factory.mktemp("own"), gateway=("--own-keys",))


def with_own_key(side: Side, method: str, path: str, content: bytes = b"") -> Reply:
    """Ask with the provider's key; through the gateway the token goes beside it."""
    token = [("X-Kling-Token", side.key)] if side.prefix else []
    return side.ask(method, path, content, *token, key=KEYS[side.provider])


@pytest.mark.parametrize("path", LOOKED_AT)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_looking_at_anything_passes_through(both: Both, provider: str, path: str):
    def conversation(side: Side) -> Iterator[Reply]:
        for method in ("GET", "HEAD", "OPTIONS"):
            yield side.ask(method, path)

    both.same(provider, conversation)


@pytest.mark.parametrize("path", [one for one in LOOKED_AT if one not in SUBMITS])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_starts_no_job_passes_through_with_a_key_of_the_callers_own(
    own: Both, provider: str, path: str
):
    def conversation(side: Side) -> Iterator[Reply]:
        for method in ("GET", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH", "POST"):
            yield with_own_key(side, method, path, b'{"a": 1}' if method[0] == "P" else b"")

    own.same(provider, conversation)


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
def test_a_published_request_is_answered_alike_with_a_key_of_the_callers_own(own: Both, file: Path):
    provider = file.stem.partition("_")[0]

    def conversation(side: Side) -> Iterator[Reply]:
        created = with_own_key(side, "POST", PATHS[provider][0], file.read_bytes())
        yield created
        side.finish()
        where = PATHS[provider][1].format(id=id_of(provider, created))
        yield with_own_key(side, "GET", where)

    own.same(provider, conversation)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_says_itself_that_a_callers_own_key_is_wrong(own: Both, provider: str):
    def conversation(side: Side) -> Iterator[Reply]:
        token = [("X-Kling-Token", side.key)] if side.prefix else []
        content = json.dumps(body(provider)).encode()
        yield side.ask("POST", PATHS[provider][0], content, *token, key="wrong")
        yield side.ask("GET", BALANCES.get(provider, "/v1/models"), b"", *token, key="wrong")

    own.same(provider, conversation)


PRICES: Final = {
    "runapi": (
        "/api/v1/price_quotes",
        {
            "service": "kling",
            "action": "text_to_video",
            "model": "kling-3.0",
            "params": {
                "prompt": "a lake",
                "duration_seconds": 5,
                "output_resolution": "1080p",
                "enable_sound": True,
            },
        },
    ),
    "crun": ("/api/v1/client/job/EstimateTask", body("crun")),
}


@pytest.mark.parametrize("provider", PRICES)
def test_an_estimate_passes_through_and_reserves_nothing(both: Both, provider: str):
    path, content = PRICES[provider]
    before = counts(both.database)

    def conversation(side: Side) -> Iterator[Reply]:
        yield side.ask("POST", path, json.dumps(content).encode())
        yield side.ask("POST", path, b'{"model": "nothing"}')
        yield side.ask("POST", path, b"not JSON")

    first, *_ = both.same(provider, conversation)
    assert first.status == 200
    assert counts(both.database) == before


def test_a_price_that_did_not_change_is_not_sent_again(both: Both):
    path = "/api/v1/price_schedules?service=kling&action=text_to_video&model=kling-3.0"

    def conversation(side: Side) -> Iterator[Reply]:
        first = side.ask("GET", path)
        yield first
        yield side.ask("GET", path, b"", ("If-None-Match", first.header("etag") or '"none"'))

    both.same("runapi", conversation)


@pytest.mark.parametrize("provider", BALANCES)
def test_a_balance_is_the_accounts_own(both: Both, provider: str):
    _, side = both.sides(provider)
    beside = Side(both.behind, both.behind.address, "", provider, KEYS[provider])
    asked = [one.ask("GET", BALANCES[provider]) for one in (side, beside)]
    assert asked[0].body == asked[1].body


def test_a_key_that_is_said_again_stands_for_the_same_task(both: Both):
    # RunAPI would add that it knows the key: the gateway does not ask it again.
    _, side = both.sides("runapi")
    key = ("Idempotency-Key", "once")
    first, second = (side.create(prompted("runapi", "said twice"), key) for _ in range(2))
    assert seen(first) == seen(second)
    assert id_of("runapi", first) == id_of("runapi", second)
    tasks = [one for one in truth(both.behind, "runapi")["tasks"] if "said twice" in one["prompt"]]
    assert len(tasks) == 1


def test_a_key_that_is_said_with_another_body_is_a_conflict(both: Both):
    _, side = both.sides("runapi")
    key = ("Idempotency-Key", "twice")
    side.create(prompted("runapi", "one"), key)
    before = counts(both.database)
    assert side.create(prompted("runapi", "another"), key).status == 409
    assert counts(both.database) == before


def test_the_name_of_a_clients_request_comes_back(both: Both):
    def conversation(side: Side) -> Iterator[Reply]:
        yield side.create(prompted("runapi", ""), ("X-Client-Request-Id", "shot 1"))

    [reply] = both.same("runapi", conversation)
    assert reply.header("x-client-request-id") == "shot 1"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Where RunAPI answers as its page shows, not as its client expects."""
    yield from _both(tmp_path_factory.mktemp("page"), "--reply", "page")


@pytest.mark.parametrize("marker", ["", "[fail]", "[refuse 429]", "[lose malformed]"])
def test_a_reply_as_runapis_page_shows_it_comes_through_and_is_understood(page: Both, marker: str):
    created, *_ = page.same("runapi", life("runapi", prompted("runapi", marker)))
    if not marker:
        assert set(created.json) == {"task_id", "status", "model"}
        name = created.header("x-kling-reservation")
        [found] = rows(page.database, f"SELECT task_id FROM reservation WHERE id = '{name}'")
        assert found["task_id"] == created.json["task_id"]


# --- what the gateway says itself ----------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_task_of_nobodys_is_said_to_be_unknown_as_its_provider_says_it(both: Both, provider: str):
    # By its own word, since the gateway's key may see tasks that are not the caller's.
    ours, theirs = (side.poll("nothing") for side in reversed(both.sides(provider)))
    assert code_of(provider, ours) == code_of(provider, theirs) == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_may_cost_and_is_not_metered_is_not_done_with_the_gateways_key(
    both: Both, provider: str, method: str
):
    _, side = both.sides(provider)
    before = truth(both.behind), counts(both.database)
    assert code_of(provider, side.ask(method, "/v1/other/jobs", b"{}")) in {400, 422}
    assert (truth(both.behind), counts(both.database)) == before


def test_a_body_that_says_a_key_twice_is_refused_here(both: Both):
    [file] = set(FILES) - set(VALID)
    ours, theirs = (side.create(file.read_bytes()) for side in reversed(both.sides("crun")))
    # Its provider takes the last of the two; which one it prices nobody knows.
    assert code_of("crun", ours) == 422
    assert ours.json["problem"]["code"] == "request"
    assert theirs.status == 200


# --- what the provider gets -----------------------------------------------------------------------

SPELT: Final = (
    rb'{"model":"kling-3.0","duration_seconds":5,"prompt":"\u4f60 \ud83d\ude00 a\/b"}',
    b'{ "prompt" : "caf\xc3\xa9",\n\t"duration_seconds": 5 ,"model":"kling-3.0" }\r\n',
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, Recorder, str]]:
    """A gateway in front of an upstream that writes down what it gets."""
    folder = tmp_path_factory.mktemp("recorded")
    database = str(folder / "ledger.sqlite")
    tokens = make_ledger(database)
    words = ("gateway", "--port", "0", "--no-estimate", "--poll-every", "3600", "--upstream")
    with recording() as upstream:
        log = folder / "gateway.log"
        with running(log, *words, upstream.url, **gateway_environ(database)) as gateway:
            yield gateway, upstream, tokens["runapi"]


@pytest.mark.parametrize("content", SPELT)
def test_a_provider_gets_what_the_client_asked_for_and_the_defaults_that_it_was_quoted_at(
    recorded: tuple[Program, Recorder, str], content: bytes
):
    gateway, upstream, token = recorded
    headers = [("Authorization", f"Bearer {token}"), ("Content-Type", "application/json")]
    path = "/runapi/api/v1/kling/text_to_video"
    upstream.raw.clear()
    assert ask(gateway.address, "POST", path, headers=headers, body=content).status == 200
    [sent] = [one for one in upstream.raw if one.startswith(b"POST /api/v1/kling/text_to_video")]
    received = json.loads(sent.partition(b"\r\n\r\n")[2])
    assert received == {**json.loads(content), "enable_sound": False}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_provider_gets_what_is_meant_for_the_gateway(
    recorded: tuple[Program, Recorder, str], method: str
):
    gateway, upstream, token = recorded
    headers = [
        ("Authorization", f"Bearer {token}"),
        ("X-Kling-Project", "film/teaser"),
        ("X-Kling-Labels", "a=b"),
        ("X-Kling-Run", "run-1"),
        ("Proxy-Authorization", "Basic c2VjcmV0"),
        ("Connection", "x-hop"),
        ("X-Hop", "no further"),
        ("Cookie", "kling=secret"),
        ("User-Agent", "a client of somebody's"),
    ]
    path = "/runapi/api/v1/kling/text_to_video" if method == "POST" else "/runapi/api/v1/me/balance"
    content = prompted("runapi", "") if method == "POST" else b""
    upstream.raw.clear()
    reply = ask(gateway.address, method, path, headers=headers, body=content)
    sent = b"\n".join(upstream.raw)
    assert sent, reply
    assert token.encode() not in sent
    assert b"klt_" not in sent
    lowered = sent.lower()
    for word in (b"x-kling", b"proxy-authorization", b"x-hop", b"film/teaser"):
        assert word not in lowered
    assert f"Bearer {KEYS['runapi']}".encode() in sent


def test_no_client_gets_the_gateways_key(both: Both):
    for provider in PROVIDERS:
        _, side = both.sides(provider)
        replies = [
            side.create(prompted(provider, "")),
            side.poll("nothing"),
            side.ask("GET", "/nothing"),
            side.ask("POST", "/nothing"),
            side.create(b"nothing"),
        ]
        for reply in replies:
            assert KEYS[provider] not in f"{reply.headers} {reply.body!r}"
    said = both.gateway.said
    assert "Traceback" not in said
    assert not [one for one in (*KEYS.values(), *both.tokens.values()) if one in said]
