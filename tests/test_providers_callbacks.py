"""Callbacks: what each provider posts, read without a key, and nothing that breaks the reader."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import pytest

from kling_ledger.errors import CallbackError, ConfigError
from kling_ledger.providers.base import Callback, TaskState
from kling_ledger.providers.registry import read_callback
from kling_pricing import Money
from tests.providers import NAMES, NOW, TASK_ID, speaking

ENDED: Final[dict[str, dict[str, Any]]] = {
    "runapi": {
        "id": TASK_ID,
        "status": "completed",
        "videos": [{"url": "https://v/1.mp4"}],
        "usage": {"cost": 0.675},
    },
    "crun": {
        "task_id": TASK_ID,
        "status": "success",
        "result": {"media_urls": ["https://v/1.mp4"]},
        "credits": 135,
    },
    "evolink": {"id": TASK_ID, "status": "completed", "results": ["https://v/1.mp4"]},
    "uniall": {"task_id": TASK_ID, "status": "completed", "video_url": "https://v/1.mp4"},
}
COSTS: Final = {
    "runapi": Money(Decimal("0.675"), "USD"),
    "crun": Money(Decimal(135), "crun-credit"),
    "evolink": None,
    "uniall": None,
}


def read(name: str, payload: object) -> Callback:
    written = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return read_callback(name, written, now=NOW)


@pytest.mark.parametrize("name", NAMES)
def test_a_callback_names_its_task_and_how_it_ended(name: str):
    callback = read(name, ENDED[name])
    assert (callback.provider, callback.task_id) == (name, TASK_ID)
    assert callback.status.state is TaskState.COMPLETED
    assert callback.status.cost == COSTS[name]
    assert callback.status.videos == ("https://v/1.mp4",)


@pytest.mark.parametrize("name", NAMES)
def test_a_connected_provider_reads_the_same(name: str):
    with speaking(name, (200, {})) as rig:
        connected = rig.provider.read_callback(json.dumps(ENDED[name]).encode())
        assert rig.server.seen == []
    assert connected == read(name, ENDED[name])


@pytest.mark.parametrize(
    ("name", "word", "state"),
    [
        ("runapi", "processing", TaskState.RUNNING),
        ("runapi", "failed", TaskState.FAILED),
        ("crun", "failed", TaskState.FAILED),
        ("evolink", "failed", TaskState.FAILED),
        ("evolink", "cancelled", TaskState.FAILED),
        ("uniall", "failed", TaskState.FAILED),
        *((name, "exploded", TaskState.UNKNOWN) for name in NAMES),
    ],
)
def test_a_callback_means_what_the_same_word_means_when_asked(
    name: str, word: str, state: TaskState
):
    assert read(name, {**ENDED[name], "status": word}).status.state is state


def test_evolinks_links_end_a_day_later():
    assert read("evolink", ENDED["evolink"]).status.videos_expire_at == NOW + timedelta(days=1)


ODD_IDS: Final[list[object]] = ["", " ", "a\nb", True, 1.5, None, []]
ODD: Final[list[object]] = [
    *(b"", b"null", b"[]", b"<html>", b"\xff\xfe", b"{", b"[" * 100_000, b'{"id": NaN}', {}),
    *({"id": odd, "task_id": odd} for odd in ODD_IDS),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("payload", ODD)
def test_what_is_no_callback_is_an_error(name: str, payload: object):
    with pytest.raises(CallbackError):
        read(name, payload)


@pytest.mark.parametrize("name", NAMES)
def test_a_callback_beyond_all_measure_is_not_read(name: str):
    huge = json.dumps({**ENDED[name], "more": "x" * 1024 * 1024}).encode()
    with pytest.raises(CallbackError, match="more than"):
        read(name, huge)


def test_a_provider_that_is_none_has_no_callbacks():
    with pytest.raises(ConfigError, match="no jobs can be submitted to 'fal'"):
        read("fal", {})
