"""Clips written as request bodies: each reads back as the same clip, at the same price."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_pricing import Clip, KlingError, NoPriceError, RequestError, quote
from kling_pricing.clip import CLIP_FIELDS
from kling_pricing.gateways import Request, parse_body, read_request, write_request
from kling_pricing.gateways.writing import Element, Shot
from kling_pricing.library import bundled_book
from kling_pricing.vocabulary import ACTIONS, FRAMES, ORIENTATIONS, RESOLUTIONS

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
REQUESTS = Path(__file__).parent / "requests"
REAL = {
    file.stem: file.read_text("utf-8")
    for file in sorted(REQUESTS.glob("*.json"))
    if "duplicate" not in file.stem
}
FIRST = "https://example.com/first.png"
LAST = "https://example.com/last.png"
HERO = Element("hero", "A young explorer.", ("https://example.com/hero.png",))
WORKS: dict[str, Clip] = {
    "runapi": Clip("runapi", "kling-3.0", seconds=5, resolution="1080p", sound=True),
    "crun": Clip("crun", "kling/v3", seconds=5, resolution="1080p", sound=True),
    "evolink": Clip("evolink", "kling-v3-text-to-video", seconds=5, resolution="720p", sound=False),
    "uniall": Clip("uniall", "kling-v3-pro-audio", seconds=5),
}


def clip_at(provider: str, **changes: Any) -> Clip:
    return WORKS[provider].with_options(changes)


def read_back(request: Request) -> Request:
    body = parse_body(json.dumps(request.body))
    return read_request(request.clip.provider, body, action=request.clip.action)


def is_by_id(clip: Clip, name: str) -> bool:
    """Whether the model's id alone says what the clip says, so that no field has to."""
    offers = bundled_book(clip.provider).offers.get((clip.model, clip.action), ())
    return any(offer.fixed.get(name) == getattr(clip, name) for offer in offers)


def assert_says_the_same(clip: Clip, request: Request) -> None:
    """The law: the body reads back as the clip, and costs what the clip costs."""
    read = read_back(request).clip
    for name in CLIP_FIELDS:
        said = getattr(clip, name)
        if said is not None and name != "input_seconds" and not is_by_id(clip, name):
            assert getattr(read, name) == said, name
    try:
        price = quote(clip, at=AT)
    except KlingError:
        return  # what nobody said and the price needs may have been filled in
    assert request.quote(at=AT).amount == price.amount
    if clip.input_seconds is None:
        assert quote(read, at=AT).amount == price.amount


def problems_of(clip: Clip, **inputs: Any) -> dict[str, str]:
    with pytest.raises(RequestError) as refusal:
        write_request(clip, **{"prompt": "A lake.", **inputs})
    return {problem.path: problem.allowed for problem in refusal.value.problems}


# --- the law ----------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20).filter(str.strip)
addresses = st.sampled_from([FIRST, LAST, "https://example.com/other.png"])


@st.composite
def takeable(draw: st.DrawFn) -> tuple[Clip, dict[str, Any]]:
    """A clip of text, frames, shots and elements that its provider has words for."""
    provider = draw(st.sampled_from(sorted(WORKS)))
    is_multi_shot = provider != "uniall" and draw(st.booleans())
    # At RunAPI the first frame is for a single shot, at Crun several shots need one.
    of_several = "none" if provider == "runapi" else "first"
    frames = of_several if is_multi_shot else draw(st.sampled_from(FRAMES))
    inputs = draw_frames(draw, frames) | draw_shots(draw, is_multi_shot)
    inputs |= {"aspect_ratio": draw(st.sampled_from([None, "16:9", "9:16", "1:1"]))}
    if provider in {"runapi", "crun"} and draw(st.booleans()):
        inputs["elements"] = [HERO]
    seconds = sum(shot.seconds for shot in inputs.get("shots", ())) or draw(st.integers(3, 15))
    clip = WORKS[provider].with_options(
        {
            "seconds": draw(st.sampled_from([seconds, Decimal(seconds)])),
            "multi_shot": is_multi_shot,
            "frames": frames,
            "elements": "elements" in inputs,
        }
    )
    return (clip if provider == "runapi" else with_action(clip)), inputs


def draw_frames(draw: st.DrawFn, frames: str) -> dict[str, Any]:
    images = {"none": (), "first": ("image_url",), "first_last": ("image_url", "last_image_url")}
    return {name: draw(addresses) for name in images[frames]}


def draw_shots(draw: st.DrawFn, is_multi_shot: bool) -> dict[str, Any]:
    if not is_multi_shot or draw(st.booleans()):
        return {"prompt": draw(texts)}
    lengths = draw(st.lists(st.integers(1, 7), min_size=2, max_size=2).filter(lambda n: sum(n) > 2))
    return {"shots": [Shot(draw(texts), length) for length in lengths]}


def with_action(clip: Clip) -> Clip:
    has_image = clip.frames != "none"
    action = "image_to_video" if has_image else "text_to_video"
    models = {
        "evolink": "kling-v3-image-to-video" if has_image else "kling-v3-text-to-video",
    }
    values = {name: getattr(clip, name) for name in CLIP_FIELDS}
    return Clip(**values | {"action": action, "model": models.get(clip.provider, clip.model)})


@settings(max_examples=200)
@given(takeable())
def test_what_a_provider_can_say_is_written_and_reads_back_the_same(
    case: tuple[Clip, dict[str, Any]],
):
    clip, inputs = case
    request = write_request(clip, **inputs)
    assert_says_the_same(clip, request)
    assert request.clip == read_back(request).clip


clips = st.builds(
    Clip,
    provider=st.sampled_from(sorted(WORKS)),
    model=st.sampled_from([
        *("kling-3.0", "kling-o1", "kling-v2.6", "kling-v3-omni", "kling-ai-avatar-pro"),
        *("kling-v2.5-turbo-text-to-video-pro", "kling-v2.1-pro", "kling-v3-omni-reference"),
        *("kling/v3", "kling-v3-text-to-video", "kling-v3-image-to-video", "kling-o3-video-edit"),
        *("kling-v3-motion-control", "kling-custom-element", "kling-o1-video-edit"),
        *("kling-v3-std-silent", "kling-v3-pro-audio", "kling-o3-reference-to-video"),
    ]),
    action=st.sampled_from(ACTIONS),
    seconds=st.none() | st.integers(2, 16) | st.just(Decimal("4.5")),
    resolution=st.none() | st.sampled_from(RESOLUTIONS),
    sound=st.none() | st.booleans(),
    multi_shot=st.booleans(),
    voice=st.booleans(),
    video_input=st.booleans(),
    elements=st.booleans(),
    frames=st.sampled_from(FRAMES),
    orientation=st.none() | st.sampled_from(ORIENTATIONS),
    input_seconds=st.none() | st.integers(2, 12),
)  # fmt: skip
inputs_of_any_kind = st.fixed_dictionaries(
    {},
    optional={
        "prompt": texts | st.just(""),
        "negative_prompt": texts,
        "aspect_ratio": st.sampled_from(["16:9", "auto", "4:3"]),
        "cfg_scale": st.floats(0, 2),
        "image_url": addresses,
        "last_image_url": addresses,
        "reference_image_urls": st.lists(addresses, max_size=5),
        "video_url": addresses,
        "audio_url": addresses,
        "source_task_id": texts,
        "shots": st.lists(st.builds(Shot, texts, st.integers(0, 9)), max_size=3),
        "elements": st.lists(st.just(HERO), max_size=4),
        "callback_url": st.sampled_from(["https://example.com/done", "http://10.0.0.1/done"]),
    },
)


@settings(max_examples=400)
@given(clips, inputs_of_any_kind)
def test_any_clip_is_refused_or_written_to_read_back_the_same(clip: Clip, inputs: dict[str, Any]):
    try:
        request = write_request(clip, **inputs)
    except (RequestError, NoPriceError):
        return
    assert_says_the_same(clip, request)


def everything_in(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(found for part in inner for found in everything_in(part))]


@settings(max_examples=200)
@given(takeable(), inputs_of_any_kind)
def test_no_input_is_left_out_of_a_body(case: tuple[Clip, dict[str, Any]], more: dict[str, Any]):
    clip, inputs = case
    try:
        request = write_request(clip, **{**more, **inputs})
    except RequestError:
        return
    written = everything_in(request.body)
    for name, value in {**more, **inputs}.items():
        if value is not None and name not in {"shots", "elements", "reference_image_urls"}:
            assert value in written, name


# --- every model ------------------------------------------------------------------------------

# What each model and action needs beside a prompt, where it needs anything.
NEEDS: dict[tuple[str, str], dict[str, Any]] = {
    ("kling-3.0", "motion_control"): {"image_url": FIRST, "video_url": LAST},
    ("kling-v2.6", "motion_control"): {"image_url": FIRST, "video_url": LAST},
    ("kling-v3-motion-control", "motion_control"): {"image_url": FIRST, "video_url": LAST},
    ("kling-o3-reference-to-video", "reference_to_video"): {"video_url": LAST},
    ("kling-o3-video-edit", "edit_video"): {"video_url": LAST},
    ("kling-o1-video-edit", "edit_video"): {"video_url": LAST},
}
BY_ACTION: dict[str, dict[str, Any]] = {
    "image_to_video": {"image_url": FIRST},
    "extend_video": {"source_task_id": "task-1"},
    "ai_avatar": {"image_url": FIRST, "audio_url": LAST},
}
WITHOUT_WORDS = {
    ("crun", "kling/v2-6-motion-control", "motion_control"),  # no body of it is documented
    ("evolink", "kling-custom-element", "custom_element"),  # nor what its fields are
}


def priced() -> list[tuple[str, str, str]]:
    return [
        (provider, model, action)
        for provider in sorted(WORKS)
        for model, action in sorted(bundled_book(provider).offers)
    ]


def simplest(provider: str, model: str, action: str) -> tuple[Clip, dict[str, Any]]:
    rate = bundled_book(provider).offer_for(model, action, AT).rate
    inputs = NEEDS.get((model, action)) or BY_ACTION.get(action, {})
    listed = next(cell for cell in rate.prices if None not in cell)
    options = dict(zip(rate.dimensions, listed, strict=True))
    fixed = bundled_book(provider).offer_for(model, action, AT).fixed
    has_frame = action == "image_to_video"
    clip = Clip(
        provider,
        model,
        action,
        seconds=5 if rate.request else None,
        frames="first" if has_frame else "none",
        video_input=bool({"video_url", "source_task_id"} & set(inputs)),
        orientation="image" if action == "motion_control" else None,
    )
    return clip.with_options({**options, **fixed}), inputs


@pytest.mark.parametrize(("provider", "model", "action"), priced())
def test_every_priced_model_can_be_written(provider: str, model: str, action: str):
    clip, inputs = simplest(provider, model, action)
    if (provider, model, action) in WITHOUT_WORDS:
        with pytest.raises((RequestError, NoPriceError)):
            write_request(clip, prompt="A lake.", **inputs)
        return
    request = write_request(clip, prompt="A lake.", **inputs)
    assert_says_the_same(clip, request)
    assert request.quote(at=AT).amount == quote(clip, at=AT).amount


# --- the real requests ------------------------------------------------------------------------


def inputs_for(clip: Clip) -> dict[str, Any]:
    seconds = clip.seconds
    assert isinstance(seconds, int)
    halves = [Shot("A hill.", seconds // 2), Shot("A lake.", seconds - seconds // 2)]
    said = {
        "image_url": FIRST if clip.frames != "none" else None,
        "last_image_url": LAST if clip.frames == "first_last" else None,
        "shots": halves if clip.multi_shot else None,
        "elements": [HERO] if clip.elements else None,
    }
    return {name: value for name, value in said.items() if value is not None}


@pytest.mark.parametrize("name", REAL)
def test_the_clip_of_a_real_request_written_again_costs_the_same(name: str):
    real = read_request(name.split("_", 1)[0], parse_body(REAL[name]))
    again = write_request(real.clip, prompt="A lake.", **inputs_for(real.clip))
    assert again.clip == real.clip
    assert again.quote(at=AT) == real.quote(at=AT)


# --- each dialect -----------------------------------------------------------------------------


def test_a_runapi_body_has_its_fields_and_its_action():
    clip = clip_at("runapi", multi_shot=True, elements=True, seconds=10)
    shots = [Shot("A hill.", 4), Shot("A lake.", 6)]
    request = write_request(
        clip, shots=shots, elements=[HERO], callback_url="https://example.com/done"
    )
    assert request.clip.action == "text_to_video"
    assert request.body == {
        "model": "kling-3.0",
        "duration_seconds": 10,
        "output_resolution": "1080p",
        "enable_sound": True,
        "multi_shots": True,
        "multi_prompt": [
            {"prompt": "A hill.", "duration_seconds": 4},
            {"prompt": "A lake.", "duration_seconds": 6},
        ],
        "kling_elements": [
            {
                "name": "hero",
                "description": "A young explorer.",
                "element_input_urls": ["https://example.com/hero.png"],
            }
        ],
        "callback_url": "https://example.com/done",
    }


def test_runapi_is_told_a_mode_where_a_model_has_no_resolution():
    clip = Clip("runapi", "kling-v2.6", seconds=5, resolution="1080p", sound=True)
    assert write_request(clip, prompt="A lake.").body["mode"] == "pro"


def test_a_crun_body_has_both_frames_in_their_order():
    clip = with_action(clip_at("crun", frames="first_last"))
    request = write_request(clip, prompt="A lake.", image_url=FIRST, last_image_url=LAST)
    assert request.body == {
        "model": "kling/v3",
        "input": {
            "duration": 5,
            "mode": "pro",
            "audio": True,
            "prompt": "A lake.",
            "img_urls": [FIRST, LAST],
            "multi_shots": False,
        },
    }


def test_an_evolink_body_counts_its_shots_and_spells_their_lengths():
    clip = clip_at("evolink", multi_shot=True)
    request = write_request(clip, shots=[Shot("A hill.", 2), Shot("A lake.", 3)])
    assert request.body == {
        "model": "kling-v3-text-to-video",
        "duration": 5,
        "quality": "720p",
        "sound": "off",
        "model_params": {
            "multi_shot": True,
            "shot_type": "customize",
            "multi_prompt": [
                {"index": 1, "prompt": "A hill.", "duration": "2"},
                {"index": 2, "prompt": "A lake.", "duration": "3"},
            ],
        },
    }


def test_a_uniall_body_says_resolution_and_sound_by_its_model():
    request = write_request(
        clip_at("uniall", resolution="1080p", sound=True),
        prompt="A lake.",
        negative_prompt="blur",
        cfg_scale=0.5,
    )
    assert request.body == {
        "model": "kling-v3-pro-audio",
        "prompt": "A lake.",
        "duration": 5,
        "extra_body": {"negative_prompt": "blur", "cfg_scale": 0.5},
    }


def test_a_multi_shot_clip_without_shots_is_the_providers_to_cut():
    crun = with_action(clip_at("crun", multi_shot=True, frames="first"))
    written = write_request(crun, prompt="A lake.", image_url=FIRST).body
    assert written["input"]["shot_type"] == "intelligence"
    evolink = write_request(clip_at("evolink", multi_shot=True), prompt="A lake.").body
    assert evolink["model_params"] == {"multi_shot": True, "shot_type": "intelligence"}


# --- what cannot be said ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "inputs"),
    [
        ("crun", {"negative_prompt": "blur"}),
        ("crun", {"cfg_scale": 0.5}),
        ("evolink", {"cfg_scale": 0.5}),
        ("uniall", {"callback_url": "https://example.com/done"}),
        ("uniall", {"elements": [HERO]}),
        ("runapi", {"audio_url": LAST}),
        ("runapi", {"video_url": LAST}),
    ],
)
def test_an_input_that_a_provider_has_no_field_for_is_named(provider: str, inputs: dict[str, Any]):
    (name,) = inputs
    problems = problems_of(WORKS[provider], **inputs)
    assert problems == {name: f"nothing: {WORKS[provider].model} documents no field for it"}


def test_everything_without_a_field_is_named_at_once():
    problems = problems_of(WORKS["crun"], negative_prompt="blur", cfg_scale=0.5, audio_url=LAST)
    assert list(problems) == ["negative_prompt", "cfg_scale", "audio_url"]


def test_a_picture_to_refer_to_is_not_written_as_a_first_frame():
    clip = with_action(clip_at("evolink", frames="first"))
    assert problems_of(clip, reference_image_urls=[FIRST]) == {
        "reference_image_urls": "nothing: kling-v3-image-to-video documents no field for it"
    }


def test_4k_is_written_to_crun_as_public_clients_write_it():
    request = write_request(clip_at("crun", resolution="4k"), prompt="A lake.")
    assert request.body["input"]["mode"] == "4K"


def test_motion_control_of_crun_is_written_with_its_image_and_video():
    clip = Clip(
        "crun", "kling/v3-motion-control", "motion_control",
        resolution="1080p", orientation="image", video_input=True,
    )  # fmt: skip
    request = write_request(clip, image_url=FIRST, video_url="https://example.com/a.mp4")
    assert request.body["input"] == {
        "mode": "pro",
        "character_orientation": "image",
        "img_urls": [FIRST],
        "video_urls": ["https://example.com/a.mp4"],
    }


def test_a_resolution_that_the_model_does_not_make_is_refused():
    assert problems_of(clip_at("uniall", resolution="720p")) == {
        "resolution": "1080p, as kling-v3-pro-audio always makes it"
    }


@pytest.mark.parametrize("provider", WORKS)
def test_a_voice_is_refused_because_nobody_documents_one(provider: str):
    assert problems_of(clip_at(provider, voice=True)) == {
        "voice": "without voice: it follows from nothing that the provider documents"
    }


@pytest.mark.parametrize(
    ("option", "follows_from"),
    [
        ({"frames": "first"}, "none: it follows from image_url and last_image_url"),
        ({"elements": True}, "without elements: it follows from elements"),
        (
            {"video_input": True},
            "without video input: it follows from video_url and source_task_id",
        ),
    ],
)
def test_an_option_whose_input_is_not_given_is_refused(option: dict[str, Any], follows_from: str):
    assert problems_of(clip_at("runapi", **option)) == {next(iter(option)): follows_from}


def test_an_input_that_the_clip_does_not_speak_of_is_refused():
    assert problems_of(WORKS["runapi"], image_url=FIRST) == {
        "frames": "first: it follows from image_url and last_image_url"
    }


def test_shots_of_a_clip_that_is_not_multi_shot_are_refused():
    problems = problems_of(WORKS["evolink"], shots=[Shot("A hill.", 5)])
    assert problems == {"shots": "nothing unless the clip is multi_shot"}


def test_a_last_frame_without_a_first_is_refused():
    problems = problems_of(WORKS["runapi"], last_image_url=LAST)
    assert problems == {"last_image_url": "nothing without image_url"}


def test_a_picture_is_never_pushed_out_by_references():
    clip = Clip("evolink", "kling-v3-motion-control", "motion_control", orientation="image",
                resolution="720p", video_input=True)  # fmt: skip
    problems = problems_of(clip, image_url=FIRST, reference_image_urls=[LAST], video_url=LAST)
    assert problems == {"reference_image_urls": "nothing beside image_url"}


@pytest.mark.parametrize("provider", ["crun", "uniall"])
def test_an_action_that_its_images_contradict_is_refused(provider: str):
    clip = with_action(clip_at(provider, frames="first"))
    assert problems_of(clip) == {"action": "text_to_video without image_url"}
    assert problems_of(WORKS[provider], image_url=FIRST) == {
        "action": "image_to_video with image_url"
    }


def test_an_action_that_an_evolink_model_does_not_do_is_refused():
    clip = Clip("evolink", "kling-v3-image-to-video", "text_to_video", seconds=5)
    assert problems_of(clip) == {"action": "image_to_video"}


def test_part_of_a_second_is_refused_by_the_field_that_it_would_go_to():
    assert list(problems_of(clip_at("evolink", seconds=Decimal("4.5")))) == ["duration"]


def test_what_a_provider_does_not_assume_has_to_be_said():
    assert list(problems_of(clip_at("crun", seconds=None))) == ["input.duration"]


def test_what_a_provider_documents_a_default_for_is_filled_in_and_said():
    request = write_request(clip_at("evolink", sound=None), prompt="A lake.")
    assert request.clip.sound is False
    assert "no sound" in request.assumptions[0]


def test_how_long_the_video_is_that_goes_in_is_kept_for_the_quote():
    clip = Clip("evolink", "kling-o1-video-edit", "edit_video", video_input=True, input_seconds=5)
    request = write_request(clip, prompt="A lake.", video_url=LAST)
    assert request.quote(at=AT).amount == quote(clip, at=AT).amount
    assert quote(read_back(request).clip, at=AT).amount > quote(clip, at=AT).amount


@pytest.mark.parametrize("provider", WORKS)
def test_a_model_that_nothing_is_known_of_is_refused(provider: str):
    with pytest.raises(NoPriceError, match="kling-9"):
        write_request(Clip(provider, "kling-9", seconds=5), prompt="A lake.")


def test_a_provider_without_documented_bodies_is_refused():
    with pytest.raises(NoPriceError, match="request bodies of provider fal"):
        write_request(Clip("fal", "fal-ai/kling-video", seconds=5), prompt="A lake.")
