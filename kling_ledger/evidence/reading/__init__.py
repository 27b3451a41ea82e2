"""Reading: a provider's bill, in whatever form it comes, as neutral entries.

What can be read for certain is read; what only a person can decide is a question; what is left out
is told. Nothing is guessed: an amount that is read wrongly would be booked.
"""

from __future__ import annotations

from kling_ledger.evidence.reading.answers import Answers
from kling_ledger.evidence.reading.bill import Bill, read_bill

__all__ = ["Answers", "Bill", "read_bill"]
