"""Messages of a running batch: each outcome, a provider's pauses, and errors, once each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kling_ledger.cli.batch_progress import Display, Progress
    from kling_ledger.errors import ProviderError
    from kling_ledger.jobs.batch_jobs import Outcome
    from kling_ledger.jobs.breaker import Pause
    from kling_ledger.jobs.meter import Meter


def changes(
    progress: Progress, display: Display, write: Callable[[Outcome], None]
) -> Callable[[Outcome], None]:
    """Return the listener for changed outcomes: it updates the display, and the file at the end."""

    from kling_ledger.errors import DatabaseError

    said: set[str] = set()

    def change(outcome: Outcome) -> None:
        progress.change(outcome)
        display.changed()
        if not outcome.is_running:
            write(outcome)
            _note(outcome, display)
        elif isinstance(outcome.error, DatabaseError) and outcome.error.code not in said:
            # Every row gets this error: print it once.
            said.add(outcome.error.code)
            display.say(f"note: {outcome.error}; retrying while the others run")

    return change


def pauses(display: Display) -> Callable[[str, Pause | None], None]:
    """Return the listener for a provider's pauses: no new jobs, and when it continues."""

    def tell_pause(provider: str, pause: Pause | None) -> None:
        display.say(f"{provider} answers again: continuing" if pause is None else str(pause))

    return tell_pause


def _note(outcome: Outcome, display: Display) -> None:
    """Report what is odd about a booked job, such as a cost far above its quote."""
    found = outcome.reservation
    if found is not None and found.committed is not None and found.problem:
        display.say(f"note: row {outcome.job.place}: {found.problem}")


def telling(meters: Mapping[str, Meter], display: Display) -> dict[str, Meter]:
    """Return meters that report errors through the progress display."""

    said: set[str] = set()

    def say_trouble(error: ProviderError) -> None:
        # Hundreds of rows may get the same error: print it once.
        if str(error) not in said:
            said.add(str(error))
            display.say(f"note: {error}")

    return {name: replace(meter, on_trouble=say_trouble) for name, meter in meters.items()}
