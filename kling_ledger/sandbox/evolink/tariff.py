"""EvoLink's tariff, in credits.

Text and image to video are a base of 5.4 credits a second times one combined factor: 1, 1.5, 1.333
or 2. The products are charged unrounded: 7.1982, not 7.2. A dollar buys 72 credits on the pages
with these prices, and 68 on later pages; 72 belongs to these prices. Kling O1's fast edits and
image to video have no published price. Source: https://evolink.ai/zh/kling-3,
https://evolink.ai/kling-o3, https://evolink.ai/kling-v3-motion-control,
https://evolink.ai/zh/kling-o1 and https://docs.evolink.ai/en/api-manual/video-series/kling/,
checked 2026-11-20.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from kling_ledger.sandbox.tariff import Tariff, by, flat

_V3 = by(
    *("quality", "sound"),
    **{"720p off": "5.4", "720p on": "8.1", "1080p off": "7.1982", "1080p on": "10.8"},
)
_O3 = by(
    *("quality", "sound"),
    **{"720p off": "5.4", "720p on": "7.2036", "1080p off": "7.2036", "1080p on": "9.0018"},
)
_O3_FROM_VIDEO = by("quality", **{"720p": "8.1", "1080p": "10.8054"})

TARIFF: Final = Tariff(
    "evolink-credit",
    Decimal(72),
    {
        ("kling-v3-text-to-video", "text_to_video"): _V3,
        ("kling-v3-image-to-video", "image_to_video"): _V3,
        ("kling-v3-motion-control", "motion_control"): by(
            "quality", **{"720p": "8.1648", "1080p": "10.88368"}
        ),
        ("kling-o3-text-to-video", "text_to_video"): _O3,
        ("kling-o3-image-to-video", "image_to_video"): _O3,
        ("kling-o3-reference-to-video", "reference_to_video"): _O3_FROM_VIDEO,
        ("kling-o3-video-edit", "edit_video"): _O3_FROM_VIDEO,
        ("kling-o1-video-edit", "edit_video"): flat("12"),
        ("kling-custom-element", "custom_element"): flat("1"),
    },
)
