"""Whatever comes, a request body is read or refused with one of our errors, for every provider."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_pricing import KlingError, RequestError
from kling_pricing.gateways import parse_body, read_request

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
REQUESTS = Path(__file__).parent / "requests"
REAL = {file.stem: json.loads(file.read_text("utf-8")) for file in REQUESTS.glob("*.json")}
MODELS = [
    "kling-3.0", "kling-o1", "kling-v2.6", "kling-v3-omni-edit", "kling-v3-omni-reference",
    "kling-v2.5-turbo-text-to-video-pro", "kling-ai-avatar-pro", "kling/v3",
    "kling-v3-motion-control", "kling-o3-image-to-video", "kling-o3-reference-to-video",
    "kling-o3-video-edit", "kling-custom-element", "kling-v3-pro-audio",
]  # fmt: skip
FIELDS = [
    "model", "input", "prompt", "duration", "duration_seconds", "mode", "audio", "multi_shots",
    "multi_shot", "shot_type", "multi_prompt", "img_urls", "element_list", "kling_elements",
    "model_params", "extra_body", "image", "last_image", "image_start", "image_end", "image_urls",
    "video_url", "video_urls", "source_image_url", "source_video_url", "source_task_id",
    "reference_video_url", "reference_image_urls", "aspect_ratio", "callback_url", "quality",
    "sound", "enable_sound", "start_time", "end_time",
]  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
plausible = st.one_of(
    st.sampled_from([*MODELS, "customize", "intelligence", "720p", "std", "https://a.io/x", "5"]),
    st.integers(0, 17),
    st.booleans(),
    st.lists(st.just("https://a.io/x.png"), max_size=3),
    st.lists(st.fixed_dictionaries({"prompt": st.just("a"), "duration": json_values}), max_size=2),
    json_values,
)
provider = st.sampled_from(["crun", "evolink", "runapi", "uniall"])


def quoted_or_refused(name: str, said: object) -> None:
    try:
        answer = read_request(name, said).quote(at=AT)
    except KlingError:
        return
    assert answer.amount.amount > 0


def places(said: Any) -> list[tuple[Any, Any]]:
    """Every table and list of a body with each of its keys or positions."""
    keys = list(said) if isinstance(said, dict) else range(len(said))
    own = [(said, key) for key in keys]
    inner = [said[key] for key in keys if isinstance(said[key], (dict, list))]
    return own + [place for value in inner for place in places(value)]


@st.composite
def altered(draw: st.DrawFn) -> tuple[str, Any]:
    """One of the real bodies with up to three values dropped, changed or added."""
    name = draw(st.sampled_from(sorted(REAL)))
    said = copy.deepcopy(REAL[name])
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(places(said) or [(said, "model")]))
        how = draw(st.sampled_from(["drop", "change", "add"]))
        if how == "drop" and len(holder) > 0:
            del holder[key]
        elif how == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(FIELDS))] = draw(plausible)
        else:
            holder[key] = draw(plausible)
    return name.split("_", 1)[0], said


@given(provider, json_values)
def test_any_json_is_quoted_above_zero_or_refused(name: str, said: object):
    quoted_or_refused(name, said)


@given(provider, st.sampled_from(MODELS), st.dictionaries(st.sampled_from(FIELDS), plausible))
def test_any_table_with_documented_keys_is_quoted_above_zero_or_refused(
    name: str, model: str, fields: dict[str, Any]
):
    quoted_or_refused(name, {"model": model, **fields})


@settings(max_examples=300)
@given(altered())
def test_any_altered_request_is_quoted_above_zero_or_refused(case: tuple[str, Any]):
    quoted_or_refused(*case)


@given(provider, altered())
def test_a_body_sent_to_another_provider_is_refused_or_quoted(name: str, case: tuple[str, Any]):
    quoted_or_refused(name, case[1])


@pytest.mark.parametrize("name", ["crun", "evolink", "runapi", "uniall"])
def test_a_body_that_is_nested_too_deep_is_refused(name: str):
    said: Any = "kling-3.0"
    for _ in range(500):
        said = {"model": said}
    with pytest.raises(RequestError, match="at most 32 levels"):
        read_request(name, said)


@pytest.mark.parametrize("text", ["[" * 40 + "]" * 40, '{"input": ' * 900 + "1" + "}" * 900])
def test_json_text_that_is_nested_too_deep_is_refused(text: str):
    with pytest.raises(RequestError):
        parse_body(text)
