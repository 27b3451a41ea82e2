"""Costing: from which purchase a charge came, worked by hand and by an oracle of single units."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_reports.costing import Books, Costed, Lot, Part, costed
from kling_reports.costing.standing import Left, left_of
from kling_reports.exports.lines import Line

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
BLANK: dict[str, Any] = dict.fromkeys(Line.__slots__)


def line(number: int, kind: str, micro: int, *, job: str | None = None, period="2026-10") -> Line:
    """One transfer of the wallet `w`; its id follows from its number."""
    known = {
        "id": f"t{number:03}",
        "created_at": NOON + timedelta(minutes=number),
        "period": period,
        "kind": kind,
        "amount_micro": micro,
        "unit": "crun-credit",
        "wallet": "team",
        "wallet_id": "w",
        "reservation_id": job,
    }
    return Line(**{**BLANK, **known})


def lot(number: int, micro: int, cash: int, *, currency: str = "USD", costing="fifo") -> Lot:
    """What was paid for the funding of a number."""
    return Lot(
        transfer_id=f"t{number:03}",
        wallet="team",
        wallet_id="w",
        costing=costing,
        unit="crun-credit",
        units_micro=micro,
        cash_micro=cash,
        tax_micro=None,
        currency=currency,
        seller="Crun",
        invoice=None,
        bought_on=date(2026, 10, 1),
        expires_on=None,
        period="2026-10",
        created_at=NOON,
        recorded_at=NOON,
    )


def walked(lines: Sequence[Line], lots: Sequence[Lot]) -> tuple[dict[str, Costed], Books]:
    books = Books(lots)
    return {one.line.id: one for one in costed(lines, books)}, books


def in_usd(units: int, cost: int, number: int | None) -> Part:
    return Part(units, cost, "USD", None if number is None else f"t{number:03}")


def test_two_packs_at_different_prices_are_used_first_in_first_out():
    # 10 for 1.00 (0.10 each), then 10 for 2.00 (0.20 each); 15 of them cost 1.00 + 1.00.
    lots = [lot(1, 10, 100), lot(2, 10, 200)]
    found, books = walked(
        [line(1, "fund", 10), line(2, "fund", 10), line(3, "commit", 15, job="a")], lots
    )
    assert found["t003"].parts == (in_usd(10, 100, 1), in_usd(5, 100, 2))
    assert left_of(lots, books.stocks()) == {"t001": Left(0, 0), "t002": Left(5, 100)}


def test_at_the_moving_average_all_lots_have_one_price():
    # 10 for 100 and 10 for 200: 15 an each. After 10 of them (150), 10 more for 450: 30 each.
    lots = [lot(n, 10, cash, costing="average") for n, cash in ((1, 100), (2, 200), (4, 450))]
    found, books = walked(
        [
            line(1, "fund", 10),
            line(2, "fund", 10),
            line(3, "commit", 10, job="a"),
            line(4, "fund", 10),
            line(5, "commit", 10, job="b"),
        ],
        lots,
    )
    assert found["t003"].parts == (in_usd(10, 150, None),)
    assert found["t005"].parts == (in_usd(10, 300, None),)
    # 10 are left, of the last lot bought, at 30 each.
    assert left_of(lots, books.stocks()) == {
        "t001": Left(0, 0),
        "t002": Left(0, 0),
        "t004": Left(10, 300),
    }


def test_what_does_not_divide_stays_with_what_is_left():
    # Three units for 100: 33, 33 and 34.
    found, _ = walked(
        [line(1, "fund", 3), *(line(n, "commit", 1, job="a") for n in (2, 3, 4))], [lot(1, 3, 100)]
    )
    assert [found[f"t00{n}"].parts[0].cost_micro for n in (2, 3, 4)] == [33, 33, 34]


def test_a_refund_gives_back_what_its_own_job_took_at_that_cost():
    lots = [lot(1, 10, 100), lot(2, 10, 200)]
    found, books = walked(
        [
            line(1, "fund", 10),
            line(2, "fund", 10),
            line(3, "commit", 15, job="a"),
            line(4, "commit", 5, job="b"),
            line(5, "refund", 7, job="a"),
        ],
        lots,
    )
    # The last taken first: the 5 of the second lot at 20, then 2 of the first at 10.
    assert found["t005"].parts == (in_usd(5, 100, 2), in_usd(2, 20, 1))
    assert left_of(lots, books.stocks()) == {"t001": Left(2, 20), "t002": Left(5, 100)}


def test_what_came_back_is_used_first_where_it_was():
    found, _ = walked(
        [
            line(1, "fund", 10),
            line(2, "fund", 10),
            line(3, "commit", 12, job="a"),
            line(4, "refund", 12, job="a"),
            line(5, "commit", 10, job="b"),
        ],
        [lot(1, 10, 100), lot(2, 10, 200)],
    )
    assert found["t005"].parts == (in_usd(10, 100, 1),)


def test_an_allowance_has_no_cost_and_its_turn():
    found, books = walked(
        [
            line(1, "fund", 4),
            line(2, "adjust", 3),
            line(3, "fund", 10),
            line(4, "commit", 9, job="a"),
        ],
        [lot(3, 10, 100)],
    )
    assert found["t004"].parts == (Part(7), in_usd(2, 20, 3))
    assert [(one.funding_id, one.units_micro) for one in books.stocks()] == [
        ("t001", 0),
        ("t002", 0),
        ("t003", 8),
    ]


def test_an_adjustment_down_takes_units_out_at_what_they_cost():
    found, _ = walked([line(1, "fund", 10), line(2, "adjust_down", 4)], [lot(1, 10, 100)])
    assert found["t002"].parts == (in_usd(4, 40, 1),)


def test_what_is_taken_on_credit_is_costed_by_the_next_purchase():
    found, books = walked(
        [
            line(1, "fund", 4),
            line(2, "commit", 10, job="a"),
            line(3, "fund", 4),
            line(4, "fund", 8),
            line(5, "refund", 7, job="a"),
        ],
        [lot(3, 4, 80), lot(4, 8, 240)],
    )
    assert found["t002"].parts == (Part(10),)
    # Six were on credit: four at 20, then two at 30; each says of which charge it is.
    assert [(one.charge.id, one.part) for one in found["t003"].filled] == [
        ("t002", in_usd(4, 80, 3))
    ]
    assert [(one.charge.id, one.part) for one in found["t004"].filled] == [
        ("t002", in_usd(2, 60, 4))
    ]
    # Back, the last first: two of the third funding, four of the second, one of the allowance.
    assert found["t005"].parts == (in_usd(2, 60, 4), in_usd(4, 80, 3), Part(1))
    assert [(one.funding_id, one.units_micro, one.cash_micro) for one in books.stocks()] == [
        ("t001", 1, 0),
        ("t003", 4, 80),
        ("t004", 8, 240),
    ]


def test_an_allowance_that_fills_what_was_on_credit_says_nothing_of_it():
    found, _ = walked(
        [line(1, "commit", 10, job="a"), line(2, "fund", 4), line(3, "fund", 6)], [lot(3, 6, 60)]
    )
    assert found["t002"].filled == ()
    assert [one.part for one in found["t003"].filled] == [in_usd(6, 60, 3)]


def test_what_comes_back_before_it_was_bought_is_owed_no_more():
    found, books = walked(
        [line(1, "commit", 10, job="a"), line(2, "refund", 10, job="a"), line(3, "fund", 6)],
        [lot(3, 6, 60)],
    )
    assert found["t002"].parts == (Part(10),)
    assert found["t003"].filled == ()
    assert [(one.units_micro, one.cash_micro) for one in books.stocks()] == [(6, 60)]


def test_lots_in_two_currencies_are_never_one_average():
    lots = [
        lot(1, 10, 100, costing="average"),
        lot(2, 10, 500, currency="CNY", costing="average"),
        lot(3, 10, 300, costing="average"),
    ]
    found, _ = walked(
        [*(line(n, "fund", 10) for n in (1, 2, 3)), line(4, "commit", 25, job="a")], lots
    )
    assert found["t004"].parts == (in_usd(20, 400, None), Part(5, 250, "CNY", None))


def test_an_average_that_was_used_up_begins_anew_behind_what_came_meanwhile():
    lots = [lot(1, 10, 100, costing="average"), lot(4, 10, 300, costing="average")]
    found, books = walked(
        [
            line(1, "fund", 10),
            line(2, "commit", 10, job="a"),
            line(3, "fund", 5),
            line(4, "fund", 10),
            line(5, "commit", 7, job="b"),
            line(6, "refund", 10, job="a"),
        ],
        lots,
    )
    assert found["t005"].parts == (Part(5), in_usd(2, 60, None))
    # Eight are left for 240; ten come back at the 100 that they cost.
    assert found["t006"].parts == (in_usd(10, 100, None),)
    assert [(one.units_micro, one.cash_micro) for one in books.stocks()] == [(0, 0), (18, 340)]


def test_the_order_is_that_of_months_and_then_of_ids():
    later = line(1, "commit", 5, job="a", period="2026-11")
    found, _ = walked([later, line(2, "fund", 5)], [lot(2, 5, 50)])
    assert found["t001"].parts == (in_usd(5, 50, 2),)


def test_a_refund_that_counts_before_its_charge_is_an_allowance():
    found, books = walked([line(1, "refund", 5, job="a"), line(2, "commit", 5, job="a")], [])
    assert (found["t001"].parts, found["t002"].parts) == ((Part(5),), (Part(5),))
    assert sum(one.units_micro for one in books.stocks()) == 0


@dataclass
class Unit:
    """One millionth of a credit: which funding it is of, and exactly what it cost."""

    funding: int
    cost: Fraction
    currency: str | None


@dataclass
class Oracle:
    """First in, first out, unit by unit: an independent reading of the rules."""

    held: dict[int, list[Unit]] = field(default_factory=lambda: defaultdict(list))
    owed: list[list[Unit | None]] = field(default_factory=list)
    jobs: dict[str, list[list[Unit | None]]] = field(default_factory=lambda: defaultdict(list))

    def fund(self, number: int, micro: int, paid: tuple[int, str] | None) -> list[Unit]:
        """Put units in; return those that go to what was taken on credit."""
        cost, currency = (
            (Fraction(0), None) if paid is None else (Fraction(paid[0], micro), paid[1])
        )
        units = [Unit(number, cost, currency) for _ in range(micro)]
        filled = []
        for place in self.owed:
            if units and place[0] is None:
                place[0] = units[-1]
                filled.append(units.pop())
        self.held[number] += units
        return [one for one in filled if one.currency]

    def take(self, micro: int, job: str) -> list[Unit | None]:
        """Take units out, the oldest first; None is one on credit."""
        taken: list[Unit | None] = []
        for _ in range(micro):
            first = next((n for n in sorted(self.held) if self.held[n]), None)
            unit = None if first is None else self.held[first].pop()
            place = [unit]
            taken.append(unit)
            if unit is None:
                self.owed.append(place)
            if job:
                self.jobs[job].append(place)
        return taken

    def give_back(self, micro: int, job: str) -> list[Unit | None]:
        """Give the last units of a job back."""
        back = []
        for _ in range(micro):
            place = self.jobs[job].pop()
            back.append(place[0])
            if place[0] is None:
                self.owed = [one for one in self.owed if one is not place]
            else:
                self.held[place[0].funding].append(place[0])
        return back


def summed(units: Sequence[Unit | None]) -> dict[int | None, tuple[int, Fraction]]:
    """Add units up by the funding that they are of, None where they cost nothing."""
    sums: dict[int | None, tuple[int, Fraction]] = {}
    for one in units:
        key = None if one is None or one.currency is None else one.funding
        count, cost = sums.get(key, (0, Fraction(0)))
        sums[key] = (count + 1, cost + (one.cost if one else 0))
    return sums


Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["buy", "buy", "euros", "allow", "adjust", "down", "charge", "charge", "back"]
        ),
        st.integers(1, 12),
        st.integers(0, 400),
    ),
    min_size=1,
    max_size=25,
)


def history(drawn: Sequence[Step]) -> Iterator[tuple[Line, Lot | None]]:
    """What was drawn as transfers: a refund gives back no more than its job was charged."""
    spent: dict[str, int] = defaultdict(int)
    for number, (what, micro, extra) in enumerate(drawn, 1):
        job = f"job{extra % 3}"
        if what in {"buy", "euros"}:
            currency = "EUR" if what == "euros" else "USD"
            yield line(number, "fund", micro), lot(number, micro, extra, currency=currency)
        elif what == "back":
            if back := min(micro, spent[job]):
                spent[job] -= back
                yield line(number, "refund", back, job=job), None
        elif what == "charge":
            spent[job] += micro
            yield line(number, "commit", micro, job=job), None
        else:
            kinds = {"allow": "fund", "adjust": "adjust", "down": "adjust_down"}
            yield line(number, kinds[what], micro), None


@given(drawn=steps)
def test_units_are_the_oracles_and_costs_near_the_exact_ones(drawn: list[Step]):
    oracle = Oracle()
    made = list(history(drawn))
    found, _ = walked([one for one, _ in made], [paid for _, paid in made if paid])
    for one, paid in made:
        number = int(one.id[1:])
        ours = found[one.id]
        if one.kind in {"fund", "adjust"}:
            cash = None if paid is None else (paid.cash_micro, paid.currency)
            exact = summed(oracle.fund(number, one.amount_micro, cash))
            parts: Sequence[Part] = [filled.part for filled in ours.filled]
        else:
            act = oracle.give_back if one.kind == "refund" else oracle.take
            exact, parts = summed(act(one.amount_micro, one.reservation_id or "")), ours.parts
        assert {key: count for key, (count, _) in exact.items()} == _units(parts)
        for key, (_, cost) in exact.items():
            said = sum(p.cost_micro for p in parts if _funding(p) == key)
            # Each time that a lot is touched, less than a millionth stays with one of two sides.
            assert abs(said - cost) < len(made)


def _units(parts: Sequence[Part]) -> dict[int | None, int]:
    units: dict[int | None, int] = defaultdict(int)
    for part in parts:
        units[_funding(part)] += part.units_micro
    return dict(units)


def _funding(part: Part) -> int | None:
    return None if part.lot_id is None else int(part.lot_id[1:])


@pytest.mark.parametrize("costing", ["fifo", "average"])
@given(drawn=steps)
def test_cash_is_conserved_to_the_millionth_after_every_transfer(costing: str, drawn: list[Step]):
    made = list(history(drawn))
    lots = [_with(paid, costing) for _, paid in made if paid]
    books = Books(lots)
    paid_in: dict[str, int] = defaultdict(int)
    spent: dict[str, int] = defaultdict(int)
    of = {one.transfer_id: one for one in lots}
    for one in costed([one for one, _ in made], books):
        if one.line.id in of:
            paid_in[of[one.line.id].currency] += of[one.line.id].cash_micro
        for part in one.parts:
            sign = -1 if one.line.kind == "refund" else 1
            spent[part.currency or ""] += sign * part.cost_micro
        for filled in one.filled:
            spent[filled.part.currency or ""] += filled.part.cost_micro
        stocks = books.stocks()
        for currency in ("USD", "EUR"):
            left = sum(stock.cash_micro for stock in stocks if stock.currency == currency)
            assert paid_in[currency] == spent[currency] + left
        assert all(stock.units_micro >= 0 and stock.cash_micro >= 0 for stock in stocks)
        assert all(stock.units_micro or not stock.cash_micro for stock in stocks)
    held = left_of(lots, books.stocks())
    for currency in ("USD", "EUR"):
        shares = sum(held[i].cost_micro for i, known in of.items() if known.currency == currency)
        stocks_of = [one for one in books.stocks() if one.currency == currency]
        assert shares == sum(stock.cash_micro for stock in stocks_of)


def _with(paid: Lot, costing: str) -> Lot:
    return Lot(**{**{name: getattr(paid, name) for name in Lot.__slots__}, "costing": costing})
