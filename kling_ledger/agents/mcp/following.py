"""Following: started jobs are polled until they end, whether or not a client waits.

They are followed while this server runs. If it dies, their credits stay held and `resume` finishes
them.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Final, Self

from kling_ledger.jobs.follow import Follower
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.watch import Watch
from kling_ledger.ledger import Reservation
from kling_pricing.errors import KlingError

log: Final = logging.getLogger("kling_ledger.agents")

_STOP_S: Final = 5.0

_Asked = tuple[Watch, float | None]


class Following:
    """Follows jobs on its own thread while its context is open."""

    def __init__(self) -> None:
        self._new: SimpleQueue[Watch | None] = SimpleQueue()
        self._open: set[str] = set()
        self._lock = Lock()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="kling following", daemon=True)

    def expect(self, reservation: Reservation, meter: Meter) -> None:
        """Follow an accepted job, unless it is already followed."""
        with self._lock:
            if reservation.id in self._open:
                return
            self._open.add(reservation.id)
        self._new.put(Watch(meter, reservation))

    def is_followed(self, reservation_id: str) -> bool:
        """Whether a job is still polled."""
        with self._lock:
            return reservation_id in self._open

    def close(self) -> None:
        """Stop following; running jobs are unchanged."""
        self._stop.set()
        self._new.put(None)
        self._thread.join(_STOP_S)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        while not self._stop.is_set() and (first := self._new.get()) is not None:
            with Follower[_Asked](stop=self._stop, name="agents") as follower:
                follower.put(partial(_ask, first), asks=first.provider)
                for watch, pause_s in follower:
                    self._take_in(follower)
                    if pause_s is None:
                        self._ended(watch)
                    else:
                        follower.put(partial(_ask, watch), in_s=pause_s, asks=watch.provider)

    def _take_in(self, follower: Follower[_Asked]) -> None:
        with suppress(Empty):
            while (watch := self._new.get_nowait()) is not None:
                follower.put(partial(_ask, watch), asks=watch.provider)

    def _ended(self, watch: Watch) -> None:
        with self._lock:
            self._open.discard(watch.reservation.id)


def _ask(watch: Watch) -> _Asked:
    """Poll once; a job that cannot be polled is skipped and does not block others."""
    try:
        return watch, watch.ask()
    except KlingError as error:
        log.warning("job %s is no longer followed: %s", watch.reservation.id, error.code)
        return watch, None
