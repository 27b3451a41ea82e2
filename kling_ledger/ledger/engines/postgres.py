"""PostgreSQL: a server, many clients, READ COMMITTED, one round trip for most transactions.

An operation is first tried beside others: it reads, then sends all its changes in one message, and
a change that misses its expectation undoes all of them. If that fails, the operation runs again
alone, where nothing that it read can change. Running alone means holding a lock exclusively that
every other transaction of the ledger shares.

A single caller writes by itself; many threads write together (`lanes.py`). An interrupted caller
drops its connection, and the server undoes what was not committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import psycopg
from psycopg import errors as pg_errors

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger.engines import assumptions
from kling_ledger.ledger.engines.connecting import Address, read_address
from kling_ledger.ledger.engines.lanes import Lanes
from kling_ledger.ledger.engines.lost import (
    PATIENCE_S,
    STALE,
    Doubts,
    LostAnswerError,
    Trouble,
    insist,
    trouble_of,
)
from kling_ledger.ledger.engines.pipeline import Pipeline
from kling_ledger.ledger.engines.postgres_transaction import (
    Alone,
    Together,
    lock_key,
)
from kling_ledger.ledger.engines.spares import Spares
from kling_ledger.ledger.engines.transaction import (
    Batch,
    NothingDoneError,
    Outcome,
    Transaction,
)
from kling_ledger.ledger.schema import EXPECTATION_FAILED
from kling_pricing.errors import KlingError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from kling_ledger.ledger.engines.transaction import InTurn
    from kling_ledger.ledger.engines.writer import Writer

Item = TypeVar("Item")
Result = TypeVar("Result")

_READ: Final = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ())
_OVERTAKEN: Final = (
    # A constraint may fail before the expectation that another client has overtaken.
    pg_errors.IntegrityError,
    pg_errors.SerializationFailure,
    pg_errors.DeadlockDetected,
)
_OLDEST: Final = (
    "SELECT application_name, date_trunc('second', xact_start) AS since FROM pg_stat_activity"
    " WHERE pid <> pg_backend_pid() AND datname = current_database() AND xact_start IS NOT NULL"
    " AND (backend_xid IS NOT NULL OR pid IN"
    " (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted))"
    " ORDER BY xact_start LIMIT 1"
)
"""The session that has been writing, or blocking writers, for longest."""


class PostgresServer:
    """A ledger's database on a server."""

    dialect: Final = "postgresql"

    def __init__(self, written: str) -> None:
        self._address: Address = read_address(written)
        self.name = self._address.name
        self._pipelines = Spares(
            self._connect,
            is_idle=lambda pipeline: pipeline.is_idle,
            is_alive=lambda pipeline: pipeline.is_alive,
        )
        self._lanes = Lanes(self.write, self._write_merged, self.write_in_turn)
        self._is_pooled = False
        self._was_reached = False

    @property
    def is_pooled(self) -> bool:
        """Whether there is a pooler in between: known after the first connection."""
        return self._is_pooled

    def close(self) -> None:
        """Give back every connection."""
        self._lanes.close()
        self._pipelines.close()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a transaction that sees one consistent state and writes nothing."""
        with ExitStack() as lent:
            pipeline = self._insist(partial(self._reading, lent), Doubts())
            try:
                yield Alone(pipeline)
            finally:
                pipeline.roll_back()

    @contextmanager
    def whole(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a separate connection that sees one state of everything, to copy it all."""
        with closing(self._address.connect(autocommit=True)) as connection:
            connection.execute(_READ[0])
            yield connection

    def write(self, operation: Callable[[Transaction], Result]) -> Result:
        """Run an operation in a transaction: all of it happens, or nothing if it raises."""
        return self._once(operation, self._written)

    def write_batch(self, batch: Batch[Item, Result]) -> Callable[[int], Result]:
        """Write a batch, perhaps merged with others of its kind; return what gives its results."""
        return self._lanes.run(batch)

    def writer_of(self, batch: Batch[Any, Any]) -> Writer:
        """Return the thread that writes a batch for those who cannot wait themselves."""
        return self._lanes.writer_of(batch)

    def write_in_turn(self, batches: Sequence[Batch[Any, Any]]) -> Sequence[Outcome]:
        """Decide the batches of several callers one after another, while nobody else writes."""
        in_turn = cast("InTurn", batches[0].in_turn)
        try:
            outcomes = self._once(lambda transaction: in_turn(transaction, batches), self._alone)
        except NothingDoneError as nothing:
            return nothing.outcomes
        return outcomes()

    def check(self) -> None:
        """Check that a ledger can rely on the server. Raises DatabaseError."""
        with self._pipelines.lent() as first, self._pipelines.lent() as second:
            if not first.is_read_only:
                assumptions.check(first, second, name=self.name)

    @contextmanager
    def schema(self) -> Iterator[Connection]:
        """Open a transaction to change the tables themselves; nobody else writes meanwhile."""
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: self._address.connect(autocommit=False),
            poolclass=NullPool,
        )
        with engine.begin() as connection:
            found = connection.exec_driver_sql("SELECT current_schema()").scalar()
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock_key(str(found))})")
            yield connection

    def _insist(self, once: Callable[[], Result], doubts: Doubts) -> Result:
        # The address of a server that was never reached may be wrong: do not wait for it.
        patience_s = PATIENCE_S if self._was_reached else 0.0
        return insist(once, doubts, name=self.name, held_by=self._held_by, patience_s=patience_s)

    def _write_merged(self, batch: Batch[Item, Result]) -> Callable[[int], Result]:
        """Write the batches of several callers, tried only once: each needs its own answer."""
        return self._once(batch, self._together)

    def _once(
        self,
        operation: Callable[[Transaction], Result],
        write: Callable[[Pipeline, Callable[[Transaction], Result]], Result],
    ) -> Result:
        doubts = Doubts()
        return self._insist(partial(self._tried, operation, write, doubts), doubts)

    def _reading(self, lent: ExitStack) -> Pipeline:
        with ExitStack() as begun:
            pipeline = begun.enter_context(self._pipelines.lent())
            pipeline.run(_READ)
            lent.push(begun.pop_all())
        return pipeline

    def _tried(
        self,
        operation: Callable[[Transaction], Result],
        write: Callable[[Pipeline, Callable[[Transaction], Result]], Result],
        doubts: Doubts,
    ) -> Result:
        """Run an operation unless an earlier try was done after all."""
        with self._pipelines.lent() as pipeline:
            if pipeline.is_read_only:
                raise DatabaseError(f"{self.name} is read-only", hint="use the primary server")
            if (done := doubts.resolved(pipeline)) is not None:
                return done.value  # type: ignore[no-any-return]
            try:
                return write(pipeline, operation)
            except LostAnswerError as lost:
                doubts.lost.append(lost)
                raise
            except STALE:
                self._is_pooled = True
                raise
            except (KlingError, psycopg.IntegrityError):
                if not doubts.lost:
                    raise
                # It may be refused now because an earlier try was done.
                done = doubts.settled(pipeline, self.name)
                if done is None:
                    raise
                return done.value  # type: ignore[no-any-return]

    def _written(self, pipeline: Pipeline, operation: Callable[[Transaction], Result]) -> Result:
        try:
            return self._together(pipeline, operation)
        except KlingError:
            # A refused call may be a repeat of an earlier one: only its key can tell.
            pass
        except psycopg.Error as error:
            if error.sqlstate != EXPECTATION_FAILED and not isinstance(error, _OVERTAKEN):
                raise
            pipeline.roll_back()
        return self._alone(pipeline, operation)

    def _together(self, pipeline: Pipeline, operation: Callable[[Transaction], Result]) -> Result:
        transaction = Together(pipeline)
        result = operation(transaction)
        self._committed(pipeline, transaction, result)
        return result

    def _alone(self, pipeline: Pipeline, operation: Callable[[Transaction], Result]) -> Result:
        transaction = Alone(pipeline)
        try:
            transaction.begin()
            result = operation(transaction)
            self._committed(pipeline, transaction, result)
        except BaseException:
            pipeline.roll_back()
            raise
        return result

    def _committed(self, pipeline: Pipeline, transaction: Together | Alone, result: object) -> None:
        """Commit. Raises LostAnswerError if it is unknown whether that was done."""
        try:
            transaction.commit()
        except psycopg.Error as error:
            if trouble_of(error) is not Trouble.AWAY:
                raise
            application = None if pipeline.is_pooled else pipeline.application
            raise LostAnswerError(transaction.mark, result, application=application) from error

    def _held_by(self) -> str | None:
        """Name the session that has held the needed lock longest, as far as the server tells."""
        try:
            with self._pipelines.lent() as pipeline:
                found = pipeline.run((_OLDEST, ()))[0].rows()
        except psycopg.Error:
            return None
        if not found:
            return "another session holds a lock that this needs"
        who = found[0]["application_name"] or "a program of another user"
        return f"{who} has held a lock that this needs since {found[0]['since']}"

    def _connect(self) -> Pipeline:
        pipeline = self._address.pipeline()
        self._was_reached = True
        self._is_pooled = pipeline.is_pooled = pipeline.is_pooled or self._is_pooled
        return pipeline
