"""Columns: text and integers, as every table of the ledger has them."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, CheckConstraint, Dialect, TypeDecorator
from sqlalchemy import Text as SqlText
from sqlalchemy.types import TypeEngine
from sqlmodel import Field

# SQLite would store a text key twice, in the table and in an index beside it.
BY_KEY: Final = {"sqlite_with_rowid": False}
"""For tables whose key is text."""


class Text(TypeDecorator[str]):
    """Text that both engines order by its bytes."""

    impl = SqlText
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the engine's own text type."""
        is_postgres = dialect.name == "postgresql"
        return dialect.type_descriptor(SqlText(collation="C") if is_postgres else SqlText())


def text(*, primary_key: bool = False, unique: bool = False, foreign_key: str | None = None) -> Any:
    """Return a column of text that is never NULL."""
    given: dict[str, Any] = {"foreign_key": foreign_key} if foreign_key else {}
    return Field(sa_type=Text, primary_key=primary_key, unique=unique, **given)


def text_or_none(*, foreign_key: str | None = None) -> Any:
    """Return a column of text that may be NULL."""
    given: dict[str, Any] = {"foreign_key": foreign_key} if foreign_key else {}
    return Field(default=None, sa_type=Text, nullable=True, **given)


def integer(*, primary_key: bool = False) -> Any:
    """Return a column of 64-bit integers: SQLAlchemy's own are 32 bits on PostgreSQL."""
    return Field(sa_type=BigInteger, primary_key=primary_key)


def integer_or_none(*checks: CheckConstraint) -> Any:
    """Return a column of 64-bit integers that may be NULL."""
    return Field(default=None, sa_type=BigInteger, nullable=True, sa_column_args=checks)
