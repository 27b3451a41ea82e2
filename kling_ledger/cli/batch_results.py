"""The results of a batch: one line per row beside the manifest, the figures, the exit code."""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kling_ledger.cli import (
    EXIT_CHARGED_WITHOUT_CLIP,
    EXIT_IN_DOUBT,
    EXIT_JOB_FAILED,
    EXIT_NOT_SENT,
    EXIT_REFUSED,
)
from kling_ledger.cli.hints import hint_for
from kling_ledger.cli.output import print_one, say
from kling_ledger.errors import ConfigError
from kling_ledger.tabular.files import whole_file
from kling_pricing.counting import counted
from kling_pricing.money import plain_or_none

if TYPE_CHECKING:
    from kling_ledger.cli.batch_progress import Progress
    from kling_ledger.jobs.batch_jobs import Attempt, BatchJob, Outcome
    from kling_pricing.errors import KlingError

_MOST_REASONS: Final = 10
"""How many different reasons are printed; the results file has every row's."""


@contextmanager
def journal(path: Path) -> Iterator[Any]:
    """Return a function that writes results as they come, so an interrupted batch keeps them.

    A write error is reported once and the batch continues: its jobs are paid for.
    """
    is_told = False
    # Unbuffered: on a full disk, closing a buffered file would fail once more.
    with path.open("ab", buffering=0) as file:

        def write(outcome: Outcome) -> None:
            nonlocal is_told
            try:
                _append(file, _line(outcome).encode())
            except OSError as error:
                if not is_told:
                    say(
                        f"note: {path}: {error.strerror}; the jobs continue, and the ledger"
                        " records them"
                    )
                is_told = True

        yield write


def write_results(path: Path, jobs: Sequence[BatchJob], outcomes: Mapping[int, Outcome]) -> bool:
    """Replace the results file with every known result, in the manifest's order.

    Returns whether that worked; an error is reported.
    """
    try:
        with whole_file(path) as beside, beside.open("w", encoding="utf-8") as file:
            file.writelines(_line(outcomes[job.place]) for job in jobs if job.place in outcomes)
    except (ConfigError, OSError) as error:
        problem = f"{path}: {error.strerror}" if isinstance(error, OSError) else error
        say(f"error: the results cannot be written: {problem}")
        say(
            "hint: free some space, then run the same command again: it writes them and pays"
            " nothing"
        )
        return False
    return True


def _append(file: RawIOBase, line: bytes) -> None:
    """Write a whole line; OSError also if only part of it fits."""
    if file.write(line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _line(outcome: Outcome) -> str:
    return json.dumps(result_of(outcome), ensure_ascii=False) + "\n"


def result_of(outcome: Outcome) -> dict[str, Any]:
    """Return a line of results: the row, its outcome, its cost, and where its clips are."""
    job, found = outcome.job, outcome.reservation
    return {
        "row": job.place,
        "key": job.key,
        "provider": job.provider,
        "reservation": None if found is None else found.id,
        "state": "not_started" if found is None else str(found.state),
        "task": None if found is None else found.task_id,
        "quoted": plain_or_none(job.quoted),
        "estimated": plain_or_none(job.estimate if found is None else found.estimated),
        "committed": None if found is None else plain_or_none(found.committed),
        "unit": job.cost.unit,
        "videos": [] if found is None else list(found.videos),
        "problem": str(outcome.error) if outcome.error else found and found.problem,
    }


def ended(
    jobs: Sequence[BatchJob], known: Mapping[int, Outcome], ran: Mapping[int, Outcome]
) -> dict[int, Outcome]:
    """Return the outcome of every job: its state from the ledger, its reason from this run."""
    ended = {}
    for job in jobs:
        now, then = known.get(job.place), ran.get(job.place)
        if now is None and then is not None:
            ended[job.place] = then
        elif now is not None:
            is_same = then is not None and then.attempt == now.attempt
            ended[job.place] = replace(now, error=then.error if then and is_same else None)
    return ended


def say_reasons(outcomes: Iterable[Outcome], not_started: Sequence[Attempt]) -> None:
    """Print why rows failed or are in doubt: each reason once, with its number of rows."""
    reasons = Counter(
        reason for one in outcomes if not one.is_done and (reason := _reason(one)) is not None
    )
    for reason, many in reasons.most_common(_MOST_REASONS):
        say(f"{counted(many, 'row')}: {reason}")
    if len(reasons) > _MOST_REASONS:
        say(f"and {len(reasons) - _MOST_REASONS} more reasons: see the results")
    for provider, many in Counter(one.job.provider for one in not_started).items():
        say(f"{counted(many, 'row')} at {provider} not started, nothing reserved")


def _reason(outcome: Outcome) -> str | None:
    """Return why a row is not done, with a hint; None if there is no reason."""
    if outcome.error is not None:
        hint = hint_for(outcome.error)
        return f"{outcome.error}: {hint}" if hint else str(outcome.error)
    found = outcome.reservation
    return found.problem if found is not None else None


def tell(
    progress: Progress,
    jobs: Sequence[BatchJob],
    outcomes: Mapping[int, Outcome],
    path: Path | None,
    form: str,
) -> int:
    """Print the figures, the next steps and where the results are; return the exit code."""
    for outcome in outcomes.values():
        progress.change(outcome)
    now = progress.summary()
    print_one({name: value for name, value in now.items() if name != "eta"}, form)
    if path is not None:
        say(f"results: {path}")
    if now["charged_without_clip"]:
        say(f"{now['charged_without_clip']} charged, without a clip")
    if now["waiting"] or now["running"]:
        say("run the same command again to continue")
    if now["in_doubt"]:
        say(f"{now['in_doubt']} in doubt, with their credits still reserved: kling-ledger resume")
    return _code(jobs, outcomes)


def _code(jobs: Sequence[BatchJob], outcomes: Mapping[int, Outcome]) -> int:
    """Return the exit code of the batch: open jobs outrank refused ones.

    Jobs charged without a clip come next, because exit code 4 promises that all credits came back.
    """
    from kling_ledger.errors import RefusedError

    found = [outcomes.get(job.place) for job in jobs]
    if any(one is not None and one.is_open for one in found):
        return EXIT_IN_DOUBT
    if all(one is not None and one.is_done for one in found):
        return 0
    refused = any(one is not None and isinstance(one.error, RefusedError) for one in found)
    if refused:
        return EXIT_REFUSED
    if any(one is not None and one.is_charged_without_clip for one in found):
        return EXIT_CHARGED_WITHOUT_CLIP
    failed = [one.error for one in found if one is not None and not one.is_done]
    was_shut_out = bool(failed) and all(_is_shut_out(error) for error in failed)
    return EXIT_NOT_SENT if was_shut_out else EXIT_JOB_FAILED


def _is_shut_out(error: KlingError | None) -> bool:
    from kling_ledger.errors import JobRefusedError

    return isinstance(error, JobRefusedError) and error.nothing_was_sent
