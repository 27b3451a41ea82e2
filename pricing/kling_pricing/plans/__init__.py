"""Plans: what a list of clips will cost, with takes and failures, before anything is spent.

Pure arithmetic over quotes: every figure is a quote's own amount times how often it is paid.
"""

from kling_pricing.plans.budget import Fit, fits
from kling_pricing.plans.cost import Cost
from kling_pricing.plans.difference import Change, Difference, difference
from kling_pricing.plans.failures import charges_failures
from kling_pricing.plans.plan import Plan, PlannedClip, Unpriced, Wanted, plan
from kling_pricing.plans.sellers import CannotMakeAll, Seller, Sellers, sellers_of
from kling_pricing.plans.shown import ShownRate
from kling_pricing.plans.takes import read_failure_rate, read_takes

__all__ = [
    "CannotMakeAll",
    "Change",
    "Cost",
    "Difference",
    "Fit",
    "Plan",
    "PlannedClip",
    "Seller",
    "Sellers",
    "ShownRate",
    "Unpriced",
    "Wanted",
    "charges_failures",
    "difference",
    "fits",
    "plan",
    "read_failure_rate",
    "read_takes",
    "sellers_of",
]
