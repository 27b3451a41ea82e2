"""Spares: connections are kept for the next caller, and broken ones are not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from kling_ledger.ledger.engines.spares import MOST, Spares

PATIENCE_S = 30


class Line:
    """Something that can be lent."""

    def __init__(self) -> None:
        self.is_open = True
        self.is_idle = True

    def close(self) -> None:
        self.is_open = False

    def fail(self) -> None:
        self.is_idle = False
        raise ValueError("refused")


@pytest.fixture
def made() -> list[Line]:
    return []


@pytest.fixture
def spares(made: list[Line]) -> Spares[Line]:
    def connect() -> Line:
        made.append(Line())
        return made[-1]

    return Spares(connect, is_idle=lambda line: line.is_idle)


def test_what_came_back_is_lent_again(spares, made):
    for _ in range(3):
        with spares.lent():
            pass
    assert len(made) == 1


def test_two_at_a_time_have_one_each(spares, made):
    with spares.lent() as first, spares.lent() as second:
        assert first is not second
    assert all(line.is_open for line in made)


def test_after_an_error_an_idle_one_is_kept(spares, made):
    with pytest.raises(ValueError, match="refused"), spares.lent():
        raise ValueError("refused")
    with spares.lent():
        pass
    assert len(made) == 1


def test_after_an_error_one_in_the_middle_of_something_is_closed(spares, made):
    with pytest.raises(ValueError, match="refused"), spares.lent() as line:
        line.fail()
    with spares.lent():
        pass
    assert [line.is_open for line in made] == [False, True]


def test_after_ctrl_c_one_is_closed_whatever_it_says(spares, made):
    with pytest.raises(KeyboardInterrupt), spares.lent():
        raise KeyboardInterrupt
    assert [line.is_open for line in made] == [False]


def test_one_that_cannot_be_made_leaves_its_place_free(made):
    def refuse() -> Line:
        raise OSError("no route")

    spares = Spares(refuse, is_idle=lambda line: line.is_idle)
    for _ in range(MOST + 1):
        with pytest.raises(OSError, match="no route"), spares.lent():
            pass


def test_who_finds_all_of_them_lent_waits_for_one(spares, made):
    may_go = Event()

    def use(_: int) -> None:
        with spares.lent():
            may_go.wait(PATIENCE_S)

    with ThreadPoolExecutor(MOST + 1) as threads:
        users = [threads.submit(use, number) for number in range(MOST)]
        while len(made) < MOST:
            pass
        late = threads.submit(use, MOST)
        assert not late.done()
        may_go.set()
        for user in (*users, late):
            user.result(PATIENCE_S)
    assert len(made) == MOST


def test_closing_closes_all_that_wait(spares, made):
    with spares.lent(), spares.lent():
        pass
    spares.close()
    assert [line.is_open for line in made] == [False, False]
