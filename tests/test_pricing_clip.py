"""Clip: what is to be made, and what no provider could make."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_pricing import Clip, ClipError

ANY_JSON_SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


def clip(**said: Any) -> Clip:
    return Clip(provider="runapi", model="kling-3.0", **said)


def paths(error: ClipError) -> list[str]:
    return [problem.path for problem in error.problems]


def test_a_clip_is_a_text_to_video_of_which_nothing_else_is_said():
    said = clip()
    assert said.action == "text_to_video"
    assert (said.seconds, said.resolution, said.sound) == (None, None, None)
    assert said.multi_shot is False


@pytest.mark.parametrize("seconds", [1, 3, 5, 16, 10_000, Decimal("5.5"), Decimal("0.001")])
def test_any_length_above_zero_can_be_asked_for(seconds: int | Decimal):
    assert clip(seconds=seconds).seconds == seconds


@pytest.mark.parametrize(
    "seconds",
    [0, -1, Decimal(0), Decimal("-0.5"), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")],
)
def test_a_length_of_nothing_is_refused(seconds: int | Decimal):
    with pytest.raises(ClipError, match=r"seconds: .*allowed: a number of seconds above 0"):
        clip(seconds=seconds)


@pytest.mark.parametrize("seconds", [5.0, 5.5, "5", True, False, [5]])
def test_a_length_is_an_int_or_a_decimal(seconds: Any):
    with pytest.raises(ClipError) as refused:
        clip(seconds=seconds)
    assert paths(refused.value) == ["seconds"]
    assert refused.value.problems[0].got is seconds


@pytest.mark.parametrize("resolution", ["720p", "1080p", "4k"])
def test_three_resolutions_exist(resolution: str):
    assert clip(resolution=resolution).resolution == resolution


@pytest.mark.parametrize("resolution", ["8k", "4K", "720", "", 720, True, ["720p"], {}])
def test_any_other_resolution_is_refused(resolution: Any):
    with pytest.raises(ClipError, match=r"resolution: .*allowed: 720p, 1080p, 4k"):
        clip(resolution=resolution)


@pytest.mark.parametrize("sound", [0, 1, "on", "off", "true", []])
def test_sound_is_true_or_false(sound: Any):
    with pytest.raises(ClipError, match=r"sound: .*allowed: true or false"):
        clip(sound=sound)


@pytest.mark.parametrize(
    "action",
    [
        "text_to_video",
        "image_to_video",
        "motion_control",
        "ai_avatar",
        "extend_video",
        "edit_video",
    ],
)
def test_six_actions_exist(action: str):
    assert clip(action=action).action == action


@pytest.mark.parametrize("action", ["sing", "", "Text_To_Video", None, []])
def test_any_other_action_is_refused(action: Any):
    with pytest.raises(ClipError, match=r"action: .*allowed: text_to_video, image_to_video"):
        clip(action=action)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ClipError) as refused:
        clip(seconds=0, resolution="8k", sound="on", action="sing")
    assert paths(refused.value) == ["action", "seconds", "resolution", "sound"]


def test_a_refusal_says_the_value_as_json_writes_it():
    with pytest.raises(ClipError) as refused:
        clip(seconds=True, resolution="8k")
    assert str(refused.value) == (
        "seconds: got true, allowed: a number of seconds above 0, a day at most; "
        'resolution: got "8k", allowed: 720p, 1080p, 4k'
    )


def test_a_clip_cannot_be_changed():
    with pytest.raises(AttributeError):
        clip().seconds = 5  # type: ignore[misc]


def test_equal_clips_are_one_key():
    assert {clip(seconds=5), clip(seconds=Decimal(5))} == {clip(seconds=5)}


def test_a_clip_refusal_has_a_stable_code_and_is_final():
    assert ClipError.code == "clip"
    assert ClipError.retryable is False


@given(ANY_JSON_SCALAR, ANY_JSON_SCALAR, ANY_JSON_SCALAR)
def test_whatever_is_said_is_a_clip_or_a_refusal(seconds: Any, resolution: Any, sound: Any):
    try:
        said = clip(seconds=seconds, resolution=resolution, sound=sound)
    except ClipError:
        return
    assert said.seconds is None or said.seconds > 0
    assert said.resolution in {None, "720p", "1080p", "4k"}
    assert said.sound in {None, True, False}
