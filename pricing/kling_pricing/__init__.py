"""What a Kling clip costs: pure, exact, sourced. No network, no database, no clock."""

from kling_pricing.billing import Line
from kling_pricing.book import PriceBook, Rate
from kling_pricing.book_reader import read_book
from kling_pricing.clip import Clip
from kling_pricing.errors import (
    AmountError,
    BookError,
    ClipError,
    KlingError,
    NoPriceError,
    PricingError,
    Problem,
    RequestError,
)
from kling_pricing.library import (
    Library,
    bundled_book,
    bundled_providers,
    library_of,
    open_library,
)
from kling_pricing.money import Money
from kling_pricing.quote import Quote, quote

__all__ = [
    "AmountError",
    "BookError",
    "Clip",
    "ClipError",
    "KlingError",
    "Library",
    "Line",
    "Money",
    "NoPriceError",
    "PriceBook",
    "PricingError",
    "Problem",
    "Quote",
    "Rate",
    "RequestError",
    "bundled_book",
    "bundled_providers",
    "library_of",
    "open_library",
    "quote",
    "read_book",
]
