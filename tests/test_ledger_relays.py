"""Relays: where a client wants to be called is kept once, and proven by an address of ours."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kling_ledger.errors import ConflictError, NotFoundError
from kling_ledger.ledger import Ledger
from tests.ledgers import found, unchanged, usd

URL = "https://example.com/hook?token=secret"


@pytest.fixture
def ledger(empty_url: str) -> Iterator[Ledger]:
    with Ledger(empty_url, actor="ada") as opened:
        opened.wallets.create("team", "USD")
        opened.wallets.fund("team", usd("10"))
        yield opened


def test_an_address_is_kept_with_its_reservation(ledger: Ledger):
    one, other = ledger.reserve("team", usd("1")), ledger.reserve("team", usd("1"))
    ledger.reservations.relay_to(one.id, URL)
    assert ledger.reservations.relay_of(one.id) == URL
    assert ledger.reservations.relay_of(other.id) is None


def test_it_is_set_once(ledger: Ledger):
    one = ledger.reserve("team", usd("1"))
    ledger.reservations.relay_to(one.id, URL)
    with unchanged(ledger):
        ledger.reservations.relay_to(one.id, URL)
    with unchanged(ledger), pytest.raises(ConflictError) as refused:
        ledger.reservations.relay_to(one.id, "https://example.com/other")
    assert "secret" not in str(refused.value)


def test_of_many_that_set_it_at_once_one_does(ledger: Ledger):
    one = ledger.reserve("team", usd("1"))

    def keep(number: int) -> bool:
        try:
            ledger.reservations.relay_to(one.id, f"https://example.com/{number}")
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(keep, range(8)))
    assert kept.count(True) == 1
    assert ledger.reservations.relay_of(one.id) == f"https://example.com/{kept.index(True)}"
    assert len(found(ledger, "SELECT 1 AS one FROM callback_relay")) == 1


def test_there_is_none_of_no_reservation(ledger: Ledger):
    with unchanged(ledger), pytest.raises(NotFoundError):
        ledger.reservations.relay_to("res_none", URL)
    assert ledger.reservations.relay_of("res_none") is None


def test_a_proof_is_of_one_address_in_one_ledger(ledger: Ledger, tmp_path):
    proof = ledger.reservations.relay_proof(URL)
    assert len(proof) == 32
    assert int(proof, 16)
    assert ledger.reservations.relay_proof(URL) == proof
    assert ledger.reservations.relay_proof(URL + "0") != proof
    with Ledger(str(tmp_path / "other.sqlite")) as other:
        assert other.reservations.relay_proof(URL) != proof
