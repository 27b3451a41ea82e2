"""Serving: whoever waits for a server learns that it broke, and nothing when it was closed."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from kling_ledger.cli import EXIT_OURS, exit_code
from kling_ledger.serving import Served, ServingError, bind


async def nothing() -> None:
    pass


async def break_down() -> None:
    raise RuntimeError("out of everything")


@contextmanager
def serving(stopping: Callable[[], Awaitable[None]] = nothing, **settings: Any) -> Iterator[Served]:
    bound = bind("127.0.0.1", 0, problem="it cannot be served")
    served = Served(
        Starlette(), bound, name="listener", stopping=stopping, log_level="critical", **settings
    )
    try:
        yield served
    finally:
        served.close(5)
        bound.close()


@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_who_waits_for_a_server_that_breaks_is_told_so():
    # The server calls this about once a second, in the midst of its own work.
    with (
        serving(callback_notify=break_down, timeout_notify=0) as served,
        pytest.raises(ServingError, match="stopped unexpectedly") as broken,
    ):
        served.wait()
    assert str(broken.value.__cause__) == "out of everything"
    assert exit_code(broken.value) == EXIT_OURS == 1


def test_who_waits_for_a_server_that_is_closed_is_told_nothing():
    with serving() as served:
        closing = threading.Timer(0.1, served.close, [5])
        closing.start()
        served.wait()
        closing.join()


def test_a_server_lets_go_of_its_sockets_even_if_its_application_cannot_be_stopped():
    with serving(stopping=break_down) as served, httpx.Client() as client:
        assert client.get(served.url).status_code == 404
        served.close(30)
        with pytest.raises(httpx.ConnectError):
            client.get(served.url)
