"""UniAll's tariff, which is assumed: no published price of UniAll could be found.

So that jobs can be rehearsed at all, a clip costs what Kling itself charges for the tier and sound
in the model's name, whatever its other options. Source: https://kling.ai/dev/pricing as of
2026-05-29 in https://kling.ai/llms.txt, checked 2026-11-20.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from kling_ledger.sandbox.tariff import Tariff, flat
from kling_pricing.money import USD

_A_SECOND: Final = {
    "kling-v3-std-silent": "0.084",
    "kling-v3-std-audio": "0.126",
    "kling-v3-pro-silent": "0.112",
    "kling-v3-pro-audio": "0.168",
}

TARIFF: Final = Tariff(
    USD,
    Decimal(1),
    {
        (model, action): flat(amount)
        for model, amount in _A_SECOND.items()
        for action in ("text_to_video", "image_to_video")
    },
)
