"""Callbacks through the gateway: jobs are settled by them, and clients hear what they would have.

The sandbox posts to the gateway, and the gateway to a client's own server: all over real HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from kling_ledger import Ledger
from kling_ledger.callbacks.signatures import verify
from kling_ledger.config import utc_now
from kling_ledger.gateway.callbacks import rewritten
from kling_ledger.gateway.events import Kind
from kling_ledger.gateway.server import Gateway
from kling_ledger.ledger import Reservation, State
from kling_ledger.providers.callback_rules import is_loopback
from kling_ledger.sandbox import Sandbox, SandboxSettings
from kling_ledger.sandbox.jobs import Job
from kling_pricing import Money
from kling_pricing.errors import RequestError
from tests.callbacks import SECRET, signed, task
from tests.client_server import ClientServer, client_server
from tests.gateways import BODIES, Running, running
from tests.ledgers import transfers
from tests.loopback import answering
from tests.waiting import until

PUBLIC = "https://gateway.example.com"
UNITS = {"runapi": "USD", "crun": "crun-credit", "evolink": "evolink-credit"}
CALLED = tuple(UNITS)
"""The providers that document callbacks."""

every_provider = pytest.mark.parametrize("provider", CALLED)


@dataclass
class Rig:
    """A gateway, a sandbox that posts to it, and a client's server; one wallet for each unit."""

    running: Running
    ledger: Ledger
    client: ClientServer
    tokens: dict[str, str]

    def post(self, provider: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        """Send a body as who may spend from the wallet of the provider's unit."""
        return self.running.post(provider, body, x_kling_token=self.tokens[provider], **headers)

    def submitted(
        self, provider: str, prompt: str = "a lake", *, url: str | None = None
    ) -> Reservation:
        """Submit a job as a client does that wants to be called and goes away."""
        body = {**BODIES[provider], "callback_url": url or f"{self.client.url}/hook?token=s3cret"}
        inner = body.get("input", body)
        body = {**body, "input": {**inner, "prompt": prompt}} if "input" in body else body
        body = body if "input" in body else {**body, "prompt": prompt}
        reply = self.post(provider, body)
        assert reply.status_code == 200, reply.text
        return self.ledger.reservations.get(reply.headers["x-kling-reservation"])

    def job(self, found: Reservation) -> Job:
        """The sandbox's own record of a job."""
        store = self.running.sandbox.stores[found.job.provider or ""]
        job = store.find(found.task_id or "")
        assert job is not None
        return job

    def called(self, found: Reservation, times: int = 1) -> list[str]:
        """Wait until a job's callbacks were answered so many times; return the answers."""
        job = self.job(found)
        until(lambda: len(job.deliveries) >= times)
        return [delivery.outcome for delivery in job.deliveries]

    def posts(self, times: int = 1) -> list[dict[str, Any]]:
        """Wait until the client's server was called so many times; return what it was told."""
        until(lambda: len(self.client.posts) >= times)
        return [json.loads(post.content) for post in self.client.posts]

    def ended(self, found: Reservation) -> Reservation:
        until(lambda: not self.ledger.reservations.get(found.id).is_open)
        return self.ledger.reservations.get(found.id)


@contextmanager
def rigged(
    ledger: Ledger,
    *statuses: int,
    poll_every_s: float = 60.0,
    settings: dict[str, Any] | None = None,
    **more: Any,
) -> Iterator[Rig]:
    """Run all three; unless `poll_every_s` is short, only callbacks settle jobs."""
    tokens = {name: token_of(ledger, name) for name in CALLED}
    quick = {"job_s": 0.1, "callback_retries_s": (0.05, 0.05, 0.05), "hang_s": 1.0}
    # The gateway's address is known once it listens: until then nobody is to be called.
    with answering((200, {})) as front, client_server(*statuses) as client:
        chosen = SandboxSettings(callbacks_to=front.url, **{**quick, **(settings or {})})
        with Sandbox(chosen) as sandbox:
            given = {"poll_every_s": poll_every_s, "public_url": PUBLIC, **more}
            with running(ledger, sandbox, wallet=None, has_keys=True, **given) as gateway:
                lead_to(sandbox, gateway.gateway.url)
                yield Rig(gateway, ledger, client, tokens)
    assert ledger.verify().findings == ()


def token_of(ledger: Ledger, provider: str) -> str:
    """Make a wallet in a provider's unit, and a token that spends from it."""
    unit = UNITS[provider]
    ledger.wallets.create(unit, unit)
    ledger.wallets.fund(unit, Money.parse(f"10000 {unit}"))
    return ledger.tokens.create(provider, wallet=unit)[1]


def lead_to(sandbox: Sandbox, url: str) -> None:
    """Have the sandbox post to an address, at the path that the job names."""
    object.__setattr__(sandbox.settings, "callbacks_to", url)


# --- a client that submits and goes away ----------------------------------------------------


@every_provider
def test_a_client_that_goes_away_is_called_and_its_job_is_settled(ledger: Ledger, provider: str):
    with rigged(ledger) as rig:
        found = rig.submitted(provider)
        assert rig.ended(found).state is State.COMMITTED
        assert rig.called(found) == ["200"]
        (told,) = rig.posts()
        assert told["task_id" if provider == "crun" else "id"] == found.task_id
        assert rig.client.posts[0].path == "/hook?token=s3cret"
        # The provider was given the gateway's address, and never the client's.
        url = rig.job(found).order.callback_url or ""
        assert f"/callbacks/{provider}/" in url
        assert "s3cret" not in json.dumps(rig.job(found).order.body)
        assert [one.kind for one in rig.running.told] == [Kind.SUBMIT, Kind.CALLBACK]
        assert rig.running.told[1].reservation_id == found.id


@every_provider
def test_the_same_bytes_and_signature_reach_the_client(ledger: Ledger, provider: str):
    with rigged(ledger, settings={"webhook_secret": SECRET}) as rig:
        rig.ended(rig.submitted(provider))
        rig.posts()
    (post,) = rig.client.posts
    headers = {name.lower(): text for name, text in post.headers.items()}
    assert verify([SECRET], headers, post.content, now=utc_now()).startswith("msg_")
    assert headers["content-type"] == "application/json"


def test_a_failure_reaches_the_client_too(ledger: Ledger):
    with rigged(ledger) as rig:
        found = rig.submitted("runapi", "a lake [fail moderation]")
        assert rig.ended(found).state is State.ROLLED_BACK
        assert rig.posts()[0]["status"] == "failed"


@every_provider
def test_callbacks_twice_have_one_effect_and_come_twice(ledger: Ledger, provider: str):
    with rigged(ledger) as rig:
        found = rig.submitted(provider, "a lake [callback twice]")
        assert rig.called(found, 2) == ["200", "200"]
        assert len(rig.posts(2)) == 2
        assert rig.ended(found).state is State.COMMITTED
    assert len([line for line in transfers(ledger) if line.startswith("commit")]) == 1


@every_provider
def test_callbacks_out_of_order_have_one_effect_and_come_as_they_came(
    ledger: Ledger, provider: str
):
    with rigged(ledger) as rig:
        found = rig.submitted(provider, "a lake [callback reordered]")
        rig.called(found, 2)
        words = [told["status"] for told in rig.posts(2)]
        assert rig.ended(found).state is State.COMMITTED
    assert words == [{"crun": "success"}.get(provider, "completed"), words[1]]
    assert words[1] in {"processing", "running"}
    assert len([line for line in transfers(ledger) if line.startswith("commit")]) == 1


def test_a_job_that_was_settled_before_is_still_told_of(ledger: Ledger):
    with rigged(ledger) as rig:
        found = rig.submitted("crun", "a lake [callback never]")
        rig.running.sandbox.finish()
        path = f"/api/v1/client/job/TaskInfo?task_id={found.task_id}"
        rig.running.get("crun", path, x_kling_token=rig.tokens["crun"])
        assert rig.ended(found).state is State.COMMITTED
        url = rig.job(found).order.callback_url or ""
        told = task("crun", found.task_id, "success")
        assert httpx.post(url, json=told).status_code == 200
        assert rig.posts() == [told]


def test_without_a_callback_the_gateway_asks_for_the_job(ledger: Ledger):
    with rigged(ledger, poll_every_s=0.05) as rig:
        found = rig.submitted("runapi", "a lake [callback never]")
        assert rig.ended(found).state is State.COMMITTED
    assert rig.client.posts == []


# --- the client's server --------------------------------------------------------------------


def test_the_provider_tries_again_until_the_clients_server_has_taken_it(ledger: Ledger):
    with rigged(ledger, 500, 503, 204) as rig:
        found = rig.submitted("evolink")
        assert rig.called(found, 3) == ["502", "502", "204"]
        assert len(rig.posts(3)) == 3
        assert rig.ended(found).state is State.COMMITTED
        assert rig.job(found).polls == 1


@pytest.mark.parametrize("status", [301, 400, 404, 410])
def test_what_is_no_success_is_none_to_the_provider(ledger: Ledger, status: int):
    with rigged(ledger, status, settings={"callback_retries_s": ()}) as rig:
        found = rig.submitted("runapi")
        assert rig.called(found) == ["502"]
        assert rig.ended(found).state is State.COMMITTED


def test_nothing_is_lost_while_the_clients_server_is_down(ledger: Ledger):
    with client_server() as gone:
        url = f"{gone.url}/hook"
    with rigged(ledger) as rig:
        found = rig.submitted("evolink", url=url)
        assert rig.called(found, 4) == ["503"] * 4
        assert rig.ended(found).state is State.COMMITTED


def test_a_clients_server_that_hangs_keeps_no_job_from_being_settled(ledger: Ledger):
    with rigged(ledger) as rig:
        rig.client.hangs = True
        jobs = [rig.submitted("runapi", f"job {number}") for number in range(12)]
        assert {rig.ended(one).state for one in jobs} == {State.COMMITTED}
        # Those beyond the first eight were told to come again; nobody was told that it is done.
        assert [
            one for job in jobs for one in rig.job(job).deliveries if one.outcome == "200"
        ] == []
        rig.client.free.set()


def test_a_provider_that_cannot_be_asked_keeps_no_client_from_being_called(ledger: Ledger):
    with rigged(ledger, settings={"hang_s": 4}) as rig:
        found = rig.submitted("runapi", "a lake [poll hang 9]")
        assert rig.called(found) == ["200"]
        assert rig.posts()[0]["id"] == found.task_id
        assert ledger.reservations.get(found.id).state is State.SUBMITTED


# --- who may post, and where to -------------------------------------------------------------


def test_only_the_address_that_the_provider_was_given_has_anything_passed_on(ledger: Ledger):
    with rigged(ledger) as rig:
        found = rig.submitted("runapi", "a lake [takes 60] [callback never]")
        url = rig.job(found).order.callback_url or ""
        told = task("runapi", found.task_id, "completed")
        base, _, proof = url.rpartition("/")
        for other in (base, f"{base}/{'0' * 32}", f"{base}/{proof[:-1]}", f"{base}/é"):
            reply = httpx.post(other, json=told)
            assert reply.status_code in {202, 503}
        assert rig.client.posts == []
        assert ledger.reservations.get(found.id).state is State.SUBMITTED
        httpx.post(url, json=told)
        assert len(rig.posts()) == 1


def test_whose_proof_it_is_makes_a_difference(ledger: Ledger):
    with rigged(ledger) as rig, client_server() as other:
        one = rig.submitted("runapi", "a lake [takes 60] [callback never]")
        two = rig.submitted("runapi", "a lake [takes 60] [callback never]", url=f"{other.url}/h")
        url = rig.job(two).order.callback_url or ""
        httpx.post(url, json=task("runapi", one.task_id, "completed"))
        assert (rig.client.posts, other.posts) == ([], [])


@pytest.mark.parametrize(
    ("content", "status"), [(b"no json", 400), (b"{}", 400), (b"x" * 2_000_000, 413)]
)
def test_what_is_no_callback_is_not_passed_on(ledger: Ledger, content: bytes, status: int):
    with rigged(ledger) as rig:
        found = rig.submitted("crun", "a lake [takes 60] [callback never]")
        reply = httpx.post(rig.job(found).order.callback_url or "", content=content)
        assert reply.status_code == status
        assert rig.client.posts == []
        assert httpx.post(f"{rig.running.gateway.url}/callbacks/nobody", json={}).status_code == 404


SECRET_HEADERS = {
    "Authorization": "Bearer key",
    "Cookie": "a=b",
    "X-Forwarded-For": "10.0.0.1",
    "Connection": "X-Hop",
    "X-Hop": "1",
}


def test_headers_about_the_way_to_us_stay_here(ledger: Ledger):
    with rigged(ledger) as rig:
        found = rig.submitted("runapi", "a lake [takes 60] [callback never]")
        url = rig.job(found).order.callback_url or ""
        content = json.dumps(task("runapi", found.task_id, "completed")).encode()
        sent = {**SECRET_HEADERS, **signed(content, SECRET), "X-Provider-Signature": "abc"}
        httpx.post(url, content=content, headers=sent)
        rig.posts()
    told = {name.lower(): text for name, text in rig.client.posts[0].headers.items()}
    assert not set(told) & {"authorization", "cookie", "x-forwarded-for", "x-hop"}
    assert told["x-provider-signature"] == "abc"
    assert {"webhook-id", "webhook-timestamp", "webhook-signature"} <= set(told)


@every_provider
@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/?token=s3cret",
        "https://10.0.0.1/hook?token=s3cret",
        "https://[::ffff:10.0.0.1]/hook?token=s3cret",
        "https://user:s3cret@example.com/hook",
        "https://example.com:25/hook?token=s3cret",
        "ftp://127.0.0.1/hook",
        "hook",
    ],
)
def test_an_address_that_would_not_be_called_is_refused_before_anything_is_sent(
    ledger: Ledger, provider: str, url: str
):
    with rigged(ledger) as rig:
        reply = rig.post(provider, {**BODIES[provider], "callback_url": url})
        # Crun says so inside an answer that is a success to HTTP.
        told = reply.json()
        assert told["code"] >= 400 if provider == "crun" else reply.status_code in {400, 422}
        assert "callback_url" in reply.text
        assert "s3cret" not in reply.text
        assert all("s3cret" not in f"{one.refusal}" for one in rig.running.told)
        assert rig.running.made(provider) == 0
        assert ledger.reservations.latest() == []


def test_beyond_a_rehearsal_no_address_of_this_machine_is_taken():
    real: dict[str, Any] = {
        "address": "https://runapi.ai",
        "public_url": PUBLIC,
        "provider": "runapi",
    }
    for url in ("http://127.0.0.1:9000/hook", "https://localhost/hook", "http://example.com/hook"):
        with pytest.raises(RequestError) as refused:
            rewritten({"callback_url": url}, proof=lambda _: "p", **real)
        assert "callback_url" in str(refused.value)
    assert not is_loopback("https://runapi.ai")


# --- what is rewritten ----------------------------------------------------------------------


def test_a_body_names_the_gateway_instead_of_the_client():
    body = {"prompt": "a lake", "callback_url": "https://example.com/hook?token=1"}
    given: dict[str, Any] = {"proof": lambda url: f"proof-of-{len(url)}"}
    there: dict[str, Any] = {
        "address": "https://runapi.ai",
        "public_url": f"{PUBLIC}/",
        "provider": "runapi",
    }
    changed, url = rewritten(body, **given, **there)
    assert url == "https://example.com/hook?token=1"
    assert changed == {
        "prompt": "a lake",
        "callback_url": f"{PUBLIC}/callbacks/runapi/proof-of-32",
    }
    assert body["callback_url"] == url
    # Without an address that providers can reach, and without one to call, it stays as it is.
    assert rewritten(body, **given, **{**there, "public_url": None}) == (body, None)
    assert rewritten({"prompt": "a"}, **given, **there) == ({"prompt": "a"}, None)
    # UniAll documents no callbacks: what its bodies say is left to it.
    assert rewritten(body, **given, **{**there, "provider": "uniall"}) == (body, None)


def test_without_a_public_address_the_clients_own_stays(ledger: Ledger):
    with rigged(ledger, public_url=None) as rig:
        lead_to(rig.running.sandbox, "")
        object.__setattr__(rig.running.sandbox.settings, "callbacks_to", None)
        found = rig.submitted("runapi")
        assert rig.called(found) == ["200"]
        assert len(rig.posts()) == 1
        assert ledger.reservations.relay_of(found.id) is None


def test_the_same_key_with_another_address_is_another_request(ledger: Ledger):
    with rigged(ledger) as rig:
        body = {**BODIES["runapi"], "callback_url": f"{rig.client.url}/hook"}
        first = rig.post("runapi", body, Idempotency_Key="k1")
        again = rig.post("runapi", body, Idempotency_Key="k1")
        assert first.json()["id"] == again.json()["id"]
        other = {**body, "callback_url": f"{rig.client.url}/other"}
        assert rig.post("runapi", other, Idempotency_Key="k1").status_code == 409
    assert len(ledger.reservations.latest()) == 1


def test_a_gateway_that_starts_again_settles_what_was_open_and_passes_on(ledger: Ledger):
    with rigged(ledger) as rig:
        running_ = rig.running
        found = rig.submitted("crun", "a lake [takes 60]")
        running_.gateway.close()
        running_.sandbox.finish()
        # Nobody listens: what the provider posts meanwhile is lost, as it would be without us.
        rig.called(found)
        assert ledger.reservations.get(found.id).state is State.SUBMITTED
        with Gateway(ledger, running_.gateway._app._settings) as again:
            assert rig.ended(found).committed == rig.job(found).charged
            path = (rig.job(found).order.callback_url or "").partition("/callbacks/")[2]
            told = task("crun", found.task_id, "success")
            assert httpx.post(f"{again.url}/callbacks/{path}", json=told).status_code == 200
            assert rig.posts() == [told]


def test_callbacks_are_passed_on_from_a_ledger_on_any_engine(empty_url: str):
    with Ledger(empty_url, actor="tester") as opened, rigged(opened) as rig:
        found = rig.submitted("crun")
        assert rig.called(found) == ["200"]
        assert len(rig.posts()) == 1
        assert rig.ended(found).committed == rig.job(found).charged
