"""A batch's manifest: each row a clip or a provider's own body, read as jobs.

A row has a provider and either `request`, the provider's own JSON body, or the fields of a clip and
what it is made from, such as `prompt` and `image_url`. It may have a `project`, a `key` and labels
(`label:team`) of its own. What is wrong with any row is told of all rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from kling_ledger.errors import ConfigError
from kling_ledger.jobs.batch_jobs import BatchJob, content_keys
from kling_ledger.jobs.quoting import Quoted, quoted_by
from kling_ledger.manifests.rows import exact, own_body, said_by
from kling_ledger.providers.registry import provider_facts
from kling_ledger.tabular.reading import open_table
from kling_ledger.tabular.table import Row, Table
from kling_pricing.clip import CLIP_FIELDS, Clip
from kling_pricing.errors import KlingError, NoPriceError, PricingError
from kling_pricing.gateways import Request, write_request
from kling_pricing.gateways.writing import Inputs
from kling_pricing.library import Library

INPUTS: Final = tuple(
    field.name
    for field in fields(Inputs)
    if field.name not in {"shots", "elements", "reference_image_urls"}
)
"""What a row may say of what its clip is made from; the rest takes a `request`."""

_OWN: Final = ("provider", "request", "action", "project", "key", "labels")

Said = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no job, and why."""

    place: int
    error: KlingError


@dataclass(frozen=True, slots=True)
class _Common:
    """What holds for every row of a batch that does not say otherwise."""

    at: datetime
    project: str | None
    labels: Mapping[str, str]
    library: Library


@dataclass(frozen=True, slots=True)
class _Read:
    place: int
    request: Request
    quote: Quoted
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

    `name` is the batch's: rows without a key get one of it and of their content. A row that only
    its provider can price is a job whose `quote` is the error of the book.
    Raises ConfigError for a file that cannot be read.
    """
    common = _Common(at, project, labels, library)
    found: list[_Read] = []
    bad: list[BadRow] = []
    with open_table(path) as table:
        for place, row in enumerate(table.rows(), 1):
            try:
                found.append(_read(place, _said(row, table), common))
            except (PricingError, ConfigError) as error:
                bad.append(BadRow(place, error))
    keys = content_keys(name, [(one.request, one.project, one.key) for one in found])
    jobs = [
        BatchJob(
            one.place,
            one.request,
            one.quote,
            key,
            one.project,
            one.labels,
            has_own_key=one.key is not None,
        )
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


def _said(row: Row, table: Table) -> Said:
    if row.problem is not None:
        raise ConfigError(f"{row.place}: {row.problem}")
    return said_by(row, table)


def _read(place: int, said: Said, common: _Common) -> _Read:
    request = _native(said) if "request" in said else _from_clip(said)
    provider = request.clip.provider
    quoted = quoted_by(common.library.book(provider), request, common.at)
    # What its provider estimates for nothing is asked for later; else it is wrong as it stands.
    if isinstance(quoted, NoPriceError) and not provider_facts(provider).estimates:
        raise quoted
    return _Read(
        place,
        request,
        quoted,
        _name(said, "project") or common.project,
        _name(said, "key"),
        {**common.labels, **_labels(said)},
    )


def _name(said: Said, column: str) -> str | None:
    value = said.get(column)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise ConfigError(f"{column}: got {value!r}, allowed: a name")


def _native(said: Said) -> Request:
    _refuse_others(said, _OWN)
    return own_body(said)


def _from_clip(said: Said) -> Request:
    _refuse_others(said, (*_OWN, *CLIP_FIELDS, *INPUTS))
    clip: dict[str, Any] = {
        name: exact(said[name]) for name in CLIP_FIELDS if said.get(name) is not None
    }
    for name in ("provider", "model"):
        clip.setdefault(name, "")
    inputs = {name: said[name] for name in INPUTS if said.get(name) is not None}
    if isinstance(inputs.get("cfg_scale"), Decimal):
        # It steers the picture and is no money; the bodies have it as a JSON number.
        inputs["cfg_scale"] = float(inputs["cfg_scale"])
    return write_request(Clip(**clip), **inputs)


def _refuse_others(said: Said, known: tuple[str, ...]) -> None:
    """Refuse a column that nothing reads: a misspelt one would quietly change the clip."""
    for name in said:
        if name not in known and not name.startswith("label:"):
            raise ConfigError(f"{name}: no such column", hint=f"there are {', '.join(known)}")


def _labels(said: Said) -> dict[str, str]:
    given = said.get("labels") or {}
    if not isinstance(given, Mapping):
        raise ConfigError("labels: allowed: an object of names and values")
    columns = {name[6:]: value for name, value in said.items() if name.startswith("label:")}
    return {str(name): str(value) for name, value in {**given, **columns}.items()}
