"""Columns: which column of a bill holds what. A person's answer comes first; nothing is guessed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from kling_ledger.errors import BillQuestionError, ConfigError
from kling_ledger.evidence.entries import Kind
from kling_ledger.evidence.reading.grid import Grid, listed
from kling_ledger.evidence.reading.names import (
    BALANCES,
    ITEMS,
    TASK_FOR_CERTAIN,
    by_name,
    is_credits,
    is_currency,
    means,
    names_of,
    other_unit,
)
from kling_ledger.evidence.reading.numbers import is_nothing, read_amount, unguarded
from kling_ledger.evidence.reading.words import FAR_FROM_CERTAIN, Words, is_certain
from kling_ledger.tabular.cells import Written

_STATE_NAMES: Final = ("status", "state", "result", "outcome", "状态", "结果")


def find_columns(
    grid: Grid, *, unit: str, known_tasks: Collection[str], words: Words
) -> dict[str, str]:
    """Return the column of each field, by our names; `item` is the one that tells parts apart.

    Raises BillQuestionError if the task, amount, state or kind may be in several columns, or the
    task or amount in none, and ConfigError for an amount in another currency.
    """
    found = dict(grid.mapped)
    if "task_id" not in found:
        found["task_id"] = _task(grid, known_tasks)
    if "amount" not in found:
        found["amount"] = _amount(grid, unit, taken=found["task_id"])
    _refuse_other_unit(grid, found["amount"], unit, is_said="amount" in grid.mapped)
    for ours, column in (
        ("state", _state(grid, words, taken=found.values())),
        ("unit", _unit(grid, found.values())),
        ("created_at", _first(grid, "created_at", found.values())),
        ("model", _first(grid, "model", found.values())),
    ):
        if ours not in found and column is not None:
            found[ours] = column
    kind = found.get("kind") or _kind(grid, words, taken=found.values())
    if kind is not None:
        found["kind"] = kind
    free = [column for column in grid.columns if column not in found.values()]
    item = next((column for column in free if ITEMS.intersection(names_of(column))), None)
    return found if item is None else {**found, "item": item}


def _first(grid: Grid, ours: str, taken: Collection[str]) -> str | None:
    named = [one for one in by_name(grid.columns, ours) if one not in taken]
    return next((one for one in named if grid.sample(one)), None)


def _unit(grid: Grid, taken: Collection[str]) -> str | None:
    """Return the column of units: by its name, or because it holds nothing but currencies."""
    named = _first(grid, "unit", taken)
    if named is not None:
        return named
    free = [one for one in grid.columns if one not in taken and grid.sample(one)]
    return next((one for one in free if _holds_currencies(grid, one)), None)


def _holds_currencies(grid: Grid, column: str) -> bool:
    return all(is_currency(cell) for cell in set(grid.cells(column)) if cell)


# --- the task -------------------------------------------------------------------------------


def _task(grid: Grid, known_tasks: Collection[str]) -> str:
    """Return the column that holds tasks that we know; otherwise the one whose name says task."""
    candidates = [column for column in by_name(grid.columns, "task_id") if grid.sample(column)]
    holding = _holding(grid, known_tasks)
    if len(holding) == 1:
        return next(iter(holding))
    if len(holding) > 1:
        if len(set(holding.values())) == 1:
            same = [column for column in candidates if column in holding]
            if len(same) == 1:
                return same[0]
        candidates = list(holding)
    elif not grid.rows:
        candidates = by_name(grid.columns, "task_id")[:1]
    if len(candidates) == 1 and not (len(holding) > 1):
        (only,) = candidates
        if not grid.rows or set(TASK_FOR_CERTAIN).intersection(names_of(only)):
            return only
    raise _which(grid, "task_id", candidates)


def _holding(grid: Grid, known_tasks: Collection[str]) -> dict[str, frozenset[str]]:
    """Return the columns that hold tasks that we know, with those tasks.

    Columns named for something else count only if there are no others: an amount may look like the
    number of a task.
    """
    known = frozenset(known_tasks)
    held = {}
    for column in grid.columns if known else ():
        values = {unguarded(cell) for cell in grid.cells(column) if cell}
        if found := known.intersection(values) | known.intersection(grid.cells(column)):
            held[column] = found
    likely = {column: found for column, found in held.items() if not _is_named_otherwise(column)}
    return likely or held


def _is_named_otherwise(column: str) -> bool:
    if means(column, "task_id"):
        return False
    others = ("amount", "unit", "state", "kind", "created_at", "model")
    return any(means(column, ours) for ours in others) or _is_balance(column)


def _is_balance(column: str) -> bool:
    return bool(BALANCES.intersection(names_of(column)))


def _which(grid: Grid, ours: str, candidates: Sequence[str]) -> BillQuestionError:
    what = {"task_id": "names the task", "amount": "is the amount", "state": "is the state"}[ours]
    told = listed(
        f"{column} ({grid.sample(column)})" if grid.sample(column) else column
        for column in candidates or grid.columns
    )
    best = [column for column in candidates if column.lower() != "id"] or [*candidates, "NAME"]
    return BillQuestionError(
        f"{grid.name}: which column {what}: {told}?",
        settles="columns",
        example=f"{ours}={best[0]}",
        hint=f"name the column that {what}",
    )


# --- the amount -----------------------------------------------------------------------------


def _amount(grid: Grid, unit: str, *, taken: str) -> str:
    """Return the one column that is named as an amount in this unit and holds amounts."""
    named = [
        column
        for column in by_name(grid.columns, "amount")
        if column != taken and not _is_balance(column)
    ]
    own = [column for column in named if other_unit(column, unit) is None] or named
    fitting = [column for column in own if grid.sample(column) and _holds_amounts(grid, column)]
    fitting = fitting or own
    if fitting and all(grid.cells(one) == grid.cells(fitting[0]) for one in fitting):
        return fitting[0]
    raise _which(grid, "amount", fitting)


def _holds_amounts(grid: Grid, column: str) -> bool:
    return all(
        is_nothing(cell) or type(cell) is Written or read_amount(cell) is not None
        for cell in grid.cells(column)
    )


def _refuse_other_unit(grid: Grid, column: str, unit: str, *, is_said: bool) -> None:
    """Refuse an amount column that names another unit; a person may choose one named credits."""
    told = other_unit(column, unit)
    if told is None or (is_said and is_credits(told)):
        return
    problem = f"{grid.name}: column {column}: its unit is {told}, the provider charges in {unit}"
    if not is_credits(told):
        raise ConfigError(problem)
    raise BillQuestionError(
        problem,
        settles="columns",
        example=f"amount={column}",
        hint="name the column of the amount; name this one if its credits are in that unit",
    )


# --- states and kinds -----------------------------------------------------------------------


def _state(grid: Grid, words: Words, *, taken: Collection[str]) -> str | None:
    """Return the column of states: by its name, or by the end of its name and its words."""
    if "state" in grid.mapped:
        return None
    named = [one for one in by_name(grid.columns, "state") if one not in taken and grid.sample(one)]
    if not named:
        named = [
            column
            for column in grid.columns
            if column not in taken
            and any(name.endswith(_STATE_NAMES) for name in names_of(column))
            and _says_states(grid, column, words)
        ]
    if len(named) > 1:
        named = [column for column in named if _says_states(grid, column, words)] or named
    if not named:
        return None
    if all(grid.cells(one) == grid.cells(named[0]) for one in named):
        return named[0]
    raise _which(grid, "state", named)


def _says_states(grid: Grid, column: str, words: Words) -> bool:
    return any(cell and words.meaning(cell) is not None for cell in set(grid.cells(column)))


def _kind(grid: Grid, words: Words, *, taken: Collection[str]) -> str | None:
    """Return the column that says what each row is: its words decide, and its name may help."""
    free = [column for column in grid.columns if column not in taken and grid.sample(column)]
    found = []
    for column in free:
        said = {cell for cell in grid.cells(column) if not is_nothing(cell)}
        kinds = {word for word in said if words.kind(word) is not None}
        if not kinds:
            continue
        unknown = words.unknown(sorted(said), as_kinds=True)
        if means(column, "kind"):
            _ask_for_words(grid, column, unknown or _doubtful(kinds, words))
            found.append(column)
        elif not unknown and _tells_kinds(kinds, words):
            found.append(column)
    found = [one for one in found if means(one, "kind")] or found
    if not found or all(grid.cells(one) == grid.cells(found[0]) for one in found):
        return next(iter(found), None)
    raise BillQuestionError(
        f"{grid.name}: which column has the kind of each row: {listed(found)}?",
        settles="columns",
        example=f"kind={found[0]}",
        hint="name the column of the kind",
    )


def _doubtful(kinds: Collection[str], words: Words) -> list[str]:
    """Return all the words if none of them is clear by itself; otherwise none."""
    if any(is_certain(word) or words.is_said(word) for word in kinds):
        return []
    return sorted(kinds)


def _tells_kinds(kinds: Collection[str], words: Words) -> bool:
    """Whether a column of any name holds kinds: charges and others, or nothing but refunds."""
    found = {words.kind(word) for word in kinds}
    if any(is_certain(word) and words.kind(word) is Kind.CHARGE for word in kinds):
        return len(found) > 1
    return found == {Kind.REFUND} and all(map(is_certain, kinds))


def _ask_for_words(grid: Grid, column: str, unknown: Sequence[str]) -> None:
    if unknown:
        raise ask_for_words(grid, column, unknown)


def ask_for_words(grid: Grid, column: str, unknown: Sequence[str]) -> BillQuestionError:
    """Return the question about what some words of a column mean."""
    place = next(place for place, cell in grid.placed(column) if cell == unknown[0])
    others = f" and {', '.join(unknown[1:3])}" if len(unknown) > 1 else ""
    is_kind = unknown[0].lower() in FAR_FROM_CERTAIN or means(column, "kind")
    return BillQuestionError(
        f"{grid.name}: {place}: what does {unknown[0]!r}{others} in column {column} mean?",
        settles="words",
        example=f"{unknown[0]}={'charge' if is_kind else 'failed'}",
        hint="give the meaning of the word",
    )
