"""Costing: from which purchase each charge, refund and adjustment came, and what it cost.

A wallet's transfers are walked in the order of the journal: by the month that they count in, then
by id. The result for a month depends only on that month and the ones before it, so no later
purchase or rate changes it. The rules:

- **First in, first out** (`fifo`): units come from the oldest funding that has some left. At the
  moving **average**, all lots of one currency are one stock: `cost = cash * units // held`.
- Units of an **allowance** cost nothing until they are used: they are paid as they are used, at
  what the job itself is worth. So are units that a wallet never had (**on credit**). An adjustment
  up is an allowance.
- A **refund** gives units back to where its job's charges took them, the last taken first, at what
  they cost then. One that counts before its charge is an allowance.
- An **adjustment down** takes units as a charge does; what they cost is a loss.
- The next **funding** first fills what was taken on credit. If it is a purchase, that costs its
  cash, in its own month: `Filled` says of which charge. Earlier results never change.
- An expired lot stays where it is: only the seller knows what it still takes.

The invariant, exact to the millionth, in every currency and after every transfer: the cash of all
lots = the cost of what was taken (`Part`s of charges and adjustments down, and `Filled`) - the cost
of what was given back (`Part`s of refunds) + the cash of what is left (`Books.stocks`).
"""

from __future__ import annotations

from kling_reports.costing.books import Books, Costed, Filled, Part, Stock, costed
from kling_reports.costing.lots import Lot, lots_of

__all__ = ["Books", "Costed", "Filled", "Lot", "Part", "Stock", "costed", "lots_of"]
