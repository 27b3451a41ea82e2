"""`batch --dry-run`: what each row would cost, and which rows would be refused; nothing changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from kling_ledger.cli import EXIT_REFUSED
from kling_ledger.cli.output import print_many, say
from kling_pricing.money import plain
from kling_pricing.quote import Quote

if TYPE_CHECKING:
    from kling_ledger.errors import RefusedError
    from kling_ledger.jobs.batch_jobs import BatchJob
    from kling_ledger.ledger import Asked, Ledger

_COLUMNS: Final = (
    *("row", "provider", "model", "seconds", "resolution", "sound", "project"),
    *("amount", "unit"),
)


def rehearse(
    ledger: Ledger, wallet: str, jobs: Sequence[BatchJob], new: Sequence[BatchJob], form: str
) -> int:
    """Print every row of a batch, with its refusal if there is one; return the exit code.

    The `new` jobs are reserved at their quotes, one after the other, in a ledger that undoes it.
    """
    refused = _refused(ledger, wallet, new)
    rows = [
        {**_row(job), "refused": str(refused[job.place]) if job.place in refused else None}
        for job in jobs
    ]
    # Who pipes a table into a program has all columns; a person needs no blank one.
    columns = _COLUMNS if form == "table" and not refused else (*_COLUMNS, "refused")
    print_many(rows, columns, form, empty="no rows")
    if refused:
        say(f"{len(refused)} of {len(jobs)} would be refused")
    return EXIT_REFUSED if refused else 0


def _refused(ledger: Ledger, wallet: str, new: Sequence[BatchJob]) -> dict[int, RefusedError]:
    from kling_ledger.errors import RefusedError

    outcomes = ledger.reserve_each(list(_asked(wallet, new)))
    pairs = zip(new, outcomes, strict=True)
    return {job.place: outcome for job, outcome in pairs if isinstance(outcome, RefusedError)}


def _asked(wallet: str, jobs: Iterable[BatchJob]) -> Iterable[Asked]:
    from kling_ledger.jobs.quoting import job_of
    from kling_ledger.ledger import Asked, Job

    for job in jobs:
        clip = job.request.clip
        what = (
            job_of(job.request, job.quote)
            if isinstance(job.quote, Quote)
            else Job(provider=clip.provider, model=clip.model, action=clip.action)
        )
        yield Asked(wallet, job.cost, what, job.project, job.labels)


def _row(job: BatchJob) -> dict[str, Any]:
    clip, amount = job.request.clip, job.cost
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
