"""`kling-ledger run`: quote, reserve, submit, poll, then commit or roll back one request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from kling_ledger.cli import (
    EXIT_CHARGED_WITHOUT_CLIP,
    EXIT_IN_DOUBT,
    EXIT_JOB_FAILED,
    EXIT_NOT_DOWNLOADED,
    EXIT_NOT_SENT,
)
from kling_ledger.cli.books import book_option
from kling_ledger.cli.connections import (
    Connection,
    approve_option,
    ceiling_of,
    connection_options,
    grace_option,
    out_option,
    recover_first,
    say_trouble,
)
from kling_ledger.cli.defaults import project_option, wallet_option
from kling_ledger.cli.dry_run import dry_run_option
from kling_ledger.cli.inputs import gathered, label_option, read_labels
from kling_ledger.cli.output import database_option, format_option, print_one, say
from kling_ledger.cli.request_options import read_body, request_options
from kling_ledger.cli.reservation_rows import reservation_dict
from kling_ledger.cli.run_dry import rehearse
from kling_ledger.cli.run_quoted import lower_of
from kling_ledger.cli.run_quoted import reserve as reserve_quoted
from kling_ledger.cli.telling import tell_error
from kling_pricing.gateways import read_request

if TYPE_CHECKING:
    from kling_ledger.errors import JobRefusedError, ProviderError
    from kling_ledger.jobs.meter import Meter
    from kling_ledger.jobs.saved_quotes import SavedQuote
    from kling_ledger.ledger import Ledger, Reservation
    from kling_pricing.library import Library


@dataclass(frozen=True, slots=True)
class Terms:
    """The wallet, project, labels and limits of a job."""

    wallet: str
    project: str | None
    max_cost: str | None
    approve_above: str | None
    key: str | None
    labels: tuple[str, ...]

    def given(self, ledger: Ledger, saved: SavedQuote | None) -> dict[str, Any]:
        """Return them as arguments of a meter."""
        return {
            "wallet": self.wallet,
            "project": self.project,
            "labels": read_labels(self.labels),
            "ceiling": lower_of(ceiling_of(ledger, self.wallet, self.max_cost), saved),
            "approve_above": ceiling_of(ledger, self.wallet, self.approve_above),
        }


@click.command()
@request_options
@click.option(
    "--quote",
    "quote_id",
    metavar="ID",
    help="A quote saved by `quote --save`: run only what it priced, at its price or lower. "
    "Without a request, the quoted one is run.",
)
@wallet_option
@project_option("The project, such as film/teaser.")
@click.option("--max-cost", metavar="AMOUNT", help='The most that it may cost, such as "0.70 USD".')
@approve_option
@click.option(
    "--key", help="Your own id for this job: with the same key it is followed, never repeated."
)
@label_option
@grace_option("How long to wait for another process that uses the same --key.")
@out_option
@book_option
@connection_options
@dry_run_option
@database_option
@format_option
@gathered(Terms, "terms")
def run(
    provider: str,
    request_file: BinaryIO | None,
    quote_id: str | None,
    action: str | None,
    grace: float,
    out: Path | None,
    library: Library,
    db: str | None,
    form: str,
    terms: Terms,
    connection: Connection,
    *,
    dry_run: bool,
    **clip: Any,
) -> int:
    """Run one request, if its wallet and budgets admit it, and print its reservation.

    \b
    kling-ledger run --provider runapi --request body.json --wallet team --project film/teaser
    kling-ledger run --provider crun --model kling/v3 --prompt "a lake" --seconds 5 \\
        --resolution 720p --no-sound --wallet credits --out clips
    kling-ledger run --provider runapi --quote quo_... --wallet team

    --dry-run sends nothing and needs no API key: it prints the transfers of a successful job at the
    price books' price.
    """
    from kling_ledger.ledger import Ledger

    saved = _saved(quote_id)
    body, action = read_body(provider, request_file, action, clip, saved)
    with Ledger(db, create=False, dry_run=dry_run) as ledger:
        given = terms.given(ledger, saved)
        if dry_run:
            request = read_request(provider, body, action=action)
            return rehearse(ledger, request, terms.key, form, library=library, saved=saved, **given)
        meter = connection.meter(
            ledger, provider, library=library, on_note=lambda note: say(f"note: {note}"), **given
        )
        refusals = Refusals()
        patience = replace(meter.patience, sender_s=grace)
        meter = replace(meter, patience=patience, on_trouble=refusals.tell)
        try:
            recover_first(ledger, meter)
            begun = _reserved(meter, body, action=action, key=terms.key, saved=saved)
            ended = _carried_on(meter, begun, body)
        finally:
            meter.provider.close()
        if ended is None:
            return EXIT_IN_DOUBT
        code = _saved_and_told(ledger, ended, out, form)
    return _failed_code(refusals, provider, library) if code == EXIT_JOB_FAILED else code


def _saved_and_told(ledger: Ledger, ended: Reservation, out: Path | None, form: str) -> int:
    """Download a job's clips, then print its reservation; return the exit code."""
    is_saved = False
    try:
        is_saved, ended = save_clips(ledger, ended, out)
    finally:
        # Print the finished job even if its download fails.
        code = report(ended, form)
    return code or (0 if is_saved else EXIT_NOT_DOWNLOADED)


def _failed_code(refusals: Refusals, provider: str, library: Library) -> int:
    """Return the exit code of a failed job; print what its provider charges for failures."""
    from kling_pricing.charges import on_failure

    if refusals.were_of_the_key_or_network:
        return EXIT_NOT_SENT
    say(f"note: {on_failure(provider, library)}")
    return EXIT_JOB_FAILED


class Refusals:
    """A provider's refusals while a job was sent; each is printed as it comes."""

    def __init__(self) -> None:
        self._last: JobRefusedError | None = None

    def tell(self, error: ProviderError) -> None:
        """Report a call that was refused or not answered, and remember it."""
        from kling_ledger.errors import JobRefusedError

        if isinstance(error, JobRefusedError):
            self._last = error
        say_trouble(error)

    @property
    def were_of_the_key_or_network(self) -> bool:
        """Whether the refusal would hit every other job too."""
        return self._last is not None and self._last.nothing_was_sent


def _carried_on(meter: Meter, begun: Reservation, body: dict[str, Any]) -> Reservation | None:
    """Follow a job to its end, or stop at Ctrl-C; None if the database stays unreachable."""
    from kling_ledger.errors import DatabaseError

    try:
        return meter.carry_on(begun, body)
    except KeyboardInterrupt:
        return meter.ledger.reservations.get(begun.id)
    except DatabaseError as error:
        tell_error(error, EXIT_IN_DOUBT)
        say(f"to follow {begun.id}: kling-ledger resume {begun.id}")
        return None


def _saved(quote_id: str | None) -> SavedQuote | None:
    if quote_id is None:
        return None
    from kling_ledger.jobs.saved_quotes import load_quote

    return load_quote(quote_id)


def _reserved(
    meter: Meter,
    body: dict[str, Any],
    *,
    action: str | None,
    key: str | None,
    saved: SavedQuote | None,
) -> Reservation:
    if saved is None:
        return meter.reserve(body, action=action, key=key)
    return reserve_quoted(meter, body, action=action, key=key, saved=saved)


def save_clips(ledger: Ledger, ended: Reservation, folder: Path | None) -> tuple[bool, Reservation]:
    """Download a job's clips if a folder is given; return whether all were saved, and the
    reservation.

    If the cost depends on a clip's length, the job is settled by that. A failed download does not
    fail the job: it is reported, and the exit code tells scripts.
    """
    from kling_ledger.errors import DownloadError
    from kling_ledger.jobs.downloads import download
    from kling_ledger.jobs.measuring import settled_by_length

    if folder is None or not ended.videos:
        return True, ended
    try:
        files = download(ended.videos, folder, name=ended.id, expire_at=ended.videos_expire_at)
    except DownloadError as error:
        say(f"note: a clip of {ended.id} is not in {folder}: {error}")
        if error.hint:
            say(f"hint: {error.hint}")
        return False, ended
    for path in files:
        say(f"saved {path}")
    settled = settled_by_length(ledger, ended, files)
    if settled.settled_by != ended.settled_by:
        say(f"note: {ended.id} costs {settled.spent}, from the length of its clip")
    return True, settled


def report(ended: Reservation, form: str) -> int:
    """Print the reservation of a job and what is left to do; return the exit code."""
    from kling_ledger.jobs.endings import is_charged_without_clip, is_done
    from kling_ledger.ledger import State

    print_one(reservation_dict(ended), form)
    if ended.is_open:
        say(f"the credits stay reserved until the job is resolved: kling-ledger resume {ended.id}")
        return EXIT_IN_DOUBT
    if ended.state is State.COMMITTED and ended.problem:
        say(f"note: {ended.problem}")
    if is_done(ended):
        return 0
    if is_charged_without_clip(ended):
        say(f"{ended.spent} was charged, without a clip")
        return EXIT_CHARGED_WITHOUT_CLIP
    return EXIT_JOB_FAILED
