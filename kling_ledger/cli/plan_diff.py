"""`kling-ledger plan diff`: what a change of a storyboard, of prices or of a book costs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction

import click

from kling_ledger.cli.books import book_option
from kling_ledger.cli.clip_options import Instant
from kling_ledger.cli.difference_rows import change_rows, form_option, print_difference
from kling_ledger.cli.plan_options import (
    planning_options,
    say_misspelt,
    say_unpriced,
    unpriced_code,
    usual,
)
from kling_pricing.library import Library, open_library
from kling_pricing.plans import difference
from kling_pricing.plans import plan as planned_of


@click.command()
@click.argument("a")
@click.argument("b", required=False)
@planning_options
@click.option(
    "--at", type=Instant(), metavar="INSTANT", help="Price A with the prices of this day (UTC)."
)
@click.option(
    "--at-b",
    type=Instant(),
    metavar="INSTANT",
    help="Price B with the prices of this day (UTC). [default: as A]",
)
@book_option
@click.option(
    "--book-b",
    "books_b",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Your own price book for B; may be repeated. [default: as A]",
)
@form_option
def diff(
    a: str,
    b: str | None,
    *,
    takes: Fraction,
    failure_rate: Fraction,
    id_column: str,
    at: datetime | None,
    at_b: datetime | None,
    library: Library,
    books_b: Sequence[str],
    form: str,
) -> int:
    """Show how much more B costs than A: two manifests, or one at two dates or with two books.

    \b
    kling-ledger plan diff before.csv after.csv --format markdown
    kling-ledger plan diff clips.csv --at 2026-11-01 --at-b 2026-12-01
    kling-ledger plan diff clips.csv --book-b offer.toml

    Rows are matched by their id if both files have that column, else by their content. Without B, A
    is compared with itself. The difference is exact; if a row has no price, the row is named and
    the difference is unknown.

    \b
    Exit codes: 0 every row has a price, 2 some rows are bad input, 7 some rows have no known price.
    """
    from kling_ledger.manifests.planning import read_storyboard

    if b is None and at_b is None and not books_b:
        raise click.UsageError(
            "give a second manifest, --at-b or --book-b: otherwise there is nothing to compare"
        )
    common = usual(takes, failure_rate)
    before = read_storyboard(a, common, id_column=id_column)
    after = before if b is None else read_storyboard(b, common, id_column=id_column)
    for board in [before] if b is None else [before, after]:
        say_misspelt(board)
    instant = at or datetime.now(UTC)
    theirs = open_library(*books_b) if books_b else library
    found = difference(
        planned_of(before.rows, at=instant, library=library),
        planned_of(after.rows, at=at_b or instant, library=theirs),
        by_id=before.has_ids and after.has_ids,
    )
    print_difference(found, change_rows(found.changes), form)
    for planned, name in ((found.before, a), (found.after, b or a)):
        say_unpriced(planned.unpriced, source=name)
    return unpriced_code(found.unpriced)
