"""The close pack: whole or not there, the same to the byte for ever, and true to the journal."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kling_ledger.errors import ConfigError, NotFoundError, PeriodError
from kling_ledger.ledger import Job, Ledger, ProviderRecord, State
from kling_pricing.money import from_micro, plain
from kling_reports import close_pack
from tests.export_ledger import EVENTFUL, NASTY, UNITS, Step, happen, held, ledger_of, steps
from tests.ledgers import Clock, found, make_empty, money, tamper

FILES = {
    "statement.csv",
    "statement-lines.csv",
    "spend.csv",
    "variance.csv",
    "reconciliation.csv",
    "corrections.csv",
    "accruals.csv",
    "roll-forward.csv",
    "purchases.csv",
    "billing-period.csv",
    "invoice-detail.csv",
    "checks.csv",
    "controls.csv",
    "limits.csv",
    "focus.csv",
    "seal.json",
    "manifest.json",
}
BEFORE, *MONTHS = ("2026-08", "2026-09", "2026-10")


@contextmanager
def closed(url: str, history: list[Step], *, paid: bool = False) -> Iterator[tuple[Ledger, Clock]]:
    """A ledger in which this happened, with September and October 2026 closed hard."""
    with ledger_of(url, history, paid=paid) as (ledger, clock):
        clock.forward(hours=24 * 62)
        # What amends the month before the first one puts a transfer there: it is sealed first.
        for month in (BEFORE, *MONTHS):
            ledger.periods.close(month, hard=True)
        yield ledger, clock


def packed(ledger: Ledger, month: str = "2026-10") -> dict[str, bytes]:
    return close_pack.contents(ledger.database, month)


def rows(files: dict[str, bytes], name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files[name].decode(), newline="")))


def added(found_rows: list[dict[str, str]], column: str, unit: str) -> Decimal:
    return sum((Decimal(row[column]) for row in found_rows if row["unit"] == unit), Decimal(0))


def test_a_pack_holds_everything_with_its_sums(tmp_path: Path):
    folder = tmp_path / "packs" / "october"
    with closed(str(tmp_path / "ledger"), EVENTFUL) as (ledger, _):
        names = close_pack.write(ledger.database, "2026-10", folder)
        seal = found(ledger, "SELECT seal FROM period WHERE name = '2026-10'")[0]["seal"]
    assert set(names) == {path.name for path in folder.iterdir()} == FILES
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert (manifest["close_pack"], manifest["seal"]) == ("2026-10", seal)
    assert {file["name"] for file in manifest["files"]} == FILES - {"manifest.json"}
    for file in manifest["files"]:
        content = (folder / file["name"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (
            file["bytes"],
            file["sha256"],
        )
    assert json.loads((folder / "seal.json").read_bytes())["seal"] == seal


@pytest.mark.parametrize("paid", [False, True])
def test_a_pack_is_the_same_to_the_byte_whatever_happens_later(tmp_path: Path, *, paid: bool):
    with closed(str(tmp_path / "ledger"), EVENTFUL, paid=paid) as (ledger, clock):
        before = {month: packed(ledger, month) for month in MONTHS}
        clock.forward(hours=24 * 40)
        ledger.wallets.create("a-newer-one", "USD")
        ledger.wallets.fund("a-newer-one", money("5 USD"))
        for what in ("buy", "commit", "refund", "late", "fund", "adjust", "euros"):
            for wallet in UNITS:
                happen(ledger, Step(what, wallet, micro=1_999_999))
        for one in ledger.reservations.latest(state=State.RESERVED):
            ledger.commit(one.id, one.amount, settled_by="provider")
        _reconcile(ledger)
        ledger.wallets.adjust("team", money("1 USD"), reason="forgotten", corrects="2026-10")
        ledger.periods.close("2026-11", hard=True)
        assert {month: packed(ledger, month) for month in MONTHS} == before


def _reconcile(ledger: Ledger) -> None:
    task = found(ledger, "SELECT provider, id FROM reservation WHERE provider IS NOT NULL")[0]
    record = ProviderRecord(
        provider=task["provider"],
        account="",
        task_id="task-1",
        reservation_id=task["id"],
        verdict="matched",
        state="done",
        billed=money("1 USD"),
        source="bill.csv",
    )
    ledger.evidence.keep_records([record])


@pytest.mark.parametrize("paid", [False, True])
def test_two_engines_give_the_same_pack(tmp_path: Path, postgres_ledger: str, *, paid: bool):
    make_empty(postgres_ledger)
    with closed(str(tmp_path / "ledger"), EVENTFUL, paid=paid) as (ledger, _):
        on_sqlite = packed(ledger)
    with closed(postgres_ledger, EVENTFUL, paid=paid) as (ledger, _):
        assert packed(ledger) == on_sqlite


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(history=steps, paid=st.booleans())
@example(history=[Step("amend"), Step("commit", hours=24 * 5)], paid=False)
def test_every_total_is_the_journals_to_the_last_millionth(
    postgres_ledger: str, history: list[Step], *, paid: bool
):
    make_empty(postgres_ledger)
    with closed(postgres_ledger, history, paid=paid) as (ledger, _):
        files = packed(ledger)
        before, after = held(ledger, "2026-09"), held(ledger, "2026-10")
    for unit in UNITS.values():

        def moved(start: str, end: str = "", unit: str = unit) -> Decimal:
            def total(accounts: dict[tuple[str, str], int]) -> int:
                return sum(
                    micro
                    for (account, of), micro in accounts.items()
                    if of == unit and account.startswith(start) and account.endswith(end)
                )

            return from_micro(total(after) - total(before))

        spent = moved("provider/")
        statement = rows(files, "statement.csv")
        assert added(rows(files, "spend.csv"), "net", unit) == spent
        assert added(rows(files, "reconciliation.csv"), "net", unit) == spent
        assert added(statement, "spent", unit) + added(statement, "refunded", unit) == -spent
        assert added(statement, "funded", unit) == -moved("funding")
        assert added(statement, "adjusted", unit) == -moved("adjustment")
        assert added(rows(files, "statement-lines.csv"), "amount", unit) == moved("wallet/")
        still = sum(
            micro
            for (account, of), micro in after.items()
            if of == unit and account.endswith("/reserved")
        )
        still_open = [row for row in rows(files, "accruals.csv") if row["kind"] == "open"]
        assert added(still_open, "high", unit) == from_micro(still)
        assert added(statement, "reserved", unit) == from_micro(still)
    assert {row["difference"] for row in rows(files, "checks.csv")} == {"0"}


def test_a_clip_is_compared_with_its_quote_in_the_month_in_which_it_ended(ledger_clock):
    ledger, clock = ledger_clock
    one = ledger.reserve("team", money("2 USD"), job=Job(provider="runapi", model="m")).id
    two = ledger.reserve("team", money("1 USD"), job=Job(provider="runapi", model="m")).id
    ledger.commit(one, money("0.5 USD"), is_part=True, key="part", settled_by="provider")
    clock.forward(hours=24 * 5)
    ledger.commit(one, money("1 USD"), settled_by="provider")
    ledger.commit(two, money("1 USD"), settled_by="provider")
    clock.forward(hours=24 * 31)
    ledger.refund(two, money("1 USD"), reason="bad")
    clock.forward(hours=24 * 31)
    for month in ("2026-09", "2026-10", "2026-11"):
        ledger.periods.close(month, hard=True)
    assert rows(packed(ledger, "2026-09"), "variance.csv") == []
    (october,) = rows(packed(ledger, "2026-10"), "variance.csv")
    figures = ("clips", "quoted", "held", "settled", "variance", "confirmed_clips", "exact")
    assert [october[name] for name in figures] == ["2", "3", "3", "2.5", "-0.5", "2", "1"]
    assert rows(packed(ledger, "2026-11"), "variance.csv") == []


@pytest.fixture
def ledger_clock(tmp_path: Path) -> Iterator[tuple[Ledger, Clock]]:
    with ledger_of(str(tmp_path / "ledger"), []) as made:
        yield made


def test_what_jobs_still_hold_at_the_end_is_accrued(ledger_clock):
    ledger, clock = ledger_clock
    clock.forward(hours=24 * 10)
    ledger.periods.close("2026-09", hard=True)
    accrued = {
        row["unit"]: (row["kind"], row["expected"], row["low"], row["high"])
        for row in rows(packed(ledger, "2026-09"), "accruals.csv")
    }
    assert accrued == dict.fromkeys(UNITS.values(), ("open", "0.675", "0", "0.675"))


def test_a_month_that_nobody_closed_is_refused(ledger_clock, tmp_path: Path):
    ledger, clock = ledger_clock
    clock.forward(hours=24 * 10)
    with pytest.raises(NotFoundError, match="no such closed period: 2026-09") as said:
        close_pack.write(ledger.database, "2026-09", tmp_path / "pack")
    assert said.value.hint == "close it first"
    assert not (tmp_path / "pack").exists()


@pytest.mark.parametrize("wallets", [[], ["team"]])
def test_a_month_in_which_nothing_happened_has_a_pack(tmp_path: Path, wallets: list[str]):
    with Ledger(str(tmp_path / "ledger"), clock=Clock()) as ledger:
        for name in wallets:
            ledger.wallets.create(name, "USD")
        ledger.periods.close("2026-02", hard=True)
        files = packed(ledger, "2026-02")
    assert set(files) == FILES
    empty = {name for name in FILES if name.endswith(".csv")} - {"controls.csv"}
    assert {name for name in empty if rows(files, name)} == set()


def test_a_quiet_month_has_the_balances_that_it_began_with(ledger_clock):
    ledger, clock = ledger_clock
    clock.forward(hours=24 * 62)
    for month in MONTHS:
        ledger.periods.close(month, hard=True)
    files = packed(ledger, "2026-10")
    for row in rows(files, "statement.csv"):
        assert (row["opening"], row["closing"], row["reserved"]) == ("1000000", "1000000", "0.675")
    assert rows(files, "spend.csv") == rows(files, "variance.csv") == []
    assert len(rows(files, "accruals.csv")) == len(UNITS)


@pytest.mark.parametrize("state", ["soft", "open"])
def test_a_month_that_is_not_sealed_is_refused(ledger_clock, tmp_path: Path, state: str):
    ledger, clock = ledger_clock
    clock.forward(hours=24 * 10)
    ledger.periods.close("2026-09")
    if state == "open":
        ledger.periods.reopen("2026-09", reason="a bill came")
    with pytest.raises(PeriodError, match="its figures may still change") as said:
        close_pack.write(ledger.database, "2026-09", tmp_path / "pack")
    assert said.value.hint == "kling-ledger close 2026-09 --hard"
    assert not (tmp_path / "pack").exists()


def test_a_month_that_is_not_what_was_sealed_is_refused(tmp_path: Path):
    url = str(tmp_path / "ledger")
    with closed(url, EVENTFUL):
        pass
    changed = "UPDATE transfer SET amount_micro = amount_micro + 1 WHERE id IN"
    tamper(url, f"{changed} (SELECT id FROM transfer WHERE period = '2026-10' LIMIT 1)")
    with Ledger(url) as ledger, pytest.raises(PeriodError, match="differs from its seal"):
        close_pack.write(ledger.database, "2026-10", tmp_path / "pack")
    assert not (tmp_path / "pack").exists()


def test_a_pack_that_is_there_already_stays_and_another_folder_is_left_alone(tmp_path: Path):
    folder = tmp_path / "pack"
    with closed(str(tmp_path / "ledger"), EVENTFUL) as (ledger, _):
        folder.mkdir()
        close_pack.write(ledger.database, "2026-10", folder)
        made = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
        close_pack.write(ledger.database, "2026-10", folder)
        assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == made
        (folder / "spend.csv").write_text("mine")
        with pytest.raises(ConfigError, match="holds something other"):
            close_pack.write(ledger.database, "2026-10", folder)
        with pytest.raises(ConfigError, match="holds something other"):
            close_pack.write(ledger.database, "2026-09", folder)
    assert (folder / "spend.csv").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["pack"]


def test_a_pack_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    packs = tmp_path / "packs"
    with closed(str(tmp_path / "ledger"), EVENTFUL) as (ledger, _):
        write_bytes = Path.write_bytes
        written: list[Path] = []

        def full_disk(path: Path, content: bytes) -> int:
            if len(written) == 3:
                raise OSError(28, "No space left on device")
            written.append(path)
            return write_bytes(path, content)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "write_bytes", full_disk)
            with pytest.raises(OSError, match="No space left"):
                close_pack.write(ledger.database, "2026-10", packs / "october")
    assert list(packs.iterdir()) == []


def test_text_of_users_is_no_formula_in_any_file(tmp_path: Path):
    with closed(str(tmp_path / "ledger"), [Step("refund", text=NASTY[0], hours=100)]) as (
        ledger,
        _,
    ):
        files = packed(ledger)
    cells = [
        cell
        for name in files
        if name.endswith(".csv")
        for row in rows(files, name)
        for column, cell in row.items()
        # FOCUS is for programs, which join by its keys: what people read of it is guarded.
        if name != "focus.csv" or column in {"ChargeDescription", "x_Reason"}
    ]
    assert any(cell.startswith("'=") for cell in cells)
    assert not any(cell.startswith(("=", "+", "@")) for cell in cells)


def test_credits_without_a_known_worth_need_a_rate_which_the_manifest_names(tmp_path: Path):
    clock = Clock()
    with Ledger(str(tmp_path / "ledger"), clock=clock) as ledger:
        ledger.wallets.create("points", "points")
        ledger.wallets.fund("points", money("10 points"))
        one = ledger.reserve("points", money("10 points"), job=Job(provider="runapi"))
        ledger.commit(one.id, money("10 points"), settled_by="provider")
        clock.forward(hours=24 * 31)
        ledger.periods.close("2026-03", hard=True)
        with pytest.raises(ConfigError, match="the worth of one points in USD is unknown"):
            packed(ledger, "2026-03")
        rates = {"points": Decimal("0.20")}
        files = close_pack.contents(ledger.database, "2026-03", rates=rates)
    assert json.loads(files["manifest.json"])["rates_given"] == {"points": plain(rates["points"])}
    assert rows(files, "focus.csv")[0]["BilledCost"] == "2.0"
