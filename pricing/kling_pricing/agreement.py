"""Our price of something beside the provider's own, and whether the two agree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from kling_pricing.book import PriceBook
from kling_pricing.cells import PricedCell, sample_clip
from kling_pricing.money import plain
from kling_pricing.quote import quote


@dataclass(frozen=True, slots=True)
class Difference:
    """Our price beside the live one, in the book's unit and per `per`.

    `unknown` marks a provider's row that was not understood: its price may differ.
    """

    provider: str
    kind: Literal["same", "differs", "only_ours", "only_theirs", "unknown"]
    subject: str
    ours: str | None = None
    theirs: str | None = None
    problem: str = ""

    @property
    def is_difference(self) -> bool:
        """Whether the two do not agree."""
        return self.kind != "same"


def beside_estimate(
    book: PriceBook, cell: PricedCell, at: datetime, *, estimate: Decimal | str
) -> Difference:
    """Compare a provider's estimate for `sample_clip` with our quote for it.

    The estimate is an amount in the book's unit, or the provider's reason for giving none.
    """
    clip = sample_clip(book, cell)
    if clip is None:
        raise ValueError("only a clip whose length is known before the run can be estimated")
    ours = quote(clip, at=at, book=book).amount
    subject = cell.subject if clip.seconds is None else f"{cell.subject}, {clip.seconds} s"
    if isinstance(estimate, str):
        problem = f"no estimate: {estimate}"
        return Difference(book.provider, "unknown", subject, ours=str(ours), problem=problem)
    is_same = ours.amount == estimate
    return Difference(
        book.provider,
        "same" if is_same else "differs",
        subject,
        ours=str(ours),
        theirs=f"{plain(estimate)} {book.unit}",
        problem="" if is_same else how_they_differ(ours.amount, "clip", estimate, "clip"),
    )


def how_they_differ(ours: Decimal, our_per: str, theirs: Decimal, their_per: str) -> str:
    """Describe how two prices that do not agree differ."""
    if our_per != their_per:
        return f"ours is per {our_per}, theirs per {their_per}"
    return f"theirs is {plain(abs(theirs - ours))} {'more' if theirs > ours else 'less'}"
