"""Pipeline: statements in one message are one transaction, and are prepared once."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from kling_ledger.ledger.engines.pipeline import Pipeline, SilentServerError
from tests.ledgers import plain_url

MAKE = ("CREATE TEMPORARY TABLE thing (name text PRIMARY KEY, size bigint)", ())
COMMIT = ("COMMIT", ())
INSERT = "INSERT INTO thing VALUES ($1, $2)"
COUNT = ("SELECT count(*) AS n FROM thing", ())
PREPARED = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'kling_ledger_%'"


@pytest.fixture
def connection(postgres_ledger: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(plain_url(postgres_ledger), autocommit=True) as opened:
        yield opened


@pytest.fixture
def pipeline(connection: psycopg.Connection) -> Pipeline:
    made = Pipeline(connection)
    made.run(MAKE)
    return made


def prepared(connection: psycopg.Connection) -> int:
    row = connection.execute(PREPARED).fetchone()
    assert row is not None
    return int(row[0])


def test_each_statement_has_its_own_answer(pipeline):
    made, counted, named = pipeline.run(
        (INSERT, ("clip", 5)),
        COUNT,
        ("SELECT name, size, $1::bigint AS given FROM thing", (None,)),
    )
    assert made.count == 1
    assert made.rows() == []
    assert counted.rows() == [{"n": 1}]
    assert named.rows() == [{"name": "clip", "size": 5, "given": None}]


def test_what_is_sent_together_is_one_transaction(pipeline):
    with pytest.raises(errors.UniqueViolation):
        pipeline.run((INSERT, ("a", 1)), (INSERT, ("b", 2)), (INSERT, ("a", 3)), COUNT)
    assert pipeline.is_idle
    assert pipeline.run(COUNT)[0].rows() == [{"n": 0}]


def test_an_open_transaction_holds_several_messages_and_can_be_rolled_back(pipeline):
    pipeline.run(("BEGIN", ()), (INSERT, ("a", 1)))
    assert not pipeline.is_idle
    assert pipeline.run((INSERT, ("b", 2)), COUNT)[1].rows() == [{"n": 2}]
    pipeline.roll_back()
    assert pipeline.is_idle
    assert pipeline.run(COUNT)[0].rows() == [{"n": 0}]


def test_a_text_is_prepared_once_however_often_it_is_sent_or_refused(pipeline, connection):
    before = prepared(connection)
    for number in range(5):
        pipeline.run((INSERT, (f"clip {number}", number)), (INSERT, (f"more {number}", number)))
        with pytest.raises(errors.UniqueViolation):
            pipeline.run(COUNT, (INSERT, ("clip 0", 0)))
    assert prepared(connection) == before + 2


def test_a_text_that_is_no_statement_is_an_error_and_leaves_the_rest_usable(pipeline):
    with pytest.raises(errors.SyntaxError):
        pipeline.run(COUNT, ("SELEC 1", ()))
    with pytest.raises(errors.SyntaxError):
        pipeline.run(("SELEC 1", ()))
    assert pipeline.run(COUNT)[0].rows() == [{"n": 0}]


def test_a_begin_comes_before_everything_else_of_its_message(pipeline, connection):
    connection.execute("SET default_transaction_isolation = serializable")
    level = ("SHOW transaction_isolation", ())
    _, _, told, _ = pipeline.run(("BEGIN ISOLATION LEVEL READ COMMITTED", ()), COUNT, level, COMMIT)
    assert told.rows() == [{"transaction_isolation": "read committed"}]


def test_behind_a_pooler_nothing_is_prepared(connection):
    pooled = Pipeline(connection, is_pooled=True)
    before = prepared(connection)
    pooled.run(MAKE, (INSERT, ("clip", 5)), (INSERT, ("other", None)))
    assert pooled.run(COUNT)[0].rows() == [{"n": 2}]
    assert prepared(connection) == before


def test_a_server_that_takes_too_long_is_given_up(pipeline):
    with pytest.raises(SilentServerError):
        pipeline.run(("SELECT pg_sleep(20)", ()), within_s=0.3)
    assert not pipeline.is_idle
    pipeline.close()


def test_a_connection_that_was_ended_while_idle_is_known_not_to_be_alive(pipeline, connection):
    assert pipeline.is_alive
    with psycopg.connect(connection.info.dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (connection.info.backend_pid,))
    assert not pipeline.is_alive
    pipeline.close()


def test_more_than_fits_into_one_packet_arrives_whole(pipeline):
    rows = [(INSERT, (f"{number:0>5000}", number)) for number in range(500)]
    answers = pipeline.run(*rows, COUNT)
    assert answers[-1].rows() == [{"n": 500}]
    assert [answer.count for answer in answers[:-1]] == [1] * 500


def test_a_connection_that_the_server_ended_is_an_error_and_not_idle(pipeline, connection):
    with psycopg.connect(connection.info.dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (connection.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        pipeline.run(COUNT)
    assert not pipeline.is_idle
    pipeline.roll_back()
    pipeline.close()
