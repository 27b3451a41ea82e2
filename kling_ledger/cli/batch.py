"""`kling-ledger batch`: run a whole manifest, many jobs at once, none of them twice."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from kling_ledger.cli import EXIT_IN_DOUBT, EXIT_JOB_FAILED, EXIT_REFUSED, exit_code
from kling_ledger.cli.batch_progress import Display, Progress, shown
from kling_ledger.cli.books import book_option
from kling_ledger.cli.connections import (
    Connection,
    ceiling_of,
    connection_options,
    grace_option,
    out_option,
    recover_first,
    silent,
)
from kling_ledger.cli.inputs import read_labels
from kling_ledger.cli.output import database_option, format_option, print_many, print_one, say
from kling_ledger.cli.reservation import label_option
from kling_ledger.cli.run import save_clips
from kling_pricing.money import Money, plain, plain_or_none

if TYPE_CHECKING:
    from kling_ledger.errors import ProviderError
    from kling_ledger.jobs.batch import Batch
    from kling_ledger.jobs.batch_jobs import Attempt, BatchJob, Outcome
    from kling_ledger.jobs.meter import Meter
    from kling_ledger.ledger import Ledger
    from kling_pricing.errors import KlingError
    from kling_pricing.library import Library

_PLAN = ("row", "provider", "model", "seconds", "resolution", "sound", "project", "amount", "unit")

EXIT_STOPPED: Final = 130
"""What a shell expects of a command that Ctrl-C ended."""

_DOWNLOADS: Final = 4
"""How many clips are downloaded at a time."""

_MOST_TOLD: Final = 20
"""Of how many bad rows is told one by one."""


@click.command()
@click.argument("manifest", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--wallet", required=True, help="Who pays.")
@click.option("--project", help="What it is for, where a row does not say.")
@label_option
@click.option(
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=8,
    show_default=True,
    help="How many jobs may be in flight.",
)
@click.option(
    "--polls-per-second",
    type=click.FloatRange(0.1),
    default=20.0,
    show_default=True,
    help="How often a provider is asked in all.",
)
@click.option("--max-total", metavar="AMOUNT", help="The most that the whole batch may cost.")
@click.option("--max-cost", metavar="AMOUNT", help="The most that one job may cost.")
@click.option("--name", help="The batch's name: another one runs the same rows anew. [the file's]")
@click.option("--retry-failed", is_flag=True, help="Start again what was taken and then failed.")
@grace_option("Leave alone so long what another process may just be sending.")
@click.option("--dry-run", is_flag=True, help="Only say what it will cost.")
@click.option(
    "--results",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the results go. [MANIFEST.results.jsonl]",
)
@out_option
@book_option
@connection_options
@database_option
@format_option
def batch(
    manifest: Path,
    wallet: str,
    project: str | None,
    labels: tuple[str, ...],
    concurrency: int,
    polls_per_second: float,
    max_total: str | None,
    max_cost: str | None,
    name: str | None,
    retry_failed: bool,  # noqa: FBT001 - the options are flags
    grace: float,
    dry_run: bool,  # noqa: FBT001
    results: Path | None,
    out: Path | None,
    library: Library,
    db: str | None,
    form: str,
    connection: Connection,
) -> int:
    """Quote a whole manifest, then run it. The same command again goes on where it stopped.

    \b
    kling-ledger batch clips.jsonl --wallet team --project film --concurrency 16

    Rows are JSON or CSV: a provider and its own body as `request`, or the fields of a clip with its
    prompt. Ctrl-C stops at any moment; jobs that were sent go on and are followed next time. What
    no provider took is tried again then, what one took and failed with only with --retry-failed.
    """
    from kling_ledger.jobs.batch import Batch
    from kling_ledger.jobs.batch_jobs import attempts_to_do, known_outcomes
    from kling_ledger.ledger import Ledger

    path = results or manifest.with_name(f"{manifest.name}.results.jsonl")
    if path.resolve() == manifest.resolve():
        raise click.UsageError("--results names the manifest itself: name another file")
    jobs = _read(manifest, name or manifest.name, project, read_labels(labels), library)
    with Ledger(db, create=False) as ledger, ExitStack() as open_things:
        known = known_outcomes(ledger, jobs)
        todo = attempts_to_do(jobs, known, retries_failed=retry_failed)
        ceiling = ceiling_of(ledger, wallet, max_cost)
        most = ceiling_of(ledger, wallet, max_total)
        _check_cost(ledger, wallet, jobs, known, todo, most=most, ceiling=ceiling)
        if dry_run:
            print_many([_planned(job) for job in jobs], _PLAN, form, empty="there are no rows")
            return 0
        more = {"ceiling": ceiling, "library": library, "on_change": silent}
        meters = _meters(
            open_things,
            (
                connection.meter(ledger, provider, wallet, **more)
                for provider in sorted({job.provider for job in jobs})
            ),
        )
        _check_bodies(todo, meters)
        for meter in meters.values():
            recover_first(ledger, meter)
        # Recovery may have ended what was left open, and given credits back for what was not sent.
        known = known_outcomes(ledger, jobs)
        todo = attempts_to_do(jobs, known, retries_failed=retry_failed)
        _say_who_is_sending(known.values(), grace)
        to_do = {attempt.job.place for attempt in todo}
        progress = Progress(jobs, {at: one for at, one in known.items() if at not in to_do})
        with _journal(path) as write, shown(progress) as display:

            def change(outcome: Outcome) -> None:
                progress.change(outcome)
                display.changed()
                if not outcome.is_running:
                    write(outcome)

            running = Batch(
                _telling(meters, display),
                todo,
                concurrency=concurrency,
                polls_per_s=polls_per_second,
                grace_s=grace,
                max_total=None if most is None else most - _spent(known.values(), most),
                on_change=change,
            )
            stopped = _run(running, display)
        outcomes = _ended(jobs, known_outcomes(ledger, jobs), running.outcomes)
        _write_results(path, jobs, outcomes)
        code = _tell(progress, jobs, outcomes, path, form)
        if stopped is _Stopped.AT_ONCE:
            _leave(code or EXIT_STOPPED)
        if out is not None and not stopped:
            _save(outcomes.values(), out)
        _ignore_ctrl_c()
        return EXIT_STOPPED if stopped and code != EXIT_IN_DOUBT else code


class _Stopped(Enum):
    """How a batch was interrupted; false is not at all."""

    NOT = ""
    IN_ORDER = "in order"
    AT_ONCE = "at once"

    def __bool__(self) -> bool:
        return self is not _Stopped.NOT


def _run(running: Batch, display: Display) -> _Stopped:
    """Run a batch to its end, or until Ctrl-C; twice, and calls under way are not waited for."""
    stopped = _Stopped.IN_ORDER
    try:
        try:
            running.run()
        except KeyboardInterrupt:
            display.say("stopping: calls under way are waited for; Ctrl-C again leaves at once")
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
    """Let nobody interrupt what is left: it takes a moment, and should not be half done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _say_who_is_sending(known: Iterable[Outcome], grace_s: float) -> None:
    """Tell why some jobs may be waited for: nobody knows whether their sender is still alive."""
    found = [one.reservation for one in known if one.reservation is not None]
    sending = sum(reservation.state == "submitting" for reservation in found)
    if sending and grace_s:
        say(
            f"{sending} may be under way in another process: left to it for {grace_s:g} s (--grace)"
        )


def _telling(meters: Mapping[str, Meter], display: Display) -> dict[str, Meter]:
    """Return the meters as they tell of trouble while progress is shown."""

    def say_trouble(error: ProviderError) -> None:
        display.say(f"note: {error}")

    return {name: replace(meter, on_trouble=say_trouble) for name, meter in meters.items()}


def _read(
    manifest: Path,
    name: str,
    project: str | None,
    labels: Mapping[str, str],
    library: Library,
) -> list[BatchJob]:
    """Read all rows, or tell what is wrong with every row that is no job, and stop."""
    from kling_ledger.manifests.batch import read_jobs

    jobs, bad = read_jobs(
        manifest,
        name=name,
        at=datetime.now(UTC),
        project=project,
        labels=labels,
        library=library,
    )
    _refuse((row.place, row.error) for row in bad)
    return jobs


def _check_cost(
    ledger: Ledger,
    wallet: str,
    jobs: Sequence[BatchJob],
    known: Mapping[int, Outcome],
    todo: Sequence[Attempt],
    *,
    most: Money | None,
    ceiling: Money | None,
) -> None:
    """Refuse a batch that is dearer than it may be, or than the wallet can pay."""
    from kling_ledger.errors import InsufficientCreditsError, TotalError
    from kling_ledger.jobs.batch_jobs import totals
    from kling_pricing.errors import AmountError

    payer = ledger.wallets.get(wallet)
    nothing = Money.zero(payer.unit)
    sums = totals(job.quote for job in jobs)
    for unit in sums:
        if unit != payer.unit:
            raise AmountError("unit of the wallet", got=payer.unit, allowed=unit)
    cost = sums.get(payer.unit, nothing)
    if most is not None and cost > most:
        raise TotalError(cost=cost, most=most)
    new = [one.job for one in todo if not _is_reserved(known.get(one.job.place))]
    _check_each(new, ceiling)
    needed = totals(job.quote for job in new).get(payer.unit, nothing)
    say(f"{len(jobs)} jobs, {cost}; {len(todo)} to do, {needed} to reserve")
    if needed > payer.available:
        raise InsufficientCreditsError(payer.name, needed=needed, available=payer.available)


def _spent(known: Iterable[Outcome], most: Money) -> Money:
    """Return what the jobs of earlier runs have cost."""
    costs = (one.reservation.spent for one in known if one.reservation is not None)
    return sum(costs, start=Money.zero(most.unit))


def _is_reserved(known: Outcome | None) -> bool:
    """Whether a job's credits are set aside already: the wallet need not hold them once more."""
    return known is not None and known.is_open


def _check_each(jobs: Iterable[BatchJob], ceiling: Money | None) -> None:
    """Refuse a batch with jobs that cost more than one may, and tell of all of them."""
    from kling_ledger.errors import CeilingError

    if ceiling is None:
        return
    _refuse(
        (job.place, CeilingError(cost=job.quote.amount, ceiling=ceiling))
        for job in jobs
        if job.quote.amount > ceiling
    )


def _check_bodies(todo: Iterable[Attempt], meters: Mapping[str, Meter]) -> None:
    """Refuse a batch with bodies that a provider could not carry out, and tell of all of them."""
    from kling_pricing.errors import RequestError

    bad = []
    for attempt in todo:
        try:
            meters[attempt.job.provider].provider.check(attempt.job.request.body)
        except RequestError as error:
            bad.append((attempt.job.place, error))
    _refuse(bad)


def _refuse(bad: Iterable[tuple[int, KlingError]]) -> None:
    """Tell what is wrong with each bad row and stop, before anything was started."""
    found = sorted(bad, key=lambda one: one[0])
    if not found:
        return
    for place, error in found[:_MOST_TOLD]:
        say(f"error: row {place}: {error}")
    if len(found) > _MOST_TOLD:
        say(f"error: and {len(found) - _MOST_TOLD} rows more")
    rows = "1 row" if len(found) == 1 else f"{len(found)} rows"
    say(f"nothing was started: {rows} cannot be run")
    raise SystemExit(max(exit_code(error) for _, error in found))


def _meters(open_things: ExitStack, meters: Iterable[Meter]) -> dict[str, Meter]:
    """Return the meters by provider; their connections end with everything else."""
    by_provider = {}
    for meter in meters:
        open_things.callback(meter.provider.close)
        by_provider[meter.provider.name] = meter
    return by_provider


def _planned(job: BatchJob) -> dict[str, Any]:
    clip, amount = job.request.clip, job.quote.amount
    return {
        "row": job.place,
        "provider": clip.provider,
        "model": clip.model,
        "seconds": None if clip.seconds is None else str(clip.seconds),
        "resolution": clip.resolution,
        "sound": clip.sound,
        "project": job.project,
        "amount": plain(amount.amount),
        "unit": amount.unit,
    }


@contextmanager
def _journal(path: Path) -> Iterator[Any]:
    """Give a way to write results as they come: what is cut off has them up to there."""
    with path.open("a", encoding="utf-8") as file:

        def write(outcome: Outcome) -> None:
            file.write(json.dumps(result_of(outcome), ensure_ascii=False) + "\n")
            file.flush()

        yield write


def _write_results(path: Path, jobs: Sequence[BatchJob], outcomes: Mapping[int, Outcome]) -> None:
    """Write every result that is known, in the manifest's order, in place of what was there."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    with aside.open("w", encoding="utf-8") as file:
        for job in jobs:
            if job.place in outcomes:
                file.write(json.dumps(result_of(outcomes[job.place]), ensure_ascii=False) + "\n")
    aside.replace(path)


def result_of(outcome: Outcome) -> dict[str, Any]:
    """Return a line of results: the row, what became of it, what it cost, where its clips are."""
    job, found = outcome.job, outcome.reservation
    return {
        "row": job.place,
        "key": job.key,
        "provider": job.provider,
        "reservation": None if found is None else found.id,
        "state": "not_started" if found is None else str(found.state),
        "task": None if found is None else found.task_id,
        "quoted": plain_or_none(job.quote.amount),
        "committed": None if found is None else plain_or_none(found.committed),
        "unit": job.quote.amount.unit,
        "videos": [] if found is None else list(found.videos),
        "problem": str(outcome.error) if outcome.error else found and found.problem,
    }


def _ended(
    jobs: Sequence[BatchJob], known: Mapping[int, Outcome], ran: Mapping[int, Outcome]
) -> dict[int, Outcome]:
    """Return how every job ended: as the ledger says now, and why as this run says."""
    ended = {}
    for job in jobs:
        now, then = known.get(job.place), ran.get(job.place)
        if now is None and then is not None:
            ended[job.place] = then
        elif now is not None:
            is_same = then is not None and then.attempt == now.attempt
            ended[job.place] = replace(now, error=then.error if then and is_same else None)
    return ended


def _tell(
    progress: Progress,
    jobs: Sequence[BatchJob],
    outcomes: Mapping[int, Outcome],
    path: Path,
    form: str,
) -> int:
    """Print the figures, say what is left to do, and return the exit code."""
    for outcome in outcomes.values():
        progress.change(outcome)
    now = progress.summary()
    print_one({name: value for name, value in now.items() if name != "eta"}, form)
    say(f"results: {path}")
    if now["waiting"] or now["running"]:
        say("the same command again goes on from here")
    if now["in_doubt"]:
        say(f"{now['in_doubt']} in doubt, their credits stay reserved: kling-ledger resume")
    return _code(jobs, outcomes)


def _code(jobs: Sequence[BatchJob], outcomes: Mapping[int, Outcome]) -> int:
    """Return the exit code of the whole: open jobs come first, then refused ones, then failed."""
    from kling_ledger.errors import RefusedError

    found = [outcomes.get(job.place) for job in jobs]
    if any(one is not None and one.is_open for one in found):
        return EXIT_IN_DOUBT
    if all(one is not None and one.is_done for one in found):
        return 0
    refused = any(one is not None and isinstance(one.error, RefusedError) for one in found)
    return EXIT_REFUSED if refused else EXIT_JOB_FAILED


def _save(outcomes: Iterable[Outcome], folder: Path) -> None:
    """Download the clips of jobs, a few at a time. Ctrl-C leaves at once."""
    done = [one.reservation for one in outcomes if one.reservation is not None]
    pool = ThreadPoolExecutor(_DOWNLOADS, thread_name_prefix="download")
    try:
        for saved in [pool.submit(save_clips, one, folder) for one in done]:
            saved.result()
    except KeyboardInterrupt:
        say("stopped: the same command again fetches the rest")
        _leave(EXIT_STOPPED)
    finally:
        pool.shutdown(cancel_futures=True)


def _leave(code: int) -> NoReturn:
    """End the process while calls are under way: whatever has to last is on the disk."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
