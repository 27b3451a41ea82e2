"""Numbers: amounts as people and programs write them, and which decimal mark a file uses.

`1.350` is 1.35 in one country and 1350 in another, so one style is found for a whole column: it
must fit every cell. If both styles fit and differ, a person decides.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from kling_ledger.errors import BillQuestionError, ConfigError
from kling_ledger.evidence.reading.names import is_unit
from kling_ledger.tabular.cells import Written
from kling_pricing.errors import AmountError
from kling_pricing.money import Money, plain, round_to

Style = Literal["point", "comma"]

NOTHING: Final = frozenset({"", "-", "--", "—", "–", "n/a", "na", "null", "none", "nil"})
"""What a cell without a value holds."""

_DASHES: Final = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2010": "-", "\u2019": "'"})
_CURRENCY: Final = r"(?:[A-Za-z][A-Za-z-]*\$?|[$€£¥₩₹]|[\u4e00-\u9fff]+)"
_AMOUNT: Final = re.compile(
    rf"(?P<sign>[-+])?\s*(?P<before>{_CURRENCY})?\s*(?P<inner>[-+])?\s*"
    r"(?P<digits>[0-9.,][0-9.,' ]*?)(?P<power>[eE][-+]?[0-9]{1,3})?\s*"
    rf"(?P<after>{_CURRENCY})?\s*(?P<last>[-+])?"
)
_GROUPS: Final = r"(?:[0-9]+|[1-9][0-9]{{0,2}}(?:([{mark}' ])[0-9]{{3}})(?:\1[0-9]{{3}})*)"
_POINT: Final = re.compile(_GROUPS.format(mark=",") + r"(?:\.[0-9]*)?|\.[0-9]+")
_COMMA: Final = re.compile(_GROUPS.format(mark=".") + r"(?:,[0-9]*)?|,[0-9]+")
_SIMPLE: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
_PLAIN: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?")
_QUOTED: Final = re.compile(r"=?\"(.*)\"")


class Amount(NamedTuple):
    """An amount read in each style, None if the style does not fit, and its units as written."""

    point: Decimal | None
    comma: Decimal | None
    units: tuple[str, ...] = ()
    has_power: bool = False

    def by(self, style: Style) -> Decimal | None:
        """Return the amount as read in one style."""
        return self.point if style == "point" else self.comma


def unguarded(text: str) -> str:
    """Return a cell without the marks that protect it in a spreadsheet: `'t-1`, `="t-1"`."""
    if text[:1] not in {"'", "=", '"'}:
        return text
    quoted = _QUOTED.fullmatch(text)
    return quoted[1] if quoted else text.removeprefix("'")


def is_nothing(text: str) -> bool:
    """Whether a cell holds no amount, such as a dash."""
    return text.lower() in NOTHING


@lru_cache(maxsize=1 << 16)
def read_amount(text: str) -> Amount | None:
    """Read an amount in any style; None if the text is not an amount."""
    if (simple := _SIMPLE.fullmatch(text)) is not None:
        return _simple(simple)
    text = unicodedata.normalize("NFKC", unguarded(text)).translate(_DASHES).strip()
    minus = text.count("(") + text.count(")")
    if minus:
        if minus != 2 or not re.fullmatch(r"[^()]*\([^()]*\)[^()]*", text):
            return None
        text = text.replace("(", "").replace(")", "")
    found = _AMOUNT.fullmatch(text)
    if found is None:
        return None
    signs = [sign for sign in (found["sign"], found["inner"], found["last"]) if sign]
    if len(signs) + bool(minus) > 1:
        return None
    factor = -1 if minus or "-" in signs else 1
    digits, power = found["digits"].strip(), found["power"] or ""
    units = tuple(unit for unit in (found["before"], found["after"]) if unit)
    point = _decimal(digits, power, factor, _POINT, ".")
    comma = _decimal(digits, power, factor, _COMMA, ",")
    return Amount(point, comma, units, bool(power)) if point != comma or point is not None else None


def _simple(found: re.Match[str]) -> Amount:
    """Read the usual form of an amount: digits, and perhaps a point with more digits."""
    sign, whole, rest = found.groups()
    point = Decimal(found[0])
    if rest is None:
        return Amount(point, point)
    is_group = len(rest) == 3 and len(whole) <= 3 and whole[0] != "0"
    return Amount(point, Decimal(sign + whole + rest) if is_group else None)


def _decimal(
    digits: str, power: str, factor: int, style: re.Pattern[str], mark: str
) -> Decimal | None:
    if not style.fullmatch(digits):
        return None
    kept = "".join("." if one == mark else one for one in digits if one.isdigit() or one == mark)
    return factor * Decimal(kept + power)


def style_of(
    cells: Sequence[tuple[str, str]], *, beside: Iterable[str], said: Style | None, name: str
) -> Style:
    """Return the style of a column's amounts; each cell comes with its place.

    `beside` are other amounts in the file, which decide if these do not. Raises ConfigError if no
    style fits all of them, BillQuestionError if both do and differ.
    """
    if said is not None:
        return said
    read = [
        (place, text, found)
        for place, text in cells
        if type(text) is not Written and (found := read_amount(text)) is not None
    ]
    possible = _styles(found for _, _, found in read)
    if not possible:
        raise ConfigError(_contradiction(read, name), hint="export it again with one number format")
    if len(possible) == 1 or all(found.point == found.comma for _, _, found in read):
        return possible[0]
    # The column alone does not decide; other amounts in the file may.
    others = _styles(found for text in beside if (found := read_amount(text)) is not None)
    if len(others) == 1:
        return others[0]
    place, text, found = next(one for one in read if one[2].point != one[2].comma)
    raise BillQuestionError(
        f"{name}: {place}: is {text} {_shown(found.point)} or {_shown(found.comma)}?",
        settles="numbers",
        example="comma",
        hint="give its decimal mark, point or comma",
    )


def _styles(amounts: Iterable[Amount]) -> list[Style]:
    """Return the styles that fit every amount."""
    possible: list[Style] = ["point", "comma"]
    for one in amounts:
        possible = [style for style in possible if one.by(style) is not None]
    return possible


def _contradiction(read: Sequence[tuple[str, str, Amount]], name: str) -> str:
    point = next(one for one in read if one[2].comma is None)
    comma = next(one for one in read if one[2].point is None)
    return f"{name}: {point[0]} writes {point[1]}, and {comma[0]} writes {comma[1]}"


def _shown(amount: Decimal | None) -> str:
    return "" if amount is None else plain(amount)


def money_of(text: str, style: Style, *, unit: str, where: str) -> Money | None:
    """Return an amount to the millionth, None for a cell without a value.

    An amount with a power of ten must be exact: a spreadsheet may have shortened it. Raises
    ConfigError for anything that is not an amount in this style, or is in another unit.
    """
    if is_nothing(text):
        return None
    found = read_amount(text)
    if type(text) is Written and _PLAIN.fullmatch(text):
        amount = Decimal(text)
    else:
        amount = _certain(text, found, style, where)
    for told in () if found is None else found.units:
        check_unit(told, unit, where)
    try:
        return Money(round_to(amount), unit)
    except AmountError as error:
        raise ConfigError(f"{where}: {error}") from None


def _certain(text: str, found: Amount | None, style: Style, where: str) -> Decimal:
    amount = None if found is None else found.by(style)
    if found is None or amount is None:
        raise ConfigError(f"{where}: {text!r} is not an amount")
    if found.has_power and (amount.adjusted() < -60 or round_to(amount) != amount):
        raise ConfigError(f"{where}: {text!r} is not an exact amount")
    return amount


def check_unit(told: str, unit: str, where: str) -> None:
    """Refuse any unit other than the provider's."""
    if told and not is_unit(told, unit):
        raise ConfigError(f"{where}: its unit is {told}, the provider charges in {unit}")
