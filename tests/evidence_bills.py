"""Bills as providers write them, from the truth alone: one writer, and the reader that knows all.

Nothing of the product is in here, so that a misunderstanding cannot be common to both.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from tests.evidence_truth import BEGIN, UNITS, Movement, TrueJob

Form = Literal[",", ";", "\t", "list", "data", "records", "jsonl"]
Style = Literal["net", "events", "items"]
Refunds = Literal["negative", "negative refunded", "positive refunded", "type", "reference"]
Stamps = Literal["z", "offset", "local", "epoch_ms", "none"]
Pick = Literal["all", "tasks", "early", "late", "holes"]
Cells = dict[str, Any]

FORMS: Final[tuple[Form, ...]] = (",", ";", "\t", "list", "data", "records", "jsonl")
STYLES: Final[tuple[Style, ...]] = ("net", "events", "items")
REFUNDS: Final[tuple[Refunds, ...]] = (
    "negative",
    "negative refunded",
    "positive refunded",
    "type",
    "reference",
)
STAMPS: Final[tuple[Stamps, ...]] = ("z", "offset", "local", "epoch_ms", "none")
ZONES: Final = ("Asia/Shanghai", "America/New_York", "UTC")
NAMES: Final[tuple[Mapping[str, str], ...]] = (
    {
        "number": "id", "task": "task_id", "amount": "amount", "status": "status", "type": "type",
        "at": "created_at", "model": "model", "item": "item", "reference": "reference",
        "unit": "unit",
    },
    {
        "number": "id", "task": "request_id", "amount": "cost", "status": "state", "type": "type",
        "at": "created_at", "model": "model", "item": "line_item", "reference": "reference",
        "unit": "currency",
    },
    {
        "number": "No.", "task": "Job ID", "amount": "Charged", "status": "Status", "type": "Type",
        "at": "Time", "model": "Model", "item": "Item", "reference": "Reference", "unit": "Unit",
    },
    {
        "number": "row", "task": "taskId", "amount": "charge", "status": "state", "type": "type",
        "at": "createdAt", "model": "model", "item": "item", "reference": "reference",
        "unit": "unit",
    },
)  # fmt: skip
"""How four exporters call their columns. In the second, `id` is a number of the exporter's own."""

WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "completed": ("completed", "success", "SUCCESS", "succeeded"),
    "failed": ("failed", "failed", "FAILED", "failed"),
    "refunded": ("refunded", "refunded", "REFUNDED", "refunded"),
}


def dice(seed: int) -> Random:
    """Chance that falls the same way each time."""
    return Random(seed)  # noqa: S311 - nothing is kept secret with it


@dataclass(frozen=True, slots=True)
class Look:
    """How a bill is written: its form, its columns, its signs, and what else stands in it."""

    form: Form = ","
    style: Style = "net"
    refunds: Refunds = "negative"
    names: int = 0
    stamp: Stamps = "z"
    zone: str = "Asia/Shanghai"
    seed: int = 0
    has_status: bool = True
    has_model: bool = True
    has_unit: bool = False
    numbers_rows: bool = False
    shows_zero: bool = False
    is_repeated: bool = False
    has_total: bool = False
    has_top_up: bool = False
    has_preamble: bool = False
    is_text: bool = False
    """Whether JSON has its numbers as text."""

    @property
    def columns(self) -> list[str]:
        """The columns that it has, by our own names, in the order of this file."""
        there = {
            "number": self.numbers_rows,
            "task": True,
            "amount": True,
            "status": self.has_status or self.refunds.endswith("refunded"),
            "type": self.refunds == "type",
            "item": self.style == "items",
            "reference": self.refunds == "reference",
            "model": self.has_model,
            "at": self.stamp != "none",
            "unit": self.has_unit,
        }
        columns = [name for name, is_there in there.items() if is_there]
        dice(self.seed).shuffle(columns)
        return columns

    def called(self, column: str) -> str:
        """What this exporter calls one of our columns."""
        return NAMES[self.names][column]

    def word(self, state: str) -> str:
        """This exporter's word for a state."""
        return WORDS[state][self.names]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a bill shows of one job: which movements whole, of how many; whether any row at all."""

    whole: frozenset[int]
    made: int
    has_rows: bool


@dataclass(frozen=True, slots=True)
class Bill:
    """A file, whose it is, and what of the truth it shows."""

    path: Path
    account: tuple[str, str]
    look: Look
    is_complete: bool
    shown: Mapping[int, Shown]
    has_others: bool
    written: int = 0


@dataclass
class Writer:
    """Writes one bill of an account's jobs."""

    look: Look
    unit: str
    rows: list[Cells] = field(default_factory=list)

    def net(self, job: TrueJob, shown: Sequence[int]) -> None:
        """Write one row: what the shown movements come to."""
        moved = [job.movements[index] for index in shown]
        amount = sum((one.amount for one in moved), Decimal(0))
        state = "completed"
        if amount == 0 and self.look.refunds.endswith("refunded"):
            # As some do: the row stays as it was, and only its state says that it was given back.
            amount, state = sum((one.amount for one in moved if one.amount > 0), amount), "refunded"
        if amount < 0 and self.look.refunds == "type":
            # Nobody whose rows say what they are calls it a charge.
            self._add(job, -amount, at=moved[0].at, kind="refund")
        else:
            self._add(job, amount, at=moved[0].at, state=state, kind="charge")

    def movement(self, job: TrueJob, one: Movement, item: str = "", share: Decimal | None = None):
        """Write one row of a movement, or of a share of it."""
        amount = one.amount if share is None else share
        if amount < 0 and not (self.look.refunds == "type" and one.kind == "adjustment"):
            self._give_back(job, amount, one.at, item)
        else:
            self._add(job, amount, at=one.at, kind=one.kind, item=item)

    def items(self, job: TrueJob, index: int) -> list[tuple[Movement, str, Decimal]]:
        """The rows that an itemised bill has for a movement."""
        one = job.movements[index]
        if one.kind != "charge":
            return [(one, one.kind, one.amount)]
        base = one.amount * 2 // 3 if one.amount > 1 else one.amount * 2 / 3
        base = base.quantize(Decimal("0.001"))
        return [(one, "base", base), (one, "sound", one.amount - base)]

    def nothing(self, job: TrueJob) -> None:
        """Write that a job came to nothing."""
        self._add(job, Decimal(0), at=job.at + timedelta(minutes=7), state="failed", kind="charge")

    def top_up(self) -> None:
        """Write that somebody paid money into the account."""
        amount = Decimal(500) if self.look.refunds == "type" else Decimal(-500)
        self.rows.append(
            {
                **self._empty(),
                "amount": amount,
                "status": self.look.word("completed"),
                "type": "topup",
                "item": "top-up",
                "at": BEGIN + timedelta(days=3, seconds=5),
                "unit": self.unit,
            }
        )

    def _give_back(self, job: TrueJob, amount: Decimal, at: datetime, item: str) -> None:
        match self.look.refunds:
            case "negative":
                self._add(job, amount, at=at, item=item)
            case "negative refunded":
                self._add(job, amount, at=at, state="refunded", item=item)
            case "positive refunded":
                self._add(job, -amount, at=at, state="refunded", item=item)
            case "type":
                self._add(job, -amount, at=at, kind="refund", item=item)
            case "reference":
                self._add(job, amount, at=at, item=item)
                self.rows[-1].update(task=f"re-{job.task}", reference=job.task)

    def _add(
        self,
        job: TrueJob,
        amount: Decimal,
        *,
        at: datetime,
        state: str = "completed",
        kind: str = "charge",
        item: str = "",
    ) -> None:
        self.rows.append(
            {
                **self._empty(),
                "task": job.task,
                "amount": amount,
                "status": self.look.word(state),
                "type": kind,
                "item": item or "base",
                "at": at,
                "model": job.model,
                "unit": self.unit,
            }
        )

    def _empty(self) -> Cells:
        return dict.fromkeys(NAMES[0])


def write_bill(
    path: Path, look: Look, jobs: Iterable[TrueJob], *, pick: Pick, shows_others: bool = True
) -> Bill:
    """Write a bill of one account: all of its jobs, or what was picked of them."""
    jobs = list(jobs)
    account = jobs[0].account if jobs else ("crun", "north")
    chance, writer = dice(look.seed), Writer(look, UNITS[account[0]])
    shown: dict[int, Shown] = {}
    has_others = False
    for job in jobs:
        if not job.plan.is_ours and not shows_others:
            continue
        its = _write_job(writer, job, pick if job.plan.is_ours else "all", chance)
        has_others |= not job.plan.is_ours and its.has_rows
        shown[job.number] = its
    if look.has_top_up:
        writer.top_up()
    rows = _in_order(writer.rows, look, chance)
    path.write_bytes(text_of(rows, look).encode())
    is_complete = pick == "all"
    return Bill(path, account, look, is_complete, shown, has_others, len(rows))


def _write_job(writer: Writer, job: TrueJob, pick: Pick, chance: Random) -> Shown:
    picked = _picked(job, pick, chance)
    if job.task is None:
        return Shown(frozenset(), job.made, has_rows=False)
    if not job.made:
        if writer.look.shows_zero and pick == "all":
            writer.nothing(job)
        return Shown(frozenset(), 0, has_rows=writer.look.shows_zero and pick == "all")
    if not picked:
        return Shown(frozenset(), job.made, has_rows=False)
    if writer.look.style != "items":
        if writer.look.style == "net":
            writer.net(job, picked)
        else:
            for index in picked:
                writer.movement(job, job.movements[index])
        return Shown(frozenset(picked), job.made, has_rows=True)
    whole, has_rows = set(), False
    for index in picked:
        items = writer.items(job, index)
        kept = [one for one in items if pick != "holes" or chance.random() < 0.5]
        for one, item, share in kept:
            writer.movement(job, one, item, share)
        has_rows |= bool(kept)
        whole |= {index} if kept == items else set()
    return Shown(frozenset(whole), job.made, has_rows)


def _picked(job: TrueJob, pick: Pick, chance: Random) -> list[int]:
    made = list(range(job.made))
    match pick:
        case "tasks":
            return made if chance.random() < 0.5 else []
        case "early":
            return made[: chance.randint(0, len(made))]
        case "late":
            return _fair(job, made[chance.randint(0, len(made)) :])
        case _:
            return made


def _fair(job: TrueJob, late: list[int]) -> list[int]:
    """Leave out what nobody could tell from a whole cost: a later charge, the first never seen."""
    is_telling = not late or late[0] <= job.seen or job.movements[late[0]].amount < 0
    return late if is_telling else []


def _in_order(rows: list[Cells], look: Look, chance: Random) -> list[Cells]:
    """Number the rows, shuffle them, say some twice, and add what they come to."""
    signed = sum((_signed(row, look) for row in rows), Decimal(0))
    numbered = [{**row, "number": 90001 + index} for index, row in enumerate(rows)]
    chance.shuffle(numbered)
    if look.is_repeated:
        numbered += [row for row in numbered if chance.random() < 0.4]
    if look.has_total and look.form in {",", ";", "\t"}:
        numbered.append({**dict.fromkeys(NAMES[0]), "task": "Total", "amount": signed})
    return numbered


def _signed(row: Cells, look: Look) -> Decimal:
    """What a row means: the sign that its words give to its amount."""
    amount: Decimal = row["amount"]
    if row["task"] is None or row["task"] == "Total":
        return Decimal(0)
    if look.refunds == "type" and row["type"] == "refund":
        return -abs(amount)
    if row["status"] == look.word("refunded") and look.style == "net":
        return Decimal(0)
    if row["status"] == look.word("refunded"):
        return -abs(amount)
    return amount


def text_of(rows: Sequence[Cells], look: Look) -> str:
    """Write rows in the form of a bill."""
    named = [{look.called(name): _cell(row[name], look) for name in look.columns} for row in rows]
    match look.form:
        case "," | ";" | "\t":
            return _csv(named, look)
        case "list":
            return json.dumps(named, ensure_ascii=False)
        case "data":
            return json.dumps({"code": 200, "data": {"items": named, "total": len(named)}})
        case "records":
            return json.dumps({"records": named, "page": 1})
        case "jsonl":
            return "".join(json.dumps(row) + "\n" for row in named)


def _csv(rows: Sequence[Cells], look: Look) -> str:
    written = io.StringIO()
    if look.has_preamble:
        written.write("Usage export for March\n\n")
    table = csv.DictWriter(
        written, [look.called(name) for name in look.columns], delimiter=look.form
    )
    table.writeheader()
    table.writerows(rows)
    return written.getvalue()


def _cell(value: Any, look: Look) -> Any:
    is_csv = look.form in {",", ";", "\t"}
    if value is None:
        return "" if is_csv else None
    if isinstance(value, datetime):
        value = _stamp(value, look)
    if isinstance(value, Decimal):
        value = plain(value) if is_csv or look.is_text else _number(value)
    if isinstance(value, str) and value.isdecimal() and value[0] != "0":
        return value if is_csv or look.is_text else int(value)
    return value


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def plain(value: Decimal) -> str:
    """An amount without an exponent and without idle zeros."""
    return format(value.normalize(), "f")


def _stamp(at: datetime, look: Look) -> str | int:
    local = at.astimezone(ZoneInfo(look.zone))
    match look.stamp:
        case "offset":
            return local.isoformat(timespec="seconds")
        case "local":
            return local.strftime("%Y-%m-%d %H:%M:%S")
        case "epoch_ms":
            return int(at.timestamp() * 1000)
        case _:
            return at.strftime("%Y-%m-%dT%H:%M:%SZ")


# The reader that knows everything: what a bill says to somebody who knows how it was written.


def read_back(bill: Bill) -> list[Cells]:
    """Return the rows of a bill by our own names, each once, with amounts and instants again."""
    look = bill.look
    ours = {look.called(name): name for name in look.columns}
    found: dict[str, Cells] = {}
    for raw in _raw_rows(bill.path.read_text(encoding="utf-8"), look):
        row: Cells = dict.fromkeys(NAMES[0])
        row.update({ours[name]: value for name, value in raw.items() if value not in {None, ""}})
        row["task"] = None if row["task"] is None else str(row["task"])
        row["amount"] = Decimal(str(row["amount"]))
        row["at"] = None if row["at"] is None else _instant(row["at"], look)
        found.setdefault(json.dumps(raw, sort_keys=True), row)
    return list(found.values())


def costs_in(bill: Bill) -> dict[str, Decimal]:
    """Return what a bill says of each task in the end, refunds under other names included."""
    costs: dict[str, Decimal] = {}
    for row in read_back(bill):
        if row["task"] not in {None, "Total"}:
            task = row["reference"] or row["task"]
            costs[str(task)] = costs.get(str(task), Decimal(0)) + _signed(row, bill.look)
    return costs


def _raw_rows(text: str, look: Look) -> list[Cells]:
    match look.form:
        case "," | ";" | "\t":
            table = text.split("\n\n", 1)[1] if look.has_preamble else text
            return list(csv.DictReader(io.StringIO(table), delimiter=look.form))
        case "jsonl":
            return [json.loads(line) for line in text.splitlines()]
        case _:
            given = json.loads(text)
    if look.form == "list":
        return list(given)
    return list(given["records"] if look.form == "records" else given["data"]["items"])


def _instant(written: Any, look: Look) -> datetime:
    if look.stamp == "epoch_ms":
        return datetime.fromtimestamp(int(written) / 1000, UTC)
    read = datetime.fromisoformat(str(written))
    zoned = read if read.tzinfo else read.replace(tzinfo=ZoneInfo(look.zone))
    return zoned.astimezone(UTC)
