"""A batch's manifest: rows of clips or providers' own bodies, read as jobs.

A row has a provider and either `request`, the provider's own JSON body, or the fields of a clip and
its inputs, such as `prompt` and `image_url`. It may have a `project`, a `key` and labels
(`label:team`) of its own. The errors of all rows are reported together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from kling_ledger.errors import ConfigError
from kling_ledger.jobs.batch_jobs import BatchJob, content_keys
from kling_ledger.jobs.quoting import Quoted, quoted_by
from kling_ledger.manifests.columns import INPUTS, LABEL, OF_A_JOB, columns_of, meant_by
from kling_ledger.manifests.rows import Said, clip_fields, own_body, said_by
from kling_ledger.providers.registry import provider_facts
from kling_ledger.tabular.encodings import encoding_note
from kling_ledger.tabular.reading import open_table
from kling_pricing.clip import CLIP_FIELDS, REQUIRED, Clip
from kling_pricing.errors import (
    MISSING,
    AmountError,
    ClipError,
    KlingError,
    NoPriceError,
    PricingError,
)
from kling_pricing.gateways import Request, write_request
from kling_pricing.library import Library
from kling_pricing.money import read_decimal
from kling_pricing.quote import quote

_OF_A_BODY: Final = (*CLIP_FIELDS, *OF_A_JOB)
_OF_A_CLIP: Final = (*CLIP_FIELDS, *INPUTS, *OF_A_JOB)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not a job, and why; `where` is its place in the file, such as `line 4`."""

    place: int
    error: KlingError
    where: str = ""


@dataclass(frozen=True, slots=True)
class _Common:
    """The values for every row of a batch that does not set its own."""

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
    note: Callable[[str], None] = lambda _: None,
) -> tuple[list[BatchJob], list[BadRow]]:
    """Read and price every row of a manifest; `project` and `labels` are for rows without.

    `name` is the batch's: rows without a key get one made of it and their content. If only the
    provider can price a row, the job's `quote` is the book's error. `note` receives remarks for
    people on how the file was read.
    Raises ConfigError for a file that cannot be read.
    """
    common = _Common(at, project, labels, library)
    found: list[_Read] = []
    bad: list[BadRow] = []
    errors: dict[tuple[type[KlingError], str], KlingError] = {}
    with open_table(path) as table:
        if not table.is_json:
            columns_of(table.columns, table.name)
        if (guessed := encoding_note(table.encoding)) is not None:
            note(guessed)
        for place, row in enumerate(table.rows(), 1):
            try:
                found.append(_read(place, said_by(row, table), common))
            except (PricingError, ConfigError) as error:
                # Each error once, and without its traceback, which holds everything known of the
                # row: what is wrong with one row is often wrong with all.
                kept = errors.setdefault((type(error), str(error)), error.with_traceback(None))
                bad.append(BadRow(place, kept, row.place))
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
    """Report keys that two rows share: the second would be taken for the first one's job."""
    seen: dict[str, int] = {}
    for job in jobs:
        first = seen.setdefault(job.key, job.place)
        if first != job.place:
            yield BadRow(job.place, ConfigError(f"row {first} has the same key {job.key!r}"))


def _read(place: int, said: Said, common: _Common) -> _Read:
    request = _native(said) if "request" in said else _from_clip(said, common)
    provider = request.clip.provider
    quoted = quoted_by(common.library.book(provider), request, common.at)
    # A provider's free estimate comes later; without one, the row is wrong as it is.
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
    _refuse_others(said, _OF_A_BODY)
    return own_body(said)


def _from_clip(said: Said, common: _Common) -> Request:
    _refuse_others(said, _OF_A_CLIP)
    clip = Clip(**dict.fromkeys(REQUIRED, MISSING) | clip_fields(said, common.library))
    _refuse_unsaid(clip, common)
    inputs = {name: said[name] for name in INPUTS if name in said}
    if isinstance(inputs.get("cfg_scale"), str):
        inputs["cfg_scale"] = _number(inputs["cfg_scale"])
    return write_request(clip, **inputs)


def _refuse_unsaid(clip: Clip, common: _Common) -> None:
    """Refuse a clip that leaves out what its price depends on, as a quote of the same row would."""
    try:
        quote(clip, at=common.at, book=common.library.book(clip.provider))
    except ClipError as error:
        if any(problem.got is MISSING for problem in error.problems):
            raise
    except PricingError:
        # With what its inputs make of it, the clip may still have a price.
        return


def _number(cell: str) -> float | str:
    """Read a number that steers the picture and is not money: bodies have it as a JSON number."""
    try:
        return int(cell) if cell.isdecimal() else float(read_decimal(cell))
    except AmountError:
        return cell


def _refuse_others(said: Said, known: tuple[str, ...]) -> None:
    """Refuse an unknown column: a misspelt one would silently change the clip."""
    for name in said:
        if name not in known and not name.startswith(LABEL):
            meant = meant_by(name)
            instead = f"meant {meant}?" if meant else f"there are {', '.join(known)}"
            raise ConfigError(f"{name}: no such column: {instead}")


def _labels(said: Said) -> dict[str, str]:
    given = said.get("labels") or {}
    if not isinstance(given, Mapping):
        raise ConfigError("labels: allowed: an object of names and values")
    columns = {name[len(LABEL) :]: value for name, value in said.items() if name.startswith(LABEL)}
    return {str(name): str(value) for name, value in {**given, **columns}.items()}
