"""One clip at every provider, and what a budget buys: worked by hand from three small books."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kling_pricing.afford import Affordable, afford
from kling_pricing.book_reader import BookText
from kling_pricing.clip import ACTIONS, Clip
from kling_pricing.compare import compare, wanted_clip
from kling_pricing.errors import AmountError, NoPriceError
from kling_pricing.library import Library, library_of
from kling_pricing.money import Money
from kling_pricing.quote import quote

AT = datetime(2026, 6, 1, tzinfo=UTC)
FAMILY = "test-1"

HEAD = """
format = 1
provider = "{name}"
name = "{name}"
unit = "{unit}"
[sources.page]
url = "https://example.com/{name}"
checked = 2026-01-01
evidence = "published"
[rates.clip]
family = "test-1"
from = 2026-01-01
source = "page"
per = "second"
request = {{ min_s = 3, max_s = 15 }}
"""
ALPHA = (
    HEAD.format(name="alpha", unit="USD")
    + """
billing = { min_s = 5 }
models = { alpha-1 = ["text_to_video"] }
dimensions = ["resolution", "sound"]
[rates.clip.prices]
720p = { off = "0.10", on = "0.15" }
4k = { any = "0.42" }
"""
)
BETA = (
    HEAD.format(name="beta", unit="beta-credit")
    + """
dimensions = ["sound"]
[rates.clip.models]
beta-silent = { actions = ["text_to_video"], fixed = { sound = false, resolution = "720p" } }
beta-sound = { actions = ["text_to_video"], fixed = { sound = true, resolution = "720p" } }
[rates.clip.prices]
off = "9"
on = "12"
[[conversions]]
from = 2026-01-01
units_per_usd = "100"
source = "page"
"""
)
GAMMA = (
    HEAD.format(name="gamma", unit="CNY")
    + """
models = { gamma-1 = ["text_to_video"], gamma-i2v = ["image_to_video"] }
dimensions = ["resolution", "sound"]
[rates.clip.prices]
720p = { any = "0.01" }
1080p = { any = "0.01" }
"""
)


@pytest.fixture
def library() -> Library:
    return library_of([BookText("a", ALPHA), BookText("b", BETA), BookText("g", GAMMA)])


def silent(**changes: object) -> Clip:
    return wanted_clip(**({"seconds": 5, "resolution": "720p", "sound": False} | changes))


def buys(library: Library, budget: str, wanted: Clip, provider: str) -> Affordable:
    found = afford(
        Money.parse(budget), wanted, family=FAMILY, at=AT, library=library, provider=provider
    )
    [option] = found.options
    return option


def test_offers_are_cheapest_first_in_dollars_and_those_without_dollars_last(
    library: Library,
) -> None:
    found = compare(silent(), family=FAMILY, at=AT, library=library)
    # beta: 5 x 9 = 45 credits = 0.45 USD; alpha: 5 x 0.10 = 0.50 USD; gamma: 0.05 CNY
    assert [(one.clip.model, one.usd and str(one.usd)) for one in found.offers] == [
        ("beta-silent", "0.45 USD"),
        ("alpha-1", "0.5 USD"),
        ("gamma-1", None),
    ]


def test_equal_offers_are_in_order_of_the_providers_names(library: Library) -> None:
    other = ALPHA.replace("alpha", "aaa")
    extended = Library({**library.user_books, "aaa": BookText("o", other)})
    found = compare(silent(), family=FAMILY, at=AT, library=extended)
    assert [one.clip.provider for one in found.offers] == ["beta", "aaa", "alpha", "gamma"]


def test_a_model_that_always_makes_sound_cannot_make_a_silent_clip(library: Library) -> None:
    [unable] = compare(silent(), family=FAMILY, at=AT, library=library).unable
    assert (unable.provider, unable.model) == ("beta", "beta-sound")
    assert unable.reason == ("sound: got false, allowed: with sound, as beta-sound always makes it")


def test_a_resolution_that_nobody_sells_is_never_priced_like_its_neighbour(
    library: Library,
) -> None:
    found = compare(silent(resolution="1080p"), family=FAMILY, at=AT, library=library)
    assert [one.clip.provider for one in found.offers] == ["gamma"]
    assert {one.provider for one in found.unable} == {"alpha", "beta"}


def test_only_models_of_the_action_and_the_family_at_that_instant_are_asked(
    library: Library,
) -> None:
    found = compare(silent(action="image_to_video"), family=FAMILY, at=AT, library=library)
    assert [one.clip.model for one in found.offers] == ["gamma-i2v"]
    with pytest.raises(NoPriceError, match="test-2"):
        compare(silent(), family="test-2", at=AT, library=library)


def test_a_provider_that_has_the_family_but_not_the_action_is_among_those_that_cannot(
    library: Library,
) -> None:
    found = compare(silent(action="image_to_video"), family=FAMILY, at=AT, library=library)
    assert [(one.provider, one.model, one.reason) for one in found.unable] == [
        (
            "alpha",
            "alpha-1",
            "no price known for alpha alpha-1 image_to_video; known: text_to_video",
        ),
        *(
            ("beta", model, f"no price known for beta {model} image_to_video; known: text_to_video")
            for model in ("beta-silent", "beta-sound")
        ),
    ]


def test_a_provider_whose_rates_have_not_begun_is_among_those_that_cannot(library: Library) -> None:
    day = datetime(2025, 12, 31, tzinfo=UTC)
    found = compare(silent(), family=FAMILY, at=day, library=library)
    assert found.offers == ()
    assert {one.provider for one in found.unable} == {"alpha", "beta", "gamma"}
    assert all("on 2025-12-31" in one.reason for one in found.unable if one.model != "gamma-i2v")


def test_nobody_who_has_a_family_is_left_out_of_a_comparison() -> None:
    library, at = Library(), datetime(2026, 11, 26, tzinfo=UTC)
    books = [library.book(name) for name in library.providers]
    rates = [(book.provider, one.rate) for book in books for o in book.offers.values() for one in o]
    for family in {rate.family for _, rate in rates}:
        having = {provider for provider, rate in rates if rate.family == family}
        for action in ACTIONS:
            found = compare(silent(action=action), family=family, at=at, library=library)
            told = {one.clip.provider for one in found.offers}
            assert told | {one.provider for one in found.unable} == having, (family, action)


def test_what_makes_no_clip_from_an_image_says_where_the_first_frame_goes() -> None:
    found = compare(
        silent(action="image_to_video"),
        family="kling-3.0",
        at=datetime(2026, 11, 26, tzinfo=UTC),
        library=Library(),
    )
    [reason] = [one.reason for one in found.unable if one.provider == "runapi"]
    assert reason.startswith("no price known for runapi kling-3.0 image_to_video; known: text_to")
    assert "text_to_video takes the first frame" in reason


def test_a_budget_says_of_everybody_who_has_the_family_why_it_buys_nothing(
    library: Library,
) -> None:
    wanted = silent(action="image_to_video")
    found = afford(Money.parse("5 CNY"), wanted, family=FAMILY, at=AT, library=library)
    assert [one.provider for one in found.options] == ["gamma"]
    assert {one.provider for one in found.unable} == {"alpha", "beta"}


def test_a_length_that_no_request_may_ask_for_is_no_offer(library: Library) -> None:
    found = compare(silent(seconds=2), family=FAMILY, at=AT, library=library)
    reasons = {one.model: one.reason for one in found.unable}
    assert found.offers == ()
    assert reasons["alpha-1"] == (
        "a request for 2 s would be refused: alpha takes whole seconds, 3 to 15"
    )
    # From flags such a clip has a price still, and the quote warns in the same words.
    alone = Clip("alpha", "alpha-1", seconds=2, resolution="720p", sound=False)
    assert reasons["alpha-1"] in quote(alone, at=AT, book=library.book("alpha")).warnings


@pytest.mark.parametrize(("seconds", "is_offered"), [(3, True), (15, True), (2, False)])
def test_the_ends_of_the_range_are_offered(
    library: Library, seconds: int, *, is_offered: bool
) -> None:
    found = compare(silent(seconds=seconds), family=FAMILY, at=AT, library=library)
    assert ("alpha-1" in [one.clip.model for one in found.offers]) is is_offered


def test_a_budget_buys_no_clip_that_no_request_may_ask_for(library: Library) -> None:
    option = buys(library, "20 USD", silent(seconds=2), "alpha")
    assert (option.cost, option.clips, option.best) == (None, None, None)
    assert option.longest is not None
    assert "would be refused" in option.unable[0].reason


@pytest.mark.parametrize(
    ("budget", "clips"), [("0.499999 USD", 0), ("0.5 USD", 1), ("0.999999 USD", 1), ("1 USD", 2)]
)
def test_a_budget_buys_as_many_clips_as_fit_to_the_last_millionth(
    library: Library, budget: str, clips: int
) -> None:
    assert buys(library, budget, silent(), "alpha").clips == clips


@pytest.mark.parametrize(
    ("budget", "clips"),
    [("44.999999 beta-credit", 0), ("45 beta-credit", 1), ("0.449999 USD", 0), ("0.9 USD", 2)],
)
def test_a_budget_may_be_in_dollars_or_in_the_providers_own_unit(
    library: Library, budget: str, clips: int
) -> None:
    assert buys(library, budget, silent(), "beta").clips == clips


def test_the_cheapest_model_that_fits_counts(library: Library) -> None:
    option = buys(library, "0.9 USD", silent(sound=None), "beta")
    assert option.cost is not None
    assert (option.cost.clip.model, option.clips) == ("beta-silent", 2)


@pytest.mark.parametrize(
    ("budget", "longest"),
    # Fewer seconds than 5 are billed as 5: 0.50 buys 5 of them, and less buys none at all.
    [("0.49 USD", None), ("0.5 USD", 5), ("0.59 USD", 5), ("0.6 USD", 6), ("20 USD", 15)],
)
def test_the_longest_clip_is_one_that_a_request_may_ask_for(
    library: Library, budget: str, longest: int | None
) -> None:
    found = afford(
        Money.parse(budget), silent(), family=FAMILY, at=AT, library=library, provider="alpha"
    )
    [option] = found.options
    assert (option.longest and option.longest.clip.seconds) == longest


@pytest.mark.parametrize(
    ("budget", "best"),
    # 5 s: 4k 2.10 either way, 720p with sound 0.75, 720p silent 0.50
    [
        ("2.1 USD", ("4k", True)),
        ("2.099999 USD", ("720p", True)),
        ("0.75 USD", ("720p", True)),
        ("0.749999 USD", ("720p", False)),
        ("0.499999 USD", None),
    ],
)
def test_the_best_clip_is_the_largest_picture_then_sound(
    library: Library, budget: str, best: tuple[str, bool] | None
) -> None:
    option = buys(library, budget, silent(), "alpha")
    made = option.best and (option.best.priced.resolution, option.best.priced.sound)
    assert made == best


def test_the_best_clip_is_looked_for_among_the_ids_that_fix_sound(library: Library) -> None:
    option = buys(library, "0.6 USD", silent(), "beta")
    assert option.best is not None
    assert option.best.clip.model == "beta-sound"


def test_no_resolution_is_promised_where_the_price_names_none() -> None:
    plain = HEAD.format(name="plain", unit="USD") + 'models = {p = ["text_to_video"]}\nprices = "1"'
    library = library_of([BookText("p", plain)])
    option = buys(library, "5 USD", silent(sound=None), "plain")
    assert option.best is not None
    assert option.best.priced.resolution is None


def test_without_seconds_the_longest_clip_is_still_known(library: Library) -> None:
    option = buys(library, "0.7 USD", silent(seconds=None), "alpha")
    assert option.longest is not None
    assert (option.cost, option.clips, option.longest.clip.seconds) == (None, None, 7)
    assert "seconds" in option.unable[0].reason


def test_a_budget_that_a_provider_cannot_count_is_said_so(library: Library) -> None:
    found = afford(Money.parse("5 USD"), silent(), family=FAMILY, at=AT, library=library)
    assert [option.provider for option in found.options] == ["beta", "alpha"]
    assert [(one.provider, one.reason) for one in found.unable] == [
        ("gamma", "no price known for one CNY in USD on 2026-06-01")
    ]


@pytest.mark.parametrize(
    ("provider", "allowed"), [("alpha", "allowed: USD"), ("beta", "allowed: USD or beta-credit")]
)
def test_the_units_that_a_budget_may_have_are_said_once(
    library: Library, provider: str, allowed: str
) -> None:
    wanted, budget = silent(), Money.parse("5 EUR")
    found = afford(budget, wanted, family=FAMILY, at=AT, library=library, provider=provider)
    assert found.unable[0].reason == f'unit of the budget: got "EUR", {allowed}'


@pytest.mark.parametrize("budget", ["0 USD", "-1 USD"])
def test_a_budget_of_nothing_is_refused(library: Library, budget: str) -> None:
    with pytest.raises(AmountError):
        afford(Money.parse(budget), silent(), family=FAMILY, at=AT, library=library)
