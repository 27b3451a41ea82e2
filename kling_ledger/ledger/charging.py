"""Charging: a function that reserves for each of its calls, plain or `async def`.

Anything that does its work only after the call has returned, such as a generator, is refused: its
block would be over before anything was sent.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from kling_ledger.ledger.reserving import Reserving
from kling_pricing.money import Money
from kling_pricing.quote import Quote

if TYPE_CHECKING:
    from kling_ledger.ledger.areserving import AsyncReserving

Result = TypeVar("Result")
Cost = Callable[..., Quote | Money]


def charging(
    function: Callable[..., Result],
    cost: Cost,
    *,
    block: Callable[[Quote | Money], Reserving],
    ablock: Callable[[Quote | Money], AsyncReserving],
) -> Callable[..., Result]:
    """Return a function that reserves the cost of its arguments, then calls `function`.

    Raises TypeError for a generator. A plain function that returns an awaitable is refused when it
    is called, and its job is in doubt: it is unknown what it started.
    """
    _check_is_no_generator(function)
    if _is_any(function, inspect.iscoroutinefunction):
        awaited: Callable[..., Any] = _awaited(function, cost, ablock)
        return awaited

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Result:
        with block(_price(cost, args, kwargs)) as reserved:
            return _done(function, function(reserved, *args, **kwargs))

    return call


def _awaited(
    function: Callable[..., Any], cost: Cost, ablock: Callable[[Quote | Money], AsyncReserving]
) -> Callable[..., Awaitable[Any]]:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        async with ablock(_price(cost, args, kwargs)) as reserved:
            return _done(function, await function(reserved, *args, **kwargs))

    return call


def _price(cost: Cost, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Quote | Money:
    price = cost(*args, **kwargs)
    if inspect.isawaitable(price):
        _drop(price)
        raise TypeError(f"{_name(cost)} is async: the cost function must be a plain function")
    return price


def _check_is_no_generator(function: Callable[..., Any]) -> None:
    if _is_any(function, inspect.isgeneratorfunction) or _is_any(
        function, inspect.isasyncgenfunction
    ):
        raise TypeError(
            f"{_name(function)} is a generator: calling it only starts its work, so use"
            " `with ledger.reserving(...)` or `async with ledger.areserving(...)` inside it instead"
        )


def _is_any(function: Any, is_one: Callable[[Any], bool]) -> bool:
    """Whether a function, or what a call of it runs, is of a kind."""
    while isinstance(function, (partial, staticmethod, classmethod)):
        function = function.func if isinstance(function, partial) else function.__func__
    # An inherited `__call__` is run by a call too.
    call = getattr(type(function), "__call__", None)  # noqa: B004 - it is asked what it is
    return is_one(function) or is_one(call)


def _done(function: Callable[..., Any], result: Result) -> Result:
    """Return a result, unless its work is still to be done: nobody would await it."""
    is_generator = inspect.isgenerator(result) or inspect.isasyncgen(result)
    if not (is_generator or inspect.isawaitable(result)):
        return result
    _drop(result)
    raise TypeError(
        f"{_name(function)} returned a {type(result).__name__} whose work has not run yet: the"
        " job is in doubt. Decorate an `async def` that awaits it, or use"
        " `async with ledger.areserving(...)`"
    )


def _drop(unfinished: object) -> None:
    """Close a coroutine or generator that nobody will run. Anything already running continues."""
    if inspect.iscoroutine(unfinished) or inspect.isgenerator(unfinished):
        unfinished.close()


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", function))
