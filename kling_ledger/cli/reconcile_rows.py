"""The output of a comparison: one row per job, corrections, and questions for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from kling_ledger.cli import EXIT_DIFFERENCES
from kling_ledger.cli.output import print_many, say
from kling_pricing.counting import counted
from kling_pricing.money import Money, plain_or_none

if TYPE_CHECKING:
    from kling_ledger.evidence.plan import Line
    from kling_ledger.evidence.sources import Compared
    from kling_ledger.ledger import Change, Reservation

_COLUMNS = (
    "verdict",
    "reservation",
    "task",
    "state",
    "ours",
    "theirs",
    "unit",
    "problem",
    "proposal",
)


def report(
    lines: list[Line], form: str, *, shows_all: bool, not_confirmed: Sequence[Reservation] = ()
) -> int:
    """Print the differences, or all jobs, and the unconfirmed costs; return the exit code."""
    counts = Counter(str(line.verdict) for line in lines)
    # Giving a charge back is the most serious correction: those rows come last, in a table of their
    # own.
    told = sorted(
        (line for line in lines if shows_all or line.stands),
        key=lambda line: line.verdict == "never_charged",
    )
    print_many(
        [_row(line) for line in told],
        _COLUMNS,
        form,
        empty="no differences" if not not_confirmed else "no differences in confirmed costs",
        optional=("state", "task"),
    )
    say(", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "no jobs")
    if not_confirmed:
        costs = Money.by_unit(one.spent for one in not_confirmed)
        total = ", ".join(str(cost) for cost in costs.values())
        jobs = counted(len(not_confirmed), "job")
        say(f"cost not confirmed: {jobs}, {total}: known only from our own figures")
    return EXIT_DIFFERENCES if any(line.stands for line in lines) else 0


def say_notes(compared: Compared) -> None:
    """Print the surprises of a bill, and the answers needed to go further."""
    from kling_ledger.evidence.plan import Verdict

    for note in compared.notes:
        say(f"note: {note}")
    if compared.has_unzoned_times:
        say("note: times in the bill have no zone: give --zone, such as Asia/Shanghai")
    if compared.missing is None:
        return
    missed = (line.reservation for line in compared.lines if line.verdict is Verdict.NEVER_CHARGED)
    costs = Money.by_unit(one.held if one.is_open else one.spent for one in missed if one)
    total = ", ".join(str(cost) for cost in costs.values())
    say(
        f"note: the bill lacks {counted(compared.missing, 'job')}, {total} in all."
        f" If it is complete and belongs to this account, confirm: --missing {compared.missing}"
    )


def proposed(changes: Iterable[Change]) -> str:
    """Format a proposal: `commit 0.675 USD`."""
    return ", ".join(_one(change) for change in changes)


def _row(line: Line) -> dict[str, Any]:
    ours = line.reservation
    return {
        "verdict": str(line.verdict),
        "reservation": None if ours is None else ours.id,
        "task": line.task_id,
        "state": " / ".join(str(one) for one in (ours.state if ours else None, line.state) if one),
        "ours": plain_or_none(line.ours),
        "theirs": plain_or_none(line.theirs),
        "unit": _unit(line),
        "problem": _problem(line),
        "proposal": None if line.change is None or not line.stands else _one(line.change),
    }


def _unit(line: Line) -> str:
    amount = line.reservation.amount if line.reservation else line.theirs
    return "" if amount is None else amount.unit


def _problem(line: Line) -> str | None:
    """Return the problem, and the command to settle it if a person has to."""
    from kling_ledger.cli.next_steps import claim_task, look_for_task, say_what_it_cost

    told = line.problem
    if line.candidates:
        told = f"{told}. {claim_task(line.task_id, line.candidates)}"
    found = line.reservation
    if line.verdict == "only_ours" and found is not None and found.task_id is None:
        return look_for_task(found)
    if line.verdict in {"question", "duplicate"} and found is not None:
        told = f"{told}. {say_what_it_cost(found)}"
    return told


def _one(change: Change) -> str:
    if change.is_correction:
        return f"correct to {change.amount}"
    words = {"committed": "commit", "rolled_back": "roll back"}
    word = words.get(str(change.to_state), str(change.to_state))
    return word if change.amount is None else f"{word} {change.amount}"
