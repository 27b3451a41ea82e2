"""A batch's manifest: CSV or JSONL, each row a clip or a provider's own body, read as jobs.

A row has a provider and either `request`, the provider's own JSON body, or the fields of a clip and
what it is made from, such as `prompt` and `image_url`. It may have a `project`, a `key` and labels
(`label:team`) of its own. What is wrong with any row is told of all rows at once.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

from kling_ledger.errors import ConfigError
from kling_ledger.jobs.batch_jobs import BatchJob, content_keys
from kling_ledger.tabular.texts import delimiter_of, read_text
from kling_pricing.clip import CLIP_FIELDS, Clip
from kling_pricing.errors import KlingError, PricingError
from kling_pricing.gateways import Request, parse_body, read_request, write_request
from kling_pricing.gateways.writing import Inputs
from kling_pricing.library import Library
from kling_pricing.quote import Quote

INPUTS: Final = tuple(
    field.name
    for field in fields(Inputs)
    if field.name not in {"shots", "elements", "reference_image_urls"}
)
"""What a row may say of what its clip is made from; the rest takes a `request`."""

_OWN: Final = ("provider", "request", "action", "project", "key", "labels")
_FLAGS: Final = ("sound", "multi_shot", "voice", "video_input", "elements")
_NUMBERS: Final = ("seconds", "input_seconds", "cfg_scale")
_WORDS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no job, and why."""

    place: int
    error: KlingError


@dataclass(frozen=True, slots=True)
class _Read:
    place: int
    request: Request
    quote: Quote
    project: str | None
    key: str | None
    labels: Mapping[str, str]


def read_jobs(
    path: Path,
    *,
    name: str,
    at: datetime,
    project: str | None,
    labels: Mapping[str, str],
    library: Library,
) -> tuple[list[BatchJob], list[BadRow]]:
    """Read and price every row of a manifest; `project` and `labels` are for rows without.

    `name` is the batch's: rows without a key get one of it and of their content.
    Raises ConfigError for a file that cannot be read.
    """
    found: list[_Read] = []
    bad: list[BadRow] = []
    for place, row in enumerate(_rows(path), 1):
        try:
            found.append(_read(place, row(), at, project, labels, library))
        except (PricingError, ConfigError) as error:
            bad.append(BadRow(place, error))
    keys = content_keys(name, [(one.request, one.project, one.key) for one in found])
    jobs = [
        BatchJob(one.place, one.request, one.quote, key, one.project, one.labels)
        for one, key in zip(found, keys, strict=True)
    ]
    return jobs, [*bad, *_repeated(jobs)]


def _repeated(jobs: list[BatchJob]) -> Iterator[BadRow]:
    """Tell of keys that two rows share: the second would be the first one's job."""
    seen: dict[str, int] = {}
    for job in jobs:
        first = seen.setdefault(job.key, job.place)
        if first != job.place:
            yield BadRow(job.place, ConfigError(f"its key {job.key!r} is row {first}'s too"))


def _rows(path: Path) -> Iterator[Callable[[], Row]]:
    """Yield how to read each row: whatever is wrong with one is known when it is read."""
    text = read_text(path)
    if not text.strip():
        raise ConfigError(f"{path}: there are no rows in it")
    is_json = path.suffix.lower() in {".jsonl", ".ndjson"} or text.lstrip().startswith("{")
    return _json_rows(text) if is_json else _csv_rows(text, path)


def _json_rows(text: str) -> Iterator[Callable[[], Row]]:
    # A text may hold what Python takes for the end of a line and JSON does not.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield partial(_json_row, line, number)


def _json_row(line: str, number: int) -> Row:
    try:
        return parse_body(line)
    except PricingError as error:
        raise ConfigError(f"line {number}: {error}") from None


def _csv_rows(text: str, path: Path) -> Iterator[Callable[[], Row]]:
    delimiter = delimiter_of(text.partition("\n")[0])
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            yield partial(_csv_row, row, reader.line_num)
    except csv.Error as error:
        raise ConfigError(f"{path}: line {reader.line_num}: {error}") from None


def _csv_row(row: Mapping[str, Any], number: int) -> Row:
    if None in row or None in row.values():
        raise ConfigError(f"line {number}: its cells do not fit the header")
    cells = {name.strip(): cell.strip() for name, cell in row.items()}
    return {name: _typed(name, cell) for name, cell in cells.items() if cell}


def _typed(name: str, cell: str) -> Any:
    """Read a cell of text as what its column holds; what it cannot be is left to be refused."""
    if name == "request":
        return parse_body(cell)
    if name in _FLAGS:
        return _WORDS.get(cell.lower(), cell)
    return _number(cell) if name in _NUMBERS else cell


def _number(cell: str) -> object:
    try:
        return int(cell) if cell.isdigit() else Decimal(cell)
    except ArithmeticError:
        return cell


def _read(
    place: int,
    row: Row,
    at: datetime,
    project: str | None,
    labels: Mapping[str, str],
    library: Library,
) -> _Read:
    request = _native(row) if "request" in row else _from_clip(row)
    own_project, own_key = row.get("project"), row.get("key")
    for name, value in (("project", own_project), ("key", own_key)):
        if value is not None and not (isinstance(value, str) and value.strip()):
            raise ConfigError(f"{name}: got {value!r}, allowed: a name")
    return _Read(
        place,
        request,
        request.quote(at=at, book=library.book(request.clip.provider)),
        own_project or project,
        own_key,
        {**labels, **_labels(row)},
    )


def _native(row: Row) -> Request:
    _refuse_others(row, _OWN)
    return read_request(str(row.get("provider")), row["request"], action=row.get("action"))


def _from_clip(row: Row) -> Request:
    _refuse_others(row, (*_OWN, *CLIP_FIELDS, *INPUTS))
    clip: dict[str, Any] = {
        name: _exact(row[name]) for name in CLIP_FIELDS if row.get(name) is not None
    }
    for name in ("provider", "model"):
        clip.setdefault(name, "")
    inputs = {name: row[name] for name in INPUTS if row.get(name) is not None}
    if isinstance(inputs.get("cfg_scale"), Decimal):
        inputs["cfg_scale"] = float(inputs["cfg_scale"])
    return write_request(Clip(**clip), **inputs)


def _exact(value: object) -> object:
    """Read a JSON float by its writing, as seconds are: 5.0 is 5, and 5.5 is 5.5."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else Decimal(repr(value))
    return value


def _refuse_others(row: Row, known: tuple[str, ...]) -> None:
    for name in row:
        if name not in known and not name.startswith("label:"):
            raise ConfigError(f"{name}: no such column", hint=f"there are {', '.join(known)}")


def _labels(row: Row) -> dict[str, str]:
    given = row.get("labels") or {}
    if not isinstance(given, Mapping):
        raise ConfigError("labels: allowed: an object of names and values")
    columns = {name[6:]: value for name, value in row.items() if name.startswith("label:")}
    return {str(name): str(value) for name, value in {**given, **columns}.items()}
