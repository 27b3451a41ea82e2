"""UniAll's own JSON for Kling 3.0: read as a clip, or refused with every problem at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kling_pricing import Clip, NoPriceError, RequestError
from kling_pricing.gateways import Request, parse_body, read_request

REQUESTS = Path(__file__).parent / "requests"
URL = "https://example.com/a.png"
SHOTS = [{"prompt": "a", "duration": 5}]


def real(name: str) -> dict[str, Any]:
    return parse_body((REQUESTS / f"uniall_{name}.json").read_text("utf-8"))


def body(**changes: Any) -> dict[str, Any]:
    return {**real("text"), **changes}


def without(*names: str, **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in body(**changes).items() if key not in names}


def read(said: object) -> Request:
    return read_request("uniall", said)


def paths(said: object) -> list[str]:
    with pytest.raises(RequestError) as refusal:
        read_request("uniall", said, strict=True)
    return sorted(problem.path for problem in refusal.value.problems)


def test_the_published_text_is_read():
    assert read(real("text")).clip == Clip(
        provider="uniall", model="kling-v3-std-silent", seconds=5, resolution="720p", sound=False
    )


def test_the_published_image_is_its_first_frame():
    clip = read(real("image")).clip
    assert (clip.action, clip.frames, clip.seconds) == ("image_to_video", "first", 6)


def test_the_published_frames_are_first_and_last():
    clip = read(real("first_last_frame")).clip
    assert (clip.frames, clip.resolution, clip.sound) == ("first_last", "1080p", False)


@pytest.mark.parametrize(
    ("model", "resolution", "sound"),
    [
        ("kling-v3-std-silent", "720p", False),
        ("kling-v3-std-audio", "720p", True),
        ("kling-v3-pro-silent", "1080p", False),
        ("kling-v3-pro-audio", "1080p", True),
    ],
)
def test_the_model_says_resolution_and_sound(model: str, resolution: str, sound: bool):
    clip = read(body(model=model)).clip
    assert (clip.resolution, clip.sound) == (resolution, sound)


def test_another_model_has_no_price():
    with pytest.raises(NoPriceError, match="known: kling-v3-std-silent"):
        read(body(model="kling-v3-4k-audio"))


@pytest.mark.parametrize("seconds", [3, 15])
def test_three_to_fifteen_seconds_are_taken(seconds: int):
    assert read(body(duration=seconds)).clip.seconds == seconds


@pytest.mark.parametrize("seconds", [2, 16, 5.0, "16", "05", "٥", True, None])
def test_any_other_length_is_refused(seconds: Any):
    assert paths(body(duration=seconds)) == ["duration"]


def test_a_length_has_no_default():
    assert paths(without("duration")) == ["duration"]


def test_a_last_image_needs_a_first():
    assert paths(body(last_image=URL)) == ["image"]


@pytest.mark.parametrize(
    "address", ["http://10.0.0.8/a.png", "https://localhost/a", "https://[::1]/a", "a.png", 5]
)
@pytest.mark.parametrize("name", ["image", "last_image"])
def test_a_private_image_is_refused(name: str, address: Any):
    assert paths(body(**{"image": URL, name: address})) == [name]


def test_prompt_and_shots_are_not_sent_together_with_an_image():
    said = body(image=URL, extra_body={"multi_prompt": SHOTS})
    assert paths(said) == ["extra_body.multi_prompt"]


def test_shots_stand_for_the_prompt_with_an_image():
    clip = read(without("prompt", image=URL, extra_body={"multi_prompt": SHOTS})).clip
    assert clip.multi_shot is True


def test_shots_need_an_image():
    assert paths(without("prompt", extra_body={"multi_prompt": SHOTS})) == [
        "extra_body.multi_prompt"
    ]


@pytest.mark.parametrize("prompt", [None, "", " "])
def test_without_shots_a_prompt_is_required(prompt: str | None):
    assert paths(body(prompt=prompt)) == ["prompt"]


@pytest.mark.parametrize("scale", [0, 0.5, 1])
def test_a_guidance_scale_of_0_to_1_is_taken(scale: float):
    assert read(body(extra_body={"cfg_scale": scale})).assumptions == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cfg_scale", -0.01),
        ("cfg_scale", 1.01),
        ("cfg_scale", float("nan")),
        ("cfg_scale", "0.5"),
        ("cfg_scale", True),
        ("shot_type", "intelligence"),
        ("multi_prompt", []),
        ("element_list", {}),
        ("negative_prompt", 5),
        ("seed", 1),
    ],
)
def test_extra_fields_are_checked_too(name: str, value: Any):
    said = without("prompt", image=URL, extra_body={"multi_prompt": SHOTS, name: value})
    assert paths(said) == [f"extra_body.{name}"]


@pytest.mark.parametrize("shot_type", ["customize", "intelligent"])
def test_both_shot_types_are_taken(shot_type: str):
    assert read(body(extra_body={"shot_type": shot_type})).clip.multi_shot is False


@pytest.mark.parametrize(
    ("name", "value"),
    [("aspect_ratio", "4:3"), ("extra_body", []), ("callback_url", URL), ("prompt", 5)],
)
def test_a_field_that_is_not_documented_so_is_refused(name: str, value: Any):
    assert paths(body(**{name: value})) == [name]


def test_elements_are_seen():
    assert read(body(extra_body={"element_list": [{"id": 1}]})).clip.elements is True


def test_an_action_that_the_body_does_not_ask_for_is_refused():
    with pytest.raises(RequestError, match="a body asking for text_to_video"):
        read_request("uniall", body(), action="image_to_video")


def test_every_problem_is_said_at_once():
    said = without("prompt", duration=2, last_image=URL, extra_body={"seed": 1, "cfg_scale": 2})
    assert paths(said) == [
        "duration", "extra_body.cfg_scale", "extra_body.seed", "image", "prompt"
    ]  # fmt: skip
