"""EvoLink's own JSON: a clip with its documented defaults, or refused with every problem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kling_pricing import Clip, NoPriceError, RequestError
from kling_pricing.gateways import Request, parse_body, read_request

REQUESTS = Path(__file__).parent / "requests"
URL = "https://example.com/a.png"


def real(name: str) -> dict[str, Any]:
    return parse_body((REQUESTS / f"evolink_{name}.json").read_text("utf-8"))


def body(**changes: Any) -> dict[str, Any]:
    return {**real("text"), **changes}


def shots(*lengths: Any) -> list[dict[str, Any]]:
    return [
        {"index": index, "prompt": "a", "duration": length}
        for index, length in enumerate(lengths, start=1)
    ]


def multi(seconds: int = 10, /, **params: Any) -> dict[str, Any]:
    said = real("multi_shot")
    return {**said, "duration": seconds, "model_params": {**said["model_params"], **params}}


def read(said: object) -> Request:
    return read_request("evolink", said)


def paths(said: object) -> list[str]:
    with pytest.raises(RequestError) as refusal:
        read_request("evolink", said, strict=True)
    return sorted(problem.path for problem in refusal.value.problems)


# --- the published examples -----------------------------------------------------------------


def test_the_published_text_is_read():
    assert read(real("text")).clip == Clip(
        provider="evolink", model="kling-v3-text-to-video", seconds=5, resolution="720p",
        sound=False,
    )  # fmt: skip


def test_the_published_multi_shot_is_read():
    clip = read(real("multi_shot")).clip
    assert (clip.seconds, clip.resolution, clip.sound, clip.multi_shot) == (10, "1080p", True, True)


# --- defaults -------------------------------------------------------------------------------


def test_what_is_given_is_not_assumed():
    assert read(body()).assumptions == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [("duration", "5 seconds"), ("quality", "720p"), ("sound", "no sound")],
)
def test_each_documented_default_is_taken_and_said(name: str, words: str):
    request = read({key: value for key, value in body().items() if key != name})
    assert request.clip == read(body()).clip
    (assumption,) = request.assumptions
    assert assumption.startswith(f"{name} is not given: priced with {words}")
    assert request.sent == body()
    assert name not in request.body


def test_a_body_of_model_and_prompt_is_enough():
    request = read({"model": "kling-v3-text-to-video", "prompt": "a"})
    assert (request.clip, len(request.assumptions)) == (read(body()).clip, 3)
    written = {"duration": 5, "quality": "720p", "sound": "off"}
    assert request.sent == {"model": "kling-v3-text-to-video", "prompt": "a", **written}


@pytest.mark.parametrize(
    ("model", "more", "written"),
    [
        ("kling-o3-text-to-video", {}, {"duration": 5, "quality": "720p", "sound": "off"}),
        # Its sound is off whatever is said, and its page shows no such field.
        ("kling-o3-reference-to-video", {"video_url": URL}, {"duration": 5, "quality": "720p"}),
        ("kling-o3-video-edit", {"video_url": URL}, {"quality": "720p"}),
        ("kling-o1-video-edit", {"video_urls": [URL]}, {}),
    ],
)
def test_each_model_has_the_options_written_out_that_it_has(
    model: str, more: dict[str, Any], written: dict[str, Any]
):
    said = {"model": model, "prompt": "a", **more}
    request = read(said)
    assert request.sent == {**said, **written}
    assert read(request.sent).clip == request.clip


# --- fields ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [3, 15])
def test_three_to_fifteen_seconds_are_taken(seconds: int):
    assert read(body(duration=seconds)).clip.seconds == seconds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("duration", 2),
        ("duration", 16),
        ("duration", "16"),
        ("duration", 5.0),
        ("quality", "4k"),
        ("quality", 720),
        ("sound", 1),
        ("sound", "yes"),
        ("aspect_ratio", "4:3"),
        ("prompt", ""),
        ("prompt", None),
        ("prompt", "x" * 2501),
        ("negative_prompt", "x" * 2501),
        ("model_params", []),
        ("image_start", URL),
        ("seed", 1),
    ],
)
def test_a_value_that_is_not_documented_is_refused(name: str, value: Any):
    assert paths(body(**{name: value})) == [name]


@pytest.mark.parametrize("name", ["prompt", "negative_prompt"])
def test_2500_characters_are_taken(name: str):
    assert read(body(**{name: "x" * 2500})).clip == read(body()).clip


def callback(length: int) -> str:
    return "https://example.com/".ljust(length, "x")


@pytest.mark.parametrize(
    "address", [callback(2048), "https://8.8.8.8/x", "https://example.com:8443/x?y=1"]
)
def test_a_public_https_callback_is_taken(address: str):
    assert read(body(callback_url=address)).clip == read(body()).clip


@pytest.mark.parametrize(
    "address",
    [
        callback(2049), "http://example.com/x", "https://", "https://localhost/x", "", 5,
        "https://127.0.0.1/x", "https://10.1.2.3/x", "https://172.16.0.1/x", "https://[fd00::1]/x",
        "https://192.168.1.1/x", "https://169.254.169.254/x", "https://2130706433/x",
        "https://0x7f.1/x", "https://db.internal/x", "https://[::1/x", "https://a.io:x/",
    ],
)  # fmt: skip
def test_any_other_callback_is_refused(address: Any):
    assert paths(body(callback_url=address)) == ["callback_url"]


# --- several shots --------------------------------------------------------------------------


def test_a_prompt_may_be_empty_where_the_shots_are_customized():
    assert read({**multi(), "prompt": ""}).clip.multi_shot is True


def test_intelligent_shots_need_a_prompt():
    assert paths(multi(shot_type="intelligence")) == ["prompt"]


def test_several_shots_need_a_shot_type():
    assert paths({**multi(shot_type=None), "prompt": "a"}) == ["model_params.shot_type"]


@pytest.mark.parametrize("value", [None, []])
def test_customized_shots_must_be_given(value: Any):
    assert paths(multi(multi_prompt=value)) == ["model_params.multi_prompt"]


@pytest.mark.parametrize("lengths", [["10"], ["1", "9"], ["1", "1", "1", "1", "1", "5"]])
def test_shots_that_add_up_are_taken(lengths: list[str]):
    assert read(multi(multi_prompt=shots(*lengths))).clip.seconds == 10


@pytest.mark.parametrize("lengths", [["9"], ["5", "6"], ["1"] * 6 + ["4"]])
def test_shots_that_do_not_add_up_or_are_seven_are_refused(lengths: list[str]):
    assert paths(multi(multi_prompt=shots(*lengths))) == ["model_params.multi_prompt"]


def test_shots_add_up_to_the_default_length_where_none_is_given():
    said = multi(multi_prompt=shots("2", "3"))
    del said["duration"]
    assert read(said).clip.seconds == 5


@pytest.mark.parametrize("length", [5, "0", "5.0", "-5", " 5", "٥", "", None, "9999"])
def test_a_shot_says_its_whole_seconds_as_a_text(length: Any):
    said = multi(multi_prompt=shots("5", length))
    assert paths(said) == ["model_params.multi_prompt[1].duration"]


@pytest.mark.parametrize("index", [0, "1", 1.0, None])
def test_a_shot_says_its_index(index: Any):
    said = [{**shots("10")[0], "index": index}]
    assert paths(multi(multi_prompt=said)) == ["model_params.multi_prompt[0].index"]


def test_a_watermark_is_on_or_off():
    assert paths(multi(watermark_info={"enabled": "no"})) == ["model_params.watermark_info.enabled"]


# --- the other models -----------------------------------------------------------------------


def other(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "prompt": "a", **fields}


def motion(**changes: Any) -> dict[str, Any]:
    params = {"character_orientation": "image"}
    said = {"image_urls": [URL], "video_urls": [URL], "model_params": params}
    return {"model": "kling-v3-motion-control", **said, **changes}


@pytest.mark.parametrize(
    ("said", "action", "frames"),
    [
        (other("kling-v3-image-to-video", image_start=URL), "image_to_video", "first"),
        (other("kling-o3-text-to-video"), "text_to_video", "none"),
        (
            other("kling-o3-image-to-video", image_start=URL, image_end=URL),
            "image_to_video",
            "first_last",
        ),
        (other("kling-o3-image-to-video", image_urls=[URL] * 7), "image_to_video", "none"),
        (other("kling-o3-reference-to-video", video_url=URL), "reference_to_video", "none"),
        (other("kling-o3-video-edit", video_url=URL), "edit_video", "none"),
        (other("kling-o1-video-edit", video_urls=[URL]), "edit_video", "none"),
    ],
)
def test_each_model_has_its_action(said: dict[str, Any], action: str, frames: str):
    clip = read(said).clip
    assert (clip.action, clip.frames) == (action, frames)
    assert clip.video_input is ("video_url" in said or "video_urls" in said)


def test_motion_control_has_no_length_of_its_own():
    clip = read(motion()).clip
    assert (clip.seconds, clip.sound, clip.resolution) == (None, None, "720p")
    assert (clip.orientation, clip.video_input) == ("image", True)


def test_an_element_is_no_clip_with_a_length():
    said = {"model": "kling-custom-element", "model_params": {"element_name": "a"}}
    clip = read(said).clip
    assert (clip.action, clip.seconds) == ("custom_element", None)


@pytest.mark.parametrize(
    ("said", "path"),
    [
        (other("kling-v3-image-to-video"), "image_start"),
        (other("kling-v3-image-to-video", image_end=URL), "image_start"),
        (other("kling-o3-image-to-video"), "image_start"),
        (other("kling-o3-image-to-video", image_urls=[URL] * 8), "image_urls"),
        (
            other("kling-o3-image-to-video", image_start=URL, image_end=URL, image_urls=[URL]),
            "image_end",
        ),
        (other("kling-o3-reference-to-video"), "video_url"),
        (other("kling-o3-reference-to-video", video_url=URL, duration=11), "duration"),
        (other("kling-o3-video-edit", video_url=URL, image_urls=[URL] * 5), "image_urls"),
        (other("kling-o3-video-edit", video_url=URL, duration=5), "duration"),
        (motion(video_urls=[]), "video_urls"),
        (motion(model_params={}), "model_params.character_orientation"),
        (
            motion(model_params={"character_orientation": "up"}),
            "model_params.character_orientation",
        ),
        (motion(image_urls=[URL, URL]), "image_urls"),
        ({"model": "kling-custom-element"}, "model_params"),
    ],
)
def test_each_model_has_its_own_rules(said: dict[str, Any], path: str):
    assert set(paths(said)) == {path}


def test_four_images_and_elements_beside_a_video_are_the_most():
    said = other("kling-o3-video-edit", video_url=URL, image_urls=[URL] * 3)
    assert read({**said, "model_params": {"element_list": [{}]}}).clip.elements is True
    assert paths({**said, "model_params": {"element_list": [{}, {}]}}) == ["image_urls"]


def test_another_model_has_no_price():
    with pytest.raises(NoPriceError, match="known: kling-v3-text-to-video"):
        read(body(model="kling-v4-text-to-video"))


def test_every_problem_is_said_at_once():
    said = {**multi(2, multi_prompt=shots("0")), "quality": "8k", "seed": 1, "callback_url": "x"}
    assert set(paths(said)) == {
        "duration", "quality", "seed", "callback_url", "model_params.multi_prompt[0].duration"
    }  # fmt: skip
