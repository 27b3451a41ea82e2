"""What a batch says of the time to go."""

from __future__ import annotations

import pytest

from kling_ledger.cli.batch_progress import _span


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (0.001, "1 s"), (1.0, "1 s"), (59.2, "1 min 0 s"), (3599.5, "1 h 0 min")],
)
def test_as_long_as_something_is_left_it_takes_a_moment(seconds: float | None, said: str):
    assert _span(seconds) == said
