"""Lists: a few reservations of many are found through an index, and paged without a gap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from kling_ledger.errors import ConfigError, NotFoundError
from kling_ledger.ledger import Asked, Change, Job, Ledger, Reservation, Scope, State
from kling_ledger.ledger.engines.postgres_transaction import PostgresTransaction
from kling_ledger.ledger.engines.sqlite_transaction import SqliteTransaction
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.evidence import ProviderBalance
from kling_reports.doors import journal
from kling_reports.report import Span
from tests.ledgers import NOON, Clock, plain_url, usd
from tests.postgres import PostgresServer

USUAL = {
    "project": "film/shot",
    "provider": "runapi",
    "account": "studio",
    "model": "kling-3.0",
    "label": "client=usual",
}
RARE = {
    "project": "pilot/one",
    "provider": "crun",
    "account": "north",
    "model": "kling-rare",
    "label": "client=rare",
}
MANY = 3000


def asked(kind: dict[str, str], *, wallet: str = "team") -> Asked:
    name, _, value = kind["label"].partition("=")
    job = Job(
        provider=kind["provider"],
        model=kind["model"],
        account=kind["account"],
        address="https://gateway.example",
    )
    return Asked(wallet, usd("0.1"), job, kind["project"], {name: value, "is": "clip"})


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def many(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Ledger]:
    """Some thousand reservations that are alike, and one that is like none of them."""
    if request.param == "sqlite":
        url = str(tmp_path_factory.mktemp("many") / "ledger.sqlite")
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_database()
    clock = Clock(NOON)
    with Ledger(url, clock=clock) as ledger:
        for wallet in ("team", "other"):
            ledger.wallets.create(wallet, "USD")
            ledger.wallets.fund(wallet, usd("1000"))
        fill(ledger, clock)
        if request.param == "postgresql":
            with psycopg.connect(plain_url(url), autocommit=True) as connection:
                connection.execute("ANALYZE")
        yield ledger


def fill(ledger: Ledger, clock: Clock) -> None:
    for place in range(MANY // 100):
        clock.forward(minutes=10)
        made = ledger.reserve_many([asked(USUAL)] * 100)
        ledger.settle([Change(one.id, State.COMMITTED, usd("0.1")) for one in made])
        if place == MANY // 200:
            rare = ledger.reserve_many([asked(RARE, wallet="other")] * 4)
            end(ledger, rare, clock)


def end(ledger: Ledger, rare: list[Reservation], clock: Clock) -> None:
    ledger.roll_back(rare[0].id, "by hand")
    ledger.mark_submitting(rare[1].id)
    ledger.mark_submitting(rare[2].id)
    ledger.mark_submitted(rare[2].id, "task-2")
    ledger.mark_in_doubt(rare[1].id, "time-out")
    ledger.reserve("other", usd("0.1"), expires_at=clock.now + timedelta(seconds=1))
    clock.forward(minutes=1)
    ledger.expire()


Plans = Callable[[], str]


@pytest.fixture
def plans(many: Ledger, monkeypatch: pytest.MonkeyPatch) -> Plans:
    """How the engine goes about each query since, in its own words."""
    queries: list[tuple[str, dict[str, Any]]] = []
    kinds: tuple[type[Transaction], ...] = (SqliteTransaction, PostgresTransaction)
    for kind in kinds:
        plain = kind.rows

        def rows(
            self: Transaction, statement: str, *, plain: Any = plain, **values: Any
        ) -> list[Any]:
            queries.append((statement, values))
            return list(plain(self, statement, **values))

        all_batches = kind.batches

        def batches(
            self: Transaction, statement: str, size: int, *, plain: Any = all_batches, **values: Any
        ) -> Any:
            queries.append((statement, values))
            return plain(self, statement, size, **values)

        monkeypatch.setattr(kind, "rows", rows)
        monkeypatch.setattr(kind, "batches", batches)

    def planned() -> str:
        seen = list(queries)
        with many.database.read() as transaction:
            lines = [
                str([*row.values()][-1])
                for query, values in explained(transaction, seen)
                for row in transaction.rows(query, **values)
            ]
        queries.clear()
        return "\n".join(lines)

    return planned


def explained(transaction: Transaction, seen: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(transaction, SqliteTransaction):
        yield from ((f"EXPLAIN QUERY PLAN {query}", values) for query, values in seen)
        return
    # A server reads a table from end to end where it is small, or where all of it is asked for.
    transaction.row("SELECT set_config('enable_seqscan', 'off', true)")
    yield from ((f"EXPLAIN {query}", values) for query, values in seen)


def check(plan: str, index: str) -> None:
    """A plan goes by an index, and reads no table of many rows from end to end."""
    assert index in plan
    for table in ("reservation", "transfer", "labelled"):
        assert f"SCAN {table}\n" not in f"{plan}\n"
        assert f"Seq Scan on {table} " not in f"{plan} "


BY_INDEX: dict[str, tuple[dict[str, Any], int]] = {
    "reservation_by_state": ({"state": State.EXPIRED}, 1),
    "reservation_by_state ": ({"state": State.IN_DOUBT}, 1),
    "reservation_open": ({"state": State.SUBMITTED}, 1),
    "reservation_by_wallet": ({"wallet": "other"}, 5),
    "reservation_by_project": ({"project": "pilot/one"}, 4),
    "reservation_by_project ": ({"project": "pilot/"}, 4),
    "reservation_by_provider": ({"provider": "crun"}, 4),
    "reservation_by_account": ({"account": "north"}, 4),
    "reservation_by_model": ({"model": "kling-rare"}, 4),
    "reservation_by_model ": ({"model": "kling-rare", "wallet": "other"}, 4),
    "reservation_by_time": ({"since": NOON, "until": NOON + timedelta(minutes=15)}, 50),
}


@pytest.mark.parametrize("index", BY_INDEX)
def test_a_filter_goes_by_an_index_of_its_own(many: Ledger, plans: Plans, index: str):
    wanted, count = BY_INDEX[index]
    assert len(many.reservations.latest(**wanted)) == count
    check(plans(), index.strip())


def test_a_label_goes_by_the_labels(many: Ledger, plans: Plans):
    assert len(many.reservations.latest(label="client=rare")) == 4
    is_file = many.database.engine.dialect == "sqlite"
    check(plans(), "labelled USING PRIMARY KEY (label=?)" if is_file else "reservation_label_pkey")


def test_of_two_filters_the_rarer_one_leads(many: Ledger, plans: Plans):
    assert many.reservations.latest(provider="runapi", state=State.EXPIRED) == []
    check(plans(), "reservation_by_state")


def test_a_folder_of_many_projects_is_read_from_its_last_one_on(many: Ledger, plans: Plans):
    assert len(many.reservations.latest(project="film/")) == 50
    check(plans(), "reservation_by_time")


def test_other_questions_go_by_indexes_too(many: Ledger, plans: Plans):
    assert len(many.reservations.open()) == 3
    check(plans(), "reservation_open")
    assert many.reservations.of_task("crun", "task-2") is not None
    check(plans(), "reservation_by_task")
    assert many.reservations.tasks_at("crun") == {"task-2"}
    check(plans(), "reservation_by_task")
    assert len(many.reservations.at_provider("crun")) == 4
    check(plans(), "reservation_by_provider")


def test_what_was_charged_since_is_read_from_the_end_of_the_journal(many: Ledger, plans: Plans):
    last = many.reservations.latest()[0].created_at
    known = ProviderBalance("runapi", "https://gateway.example", "studio", usd("1"), before(last))
    assert many.evidence.charged_since(known) == usd("10")
    check(plans(), key_of(many, "transfer"))
    assert len(journal.transfers(many.database, kinds=["commit"], span=Span(last, None))) == 100
    assert key_of(many, "transfer") in plans()


def test_a_budget_counts_by_an_index(many: Ledger, plans: Plans):
    many.budgets.set("pilots", usd("1"), scope=Scope(project="pilot/"), window="month")
    counting = [line for line in plans().splitlines() if "reservation" in line]
    check("\n".join(counting), "reservation_by_")
    assert many.budgets.get("pilots").reserved == usd("0.3")
    many.budgets.remove("pilots")


def before(at: datetime) -> datetime:
    return at - timedelta(microseconds=1)


def key_of(ledger: Ledger, table: str) -> str:
    is_file = ledger.database.engine.dialect == "sqlite"
    return f"{table} USING PRIMARY KEY" if is_file else f"{table}_pkey"


def test_jobs_at_a_provider_are_read_in_parts_oldest_first(many: Ledger):
    seen = many.reservations.at_provider("runapi")
    keys = [(one.created_at, one.id) for one in seen]
    assert (len(keys), keys) == (MANY, sorted(set(keys)))
    since, until = keys[1050][0], keys[2210][0]
    some = many.reservations.at_provider("runapi", since=since, until=until)
    assert [one.id for one in some] == [id_ for at, id_ in keys if since <= at < until]


# --- pages ------------------------------------------------------------------------------------


def make(ledger: Ledger, clock: Clock) -> list[str]:
    """Reservations newest first: some instants have one of them, some have several."""
    ledger.wallets.create("team", "USD")
    ledger.wallets.fund("team", usd("100"))
    made: list[tuple[datetime, str]] = []
    for count in (1, 7, 2, 1, 5, 3):
        clock.forward(seconds=1)
        kinds = [USUAL if place % 3 else RARE for place in range(count)]
        made.extend(
            (one.created_at, one.id) for one in ledger.reserve_many([asked(one) for one in kinds])
        )
    return [id_ for _, id_ in sorted(made, reverse=True)]


def paged(ledger: Ledger, size: int, **wanted: Any) -> list[str]:
    seen: list[str] = []
    while page := ledger.reservations.latest(
        **wanted, after=seen[-1] if seen else None, limit=size
    ):
        assert len(page) <= size
        seen.extend(one.id for one in page)
    return seen


@pytest.mark.parametrize("size", [1, 2, 4, 19, 20])
def test_every_reservation_is_on_one_page_newest_first(empty_url: str, size: int):
    clock = Clock(NOON)
    with Ledger(empty_url, clock=clock) as ledger:
        made = make(ledger, clock)
        assert len(made) == 19
        assert paged(ledger, size) == made


@pytest.mark.parametrize("name", sorted(RARE))
def test_a_filter_has_pages_too(empty_url: str, name: str):
    clock = Clock(NOON)
    with Ledger(empty_url, clock=clock) as ledger:
        made = make(ledger, clock)
        rare = {one.id for one in ledger.reservations.latest() if one.job.provider == "crun"}
        assert len(rare) == 9
        assert paged(ledger, 2, **{name: RARE[name]}) == [one for one in made if one in rare]
        assert paged(ledger, 2, **{name: USUAL[name]}) == [one for one in made if one not in rare]


def test_what_arrives_meanwhile_is_on_no_later_page(empty_url: str):
    clock = Clock(NOON)
    with Ledger(empty_url, clock=clock) as ledger:
        made = make(ledger, clock)
        first = ledger.reservations.latest(limit=5)
        clock.forward(seconds=1)
        ledger.reserve("team", usd("0.1"))
        rest = ledger.reservations.latest(after=first[-1].id)
    assert [one.id for one in (*first, *rest)] == made


def test_a_folder_is_itself_and_what_is_below_it(empty_url: str):
    with Ledger(empty_url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("100"))
        names = ["film", "film/a", "film/a/b", "film-2", "film.x", "film0", "films", "a", None]
        for name in names:
            ledger.reserve("team", usd("0.1"), project=name)
        for scope, expected in {
            "film/": {"film", "film/a", "film/a/b"},
            "film": {"film"},
            "film/a/": {"film/a", "film/a/b"},
            "fil/": set(),
        }.items():
            seen = {one.project for one in ledger.reservations.latest(project=scope)}
            assert seen == expected


def test_a_stretch_of_time_begins_with_its_start_and_ends_before_its_end(empty_url: str):
    clock = Clock(NOON)
    with Ledger(empty_url, clock=clock) as ledger:
        make(ledger, clock)
        span: dict[str, Any] = {
            "since": NOON + timedelta(seconds=2),
            "until": NOON + timedelta(seconds=4),
        }
        assert len(ledger.reservations.latest(**span)) == 7 + 2
        assert len(ledger.reservations.latest(**span, label="client=rare")) == 3 + 1


def test_a_page_after_nothing_known_or_of_no_label_is_an_error(empty_url: str):
    with Ledger(empty_url) as ledger:
        with pytest.raises(NotFoundError):
            ledger.reservations.latest(after="res_none")
        with pytest.raises(ConfigError):
            ledger.reservations.latest(label="client")


# --- what was left open -----------------------------------------------------------------------


def test_each_of_many_open_jobs_has_its_turn_and_nobody_elses(ledger: Ledger) -> None:
    for name in ("team", "others"):
        ledger.wallets.create(name, "USD")
        ledger.wallets.fund(name, usd("1000"))
    here = [asked(USUAL)] * 5000
    elsewhere = [asked(USUAL, wallet="others"), asked(RARE), asked({**USUAL, "account": "north"})]
    made = ledger.reserve_many([*here, *elsewhere])
    ended = ledger.settle([Change(one.id, State.ROLLED_BACK) for one in made[60:4950]])
    doubtful = [one.id for one in made[4950:5000]]
    ledger.settle([Change(one, State.SUBMITTING) for one in doubtful])
    ledger.settle([Change(one, State.IN_DOUBT) for one in doubtful])
    place = {"provider": "runapi", "address": "https://gateway.example", "account": "studio"}
    draws = [ledger.reservations.some_open(wallet="team", limit=50, **place) for _ in range(60)]
    assert all(len(draw) == 50 for draw in draws)
    # One of sixty is missed by sixty draws of fifty once in 10 ** 46.
    assert {one.id for draw in draws for one in draw} == {one.id for one in made[:60]}
    every = ledger.reservations.some_open(wallet="team", limit=500, **place)
    assert {one.id for one in every[60:]} == set(doubtful)
    assert len(every) == 110
    assert len(ended) == 4890


def test_what_is_open_is_drawn_on_both_engines(many: Ledger) -> None:
    drawn = many.reservations.some_open(
        wallet="other", provider="crun", address="https://gateway.example", account="north", limit=9
    )
    assert [one.state for one in drawn if one.state is State.IN_DOUBT] == [drawn[-1].state]
    assert {one.state for one in drawn} == {State.RESERVED, State.SUBMITTED, State.IN_DOUBT}
    nameless = many.reservations.some_open(
        wallet="other", provider="crun", address="https://gateway.example", account=None, limit=9
    )
    assert nameless == []
