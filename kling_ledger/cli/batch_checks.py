"""Checks of a batch before anything is started; errors of all rows are reported together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from kling_ledger.cli import EXIT_USAGE, exit_code
from kling_ledger.cli.output import say, say_first
from kling_pricing.counting import counted
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.jobs.batch_jobs import Attempt, BatchJob, Outcome
    from kling_ledger.jobs.meter import Meter
    from kling_ledger.jobs.places import Place
    from kling_ledger.ledger import Ledger
    from kling_pricing.errors import KlingError
    from kling_pricing.library import Library

_NAMED: Final = 5
"""How many rows with the same problem are named."""
_ASKED_AT_ONCE: Final = 8
"""How many rows a provider is asked to estimate at a time."""


def read_rows(
    manifest: Path,
    name: str,
    project: str | None,
    labels: Mapping[str, str],
    library: Library,
) -> list[BatchJob]:
    """Read all rows, or report every row that is not a job, and stop."""
    from kling_ledger.manifests.batch import read_jobs

    jobs, bad = read_jobs(
        manifest,
        name=name,
        at=datetime.now(UTC),
        project=project,
        labels=labels,
        library=library,
        note=lambda text: say(f"note: {text}"),
    )
    _refuse(((row.place, row.error) for row in bad), {row.place: row.where for row in bad})
    return jobs


def estimated(
    jobs: Sequence[BatchJob], known: Mapping[int, Outcome], meters: Mapping[str, Meter]
) -> list[BatchJob]:
    """Get prices from providers where no book has one, and say so; refuse rows without any price.

    Jobs already reserved keep their amount. Without a meter no provider is asked.
    """
    from dataclasses import replace

    from kling_ledger.jobs.quoting import live_note
    from kling_pricing.errors import NoPriceError

    def priced(job: BatchJob) -> BatchJob:
        before, meter = known.get(job.place), meters.get(job.provider)
        if before is not None and before.reservation is not None:
            return replace(job, estimate=before.reservation.amount)
        return job if meter is None else replace(job, estimate=meter.estimate(job.request))

    unpriced = [job for job in jobs if isinstance(job.quote, NoPriceError)]
    with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="estimate") as pool:
        asked = {job.place: job for job in pool.map(priced, unpriced)}
    notes, bad = [], []
    for job in asked.values():
        if isinstance(job.quote, NoPriceError):
            try:
                notes.append((job.place, live_note(job.request, job.quote, job.cost)))
            except NoPriceError as error:
                bad.append((job.place, error))
    _refuse(bad)
    _say_rows("note", notes)
    return [asked.get(job.place, job) for job in jobs]


def check_cost(
    ledger: Ledger,
    wallet: str,
    jobs: Sequence[BatchJob],
    known: Mapping[int, Outcome],
    todo: Sequence[Attempt],
    *,
    most: Money | None,
    ceiling: Money | None,
) -> None:
    """Refuse a batch that costs more than its limit, or than the wallet can pay."""
    from kling_ledger.errors import InsufficientCreditsError, TotalError
    from kling_pricing.errors import AmountError

    payer = ledger.wallets.get(wallet)
    nothing = Money.zero(payer.unit)
    sums = Money.by_unit(job.cost for job in jobs)
    for unit in sums:
        if unit != payer.unit:
            raise AmountError("unit of the amount", got=unit, allowed=payer.unit)
    cost = sums.get(payer.unit, nothing)
    if most is not None and cost > most:
        raise TotalError(cost=cost, most=most)
    new = [one.job for one in todo if not is_reserved(known.get(one.job.place))]
    _check_each(new, ceiling)
    needed = Money.total((job.cost for job in new), unit=payer.unit)
    say(f"{counted(len(jobs), 'job')}, {cost}; {len(todo)} to do, {needed} to reserve")
    if needed > payer.available:
        raise InsufficientCreditsError(payer.name, needed=needed, available=payer.available)


def is_reserved(known: Outcome | None) -> bool:
    """Whether a job's credits are already reserved: the wallet does not need them again."""
    return known is not None and known.is_open


def _check_each(jobs: Iterable[BatchJob], ceiling: Money | None) -> None:
    """Refuse a batch with jobs above the limit for one job, and report all of them."""
    from kling_ledger.errors import CeilingError

    if ceiling is None:
        return
    _refuse(
        (job.place, CeilingError(cost=job.cost, ceiling=ceiling))
        for job in jobs
        if job.cost > ceiling
    )


def check_bodies(todo: Iterable[Attempt], meters: Mapping[str, Meter]) -> None:
    """Refuse a batch with bodies that their provider would reject, and report all of them."""
    from kling_pricing.errors import RequestError

    bad = []
    for attempt in todo:
        try:
            meters[attempt.job.provider].provider.check(attempt.job.request.body)
        except RequestError as error:
            bad.append((attempt.job.place, error))
    _refuse(bad)


def check_earlier(
    ledger: Ledger,
    jobs: Sequence[BatchJob],
    known: Mapping[int, Outcome],
    places: Mapping[str, Place],
    *,
    may_begin: bool,
) -> None:
    """Report rows that already ran elsewhere or under another key; refuse to pay for them again."""
    from kling_ledger.jobs.batch_places import earlier
    from kling_ledger.providers.callback_rules import is_loopback

    found = earlier(ledger, jobs, known, places, at=datetime.now(UTC))
    for address, many in found.elsewhere.items():
        if many:
            kind = " (a rehearsal)" if is_loopback(address) else ""
            say(f"{_rows(many)} already run at {address}{kind}, a different address")
    if not found.made:
        return
    say(
        f"{found.made} of {_rows(len(jobs))} already run under another batch name or project: "
        "--again repeats them"
    )
    if not may_begin:
        say("nothing was started")
        raise SystemExit(EXIT_USAGE)


def _rows(many: int) -> str:
    return counted(many, "row was", "rows were")


def _say_rows(
    kind: str,
    told: Sequence[tuple[int, object]],
    where: Mapping[int, str] = MappingProxyType({}),
) -> None:
    """Print what is to be told of rows, once for all of which it is the same."""
    rows_of: dict[str, list[int]] = {}
    for place, what in told:
        rows_of.setdefault(str(what), []).append(place)
    say_first(
        list(rows_of.items()),
        lambda one: f"{kind}: {_named(one[1], where)}: {one[0]}",
        lambda more: f"{kind}: and {counted(more, 'more problem')} in other rows",
    )


def _named(places: Sequence[int], where: Mapping[int, str]) -> str:
    """Name the first few rows, and count the others."""
    named = [_row(place, where.get(place)) for place in places[:_NAMED]]
    if len(places) > _NAMED:
        named.append(counted(len(places) - _NAMED, "more row"))
    *first, last = named
    return f"{', '.join(first)} and {last}" if first else last


def _refuse(
    bad: Iterable[tuple[int, KlingError]], where: Mapping[int, str] = MappingProxyType({})
) -> None:
    """Report the error of each bad row and stop, before anything is started."""
    found = sorted(bad, key=lambda one: one[0])
    if not found:
        return
    _say_rows("error", found, where)
    say(f"nothing was started: {counted(len(found), 'row')} cannot be run")
    raise SystemExit(max(exit_code(error) for _, error in found))


def _row(place: int, where: str | None) -> str:
    """Name a row, and its line in the file if that is another number."""
    is_same = where is None or where.split()[-1:] == [str(place)]
    return f"row {place}" if is_same else f"row {place} ({where})"
