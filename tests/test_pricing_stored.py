"""A quote that was written down is worked out again, whatever was pulled since."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_pricing import Clip, ClipError, NoPriceError, Quote, bundled_book, open_library, quote
from kling_pricing.book_reader import BookText
from kling_pricing.gateways.runapi.schedule_book import schedule_book
from kling_pricing.library import Library, bundled_providers, bundled_text
from kling_pricing.stored import keep, verify
from tests.cli import Cli

AT = datetime(2026, 11, 27, 9, tzinfo=UTC)
CLIP = Clip("runapi", "kling-3.0", seconds=5, resolution="720p", sound=True)


def row(cents: float) -> dict[str, Any]:
    matrix = {"720p": {"true": cents, "false": 7}}
    return {
        "service": "kling",
        "action": "text_to_video",
        "model": "kling-3.0",
        "currency": "USD",
        "billing_unit": "per_second",
        "billing_config": {"keys": ["output_resolution", "enable_sound"], "matrix": matrix},
    }


def pull(folder: Path, cents: float, at: datetime) -> None:
    """What `prices pull` does with the files of a folder, without the wire."""
    path = folder / "runapi.toml"
    earlier = [BookText(str(path), path.read_text(encoding="utf-8"))] if path.exists() else []
    text = schedule_book([row(cents)], as_of=at, over=[bundled_text("runapi"), *earlier])
    for book in (*earlier, BookText(str(path), text)):
        keep(book, folder)
    path.write_text(text, encoding="utf-8")


@given(st.lists(st.sampled_from((10, 13.5, 14, 20.25)), min_size=1, max_size=5))
@settings(max_examples=8)
def test_quotes_from_before_between_and_after_pulls_stand(prices: list[float]) -> None:
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named)
        environ = {"KLING_LEDGER_BOOKS": named}
        made = []
        for number, cents in enumerate(prices):
            made.append(quote(CLIP, at=AT + timedelta(hours=number), library=open_of(environ)))
            pull(folder, cents, AT + timedelta(hours=number, minutes=30))
        made.append(quote(CLIP, at=AT + timedelta(hours=len(prices)), library=open_of(environ)))
        library = open_of(environ)
        for one in made:
            told = json.loads(json.dumps(one.as_dict()))
            again = Quote.from_dict(told, library=library)
            assert (again.amount, again.hold, again.evidence) == (
                one.amount,
                one.hold,
                one.evidence,
            )
        by_hand = [Decimal(str(cents)) * 5 / 100 for cents in prices]
        assert [one.amount.amount for one in made[1:]] == by_hand


def open_of(environ: dict[str, str]) -> Library:
    return open_library(environ=environ)


@pytest.mark.parametrize("provider", bundled_providers())
def test_one_quote_of_each_offer_comes_back_from_its_json(provider: str) -> None:
    book = bundled_book(provider)
    seen = 0
    for (model, action), offers in book.offers.items():
        for cell in offers[-1].rate.prices:
            named = dict(zip(offers[-1].rate.dimensions, cell, strict=True))
            wanted: dict[str, Any] = {
                name: value
                for name, value in {**named, **offers[-1].fixed}.items()
                if value is not None
            }
            for seconds in (3, 5, 8, 10):
                given_one: dict[str, Any] = {"seconds": seconds, **wanted}
                try:
                    made = quote(Clip(provider, model, action, **given_one), at=AT, book=book)
                    told = made.as_dict()
                except (ClipError, NoPriceError):
                    continue
                again = Quote.from_dict(json.loads(json.dumps(told)), library=Library())
                assert again.as_dict() == {**told, "assumptions": list(again.assumptions)}
                seen += 1
    assert seen


def test_a_quote_that_was_changed_is_found_out() -> None:
    told = quote(CLIP, at=AT, library=Library()).as_dict()
    assert verify(told, library=Library()).differences == {}
    cheaper = {**told, "amount": "0.1"}
    assert verify(cheaper, library=Library()).differences == {"amount": ("0.1", "0.5")}
    with pytest.raises(ClipError, match="amount: got"):
        Quote.from_dict(cheaper, library=Library())


@pytest.mark.parametrize("missing", ["provider", "model", "at", "book"])
def test_what_is_no_quote_is_said_to_be_none(missing: str) -> None:
    told = quote(CLIP, at=AT, library=Library()).as_dict()
    del told[missing]
    with pytest.raises(ClipError, match=missing):
        verify(told, library=Library())


def test_the_command_says_whether_a_quote_stands(tmp_path: Path) -> None:
    cli = Cli(tmp_path, {})
    words = ("--provider", "runapi", "--model", "kling-3.0", "--seconds", "5")
    told = cli.json("quote", *words, "--resolution", "720p", "--sound")
    stands = cli("prices", "verify-quote", "-", stdin=json.dumps(told))
    assert (stands.code, stands.out.split(":")[0]) == (0, "0.5 USD")
    changed = cli("prices", "verify-quote", "-", stdin=json.dumps({**told, "amount": "0.4"}))
    assert changed.code == 6
    unknown = {**told, "book": "sha256:" + "0" * 64}
    lost = cli("prices", "verify-quote", "-", stdin=json.dumps(unknown))
    assert lost.code == 7
    assert "prices pull" in lost.err
    assert cli("prices", "verify-quote", "-", stdin="[]").code == 2
