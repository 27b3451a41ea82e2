"""Every price that is shown is what one more second, clip or block really costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kling_ledger.cli import cli
from kling_ledger.cli.prices_rows import listed_rows, shown_rows
from kling_pricing import Clip, PriceBook, Quote, bundled_book, bundled_providers, quote
from kling_pricing.book import Offer
from kling_pricing.cells import cells_of, clip_in
from kling_pricing.errors import ClipError
from kling_pricing.library import Library

AT = datetime(2026, 11, 27, 12, tzinfo=UTC)


def holding(book: PriceBook) -> Iterator[tuple[str, str, Offer]]:
    for (model, action), offers in book.offers.items():
        for offer in offers:
            if offer.rate.is_valid_at(AT):
                yield model, action, offer


def unrounded(quoted: Quote) -> Decimal:
    """What a quote's own lines come to before the whole clip is rounded or bounded."""
    rules = ("rounded ", "charged ")
    return sum(
        (line.amount for line in quoted.lines if not line.label.startswith(rules)), Decimal(0)
    )


def one_more(book: PriceBook, clip: Clip, offer: Offer) -> Decimal | None:
    """What a clip costs that is billed for one more of what its price is per; None for no such."""
    rate = offer.rate
    if rate.per in {"clip", "request"}:
        seconds = rate.request.ends[0] if rate.request else 5
        given = replace(clip, seconds=clip.seconds or seconds)
        if any(fee.per == "second" for fee in rate.fees):
            return None
        return unrounded(quote(given, at=AT, book=book))
    step = rate.block_s or 1
    name = "input_seconds" if rate.billing.count in {"input", "input_and_output"} else "seconds"
    found = {}
    for seconds in range(1, 121):
        lengths: dict[str, Any] = {name: seconds}
        given = replace(clip, **lengths)
        if rate.billing.count == "input_and_output":
            given = replace(given, seconds=5)
        try:
            quoted = quote(given, at=AT, book=book)
        except ClipError:
            continue
        if quoted.billed.low == quoted.billed.high:
            found[int(quoted.billed.high or 0)] = unrounded(quoted)
    for billed, amount in found.items():
        # Lengths of which only a few can be asked for stand more than one apart.
        for longer in range(billed + step, billed + 11 * step, step):
            if longer in found:
                return (found[longer] - amount) / ((longer - billed) // step)
    return None


@pytest.mark.parametrize("provider", bundled_providers())
def test_every_price_that_is_listed_is_what_one_more_costs(provider: str) -> None:
    book = bundled_book(provider)
    shown = 0
    for model, action, offer in holding(book):
        rows = list(shown_rows(model, action, offer, Library(), AT))
        listed = [
            row
            for row in listed_rows(book, AT)
            if (row["model"], row["action"], row["family"]) == (model, action, offer.rate.family)
        ]
        prices = []
        for row, cell in zip(rows, cells_of(offer, is_collapsed=True), strict=True):
            price = Decimal(row["price"].split(" ")[0])
            prices.append(price)
            expected = one_more(book, clip_in(offer, model, action, cell), offer)
            if expected is not None:
                assert price == expected, (model, action, row)
                shown += 1
        lows_and_highs = [(Decimal(row["low"]), Decimal(row["high"])) for row in listed]
        assert (min(prices), max(prices)) in lows_and_highs
    assert shown


def told(*words: str) -> Any:
    result = CliRunner().invoke(cli, [*words, "--format", "json"], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


def test_a_mark_up_stands_in_every_form_of_a_price() -> None:
    [shown, *_] = [row for row in told("prices", "show", "venice") if row["rate"] == "kling-v4"]
    # 0.157 a second, and a quarter on top
    assert shown["price"] == "0.19625 USD"
    assert shown["usd"] == "0.19625"
    assert shown["parts"] == [
        "0.157 USD per second",
        "times 1.25: Venice's mark-up on fal's price",
    ]
    [listed, *_] = [row for row in told("prices", "list") if row["model"] == shown["model"]]
    assert listed["low"] == "0.19625"
    words = ("--provider", "venice", "--model", shown["model"], "--action", shown["action"])
    quoted = told("quote", *words, "--seconds", "4", "--resolution", "720p", "--at", "2026-11-27")
    assert (quoted["rate"], quoted["rate_usd"]) == ("0.19625", "0.19625")
    assert quoted["amount"] == "0.79"


def test_a_discount_of_the_users_own_is_evidence_of_its_own(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        'provider = "crun"\n[rates.v3]\nfees = [{ label = "our discount", multiply = "0.9" }]\n',
        encoding="utf-8",
    )
    book = bundled_book("crun")
    rate = book.offer_for("kling/v3", "text_to_video", AT).rate
    own.write_text(own.read_text().replace("rates.v3", f'rates."{rate.id}"'), encoding="utf-8")
    words = ("--provider", "crun", "--model", "kling/v3", "--seconds", "5", "--resolution", "720p")
    quoted = told("quote", *words, "--sound", "--at", "2026-11-27", "--book", str(own))
    plain = told("quote", *words, "--sound", "--at", "2026-11-27")
    assert (quoted["evidence"], plain["evidence"]) == ("user", "third_party")
    assert Decimal(quoted["amount"]) == Decimal(plain["amount"]) * Decimal("0.9")
    assert any("fees is set by" in line for line in quoted["assumptions"])
