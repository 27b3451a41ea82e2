"""The witness itself: it knows nothing of the product, and its account is exact."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.witness.account import Account, Create, End, Poll, Script
from tests.witness.runapi import JULY, JUNE
from tests.witness_ledger import GATEWAYS, KEYS, NAMES, account_for, request_body, request_names

WITNESS = Path(__file__).with_name("witness")
CREDIT = 1_000_000


def imported(path: Path) -> set[str]:
    """The modules that a file imports, those of its own folder left out."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module))
    return found


def test_the_witness_imports_the_standard_library_and_nothing_else() -> None:
    import sys

    modules = {name for path in WITNESS.glob("*.py") for name in imported(path)}
    assert "http.server" in modules, "the scan sees imports"
    foreign = {name for name in modules if name.partition(".")[0] not in sys.stdlib_module_names}
    assert foreign == set()


# Each figure worked out by hand from the gateway's page.
BY_HAND = {
    "crun_customize": 270 * CREDIT,
    "crun_customize_with_element_and_callback": 270 * CREDIT,
    "crun_image": 300 * CREDIT,
    "crun_intelligence": 200 * CREDIT,
    "crun_text": 200 * CREDIT,
    "evolink_multi_shot": 108 * CREDIT,
    "evolink_text": 27 * CREDIT,
    "runapi_text_to_video": 675_000,
}


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_a_published_request_costs_what_its_page_says(name: str) -> None:
    gateway = name.partition("_")[0]
    dialect: Any = GATEWAYS[gateway](account_for(gateway), KEYS[gateway])
    assert dialect.price(request_body(name)) == BY_HAND[name]


def test_every_request_with_a_published_price_is_worked_out_by_hand() -> None:
    assert set(BY_HAND) == {name for name in request_names() if not name.startswith("uniall")}


def test_the_two_tables_of_runapi_differ_by_a_factor_of_two() -> None:
    assert all(JULY[cell] == 2 * JUNE[cell] for cell in JULY)


def named(number: int) -> str:
    return f"task-{number}"


def test_what_is_reserved_is_charged_or_comes_back() -> None:
    account = Account(100)
    for script in (
        Script("kept", settled=7),
        Script("failed", end=End.FAILED),
        Script("punished", end=End.FAILED_AND_CHARGED),
        Script("endless", end=End.NEVER),
    ):
        account.next_job(script)
        account.create({}, 10, named)
    assert (account.balance, account.reserved, account.available) == (100, 40, 60)
    account.finish()
    account.finish()
    assert [task.charged for task in account.tasks.values()] == [7, 0, 10, 0]
    assert (account.balance, account.reserved, account.available) == (83, 10, 73)


def test_a_repeated_key_is_the_same_task_and_other_content_is_a_conflict() -> None:
    account = Account(100, remembers_keys=True)
    account.next_job(Script(create=(Create.TAKE_AND_CUT,)))
    first = account.create({"n": 1}, 10, named, "key")
    again = account.create({"n": 1}, 10, named, "key")
    other = account.create({"n": 2}, 10, named, "key")
    assert (first[0], again[0], other) == (
        Create.TAKE_AND_CUT,
        Create.TAKE,
        (Create.CONFLICT, None),
    )
    assert first[1] is again[1]
    assert len(account.tasks) == 1


def test_without_known_keys_the_same_request_is_charged_twice() -> None:
    account = Account(100)
    for _ in range(2):
        account.create({}, 10, named, "key")
    account.finish()
    assert account.charged == 20


def test_a_task_is_not_taken_for_more_than_is_available() -> None:
    account = Account(15)
    assert account.create({}, 10, named)[0] is Create.TAKE
    assert account.create({}, 10, named) == (Create.POOR, None)


def test_the_end_of_a_task_is_told_after_its_polls() -> None:
    account = Account(100)
    account.next_job(Script(polls=(Poll.WAIT, Poll.CUT)))
    task = account.create({}, 10, named)[1]
    assert task is not None
    assert [account.poll(task) for _ in range(4)] == [
        Poll.WAIT,
        Poll.CUT,
        End.COMPLETED,
        End.COMPLETED,
    ]
    assert account.charged == 10


@pytest.mark.parametrize("name", NAMES)
def test_every_gateway_has_a_word_for_each_state_that_it_can_be_in(name: str) -> None:
    assert {Poll.WAIT, Poll.WORK, End.COMPLETED, End.FAILED} <= set(GATEWAYS[name].words)


def test_the_published_requests_are_read_as_they_stand() -> None:
    assert len(request_names()) == 11
    assert all(json.dumps(request_body(name)) for name in request_names())
