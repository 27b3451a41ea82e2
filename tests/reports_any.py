"""Any report: tables of every kind of column, with hostile text and amounts at their bounds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st

from kling_pricing.money import MAX_MICRO, from_micro
from kling_reports.frames import frame_of
from kling_reports.report import Column, Picture, Report, Span, Table

# Reports are slow to write: a failing one is shown as it was found, and not made smaller.
QUICK = settings(max_examples=30, phases=[Phase.explicit, Phase.reuse, Phase.generate])
AT = datetime(2026, 10, 31, 22, tzinfo=UTC)
HOSTILE = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "＝1",
    '=HYPERLINK("https://example.com","x")',
    "https://example.com",
    "mailto:a@example.com",
    "</script><script>throw 1</script>",
    "<img src=x onerror=throw>",
    "<!--",
    "&amp;",
    '"quoted", and\nbroken',
    "one\rtwo",
    "\x1b[31mred",
    "\u202egnp.exe",
    "[red]not a style[/red]",
    "film/teaser",
    "東京",
)
COLUMNS = (
    Column("name", "name", "text", "whose it is"),
    Column("sound", "sound", "flag"),
    Column("unit", "unit", "text"),
    Column("clips", "clips", "integer", adds_up=True),
    Column("seconds", "seconds", "seconds", adds_up=True),
    Column("spent_micro", "spent", "money", "committed less refunded", adds_up=True),
    Column("share_ppm", "share", "percent"),
    Column("rate_micro", "per clip", "money"),
    Column("at", "at", "instant"),
    Column("day", "day", "date"),
    Column("month", "month", "month"),
)
KINDS = {column.name: column.kind for column in COLUMNS}
ADDED = ("clips", "seconds", "spent_micro")

texts = st.sampled_from(HOSTILE) | st.text(st.characters(codec="utf-8"), max_size=12)
micros = (
    st.integers(-MAX_MICRO, MAX_MICRO)
    | st.sampled_from([0, 1, -1, MAX_MICRO, -MAX_MICRO, 675_000, 10**15 - 1, 10**15 + 1])
    | st.integers(-3_000_000, 3_000_000)
)
days = st.dates(date(1890, 1, 1), date(2100, 1, 1))
rows = st.fixed_dictionaries(
    {
        "name": st.none() | texts,
        "sound": st.none() | st.booleans(),
        "unit": st.sampled_from(["USD", "crun-credit", "usd", "evolink-credit"]),
        "clips": st.integers(-10, 10**6),
        "seconds": st.none() | st.integers(0, 10**6),
        "spent_micro": st.none() | micros,
        "share_ppm": st.none() | st.integers(-2_000_000, 2_000_000),
        "rate_micro": st.none() | micros,
        "at": st.none() | st.integers(0, 4 * 10**15),
        "day": st.none() | days,
        "month": st.none() | days.map(lambda day: day.replace(day=1)),
    }
)
pictures = st.sampled_from(
    [
        None,
        Picture("over_time", x="day", value="spent_micro", series="name"),
        Picture("over_time", x="month", value="spent_micro"),
        Picture("bars", x="name", value="spent_micro", series="sound"),
        Picture("bars", x="name", value="rate_micro"),
        Picture("bars", x="unit", value="clips"),
        Picture("bullet", x="name", value="spent_micro", series="rate_micro", limit="spent_micro"),
        Picture("bullet", x="name", value="clips", limit="seconds"),
    ]
)


def table(
    given: Sequence[dict[str, Any]],
    picture: Picture | None = None,
    *,
    name: str = "any",
    title: str = "Any",
) -> Table:
    """A table of these rows with their totals, unit by unit, worked out in plain integers."""
    return Table(
        name,
        title,
        COLUMNS,
        frame_of(given, KINDS),
        totals=frame_of(_totals(given), KINDS),
        gives_way=("month", "day", "share_ppm"),
        picture=picture,
    )


def _totals(given: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    sums: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(ADDED, 0))
    for row in given:
        for one in ADDED:
            sums[row["unit"]][one] += row[one] or 0
    nothing = dict.fromkeys(KINDS)
    return [{**nothing, "unit": unit, **sums[unit]} for unit in sorted(sums)]


def report(*tables: Table, zone: str = "UTC") -> Report:
    """A report of these tables."""
    return Report(
        "any",
        "Any report <&>",
        "What is in it?",
        tables,
        AT,
        span=Span(datetime(2026, 1, 1, tzinfo=UTC), None),
        timezone=zone,
        filters=("project=</script>",),
        notes=("=A note that looks like a formula.",),
    )


reports = st.builds(
    lambda one, other, picture, zone: report(
        table(one, picture), table(other, name="other", title="Any"), zone=zone
    ),
    st.lists(rows, max_size=8),
    st.lists(rows, max_size=3),
    pictures,
    st.sampled_from(["UTC", "Europe/Berlin"]),
)


def whole(found: Table, key: str) -> dict[str, Decimal]:
    """What the rows of a column add up to, unit by unit."""
    sums: dict[str, Decimal] = {}
    for row in found.frame.to_dict("records"):
        value = row[f"{key}_micro"]
        micro = 0 if value is None or value != value or str(value) == "<NA>" else int(value)
        sums[row["unit"]] = sums.get(row["unit"], Decimal(0)) + from_micro(micro)
    return sums
