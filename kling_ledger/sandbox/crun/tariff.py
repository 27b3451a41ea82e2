"""Crun's tariff: what somebody else has copied from its price page, for the plan of 5 dollars.

The copy does not say whether 20 and 27 credits are with sound. Beside other resellers' figures
they are; here a silent clip costs the same, since nobody names a price for it. A dollar buys 200
credits in that plan. Source: third-party transcriptions of https://crun.ai/pricing, no date, seen
2026-11-20; the page itself was not read. The copy names 11 and 18 for the older motion control.
Nobody names a price for 4K or for the newer one: 4K costs here what resellers ask, 0.335 dollars a
second, and the motion what a clip does.
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
