"""Crun's tariff: a third party's copy of its price page, for the 5-dollar plan.

The copy does not say whether 20 and 27 credits are with sound. Other resellers' figures suggest
that they are; here a silent clip costs the same, because no price for it is known. A dollar buys
200 credits in that plan. Source: third-party transcriptions of https://crun.ai/pricing, no date,
seen 2026-11-20; the page itself was not read. The copy gives 11 and 18 for the older motion
control. No price is known for 4K or for the newer motion control: here 4K costs what resellers
charge, 0.335 dollars a second, and motion costs what a clip does.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from kling_ledger.sandbox.tariff import Tariff, by

_BY_MODE = by("mode", **{"std": "20", "pro": "27", "4K": "67"})

TARIFF: Final = Tariff(
    "crun-credit",
    Decimal(200),
    {
        ("kling/v3", "text_to_video"): _BY_MODE,
        ("kling/v3", "image_to_video"): _BY_MODE,
        ("kling/v3-motion-control", "motion_control"): by("mode", std="20", pro="27"),
        ("kling/v2-6-motion-control", "motion_control"): by("mode", std="11", pro="18"),
    },
)
