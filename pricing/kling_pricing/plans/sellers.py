"""Sellers: what the whole plan costs at each provider that can make every clip, cheapest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from kling_pricing.clip import CLIP_FIELDS, Clip
from kling_pricing.compare import Comparison, compare, wanted_clip
from kling_pricing.library import Library
from kling_pricing.plans.cost import Cost
from kling_pricing.plans.failures import charges_failures
from kling_pricing.plans.plan import Charges, Plan, PlannedClip
from kling_pricing.quote import Quote


@dataclass(frozen=True, slots=True)
class Seller:
    """A provider that can make every clip of a plan, each with its cheapest fitting model.

    `cost` is in its unit; `usd` is None if no conversion is known.
    """

    provider: str
    clips: tuple[PlannedClip, ...]
    cost: Cost
    usd: Cost | None

    @property
    def models(self) -> tuple[str, ...]:
        """The models that make the clips, each once."""
        return tuple(dict.fromkeys(row.quote.clip.model for row in self.clips))


@dataclass(frozen=True, slots=True)
class CannotMakeAll:
    """A provider that cannot make some rows of a plan: how many, the first one's place, and why."""

    provider: str
    rows: int
    first: int
    reason: str


@dataclass(frozen=True, slots=True)
class Sellers:
    """A plan at every provider: who can make all of it, and who cannot, and why.

    The cheapest maximum in US dollars comes first; those in a unit without a known conversion come
    last.
    """

    offers: tuple[Seller, ...]
    unable: tuple[CannotMakeAll, ...]


def sellers_of(plan: Plan, *, library: Library, charges: Charges = charges_failures) -> Sellers:
    """Price the whole plan at every provider, whichever ones its rows name.

    Each row is wanted as its own provider would make it, from the same family of models. Raises the
    error of the first row without a price: what it wants cannot be determined.
    """
    for row in plan.unpriced:
        raise row.error
    if not plan.clips:
        return Sellers((), ())
    wants = [_want(row) for row in plan.clips]
    market = {want: _everywhere(want, plan.at, library) for want in dict.fromkeys(wants)}
    places = [market[want] for want in wants]
    found = [_seller(provider, plan, places, charges) for provider in library.providers]
    offers = [one for one in found if isinstance(one, Seller)]
    unable = [one for one in found if isinstance(one, CannotMakeAll)]
    return Sellers(tuple(sorted(offers, key=_by_usd)), tuple(unable))


@dataclass(frozen=True, slots=True)
class _Want:
    """What a row wants, whichever provider makes it."""

    family: str
    clip: Clip


def _want(row: PlannedClip) -> _Want:
    made = row.quote.priced
    options = {name: getattr(made, name) for name in CLIP_FIELDS}
    del options["provider"], options["model"]
    return _Want(row.quote.rate.family, wanted_clip(**options))


@dataclass(frozen=True, slots=True)
class _Everywhere:
    """One want at every provider: its cheapest quote, or why there is none."""

    want: _Want
    cheapest: dict[str, Quote]
    reasons: dict[str, str]

    def reason(self, provider: str) -> str:
        asked = f"{self.want.family} {self.want.clip.action}"
        return self.reasons.get(provider, f"no price known for {asked}")


def _everywhere(want: _Want, at: datetime, library: Library) -> _Everywhere:
    found: Comparison = compare(want.clip, family=want.family, at=at, library=library)
    cheapest: dict[str, Quote] = {}
    for offer in found.offers:
        best = cheapest.setdefault(offer.clip.provider, offer)
        # A provider charges in one unit, so its own amounts compare without conversion.
        if offer.amount < best.amount:
            cheapest[offer.clip.provider] = offer
    reasons: dict[str, str] = {}
    for one in found.unable:
        reasons.setdefault(one.provider, f"{one.model}: {one.reason}")
    return _Everywhere(want, cheapest, reasons)


def _seller(
    provider: str, plan: Plan, places: Sequence[_Everywhere], charges: Charges
) -> Seller | CannotMakeAll:
    missing = [
        (row.wanted.place, one.reason(provider))
        for row, one in zip(plan.clips, places, strict=True)
        if provider not in one.cheapest
    ]
    if missing:
        first, reason = missing[0]
        return CannotMakeAll(provider, len(missing), first, reason)
    clips = tuple(
        PlannedClip(row.wanted, one.cheapest[provider], charges(one.cheapest[provider]))
        for row, one in zip(plan.clips, places, strict=True)
    )
    (cost,) = Cost.by_unit(row.cost for row in clips).values()
    return Seller(provider, clips, cost, Cost.total(row.usd for row in clips))


def _by_usd(seller: Seller) -> tuple[bool, Decimal, str]:
    amount = Decimal(0) if seller.usd is None else seller.usd.high.amount
    return seller.usd is None, amount, seller.provider
