"""Request bodies: RunAPI's own JSON, read as a clip or refused with every problem at once."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_pricing import Clip, KlingError, Money, NoPriceError, RequestError
from kling_pricing.gateways import Request, parse_body, payload_hash, read_request
from tests.ledgers import usd

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)

# The body of RunAPI's own example.
# Source: https://runapi.ai/zh-CN/openclaw-kling.md, checked 2026-11-20.
PUBLISHED = """
{
    "model": "kling-3.0",
    "prompt": "A drone shot pulling back from a mountain lake at sunrise, mist rising off the \
water, cinematic lighting",
    "duration_seconds": 5,
    "aspect_ratio": "16:9",
    "enable_sound": true,
    "output_resolution": "1080p"
}
"""


def body(**more: Any) -> dict[str, Any]:
    return {**json.loads(PUBLISHED), **more}


def without(*fields: str) -> dict[str, Any]:
    return {key: value for key, value in body().items() if key not in fields}


def read(said: object) -> Request:
    return read_request("runapi", said)


def refused(said: object) -> RequestError:
    with pytest.raises(RequestError) as refusal:
        read_request("runapi", said, strict=True)
    return refusal.value


def paths(refusal: RequestError) -> list[str]:
    return [problem.path for problem in refusal.problems]


# --- the published example ------------------------------------------------------------------


def test_the_published_request_costs_67_and_a_half_cents():
    answer = read(parse_body(PUBLISHED)).quote(at=AT)
    assert answer.amount == usd("0.675")
    assert answer.as_dict()["amount"] == "0.675"


def test_the_published_request_is_read_as_a_clip():
    request = read(parse_body(PUBLISHED))
    assert request.clip == Clip(
        provider="runapi",
        model="kling-3.0",
        action="text_to_video",
        seconds=5,
        resolution="1080p",
        sound=True,
        multi_shot=False,
    )
    assert request.assumptions == ()


def test_a_body_is_kept_as_it_was_given():
    assert read(body()).body == body()


def test_a_body_that_says_everything_is_sent_as_it_is():
    said = parse_body(PUBLISHED)
    assert json.dumps(read(said).sent) == json.dumps(said)


# --- fields ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "amount"), [(3, "0.405"), (15, "2.025")])
def test_three_to_fifteen_seconds_are_taken(seconds: int, amount: str):
    assert read(body(duration_seconds=seconds)).quote(at=AT).amount == usd(amount)


@pytest.mark.parametrize("seconds", [2, 16, 0, -5, 10**30])
def test_other_lengths_are_refused(seconds: int):
    refusal = refused(body(duration_seconds=seconds))
    assert paths(refusal) == ["duration_seconds"]
    assert refusal.problems[0].got == seconds
    assert refusal.problems[0].allowed.startswith("whole seconds, 3 to 15")


@pytest.mark.parametrize("seconds", [5.5, 5.0, "05", "5.0", "٥", "16", True, [], {}])
def test_a_length_is_a_whole_number_and_nothing_like_one(seconds: Any):
    refusal = refused(body(duration_seconds=seconds))
    assert paths(refusal) == ["duration_seconds"]
    assert refusal.problems[0].got is seconds


@pytest.mark.parametrize(("resolution", "amount"), [("720p", "0.5"), ("4k", "1.675")])
def test_the_other_resolutions_are_taken(resolution: str, amount: str):
    assert read(body(output_resolution=resolution)).quote(at=AT).amount == usd(amount)


@pytest.mark.parametrize("resolution", ["8k", "4 k", "", 1080, True, ["4k"]])
def test_any_other_resolution_is_refused(resolution: Any):
    refusal = refused(body(output_resolution=resolution))
    assert paths(refusal) == ["output_resolution"]
    assert refusal.problems[0].allowed.startswith("720p, 1080p, 4k")


@pytest.mark.parametrize(
    ("field", "clip", "amount"),
    [
        ("duration_seconds", {"seconds": 15}, "2.025"),
        ("output_resolution", {"resolution": "4k"}, "1.675"),
    ],
)
@pytest.mark.parametrize("is_null", [True, False])
def test_what_has_no_documented_default_is_held_at_its_dearest_and_said(
    field: str, clip: dict[str, Any], amount: str, is_null: bool
):
    said = body(**{field: None}) if is_null else without(field)
    request = read(said)
    assert request.clip == read(body()).clip.with_options(clip)
    assert request.quote(at=AT).amount == usd(amount)
    (assumption,) = request.assumptions
    assert assumption.startswith(f"{field} is not given: priced with")
    assert assumption.endswith("the dearest, because RunAPI documents no default")
    assert request.sent == said


def test_sound_that_is_off_is_cheaper():
    assert read(body(enable_sound=False)).quote(at=AT).amount == usd("0.45")


def test_a_request_that_does_not_name_sound_is_priced_silent_and_says_so():
    request = read(without("enable_sound"))
    assert request.quote(at=AT).amount == usd("0.45")
    (assumption,) = request.assumptions
    assert assumption.startswith("enable_sound is not given")
    assert request.sent == {**without("enable_sound"), "enable_sound": False}
    assert request.body == without("enable_sound")
    assert request.payload_hash == payload_hash(without("enable_sound"))


@pytest.mark.parametrize("more", [{}, {"enable_sound": None}])
def test_several_shots_that_do_not_name_sound_are_priced_with_it(more: dict[str, Any]):
    said = {**without("enable_sound"), "multi_shots": True, **more}
    request = read(said)
    assert request.quote(at=AT).amount == usd("0.675")
    assert request.sent == said
    (assumption,) = request.assumptions
    assert assumption.startswith("enable_sound is not given: priced with sound, the dearest")


@pytest.mark.parametrize("sound", [True, False])
def test_a_request_that_names_sound_assumes_nothing(sound: bool):
    assert read(body(enable_sound=sound)).assumptions == ()


@pytest.mark.parametrize("sound", [1, 0, "true", "on", []])
def test_sound_is_true_or_false(sound: Any):
    assert paths(refused(body(enable_sound=sound))) == ["enable_sound"]


@pytest.mark.parametrize("said", [without("prompt"), body(prompt=""), body(prompt=None)])
def test_a_prompt_is_required(said: dict[str, Any]):
    refusal = refused(said)
    assert paths(refusal) == ["prompt"]
    assert refusal.problems[0].allowed == "a text, required unless multi_shots is true"


def test_a_missing_prompt_is_allowed_with_multi_shots():
    request = read({**without("prompt"), "multi_shots": True})
    assert request.clip.multi_shot is True
    assert request.quote(at=AT).amount == usd("0.675")


@pytest.mark.parametrize("multi_shots", [False, None])
def test_a_prompt_is_required_where_multi_shots_is_not_true(multi_shots: bool | None):
    assert paths(refused({**without("prompt"), "multi_shots": multi_shots})) == ["prompt"]


def test_multi_shots_that_is_almost_true_excuses_nothing():
    refusal = refused({**without("prompt"), "multi_shots": "true"})
    assert sorted(paths(refusal)) == ["multi_shots", "prompt"]


@pytest.mark.parametrize("prompt", [5, True, [], {}])
def test_a_prompt_is_a_text(prompt: Any):
    assert paths(refused(body(prompt=prompt))) == ["prompt"]


@pytest.mark.parametrize("ratio", ["16:9", "9:16", "1:1"])
def test_three_aspect_ratios_are_taken(ratio: str):
    assert read(body(aspect_ratio=ratio)).clip == read(body()).clip


@pytest.mark.parametrize("ratio", ["4:3", "", 1])
def test_any_other_aspect_ratio_is_refused(ratio: Any):
    assert paths(refused(body(aspect_ratio=ratio))) == ["aspect_ratio"]


@pytest.mark.parametrize("scale", [0, 0.5, 1, 1.0])
def test_a_guidance_scale_from_0_to_1_is_taken(scale: float):
    assert read(body(cfg_scale=scale)).body["cfg_scale"] == scale


@pytest.mark.parametrize("scale", [-0.01, 1.01, float("nan"), float("inf"), "0.5", True])
def test_any_other_guidance_scale_is_refused(scale: Any):
    assert paths(refused(body(cfg_scale=scale))) == ["cfg_scale"]


@pytest.mark.parametrize(
    "field", ["negative_prompt", "first_frame_image_url", "last_frame_image_url", "callback_url"]
)
def test_a_documented_field_that_costs_nothing_does_not_change_the_price(field: str):
    request = read(body(**{field: "https://example.com/x"}))
    assert request.quote(at=AT).amount == usd("0.675")


@pytest.mark.parametrize("field", ["length", "Prompt", "seed", "sound", ""])
def test_an_unknown_field_is_refused_and_told_the_documented_ones(field: str):
    refusal = refused(body(**{field: 1}))
    assert paths(refusal) == [field]
    assert "no such field" in refusal.problems[0].allowed
    assert "duration_seconds" in refusal.problems[0].allowed


def test_every_problem_is_said_at_once():
    said = {
        "model": "kling-3.0",
        "duration_seconds": 2,
        "output_resolution": "8k",
        "enable_sound": "yes",
        "aspect_ratio": "4:3",
        "seed": 7,
    }
    assert sorted(paths(refused(said))) == [
        "aspect_ratio",
        "duration_seconds",
        "enable_sound",
        "output_resolution",
        "prompt",
        "seed",
    ]


def test_a_refusal_says_values_as_json_writes_them():
    refusal = refused(body(prompt=None, enable_sound="yes"))
    assert "prompt: got null" in str(refusal)
    assert 'enable_sound: got "yes", allowed: true or false' in str(refusal)


def test_a_long_value_is_cut_in_the_message_and_kept_in_the_problem():
    refusal = refused(body(output_resolution="x" * 500))
    assert len(str(refusal)) < 200
    assert refusal.problems[0].got == "x" * 500


# --- models and providers -------------------------------------------------------------------


@pytest.mark.parametrize("model", ["kling-9", "", "KLING-3.0"])
def test_a_model_that_nothing_is_known_of_has_no_price(model: str):
    with pytest.raises(NoPriceError, match=r"known: kling-3\.0 text_to_video"):
        read(body(model=model))


@pytest.mark.parametrize("model", [None, 3.0, True, ["kling-3.0"]])
def test_a_model_is_a_text(model: Any):
    assert paths(refused(body(model=model))) == ["model"]


def test_a_body_without_a_model_is_refused():
    assert "model: got nothing" in str(refused(without("model")))


def test_an_action_that_nothing_is_known_of_has_no_price():
    with pytest.raises(NoPriceError, match=r"runapi kling-3\.0 lip_sync"):
        read_request("runapi", body(), action="lip_sync")


def test_the_action_may_be_named():
    assert read_request("runapi", body(), action="text_to_video") == read(body())


def test_a_provider_whose_bodies_nobody_reads_has_no_price():
    with pytest.raises(NoPriceError, match=r"request bodies of provider nobody; known: .*runapi"):
        read_request("nobody", body())


# --- JSON -----------------------------------------------------------------------------------


def test_a_key_written_twice_is_refused():
    with pytest.raises(RequestError) as refusal:
        parse_body('{"duration_seconds": 5, "duration_seconds": 15}')
    assert paths(refusal.value) == ["duration_seconds"]
    assert "the same key twice" in str(refusal.value)


def test_a_key_written_twice_further_inside_is_refused_too():
    with pytest.raises(RequestError, match="the same key twice"):
        parse_body('{"multi_prompt": [{"prompt": "a", "prompt": "b"}]}')


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_refused(number: str):
    with pytest.raises(RequestError, match="JSON has no such number"):
        parse_body(f'{{"cfg_scale": {number}}}')


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", '{"a": 1,}', "\ufeff{}", '{"a": "\n"}', "x"])
def test_what_is_no_json_is_refused(text: str):
    with pytest.raises(RequestError, match="allowed: valid JSON"):
        parse_body(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_json_that_is_too_deep_or_too_long_is_refused(text: str):
    with pytest.raises(RequestError, match="allowed: valid JSON"):
        parse_body(text)


@pytest.mark.parametrize("text", ["[]", "null", "5", '"kling-3.0"', "true"])
def test_a_body_is_an_object(text: str):
    with pytest.raises(RequestError, match="allowed: a JSON object"):
        parse_body(text)
    assert paths(refused(json.loads(text))) == ["$"]


# --- the payload hash -----------------------------------------------------------------------


def test_the_order_of_keys_does_not_change_the_payload_hash():
    turned = dict(reversed(body().items()))
    assert list(turned) != list(body())
    assert read(turned).payload_hash == read(body()).payload_hash


def test_spaces_in_the_text_do_not_change_the_payload_hash():
    compact = json.dumps(body(), separators=(",", ":"))
    assert payload_hash(parse_body(compact)) == payload_hash(parse_body(PUBLISHED))


@pytest.mark.parametrize(
    "other", [body(prompt="another"), body(duration_seconds=6), without("aspect_ratio")]
)
def test_other_content_has_another_payload_hash(other: dict[str, Any]):
    assert payload_hash(other) != payload_hash(body())


def test_the_payload_hash_is_the_sha256_of_the_canonical_json():
    # printf '{"a":1,"b":"é"}' | sha256sum
    expected = "09ad9fd2fb648cb2f62141215828ea00a62c299db05d20aa9ade2f527a301cc6"
    assert payload_hash({"b": "é", "a": 1}) == f"sha256:{expected}"


def test_half_a_character_in_a_prompt_does_not_break_the_hash():
    assert payload_hash({"prompt": "\ud800"}).startswith("sha256:")


# --- whatever comes -------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [*json.loads(PUBLISHED), "multi_shots", "multi_prompt", "cfg_scale", "callback_url"]
plausible = st.one_of(
    json_values,
    st.sampled_from(["kling-3.0", "720p", "1080p", "4k", "8k", "16:9", "a lake"]),
    st.integers(0, 17),
)
altered = st.dictionaries(st.sampled_from(FIELDS), plausible, max_size=3).map(
    lambda changes: body(**changes)
)


def quoted_or_refused(said: object) -> None:
    try:
        request = read(said)
        answer = request.quote(at=AT)
    except KlingError:
        return
    assert answer.amount > Money.zero("USD")
    assert request.payload_hash.startswith("sha256:")


@given(json_values)
def test_any_json_is_quoted_above_zero_or_refused(said: object):
    quoted_or_refused(said)


@given(altered)
def test_any_altered_request_is_quoted_above_zero_or_refused(said: dict[str, Any]):
    quoted_or_refused(said)


@given(st.text())
def test_any_text_is_an_object_or_refused(text: str):
    with suppress(RequestError):
        assert isinstance(parse_body(text), dict)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_an_object_is_parsed_as_it_was_written(said: dict[str, Any]):
    text = json.dumps(said)
    if not any(constant in text for constant in ("NaN", "Infinity")):
        assert parse_body(text) == said
