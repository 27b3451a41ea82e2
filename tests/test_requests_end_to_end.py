"""Every kind of request, from its quote to its end at its gateway: made and charged, or failed.

The bodies are the published ones, in tests/requests, and the least that each gateway takes for
each of its models and actions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from kling_ledger import Ledger
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.watch import Patience
from kling_ledger.ledger import Reservation, State
from kling_ledger.providers.base import Pacing
from kling_ledger.providers.registry import connect, provider_facts
from kling_ledger.sandbox import PROVIDERS, Sandbox, SandboxSettings
from kling_pricing import Money
from kling_pricing.errors import NoPriceError, RequestError
from kling_pricing.gateways import parse_body, read_request
from kling_pricing.library import bundled_book
from tests import test_pricing_bodies as public_bodies
from tests.sandbox_rig import plain_client
from tests.test_pricing_requests_runapi import LEAST

FILES = sorted(Path(__file__).with_name("requests").glob("*.json"))
VALID = [file for file in FILES if "duplicate" not in file.name]
URL = "https://example.com/a"
PROMPT = {"prompt": "a lake"}


@dataclass(frozen=True)
class Asked:
    """A body, the gateway that it is for, and the action where the body does not say it."""

    provider: str
    body: dict[str, Any]
    action: str | None = None


def runapi(which: str) -> Asked:
    model, action = which.split()
    return Asked("runapi", {"model": model, **LEAST[which]}, action)


def crun(**more: Any) -> Asked:
    given = {"mode": "std", "multi_shots": False, "duration": 5, "audio": True, **PROMPT, **more}
    return Asked("crun", {"model": "kling/v3", "input": given})


def evolink(model: str, **more: Any) -> Asked:
    return Asked("evolink", {"model": model, **PROMPT, **more})


LIKE: dict[str, Any] = {"duration": 5, "quality": "720p", "sound": "off"}
MOTION = {
    "image_urls": [URL],
    "video_urls": [URL],
    "quality": "720p",
    "model_params": {"character_orientation": "image"},
}
ASKED: dict[str, Asked] = {
    **{
        file.stem: Asked(file.stem.partition("_")[0], parse_body(file.read_text("utf-8")))
        for file in VALID
    },
    **{f"runapi {which}": runapi(which) for which in LEAST},
    "crun text": crun(),
    "crun pro": crun(mode="pro"),
    "crun first and last frame": crun(img_urls=[URL, URL]),
    "crun v2.6 motion": Asked(
        "crun",
        {
            "model": "kling/v2-6-motion-control",
            "input": {"img_urls": [URL], "video_urls": [URL], "mode": "pro", **PROMPT},
        },
    ),
    "evolink v3 text": evolink("kling-v3-text-to-video", **LIKE),
    "evolink v3 image": evolink("kling-v3-image-to-video", image_start=URL, **LIKE),
    "evolink v3 motion": evolink("kling-v3-motion-control", **MOTION),
    "evolink o3 text": evolink("kling-o3-text-to-video", **LIKE),
    "evolink o3 image": evolink("kling-o3-image-to-video", image_start=URL, **LIKE),
    "evolink o3 reference": evolink("kling-o3-reference-to-video", video_url=URL, **LIKE),
    "evolink o3 edit": evolink("kling-o3-video-edit", video_url=URL, quality="1080p"),
    "evolink o1 edit": evolink("kling-o1-video-edit", video_urls=[URL]),
    "evolink element": Asked(
        "evolink", {"model": "kling-custom-element", "model_params": {"description": "a dog"}}
    ),
    **{
        f"uniall {model} {frames}": Asked(
            "uniall", {"model": model, "duration": 5, **PROMPT, **images}
        )
        for model in (
            "kling-v3-std-silent",
            "kling-v3-std-audio",
            "kling-v3-pro-silent",
            "kling-v3-pro-audio",
        )
        for frames, images in {
            "text": {},
            "image": {"image": URL},
            "frames": {"image": URL, "last_image": URL},
        }.items()
    },
}


def has_price(asked: Asked) -> bool:
    """Whether its gateway publishes what it costs: some models it offers without a price."""
    request = read_request(asked.provider, asked.body, action=asked.action)
    book = bundled_book(asked.provider)
    return (request.clip.model, request.clip.action) in book.offers


PRICED = {name: asked for name, asked in ASKED.items() if has_price(asked)}


@dataclass(frozen=True)
class Rig:
    """A wallet with enough in it, and a meter for each gateway of one sandbox."""

    sandbox: Sandbox
    ledger: Ledger
    meters: dict[str, Meter]
    http: httpx.Client

    def truth(self, ended: Reservation) -> dict[str, Any]:
        reply = self.http.get(f"{self.sandbox.url}/sandbox/truth?provider={ended.job.provider}")
        tasks = reply.raise_for_status().json()["tasks"]
        return next(dict(task) for task in tasks if task["id"] == ended.task_id)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    settings = SandboxSettings(job_s=0.02, balance=Money.parse("100000 USD"))
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(settings))
        path = tmp_path_factory.mktemp("requests") / "ledger.sqlite"
        ledger = stack.enter_context(Ledger(str(path)))
        meters = {}
        for name in PROVIDERS:
            unit = provider_facts(name).unit
            ledger.wallets.create(name, unit)
            ledger.wallets.fund(name, Money.parse(f"100000 {unit}"))
            reached = connect(
                name,
                api_key=settings.key_of(name),
                base_url=sandbox.url,
                timeout_s=5,
                pacing=Pacing(sleep=lambda _: None),
            )
            stack.enter_context(closing(reached))
            patience = Patience(poll_every_s=0.01, longest_s=20)
            meters[name] = Meter(ledger, reached, wallet=name, patience=patience)
        yield Rig(sandbox, ledger, meters, stack.enter_context(plain_client()))
        assert ledger.verify().is_clean


def marked(asked: Asked, marker: str) -> dict[str, Any]:
    """Return the body with a marker in a prompt of its own, wherever the gateway has one."""
    body: dict[str, Any] = json.loads(json.dumps(asked.body))
    place = body.get("input", body)
    if body["model"] == "kling-custom-element":
        place["model_params"]["prompt"] = marker
        return body
    shots = place.get("multi_prompt") or place.get("model_params", {}).get("multi_prompt")
    if shots:
        place = shots[0]
    place["prompt"] = f"{place.get('prompt', '')} {marker}"
    return body


def is_measured(asked: Asked) -> bool:
    """Whether the seconds are found out by the gateway, from a file that nobody can send here."""
    clip = read_request(asked.provider, asked.body, action=asked.action).clip
    return clip.seconds is None and clip.action != "custom_element"


MEASURED = [name for name, asked in PRICED.items() if is_measured(asked)]


@pytest.mark.parametrize("name", MEASURED)
def test_a_request_whose_file_is_measured_is_charged_no_more_than_its_quote(rig: Rig, name: str):
    asked = ASKED[name]
    meter = rig.meters[asked.provider]
    quoted = read_request(asked.provider, asked.body, action=asked.action).quote(at=meter.clock())
    ended = meter.run(asked.body, action=asked.action)
    assert ended.state is State.COMMITTED
    assert ended.committed is not None
    truth = rig.truth(ended)
    charged = Money.parse(f"{truth['charged']} {truth['unit']}")
    assert charged <= ended.committed <= quoted.amount
    if meter.provider.facts.tells_cost:
        assert ended.committed == charged
    assert (truth["model"], truth["action"]) == (ended.job.model, ended.job.action)


@pytest.mark.parametrize("name", sorted(PRICED.keys() - MEASURED))
def test_a_request_is_quoted_made_and_charged(rig: Rig, name: str):
    asked = ASKED[name]
    meter = rig.meters[asked.provider]
    quoted = read_request(asked.provider, asked.body, action=asked.action).quote(at=meter.clock())
    before = rig.ledger.wallets.get(asked.provider)
    ended = meter.run(asked.body, action=asked.action)
    after = rig.ledger.wallets.get(asked.provider)
    facts = meter.provider.facts
    # EvoLink says what it reserved where a model is billed by the second: an element is not.
    is_held = facts.charges_what_it_holds and ended.job.action != "custom_element"
    told = facts.tells_cost or is_held
    assert (ended.state, ended.settled_by) == (State.COMMITTED, "provider" if told else "quote")
    assert ended.amount == ended.committed == quoted.amount
    assert ended.videos[0].startswith(rig.sandbox.url)
    assert before.posted - after.posted == ended.committed
    assert after.reserved.micro == 0
    truth = rig.truth(ended)
    assert Money.parse(f"{truth['charged']} {truth['unit']}") == ended.committed
    assert (truth["model"], truth["action"]) == (ended.job.model, ended.job.action)


@pytest.mark.parametrize("name", public_bodies.PRICED)
def test_a_body_of_a_public_client_is_taken_as_it_is_sent_and_costs_no_more_than_quoted(
    rig: Rig, name: str
):
    ended = rig.meters[name.partition("_")[0]].run(public_bodies.body_of(name))
    assert (ended.state, str(ended.amount)) == (State.COMMITTED, public_bodies.PRICED[name])
    truth = rig.truth(ended)
    assert ended.committed is not None
    assert Money.parse(f"{truth['charged']} {truth['unit']}") <= ended.committed <= ended.amount


@pytest.mark.parametrize("name", PRICED)
def test_a_request_that_fails_costs_nothing(rig: Rig, name: str):
    asked = ASKED[name]
    meter = rig.meters[asked.provider]
    before = rig.ledger.wallets.get(asked.provider)
    ended = meter.run(marked(asked, "[fail moderation]"), action=asked.action)
    assert rig.truth(ended)["charged"] == "0"
    if asked.provider == "uniall":
        # No word for a failure is documented there, so that the word alone gives nothing back.
        assert ended.state is State.IN_DOUBT
        ended = rig.ledger.roll_back(ended.id, "its bill does not list it")
    assert ended.state is State.ROLLED_BACK
    assert rig.ledger.wallets.get(asked.provider) == before


@pytest.mark.parametrize("name", sorted(ASKED.keys() - PRICED.keys()))
def test_a_request_without_a_published_price_is_refused_before_anything_is_sent(
    rig: Rig, name: str
):
    asked = ASKED[name]
    tasks = rig.sandbox.stores[asked.provider].jobs()
    with pytest.raises(NoPriceError):
        rig.meters[asked.provider].run(asked.body, action=asked.action)
    assert rig.sandbox.stores[asked.provider].jobs() == tasks


def test_every_model_and_action_with_a_price_is_among_the_requests():
    said = set()
    for asked in PRICED.values():
        clip = read_request(asked.provider, asked.body, action=asked.action).clip
        said.add((asked.provider, clip.model, clip.action))
    priced = {(name, *offer) for name in PROVIDERS for offer in bundled_book(name).offers}
    assert priced == said


def test_the_published_request_that_says_a_key_twice_is_refused():
    (invalid,) = set(FILES) - set(VALID)
    with pytest.raises(RequestError, match="name"):
        parse_body(invalid.read_text("utf-8"))
