"""Whatever a provider answers or posts: an answer of ours or an error of ours, never a crash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kling_ledger.errors import CallbackError, JobInDoubtError, JobRefusedError, QuestionError
from kling_ledger.providers.base import TaskStatus
from kling_ledger.providers.registry import read_callback
from tests.loopback import HANG_UP
from tests.providers import NAMES, NOW, TASK_ID, Rig, speaking

KEYS: Final = (
    *("id", "task_id", "status", "data", "code", "message", "error", "type", "created"),
    *("credits", "usage", "cost", "credits_reserved", "billing_rule", "progress"),
    *("videos", "url", "results", "result", "result_data", "video_url", "media_urls"),
    *("balance", "balance_cents", "spent_cents_total", "user", "token", "remaining_credits"),
    *("used_credits", "price_quote", "reservation_amount_cents", "currency"),
    *("estimated_credits", "affordable"),
)
WORDS: Final = (
    TASK_ID,
    *("completed", "success", "failed", "running", "per_second", "USD", "available", "https://v"),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False),
    st.sampled_from(WORDS),
    st.text(max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=20,
)
BODIES_OF_ANY_KIND = st.one_of(
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8).map(
        lambda value: json.dumps({"id": TASK_ID, "code": 200, **value}).encode()
    ),
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8).map(
        lambda data: json.dumps({"code": 200, "data": {"task_id": TASK_ID, **data}}).encode()
    ),
    st.binary(max_size=40),
)
STATUSES = st.sampled_from([200, 201, 202, 204, 301, 304, 400, 402, 404, 409, 429, 500, 503])
QUICKLY = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def rigs() -> Iterator[dict[str, Rig]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(speaking(name, HANG_UP)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@QUICKLY
@given(status=STATUSES, body=BODIES_OF_ANY_KIND)
def test_whatever_is_answered_is_understood_or_an_error_of_ours(
    rigs: dict[str, Rig], name: str, status: int, body: bytes
):
    rig = rigs[name]
    # These come without a body, and a server that sends one cannot be spoken to any further.
    rig.server.answers[:] = [(status, b"" if status in {204, 304} else body)]
    with suppress(JobInDoubtError, JobRefusedError):
        assert rig.submit().task_id
    with suppress(QuestionError):
        assert isinstance(rig.poll(), TaskStatus)
    for ask in (rig.provider.balance, rig.estimate):
        with suppress(QuestionError):
            assert ask() is not None


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=80)
@given(body=BODIES_OF_ANY_KIND)
def test_whatever_is_posted_is_understood_or_an_error_of_ours(name: str, body: bytes):
    with suppress(CallbackError):
        status: Any = read_callback(name, body, now=NOW).status
        assert status.cost is None or status.cost.micro >= 0
