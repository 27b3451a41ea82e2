"""Recovery: finishes what a crash, a time-out or a lost reply left open.

What was never sent gives its credits back. A submission without an answer is sent again where the
provider knows the key it was sent under, and left in doubt where not: then a person has to look.
What the provider took is asked for. Jobs that a script submits by itself are left to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event, Lock
from typing import Final

from kling_ledger.config import SENDING_S
from kling_ledger.errors import StateError
from kling_ledger.jobs.meter import Meter, Watch
from kling_ledger.ledger import Ledger, Reservation, State
from kling_pricing.errors import KlingError

KEY_LIVES_S: Final = 86_400.0
"""How long a provider is trusted to know a key: none documents it, so no longer than a day."""

AT_ONCE: Final = 8
"""How many jobs are asked for at the same time."""

MeterFor = Callable[[Reservation], Meter]
"""Gives the meter at whose provider a reservation's job is or was."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of an open reservation, and what a person has to do where nothing else can.

    `error` is why it could not be asked for now; `is_running` says that the provider is at it.
    """

    reservation: Reservation
    did: str
    to_do: str | None = None
    error: KlingError | None = None
    is_running: bool = False

    @property
    def problem(self) -> str | None:
        """Why it could not be asked for, in words, and what may help."""
        if self.error is None:
            return None
        hint = self.error.hint
        return f"{self.error}: {hint}" if hint else str(self.error)


@dataclass(frozen=True, slots=True)
class Recovery:
    """Goes through open reservations. Safe beside others that run, submit or recover jobs.

    `meter_for` gives the meter of a reservation's provider. What changed less than `grace_s` ago
    and may be under way in another process is left alone. With `waits`, jobs are followed to their
    end; without, each is asked for once.
    """

    ledger: Ledger
    meter_for: MeterFor
    now: datetime
    grace_s: float = SENDING_S
    waits: bool = False

    def run(
        self, reservations: Iterable[Reservation] | None = None
    ) -> Generator[Recovered, None, None]:
        """Finish what can be finished, every open reservation or those given; tell of each.

        All are asked for once before any is waited for. Who stops listening stops the waiting too.
        """
        found = self.ledger.reservations.open() if reservations is None else reservations
        stopping = Event()
        pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="recovery")
        try:
            running = []
            for recovered in pool.map(self._looked_at, found):
                if self.waits and recovered.is_running:
                    running.append(recovered.reservation)
                else:
                    yield recovered
            yield from pool.map(lambda one: self._waited_for(one, stopping), running)
        finally:
            stopping.set()
            pool.shutdown(cancel_futures=True)

    def finish(self, reservation: Reservation) -> Recovered:
        """Bring one reservation as far as it can be brought now; whatever fails is told of."""
        recovered = self._looked_at(reservation)
        if self.waits and recovered.is_running:
            return self._waited_for(recovered.reservation, Event())
        return recovered

    def _looked_at(self, reservation: Reservation) -> Recovered:
        return self._told(reservation, lambda: self._moved_on(reservation))

    def _waited_for(self, reservation: Reservation, stopping: Event) -> Recovered:
        return self._told(reservation, lambda: self._followed(reservation, stopping))

    def _told(self, reservation: Reservation, move: Callable[[], Recovered]) -> Recovered:
        try:
            return move()
        except StateError:
            now = self.ledger.reservations.get(reservation.id)
            return Recovered(now, "somebody else moved it on")
        except KlingError as error:
            now = self.ledger.reservations.get(reservation.id)
            return Recovered(now, "left as it is", error=error)

    def _moved_on(self, found: Reservation) -> Recovered:
        if not found.is_open:
            return Recovered(found, "it has ended")
        job = found.job
        if job.provider is None or job.request is None or job.address is None:
            return Recovered(found, "left as it is", to_do=_verdict_of_its_script(found))
        if found.task_id is not None:
            return self._asked_for(found)
        if found.state is not State.IN_DOUBT and self._is_young(found):
            return Recovered(found, "left alone: it may just be under way")
        if found.state is State.RESERVED:
            problem = "it was never sent"
            ended = self.ledger.roll_back(found.id, problem, only_from=State.RESERVED)
            return Recovered(ended, f"rolled back: {problem}")
        return self._submitted_again(found)

    def _submitted_again(self, found: Reservation) -> Recovered:
        """Send an unanswered submission again where that is safe; else put it in doubt."""
        meter = self.meter_for(found)
        unsafe = self._why_not_again(found, meter)
        if unsafe is not None:
            problem = f"its submission got no answer, and {unsafe}"
            doubtful = found
            if found.state is not State.IN_DOUBT:
                # Its sender may be late, and not dead: then what it has written stands.
                doubtful = self.ledger.mark_in_doubt(found.id, problem, only_from=State.SUBMITTING)
            return Recovered(doubtful, "in doubt", to_do=what_to_look_for(doubtful))
        try:
            meter.submit(found, json.loads(found.job.request or "{}"))
        except StateError:
            raise
        except KlingError as error:
            now = self.ledger.reservations.get(found.id)
            to_do = what_to_look_for(now) if now.is_open and now.task_id is None else None
            return Recovered(now, "sent again, and not taken for certain", to_do, error)
        return self._asked_for(self.ledger.reservations.get(found.id))

    def _why_not_again(self, found: Reservation, meter: Meter) -> str | None:
        """Say why a submission cannot be sent again without being charged twice, if it cannot."""
        if not meter.provider.repeats_safely:
            return f"{meter.provider.name} knows no repeats"
        age = self.now - found.created_at
        if age > timedelta(seconds=KEY_LIVES_S):
            return f"{meter.provider.name} may not know its key any more, {_age(age)} on"
        return None

    def _asked_for(self, found: Reservation) -> Recovered:
        """Ask once how a job stands; one that is overdue and has no verdict is in doubt."""
        meter = self.meter_for(found)
        watch = Watch(meter, found)
        pause_s = watch.ask()
        seen = watch.reservation
        if not seen.is_open:
            return Recovered(seen, f"ended: {seen.state}")
        if self._is_overdue(seen, meter):
            age = _age(self.now - seen.created_at)
            seen = meter.give_up(seen, f"no verdict {age} on: {_how_it_stands(watch)}")
        is_running = pause_s is not None
        did = f"asked for: {_how_it_stands(watch)}"
        to_do = None if is_running else _verdict_on_its_task(seen)
        return Recovered(seen, did, to_do, watch.error, is_running=is_running)

    def _followed(self, found: Reservation, stopping: Event) -> Recovered:
        """Ask until a job ends, its longest life is over, or nobody listens any more."""
        watch = Watch(self.meter_for(found), found)
        pause_s = watch.ask()
        while pause_s is not None and not stopping.is_set():
            self.meter_for(found).sleep(pause_s)
            pause_s = watch.ask()
        seen = watch.reservation
        if not seen.is_open:
            return Recovered(seen, f"ended: {seen.state}")
        to_do = _verdict_on_its_task(seen) if pause_s is None else None
        return Recovered(seen, f"followed: {_how_it_stands(watch)}", to_do, watch.error)

    def _is_young(self, found: Reservation) -> bool:
        return self.now - found.updated_at < timedelta(seconds=self.grace_s)

    def _is_overdue(self, found: Reservation, meter: Meter) -> bool:
        longest = timedelta(seconds=meter.patience.longest_s)
        return found.state is State.SUBMITTED and self.now - found.created_at > longest


def _how_it_stands(watch: Watch) -> str:
    if watch.error is not None:
        return "it got no answer"
    problem = watch.reservation.problem
    return problem if watch.reservation.state is State.IN_DOUBT and problem else "it still runs"


def what_to_look_for(found: Reservation) -> str:
    """Tell a person where to look, and what to say then, where no machine can know."""
    job = found.job
    seconds = "" if job.seconds is None else f", {job.seconds} s"
    return (
        f"look at {job.provider} for a task of {job.model}{seconds} from about"
        f" {found.created_at:%Y-%m-%d %H:%M} UTC. If it is there:"
        f" kling-ledger reservation submitted {found.id} TASK, then kling-ledger resume."
        f" If not: kling-ledger reservation rollback {found.id} --reason ..."
    )


def _verdict_of_its_script(found: Reservation) -> str:
    return (
        "the script that made it has to end it, or you:"
        f" kling-ledger reservation commit|rollback {found.id} --reason ..."
    )


def _verdict_on_its_task(found: Reservation) -> str:
    """Tell a person where to look for a task that the provider says nothing clear about."""
    return (
        f"look at {found.job.provider} for task {found.task_id}: kling-ledger resume {found.id}"
        f" asks again, kling-ledger reconcile --provider {found.job.provider} --statement FILE"
        " takes its bill for the verdict; or say it:"
        f" kling-ledger reservation commit|rollback {found.id} --reason ..."
    )


def _age(since: timedelta) -> str:
    hours, seconds = divmod(int(since.total_seconds()), 3600)
    return f"{hours} h" if hours else f"{seconds // 60} min"


class Meters:
    """The meters of many reservations: one for each provider's address, connected when needed."""

    def __init__(self, connect: Callable[[str, str | None], Meter]) -> None:
        self._connect = connect
        self._known: dict[tuple[str | None, str | None], Meter] = {}
        self._lock = Lock()

    def __call__(self, found: Reservation) -> Meter:
        """Return the meter at whose provider a reservation's job is."""
        place = (found.job.provider, found.job.address)
        with self._lock:
            if place not in self._known:
                self._known[place] = self._connect(found.job.provider or "", found.job.address)
            return self._known[place]

    def close(self) -> None:
        """Give back the connections to every provider."""
        for meter in self._known.values():
            meter.provider.close()
        self._known.clear()


__all__ = [
    "KEY_LIVES_S",
    "MeterFor",
    "Meters",
    "Recovered",
    "Recovery",
    "what_to_look_for",
]
