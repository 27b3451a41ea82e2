"""Bodies as public clients send them: each is priced, left to a live estimate, or refused.

The amounts are worked out by hand from the sellers' pages; what is understood otherwise than the
pages have it is said.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kling_pricing import NoPriceError, RequestError
from kling_pricing.gateways import Request, parse_body, read_request

FOLDER = Path(__file__).with_name("bodies")
AT = datetime(2026, 11, 26, tzinfo=UTC)
URL = "https://example.com/a.png"

PRICED = {
    "crun_text": "135 crun-credit",  # 5 s x 27
    "evolink_length_as_text": "27 evolink-credit",  # 5 s x 5.4
    "evolink_image_urls": "35.991 evolink-credit",  # 5 s x 5.4 x 1.333
    "evolink_motion": "244.944 evolink-credit",  # 30 s at most x 8.1648
    "evolink_null_image": "27 evolink-credit",  # 5 s x 5.4
    "evolink_o3_edit": "121.5 evolink-credit",  # 15 s at most x 8.1
    "evolink_o3_images": "27 evolink-credit",  # 5 s x 5.4
    "evolink_capitals": "35.991 evolink-credit",  # 5 s x 5.4 x 1.333
    "runapi_home_page": "1.675 USD",  # 5 s x 0.335: no resolution is said, 4k is the dearest
    "uniall_openai_style": "0.84 USD",  # 5 s x 0.168
}
LEFT_TO_AN_ESTIMATE = {
    "crun_frames": "720p without sound",
    "crun_elements_4k": "4k without sound",
    "crun_motion": "kling/v3-motion-control",
}
REFUSED = {"runapi_kling_api": "model"}


def body_of(name: str) -> dict[str, Any]:
    return parse_body((FOLDER / f"{name}.json").read_text("utf-8"))


def read(name: str) -> Request:
    return read_request(name.partition("_")[0], body_of(name))


def refusal_of(provider: str, said: dict[str, Any], action: str | None = None) -> RequestError:
    with pytest.raises(RequestError) as refusal:
        read_request(provider, said, action=action)
    return refusal.value


def paths(provider: str, said: dict[str, Any], action: str | None = None) -> list[str]:
    return sorted(problem.path for problem in refusal_of(provider, said, action).problems)


def inside(name: str, **changes: Any) -> dict[str, Any]:
    said = body_of(name)
    return {**said, "input": {**said["input"], **changes}}


# --- the bodies -------------------------------------------------------------------------------


def test_every_body_has_its_expected_outcome():
    assert {file.stem for file in FOLDER.glob("*.json")} == {
        *PRICED,
        *LEFT_TO_AN_ESTIMATE,
        *REFUSED,
    }


@pytest.mark.parametrize("name", PRICED)
def test_a_body_that_its_gateway_takes_is_priced(name: str):
    assert str(read(name).quote(at=AT).amount) == PRICED[name]


@pytest.mark.parametrize("name", LEFT_TO_AN_ESTIMATE)
def test_a_body_that_only_our_book_cannot_price_is_read_and_says_what_is_missing(name: str):
    request = read(name)
    with pytest.raises(NoPriceError, match=LEFT_TO_AN_ESTIMATE[name]):
        request.quote(at=AT)


@pytest.mark.parametrize("name", REFUSED)
def test_a_body_that_its_gateway_does_not_take_is_refused_with_its_reason(name: str):
    assert REFUSED[name] in [
        problem.path for problem in refusal_of("runapi", body_of(name)).problems
    ]


@pytest.mark.parametrize("provider", ["runapi", "crun", "evolink", "uniall"])
def test_a_body_of_klings_own_api_is_told_apart(provider: str):
    assert "Kling's own API" in (refusal_of(provider, body_of("runapi_kling_api")).hint or "")


@pytest.mark.parametrize("name", [*PRICED, *LEFT_TO_AN_ESTIMATE])
def test_what_is_sent_asks_for_the_same(name: str):
    request = read(name)
    again = read_request(request.clip.provider, request.sent, action=request.clip.action)
    assert again.clip == request.clip
    assert request.body == body_of(name)


# --- another spelling -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "said", "sent"),
    [
        (
            "runapi",
            {"model": "kling-v3-omni", "prompt": "a", "duration_seconds": "7"},
            {"duration_seconds": 7},
        ),
        ("evolink", body_of("evolink_length_as_text"), {"duration": 5}),
        ("evolink", body_of("evolink_capitals"), {"quality": "1080p"}),
        ("evolink", {**body_of("evolink_capitals"), "sound": True}, {"sound": "on"}),
        ("evolink", {**body_of("evolink_capitals"), "sound": "OFF"}, {"sound": "off"}),
        ("uniall", {**body_of("uniall_openai_style"), "duration": "5"}, {"duration": 5}),
    ],
)
def test_another_spelling_is_sent_as_documented_and_said(
    provider: str, said: dict[str, Any], sent: dict[str, Any]
):
    request = read_request(provider, said)
    assert {name: request.sent[name] for name in sent} == sent
    [name] = sent
    assert any(one.startswith(f"{name} ") and "is sent as" in one for one in request.assumptions)


def test_another_spelling_inside_the_input_is_sent_as_documented():
    request = read_request("crun", inside("crun_text", duration="5", mode="PRO"))
    assert request.sent["input"] == body_of("crun_text")["input"]
    assert list(request.assumptions) == [
        'input.duration "5" is sent as 5',
        'input.mode "PRO" is sent as "pro"',
    ]
    assert str(request.quote(at=AT).amount) == "135 crun-credit"


@pytest.mark.parametrize("written", ["16", "05", "5.0", " 5", "5 ", "٥", "５", "+5", "", "5s"])
def test_a_text_that_says_no_length_is_refused_as_it_was_written(written: str):
    refusal = refusal_of("evolink", {**body_of("evolink_length_as_text"), "duration": written})
    assert [(one.path, one.got) for one in refusal.problems] == [("duration", written)]


def test_null_says_nothing_whatever_the_field_is_called():
    said = {**body_of("crun_text"), "seed": None}
    said["input"] = {**said["input"], "negative_prompt": None}
    assert read_request("crun", said).clip == read("crun_text").clip


def test_a_first_frame_of_null_does_not_tell_the_action():
    said = {"model": "kling-v2.6", "prompt": "a", "first_frame_image_url": None}
    assert read_request("runapi", said).clip.action == "text_to_video"


# --- Crun -------------------------------------------------------------------------------------


def test_a_mode_that_is_not_documented_is_noted():
    [note] = read("crun_elements_4k").assumptions
    assert note.startswith("input.mode 4K is not documented")
    assert read("crun_elements_4k").clip.resolution == "4k"


@pytest.mark.parametrize("shot_type", ["customize", "intelligence"])
def test_crun_itself_takes_the_shot_type_from_a_single_shot(shot_type: str):
    request = read_request("crun", inside("crun_text", shot_type=shot_type))
    assert str(request.quote(at=AT).amount) == "135 crun-credit"
    assert ["shot_type has no effect" in one for one in request.assumptions] == [True]


def test_a_shot_type_that_crun_does_not_know_is_refused():
    assert paths("crun", inside("crun_text", shot_type="auto")) == ["input.shot_type"]


def test_motion_control_of_crun_has_its_own_fields():
    clip = read("crun_motion").clip
    assert (clip.action, clip.resolution, clip.orientation) == ("motion_control", "1080p", "image")
    assert clip.video_input is True
    said = inside("crun_motion", video_urls=None, duration=5, mode="4K")
    assert paths("crun", said) == ["input.duration", "input.mode", "input.video_urls"]


@pytest.mark.parametrize(("orientation", "amount"), [("image", "180"), ("video", "540")])
def test_the_older_motion_control_of_crun_has_a_price(orientation: str, amount: str):
    said = inside("crun_motion", character_orientation=orientation)
    request = read_request("crun", {**said, "model": "kling/v2-6-motion-control"})
    # 10 or 30 s at most x 18
    assert str(request.quote(at=AT).amount) == f"{amount} crun-credit"


# --- EvoLink ----------------------------------------------------------------------------------


def test_a_first_frame_in_image_urls_is_one_and_the_only_one():
    assert read("evolink_image_urls").clip.frames == "first"
    said = {**body_of("evolink_image_urls"), "image_start": URL}
    assert paths("evolink", said) == ["image_urls"]
    said = {**body_of("evolink_image_urls"), "image_urls": [URL, URL]}
    assert paths("evolink", said) == ["image_urls"]


@pytest.mark.parametrize(
    ("audio", "sound", "amount"), [(True, "on", "54"), (False, "off", "35.991")]
)
def test_generate_audio_is_sent_as_sound(audio: bool, sound: str, amount: str):
    said = {**body_of("evolink_capitals"), "generate_audio": audio, "sound": None}
    request = read_request("evolink", said)
    assert request.sent["sound"] == sound
    # 5 s x 5.4 x 2 with sound, x 1.333 without
    assert str(request.quote(at=AT).amount) == f"{amount} evolink-credit"
    assert any("generate_audio" in one for one in request.assumptions)


def test_no_sound_is_written_beside_a_video_whatever_generate_audio_asks_for():
    said = {"model": "kling-o3-reference-to-video", "prompt": "a", "video_url": URL}
    request = read_request("evolink", {**said, "generate_audio": True})
    assert "sound" not in request.sent
    assert request.quote(at=AT) == read_request("evolink", said).quote(at=AT)


def test_generate_audio_may_not_contradict_the_sound():
    said = {**body_of("evolink_capitals"), "generate_audio": True}
    assert paths("evolink", said) == ["generate_audio"]
    assert read_request("evolink", {**said, "sound": "on"}).clip.sound is True


def test_two_shots_cannot_have_the_same_place():
    shots = [{"index": index, "prompt": "a", "duration": "5"} for index in (1, 2, 1)]
    params = {"multi_shot": True, "shot_type": "customize", "multi_prompt": shots}
    said = {"model": "kling-v3-text-to-video", "duration": 15, "model_params": params}
    assert paths("evolink", said) == ["model_params.multi_prompt[2].index"]


# --- RunAPI -----------------------------------------------------------------------------------


def test_the_length_of_runapis_home_page_is_sent_as_its_contract_has_it():
    request = read("runapi_home_page")
    assert (request.sent["duration"], request.sent["duration_seconds"]) == ("5", 5)
    assert request.assumptions[0] == 'duration "5" is sent as duration_seconds 5 too'


@pytest.mark.parametrize("duration", ["16", 2, True, "5s"])
def test_a_length_by_its_other_name_is_checked(duration: object):
    assert paths("runapi", {**body_of("runapi_home_page"), "duration": duration}) == ["duration"]


def test_two_lengths_may_not_contradict_each_other():
    said = {**body_of("runapi_home_page"), "duration_seconds": 6}
    assert paths("runapi", said) == ["duration"]
    assert read_request("runapi", {**said, "duration_seconds": "5"}).clip.seconds == 5


def test_a_model_without_a_length_has_none_by_another_name():
    said = {"model": "kling-v2.5-turbo-text-to-video-pro", "source_task_id": "t1", "duration": "5"}
    assert paths("runapi", said) == ["duration"]


def test_the_first_frame_is_for_a_single_shot():
    said = {**body_of("runapi_home_page"), "first_frame_image_url": URL, "multi_shots": True}
    assert paths("runapi", said) == ["first_frame_image_url"]


def test_several_shots_in_silence_are_noted_as_doubtful():
    said = {**body_of("runapi_home_page"), "multi_shots": True, "enable_sound": False}
    assert any("always have sound" in one for one in read_request("runapi", said).assumptions)


def test_a_first_frame_is_read_as_text_to_video_and_said():
    said = {**body_of("runapi_home_page"), "first_frame_image_url": URL}
    request = read_request("runapi", said)
    assert (request.clip.action, request.clip.frames) == ("text_to_video", "first")
    assert any(one.startswith("read as text_to_video") for one in request.assumptions)
    named = read_request("runapi", said, action="text_to_video")
    assert not any(one.startswith("read as") for one in named.assumptions)


def test_image_to_video_of_a_model_that_has_none_says_where_the_first_frame_goes():
    said = {"model": "kling-3.0", "prompt": "a", "first_frame_image_url": URL}
    with pytest.raises(NoPriceError, match=r"runapi kling-3\.0 image_to_video") as refusal:
        read_request("runapi", said, action="image_to_video")
    assert "text_to_video takes the first frame" in (refusal.value.hint or "")


# --- UniAll -----------------------------------------------------------------------------------


def test_the_openai_style_is_noted():
    assert [one.split()[0] for one in read("uniall_openai_style").assumptions] == [
        "size",
        "seconds",
    ]


def test_seconds_alone_are_sent_as_the_duration():
    said = {**body_of("uniall_openai_style"), "duration": None}
    request = read_request("uniall", said)
    assert request.sent["duration"] == 5
    assert str(request.quote(at=AT).amount) == "0.84 USD"


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"seconds": "6"}, "seconds"),
        ({"seconds": "5s"}, "seconds"),
        ({"size": "1280x720"}, "size"),
        ({"size": "3840x2160"}, "size"),
        ({"size": "large"}, "size"),
    ],
)
def test_the_openai_style_may_not_contradict_what_counts(changes: dict[str, Any], path: str):
    assert paths("uniall", {**body_of("uniall_openai_style"), **changes}) == [path]


@pytest.mark.parametrize("size", ["1920x1080", "1080x1920", "1080x1080"])
def test_a_size_of_the_models_own_resolution_is_taken(size: str):
    assert (
        read_request("uniall", {**body_of("uniall_openai_style"), "size": size}).clip.seconds == 5
    )
