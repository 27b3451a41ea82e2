"""The house style, measured: short functions, modules of one noun, rooms that can be explained."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
ROOMS: Final = ("kling_ledger", "pricing/kling_pricing", "reports/kling_reports")
LONGEST_FUNCTION: Final = 50
LONGEST_MODULE: Final = 400
USUAL_FUNCTION: Final = 22
"""Nine functions of ten are at most this long."""


def modules() -> Iterator[Path]:
    for room in ROOMS:
        # A migration is kept as it was when it was written.
        yield from (path for path in (ROOT / room).rglob("*.py") if "versions" not in path.parts)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function from its `def` on, its docstring left out."""
    documented = function.body[0] if ast.get_docstring(function, clean=False) else None
    docstring = 0 if documented is None else (documented.end_lineno or 0) - documented.lineno + 1
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def lengths() -> dict[str, int]:
    return {
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}": length(function)
        for path in modules()
        for function in functions(path)
    }


STAR: Final = re.compile(r"SELECT \*|RETURNING \*|\b(?!done\b)[a-z_]+\.\*", re.IGNORECASE)
"""All columns of a table, whatever they are by then. `done` is what a statement itself returns."""


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module, each with its line; those that are parts of another text too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_columns_are_asked_for_by_their_names():
    # A statement that is prepared on PostgreSQL fails once a column is added to what a star means.
    asked = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in modules()
        for line, text in texts(path)
        if STAR.search(text)
    }
    assert asked == set()


def test_no_function_is_longer_than_a_screen():
    assert {name: lines for name, lines in lengths().items() if lines > LONGEST_FUNCTION} == {}


def test_nine_functions_of_ten_are_short():
    assert quantiles(lengths().values(), n=10)[-1] <= USUAL_FUNCTION


def test_no_module_is_too_long_to_read():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in modules()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_MODULE
    }
    assert long == {}


def test_every_module_says_what_it_owns_and_what_its_functions_return():
    for path in modules():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
        assert [one.name for one in functions(path) if one.returns is None] == [], path
