"""Crun's own JSON for kling/v3: read as a clip, or refused with every problem at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kling_pricing import Clip, NoPriceError, RequestError
from kling_pricing.gateways import Request, parse_body, read_request

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
REQUESTS = Path(__file__).parent / "requests"
URL = "https://example.com/a.jpg"
LONG_ENOUGH = {"prompt": "a", "duration": 5}


def real(name: str) -> dict[str, Any]:
    return parse_body((REQUESTS / f"crun_{name}.json").read_text("utf-8"))


def single(**changes: Any) -> dict[str, Any]:
    said = real("text")
    return {**said, "input": {**said["input"], **changes}}


def multi(**changes: Any) -> dict[str, Any]:
    said = real("customize")
    return {**said, "input": {**said["input"], **changes}}


def smart(**changes: Any) -> dict[str, Any]:
    said = real("intelligence")
    return {**said, "input": {**said["input"], **changes}}


def without(said: dict[str, Any], *names: str) -> dict[str, Any]:
    return {**said, "input": {k: v for k, v in said["input"].items() if k not in names}}


def read(said: object) -> Request:
    return read_request("crun", said)


def paths(said: object) -> list[str]:
    with pytest.raises(RequestError) as refusal:
        read_request("crun", said, strict=True)
    return sorted(problem.path for problem in refusal.value.problems)


def clip(**options: Any) -> Clip:
    return Clip(provider="crun", model="kling/v3", seconds=10, **options)


# --- the published examples -----------------------------------------------------------------


def test_the_published_text_is_a_720p_clip_with_sound():
    assert read(real("text")).clip == clip(resolution="720p", sound=True)


def test_the_published_image_is_its_first_frame():
    image = read(real("image")).clip
    assert (image.action, image.frames, image.seconds) == ("image_to_video", "first", 15)


@pytest.mark.parametrize(
    ("name", "resolution", "elements"),
    [
        ("customize", "1080p", False),
        ("customize_with_element_and_callback", "1080p", True),
        ("intelligence", "720p", False),
    ],
)
def test_the_published_multi_shots_are_read(name: str, resolution: str, elements: bool):
    assert read(real(name)).clip == clip(
        action="image_to_video",
        resolution=resolution,
        sound=True,
        multi_shot=True,
        elements=elements,
        frames="first",
    )


def test_the_published_element_with_repeated_keys_is_refused_for_that():
    with pytest.raises(RequestError, match="the same key twice") as refusal:
        real("element_duplicate_keys")
    assert [problem.path for problem in refusal.value.problems] == [
        "input.element_list[0].name",
        "input.element_list[0].description",
    ]


def test_once_each_key_is_written_once_the_element_is_taken():
    said = json.loads((REQUESTS / "crun_element_duplicate_keys.json").read_text("utf-8"))
    assert read(said).clip.elements is True


# --- what changes the price -----------------------------------------------------------------


@pytest.mark.parametrize("audio", [False, None])
def test_multi_shot_without_audio_is_priced_with_sound_and_says_why(audio: bool | None):
    answer = read(smart(audio=audio)).quote(at=AT)
    assert answer.amount.amount == Decimal(200)
    assert any("multi-shot" in why for why in answer.assumptions)


def test_the_clip_keeps_what_was_asked():
    assert read(multi(audio=False)).clip.sound is False


@pytest.mark.parametrize("said", [without(single(), "audio"), single(audio=None)])
def test_a_single_shot_that_does_not_name_audio_is_priced_with_it_and_says_so(said: dict[str, Any]):
    request = read(said)
    assert (request.clip.sound, request.sent) == (True, said)
    assert request.quote(at=AT).amount == read(single(audio=True)).quote(at=AT).amount
    (assumption,) = request.assumptions
    assert assumption.startswith("audio is not given: priced with sound, the dearest")


def test_several_shots_leave_audio_out_without_a_word():
    said = without(smart(), "audio")
    assert (read(said).assumptions, read(said).sent) == ((), said)


@pytest.mark.parametrize(("mode", "resolution"), [("std", "720p"), ("pro", "1080p")])
def test_the_mode_is_the_resolution(mode: str, resolution: str):
    assert read(single(mode=mode)).clip.resolution == resolution


# --- fields ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mode", "multi_shots", "duration"])
def test_what_has_no_default_is_required(name: str):
    assert paths(without(single(), name)) == [f"input.{name}"]


@pytest.mark.parametrize("name", ["model", "input"])
def test_model_and_input_are_required(name: str):
    assert paths({key: value for key, value in single().items() if key != name}) == [name]


@pytest.mark.parametrize("seconds", [3, 15])
def test_three_to_fifteen_seconds_are_taken(seconds: int):
    assert read(single(duration=seconds)).clip.seconds == seconds


@pytest.mark.parametrize("seconds", [2, 16, 5.0, "16", "05", "٥", True, None, []])
def test_any_other_length_is_refused(seconds: Any):
    assert paths(single(duration=seconds)) == ["input.duration"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "8k"),
        ("mode", None),
        ("audio", "on"),
        ("audio", 1),
        ("prompt", 5),
        ("aspect_ratio", "4:3"),
        ("input_compliance", "on"),
        ("output_compliance", True),
    ],
)
def test_a_value_that_is_not_documented_is_refused(name: str, value: Any):
    assert paths(single(**{name: value})) == [f"input.{name}"]


def test_an_unknown_field_is_told_the_documented_ones():
    with pytest.raises(RequestError, match=r"input\.seed: got 7.*documented: mode, multi_shots"):
        read_request("crun", single(seed=7), strict=True)


def test_an_aspect_ratio_beside_images_is_allowed_and_ignored():
    assert read(single(img_urls=[URL], aspect_ratio="1:1")).clip.frames == "first"


def test_two_images_are_first_and_last_frame():
    assert read(single(img_urls=[URL, URL])).clip.frames == "first_last"


@pytest.mark.parametrize("count", [0, 3])
def test_a_single_shot_takes_one_or_two_images(count: int):
    assert paths(single(img_urls=[URL] * count)) == ["input.img_urls"]


def test_a_shot_type_of_null_is_none():
    assert read(single(shot_type=None)).clip == read(single()).clip


def test_a_single_shot_has_no_shots():
    assert paths(single(multi_prompt=[LONG_ENOUGH])) == ["input.multi_prompt"]


@pytest.mark.parametrize("prompt", ["", "  ", None])
def test_a_single_shot_needs_a_prompt(prompt: str | None):
    assert paths(single(prompt=prompt)) == ["input.prompt"]


# --- several shots --------------------------------------------------------------------------


@pytest.mark.parametrize("images", [None, [], [URL, URL], [URL] * 3, URL])
def test_several_shots_need_exactly_one_image(images: Any):
    assert set(paths(multi(img_urls=images))) == {"input.img_urls"}


@pytest.mark.parametrize("shot_type", [None, "intelligent", 1, ["customize"]])
def test_several_shots_need_a_shot_type(shot_type: Any):
    assert paths(multi(shot_type=shot_type)) == ["input.shot_type"]


@pytest.mark.parametrize("lengths", [[10], [1, 9], [1, 1, 1, 1, 1, 5]])
def test_shots_that_add_up_are_taken(lengths: list[int]):
    shots = [{"prompt": "a", "duration": length} for length in lengths]
    assert read(multi(multi_prompt=shots)).clip.multi_shot is True


@pytest.mark.parametrize("lengths", [[9], [5, 6], [4, 5]])
def test_shots_that_do_not_add_up_are_refused(lengths: list[int]):
    shots = [{"prompt": "a", "duration": length} for length in lengths]
    assert paths(multi(multi_prompt=shots)) == ["input.multi_prompt"]


def test_a_seventh_shot_is_refused():
    shots = [{"prompt": "a", "duration": length} for length in [1, 1, 1, 1, 1, 1, 4]]
    assert paths(multi(multi_prompt=shots)) == ["input.multi_prompt"]


@pytest.mark.parametrize("seconds", [0, -1, 1.5, "4", True, None])
def test_a_shot_lasts_at_least_a_whole_second(seconds: Any):
    shots = [LONG_ENOUGH, {"prompt": "b", "duration": seconds}]
    assert paths(multi(multi_prompt=shots)) == ["input.multi_prompt[1].duration"]


@pytest.mark.parametrize("shots", [None, []])
def test_customize_needs_shots(shots: Any):
    assert paths(multi(multi_prompt=shots)) == ["input.multi_prompt"]


def test_intelligence_needs_a_prompt():
    assert paths(without(smart(), "prompt")) == ["input.prompt"]


def test_intelligence_takes_no_shots():
    assert paths(smart(multi_prompt=[LONG_ENOUGH, LONG_ENOUGH])) == ["input.multi_prompt"]


# --- elements and the rest ------------------------------------------------------------------


def element(images: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "name": "a", "description": "b", "element_image_urls": [URL] * images, **changes
    }  # fmt: skip


@pytest.mark.parametrize("elements", [[element()] * 3, [element(4)], []])
def test_three_elements_of_four_images_are_taken(elements: list[Any]):
    assert read(single(element_list=elements)).clip.elements is bool(elements)


def test_a_fourth_element_is_refused():
    assert paths(single(element_list=[element()] * 4)) == ["input.element_list"]


@pytest.mark.parametrize("images", [0, 5])
def test_an_element_has_one_to_four_images(images: int):
    said = single(element_list=[element(), element(images)])
    assert paths(said) == ["input.element_list[1].element_image_urls"]


@pytest.mark.parametrize("name", ["name", "description", "element_image_urls"])
def test_an_element_says_all_three(name: str):
    said = {key: value for key, value in element().items() if key != name}
    assert paths(single(element_list=[said])) == [f"input.element_list[0].{name}"]


@pytest.mark.parametrize("address", ["ftp://a.io/x", "a.io", "", 5, "https://localhost/x"])
def test_a_callback_is_a_public_web_address(address: Any):
    assert paths({**single(), "callback_url": address}) == ["callback_url"]


def test_another_model_has_no_price():
    with pytest.raises(NoPriceError, match="known: kling/v3"):
        read({**single(), "model": "kling/v9"})


def test_every_problem_is_said_at_once():
    said = multi(duration=2, mode="8k", img_urls=[], seed=1, shot_type=None, audio="x")
    assert set(paths(said)) == {
        "input.duration", "input.mode", "input.img_urls", "input.seed", "input.shot_type",
        "input.audio",
    }  # fmt: skip
