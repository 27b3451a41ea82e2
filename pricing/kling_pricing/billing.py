"""Which seconds are billed, and what they cost, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Final, Literal, NamedTuple

from kling_pricing.book import Rate
from kling_pricing.book_entries import Fee, Lengths
from kling_pricing.clip import Clip
from kling_pricing.errors import MISSING, ClipError, Problem
from kling_pricing.money import plain
from kling_pricing.vocabulary import Seconds

_ROUNDING: Final[dict[Literal["up", "nearest", "down"], str]] = {
    "up": ROUND_CEILING,
    "nearest": ROUND_HALF_UP,
    "down": ROUND_FLOOR,
}


class Billed(NamedTuple):
    """Seconds that will be billed: three equal figures, or a range if only the run decides.

    All are None if the price does not depend on seconds; `expected` is also None if it cannot be
    told before the run.
    """

    low: Seconds | None
    expected: Seconds | None
    high: Seconds | None


class Line(NamedTuple):
    """One line item: `quantity` of `per`, at `unit_price` each, is `amount`."""

    label: str
    quantity: Decimal
    per: str
    unit_price: Decimal

    @property
    def amount(self) -> Decimal:
        """Quantity times unit price, exactly."""
        return self.quantity * self.unit_price


def billed_seconds(clip: Clip, rate: Rate) -> Billed:
    """Return the seconds that a clip will be billed for; ClipError for an impossible length."""
    if rate.per in {"clip", "request"}:
        # The price does not depend on the length, but a fee does.
        if any(fee.per == "second" for fee in rate.fees):
            _required("seconds", clip.seconds, str(rate.request or "a number of seconds"))
        _check_length(clip, rate)
        return Billed(clip.seconds, clip.seconds, clip.seconds)
    if rate.billing.count == "produced":
        return _produced(clip, rate)
    least, most = _billable(clip, rate)
    # Round both ends, not their mean: these are the two lengths that a bill can show.
    low, high = _counted(least, rate), _counted(most, rate)
    return Billed(low, high if low == high else None, high)


def produced_seconds(rate: Rate, billed: Billed, seconds: Seconds) -> Seconds | None:
    """Return the seconds that are billed for a produced file of this length.

    None if the price does not depend on the file, or if this clip cannot produce such a length.
    """
    if rate.billing.count != "produced" or billed.low is None or billed.high is None:
        return None
    counted = _counted(seconds, rate)
    return counted if billed.low <= counted <= billed.high else None


def length_problems(clip: Clip, rate: Rate) -> tuple[Problem, ...]:
    """Return what is wrong with a clip's length, or that it is missing; nothing if it is valid."""
    try:
        billed_seconds(clip, rate)
    except ClipError as error:
        return error.problems
    return ()


def _billable(clip: Clip, rate: Rate) -> tuple[Seconds, Seconds]:
    """Return the least and the most seconds that may count, before rounding and clamping."""
    if rate.billing.count == "requested":
        seconds = _requested(clip, rate)
        return seconds, seconds
    least, most = _input_seconds(clip, rate)
    if rate.billing.count == "input":
        return least, most
    output = _requested(clip, rate)
    # The floor raises both ends: a short input is billed as a longer one.
    floor = output * (rate.billing.times_output or 0)
    return max(output + least, floor), max(output + most, floor)


def _input_seconds(clip: Clip, rate: Rate) -> tuple[Seconds, Seconds]:
    """Return the length of the input video: what the clip says, or else the range it may have."""
    given, lengths, billing = clip.input_seconds, rate.input, rate.billing
    if given is not None:
        if lengths is not None and given not in lengths:
            raise ClipError([Problem("input_seconds", given, str(lengths))])
        return given, given
    if lengths is not None:
        return lengths.ends
    if billing.count == "input" and billing.max_s is not None:
        return billing.min_s, billing.max_s
    raise ClipError([Problem("input_seconds", MISSING, "the length of the video that goes in")])


def _requested(clip: Clip, rate: Rate) -> Seconds:
    seconds = _required("seconds", clip.seconds, str(rate.request or "a number of seconds"))
    _check_length(clip, rate)
    return seconds


def _check_length(clip: Clip, rate: Rate) -> None:
    """Refuse a length that no request may ask for; one below the billing minimum only warns."""
    lengths, seconds = rate.request, clip.seconds
    if lengths is None or seconds is None:
        return
    # A neutral clip may be shorter than any request: it is priced at the minimum, so that providers
    # can be compared. Part of a second is never covered, because how it would be rounded is
    # unknown.
    is_whole = seconds == int(seconds)
    is_covered = is_whole and seconds < lengths.ends[0] and seconds <= rate.billing.min_s
    if not (seconds in lengths or is_covered):
        raise ClipError([Problem("seconds", seconds, str(lengths))])


def _produced(clip: Clip, rate: Rate) -> Billed:
    lengths = _output_lengths(clip, rate)
    shortest, longest = lengths.ends
    low, high = _counted(shortest, rate), _counted(longest, rate)
    name, given = _length_said(clip, rate)
    if given is None:
        return Billed(low, None, high)
    if not shortest <= given <= longest:
        raise ClipError([Problem(name, given, str(lengths))])
    as_said = _counted(given, rate)
    return Billed(low, as_said, as_said)


def _length_said(clip: Clip, rate: Rate) -> tuple[str, Seconds | None]:
    """Return the output length that a clip states, and the field that states it."""
    if not rate.billing.follows_input or clip.input_seconds is None:
        return "seconds", clip.seconds
    if clip.seconds not in {None, clip.input_seconds}:
        allowed = f"{clip.input_seconds}, the length of the video that goes in, or nothing"
        raise ClipError([Problem("seconds", clip.seconds, allowed)])
    return "input_seconds", clip.input_seconds


def _output_lengths(clip: Clip, rate: Rate) -> Lengths:
    for output in rate.billing.output:
        if clip.meets(output.when):
            return output
    raise ClipError([Problem("orientation", clip.orientation or MISSING, "image, video")])


def _counted(seconds: Seconds, rate: Rate) -> int:
    """Round seconds to whole ones and clamp them, as the provider does."""
    billing = rate.billing
    if seconds != int(seconds):
        if billing.round is None:
            raise ClipError([Problem("seconds", seconds, "whole seconds")])
        seconds = Decimal(seconds).quantize(Decimal(1), rounding=_ROUNDING[billing.round])
    # Rounded first, then clamped: 2.5 s at a minimum of 3 is 3 whichever way it is rounded.
    at_least = max(int(seconds), billing.min_s)
    return at_least if billing.max_s is None else min(at_least, billing.max_s)


def _required(name: str, seconds: Seconds | None, allowed: str) -> Seconds:
    if seconds is None:
        raise ClipError([Problem(name, MISSING, allowed)])
    return seconds


def amount_of(rate: Rate, clip: Clip, price: Decimal, seconds: Seconds | None) -> Decimal:
    """Return what a clip with these billed seconds costs: the sum of its lines."""
    total = price * _quantity(rate, seconds)
    for fee in rate.fees:
        if clip.meets(fee.when):
            quantity, unit_price = _fee_terms(fee, total, seconds)
            total += quantity * unit_price
    # The order is part of the price: fees, then rounding, then the minimum and maximum of one clip.
    total = total if rate.rounding is None else rate.rounding.round(total)
    return total if rate.total is None else rate.total.clamp(total)


def all_in(rate: Rate, clip: Clip, price: Decimal) -> Decimal:
    """Return what one more `per` adds to a clip, with every fee, before rounding.

    `per` is a second, a block or a clip. A fee charged once per clip is not part of what one more
    second costs.
    """
    total = price
    for fee in rate.fees:
        if not clip.meets(fee.when):
            continue
        if fee.multiply is not None:
            total *= fee.multiply
        elif fee.amount is not None:
            total += fee.amount * _times_in_one(rate, fee)
    return total


def _times_in_one(rate: Rate, fee: Fee) -> int:
    """Return how often a fee is charged for one `per` of the rate's price."""
    if rate.per in {"clip", "request"}:
        return 1 if fee.per != "second" else 0
    return (rate.block_s or 1) if fee.per == "second" else 0


def lines_of(rate: Rate, clip: Clip, price: Decimal, seconds: Seconds | None) -> tuple[Line, ...]:
    """Return the line items of a clip with these billed seconds; they add up exactly."""
    lines = list(_base_lines(rate, clip, price, seconds))
    for fee in rate.fees:
        if clip.meets(fee.when):
            quantity, unit_price = _fee_terms(fee, _total(lines), seconds)
            per = "of what is above" if fee.multiply else fee.per or "clip"
            lines.append(Line(fee.label, quantity, per, unit_price))
    if rate.rounding is not None:
        exact = _total(lines)
        rounded = rate.rounding.round(exact)
        if rounded != exact:
            label = (
                f"rounded {rate.rounding.mode.replace('_', ' ')} to {plain(rate.rounding.quantum)}"
            )
            lines.append(Line(label, Decimal(1), "clip", rounded - exact))
    if rate.total is not None:
        before = _total(lines)
        charged = rate.total.clamp(before)
        if charged != before:
            label = f"charged {'at least' if charged > before else 'at most'} {plain(charged)}"
            lines.append(Line(label, Decimal(1), "clip", charged - before))
    return tuple(lines)


def _base_lines(rate: Rate, clip: Clip, price: Decimal, seconds: Seconds | None) -> Iterator[Line]:
    label, quantity = rate.described(clip), Decimal(_quantity(rate, seconds))
    counts_requested = rate.per == "second" and rate.billing.count == "requested"
    asked = clip.seconds if counts_requested else None
    if asked is None or asked == quantity:
        per = f"block of {rate.block_s} seconds" if rate.per == "block" else rate.per
        yield Line(label, quantity, per, price)
    else:
        yield Line(label, Decimal(asked), "second", price)
        yield Line(_rule_of(rate, asked=asked, billed=quantity), quantity - asked, "second", price)


def _quantity(rate: Rate, seconds: Seconds | None) -> Seconds:
    """Return how many `per` are paid for."""
    if rate.per in {"clip", "request"} or seconds is None:
        return 1
    # Rounded up without floats: a started block counts in full.
    return -(-int(seconds) // (rate.block_s or 1)) if rate.per == "block" else seconds


def _rule_of(rate: Rate, *, asked: Seconds, billed: Decimal) -> str:
    billing = rate.billing
    if billed == billing.min_s and asked + 1 <= billed:
        return f"billing minimum of {billing.min_s} seconds"
    if billed == billing.max_s and asked - 1 >= billed:
        return f"billing maximum of {billing.max_s} seconds"
    return "rounded to whole seconds"


def _fee_terms(fee: Fee, so_far: Decimal, seconds: Seconds | None) -> tuple[Decimal, Decimal]:
    """Return what a fee is charged on, and how much it is for each."""
    if fee.multiply is not None:
        # A separate line, so that the lines still add up to the amount.
        return so_far, fee.multiply - 1
    quantity = Decimal(seconds or 0) if fee.per == "second" else Decimal(1)
    return quantity, fee.amount or Decimal(0)


def _total(lines: list[Line]) -> Decimal:
    return sum((line.amount for line in lines), Decimal(0))
