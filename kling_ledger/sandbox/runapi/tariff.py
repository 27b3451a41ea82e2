"""RunAPI's tariff: two readings of it, one of which is charged.

`JULY` is the last list that RunAPI published as data: cents per second, "final customer prices
only". Source: https://github.com/runapi-ai/mcp data/pricing.json at b42e31f, 2026-07-23.

Its pages give half of that: sound adds "about 3 cents per second" at 720p, so 7 to 10, not 14 to
20. Lists of June held cents that were exactly half of July's, before a markup of 2. Source:
https://runapi.ai/zh-CN/openclaw-kling.md, no date; data/pricing.json at cdc4e95, 2026-06.

These do not show which of the two is charged today. `TARIFF` follows the pages, because customers
read them; `JULY` is there to rehearse the more expensive one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Final

from kling_ledger.sandbox.tariff import Price, Sold, Tariff, by, flat
from kling_pricing.money import USD

_V3 = {
    "false 720p": "14",
    "false 1080p": "18",
    "false 4k": "67",
    "true 720p": "20",
    "true 1080p": "27",
    "true 4k": "67",
}
_OMNI = {
    "720p false": "24",
    "720p true": "32",
    "1080p false": "32",
    "1080p true": "40",
    "4k false": "119.5",
    "4k true": "119.5",
}
# Standard with sound is not in the list: that combination is not sold.
_V26 = {"std false": "12", "pro false": "20", "pro true": "40"}
_TURBO = {"720p": "18", "1080p": "22.5"}
_EXTEND = {"std": "4.2", "pro": "8.4"}

_CENTS: Final[Mapping[Sold, Price]] = {
    ("kling-3.0", "text_to_video"): by("enable_sound", "output_resolution", **_V3),
    ("kling-3.0", "motion_control"): by("output_resolution", **{"720p": "20", "1080p": "27"}),
    ("kling-ai-avatar-pro", "ai_avatar"): flat("16"),
    ("kling-ai-avatar-standard", "ai_avatar"): flat("8"),
    ("kling-ai-avatar-v1-pro", "ai_avatar"): flat("16"),
    ("kling-v1-avatar-standard", "ai_avatar"): flat("8"),
    ("kling-v2.1-pro", "image_to_video"): flat("10"),
    ("kling-v2.1-standard", "image_to_video"): flat("5"),
    ("kling-v2.1-master-text-to-video", "text_to_video"): flat("32"),
    ("kling-v2.1-master-image-to-video", "image_to_video"): flat("32"),
    ("kling-v2.5-turbo-text-to-video-pro", "text_to_video"): flat("9"),
    ("kling-v2.5-turbo-image-to-video-pro", "image_to_video"): flat("9"),
    ("kling-v2.5-turbo-text-to-video-pro", "extend_video"): by("mode", **_EXTEND),
    ("kling-v2.5-turbo-image-to-video-pro", "extend_video"): by("mode", **_EXTEND),
    ("kling-v2.6", "text_to_video"): by("mode", "enable_sound", **_V26),
    ("kling-v2.6", "image_to_video"): by("mode", "enable_sound", **_V26),
    ("kling-v3-omni", "text_to_video"): by("output_resolution", "enable_sound", **_OMNI),
    ("kling-v3-omni", "image_to_video"): by("output_resolution", "enable_sound", **_OMNI),
    ("kling-v3-turbo-text-to-video", "text_to_video"): by("output_resolution", **_TURBO),
    ("kling-v3-turbo-image-to-video", "image_to_video"): by("output_resolution", **_TURBO),
}
"""July's cents; kling-o1, omni edits and references, and motion of 2.6 have none."""


def _in_dollars(price: Price, share: Decimal) -> Price:
    cells = {words: cents * share / 100 for words, cents in price.cells.items()}
    return replace(price, cells=cells)


def _tariff(share: Decimal) -> Tariff:
    prices = {sold: _in_dollars(price, share) for sold, price in _CENTS.items()}
    return Tariff(USD, Decimal(1), prices)


JULY: Final = _tariff(Decimal(1))
TARIFF: Final = _tariff(Decimal("0.5"))
