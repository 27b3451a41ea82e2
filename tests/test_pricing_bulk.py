"""quote_table(): a table's answers are those of quote(), row by row."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kling_pricing import Clip, ClipError, PricingError, bundled_book, bundled_providers, quote
from kling_pricing.book_reader import BookText
from kling_pricing.bulk import ANSWER_COLUMNS, combine_totals, quote_table, totals
from kling_pricing.clip import CLIP_FIELDS
from kling_pricing.library import Library, bundled_text, library_of
from kling_pricing.money import plain, to_micro
from kling_pricing.vocabulary import ACTIONS, FRAMES, ORIENTATIONS, RESOLUTIONS
from tests.sweeps import sampled

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
RUNAPI = {"provider": "runapi", "model": "kling-3.0", "resolution": "1080p", "sound": True}
FIVE_SECONDS_MICRO = 675_000
OWN_PRICE = 'provider = "runapi"\nrates."kling-3.0".prices.1080p.on = "0.2"\n'


def table(*rows: dict[str, Any], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame([RUNAPI | row for row in rows]).assign(**columns)


def clips(count: int, seed: int = 7) -> list[dict[str, Any]]:
    """Random clips of every bundled book: most can be, some cannot, some nobody prices."""
    pick = random.Random(seed)  # noqa: S311
    offers = [
        (provider, model, action)
        for provider in bundled_providers()
        for model, action in bundled_book(provider).offers
    ]
    return [_clip(pick, *pick.choice(offers)) for _ in range(count)]


def _clip(pick: random.Random, provider: str, model: str, action: str) -> dict[str, Any]:
    lengths = [*range(31), Decimal("5.5"), Decimal("2.04"), None]
    said: dict[str, Any] = {
        "provider": provider if pick.random() < 0.99 else "nobody",
        "model": model if pick.random() < 0.98 else "kling-99",
        "action": action if pick.random() < 0.95 else pick.choice([*ACTIONS, "sing"]),
        "seconds": pick.choice(lengths),
        "resolution": pick.choice([*RESOLUTIONS, *RESOLUTIONS, None, "8k"]),
        "sound": pick.choice([True, False, None]),
        "frames": pick.choice(FRAMES),
        "orientation": pick.choice([*ORIENTATIONS, None]),
        "input_seconds": pick.choice(lengths),
    }
    flags = ("multi_shot", "voice", "video_input", "elements")
    return said | {name: pick.random() < 0.15 for name in flags}


def one_by_one(said: dict[str, Any]) -> tuple[Any, ...]:
    """What quote() says of a clip, in the order of the answer columns."""
    try:
        quoted = quote(Clip(**said), at=AT)
        amount, usd, seconds = quoted.amount, quoted.usd, quoted.billed.high
        expected = quoted.expected
    except PricingError as error:
        return (None,) * 10 + (error.message, error.code)
    return (
        quoted.unit,
        to_micro(amount.amount),
        to_micro(quoted.low.amount),
        None if expected is None else to_micro(expected.amount),
        None if usd is None else to_micro(usd.amount),
        None if seconds is None else float(seconds),
        plain(quoted.unit_price),
        quoted.evidence,
        quoted.rate.id,
        "; ".join([*quoted.warnings, *quoted.assumptions]) or None,
        None,
        None,
    )


def answers(priced: pd.DataFrame) -> list[tuple[Any, ...]]:
    columns = [
        priced[name].astype(object).where(priced[name].notna(), None).tolist()
        for name in ANSWER_COLUMNS
    ]
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize("categorical", sampled([True, False], every=2))
def test_a_table_of_100_000_clips_is_answered_as_each_of_them_is(*, categorical: bool) -> None:
    rows = clips(50_000, seed=1 + categorical)
    frame = pd.DataFrame(
        {name: pd.Series([row[name] for row in rows], dtype=object) for name in CLIP_FIELDS}
    )
    if categorical:
        text = ("provider", "model", "action", "resolution", "frames", "orientation")
        frame = frame.astype(dict.fromkeys(text, "category"))
    priced = quote_table(frame, at=AT)
    expected = [one_by_one(row) for row in rows]
    assert answers(priced) == expected
    whole = sum(row[1] for row in expected if row[1] is not None)
    assert totals(priced)["amount_micro"].sum() == whole > 0
    failed = [row for row in expected if row[-1] is not None]
    assert len(rows) * 0.1 < len(failed) < len(rows) * 0.95
    assert totals(priced)["failed"].sum() == len(failed)


def test_a_table_in_parts_is_answered_as_the_whole() -> None:
    rows, known = clips(4_000, seed=9), dict[str, Any]()
    frame = pd.DataFrame(
        {name: pd.Series([row[name] for row in rows], dtype=object) for name in CLIP_FIELDS}
    )
    whole = quote_table(frame, at=AT)
    parts = [
        quote_table(frame.iloc[first : first + 500], at=AT, known=known)
        for first in range(0, 4_000, 500)
    ]
    assert [row for part in parts for row in answers(part)] == answers(whole)
    assert 0 < len(known) <= 4_000


def test_rows_keep_their_order_their_index_and_their_other_columns() -> None:
    frame = table({"seconds": 5}, {"seconds": 4}, {"seconds": 5}, scene=["c", "a", "b"])
    frame.index = pd.Index(["z", "y", "z"], name="row")
    priced = quote_table(frame, at=AT)
    assert priced.index.equals(frame.index)
    assert list(priced.columns) == [*frame.columns, *ANSWER_COLUMNS]
    pd.testing.assert_frame_equal(priced[frame.columns], frame)
    assert priced["amount_micro"].tolist() == [FIVE_SECONDS_MICRO, 540_000, FIVE_SECONDS_MICRO]


@pytest.mark.parametrize("blank", [None, np.nan, pd.NA, "", "  "])
def test_a_blank_means_that_nobody_said(blank: Any) -> None:
    frame = table({"seconds": 5}, frames=pd.Series([blank], dtype=object))
    frame["sound"] = pd.Series([blank], dtype=object)
    expected = one_by_one({**RUNAPI, "seconds": 5, "sound": None})
    assert answers(quote_table(frame, at=AT)) == [expected]


@pytest.mark.parametrize(
    ("word", "sound"),
    [
        ("true", True),
        ("TRUE", True),
        (" on ", True),
        ("Yes", True),
        ("false", False),
        ("off", False),
        ("no", False),
        (np.True_, True),
        ("1", True),
        ("WAHR", True),
        ("是", True),
        ("\u00a0ja ", True),
        ("vrai", True),
        ("0", False),
        ("Falsch", False),
        ("nein", False),
        ("FAUX", False),
        ("否", False),
        (1, True),
        (0, False),
        (1.0, True),
    ],
)
def test_flags_may_be_said_in_words(word: Any, sound: bool) -> None:
    frame = table({"seconds": 5, "sound": word})
    assert answers(quote_table(frame, at=AT)) == [
        one_by_one({**RUNAPI, "seconds": 5, "sound": sound})
    ]


@pytest.mark.parametrize("word", ["2", "maybe", "10", 2, -1, 0.5, "t"])
def test_a_flag_that_is_no_flag_is_never_guessed(word: Any) -> None:
    priced = quote_table(table({"seconds": 5, "sound": word}), at=AT)
    assert priced["error"].tolist()[0].startswith("sound: got ")
    assert priced["amount_micro"].isna().all()


@pytest.mark.parametrize(
    "seconds",
    [5, 5.0, "5", " 5 ", "5.0", "+5", Decimal(5), Decimal("5.0"), np.int8(5), np.float32(5)],
)
def test_a_whole_length_may_be_written_in_many_ways(seconds: Any) -> None:
    priced = quote_table(table({"seconds": seconds}), at=AT)
    assert priced["amount_micro"].tolist() == [FIVE_SECONDS_MICRO]


@pytest.mark.parametrize(
    "seconds",
    [
        0,
        -5,
        float("inf"),
        "5,125",
        "1,000",
        "5,",
        "five",
        "1e1",
        "5_0",
        "٥",
        "NaN",
        True,
        [5],
        "9" * 400,
    ],
)
def test_a_length_that_is_none_is_an_error_beside_the_row(seconds: Any) -> None:
    frame = table({"seconds": 5}, {"seconds": 5})
    frame["seconds"] = pd.Series([seconds, 5], dtype=object)
    priced = quote_table(frame, at=AT)
    assert priced["error"].tolist()[0].startswith("seconds: got ")
    assert priced["error_code"].isna().tolist() == [False, True]
    assert priced["amount_micro"].tolist() == [pd.NA, FIVE_SECONDS_MICRO]


def test_values_that_python_calls_equal_are_told_apart() -> None:
    frame = table({}, {}, {}, {})
    frame["seconds"] = pd.Series([1, 1.0, Decimal(1), True], dtype=object)
    frame["input_seconds"] = pd.Series([False, None, None, None], dtype=object)
    assert quote_table(frame, at=AT)["error"].isna().tolist() == [False, True, True, False]


@pytest.mark.parametrize("said", ["5.5", "5,5", "5,50", 5.5, Decimal("5.50"), np.float64(5.5)])
def test_part_of_a_second_may_be_written_in_many_ways(said: Any) -> None:
    frame = table({"provider": "evolink", "model": "kling-v3-motion-control", "seconds": 5})
    frame["seconds"] = pd.Series([said], dtype=object)
    whole = frame.assign(seconds=pd.Series([Decimal("5.5")], dtype=object))
    assert answers(quote_table(frame, at=AT)) == answers(quote_table(whole, at=AT))


def test_providers_and_words_of_ours_may_be_written_in_capitals() -> None:
    shouted = {"provider": "RunAPI", "resolution": "1080P", "action": "Text_to_Video"}
    priced = quote_table(table(shouted | {"seconds": 5}), at=AT)
    assert priced["amount_micro"].tolist() == [FIVE_SECONDS_MICRO]
    assert totals(priced)["provider"].tolist() == ["runapi"]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64", "Int64", "float64", "str"])
def test_every_type_of_column_reads_alike(dtype: str) -> None:
    frame = table({"seconds": 3}, {"seconds": 120}, {"seconds": 5})
    usual = answers(quote_table(frame, at=AT))
    assert answers(quote_table(frame.astype({"seconds": dtype}), at=AT)) == usual


def test_more_combinations_than_fit_64_bits_are_still_told_apart() -> None:
    names = [f"kling-{number}" for number in range(2_000)]
    frame = pd.DataFrame({"provider": "runapi", "model": names, "seconds": 5, "sound": True})
    for name in ("action", "resolution", "frames", "orientation", "input_seconds"):
        frame[name] = pd.Series([f"{name}-{number}" for number in range(2_000)], dtype=object)
    priced = quote_table(frame, at=AT)
    assert priced["error"].nunique() == len(names)
    assert priced["error"].tolist()[7].startswith('action: got "action-7"')


def test_a_row_without_a_model_is_told_what_is_missing() -> None:
    priced = quote_table(table({"model": None, "seconds": 5}), at=AT)
    assert priced["error"].tolist() == ["model: got nothing, allowed: a name"]
    assert priced["error_code"].tolist() == ["clip"]


def test_a_table_without_a_model_is_refused() -> None:
    with pytest.raises(ClipError, match="model: got nothing, allowed: a column"):
        quote_table(pd.DataFrame({"provider": ["runapi"]}), at=AT)


def test_a_table_with_a_column_twice_is_refused() -> None:
    frame = table({"seconds": 5})
    with pytest.raises(ClipError, match="seconds: got"):
        quote_table(pd.concat([frame, frame[["seconds"]]], axis=1), at=AT)


def test_a_priced_table_can_be_priced_again() -> None:
    priced = quote_table(table({"seconds": 5}), at=AT)
    pd.testing.assert_frame_equal(quote_table(priced, at=AT), priced)


def test_an_empty_table_has_the_same_types() -> None:
    frame = table({"seconds": 5})
    empty, full = quote_table(frame.iloc[:0], at=AT), quote_table(frame, at=AT)
    assert [str(dtype) for dtype in empty.dtypes] == [str(dtype) for dtype in full.dtypes]
    assert totals(empty).empty


def test_a_range_is_told_and_what_nobody_can_expect_is_blank() -> None:
    moved = {"provider": "runapi", "action": "motion_control", "orientation": "video"}
    frame = pd.DataFrame(
        [moved | {"model": "kling-3.0", "resolution": "1080p"}, RUNAPI | {"seconds": "5"}]
    )
    priced = quote_table(frame, at=AT)
    low, high = priced["low_micro"].tolist(), priced["amount_micro"].tolist()
    assert 0 < low[0] < high[0]
    assert low[1] == high[1] == FIVE_SECONDS_MICRO
    assert priced["expected_micro"].tolist() == [pd.NA, FIVE_SECONDS_MICRO]
    assert "known after the run" in priced["notes"].tolist()[0]


def test_notes_are_the_warnings_and_then_the_assumptions() -> None:
    both = 0
    rows = clips(5_000, seed=3)
    for said, notes in zip(rows, quote_table(pd.DataFrame(rows), at=AT)["notes"], strict=True):
        with contextlib.suppress(PricingError):
            quoted = quote(Clip(**said), at=AT)
            assert (notes if isinstance(notes, str) else "") == "; ".join(
                [*quoted.warnings, *quoted.assumptions]
            )
            both += bool(quoted.warnings and quoted.assumptions)
    assert both > 0


def test_a_clip_that_is_priced_with_a_sound_nobody_asked_for_says_so() -> None:
    said: dict[str, Any] = {"provider": "crun", "model": "kling/v3", "resolution": "720p"}
    said |= {"sound": False, "seconds": 5, "multi_shot": True}
    notes = quote_table(pd.DataFrame([said]), at=AT)["notes"].tolist()
    assert "makes every multi-shot clip with sound" in notes[0]


def test_a_length_that_would_be_refused_is_told() -> None:
    notes = quote_table(table({"seconds": 2}), at=AT)["notes"].tolist()
    assert "a request for 2 s would be refused" in notes[0]


def test_a_users_book_prices_a_table_too() -> None:
    text = bundled_text("runapi").text.replace('"0.135"', '"0.2"')
    own = Library({"runapi": BookText("own.toml", text)})
    priced = quote_table(table({"seconds": 5}), at=AT, library=own)
    assert priced["amount_micro"].tolist() == [1_000_000]


def test_a_price_that_a_user_set_is_told_as_the_users_own() -> None:
    own = library_of([BookText("own.toml", OWN_PRICE)])
    priced = quote_table(table({"seconds": 5}, {"seconds": 5, "sound": False}), at=AT, library=own)
    assert priced["evidence"].tolist()[0] == "user"
    assert priced["evidence"].tolist()[1] != "user"
    assert "is set by own.toml" in priced["notes"].tolist()[0]


def test_totals_count_failures_under_the_unit_of_their_provider() -> None:
    priced = quote_table(
        table({"seconds": 5}, {"seconds": 0}, {"seconds": 5}, {"provider": "nobody"}), at=AT
    )
    assert totals(priced).astype(object).to_numpy().tolist() == [
        ["nobody", totals(priced)["unit"][0], 1, 0, 1, 0, 0],
        ["runapi", "USD", 3, 2, 1, 1_350_000, 1_350_000],
    ]
    assert totals(priced)["unit"].isna().tolist() == [True, False]


def test_totals_of_parts_are_those_of_the_whole() -> None:
    rows = [row | {"seconds": 5} for row in clips(2_000)]
    priced = quote_table(pd.DataFrame(rows), at=AT)
    parts = [totals(priced.iloc[start : start + 300]) for start in range(0, 2_000, 300)]
    pd.testing.assert_frame_equal(combine_totals(parts), totals(priced))


def test_totals_beyond_64_bits_are_exact() -> None:
    largest = 2**53 - 1
    priced = quote_table(table({"seconds": 5}), at=AT)
    many = pd.concat([priced] * 3_000, ignore_index=True)
    many["amount_micro"] = pd.array([largest] * 3_000, dtype="Int64")
    assert totals(many)["amount_micro"].tolist() == [largest * 3_000]
    assert combine_totals([totals(many)] * 2)["amount_micro"].tolist() == [largest * 6_000]


def test_totals_without_a_conversion_name_no_dollars() -> None:
    priced = quote_table(table({"seconds": 5}, {"seconds": 5}), at=AT)
    priced["usd_micro"] = pd.array([FIVE_SECONDS_MICRO, None], dtype="Int64")
    assert totals(priced)["usd_micro"].isna().all()
    assert totals(priced)["amount_micro"].tolist() == [2 * FIVE_SECONDS_MICRO]


def test_pricing_itself_needs_no_pandas() -> None:
    code = "import sys, kling_pricing, kling_pricing.gateways; print('pandas' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_the_lines_of_every_kind_of_quote_add_up_to_its_amount() -> None:
    checked = 0
    for said in clips(20_000, seed=5):
        with contextlib.suppress(PricingError):
            answer = quote(Clip(**said), at=AT)
            assert sum(line.amount for line in answer.lines) == answer.amount.amount
            checked += 1
    assert checked > 1_000
