"""Callers on a server that write down what they were told, and the arithmetic that checks it.

A caller is a process that funds, reserves and ends jobs until it is stopped, whatever becomes of
the server meanwhile. It asks again only as a careful program would: under the same key. The check
reads the tables by SQL and works out every balance anew; nothing of the ledger is in it.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Final, Protocol

import psycopg
from psycopg.rows import dict_row

from kling_ledger.errors import DatabaseError, RefusedError
from kling_ledger.ledger import Ledger, Scope
from kling_pricing.money import Money
from tests.ledgers import plain_url

Answer = dict[str, Any]

CLIP: Final = Money.parse("0.675 USD")
AT_ONCE: Final = 2
"""How many clips the budgets let all callers hold at once: fewer than there are callers."""
GIVE_UP_S: Final = 90
"""How long a caller asks again before it says that it never got an answer."""
GIVE_UP_ONCE_STOPPED_S: Final = 10
"""How long it does that after it was told to stop."""

_ID: Final = re.compile(r"\b(txf|res|wal)_[0-9a-z]{26}\b")


def set_up(url: str, callers: int) -> None:
    """Make a ledger with a shared wallet under two budgets, and one wallet for each caller."""
    with Ledger(url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", Money.parse("100000 USD"))
        limit = Money.from_micro(AT_ONCE * CLIP.micro + 500_000, "USD")
        ledger.budgets.set("all", limit)
        ledger.budgets.set("load", limit, scope=Scope(project="load/"), window="month")
        for number in range(callers):
            ledger.wallets.create(f"caller-{number}", "USD")


# --- a caller ----------------------------------------------------------------------------------


def load(url: str, log: str, number: int, stop: str) -> Answer:
    """Call until a file `stop` is there; write what was said to `log`, a JSON object a line."""
    with Path(log).open("w", buffering=1) as told:
        caller = Caller(number, told, Path(stop))
        if caller.open(url):
            while not caller.is_stopped:
                caller.fund()
                caller.spend()
            caller.close()
    return {"calls": caller.calls}


class Stop(Protocol):
    """What says that callers shall stop: a file that is there."""

    def exists(self) -> bool:
        """Whether it is there."""


class Caller:
    """One process: its ledger, and the file in which it notes what it was told."""

    def __init__(self, number: int, told: IO[str], stop: Stop) -> None:
        self.calls = 0
        self._number = number
        self._told = told
        self._stop = stop

    @property
    def is_stopped(self) -> bool:
        return self._stop.exists()

    def open(self, url: str) -> bool:
        """Open the ledger; False where it never could be."""
        facts = {"do": "open"}
        opened, said = self._until_told(lambda: Ledger(url, actor=f"caller-{self._number}"), facts)
        self._note(facts, said)
        if opened is not None:
            self._ledger: Ledger = opened
        return opened is not None

    def close(self) -> None:
        self._ledger.close()

    def fund(self) -> None:
        """Add an amount that no other call has: with no key, with a key, and asked again."""
        self.calls += 1
        wallet, micro = f"caller-{self._number}", self.calls
        way = self.calls % 3
        key = f"fund {self._number}-{micro}" if way else None
        facts = {"do": "fund", "wallet": wallet, "micro": micro, "key": key}
        tell = self._until_told if way == 2 else self._once
        _, said = tell(
            lambda: self._ledger.wallets.fund(wallet, Money.from_micro(micro, "USD"), key=key),
            facts,
        )
        self._note(facts, said)

    def spend(self) -> None:
        """Reserve a clip under a key, then commit or roll back; ask again until there is word."""
        micro, key = self.calls, f"clip {self._number}-{self.calls}"
        project = f"load/{self._number}-{micro}"
        facts: Answer = {"do": "reserve", "project": project, "key": key}
        reserved, said = self._until_told(
            lambda: self._ledger.reserve("team", CLIP, key=key, project=project), facts
        )
        self._note(facts | {"id": getattr(reserved, "id", None)}, said)
        if reserved is None:
            return
        if micro % 2:
            cost = Money.from_micro(1 + micro % 4, "USD")
            facts = {"do": "end", "id": reserved.id, "micro": cost.micro}
            _, said = self._until_told(lambda: self._ledger.commit(reserved.id, cost), facts)
        else:
            facts = {"do": "end", "id": reserved.id, "micro": None}
            _, said = self._until_told(
                lambda: self._ledger.roll_back(reserved.id, "it failed"), facts
            )
        self._note(facts, said)

    def _once(self, call: Callable[[], Any], facts: Answer) -> tuple[Any, Answer]:
        try:
            return call(), {"told": "done"}
        except RefusedError as error:
            return None, {"told": "refused", "text": error.code}
        except DatabaseError as error:
            is_unknown = getattr(error, "code", "") == "outcome_unknown"
            text = f"{error} {error.hint or ''}"
            return None, {
                "told": "unknown" if is_unknown else "failed",
                "text": text,
                "says_how": bool(_ID.search(text)) or (facts.get("key") or text) in text,
            }

    def _until_told(self, call: Callable[[], Any], facts: Answer) -> tuple[Any, Answer]:
        """Call again under the same key after every error, as long as a caller may want to wait."""
        give_up_at, is_leaving = time.monotonic() + GIVE_UP_S, False
        while True:
            if self.is_stopped and not is_leaving:
                is_leaving = True
                give_up_at = min(give_up_at, time.monotonic() + GIVE_UP_ONCE_STOPPED_S)
            result, said = self._once(call, facts)
            if said["told"] in {"done", "refused"} or time.monotonic() > give_up_at:
                return result, said
            self._note(facts | {"is_asked_again": True}, said)
            time.sleep(0.05)

    def _note(self, facts: Answer, said: Answer) -> None:
        self._told.write(json.dumps(facts | said | {"at": time.time()}) + "\n")


# --- what was told -----------------------------------------------------------------------------


def read_logs(logs: Iterable[Path]) -> list[Answer]:
    """Return all that callers were told, in the order of time."""
    rows = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    return sorted(rows, key=lambda row: row["at"])


def longest_silence(told: Sequence[Answer]) -> float:
    """Return the longest time in seconds in which nobody was told that anything was done."""
    done = [row["at"] for row in told if row["told"] == "done"]
    return max((later - at for at, later in pairwise(done)), default=0.0)


def errors_told(told: Sequence[Answer]) -> list[str]:
    """Return what database errors said."""
    return [row["text"] for row in told if row["told"] in {"failed", "unknown"}]


# --- the arithmetic ----------------------------------------------------------------------------


@dataclass
class Findings:
    """What is wrong, law by law; a ledger that keeps them all has only empty lists."""

    lost: list[str] = field(default_factory=list)
    """Told done, and not there."""
    doubled: list[str] = field(default_factory=list)
    """Asked for once, and there more than once."""
    posted_though_failed: list[str] = field(default_factory=list)
    """Told failed, not unknown, and there."""
    unknown_without_a_way: list[str] = field(default_factory=list)
    """Told unknown, without the key or the id to ask again with."""
    strange: list[str] = field(default_factory=list)
    """There, and asked for by nobody, or under another caller's name."""
    sums: list[str] = field(default_factory=list)
    """A balance or a limit that does not follow from the journal."""


class _Tables:
    """The rows of a ledger, read by SQL alone in one state."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(plain_url(url), row_factory=dict_row) as server:
            server.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self.wallets = server.execute("SELECT * FROM wallet").fetchall()
            self.reservations = server.execute("SELECT * FROM reservation").fetchall()
            self.transfers = server.execute("SELECT * FROM transfer").fetchall()
            self.windows = server.execute(
                "SELECT name, project, limit_micro, held_micro, spent_micro"
                " FROM budget_window JOIN budget ON budget.id = budget_id"
            ).fetchall()


def check(url: str, told: Sequence[Answer]) -> Findings:
    """Hold the tables to what callers were told, and every balance to the journal."""
    tables, findings = _Tables(url), Findings()
    _check_fundings(tables, told, findings)
    _check_reservations(tables, told, findings)
    _check_ends(tables, told, findings)
    findings.sums.extend(wrong_sums(url))
    findings.unknown_without_a_way.extend(
        row["text"] for row in told if row["told"] == "unknown" and not row["says_how"]
    )
    return findings


def _check_fundings(tables: _Tables, told: Sequence[Answer], findings: Findings) -> None:
    names = {row["id"]: row["name"] for row in tables.wallets}
    posted = Counter(
        (names[row["wallet_id"]], row["amount_micro"], row["actor"])
        for row in tables.transfers
        if row["kind"] == "fund" and names[row["wallet_id"]] != "team"
    )
    # Each amount is asked for once, so a caller's last word on it is what it was told.
    words = {
        (row["wallet"], row["micro"], row["wallet"]): row for row in told if row["do"] == "fund"
    }
    findings.strange.extend(f"funded by nobody: {one}" for one in posted.keys() - words.keys())
    for one, row in words.items():
        if posted[one] > 1:
            findings.doubled.append(f"funded {posted[one]} times: {one}")
        if row["told"] == "done" and not posted[one]:
            findings.lost.append(f"told funded: {one}")
        if row["told"] == "failed" and posted[one]:
            findings.posted_though_failed.append(f"{one}: {row['text']}")


def _check_reservations(tables: _Tables, told: Sequence[Answer], findings: Findings) -> None:
    made = defaultdict(list)
    for row in tables.reservations:
        made[row["project"]].append(row)
    words = {row["project"]: row for row in told if row["do"] == "reserve"}
    findings.strange.extend(f"reserved by nobody: {one}" for one in made.keys() - words.keys())
    for project, row in words.items():
        ids = [one["id"] for one in made[project]]
        if len(ids) > 1:
            findings.doubled.append(f"reserved {len(ids)} times: {project}")
        if row["told"] == "done" and row["id"] not in ids:
            findings.lost.append(f"told reserved: {project}")
        if row["told"] == "refused" and ids:
            findings.posted_though_failed.append(f"{project} was refused: {row['text']}")
        caller = f"caller-{project.removeprefix('load/').partition('-')[0]}"
        findings.strange.extend(
            f"{project} by {one['actor']}" for one in made[project] if one["actor"] != caller
        )


def _check_ends(tables: _Tables, told: Sequence[Answer], findings: Findings) -> None:
    by_id = {row["id"]: row for row in tables.reservations}
    charges = defaultdict(list)
    for row in tables.transfers:
        if row["credit_account"].startswith("provider/"):
            charges[row["reservation_id"]].append(row["amount_micro"])
    for row in told:
        if row["do"] == "end" and row["told"] == "done":
            one, expected = by_id.get(row["id"]), [row["micro"]] if row["micro"] else []
            state = "committed" if expected else "rolled_back"
            if one is None or one["state"] != state or (expected and not charges[row["id"]]):
                findings.lost.append(f"told {state}: {row['id']}")
            elif charges[row["id"]] != expected:
                findings.doubled.append(f"charged {charges[row['id']]}, told {expected}")


def wrong_sums(url: str) -> list[str]:
    """Work out each balance from the journal and the reservations; return those that differ."""
    tables = _Tables(url)
    return [*_wrong_wallets(tables), *_wrong_windows(tables)]


def _wrong_wallets(tables: _Tables) -> Iterable[str]:
    flows: Counter[tuple[str, str]] = Counter()
    for row in tables.transfers:
        flows[row["wallet_id"], _kind_of(row["credit_account"])] += row["amount_micro"]
        flows[row["wallet_id"], _kind_of(row["debit_account"])] -= row["amount_micro"]
    held: Counter[str] = Counter()
    for row in tables.reservations:
        held[row["wallet_id"]] += row["held_micro"]
    for row in tables.wallets:
        one, name = row["id"], row["name"]
        funded, spent = -flows[one, "funding"], flows[one, "provider"]
        figures = (row["funded_micro"], row["posted_micro"], row["reserved_micro"])
        by_journal = (funded, funded - spent - flows[one, "adjustment"], flows[one, "reserved"])
        if figures != by_journal:
            yield f"wallet {name}: {figures}, by the journal {by_journal}"
        if row["reserved_micro"] != held[one]:
            yield f"wallet {name} has reserved {row['reserved_micro']}, its jobs hold {held[one]}"
        if row["posted_micro"] < row["reserved_micro"]:
            yield f"wallet {name} promised more than it has: {figures}"


def _kind_of(account: str) -> str:
    """Return `reserved` of `wallet/ID/reserved`, `provider` of `provider/NAME`."""
    first, *rest = account.split("/")
    return rest[-1] if first == "wallet" else first


def _wrong_windows(tables: _Tables) -> Iterable[str]:
    for row in tables.windows:
        covered = [
            one
            for one in tables.reservations
            if (one["project"] or "").startswith(row["project"] or "")
        ]
        figures = (row["held_micro"], row["spent_micro"])
        sums = (
            sum(one["held_micro"] for one in covered),
            sum((one["committed_micro"] or 0) - one["refunded_micro"] for one in covered),
        )
        if figures != sums:
            yield f"budget {row['name']}: {figures}, its jobs {sums}"
        if sum(figures) > row["limit_micro"]:
            yield f"budget {row['name']}: {figures} is beyond {row['limit_micro']}"
