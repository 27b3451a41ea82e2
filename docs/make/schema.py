"""The schema's reference: every table and view, from the metadata that makes them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Table, UniqueConstraint
from sqlmodel import SQLModel

from docs.make.text import GENERATED, as_prose, cell
from kling_ledger.ledger import tables, views

_OPENING: Final = """\
A ledger on SQLite and one on PostgreSQL have the same tables. They may change from one version to
the next; let your own programs read the [views](sql.md), which do not. Amounts (`..._micro`) are
integers of millionths of their unit, instants (`..._at`) integers of microseconds since 1970 in
UTC."""


def page() -> str:
    """Return the page."""
    made = [one for one in _models() if one.__module__.startswith(tables.__name__)]
    parts = [
        "# Database schema",
        GENERATED,
        _OPENING,
    ]
    for model in sorted(made, key=lambda one: str(one.__tablename__)):
        parts += _table(model)
    parts.append("## Views")
    for view in views.VIEWS:
        kinds = ", ".join(f"`{name}` {kind}" for name, kind in view.kinds())
        parts += [f"### {view.name}", f"{kinds}.", f"[What each means](sql.md#{view.name})"]
    return "\n\n".join(parts) + "\n"


def _models() -> Iterator[Any]:
    for mapper in SQLModel._sa_registry.mappers:
        yield mapper.class_


def _table(model: Any) -> Iterator[str]:
    table: Table = model.__table__
    yield f"## {table.name}"
    yield as_prose(inspect.getdoc(model) or "")
    yield "| column | type | |\n|---|---|---|\n" + "\n".join(map(_column, table.columns))
    laws = [*filter(None, map(_law, sorted(table.constraints, key=lambda one: str(one.name))))]
    laws += [f"- `{name}`: an index" for name in sorted(str(one.name) for one in table.indexes)]
    if laws:
        yield "\n".join(laws)


def _column(column: Column[Any]) -> str:
    facts = ["primary key"] if column.primary_key else []
    facts += ["may be NULL"] if column.nullable else []
    facts += ["unique"] if column.unique else []
    facts += [f"of `{one.target_fullname}`" for one in sorted(column.foreign_keys, key=str)]
    return f"| `{column.name}` | {cell(str(column.type).lower())} | {', '.join(facts)} |"


def _law(constraint: Any) -> str | None:
    if isinstance(constraint, CheckConstraint):
        return f"- `{constraint.name}`: `{' '.join(str(constraint.sqltext).split())}`"
    if isinstance(constraint, UniqueConstraint):
        return f"- unique: {', '.join(f'`{one.name}`' for one in constraint.columns)}"
    if isinstance(constraint, ForeignKeyConstraint) and len(constraint.columns) > 1:
        return f"- {', '.join(f'`{one.name}`' for one in constraint.columns)}: of another table"
    return None
