"""Bills for tests: a text is written down, read, and told as short lines."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.errors import BillQuestionError, ConfigError
from kling_ledger.evidence.entries import Entry
from kling_ledger.evidence.reading import Answers, Bill, read_bill
from kling_pricing.money import plain_or_none

UNIT = "crun-credit"
CASES = Path(__file__).parent / "cases" / "bills"


def bill_of(folder: Path, text: str | bytes, *, unit: str = UNIT, **more: Any) -> Bill:
    """Read a bill; `known` are known tasks, `answers` or single answers what a person said."""
    path = folder / "bill"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    known, answers = more.pop("known", ()), more.pop("answers", None)
    return read_bill(path, unit=unit, known_tasks=known, answers=answers or Answers(**more))


def told(entry: Entry) -> tuple[str, str | None, str | None, str | None]:
    """Tell an entry as its kind, task, amount and state."""
    state = None if entry.state is None else str(entry.state)
    return (str(entry.kind), entry.task_id, plain_or_none(entry.amount), state)


def lines(folder: Path, text: str | bytes, **more: Any) -> list[tuple[Any, ...]]:
    """Read a bill and tell each of its entries."""
    return [told(entry) for entry in bill_of(folder, text, **more).entries]


def sums(bill: Bill) -> dict[str | None, Decimal]:
    """Return what the charges, parts, adjustments and refunds of each task come to."""
    costs: dict[str | None, Decimal] = {}
    for entry in bill.entries:
        if entry.kind in {"charge", "item", "refund", "adjustment"} and entry.amount is not None:
            costs[entry.task_id] = costs.get(entry.task_id, Decimal(0)) + entry.amount.amount
    return costs


def question(folder: Path, text: str | bytes, **more: Any) -> BillQuestionError:
    """Return the question that a bill leads to: one sentence, with the file and an example."""
    with pytest.raises(BillQuestionError) as asked:
        bill_of(folder, text, **more)
    error = asked.value
    assert str(folder / "bill") in error.message
    assert "--" not in f"{error.message}{error.hint}"
    return error


def refusal(folder: Path, text: str | bytes, **more: Any) -> str:
    """Return why a bill cannot be read, whatever a person said."""
    with pytest.raises(ConfigError) as refused:
        bill_of(folder, text, **more)
    assert not isinstance(refused.value, BillQuestionError)
    assert str(folder / "bill") in refused.value.message
    return refused.value.message
