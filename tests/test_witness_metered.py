"""RunAPI's own published client, metered, against the witness."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from runapi.core import (
    ClientOptions,
    Error,
    HttpClient,
    RequestOptions,
    TaskFailedError,
    ValidationError,
)
from runapi.kling import KlingClient

from kling_ledger.errors import RefusedError
from tests.witness.account import Create, End, Poll, Script
from tests.witness.runapi import JULY
from tests.witness_ledger import (
    KEYS,
    TYPICAL,
    Bench,
    Opens,
    check_agrees,
    check_given_back,
    check_in_doubt,
    metered_client,
    opening,
    request_body,
)

Clients = Callable[..., Any]
BODY = request_body(TYPICAL["runapi"])


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opens]:
    with opening(tmp_path) as opens:
        yield opens


@pytest.fixture
def client_of() -> Iterator[Callable[..., Any]]:
    """Makes a metered client of a bench, and closes it after the test."""
    with ExitStack() as stack:

        def make(found: Bench, **options: Any) -> Any:
            # Its pauses between two tries are half a second and more.
            client = KlingClient(
                KEYS["runapi"], base_url=found.url, retry_base_delay=0.01, **options
            )
            stack.callback(client._http.close)
            return metered_client(found, client)

        yield make


def only_job(found: Bench) -> Any:
    (job,) = found.reservations()
    return job


def test_run_books_what_was_charged(opened: Opens, client_of: Clients) -> None:
    found = opened("runapi")
    result = client_of(found).text_to_video.run(**BODY)
    check_agrees(found, only_job(found))
    assert result.usage.cost == 0.675
    assert result.videos[0].url == only_job(found).videos[0]


def test_credits_are_held_from_create_until_the_end_is_seen(
    opened: Opens, client_of: Clients
) -> None:
    found = opened("runapi")
    client = client_of(found)
    found.account.next_job(Script(polls=(Poll.WAIT, Poll.WORK)))
    task = client.text_to_video.create(**BODY)
    for expected in ("pending", "processing"):
        assert client.text_to_video.get(task.id).status == expected
        assert found.standing() == (0, 680_000)
    assert client.text_to_video.get(task.id).status == "completed"
    check_agrees(found, only_job(found))
    client.text_to_video.get(task.id)
    check_agrees(found, only_job(found))


def test_a_failed_run_raises_the_clients_own_error_and_costs_nothing(
    opened: Opens, client_of: Clients
) -> None:
    found = opened("runapi")
    found.account.next_job(Script(end=End.FAILED))
    with pytest.raises(TaskFailedError, match="flagged"):
        client_of(found).text_to_video.run(**BODY)
    check_given_back(found, only_job(found))


@pytest.mark.parametrize("settled", [1, 333_333, 999_999_999])
def test_a_run_costs_what_the_gateway_names(
    opened: Opens, client_of: Clients, settled: int
) -> None:
    found = opened("runapi")
    found.account.next_job(Script(settled=settled))
    client_of(found).text_to_video.run(**BODY)
    check_agrees(found, only_job(found))


def test_the_other_table_is_held_and_charged_too(opened: Opens, client_of: Clients) -> None:
    found = opened("runapi", table=JULY)
    client_of(found).text_to_video.run(**BODY)
    check_agrees(found, only_job(found))
    assert only_job(found).amount.micro == 1_350_000


def test_a_refusal_raises_the_clients_own_error_and_costs_nothing(
    opened: Opens, client_of: Clients
) -> None:
    found = opened("runapi")
    found.account.next_job(Script(create=(Create.REFUSE,)))
    with pytest.raises(ValidationError):
        client_of(found).text_to_video.create(**BODY)
    check_given_back(found, only_job(found))


def test_a_short_wallet_raises_before_anything_is_sent(opened: Opens, client_of: Clients) -> None:
    found = opened("runapi", funded="0.674999")
    with pytest.raises(RefusedError):
        client_of(found).text_to_video.create(**BODY)
    assert found.account.bodies == []
    assert found.reservations() == []


@pytest.mark.parametrize(
    "step",
    [Create.TAKE_AND_CUT, Create.TAKE_AND_FAIL, Create.TAKE_AND_PROXY_FAILS, Create.CUT],
)
def test_a_lost_reply_is_asked_for_again_under_one_key(
    opened: Opens, client_of: Clients, step: Create
) -> None:
    found = opened("runapi")
    found.account.next_job(Script(create=(step,)))
    client_of(found).text_to_video.run(**BODY)
    check_agrees(found, only_job(found))
    assert len(found.account.bodies) == 2


def test_a_create_that_never_got_an_answer_is_in_doubt_until_recovery(
    opened: Opens, client_of: Clients
) -> None:
    found = opened("runapi")
    found.account.next_job(Script(create=(Create.TAKE_AND_FAIL,) * 3))
    with pytest.raises(Error):
        client_of(found).text_to_video.create(**BODY)
    check_in_doubt(found, only_job(found))
    found.recover()
    check_agrees(found, only_job(found))


def test_a_new_task_may_be_called_as_on_the_page(opened: Opens, client_of: Clients) -> None:
    found = opened("runapi", id_fields=("task_id",))
    client_of(found).text_to_video.run(**BODY)
    check_agrees(found, only_job(found))


def test_who_wants_no_second_try_gets_none(opened: Opens, client_of: Clients) -> None:
    found = opened("runapi")
    found.account.next_job(Script(create=(Create.FAIL,)))
    with pytest.raises(Error):
        client_of(found).text_to_video.create(options=RequestOptions(max_retries=0), **BODY)
    assert len(found.account.bodies) == 1


class Transport:
    """All that the client asks of a transport that is brought to it."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    def request(self, method: str, path: str, body: Any = None, options: Any = None) -> Any:
        return self._http.request(method, path, body=body, options=options)


def test_a_client_may_bring_its_own_transport(opened: Opens) -> None:
    found = opened("runapi")
    http = HttpClient(ClientOptions(api_key=KEYS["runapi"], base_url=found.url))
    client = metered_client(found, KlingClient(KEYS["runapi"], http_client=Transport(http)))
    try:
        client.text_to_video.run(**BODY)
    finally:
        http.close()
    check_agrees(found, only_job(found))
