"""`kling_ledger` has all that a script needs, under the names pinned here, and loads it lazily."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import kling_ledger

PINNED = [
    "Affordability",
    "Affordable",
    "Asked",
    "AsyncReserving",
    "Budget",
    "BudgetError",
    "BudgetStatus",
    "CeilingError",
    "Change",
    "Clip",
    "Comparison",
    "ConfigError",
    "ConflictError",
    "DatabaseError",
    "InsufficientCreditsError",
    "Job",
    "JobInDoubtError",
    "JobRefusedError",
    "KlingError",
    "Ledger",
    "LedgerError",
    "Library",
    "Meter",
    "Money",
    "NoPriceError",
    "NotFoundError",
    "Patience",
    "Period",
    "PollError",
    "PricingError",
    "ProviderError",
    "Quote",
    "RefusedError",
    "Request",
    "RequestError",
    "Reservation",
    "Reserving",
    "Scope",
    "State",
    "StateError",
    "TaskNotWrittenError",
    "Verification",
    "Wallet",
    "__version__",
    "afford",
    "compare",
    "connect",
    "library_of",
    "metered",
    "open_library",
    "quote",
    "read_request",
    "write_request",
]


def test_the_public_names_are_those_that_are_pinned():
    assert sorted(kling_ledger.__all__) == sorted(PINNED)


@pytest.mark.parametrize("name", sorted({*PINNED} - {"__version__"}))
def test_every_public_name_is_documented(name: str):
    assert inspect.getdoc(getattr(kling_ledger, name))


def test_type_checkers_see_what_is_there_at_run_time():
    tree = ast.parse(Path(str(kling_ledger.__file__)).read_text(encoding="utf-8"))
    (checked,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        (name.name, node.module)
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert seen == set(kling_ledger._HOME_OF.items())


def test_the_names_are_listed_for_people_who_look_around():
    assert set(PINNED) <= set(dir(kling_ledger))


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Legder'"):
        kling_ledger.Legder  # noqa: B018


def test_the_version_is_that_of_the_distribution():
    assert kling_ledger.__version__.count(".") == 2


@pytest.mark.parametrize(
    ("statement", "unloaded"),
    [
        ("import kling_ledger", ["kling_pricing", "sqlite3", "sqlalchemy", "httpx", "pandas"]),
        ("from kling_ledger import Clip, Money, quote", ["sqlalchemy", "httpx", "pandas"]),
    ],
)
def test_what_is_not_asked_for_is_not_loaded(statement: str, unloaded: list[str]):
    code = f"import sys; {statement}; print([name for name in {unloaded} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
