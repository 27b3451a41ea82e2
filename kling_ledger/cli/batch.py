"""`kling-ledger batch`: run a whole manifest, many jobs in parallel, each of them only once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from operator import is_not
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click

from kling_ledger.cli import EXIT_IN_DOUBT, EXIT_NOT_DOWNLOADED, EXIT_OURS
from kling_ledger.cli.batch_checks import (
    check_bodies,
    check_cost,
    check_earlier,
    estimated,
    is_reserved,
    read_rows,
)
from kling_ledger.cli.batch_dry import rehearse
from kling_ledger.cli.batch_progress import Display, Progress, shown
from kling_ledger.cli.batch_results import ended, journal, say_reasons, tell, write_results
from kling_ledger.cli.batch_telling import changes, pauses, telling
from kling_ledger.cli.books import book_option
from kling_ledger.cli.connections import (
    Connection,
    approve_option,
    ceiling_of,
    connection_options,
    grace_option,
    out_option,
    recover_first,
    silent,
)
from kling_ledger.cli.defaults import project_option, wallet_option
from kling_ledger.cli.inputs import gathered, label_option, read_labels
from kling_ledger.cli.output import database_option, format_option, say
from kling_ledger.cli.run import save_clips
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.jobs.batch import Batch
    from kling_ledger.jobs.batch_jobs import BatchJob, Outcome
    from kling_ledger.jobs.breaker import Pause
    from kling_ledger.jobs.meter import Meter
    from kling_ledger.ledger import Ledger
    from kling_pricing.library import Library

EXIT_STOPPED: Final = 130
"""The exit code that shells expect after Ctrl-C."""

_DOWNLOADS: Final = 4
"""How many clips are downloaded at a time."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a batch."""

    wallet: str
    project: str | None
    labels: tuple[str, ...]
    concurrency: int
    polls_per_second: float
    max_total: str | None
    max_cost: str | None
    approve_above: str | None
    name: str | None
    retry_failed: bool
    again: bool
    grace: float
    out: Path | None
    library: Library
    connection: Connection


@click.command()
@click.argument("manifest", type=click.Path(path_type=Path, dir_okay=False))
@wallet_option
@project_option("The project for rows without one.")
@label_option
@click.option(
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=8,
    show_default=True,
    help="How many jobs may run in parallel.",
)
@click.option(
    "--polls-per-second",
    type=click.FloatRange(0.1),
    default=20.0,
    show_default=True,
    help="Polls per second, for all jobs of a provider together.",
)
@click.option("--max-total", metavar="AMOUNT", help="The most that the whole batch may cost.")
@click.option("--max-cost", metavar="AMOUNT", help="The most that one job may cost.")
@approve_option
@click.option(
    "--name",
    help="The batch's name; a new name runs the same rows again. [default: the file's name]",
)
@click.option(
    "--retry-failed", is_flag=True, help="Retry rows that the provider accepted and then failed."
)
@click.option("--again", is_flag=True, help="Run rows again that another batch has already run.")
@grace_option("How long to wait for a job that another process may be sending.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what each row would cost and which would be refused; start nothing.",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the results here. [default: MANIFEST.results.jsonl]",
)
@out_option
@book_option
@connection_options
@database_option
@format_option
@gathered(Options)
def batch(
    manifest: Path,
    options: Options,
    *,
    dry_run: bool,
    results: Path | None,
    db: str | None,
    form: str,
) -> int:
    """Quote a whole manifest, then run it. Run the same command again to continue.

    \b
    kling-ledger batch clips.jsonl --wallet team --project film --concurrency 16

    Rows are JSON or CSV: a provider and its own body as `request`, or the fields of a clip with its
    prompt. Stop at any time with Ctrl-C: jobs already sent continue, and the next run follows them.
    It also retries rows that no provider accepted; accepted rows that failed need --retry-failed.
    """
    from kling_ledger.errors import NoKeyError
    from kling_ledger.ledger import Ledger

    path = results or manifest.with_name(f"{manifest.name}.results.jsonl")
    if path.resolve() == manifest.resolve():
        raise click.UsageError("--results is the manifest itself: choose another file")
    jobs = read_rows(
        manifest,
        options.name or manifest.name,
        options.project,
        read_labels(options.labels),
        options.library,
    )
    with Ledger(db, create=False, dry_run=dry_run) as ledger, ExitStack() as open_things:
        session = _Session(ledger, jobs, options)
        try:
            meters = session.connected(open_things)
        except NoKeyError:
            # Errors in the rows are reported first, and a dry run needs no key.
            session.price({})
            session.check()
            if not dry_run:
                raise
        else:
            session.settle_in(meters, refuses=not dry_run)
        if dry_run:
            return rehearse(ledger, options.wallet, session.jobs, session.new, form)
        check_bodies(session.todo, meters)
        return session.run(meters, path, form)


class _Session:
    """One run of a manifest: its limits, the jobs left to do, and the results."""

    def __init__(self, ledger: Ledger, jobs: Sequence[BatchJob], options: Options) -> None:
        self.ledger = ledger
        self.jobs = jobs
        self.options = options
        self.ceiling = ceiling_of(ledger, options.wallet, options.max_cost)
        self.most = ceiling_of(ledger, options.wallet, options.max_total)
        self.look()

    def look(self) -> None:
        """Read what is known of the jobs, and which are left to do."""
        from kling_ledger.jobs.batch_jobs import attempts_to_do, known_outcomes

        self.known = known_outcomes(self.ledger, self.jobs)
        self.todo = attempts_to_do(self.jobs, self.known, retries_failed=self.options.retry_failed)

    @property
    def new(self) -> list[BatchJob]:
        """The jobs that are to be reserved: of others the credits are set aside already."""
        return [one.job for one in self.todo if not is_reserved(self.known.get(one.job.place))]

    def price(self, meters: Mapping[str, Meter]) -> None:
        """Price every job: ask its provider if no book has a price; refuse it without one."""
        priced = estimated(self.jobs, self.known, meters)
        # `known` and `todo` hold the jobs themselves; most batches have no prices to ask for.
        if any(map(is_not, priced, self.jobs)):
            self.jobs = priced
            self.look()

    def check(self) -> None:
        """Refuse a batch that costs more than its limit, or than the wallet can pay."""
        check_cost(
            self.ledger,
            self.options.wallet,
            self.jobs,
            self.known,
            self.todo,
            most=self.most,
            ceiling=self.ceiling,
        )

    def connected(self, open_things: ExitStack) -> dict[str, Meter]:
        """Return the meter of each provider."""
        more = {
            "ceiling": self.ceiling,
            "approve_above": ceiling_of(
                self.ledger, self.options.wallet, self.options.approve_above
            ),
            "library": self.options.library,
            "on_change": silent,
        }
        connect = self.options.connection.meter
        return _meters(
            open_things,
            (
                connect(self.ledger, provider, self.options.wallet, **more)
                for provider in sorted({job.provider for job in self.jobs})
            ),
        )

    def settle_in(self, meters: Mapping[str, Meter], *, refuses: bool) -> None:
        """Set where each job runs, check them all, and report rows that already ran elsewhere."""
        from kling_ledger.jobs.batch_places import placed

        places = {name: meter.place for name, meter in meters.items()}
        payer = self.ledger.wallets.get(self.options.wallet).name
        self.jobs = placed(self.ledger, self.jobs, places, payer)
        self.look()
        self.price(meters)
        self.check()
        may_begin = not refuses or self.options.again
        check_earlier(self.ledger, self.jobs, self.known, places, may_begin=may_begin)

    def run(self, meters: Mapping[str, Meter], path: Path, form: str) -> int:
        """Finish what earlier runs left open, run what is left, write the results."""
        for meter in meters.values():
            recover_first(self.ledger, meter)
        # Recovery may have ended open jobs, and returned the credits of jobs that were never sent.
        self.look()
        _say_who_is_sending(self.known.values(), self.options.grace)
        to_do = {attempt.job.place for attempt in self.todo}
        done = {at: one for at, one in self.known.items() if at not in to_do}
        progress = Progress(self.jobs, done)
        with journal(path) as write, shown(progress) as display:
            running = self._batch(
                telling(meters, display), changes(progress, display, write), pauses(display)
            )
            stopped = _run(running, display)
        return self._finish(progress, running, path, form, stopped)

    def _batch(
        self,
        meters: Mapping[str, Meter],
        on_change: Callable[[Outcome], None],
        on_pause: Callable[[str, Pause | None], None],
    ) -> Batch:
        from kling_ledger.jobs.batch import Batch

        most = self.most
        return Batch(
            meters,
            self.todo,
            concurrency=self.options.concurrency,
            polls_per_s=self.options.polls_per_second,
            grace_s=self.options.grace,
            max_total=None if most is None else most - _spent(self.known.values(), most),
            on_change=on_change,
            on_pause=on_pause,
        )

    def _finish(
        self, progress: Progress, running: Batch, path: Path, form: str, stopped: _Stopped
    ) -> int:
        self.look()
        outcomes = ended(self.jobs, self.known, running.outcomes)
        is_written = write_results(path, self.jobs, outcomes)
        say_reasons(outcomes.values(), running.not_started)
        code = tell(progress, self.jobs, outcomes, path if is_written else None, form)
        code = code or (0 if is_written else EXIT_OURS)
        if stopped is _Stopped.AT_ONCE:
            _leave(code or EXIT_STOPPED)
        if self.options.out is not None and not stopped:
            is_saved = _save(self.ledger, outcomes.values(), self.options.out)
            code = code or (0 if is_saved else EXIT_NOT_DOWNLOADED)
        _ignore_ctrl_c()
        return EXIT_STOPPED if stopped and code != EXIT_IN_DOUBT else code


class _Stopped(Enum):
    """How a batch was interrupted; false if it was not."""

    NOT = ""
    IN_ORDER = "in order"
    AT_ONCE = "at once"

    def __bool__(self) -> bool:
        return self is not _Stopped.NOT


def _run(running: Batch, display: Display) -> _Stopped:
    """Run a batch to its end or until Ctrl-C; a second Ctrl-C does not wait for open calls."""
    stopped = _Stopped.IN_ORDER
    try:
        try:
            running.run()
        except KeyboardInterrupt:
            display.say("stopping after the calls in progress; press Ctrl-C again to leave at once")
            running.stop()
        except BaseException:
            running.stop()
            raise
    except KeyboardInterrupt:
        stopped = _Stopped.AT_ONCE
    if running.is_over:
        return _Stopped.NOT
    _ignore_ctrl_c()
    return stopped


def _ignore_ctrl_c() -> None:
    """Ignore Ctrl-C for the rest: it takes a moment, and should not be left half done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _say_who_is_sending(known: Iterable[Outcome], grace_s: float) -> None:
    """Say why the batch may wait for some jobs: their sender may or may not be alive."""
    found = [one.reservation for one in known if one.reservation is not None]
    sending = sum(reservation.state == "submitting" for reservation in found)
    if sending and grace_s:
        say(f"{sending} may still run in another process: waiting {grace_s:g} s for it (--grace)")


def _spent(known: Iterable[Outcome], most: Money) -> Money:
    """Return the cost of the jobs of earlier runs."""
    costs = (one.reservation.spent for one in known if one.reservation is not None)
    return sum(costs, start=Money.zero(most.unit))


def _meters(open_things: ExitStack, meters: Iterable[Meter]) -> dict[str, Meter]:
    """Return the meters by provider; `open_things` closes their connections."""
    by_provider = {}
    for meter in meters:
        open_things.callback(meter.provider.close)
        by_provider[meter.provider.name] = meter
    return by_provider


def _save(ledger: Ledger, outcomes: Iterable[Outcome], folder: Path) -> bool:
    """Download the clips of jobs, a few at a time; return whether all were saved.

    Ctrl-C stops at once.
    """
    done = [one.reservation for one in outcomes if one.reservation is not None]
    pool = ThreadPoolExecutor(_DOWNLOADS, thread_name_prefix="download")
    try:
        saving = [pool.submit(save_clips, ledger, one, folder) for one in done]
        # A list, not a generator: after a missing clip the others are still downloaded.
        found = [saved.result()[0] for saved in saving]
        return all(found)
    except KeyboardInterrupt:
        say("stopped: run the same command again to fetch the rest")
        _leave(EXIT_STOPPED)
    finally:
        pool.shutdown(cancel_futures=True)


def _leave(code: int) -> NoReturn:
    """Exit while calls are in progress: everything that must last is on disk."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
