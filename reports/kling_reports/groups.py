"""Groups: the words of `--by` and `--where`, and the columns behind them.

`project:1` is the first level of a project's path, `label:team` the value of the label `team`. In a
filter, a project that ends in `/` includes everything below it, as in a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kling_ledger.errors import ConfigError
from kling_ledger.ledger import labels
from kling_reports.report import Column, Kind

if TYPE_CHECKING:
    import pandas as pd

PERIODS: Final = ("day", "week", "month")
"""The groups of time, from fine to coarse. A week begins on Monday and is named by that day."""

_PLAIN: Final[Mapping[str, tuple[str, Kind]]] = {
    "day": ("day", "date"),
    "week": ("day", "date"),
    "month": ("day", "month"),
    "period": ("period", "text"),
    "project": ("project", "text"),
    "wallet": ("wallet", "text"),
    "provider": ("provider", "text"),
    "account": ("account", "text"),
    "model": ("model", "text"),
    "action": ("action", "text"),
    "resolution": ("resolution", "text"),
    "sound": ("sound", "flag"),
    "user": ("actor", "text"),
    "state": ("state", "text"),
    "settled_by": ("settled_by", "text"),
}
"""Each plain word, the column of the frame behind it, and its kind."""

_FLAGS: Final = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
NOTHING: Final = "-"
"""Stands in a filter for a missing value: `project=-`."""


@dataclass(frozen=True, slots=True)
class Group:
    """One word that a report is grouped by: its column in the answer, and its source column.

    `level` is the depth of a project's path, `label` the name of a label, where the word has one.
    """

    word: str
    source: str
    kind: Kind
    level: int | None = None
    label: str | None = None

    @property
    def column(self) -> Column:
        """The column of the answer."""
        return Column(self.word, self.word.replace("_", " "), self.kind)

    def values(self, frame: pd.DataFrame) -> pd.Series[Any]:
        """Return each row's value, from a frame that has the source column."""
        source = frame[self.source]
        if self.word == "week":
            return _dates(source, lambda days: days - _days(days.dt.day_of_week))
        if self.word == "month":
            return _dates(source, lambda days: days - _days(days.dt.day - 1))
        if self.level is not None:
            return _mapped(source, lambda path: "/".join(path.split("/")[: self.level]))
        if self.label is not None:
            name = self.label
            return _mapped(source, lambda text: labels.from_text(text).get(name))
        return source


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition: the group's value is one of these; None stands for no value."""

    group: Group
    values: tuple[str | None, ...]

    def __str__(self) -> str:
        return " or ".join(f"{self.group.word}={value or NOTHING}" for value in self.values)

    def keeps(self, frame: pd.DataFrame) -> pd.Series[Any]:
        """Return, row by row, whether the condition holds."""
        found = self.group.values(frame)
        kept = found.isna() & (None in self.values)
        for value in self.values:
            if value is not None:
                kept |= self._is(found, value).fillna(value=False).astype(bool)
        return kept

    def _is(self, found: pd.Series[Any], value: str) -> pd.Series[Any]:
        if self.group.kind == "flag":
            return found == _FLAGS[value]
        if self.group.word == "project" and value.endswith("/"):
            return (found == value.rstrip("/")) | found.str.startswith(value)
        if self.group.word in {"provider", "model"}:
            return found.isin(_meant(value, found.dropna().unique()))
        return found == value


def _meant(written: str, known: Iterable[str]) -> list[str]:
    """Return the value as written, or else those that differ only in letter case."""
    values = list(known)
    if written in values:
        return [written]
    return [one for one in values if one.casefold() == written.casefold()]


def read_group(word: str) -> Group:
    """Read a word of `--by`; ConfigError, which lists the words, for anything else."""
    name, colon, rest = word.partition(":")
    plain = name.lower().replace("-", "_")
    if not colon and plain in _PLAIN:
        source, kind = _PLAIN[plain]
        return Group(plain, source, kind)
    if name == "project" and rest.isascii() and rest.isdigit() and 0 < int(rest) < 100:
        return Group(word, "project", "text", level=int(rest))
    if name == "label" and rest:
        labels.check({rest: "any"})
        return Group(word, "labels", "text", label=rest)
    from difflib import get_close_matches

    near = get_close_matches(plain, _PLAIN, n=1, cutoff=0.7)
    meant = f"did you mean {near[0]}? Known: " if near else "use "
    raise ConfigError(f"unknown group {word!r}", hint=f"{meant}{words()}")


def read_groups(given: Iterable[str]) -> tuple[Group, ...]:
    """Read the words of `--by`, each once."""
    return tuple(read_group(word) for word in dict.fromkeys(given))


def read_filters(given: Iterable[str]) -> tuple[Filter, ...]:
    """Read the conditions of `--where`: same word means OR, different words mean AND."""
    found: dict[str, list[str | None]] = {}
    for written in given:
        word, sign, value = written.partition("=")
        group = read_group(word)
        if not sign or not value or word in PERIODS:
            raise ConfigError(
                f"{written!r} is no condition",
                hint="write provider=crun, project=film/ or label:team=ads; time is --from, --to",
            )
        if group.kind == "flag" and value not in {*_FLAGS, NOTHING}:
            raise ConfigError(f"{written!r} is no condition", hint=f"write {word}=yes or {word}=no")
        found.setdefault(word, []).append(None if value == NOTHING else value)
    return tuple(Filter(read_group(word), tuple(values)) for word, values in found.items())


def filtered(frame: pd.DataFrame, filters: Iterable[Filter]) -> pd.DataFrame:
    """Return the rows for which every condition holds."""
    for one in filters:
        frame = frame[one.keeps(frame)]
    return frame


def unknown(
    filters: Iterable[Filter], frame: pd.DataFrame, *, most: int = 20
) -> list[tuple[str, list[str]]]:
    """Return each condition that no row of a frame meets, with values it could have."""
    found: list[tuple[str, list[str]]] = []
    for one in filters:
        known = sorted(map(_written, one.group.values(frame).dropna().unique()))
        shown = [f"{one.group.word}={value}" for value in known[:most]]
        more = [f"and {len(known) - most} more"] if len(known) > most else []
        for value in one.values:
            alone = Filter(one.group, (value,))
            if not alone.keeps(frame).any():
                found.append((str(alone), [*shown, *more]))
    return found


def sources(groups: Sequence[Group], filters: Sequence[Filter]) -> tuple[str, ...]:
    """Return the columns that groups and filters use, each once, without time."""
    asked = (*groups, *(one.group for one in filters))
    return tuple(dict.fromkeys(one.source for one in asked if one.source != "day"))


def finest(groups: Sequence[Group]) -> str | None:
    """Return the finest group of time requested, from which the others follow; None without any."""
    asked = [group.word for group in groups if group.word in PERIODS]
    if not asked:
        return None
    return asked[0] if len(set(asked)) == 1 else "day"


def words() -> str:
    """Return every word, for a person."""
    return f"{', '.join(_PLAIN)}, project:LEVEL or label:NAME"


def _written(value: object) -> str:
    """Write a value the way a condition names it."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _mapped(values: pd.Series[Any], make: Callable[[str], str | None]) -> pd.Series[Any]:
    """Map each distinct text once."""
    made = {text: make(text) for text in values.dropna().unique()}
    return values.map(made).astype("string")


def _dates(
    values: pd.Series[Any], make: Callable[[pd.Series[Any]], pd.Series[Any]]
) -> pd.Series[Any]:
    return make(values).astype("datetime64[s]")


def _days(count: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    return pd.to_timedelta(count, unit="D")
