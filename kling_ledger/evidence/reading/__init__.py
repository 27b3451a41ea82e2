"""Reading: a provider's bill, in whatever form it comes, as neutral entries.

What is certain is read, what only a person can decide becomes a question, and what is skipped is
noted. Nothing is guessed: a misread amount would be booked.
"""

from __future__ import annotations

from kling_ledger.evidence.reading.answers import Answers
from kling_ledger.evidence.reading.bill import Bill, read_bill

__all__ = ["Answers", "Bill", "read_bill"]
