"""RunAPI's actions and models: each documented rule of its contract, at it and just past it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kling_pricing import NoPriceError, RequestError
from kling_pricing.gateways import Request, read_request
from kling_pricing.gateways.runapi.contract import actions_of, known, table_of

REQUESTS = Path(__file__).parent / "requests"
URL = "https://example.com/a.png"
PROMPT = {"prompt": "a"}
FRAME = {**PROMPT, "first_frame_image_url": URL}

# The least that each model takes.
LEAST: dict[str, dict[str, Any]] = {
    "kling-3.0 text_to_video": {**PROMPT, "duration_seconds": 5, "output_resolution": "720p"},
    "kling-o1 text_to_video": {**PROMPT, "duration_seconds": 5, "mode": "std"},
    "kling-v2.1-master-text-to-video text_to_video": {**PROMPT, "duration_seconds": 5},
    "kling-v2.5-turbo-text-to-video-pro text_to_video": {**PROMPT, "duration_seconds": 5},
    "kling-v2.6 text_to_video": {**PROMPT, "duration_seconds": 5, "mode": "std"},
    "kling-v3-omni text_to_video": {**PROMPT, "duration_seconds": 5, "output_resolution": "4k"},
    "kling-v3-omni-reference text_to_video": {
        **PROMPT, "duration_seconds": 5, "output_resolution": "4k", "aspect_ratio": "1:1",
        "reference_image_urls": [URL],
    },
    "kling-v3-turbo-text-to-video text_to_video": {
        **PROMPT, "duration_seconds": 5, "output_resolution": "1080p",
    },
    "kling-o1 image_to_video": {**FRAME, "duration_seconds": 5, "mode": "pro"},
    "kling-v2.1-master-image-to-video image_to_video": {**FRAME, "duration_seconds": 5},
    "kling-v2.1-pro image_to_video": {**FRAME, "duration_seconds": 5},
    "kling-v2.1-standard image_to_video": {**FRAME, "duration_seconds": 5},
    "kling-v2.5-turbo-image-to-video-pro image_to_video": {**FRAME, "duration_seconds": 5},
    "kling-v2.6 image_to_video": {**FRAME, "duration_seconds": 5, "mode": "pro"},
    "kling-v3-omni image_to_video": {**FRAME, "duration_seconds": 5, "output_resolution": "720p"},
    "kling-v3-turbo-image-to-video image_to_video": {
        **FRAME, "duration_seconds": 5, "output_resolution": "720p",
    },
    "kling-3.0 motion_control": {
        "source_image_url": URL, "reference_video_url": URL, "output_resolution": "720p",
    },
    "kling-v2.6 motion_control": {
        "source_image_url": URL, "reference_video_url": URL, "output_resolution": "720p",
        "character_orientation": "video",
    },
    "kling-v3-omni-edit edit_video": {
        **PROMPT, "source_video_url": URL, "aspect_ratio": "auto",
    },
    "kling-v3-omni-reference edit_video": {
        **PROMPT, "source_task_id": "t", "aspect_ratio": "auto",
    },
    "kling-v2.5-turbo-image-to-video-pro extend_video": {"source_task_id": "t", "mode": "std"},
    "kling-v2.5-turbo-text-to-video-pro extend_video": {"source_task_id": "t", "mode": "pro"},
    **{
        f"{model} ai_avatar": {**PROMPT, "source_image_url": URL, "source_audio_url": URL}
        for model in (
            "kling-ai-avatar-pro", "kling-ai-avatar-standard", "kling-ai-avatar-v1-pro",
            "kling-v1-avatar-standard",
        )
    },
}  # fmt: skip


def body(which: str, **changes: Any) -> dict[str, Any]:
    return {"model": which.split(maxsplit=1)[0], **LEAST[which], **changes}


def read(said: object, action: str | None = None) -> Request:
    return read_request("runapi", said, action=action)


def paths(said: object, action: str | None = None) -> list[str]:
    with pytest.raises(RequestError) as refusal:
        read_request("runapi", said, action=action, strict=True)
    return sorted(problem.path for problem in refusal.value.problems)


# --- every model and action -----------------------------------------------------------------


def test_every_documented_model_is_tested_here():
    assert sorted(LEAST) == sorted(known())


@pytest.mark.parametrize("which", LEAST)
def test_the_action_is_told_by_the_body(which: str):
    model, action = which.split()
    clip = read(body(which)).clip
    assert (clip.model, clip.action) == (model, action)
    assert read(body(which), action).clip == clip


PRICED = ("duration_seconds", "output_resolution", "mode", "enable_sound")


@pytest.mark.parametrize("which", LEAST)
def test_each_field_that_is_no_priced_option_is_required(which: str):
    said = body(which)
    for name in LEAST[which]:
        if name in PRICED and which != "kling-v2.6 motion_control":
            continue
        problem = {"source_task_id": "source_video_url"} if "edit" in which else {}
        rest = {key: value for key, value in said.items() if key != name}
        assert paths(rest, which.split()[1]) == [problem.get(name, name)]


# What RunAPI's own contract names as the default, model by model.
# Source: https://github.com/runapi-ai/mcp data/contract.json at 9e99875, checked 2026-11-26.
O1 = V26 = {"mode": "std", "enable_sound": False, "duration_seconds": 5}
TURBO = {"duration_seconds": 5, "output_resolution": "720p"}
OMNI = {**TURBO, "enable_sound": False}
DEFAULTS: dict[str, dict[str, Any]] = {
    "kling-o1 text_to_video": O1,
    "kling-o1 image_to_video": O1,
    "kling-v2.6 text_to_video": V26,
    "kling-v2.6 image_to_video": V26,
    "kling-v3-omni text_to_video": OMNI,
    "kling-v3-omni image_to_video": OMNI,
    "kling-v3-omni-reference text_to_video": OMNI,
    "kling-v3-omni-edit edit_video": OMNI,
    "kling-v3-omni-reference edit_video": OMNI,
    "kling-v3-turbo-text-to-video text_to_video": TURBO,
    "kling-v3-turbo-image-to-video image_to_video": TURBO,
    "kling-v2.5-turbo-text-to-video-pro extend_video": {"mode": "std"},
    "kling-v2.5-turbo-image-to-video-pro extend_video": {"mode": "std"},
    # Not in the contract: its page says that sound is turned on "optionally".
    "kling-3.0 text_to_video": {"enable_sound": False},
}
DEAREST: dict[str, dict[str, Any]] = {
    "kling-3.0 text_to_video": {"duration_seconds": 15, "output_resolution": "4k"},
    "kling-3.0 motion_control": {"output_resolution": "1080p"},
    **{
        f"{model} {action}": {"duration_seconds": 10}
        for model, action in (
            ("kling-v2.1-master-text-to-video", "text_to_video"),
            ("kling-v2.5-turbo-text-to-video-pro", "text_to_video"),
            ("kling-v2.1-master-image-to-video", "image_to_video"),
            ("kling-v2.1-pro", "image_to_video"),
            ("kling-v2.1-standard", "image_to_video"),
            ("kling-v2.5-turbo-image-to-video-pro", "image_to_video"),
        )
    },
}


def bare(which: str) -> dict[str, Any]:
    return {name: value for name, value in body(which).items() if name not in PRICED}


@pytest.mark.parametrize("which", sorted({*DEFAULTS, *DEAREST}))
def test_what_a_body_leaves_out_is_written_out_or_held_at_its_dearest(which: str):
    action = which.split()[1]
    written, held = DEFAULTS.get(which, {}), DEAREST.get(which, {})
    request = read(bare(which), action)
    assert request.body == bare(which)
    assert request.sent == {**bare(which), **written}
    assert request.clip == read({**request.sent, **held}, action).clip
    assert len(request.assumptions) == len(written) + len(held)
    for name in written:
        assert any(one.startswith(f"{name} is not given") for one in request.assumptions)
    for name in held:
        (why,) = [one for one in request.assumptions if one.startswith(f"{name} is not given")]
        assert "the dearest" in why


@pytest.mark.parametrize("which", LEAST)
def test_what_is_sent_says_all_that_is_documented_and_is_sent_again_as_it_is(which: str):
    action = which.split()[1]
    sent = read(body(which), action).sent
    assert read(sent, action).sent == sent
    assert not any("default," in one for one in read(sent, action).assumptions)


@pytest.mark.parametrize("name", sorted(OMNI))
def test_null_in_a_priced_option_is_written_over(name: str):
    said = {**body("kling-v3-omni text_to_video"), **OMNI, name: None}
    assert read(said).sent == {**said, name: OMNI[name]}


def every_way(which: str) -> Iterator[dict[str, Any]]:
    """Yield the body with each value of each option that it may leave open."""
    model, action = which.split()
    table = table_of(action, model)
    assert table is not None
    values: dict[str, list[Any]] = {}
    for name in DEAREST[which]:
        candidates = [*range(3, 16)] if name == "duration_seconds" else ["720p", "1080p", "4k"]
        values[name] = [one for one in candidates if not list(table.fields[name].problems("", one))]
    for chosen in itertools.product(*values.values()):
        yield {**bare(which), **dict(zip(values, chosen, strict=True))}


@pytest.mark.parametrize("which", DEAREST)
def test_no_way_to_fill_what_is_open_costs_more_than_is_held(which: str):
    action, at = which.split()[1], datetime(2026, 11, 26, tzinfo=UTC)
    held = read(bare(which), action).quote(at=at).amount
    amounts = [read(way, action).quote(at=at).amount for way in every_way(which)]
    assert max(amounts) == held
    assert min(amounts) < held


def test_sound_at_v26_needs_a_mode_that_is_said():
    said = body("kling-v2.6 text_to_video", enable_sound=True)
    del said["mode"]
    assert paths(said) == ["enable_sound"]


@pytest.mark.parametrize("which", LEAST)
def test_a_field_of_another_model_is_refused_by_name(which: str):
    model, action = which.split()
    table = table_of(action, model)
    assert table is not None
    for name, why in (table.forbidden or {}).items():
        assert why == f"nothing: {model} does not take it"
        assert name in paths(body(which, **{name: "x"}), action)


@pytest.mark.parametrize("which", LEAST)
@pytest.mark.parametrize("name", ["seed", "duration", "Prompt"])
def test_an_unknown_field_is_refused(which: str, name: str):
    assert paths(body(which, **{name: 1}), which.split()[1]) == [name]


def lengths(which: str) -> list[int]:
    table = table_of(which.split()[1], which.split(maxsplit=1)[0])
    check = table.fields.get("duration_seconds") if table else None
    return [s for s in range(1, 20) if check and not list(check.problems("", s))]


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        ("kling-3.0", list(range(3, 16))),
        ("kling-v3-omni", list(range(3, 16))),
        ("kling-v3-turbo-text-to-video", list(range(3, 16))),
        ("kling-v2.6", [5, 10]),
        ("kling-v2.5-turbo-text-to-video-pro", [5, 10]),
        ("kling-v2.1-master-text-to-video", [5, 10]),
        ("kling-o1", [5]),
    ],
)
def test_each_model_takes_its_own_lengths(model: str, taken: list[int]):
    assert lengths(f"{model} text_to_video") == taken


@pytest.mark.parametrize(
    ("which", "taken"),
    [
        ("kling-3.0 text_to_video", {"720p", "1080p", "4k"}),
        ("kling-v3-omni image_to_video", {"720p", "1080p", "4k"}),
        ("kling-v3-turbo-image-to-video image_to_video", {"720p", "1080p"}),
        ("kling-3.0 motion_control", {"720p", "1080p"}),
    ],
)
def test_each_model_takes_its_own_resolutions(which: str, taken: set[str]):
    for resolution in ("720p", "1080p", "4k", "480p"):
        said = body(which, output_resolution=resolution)
        if resolution in taken:
            assert read(said).clip.resolution == resolution
        else:
            assert paths(said) == ["output_resolution"]


@pytest.mark.parametrize(("mode", "resolution"), [("std", "720p"), ("pro", "1080p")])
@pytest.mark.parametrize(
    "which", ["kling-v2.6 image_to_video", "kling-v2.5-turbo-text-to-video-pro extend_video"]
)
def test_a_mode_is_read_as_its_resolution(which: str, mode: str, resolution: str):
    assert read(body(which, mode=mode)).clip.resolution == resolution


@pytest.mark.parametrize(
    "which",
    [
        which
        for which in LEAST
        if "prompt" in LEAST[which] and which.startswith(("kling-o1", "kling-v2.6", "kling-v3"))
    ],
)
def test_a_prompt_has_at_most_2500_characters(which: str):
    assert read(body(which, prompt="x" * 2500)).clip == read(body(which)).clip
    assert paths(body(which, prompt="x" * 2501)) == ["prompt"]


# --- sound ----------------------------------------------------------------------------------


def test_kling_2_6_has_sound_with_mode_pro_only():
    which = "kling-v2.6 text_to_video"
    assert read(body(which, mode="pro", enable_sound=True)).clip.sound is True
    assert paths(body(which, mode="std", enable_sound=True)) == ["enable_sound"]


def test_o1_is_silent():
    request = read(body("kling-o1 text_to_video"))
    assert (request.clip.sound, request.sent["enable_sound"]) == (False, False)
    assert paths(body("kling-o1 text_to_video", enable_sound=True)) == ["enable_sound"]


def test_a_model_without_the_field_says_nothing_about_sound():
    request = read(body("kling-v2.1-pro image_to_video"))
    assert (request.clip.sound, request.assumptions) == (None, ())


# --- several shots and elements -------------------------------------------------------------


def multi(*seconds: Any, **changes: Any) -> dict[str, Any]:
    shots = [{"prompt": "a", "duration_seconds": length} for length in seconds]
    return body("kling-3.0 text_to_video", multi_shots=True, multi_prompt=shots, **changes)


def test_shots_that_add_up_are_taken():
    assert read(multi(1, 4)).clip.multi_shot is True


@pytest.mark.parametrize("seconds", [[4], [1, 5]])
def test_shots_that_do_not_add_up_are_refused(seconds: list[int]):
    assert paths(multi(*seconds)) == ["multi_prompt"]


@pytest.mark.parametrize("length", [0, "5", 2.5, None, True])
def test_a_shot_lasts_whole_seconds(length: Any):
    assert paths(multi(5, length)) == ["multi_prompt[1].duration_seconds"]


def test_several_shots_have_no_last_frame():
    assert paths(multi(5, last_frame_image_url=URL)) == ["last_frame_image_url"]


@pytest.mark.parametrize(
    ("end", "is_taken"), [(3999, False), (4000, True), (9000, True), (9001, False)]
)
def test_an_element_uses_3_to_8_seconds_of_its_video(end: int, is_taken: bool):
    element = {"name": "a", "description": "b", "start_time": 1000, "end_time": end}
    said = body("kling-3.0 text_to_video", kling_elements=[element])
    if is_taken:
        assert read(said).clip.elements is True
    else:
        assert paths(said) == ["kling_elements[0].end_time"]


# --- references -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"reference_image_urls": []}, "reference_image_urls"),
        ({"reference_image_urls": [URL] * 8}, "reference_image_urls"),
        ({"reference_image_urls": [URL] * 5, "reference_video_url": URL}, "reference_image_urls"),
        ({"reference_video_type": "feature"}, "reference_video_type"),
        ({"preserve_reference_video_audio": True}, "preserve_reference_video_audio"),
    ],
)
def test_o1_references_follow_their_rules(changes: dict[str, Any], path: str):
    assert paths(body("kling-o1 text_to_video", **changes)) == [path]


@pytest.mark.parametrize(
    "changes",
    [
        {"reference_image_urls": [URL] * 7},
        {"reference_image_urls": [URL] * 4, "reference_video_url": URL},
    ],
)
def test_o1_takes_seven_images_or_four_beside_a_video(changes: dict[str, Any]):
    clip = read(body("kling-o1 text_to_video", **changes)).clip
    assert clip.video_input is ("reference_video_url" in changes)


def test_an_o1_base_video_takes_no_frames():
    which = "kling-o1 image_to_video"
    assert paths(body(which, reference_video_url=URL)) == ["first_frame_image_url"]
    feature = body(which, reference_video_url=URL, reference_video_type="feature")
    assert read(feature).clip.frames == "first"


# --- editing --------------------------------------------------------------------------------

EDIT = "kling-v3-omni-edit edit_video"
REFERENCE = "kling-v3-omni-reference edit_video"


def test_an_edit_starts_from_a_video_or_a_task_not_both():
    assert paths(body(EDIT, source_task_id="t")) == ["source_task_id"]


@pytest.mark.parametrize("ratio", ["16:9", "9:16", "1:1"])
@pytest.mark.parametrize("which", [EDIT, REFERENCE])
def test_reference_images_decide_the_aspect_ratios(which: str, ratio: str):
    images = {"reference_image_urls": [URL]}
    assert read(body(which, aspect_ratio=ratio, **images)).clip.action == "edit_video"
    assert paths(body(which, aspect_ratio=ratio)) == ["aspect_ratio"]
    assert paths(body(which, **images)) == ["aspect_ratio"]


def test_without_reference_images_an_edit_lasts_five_seconds():
    assert read(body(EDIT, duration_seconds=5)).clip.seconds == 5
    assert paths(body(EDIT, duration_seconds=6)) == ["duration_seconds"]
    images = {"reference_image_urls": [URL], "aspect_ratio": "1:1"}
    assert read(body(EDIT, duration_seconds=6, **images)).clip.seconds == 6


def test_the_reference_model_edits_in_silence():
    assert paths(body(REFERENCE, enable_sound=True)) == ["enable_sound"]


@pytest.mark.parametrize("count", [0, 5])
def test_an_edit_takes_one_to_four_images(count: int):
    said = body(EDIT, reference_image_urls=[URL] * count)
    assert "reference_image_urls" in paths(said)


# --- motion control -------------------------------------------------------------------------


def test_motion_control_is_led_by_image_or_video():
    clip = read(body("kling-3.0 motion_control", character_orientation="image")).clip
    assert (clip.orientation, clip.seconds, clip.video_input) == ("image", None, True)
    assert paths(body("kling-3.0 motion_control", character_orientation="both")) == [
        "character_orientation"
    ]


def test_kling_2_6_has_no_background_source():
    assert paths(body("kling-v2.6 motion_control", background_source="image")) == [
        "background_source"
    ]


# --- the whole ------------------------------------------------------------------------------


def test_the_published_body_is_the_one_in_the_folder():
    said = json.loads((REQUESTS / "runapi_text_to_video.json").read_text("utf-8"))
    assert read(said).clip.resolution == "1080p"


@pytest.mark.parametrize("action", ["lip_sync", "", "edit_video"])
def test_an_action_that_a_model_does_not_have_has_no_price(action: str):
    with pytest.raises(NoPriceError, match="runapi kling-v2"):
        read(body("kling-v2.1-pro image_to_video"), action or "custom_element")


def test_a_model_that_nothing_is_known_of_has_no_action():
    assert actions_of("kling-9") == ()


@pytest.mark.parametrize("provider", ["crun", "evolink", "runapi", "uniall"])
def test_one_provider_is_read_without_importing_the_others(provider: str):
    code = (
        "import sys; from kling_pricing.gateways import read_request\n"
        f"try: read_request({provider!r}, {{}})\n"
        "except Exception: pass\n"
        "names = {'crun', 'evolink', 'runapi', 'uniall'}\n"
        "print(*[n for n in names if f'kling_pricing.gateways.{n}' in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [provider]
