"""The sandbox speaks RunAPI: through RunAPI's own client, and beneath what that client hides."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from runapi.core import (
    AuthenticationError,
    ConflictError,
    InsufficientCreditsError,
    PollingOptions,
    RateLimitError,
    RequestOptions,
    ServerError,
    TaskFailedError,
    ValidationError,
)
from runapi.core.polling import poll_until_complete
from runapi.core.pricing import PricingClient
from runapi.kling import KlingClient

from kling_ledger.errors import ConfigError
from kling_ledger.sandbox import Sandbox, SandboxSettings
from kling_ledger.sandbox.runapi.tariff import JULY
from kling_pricing import Money

CREATE = "/api/v1/kling/text_to_video"
SCHEDULES = "/api/v1/price_schedules"
KEY = "sandbox-key"
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class Clock:
    """The seconds that jobs take, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Rig:
    """A sandbox whose time stands still, and the two ways to talk to it."""

    def __init__(self, settings: SandboxSettings | None = None) -> None:
        self.clock = Clock()
        self.sandbox = Sandbox(settings, clock=self.clock, now=lambda: AT).start()
        self.http = httpx.Client(
            base_url=self.sandbox.url, headers={"Authorization": f"Bearer {KEY}"}
        )
        self.client = KlingClient(api_key=KEY, base_url=self.sandbox.url, max_retries=0)

    def close(self) -> None:
        self.client._http.close()
        self.http.close()
        self.sandbox.close()

    def create(self, prompt: str = "a lake", **changes: object) -> httpx.Response:
        return self.http.post(CREATE, json=body(prompt, **changes))

    def status(self, task_id: str) -> dict[str, object]:
        reply: dict[str, object] = self.http.get(f"{CREATE}/{task_id}").json()
        return reply

    def balance_cents(self) -> object:
        return self.client.account.balance().balance_cents


def body(prompt: str = "a lake", **changes: object) -> dict[str, Any]:
    """Five seconds of 1080p with sound: 0.135 USD a second, 0.675 USD together."""
    usual = {
        "model": "kling-3.0",
        "prompt": prompt,
        "duration_seconds": 5,
        "output_resolution": "1080p",
        "enable_sound": True,
    }
    return {**usual, **changes}


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


@pytest.fixture
def page() -> Iterator[Rig]:
    rig = Rig(SandboxSettings(create_reply="page"))
    yield rig
    rig.close()


@pytest.fixture
def poor() -> Iterator[Rig]:
    """An account that pays for one clip of 0.675 USD and not for two."""
    rig = Rig(SandboxSettings(balance=Money(Decimal("1.349999"), "USD")))
    yield rig
    rig.close()


def error_of(reply: httpx.Response) -> tuple[int, str]:
    assert reply.json()["error"]["message"]
    assert reply.headers["X-Request-Id"]
    return reply.status_code, reply.json()["error"]["code"]


# A job's life


def test_a_job_is_pending_then_processing_then_completed(rig: Rig) -> None:
    task_id = rig.client.text_to_video.create(**body()).id
    seen = []
    for elapsed_s in (0, 0.49, 0.5, 1.99, 2.0, 3600):
        rig.clock.now_s = 1000 + elapsed_s
        seen.append(rig.client.text_to_video.get(task_id).status)
    assert seen == ["pending"] * 2 + ["processing"] * 2 + ["completed"] * 2


def test_usage_cost_appears_only_when_the_job_is_completed(rig: Rig) -> None:
    created = rig.create().json()
    assert set(created) == {"id", "status"}
    assert set(rig.status(created["id"])) == {"id", "status"}
    rig.clock.now_s += 2
    assert rig.status(created["id"])["usage"] == {"cost": 0.675}


def test_the_real_client_runs_a_job_to_its_end() -> None:
    with Sandbox(SandboxSettings(job_s=0.05)) as sandbox:
        client = KlingClient(api_key=KEY, base_url=sandbox.url)
        task = client.text_to_video.create(**body())
        done = poll_until_complete(
            lambda: client.text_to_video.get(task.id),
            PollingOptions(poll_interval=0.02, max_wait=10),  # type: ignore[arg-type]
        )
        client._http.close()
    assert done.status == "completed"
    assert done.usage.cost == 0.675
    assert done.runapi_task_id == task.id


def test_the_link_of_a_completed_job_leads_to_a_file_that_needs_no_key(rig: Rig) -> None:
    task_id = rig.create().json()["id"]
    assert rig.http.get(f"/files/{task_id}.mp4").status_code == 404
    rig.clock.now_s += 2
    link = rig.client.text_to_video.get(task_id).videos[0].url
    reply = httpx.get(link)
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "video/mp4")
    assert reply.content[4:8] == b"ftyp"


def test_a_failed_job_has_an_error_and_no_usage_and_is_not_charged(rig: Rig) -> None:
    task_id = rig.create("a lake [fail]").json()["id"]
    rig.clock.now_s += 2
    assert set(rig.status(task_id)) == {"id", "status", "error"}
    with pytest.raises(TaskFailedError, match=r"\[fail\]"):
        poll_until_complete(lambda: rig.client.text_to_video.get(task_id))
    assert rig.balance_cents() == 10_000


def test_a_job_takes_as_long_as_its_prompt_says(rig: Rig) -> None:
    task_id = rig.create("a lake [takes 7.5]").json()["id"]
    rig.clock.now_s += 7.4
    assert rig.status(task_id)["status"] == "processing"
    rig.clock.now_s += 0.1
    assert rig.status(task_id)["status"] == "completed"


def test_a_job_that_takes_no_time_is_still_created_as_pending(rig: Rig) -> None:
    created = rig.create("a lake [takes 0]").json()
    assert created["status"] == "pending"
    assert rig.status(created["id"])["status"] == "completed"


def test_a_job_that_never_ends_stays_in_progress_and_keeps_its_reservation(rig: Rig) -> None:
    task_id = rig.create("a lake [never]").json()["id"]
    rig.clock.now_s += 10**9
    assert rig.status(task_id)["status"] == "processing"
    assert rig.sandbox.runapi.account().reserved == Money(Decimal("0.675"), "USD")


def test_a_job_is_charged_what_its_prompt_says(rig: Rig) -> None:
    task_id = rig.create("a lake [cost 0.8]").json()["id"]
    rig.clock.now_s += 2
    assert rig.status(task_id)["usage"] == {"cost": 0.8}
    assert rig.balance_cents() == 9_920


def test_two_creates_without_a_key_are_two_jobs(rig: Rig) -> None:
    assert rig.create().json()["id"] != rig.create().json()["id"]
    assert len(rig.sandbox.runapi.jobs()) == 2


# Both create replies


def test_the_reply_of_the_page_names_a_task_id_that_polls(page: Rig) -> None:
    created = page.create().json()
    assert set(created) == {"task_id", "status", "model"}
    assert created["task_id"].startswith("tsk_")
    status = page.status(created["task_id"])
    assert status["id"] == status["task_id"] == created["task_id"]


def test_the_client_cannot_read_the_reply_of_the_page(page: Rig) -> None:
    with pytest.raises(ValidationError, match="id is required"):
        page.client.text_to_video.create(**body())


# Refusals


@pytest.mark.parametrize("scheme", ["", "Bearer wrong", f"Basic {KEY}", "Bearer", f"Bearer {KEY}x"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", CREATE),
        ("GET", f"{CREATE}/any"),
        ("GET", "/api/v1/me"),
        ("GET", "/api/v1/me/balance"),
        ("POST", "/api/v1/price_quotes"),
    ],
)
def test_nothing_but_the_schedule_is_told_without_the_key(
    shared: Rig, method: str, path: str, scheme: str
) -> None:
    reply = httpx.request(
        method, shared.sandbox.url + path, headers={"Authorization": scheme}, json=body()
    )
    assert error_of(reply) == (401, "authentication")


@pytest.fixture(scope="module")
def shared() -> Iterator[Rig]:
    """One sandbox for the tests that change nothing in it."""
    rig = Rig()
    yield rig
    rig.close()
    assert rig.sandbox.runapi.jobs() == ()


def test_the_client_reads_a_refused_key_as_its_own_error(shared: Rig) -> None:
    client = KlingClient(api_key="wrong", base_url=shared.sandbox.url)
    with pytest.raises(AuthenticationError) as caught:
        client.text_to_video.create(**body())
    client._http.close()
    assert caught.value.request_id


@pytest.mark.parametrize(
    "changes",
    [
        {"duration_seconds": 2},
        {"duration_seconds": 16},
        {"duration_seconds": "5"},
        {"output_resolution": "480p"},
        {"prompt": None},
        {"model": None},
        {"made_up": 1},
        {"prompt": "half an emoji \ud83d", "aspect_ratio": "\ud83d"},
    ],
)
def test_a_body_that_runapi_does_not_document_is_refused(
    shared: Rig, changes: dict[str, Any]
) -> None:
    # Written by the standard library: httpx cannot send half an emoji.
    content = json.dumps(body(**changes)).encode()
    assert error_of(shared.http.post(CREATE, content=content)) == (
        422,
        "validation",
    )


def test_a_model_without_a_price_is_not_available(shared: Rig) -> None:
    assert error_of(shared.create(model="kling-9")) == (422, "model_not_available")
    reply = shared.http.post("/api/v1/kling/image_to_video", json=body())
    assert error_of(reply) == (422, "model_not_available")


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"", b'{"a": NaN}', b"\xff", b'{"model": 1, "model": 2}']
)
def test_a_body_that_is_no_json_object_is_a_bad_request(shared: Rig, content: bytes) -> None:
    assert error_of(shared.http.post(CREATE, content=content)) == (400, "validation")


def test_an_unknown_task_action_or_address_is_not_found(shared: Rig) -> None:
    assert error_of(shared.http.get(f"{CREATE}/unknown")) == (404, "not_found")
    assert error_of(shared.http.post("/api/v1/kling/dance", json=body())) == (404, "not_found")
    assert error_of(shared.http.get("/api/v2")) == (404, "not_found")
    assert error_of(shared.http.delete(CREATE)) == (405, "method_not_allowed")


def test_a_task_is_found_under_its_own_action_only(rig: Rig) -> None:
    task_id = rig.create().json()["id"]
    reply = rig.http.get(f"/api/v1/kling/image_to_video/{task_id}")
    assert error_of(reply) == (404, "not_found")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (402, "insufficient_credits"),
        (418, "refused"),
        (429, "rate_limit"),
        (500, "server"),
        (503, "service_unavailable"),
        (599, "server"),
    ],
)
def test_a_prompt_that_asks_to_be_refused_is_refused_and_makes_no_job(
    shared: Rig, status: int, code: str
) -> None:
    reply = shared.create(f"a lake [refuse {status}]")
    assert error_of(reply) == (status, code)
    assert reply.headers.get("Retry-After") == ("1" if status == 429 else None)


def test_the_client_reads_the_refusals_as_its_own_errors(shared: Rig) -> None:
    with pytest.raises(RateLimitError) as caught:
        shared.client.text_to_video.create(**body("[refuse 429]"))
    assert caught.value.retry_after == 1
    with pytest.raises(ServerError):
        shared.client.text_to_video.create(**body("[refuse 500]"))


# The account


def test_an_account_pays_for_what_it_holds_and_not_for_a_millionth_more(poor: Rig) -> None:
    assert poor.create().status_code == 200
    with pytest.raises(InsufficientCreditsError):
        poor.client.text_to_video.create(**body())


def test_an_account_that_holds_exactly_the_cost_pays_it() -> None:
    rig = Rig(SandboxSettings(balance=Money(Decimal("0.675"), "USD")))
    try:
        assert rig.create().status_code == 200
    finally:
        rig.close()


def test_a_failed_job_gives_back_what_it_reserved(poor: Rig) -> None:
    poor.create("[fail]")
    assert error_of(poor.create()) == (402, "insufficient_credits")
    poor.clock.now_s += 2
    assert poor.create().status_code == 200


def test_creates_at_the_same_time_never_spend_the_account_twice() -> None:
    rig = Rig(SandboxSettings(balance=Money(Decimal("6.75"), "USD")))
    try:
        with ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(lambda _: rig.create().status_code, range(40)))
    finally:
        rig.close()
    assert sorted(statuses) == [200] * 10 + [402] * 30


def test_the_balance_is_charged_when_a_job_completes_and_not_before(rig: Rig) -> None:
    rig.create()
    before = rig.client.account.balance()
    rig.clock.now_s += 2
    after = rig.client.account.balance()
    assert (before.balance_cents, before.spent_cents_total) == (10_000, 0)
    assert (after.balance_cents, after.paid_balance_cents) == (9932.5, 9932.5)
    assert (after.spent_cents_today, after.spent_cents_total) == (67.5, 67.5)


def test_the_account_has_a_name(shared: Rig) -> None:
    info = shared.client.account.info()
    assert (info.id, info.name, info.account.name) == (1, "Sandbox", "Sandbox")


# Keys and ids that the caller brings


def keyed(key: str) -> RequestOptions:
    return RequestOptions(headers={"Idempotency-Key": key})


def test_the_same_key_and_content_is_the_same_task_and_says_so(rig: Rig) -> None:
    first = rig.client.text_to_video.create(options=keyed("one"), **body())
    rig.clock.now_s += 1
    again = rig.client.text_to_video.create(options=keyed("one"), **dict(reversed(body().items())))
    assert first.to_dict() == {"id": first.id, "status": "pending"}
    assert again.to_dict() == {"id": first.id, "status": "processing", "task_replayed": True}
    assert len(rig.sandbox.runapi.jobs()) == 1


def test_the_same_key_with_other_content_is_a_conflict(rig: Rig) -> None:
    rig.client.text_to_video.create(options=keyed("one"), **body())
    with pytest.raises(ConflictError):
        rig.client.text_to_video.create(options=keyed("one"), **body("another lake"))
    assert len(rig.sandbox.runapi.jobs()) == 1


def test_a_known_key_is_answered_even_when_the_account_is_empty(poor: Rig) -> None:
    first = poor.client.text_to_video.create(options=keyed("one"), **body())
    again = poor.client.text_to_video.create(options=keyed("one"), **body())
    assert again.id == first.id


def test_a_refused_create_does_not_use_up_its_key(poor: Rig) -> None:
    poor.create("[fail]")
    reply = poor.http.post(CREATE, json=body(), headers={"Idempotency-Key": "one"})
    assert error_of(reply) == (402, "insufficient_credits")
    poor.clock.now_s += 2
    other = body("another lake")
    assert poor.http.post(CREATE, json=other, headers={"Idempotency-Key": "one"}).is_success


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-Client-Request-Id"])
def test_a_key_or_id_may_be_512_characters_long_and_no_longer(rig: Rig, header: str) -> None:
    for length, status in ((512, 200), (513, 400)):
        reply = rig.http.post(CREATE, json=body(), headers={header: "k" * length})
        assert reply.status_code == status


def test_the_clients_request_id_is_stored_and_echoed(rig: Rig) -> None:
    reply = rig.http.post(CREATE, json=body(), headers={"X-Client-Request-Id": "order-1"})
    assert reply.headers["X-Client-Request-Id"] == "order-1"
    assert rig.sandbox.runapi.jobs()[0].order.client_request_id == "order-1"
    poll = rig.http.get(f"{CREATE}/{reply.json()['id']}")
    assert poll.headers["X-Client-Request-Id"] == "order-1"
    assert poll.headers["X-RunAPI-Task-Id"] == reply.json()["id"]


def test_the_clients_request_id_is_echoed_on_errors(shared: Rig) -> None:
    reply = httpx.post(shared.sandbox.url + CREATE, headers={"X-Client-Request-Id": "order-1"})
    assert reply.status_code == 401
    assert reply.headers["X-Client-Request-Id"] == "order-1"


# Prices


def test_the_schedule_is_public_and_lists_the_bundled_book_in_cents(shared: Rig) -> None:
    pricing = PricingClient(base_url=shared.sandbox.url)
    listed = pricing.list_schedules("kling", "text_to_video", "kling-3.0")
    assert listed is not None
    [row] = listed.price_schedules
    pricing._http.close()
    assert (row.action, row.currency, row.unit_price_cents) == ("text_to_video", "USD", 33.5)
    assert row.billing_config.to_dict() == {
        "keys": ["enable_sound", "output_resolution"],
        "matrix": {
            "false": {"720p": 7, "1080p": 9, "4k": 33.5},
            "true": {"720p": 10, "1080p": 13.5, "4k": 33.5},
        },
    }


@pytest.mark.parametrize("query", ["service=suno", "action=dance", "model=kling-9", "model="])
def test_a_schedule_that_nothing_agrees_with_is_empty(shared: Rig, query: str) -> None:
    assert httpx.get(f"{shared.sandbox.url}{SCHEDULES}?{query}").json()["price_schedules"] == []


@pytest.mark.parametrize("header", ["{tag}", '"other", {tag}', "*", "{strong}"])
def test_a_schedule_that_the_caller_holds_already_is_not_sent_again(
    shared: Rig, header: str
) -> None:
    tag = shared.http.get(SCHEDULES).headers["ETag"]
    held = header.format(tag=tag, strong=tag.removeprefix("W/"))
    reply = shared.http.get(SCHEDULES, headers={"If-None-Match": held})
    assert (reply.status_code, reply.content, reply.headers["ETag"]) == (304, b"", tag)


@pytest.mark.parametrize("header", ["", '"other"'])
def test_a_schedule_that_the_caller_does_not_hold_is_sent(shared: Rig, header: str) -> None:
    reply = shared.http.get(SCHEDULES, headers={"If-None-Match": header})
    assert reply.status_code == 200
    assert reply.json()["as_of"] == "2026-11-20T12:00:00.000000Z"


def test_a_price_quote_says_what_would_be_reserved_and_makes_no_job(shared: Rig) -> None:
    params = {"duration_seconds": 5, "output_resolution": "1080p", "enable_sound": True}
    quoted = shared.client.pricing.create_quote(
        "kling", "text_to_video", model="kling-3.0", params=params
    ).price_quote
    assert (quoted.reservation_amount_cents, quoted.estimate_basis) == (67.5, "exact")
    assert (quoted.model, quoted.currency) == ("kling-3.0", "USD")


def test_the_list_of_july_can_be_charged_instead_and_is_twice_as_dear() -> None:
    rig = Rig(SandboxSettings(prices={"runapi": JULY.prices}))
    try:
        task_id = rig.create().json()["id"]
        rig.clock.now_s += 2
        assert rig.status(task_id)["usage"] == {"cost": 1.35}
        rows = rig.http.get(f"{SCHEDULES}?model=kling-v2.6&action=text_to_video").json()
    finally:
        rig.close()
    assert rows["price_schedules"][0]["billing_config"] == {
        "keys": ["mode", "enable_sound"],
        "matrix": {"std": {"false": 12}, "pro": {"false": 20, "true": 40}},
    }


def test_a_price_quote_needs_no_more_than_a_create_does(shared: Rig) -> None:
    # The package's own example creates a clip with a model and a prompt, and nothing else.
    asked = {"service": "kling", "action": "text_to_video", "model": "kling-3.0"}
    quoted = shared.http.post("/api/v1/price_quotes", json=asked).json()["price_quote"]
    assert quoted["reservation_amount_cents"] == 35


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"service": "suno"}, "validation"),
        ({"action": "dance"}, "validation"),
        ({"action": ["text_to_video"]}, "validation"),
        ({"params": []}, "validation"),
        ({"params": [1]}, "validation"),
        ({"model": None}, "validation"),
        ({"model": "kling-9"}, "model_not_available"),
    ],
)
def test_a_price_quote_that_cannot_be_made_says_why(
    shared: Rig, changes: dict[str, object], code: str
) -> None:
    asked = {"service": "kling", "action": "text_to_video", "model": "kling-3.0", **changes}
    assert error_of(shared.http.post("/api/v1/price_quotes", json=asked)) == (422, code)


# The server


def test_a_closed_sandbox_leaves_no_thread_and_no_listener() -> None:
    before = threading.active_count()
    with Sandbox() as sandbox:
        address = sandbox.url
        assert httpx.get(address + SCHEDULES).status_code == 200
    assert threading.active_count() == before
    with pytest.raises(httpx.ConnectError):
        httpx.get(address + SCHEDULES)


def test_a_sandbox_closes_while_a_client_keeps_its_connection() -> None:
    with Sandbox() as sandbox, httpx.Client(base_url=sandbox.url) as http:
        assert http.get(SCHEDULES).status_code == 200
        sandbox.close()
        with pytest.raises(httpx.TransportError):
            http.get(SCHEDULES)


def test_two_sandboxes_run_side_by_side() -> None:
    with Sandbox() as one, Sandbox() as other:
        assert one.url != other.url


def test_a_taken_port_is_an_error_that_names_the_next_step() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}") as caught:
            Sandbox(port=port).start()
    assert "another port" in str(caught.value.hint)


@pytest.mark.parametrize("host", ["no such host", "203.0.113.7"])
def test_an_address_that_is_not_ours_is_an_error(host: str) -> None:
    with pytest.raises(ConfigError, match="cannot listen"):
        Sandbox(host=host).start()


def test_a_sandbox_that_is_not_started_has_no_address() -> None:
    with pytest.raises(RuntimeError):
        _ = Sandbox().url


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": ""},
        {"api_key": "two words"},
        {"job_s": -0.1},
        {"job_s": float("nan")},
        {"job_s": float("inf")},
        {"balance": Money(Decimal("-0.000001"), "USD")},
        {"balance": Money(Decimal(1), "CNY")},
        {"create_reply": "fax"},
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        SandboxSettings(**settings)  # type: ignore[arg-type]
    assert caught.value.hint
