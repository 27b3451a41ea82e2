"""The bundled price books: every published cell, every threshold, every source.

goldens/prices.csv is worked by hand from the published tables, never from the books: `working`
says how each amount comes about, and `at` on which day, where that is not the day of these tests.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kling_pricing.book import Rate
from kling_pricing.book_builder import ANY
from kling_pricing.book_reader import BookText, read_book
from kling_pricing.book_values import DIMENSIONS
from kling_pricing.clip import Clip
from kling_pricing.errors import ClipError, NoPriceError
from kling_pricing.library import bundled_book, bundled_providers, bundled_text, library_of
from kling_pricing.quote import Quote, quote

AT = datetime(2026, 11, 27, tzinfo=UTC)
GATEWAYS = {"runapi", "crun", "evolink", "uniall"}
# Providers, or families of one, whose prices were read in somebody else's copy.
THIRD_PARTY = {
    *("apimart", "crun", "kling-cn", "replicate", "vercel"),
    *(("openrouter", "kling-3.0"), ("kling", "kling-3.0-turbo")),
}
RATES = {
    (provider, offer.rate.id): offer.rate
    for provider in bundled_providers()
    for offers in bundled_book(provider).offers.values()
    for offer in offers
}
IN_1080P_WITH_SOUND: dict[str, Any] = {"seconds": 5, "resolution": "1080p", "sound": True}
IN_4K = {**IN_1080P_WITH_SOUND, "resolution": "4k"}
FLAGS = {"on": True, "off": False, "": None}

Row = dict[str, str]


def golden_rows() -> list[Row]:
    path = Path(__file__).parent / "goldens" / "prices.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, restval=""))


GOLDENS = golden_rows()


def clip_of(row: Row) -> Clip:
    options: dict[str, Any] = {}
    for option in filter(None, row["options"].split(";")):
        name, _, word = option.partition("=")
        options[name] = Decimal(word) if name == "input_seconds" else FLAGS.get(word, word)
    return Clip(
        row["provider"],
        row["model"],
        row["action"],
        seconds=int(row["seconds"]) if row["seconds"] else None,
        resolution=row["resolution"] or None,
        sound=FLAGS[row["sound"]],
        **options,
    )


def priced(provider: str, model: str, action: str = "text_to_video", **options: Any) -> Quote:
    return quote(Clip(provider, model, action, **options), at=AT)


def amount(provider: str, model: str, action: str = "text_to_video", **options: Any) -> Decimal:
    return priced(provider, model, action, **options).amount.amount


def refusal_of(provider: str, model: str, action: str = "text_to_video", **options: Any) -> str:
    with pytest.raises(ClipError) as refused:
        priced(provider, model, action, **options)
    return str(refused.value)


# ---- what is carried ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row", GOLDENS, ids=[f"{n}-{r['provider']}-{r['model']}" for n, r in enumerate(GOLDENS, 2)]
)
def test_every_published_price_comes_out_exactly(row: Row) -> None:
    quoted = priced_row(row)
    assert (quoted.amount.amount, quoted.unit) == (Decimal(row["amount"]), row["unit"])
    usd = None if quoted.usd is None else quoted.usd.amount
    assert usd == (Decimal(row["usd"]) if row["usd"] else None)


@pytest.mark.parametrize("row", GOLDENS[::7], ids=lambda row: row["model"])
def test_the_lines_of_a_quote_add_up_to_it(row: Row) -> None:
    quoted = priced_row(row)
    assert sum(line.amount for line in quoted.lines) == quoted.amount.amount


def priced_row(row: Row) -> Quote:
    at = datetime.fromisoformat(row["at"]).replace(tzinfo=UTC) if row["at"] else AT
    return quote(clip_of(row), at=at)


WrittenCell = tuple[str, ...]


def written_cells(table: object, depth: int) -> Iterator[WrittenCell]:
    if depth == 0:
        yield ()
        return
    assert isinstance(table, dict)
    for word, inner in table.items():
        for cell in written_cells(inner, depth - 1):
            yield (word, *cell)


def stands_at(clip: Clip, dimensions: list[str], cell: WrittenCell) -> bool:
    return all(
        word == ANY or DIMENSIONS[name][word] == getattr(clip, name)
        for name, word in zip(dimensions, cell, strict=True)
    )


@pytest.mark.parametrize("provider", bundled_providers())
def test_no_price_is_carried_without_a_golden(provider: str) -> None:
    rates = tomllib.loads(bundled_text(provider).text)["rates"]
    quotes = [priced_row(row) for row in GOLDENS if row["provider"] == provider]
    missing = [
        (rate_id, *cell)
        for rate_id, rate in rates.items()
        for cell in written_cells(
            rate.get("prices") or rate["multipliers"], len(rate.get("dimensions", []))
        )
        if not any(
            quoted.rate.id == rate_id and stands_at(quoted.priced, rate.get("dimensions", []), cell)
            for quoted in quotes
        )
    ]
    assert not missing


@pytest.mark.parametrize("provider", bundled_providers())
def test_every_model_is_in_a_golden(provider: str) -> None:
    seen = {row["model"] for row in GOLDENS if row["provider"] == provider}
    assert seen == set(bundled_book(provider).models)


def test_the_four_gateways_and_at_least_eight_others_have_books() -> None:
    others = set(bundled_providers()) - GATEWAYS
    assert set(bundled_providers()) >= GATEWAYS
    assert len(others) >= 8
    assert "kling" in others


def test_kling_3_at_4k_and_kling_4_are_carried() -> None:
    four_k = {
        rate.provider
        for rate in RATES.values()
        if rate.family == "kling-3.0" and any("4k" in cell for cell in rate.prices)
    }
    four_0 = {rate.provider for rate in RATES.values() if rate.family == "kling-4.0"}
    assert {"runapi", "kling", "krea"} <= four_k
    assert {"fal", "piapi", "muapi", "venice"} <= four_0


# ---- what vouches for it -----------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES.values(), ids=["/".join(key) for key in RATES])
def test_every_rate_has_an_address_a_date_and_an_honest_evidence(rate: Rate) -> None:
    source = rate.source
    assert source.url.startswith("https://")
    assert source.checked >= date(2026, 8, 5)
    assert rate.valid_from.date() <= source.checked
    if rate.provider == "uniall" or rate.note.startswith("Half of"):
        assert source.evidence == "assumed"
    elif rate.provider in THIRD_PARTY or (rate.provider, rate.family) in THIRD_PARTY:
        assert source.evidence == "third_party"
    else:
        assert source.evidence == "published"


@pytest.mark.parametrize("provider", bundled_providers())
def test_every_source_of_a_book_is_used(provider: str) -> None:
    content = tomllib.loads(bundled_text(provider).text)
    dated = [*content["rates"].values(), *content.get("conversions", [])]
    charges = content.get("charges", {}).values()
    assert set(content["sources"]) == {entry["source"] for entry in [*dated, *charges]}


@pytest.mark.parametrize("provider", bundled_providers())
def test_a_unit_that_is_no_currency_has_a_conversion(provider: str) -> None:
    content = tomllib.loads(bundled_text(provider).text)
    is_currency = content["unit"] in {"USD", "CNY"}
    assert is_currency != bool(content.get("conversions"))


def test_what_is_assumed_is_said_aloud() -> None:
    quoted = priced("uniall", "kling-v3-pro-audio", seconds=5)
    assert "assumed, not published" in " ".join(quoted.assumptions)


def test_what_a_third_party_wrote_down_is_said_aloud() -> None:
    quoted = priced("crun", "kling/v3", seconds=5, resolution="720p", sound=True)
    assert "read from a third party" in " ".join(quoted.assumptions)


def test_runapi_says_that_a_later_table_lists_twice_its_figures() -> None:
    notes = [rate.note for rate in RATES.values() if rate.provider == "runapi"]
    assert all("twice these figures" in note and "price_schedules" in note for note in notes)


def test_a_user_replaces_an_assumed_price_in_one_line() -> None:
    own = 'provider = "uniall"\nrates.kling-v3.prices.720p.off = "0.05"\n'
    book = library_of([BookText("mine.toml", own)]).book("uniall")
    silent = quote(Clip("uniall", "kling-v3-std-silent", seconds=5), at=AT, book=book)
    with_sound = quote(Clip("uniall", "kling-v3-std-audio", seconds=5), at=AT, book=book)
    assert silent.amount.amount == Decimal("0.25")
    assert with_sound.amount.amount == Decimal("0.63")
    assert (silent.evidence, with_sound.evidence) == ("user", "assumed")
    assert any("assumed" in told for told in with_sound.assumptions)
    assert "rates.kling-v3.prices.720p.off is set by mine.toml" in silent.assumptions


# ---- lengths that may be asked for -------------------------------------------------------------

RANGES = [
    ("kling", "kling-v3", 3, 15, {"resolution": "720p", "sound": False}),
    ("crun", "kling/v3", 3, 15, {"resolution": "720p", "sound": True}),
    ("uniall", "kling-v3-std-silent", 3, 15, {}),
    ("kling", "kling-video-o1", 3, 10, {"resolution": "720p"}),
    ("fal", "kling/v4/text-to-video", 3, 30, {"resolution": "720p"}),
    ("venice", "kling-v4-text-to-video", 3, 30, {"resolution": "720p"}),
    ("piapi", "kling-4.0", 3, 30, {"resolution": "720p"}),
    ("muapi", "kling-4.0-flash-text-to-video", 3, 20, {}),
    ("comfy", "kling/kling-v3", 3, 15, {"resolution": "720p", "sound": False}),
    ("comfy", "kling/kling-3.0-turbo", 3, 15, {"resolution": "1080p"}),
    ("kling", "kling-3.0-turbo", 3, 15, {"resolution": "720p"}),
    ("openrouter", "kwaivgi/kling-v3.0-pro", 3, 15, {"sound": True}),
    ("vercel", "klingai/kling-v3.0-t2v", 3, 15, {"resolution": "720p", "sound": False}),
    ("replicate", "kwaivgi/kling-v3-video", 3, 15, {"resolution": "1080p", "sound": True}),
    ("apimart", "kling-v3", 3, 15, {"resolution": "720p", "sound": False}),
    ("venice", "kling-v4-flash-text-to-video", 3, 20, {}),
]


@pytest.mark.parametrize(("provider", "model", "least", "most", "options"), RANGES)
def test_a_length_is_taken_at_both_ends_and_refused_just_past_them(
    provider: str, model: str, least: int, most: int, options: Mapping[str, Any]
) -> None:
    for seconds in (least, most):
        assert priced(provider, model, seconds=seconds, **options).billed.high == seconds
    for seconds in (least - 1, most + 1):
        allowed = f"{least} to {most}"
        assert allowed in refusal_of(provider, model, seconds=seconds, **options)


@pytest.mark.parametrize(
    ("provider", "model", "least_s"),
    [("runapi", "kling-3.0", "0.21"), ("evolink", "kling-v3-text-to-video", "16.2")],
)
def test_where_a_minimum_is_documented_less_is_billed_as_the_minimum(
    provider: str, model: str, least_s: str
) -> None:
    options: dict[str, Any] = {"resolution": "720p", "sound": False}
    assert amount(provider, model, seconds=3, **options) == Decimal(least_s)
    assert amount(provider, model, seconds=2, **options) == Decimal(least_s)
    assert "3 to 15" in refusal_of(provider, model, seconds=16, **options)


@pytest.mark.parametrize(
    ("provider", "model", "options"),
    [
        ("runapi", "kling-v2.6", {"resolution": "1080p", "sound": True}),
        ("runapi", "kling-v2.5-turbo-text-to-video-pro", {}),
        ("runapi", "kling-v2.1-master-text-to-video", {}),
        ("kling", "kling-v2-6", {"resolution": "1080p", "sound": True}),
        ("kling-cn", "kling-v2-5-turbo", {"resolution": "720p"}),
        ("piapi", "kling-o1", {"resolution": "720p"}),
    ],
)
@pytest.mark.parametrize("seconds", [4, 6, 9, 11])
def test_older_models_make_5_or_10_seconds_and_nothing_else(
    provider: str, model: str, options: Mapping[str, Any], seconds: int
) -> None:
    for allowed in (5, 10):
        assert amount(provider, model, seconds=allowed, **options) > 0
    with pytest.raises((ClipError, NoPriceError), match=r"5 .*10 "):
        priced(provider, model, seconds=seconds, **options)


@pytest.mark.parametrize("seconds", [5, 10, 15])
def test_muvi_takes_three_lengths_on_one_route_and_any_on_the_other(seconds: int) -> None:
    first, plus = (f"{route}/kling-3-0-standard-text-to-video" for route in ("kling", "kling-plus"))
    assert amount("muvi", first, seconds=seconds) == seconds * Decimal("0.084")
    assert "5 or 10 or 15" in refusal_of("muvi", first, seconds=seconds - 1)
    assert amount("muvi", plus, seconds=seconds - 1) == (seconds - 1) * Decimal("0.126")


@pytest.mark.parametrize(
    ("provider", "model", "options"),
    [
        ("kling", "kling-v2-6", {"resolution": "1080p", "sound": True}),
        ("piapi", "kling-o1", {"resolution": "720p"}),
        ("piapi", "kling-2.6", {"resolution": "720p", "sound": False}),
        ("inference-sh", "klingai/video-v2-5", {"resolution": "720p"}),
    ],
)
def test_a_flat_clip_is_not_priced_until_its_length_is_said(
    provider: str, model: str, options: Mapping[str, Any]
) -> None:
    assert "seconds: got nothing" in refusal_of(provider, model, **options)


@pytest.mark.parametrize(
    ("provider", "model", "action", "options"),
    [
        ("comfy", "kling/kling-3.0-turbo", "text_to_video", {"seconds": 5, "resolution": "4k"}),
        ("comfy", "kling/kling-v3", "motion_control", {"input_seconds": 5, "resolution": "4k"}),
        ("comfy", "kling/kling-v2-6", "text_to_video", {"seconds": 5, "resolution": "720p"}),
        ("comfy", "kling/kling-video-o1", "text_to_video", {"seconds": 7, "resolution": "720p"}),
        ("comfy", "kling/kling-v2-1-master", "text_to_video", {"seconds": 5}),
        ("kling", "kling-3.0-turbo", "text_to_video", {"seconds": 5, "resolution": "4k"}),
        ("openrouter", "kwaivgi/kling-v3.0-std", "text_to_video", {"seconds": 5, "sound": False}),
        ("openrouter", "kwaivgi/kling-video-o1", "text_to_video", {"seconds": 6}),
        ("vercel", "klingai/kling-v3.0-i2v", "image_to_video", IN_1080P_WITH_SOUND),
        ("vercel", "klingai/kling-v3.0-t2v", "text_to_video", IN_4K),
        ("replicate", "kwaivgi/kling-v3-video", "text_to_video", IN_4K),
        ("apimart", "kling-v3", "text_to_video", IN_4K),
        ("apimart", "kling-v3", "motion_control", {"input_seconds": 5, "resolution": "720p"}),
        ("venice", "kling-v4-flash-text-to-video", "text_to_video", IN_1080P_WITH_SOUND),
    ],
)
def test_what_a_seller_does_not_sell_has_no_price(
    provider: str, model: str, action: str, options: Mapping[str, Any]
) -> None:
    with pytest.raises((ClipError, NoPriceError)):
        priced(provider, model, action, **options)


@pytest.mark.parametrize(
    ("model", "action", "options"),
    [
        ("kling-v2-1", "image_to_video", {"resolution": "720p"}),
        ("kling-v2-1-master", "text_to_video", {}),
    ],
)
def test_what_kling_retired_has_a_price_until_that_day_and_none_from_it(
    model: str, action: str, options: Mapping[str, Any]
) -> None:
    clip = Clip("kling-cn", model, action, seconds=5, **options)
    end = datetime(2026, 9, 15, tzinfo=UTC)
    assert quote(clip, at=end - timedelta(seconds=1)).amount.amount > 0
    with pytest.raises(NoPriceError, match="2026-09-15"):
        quote(clip, at=end)


# ---- which seconds are billed ------------------------------------------------------------------


@pytest.mark.parametrize(("given", "billed"), [(2, 3), (3, 3), (4, 4), (9, 9), (10, 10), (11, 10)])
def test_an_o1_edit_is_billed_for_3_to_10_seconds(given: int, billed: int) -> None:
    edit = amount("evolink", "kling-o1-video-edit", "edit_video", input_seconds=given)
    assert edit == billed * 12


@pytest.mark.parametrize(("given", "billed"), [("5.4999", 5), ("5.5", 6), ("6", 6), ("6.4999", 6)])
@pytest.mark.parametrize(
    ("model", "action", "options"),
    [
        ("kling-v3-motion-control", "motion_control", {"orientation": "video"}),
        ("kling-o3-video-edit", "edit_video", {}),
    ],
)
def test_evolink_rounds_what_it_produced_to_the_nearest_second(
    model: str, action: str, options: Mapping[str, Any], given: str, billed: int
) -> None:
    seconds = Decimal(given)
    quoted = priced("evolink", model, action, resolution="720p", input_seconds=seconds, **options)
    assert quoted.billed.high == billed


@pytest.mark.parametrize(("orientation", "most"), [("image", 10), ("video", 30)])
def test_a_motion_reserves_the_longest_that_its_orientation_allows(
    orientation: str, most: int
) -> None:
    model = "kling-v3-motion-control"
    options = {"resolution": "720p", "orientation": orientation}
    quoted = priced("evolink", model, "motion_control", **options)
    rate = Decimal("8.1648")
    assert (quoted.low.amount, quoted.amount.amount) == (3 * rate, most * rate)
    longest = amount("evolink", model, "motion_control", input_seconds=most, **options)
    assert longest == most * rate
    for past in (2, most + 1):
        refused = refusal_of("evolink", model, "motion_control", input_seconds=past, **options)
        assert f"3 to {most}" in refused


@pytest.mark.parametrize(
    ("given", "blocks"), [("1", 1), ("4.999", 1), ("5", 1), ("5.001", 2), ("6", 2), ("11", 3)]
)
@pytest.mark.parametrize(("provider", "price"), [("kling-cn", "0.5"), ("piapi", "0.10")])
def test_lip_sync_is_billed_by_the_5_seconds_begun(
    provider: str, price: str, given: str, blocks: int
) -> None:
    seconds = Decimal(given)
    synced = amount(provider, "kling-lip-sync", "lip_sync", input_seconds=seconds)
    assert synced == blocks * Decimal(price)


@pytest.mark.parametrize(("given", "billed"), [(1, 5), (4, 5), (5, 5), (6, 6)])
def test_inference_sh_bills_lip_sync_for_5_seconds_at_least(given: int, billed: int) -> None:
    synced = amount("inference-sh", "klingai/lip-sync", "lip_sync", input_seconds=given)
    assert synced == billed * Decimal("0.014")


@pytest.mark.parametrize(("given", "billed"), [(3, 10), (4, 10), (5, 10), (6, 11), (30, 35)])
@pytest.mark.parametrize(
    ("model", "action", "options"),
    [
        ("kling/v4/video-to-video/edit", "edit_video", {}),
        ("kling/v4/reference-to-video", "reference_to_video", {"video_input": True}),
    ],
)
def test_fal_bills_input_and_output_and_at_least_twice_the_output(
    model: str, action: str, options: Mapping[str, Any], given: int, billed: int
) -> None:
    edited = amount(
        "fal", model, action, seconds=5, resolution="720p", input_seconds=given, **options
    )
    assert edited == billed * Decimal("0.094")


def test_a_request_costs_the_same_however_long_it_is() -> None:
    options = {"resolution": "720p"}
    for seconds in (None, 5, 10):
        extended = amount("kling-cn", "kling-extend", "extend_video", seconds=seconds, **options)
        assert extended == 2
    assert amount("evolink", "kling-custom-element", "custom_element") == 1


# ---- options that providers set themselves -----------------------------------------------------


def test_crun_makes_multi_shot_clips_with_sound_and_has_no_price_without() -> None:
    options = {"seconds": 5, "resolution": "720p", "sound": False}
    forced = priced("crun", "kling/v3", "image_to_video", multi_shot=True, **options)
    assert forced.priced.sound is True
    assert "whatever audio says" in " ".join(forced.assumptions)
    with pytest.raises(NoPriceError):
        priced("crun", "kling/v3", "image_to_video", **options)


@pytest.mark.parametrize(
    ("model", "action", "options"),
    [
        ("kling-o3-reference-to-video", "reference_to_video", {"seconds": 5, "video_input": True}),
        ("kling-o3-video-edit", "edit_video", {"input_seconds": 5}),
    ],
)
def test_evolink_makes_no_sound_where_a_video_is_given(
    model: str, action: str, options: Mapping[str, Any]
) -> None:
    quoted = priced("evolink", model, action, resolution="720p", sound=True, **options)
    assert quoted.priced.sound is False
    assert "no sound where a video is given" in " ".join(quoted.assumptions)


def test_evolink_keeps_the_sound_of_a_reference_without_a_video() -> None:
    options = {"seconds": 5, "resolution": "720p", "sound": True}
    quoted = priced("evolink", "kling-o3-reference-to-video", "reference_to_video", **options)
    assert quoted.priced.sound is True


@pytest.mark.parametrize("sound", [None, False, True])
@pytest.mark.parametrize(
    ("provider", "model", "price"),
    [
        ("fal", "kling/v4/text-to-video", "0.785"),
        ("muapi", "kling-4.0-text-to-video", "0.785"),
        ("muapi", "kling-4.0-flash-text-to-video", "0.47"),
        ("piapi", "kling-4.0", "0.8335"),
        ("piapi", "kling-4.0-flash", "0.5"),
        ("venice", "kling-v4-text-to-video", "0.98"),
        ("venice", "kling-v4-flash-text-to-video", "0.59"),
    ],
)
def test_kling_4_always_makes_sound_and_silence_is_no_cheaper(
    provider: str, model: str, price: str, sound: bool | None
) -> None:
    quoted = priced(provider, model, seconds=5, resolution="720p", sound=sound)
    assert quoted.amount.amount == Decimal(price)
    assert quoted.priced.sound is True
    assert ("Kling 4.0 always makes sound" in quoted.assumptions) is (sound is not True)


@pytest.mark.parametrize(
    ("provider", "model", "by_default"),
    [
        ("fal", "fal-ai/kling-video/v3/pro/text-to-video", True),
        ("muvi", "kling/kling-3-0-standard-text-to-video", False),
        ("muvi", "kling-plus/kling-3-0-standard-text-to-video", True),
        ("apiin-one", "kling-3", True),
        ("openrouter", "kwaivgi/kling-v3.0-pro", True),
    ],
)
def test_a_default_for_sound_is_applied_and_said(
    provider: str, model: str, by_default: bool
) -> None:
    quoted = priced(provider, model, seconds=5)
    assert quoted.priced.sound is by_default
    assert "sound is not given" in " ".join(quoted.assumptions)


def test_an_id_that_says_silent_refuses_sound() -> None:
    refused = refusal_of("uniall", "kling-v3-std-silent", seconds=5, sound=True)
    assert "as kling-v3-std-silent always makes it" in refused


@pytest.mark.parametrize("provider", ["runapi", "kling"])
def test_2_6_with_sound_at_standard_is_a_combination_that_nobody_sells(provider: str) -> None:
    model = {"runapi": "kling-v2.6", "kling": "kling-v2-6"}[provider]
    with pytest.raises(NoPriceError):
        priced(provider, model, seconds=5, resolution="720p", sound=True)


def test_a_voice_of_ones_own_needs_sound() -> None:
    model = "fal-ai/kling-video/v3/pro/text-to-video"
    with pytest.raises(NoPriceError):
        priced("fal", model, seconds=5, sound=False, voice=True)


# ---- mark-ups and rounding ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "exact", "shown"), [(4, "0.785", "0.79"), (20, "3.925", "3.93")]
)
def test_venice_rounds_half_a_cent_up_on_the_whole_clip(
    seconds: int, exact: str, shown: str
) -> None:
    quoted = priced("venice", "kling-v4-text-to-video", seconds=seconds, resolution="720p")
    clip, mark_up, rounding = quoted.lines
    assert clip.amount + mark_up.amount == Decimal(exact)
    assert rounding.amount == Decimal(shown) - Decimal(exact)
    assert quoted.amount.amount == Decimal(shown)


ANOTHERS_BOOK = """
format = 1
provider = "resold"
name = "Resold"
unit = "USD"

[sources.page]
url = "https://example.com/prices"
checked = 2026-11-20
evidence = "published"

[rates.clips]
family = "kling-4.0"
models = { clips = ["text_to_video"] }
from = 2026-11-20
source = "page"
per = "second"
dimensions = ["resolution"]
prices = { 720p = "0.157", 1080p = "0.235" }
request = { min_s = 3, max_s = 30 }
forced = [{ set = { sound = true }, because = "every clip has sound" }]
fees = [{ label = "mark-up", multiply = "1.25" }]
rounding = { mode = "half_up", quantum = "0.01" }
"""


@pytest.mark.parametrize(
    ("seconds", "resolution", "shown"),
    [(3, "720p", "0.59"), (4, "720p", "0.79"), (20, "720p", "3.93"), (30, "1080p", "8.81")],
)
def test_a_provider_who_marks_up_another_can_be_written_in_toml_alone(
    seconds: int, resolution: str, shown: str
) -> None:
    book = library_of([BookText("resold.toml", ANOTHERS_BOOK)]).book("resold")
    clip = Clip("resold", "clips", seconds=seconds, resolution=resolution, sound=False)
    quoted = quote(clip, at=AT, book=book)
    assert quoted.amount.amount == Decimal(shown)
    assert quoted.priced.sound is True
    assert "every clip has sound" in quoted.assumptions


@pytest.mark.parametrize("seconds", [2, 31])
def test_that_provider_refuses_just_past_3_to_30_seconds(seconds: int) -> None:
    book = read_book(ANOTHERS_BOOK, name="resold.toml")
    with pytest.raises(ClipError, match="3 to 30"):
        quote(Clip("resold", "clips", seconds=seconds, resolution="720p"), at=AT, book=book)


@pytest.mark.parametrize("provider", bundled_providers())
def test_a_bundled_book_would_be_taken_from_a_user_too(provider: str) -> None:
    text = bundled_text(provider)
    checked = read_book(text.text, name=text.name)
    assert checked.digest == bundled_book(provider).digest
    assert checked.offers == bundled_book(provider).offers
