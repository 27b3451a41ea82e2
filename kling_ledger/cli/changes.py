"""`kling-ledger changes`: what a change in a git repository adds to the cost of its clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli.books import book_option
from kling_ledger.cli.clip_options import Instant
from kling_ledger.cli.difference_rows import change_rows, form_option, print_difference
from kling_ledger.cli.inputs import gathered
from kling_ledger.cli.output import say
from kling_ledger.cli.plan_options import planning_options, say_unpriced, unpriced_code, usual
from kling_pricing.clip import ACTIONS
from kling_pricing.gateways import GATEWAYS
from kling_pricing.library import Library

if TYPE_CHECKING:
    from kling_ledger.manifests.changes import Bodies


class _Bodies(click.ParamType["Bodies"]):
    """`PROVIDER=PATTERN`, or `PROVIDER/ACTION=PATTERN`."""

    name = "bodies"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Bodies:
        """Return the provider and the pattern; a usage error for anything else."""
        from kling_ledger.manifests.changes import Bodies

        asked, _, pattern = str(value).partition("=")
        provider, _, action = asked.partition("/")
        if provider not in GATEWAYS or not pattern:
            allowed = f"PROVIDER=PATTERN, with one of {', '.join(GATEWAYS)}"
            self.fail(f"got {value}, allowed: {allowed}", param, ctx)
        if action and action not in ACTIONS:
            self.fail(f"got the action {action}, allowed: {', '.join(ACTIONS)}", param, ctx)
        return Bodies(provider, pattern, action or None)


@dataclass(frozen=True, slots=True)
class _Places:
    """Which states of the repository are compared, and which files."""

    base: str
    head: str | None
    staged: bool
    manifests: Sequence[str]
    requests: Sequence[Bodies]

    def check(self) -> None:
        """Refuse contradictory options."""
        if self.staged and self.head is not None:
            raise click.UsageError("--staged replaces HEAD: leave out HEAD")
        if not (self.manifests or self.requests):
            raise click.UsageError("name your files with --manifest, --request or both")


@click.command()
@click.argument("base", default="HEAD")
@click.argument("head", required=False)
@click.option(
    "--manifest",
    "manifests",
    multiple=True,
    metavar="PATTERN",
    help="The manifests, such as 'shots/**/*.csv'. May be repeated.",
)
@click.option(
    "--request",
    "requests",
    type=_Bodies(),
    multiple=True,
    metavar="PROVIDER[/ACTION]=PATTERN",
    help="The request bodies of a provider, such as 'crun=bodies/*.json'. May be repeated.",
)
@click.option("--staged", is_flag=True, help="Compare with what is staged for the next commit.")
@planning_options
@click.option("--at", type=Instant(), metavar="INSTANT", help="Use the prices of that day (UTC).")
@book_option
@form_option
@gathered(_Places, "places")
def changes(
    *,
    places: _Places,
    takes: Fraction,
    failure_rate: Fraction,
    id_column: str,
    at: datetime | None,
    library: Library,
    form: str,
) -> int:
    """Show what a change in a git repository adds to the cost of its manifests and request bodies.

    \b
    kling-ledger changes --manifest 'shots/*.csv'
    kling-ledger changes main feature --manifest 'shots/**' --format markdown
    kling-ledger changes --staged --request 'runapi=bodies/*.json'

    BASE is a revision, by default the last commit. HEAD is another; without it, BASE is compared
    with the working tree, new files included. Patterns are git's own: `**` matches any folders.
    Rows are matched as in `plan diff`. If a file or a row cannot be priced, it is named and the
    total is unknown.

    \b
    Exit codes: 0 every row has a price, 2 some rows are bad input, 7 some rows have no known price.
    Rows of BASE do not count, so that a change can fix them.
    """
    from kling_ledger.manifests.changes import Asked, changes_between, in_all
    from kling_ledger.manifests.revisions import states_of

    places.check()
    instant = at or datetime.now(UTC)
    common = usual(takes, failure_rate)
    asked = Asked(places.manifests, places.requests, common, id_column, instant, library)
    states = states_of(Path.cwd(), places.base, places.head, is_staged=places.staged)
    files = changes_between(states, asked)
    rows = [
        {"file": file.name, **row} for file in files for row in change_rows(file.difference.changes)
    ]
    found = in_all(files, instant)
    print_difference(found, rows, form)
    for file in files:
        say_unpriced(file.difference.unpriced, source=file.name)
    if not files:
        say("note: no file under these patterns differs")
    return unpriced_code(found.after.unpriced)
