"""An account at a gateway: its balance, its tasks, what each was reserved at and charged.

All amounts are integer millionths of the account's unit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto


class Create(Enum):
    """What happens to one request to create a task."""

    TAKE = auto()
    TAKE_AND_CUT = auto()
    TAKE_AND_SEND_HALF = auto()
    TAKE_AND_FAIL = auto()
    """The task is taken, the reply is the gateway's own 500."""
    TAKE_AND_PROXY_FAILS = auto()
    """The task is taken, the reply is a proxy's 502 in HTML."""
    CUT = auto()
    FAIL = auto()
    PROXY_FAILS = auto()
    BUSY = auto()
    REFUSE = auto()
    POOR = auto()
    """The balance does not suffice. Not scripted: it follows from the balance."""
    CONFLICT = auto()
    """The key was used for other content. Not scripted: it follows from the requests."""

    @property
    def takes(self) -> bool:
        """Whether a task comes of it."""
        return self.name.startswith("TAKE")


class Poll(Enum):
    """What one question after a task is answered with, before its end is told."""

    WAIT = auto()
    WORK = auto()
    ODD = auto()
    """A word that no document has."""
    MISSING = auto()
    FAIL = auto()
    PROXY_FAILS = auto()
    CUT = auto()
    BUSY = auto()


class End(Enum):
    """How a task ends."""

    COMPLETED = auto()
    FAILED = auto()
    FAILED_AND_CHARGED = auto()
    NEVER = auto()


@dataclass(frozen=True, slots=True)
class Script:
    """What becomes of one job: of each request to create it, of each question after it, its end.

    When `create` or `polls` has run out, tasks are taken and ends are told. `reserved` is what the
    gateway sets aside in place of its list price, `settled` what it charges in place of that.
    """

    name: str = "job"
    create: tuple[Create, ...] = ()
    polls: tuple[Poll, ...] = ()
    end: End = End.COMPLETED
    reserved: int | None = None
    settled: int | None = None

    @property
    def is_charged(self) -> bool:
        """Whether a task of this script costs anything in the end."""
        return self.end in {End.COMPLETED, End.FAILED_AND_CHARGED}


@dataclass(slots=True)
class Task:
    """A task that the gateway took."""

    id: str
    script: Script
    body: object
    reserved: int
    polls: list[Poll]
    has_ended: bool = False
    charged: int = 0

    @property
    def name(self) -> str:
        """The name of the job that it was taken for."""
        return self.script.name


@dataclass(slots=True)
class _Run:
    """A script and how far its requests have come."""

    script: Script
    create: list[Create]


@dataclass
class Account:
    """One customer's account. Safe to use from many threads.

    With `remembers_keys`, a request under a key that was used before is the same request.
    """

    funded: int
    remembers_keys: bool = False
    tasks: dict[str, Task] = field(default_factory=dict)
    bodies: list[object] = field(default_factory=list)
    steps: list[tuple[str, Create]] = field(default_factory=list)
    """What happened to each request to create a task, under the name of its job."""
    _run: _Run = field(default_factory=lambda: _Run(Script(), []))
    _runs: dict[str, _Run] = field(default_factory=dict)
    _tasks_of_keys: dict[str, Task] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def balance(self) -> int:
        """What was paid in and not yet charged."""
        return self.funded - self.charged

    @property
    def charged(self) -> int:
        """What all tasks together were charged."""
        return sum(task.charged for task in self.tasks.values())

    @property
    def reserved(self) -> int:
        """What is set aside for the tasks that have not ended."""
        return sum(task.reserved for task in self.tasks.values() if not task.has_ended)

    @property
    def available(self) -> int:
        """What a new task may cost."""
        return self.balance - self.reserved

    @property
    def upcoming(self) -> Script:
        """The script of the job that requests are about now."""
        return self._run.script

    def next_job(self, script: Script) -> None:
        """Say what will become of the requests from now on, until the next call."""
        with self._lock:
            self._run = _Run(script, list(script.create))

    def create(
        self, body: object, price: int, new_id: Callable[[int], str], key: str | None = None
    ) -> tuple[Create, Task | None]:
        """Act on a request to create a task; return what happens and the task it is about."""
        with self._lock:
            self.bodies.append(body)
            known = self._tasks_of_keys.get(key) if key and self.remembers_keys else None
            if known is not None and known.body != body:
                return Create.CONFLICT, None
            run = self._run_of(key)
            step = run.create.pop(0) if run.create else Create.TAKE
            self.steps.append((run.script.name, step))
            if not step.takes:
                return step, None
            if known is not None:
                return step, known
            return self._taken(step, run.script, body, price, new_id, key)

    def _run_of(self, key: str | None) -> _Run:
        # A key that comes back, perhaps much later, is still the job that it first came with.
        if key is None or not self.remembers_keys:
            return self._run
        return self._runs.setdefault(key, self._run)

    def _taken(
        self,
        step: Create,
        script: Script,
        body: object,
        price: int,
        new_id: Callable[[int], str],
        key: str | None,
    ) -> tuple[Create, Task | None]:
        reserved = price if script.reserved is None else script.reserved
        if self.available < reserved:
            return Create.POOR, None
        task = Task(new_id(len(self.tasks) + 1), script, body, reserved, list(script.polls))
        self.tasks[task.id] = task
        if key and self.remembers_keys:
            self._tasks_of_keys[key] = task
        return step, task

    def poll(self, task: Task) -> Poll | End:
        """Answer one question after a task; the end is told when its script has run out."""
        with self._lock:
            if task.polls:
                return task.polls.pop(0)
            if task.script.end is End.NEVER:
                return Poll.WORK
            self._end(task)
            return task.script.end

    def finish(self) -> None:
        """Let every task end that will: a gateway goes on working when nobody asks."""
        with self._lock:
            for task in self.tasks.values():
                if task.script.end is not End.NEVER:
                    self._end(task)

    @staticmethod
    def _end(task: Task) -> None:
        if task.has_ended:
            return
        task.has_ended = True
        if task.script.is_charged:
            settled = task.script.settled
            task.charged = task.reserved if settled is None else settled

    def of(self, name: str) -> list[Task]:
        """The tasks that were taken for a job."""
        return [task for task in self.tasks.values() if task.name == name]
