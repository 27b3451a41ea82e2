"""Books: the stocks of every wallet while the journal is walked; `costing` has the rules."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from kling_reports.costing.lots import Lot
from kling_reports.exports.lines import Line
from kling_reports.moves import MOVES


@dataclass(frozen=True, slots=True)
class Part:
    """Some units of a transfer, and what they cost; both in millionths, never below zero.

    `currency` is None for units that are paid as they are used, which cost no cash of a purchase.
    `lot_id` is the funding's transfer; None at the moving average, which has no single lot.
    """

    units_micro: int
    cost_micro: int = 0
    currency: str | None = None
    lot_id: str | None = None


@dataclass(frozen=True, slots=True)
class Filled:
    """Some units that `charge` took on credit, and what they cost once they were bought."""

    charge: Line
    part: Part


@dataclass(frozen=True, slots=True)
class Costed:
    """One transfer of MOVES: where its units came from or went back to, and what it filled.

    A funding has no parts.
    """

    line: Line
    parts: tuple[Part, ...] = ()
    filled: tuple[Filled, ...] = ()


@dataclass(slots=True)
class Stock:
    """What is left of a funding, or of all purchases in one currency at their average.

    `funding_id` is the transfer that brought it in, None at the average; `currency` is None for an
    allowance. The lowest `order` is used first.
    """

    wallet_id: str
    funding_id: str | None
    currency: str | None
    order: int = 0
    units_micro: int = 0
    cash_micro: int = 0
    is_queued: bool = False

    def take(self, units_micro: int) -> int:
        """Take units out and return what they cost, rounded down: the remainder stays in stock."""
        cost = self.cash_micro * units_micro // self.units_micro
        self.units_micro -= units_micro
        self.cash_micro -= cost
        return cost

    def put(self, units_micro: int, cash_micro: int) -> None:
        """Put units in at what they cost."""
        self.units_micro += units_micro
        self.cash_micro += cash_micro


@dataclass(slots=True)
class _Taken:
    """Units that a charge took and that were not given back; without a stock they are on credit."""

    line: Line
    units_micro: int
    cost_micro: int
    stock: Stock | None

    def part(self) -> Part:
        if self.stock is None or self.stock.currency is None:
            return Part(self.units_micro)
        stock = self.stock
        return Part(self.units_micro, self.cost_micro, stock.currency, stock.funding_id)

    def give_back(self, units_micro: int) -> int:
        """Give units back and return what they cost when taken."""
        cost = self.cost_micro * units_micro // self.units_micro
        self.units_micro -= units_micro
        self.cost_micro -= cost
        return cost


@dataclass(slots=True)
class _Wallet:
    """The stocks of one wallet in the order of use, and what it owes."""

    id: str
    stocks: list[Stock] = field(default_factory=list)
    queue: list[tuple[int, Stock]] = field(default_factory=list)
    averages: dict[str, Stock] = field(default_factory=dict)
    owed: deque[_Taken] = field(default_factory=deque)
    of_jobs: dict[str, list[_Taken]] = field(default_factory=lambda: defaultdict(list))
    fundings: int = 0

    def fund(self, line: Line, lot: Lot | None) -> Iterator[Filled]:
        """Put a funding in, and fill what was taken on credit; return what that cost."""
        stock = self._stock_for(line, lot)
        if not stock.is_queued:
            # A used-up average starts over, behind what came in meanwhile.
            self.fundings += 1
            stock.order = self.fundings
        stock.put(line.amount_micro, 0 if lot is None else lot.cash_micro)
        while self.owed and stock.units_micro:
            owed = self.owed[0]
            if not owed.units_micro:
                self.owed.popleft()
                continue
            paid = self._fill(owed, stock)
            if stock.currency is not None:
                yield Filled(owed.line, paid.part())
        self._queue(stock)

    def take(self, line: Line) -> Iterator[Part]:
        """Take a charge or an adjustment down out of the stocks; what is missing goes on credit."""
        left = line.amount_micro
        while left and (stock := self._first()) is not None:
            units = min(left, stock.units_micro)
            left -= units
            yield self._remember(_Taken(line, units, stock.take(units), stock))
        # A used-up stock leaves the queue now: if it is refilled, it comes after the others.
        self._first()
        if left:
            on_credit = _Taken(line, left, 0, None)
            self.owed.append(on_credit)
            yield self._remember(on_credit)

    def give_back(self, line: Line) -> Iterator[Part]:
        """Give a refund's units back to where its job's charges took them, the last taken first."""
        left, taken = line.amount_micro, self.of_jobs.get(line.reservation_id or "", [])
        while left and taken:
            last = taken[-1]
            units = min(left, last.units_micro)
            part = _Taken(line, units, last.give_back(units), last.stock)
            if not last.units_micro:
                taken.pop()
            if last.stock is not None:
                last.stock.put(units, part.cost_micro)
                self._queue(last.stock)
            left -= units
            yield part.part()
        if left:
            allowance = self._stock_for(line, None)
            allowance.put(left, 0)
            self._queue(allowance)
            yield Part(left)

    def _stock_for(self, line: Line, lot: Lot | None) -> Stock:
        if lot is not None and lot.costing == "average":
            if lot.currency not in self.averages:
                self.averages[lot.currency] = self._new(Stock(self.id, None, lot.currency))
            return self.averages[lot.currency]
        return self._new(Stock(self.id, line.id, None if lot is None else lot.currency))

    def _new(self, stock: Stock) -> Stock:
        self.fundings += 1
        stock.order = self.fundings
        self.stocks.append(stock)
        return stock

    def _first(self) -> Stock | None:
        """Return the stock that is used next, None if nothing is left."""
        while self.queue and not self.queue[0][1].units_micro:
            heappop(self.queue)[1].is_queued = False
        return self.queue[0][1] if self.queue else None

    def _queue(self, stock: Stock) -> None:
        if stock.units_micro and not stock.is_queued:
            stock.is_queued = True
            heappush(self.queue, (stock.order, stock))

    def _remember(self, taken: _Taken) -> Part:
        if taken.line.reservation_id is not None:
            self.of_jobs[taken.line.reservation_id].append(taken)
        return taken.part()

    def _fill(self, owed: _Taken, stock: Stock) -> _Taken:
        """Take what a charge owes, or as much of it as possible, out of a stock."""
        units = min(owed.units_micro, stock.units_micro)
        paid = _Taken(owed.line, units, stock.take(units), stock)
        owed.units_micro -= units
        if owed.line.reservation_id is not None:
            taken = self.of_jobs[owed.line.reservation_id]
            place = next(place for place, one in enumerate(taken) if one is owed)
            # What is still owed is given back first: it comes after what is paid now.
            taken[place : place + 1] = [paid, owed] if owed.units_micro else [paid]
        return paid


class Books:
    """The stocks of all wallets: post transfers in their order, and see what is left."""

    def __init__(self, lots: Sequence[Lot]) -> None:
        self._lots = {lot.transfer_id: lot for lot in lots}
        self._wallets: dict[str, _Wallet] = {}

    def post(self, line: Line) -> Costed:
        """Post one transfer of MOVES, and return what it cost."""
        wallet = self._wallets.get(line.wallet_id)
        if wallet is None:
            wallet = self._wallets[line.wallet_id] = _Wallet(line.wallet_id)
        if line.kind in {"fund", "adjust"}:
            return Costed(line, (), tuple(wallet.fund(line, self._lots.get(line.id))))
        moved = wallet.give_back(line) if line.kind == "refund" else wallet.take(line)
        return Costed(line, _together(moved))

    def owed(self) -> dict[str, int]:
        """Return the units that each wallet, by its id, has on credit and not yet bought."""
        return {
            name: sum(one.units_micro for one in wallet.owed)
            for name, wallet in sorted(self._wallets.items())
        }

    def stocks(self) -> list[Stock]:
        """Return every stock that ever existed, by wallet, in the order of use."""
        return [
            stock
            for _, wallet in sorted(self._wallets.items())
            for stock in sorted(wallet.stocks, key=lambda stock: stock.order)
        ]


def costed(lines: Iterable[Line], books: Books) -> Iterator[Costed]:
    """Walk transfers of any kind in the order of the journal; return those of MOVES with costs."""
    moving = [line for line in lines if line.kind in MOVES]
    for line in sorted(moving, key=lambda line: (line.period, line.id)):
        yield books.post(line)


def _together(moved: Iterable[Part]) -> tuple[Part, ...]:
    """Return the parts of a transfer, one for each lot or average that it came from.

    Units that are paid as they are used are one part, whichever allowances they came from.
    """
    parts = tuple(moved)
    if len(parts) == 1:
        return parts
    sums: dict[tuple[str | None, str | None], Part] = {}
    for part in parts:
        key = (part.currency, part.lot_id)
        known = sums.get(key, Part(0, 0, *key))
        units, cost = known.units_micro + part.units_micro, known.cost_micro + part.cost_micro
        sums[key] = Part(units, cost, *key)
    return tuple(sums.values())
