"""Tokens: who may spend, what a caller may choose, and the cap on all jobs of one run."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from kling_ledger.config import database_url as address_of
from kling_ledger.errors import (
    BudgetError,
    CeilingError,
    ConfigError,
    ConflictError,
    LabelNotAllowedError,
    ModelNotAllowedError,
    NotFoundError,
    ProjectNotAllowedError,
    RefusedError,
    RunNeededError,
    TokenError,
)
from kling_ledger.ledger import Asked, Job, Ledger, Scope
from kling_ledger.ledger.backup import backup, restore
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.limits import Setting
from kling_ledger.ledger.schema import SCHEMA_VERSION
from kling_ledger.ledger.token_bounds import check_model, project_of
from kling_ledger.ledger.tokens import Token
from kling_pricing.errors import AmountError
from tests.first_release import make_first_release
from tests.ledger_worker import Nursery, nursery_running
from tests.ledgers import NOON, Clock, dump, found, money, on_disk, unchanged, usd

JOB = Job(provider="runapi", model="kling-3.0", action="text_to_video", payload_hash="a" * 64)
ASKED = Asked("film", usd("1"), job=JOB)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(empty_url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger(empty_url, clock=clock, actor="ada") as opened:
        opened.wallets.create("film", "USD")
        opened.wallets.fund("film", usd("1000"))
        yield opened
        assert opened.verify().is_clean


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with nursery_running() as running:
        yield running


def create(ledger: Ledger, name: str = "bot", **given) -> Token:
    return ledger.tokens.create(name, **{"wallet": "film", **given})[0]


def reserve(ledger: Ledger, token: Token, amount: str = "1", **given) -> str:
    asked = ledger.tokens.bound(token, replace(ASKED, amount=usd(amount)), **given)
    return ledger.reserve_many([asked])[0].id


# --- made, known again, revoked ------------------------------------------------------------------


def test_a_token_is_what_was_asked_for(ledger):
    given = {
        "project": "film/",
        "labels": {"team": "fx"},
        "models": ("kling-3.0", "crun:kling-*"),
        "ceiling": usd("2"),
        "run_limit": usd("10"),
        "approve_above": usd("1.5"),
        "expires_at": NOON + timedelta(days=30),
    }
    made, secret = ledger.tokens.create("bot", wallet="film", **given)
    assert made.id.startswith("tok_")
    assert {name: getattr(made, name) for name in given} == given
    assert (made.name, made.wallet, made.unit, made.actor) == ("bot", "film", "USD", "ada")
    assert (made.created_at, made.revoked_at, made.revoked_by) == (NOON, None, None)
    assert ledger.tokens.of_secret(secret) == ledger.tokens.get("bot") == made


def test_a_secret_is_256_bits_of_chance_and_safe_in_a_header(ledger):
    secrets = {ledger.tokens.create(f"bot-{n}", wallet="film")[1] for n in range(20)}
    assert len(secrets) == 20
    # 43 letters of 64 kinds are 258 bits: the last one tells only four.
    assert all(re.fullmatch(r"klt_[A-Za-z0-9_-]{43}", secret) for secret in secrets)


def test_a_secret_is_kept_as_its_sha_256_and_nowhere_as_itself(ledger, empty_url, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    made, secret = ledger.tokens.create("bot", wallet="film")
    ledger.tokens.of_secret(secret)
    reserve(ledger, made, labels={"shot": "7"}, run="nightly")
    ledger.tokens.revoke("bot", reason="it was in a log")
    with pytest.raises(TokenError) as caught:
        ledger.tokens.of_secret(secret)
    backup(ledger.database.url, tmp_path / "copy.sqlite")
    kept = [row["digest"] for row in found(ledger, "SELECT digest FROM token")]
    assert kept == [sha256(secret.encode()).hexdigest()]
    files = [*on_disk(ledger).values(), (tmp_path / "copy.sqlite").read_bytes()]
    for hidden in (secret, secret.removeprefix("klt_")):
        assert all(hidden.encode() not in written for written in files)
        assert hidden not in caplog.text
        assert hidden not in repr(made) + repr(caught.value)
    rows = [str(found(ledger, f"SELECT * FROM {table}")) for table in ("token", "budget_event")]
    assert all(secret not in row for row in rows)


def test_expired_revoked_and_unknown_sound_alike_and_the_log_tells_them_apart(
    ledger, clock, caplog
):
    caplog.set_level(logging.INFO, "kling_ledger.ledger")
    _, expired = ledger.tokens.create("old", wallet="film", expires_at=NOON + timedelta(hours=1))
    _, revoked = ledger.tokens.create("gone", wallet="film")
    ledger.tokens.revoke("gone", reason="a laptop was lost")
    clock.forward(hours=1)
    told = set()
    for secret in (expired, revoked, "klt_" + "a" * 43, "", "klt_", "sk-something", "klt_\0\ud800"):
        with pytest.raises(TokenError) as caught:
            ledger.tokens.of_secret(secret)
        told.add((caught.value.message, caught.value.hint, caught.value.code))
    assert told == {("no such token", "ask the operator of this gateway for one", "token")}
    assert [record.message for record in caplog.records] == [
        "token gone was revoked by ada: a laptop was lost",
        "token old was used and has expired",
        "token gone was used and was revoked by ada",
    ]


def test_a_token_is_good_until_just_before_it_expires(ledger, clock):
    _, secret = ledger.tokens.create("bot", wallet="film", expires_at=NOON + timedelta(hours=1))
    clock.forward(seconds=3599.999999)
    assert ledger.tokens.of_secret(secret).name == "bot"
    clock.forward(seconds=0.000001)
    with pytest.raises(TokenError):
        ledger.tokens.of_secret(secret)


def test_a_secret_that_is_almost_right_is_wrong(ledger):
    _, secret = ledger.tokens.create("bot", wallet="film")
    for wrong in (secret[:-1], secret + "a", secret.lower(), secret.upper(), f" {secret}"):
        with pytest.raises(TokenError):
            ledger.tokens.of_secret(wrong)


def test_who_revoked_a_token_and_when_is_kept_and_again_changes_nothing(ledger, empty_url, clock):
    create(ledger)
    clock.forward(days=1)
    revoked = ledger.tokens.revoke("bot")
    assert (revoked.revoked_at, revoked.revoked_by) == (clock.now, "ada")
    clock.forward(days=1)
    with unchanged(ledger), Ledger(empty_url, clock=clock, actor="ben") as his:
        assert his.tokens.revoke("bot") == revoked


def test_a_revoked_tokens_name_may_be_given_again_and_its_secret_stays_dead(ledger, clock):
    _, first = ledger.tokens.create("bot", wallet="film")
    ledger.tokens.revoke("bot")
    clock.forward(seconds=1)
    again, second = ledger.tokens.create("bot", wallet="film")
    assert ledger.tokens.get("bot") == again == ledger.tokens.of_secret(second)
    with pytest.raises(TokenError):
        ledger.tokens.of_secret(first)
    assert [one.revoked_at is None for one in ledger.tokens.all()] == [False, True]


def test_a_name_that_is_in_force_is_not_given_again(ledger):
    create(ledger)
    with (
        unchanged(ledger),
        pytest.raises(ConfigError, match="token bot already exists, created at 2026"),
    ):
        create(ledger)


def test_of_many_who_make_a_token_at_once_one_does(ledger):
    def make(_: int) -> str:
        try:
            return create(ledger).id
        except ConfigError:
            return ""

    with ThreadPoolExecutor(16) as pool:
        made = [one for one in pool.map(make, range(16)) if one]
    assert made == [one.id for one in ledger.tokens.all()]
    assert len(made) == 1


@pytest.mark.parametrize(
    ("given", "error"),
    [
        *(
            ({"name": name}, ConfigError)
            for name in ("", "-bot", "a b", "a=b", "a" * 65, "a\0", "ä")
        ),
        *(({"project": one}, ConfigError) for one in ("", "/", "film//", "../film", "a/ /b")),
        *(({"labels": {name: "x"}}, ConfigError) for name in ("token", "run", "a b", "")),
        ({"labels": {"team": "a,b"}}, ConfigError),
        *(({"models": (one,)}, ConfigError) for one in ("", "a b", "k*ng", "**", "a" * 129, "a\n")),
        *(({name: usd("-1")}, AmountError) for name in ("ceiling", "run_limit", "approve_above")),
        *(({name: usd("0")}, AmountError) for name in ("ceiling", "run_limit")),
        ({"ceiling": money("1 crun-credit")}, AmountError),
        ({"run_limit": 5}, AmountError),
        ({"expires_at": NOON}, ConfigError),
        ({"expires_at": NOON.replace(tzinfo=None)}, ConfigError),
        ({"wallet": "nobody"}, NotFoundError),
    ],
)
def test_what_no_token_can_have_is_refused(ledger, given, error):
    with unchanged(ledger), pytest.raises(error):
        ledger.tokens.create(**{"name": "bot", "wallet": "film", **given})


def test_to_ask_a_person_about_everything_is_a_wish(ledger):
    assert create(ledger, approve_above=usd("0")).approve_above == usd("0")


@pytest.mark.parametrize("name", ["nobody", "", "a\0b", "x'; --"])
def test_a_token_that_nobody_made_is_not_found(ledger, name):
    for call in (ledger.tokens.get, ledger.tokens.revoke):
        with unchanged(ledger), pytest.raises(NotFoundError, match="no such token"):
            call(name)


# --- what a caller may choose -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "provider", "model", "is_allowed"),
    [
        ((), "runapi", None, True),
        (("kling-3.0",), "runapi", "kling-3.0", True),
        (("kling-3.0",), "crun", "kling-3.0", True),
        (("kling-3.0",), "runapi", "kling-3.0-pro", False),
        (("kling-3.0",), "runapi", "Kling-3.0", False),
        (("kling-3*",), "runapi", "kling-3.0-pro", True),
        (("kling-3*",), "runapi", "kling-2.6", False),
        (("runapi:kling-3.0",), "runapi", "kling-3.0", True),
        (("runapi:kling-3.0",), "crun", "kling-3.0", False),
        (("runapi:*",), "runapi", "anything", True),
        (("runapi:*",), "crun", "anything", False),
        (("run*",), "runapi", "kling-3.0", False),
        (("*",), "crun", "anything", True),
        (("kling-2.6", "crun:kling-*"), "crun", "kling-3.0", True),
        *((("*",), "runapi", blank, False) for blank in (None, "", "  ")),
    ],
)
def test_a_token_is_for_the_models_that_it_names(ledger, models, provider, model, is_allowed):
    token = create(ledger, models=models)
    if is_allowed:
        check_model(token, provider, model)
        return
    with pytest.raises(ModelNotAllowedError) as caught:
        check_model(token, provider, model)
    assert (caught.value.code, caught.value.allowed) == ("model_not_allowed", models)
    assert isinstance(caught.value, RefusedError)
    assert ", ".join(models) in caught.value.message


@pytest.mark.parametrize(
    ("own", "asked", "found_"),
    [
        (None, None, None),
        (None, "film/teaser", "film/teaser"),
        ("film/teaser", None, "film/teaser"),
        ("film/teaser", "film/teaser", "film/teaser"),
        ("film/", None, "film"),
        ("film/", "film", "film"),
        ("film/", "film/teaser/shot-1", "film/teaser/shot-1"),
    ],
)
def test_a_tokens_project_is_its_own_or_chosen_below_its_folder(ledger, own, asked, found_):
    assert project_of(create(ledger, project=own), asked) == found_


@pytest.mark.parametrize(
    ("own", "asked"),
    [
        ("film/teaser", "film/trailer"),
        ("film/teaser", "film/teaser/shot"),
        ("film/", "filmography"),
        ("film/", "other/film/a"),
        ("film/", "FILM/a"),
        ("film/", "film/"),
        ("film/", "film/../other"),
        ("film/", "film//a"),
        ("film/", "film/a\0"),
        ("film/", ""),
        ("film", "film/teaser"),
    ],
)
def test_a_project_outside_of_a_tokens_is_refused(ledger, own, asked):
    with pytest.raises(ProjectNotAllowedError) as caught:
        project_of(create(ledger, project=own), asked)
    assert caught.value.code == "project_not_allowed"
    assert f"token bot is for {'projects below ' * own.endswith('/')}{own}" in caught.value.message


def test_a_job_carries_its_tokens_labels_and_what_the_caller_adds(ledger):
    token = create(ledger, labels={"team": "fx"})
    added = {"shot": "7", "team": "fx"}
    assert ledger.tokens.bound(token, ASKED).labels == {"team": "fx", "token": "bot"}
    assert ledger.tokens.bound(token, ASKED, run="nightly", labels=added).labels == {
        "team": "fx",
        "shot": "7",
        "token": "bot",
        "run": "bot/nightly",
    }


@pytest.mark.parametrize("asked", [{"team": "grading"}, {"token": "bot"}, {"run": "bot/other"}])
def test_a_caller_changes_no_label_of_the_tokens(ledger, asked):
    token = create(ledger, labels={"team": "fx"}, run_limit=usd("1"))
    with unchanged(ledger), pytest.raises(LabelNotAllowedError) as caught:
        ledger.tokens.bound(token, ASKED, run="nightly", labels=asked)
    assert caught.value.code == "label_not_allowed"


@pytest.mark.parametrize(
    "asked", [{"a b": "c"}, {"a": ""}, {"a": "x,y"}, {f"n{n}": "x" for n in range(21)}]
)
def test_what_is_no_label_and_too_many_labels_are_refused(ledger, asked):
    token = create(ledger)
    with unchanged(ledger), pytest.raises(ConfigError):
        ledger.tokens.bound(token, ASKED, labels=asked)


def test_a_cap_by_day_is_a_budget_over_the_tokens_label(ledger):
    token = create(ledger)
    create(ledger, "other")
    ledger.budgets.set("bot-by-day", usd("3"), scope=Scope(label="token=bot"), window="day")
    reserve(ledger, token, "3")
    with pytest.raises(BudgetError):
        reserve(ledger, token, "0.000001")
    reserve(ledger, ledger.tokens.get("other"), "5")


def test_a_token_bounds_a_job_in_one_step(ledger):
    token = create(
        ledger, project="film/", labels={"team": "fx"}, ceiling=usd("2"), run_limit=usd("9")
    )
    given = Asked("somebody else's", usd("1"), job=JOB, ceiling=usd("5"), key="k")
    bound = ledger.tokens.bound(token, given, project="film/a", labels={"shot": "7"}, run="r1")
    assert bound == Asked(
        "film",
        usd("1"),
        job=JOB,
        project="film/a",
        labels={"team": "fx", "shot": "7", "token": "bot", "run": "bot/r1"},
        key="k",
        ceiling=usd("2"),
        cap=Setting(
            "run/bot/r1",
            usd("9"),
            Scope(label="run=bot/r1"),
            "none",
            "UTC",
            "hard",
            (80, 100),
            None,
        ),
    )
    tighter = ledger.tokens.bound(token, replace(given, ceiling=usd("1.5")), run="r1")
    assert tighter.ceiling == usd("1.5")
    with pytest.raises(CeilingError):
        reserve(ledger, token, "2.000001", run="r1")
    with pytest.raises(ModelNotAllowedError):
        ledger.tokens.bound(create(ledger, "other", models=("kling-2.6",)), given)


# --- the cap of a run ----------------------------------------------------------------------------


def test_the_jobs_of_one_run_cost_no_more_than_its_cap_and_another_run_has_its_own(ledger):
    token = create(ledger, run_limit=usd("3"))
    for amount in ("2", "1"):
        reserve(ledger, token, amount, run="nightly")
    with pytest.raises(BudgetError) as caught:
        reserve(ledger, token, "0.000001", run="nightly")
    assert (caught.value.budget, caught.value.left) == ("run/bot/nightly", usd("0"))
    reserve(ledger, token, "3", run="weekly")
    kept = ledger.budgets.get("run/bot/nightly").budget
    assert (kept.scope, kept.window, kept.mode) == (Scope(label="run=bot/nightly"), "none", "hard")
    assert kept.limit == usd("3")


@pytest.mark.parametrize("run", [None, "", "  "])
def test_a_token_with_a_cap_by_run_needs_one_named(ledger, run):
    token = create(ledger, run_limit=usd("3"))
    with unchanged(ledger), pytest.raises(RunNeededError, match="has no run") as caught:
        reserve(ledger, token, run=run)
    assert "X-Kling-Run" in (caught.value.hint or "")


def test_a_run_under_a_token_without_a_cap_is_a_label_alone(ledger):
    reserve(ledger, create(ledger), run="nightly")
    assert ledger.budgets.all() == []
    assert len(ledger.reservations.latest(label="run=bot/nightly")) == 1


def test_the_cap_of_a_run_is_set_once_by_its_first_job(ledger):
    token = create(ledger, run_limit=usd("3"))
    with unchanged(ledger):
        ledger.tokens.bound(token, ASKED, run="nightly")
    for _ in range(2):
        reserve(ledger, token, run="nightly")
    (event,) = ledger.budgets.history("run/bot/nightly")
    assert (event.actor, event.reason) == ("ada", "set with the first job that it counts")


def test_a_tokens_job_is_bounded_without_the_database(ledger, monkeypatch):
    token = create(ledger, run_limit=usd("3"))
    monkeypatch.setattr(ledger.database, "read", None)
    monkeypatch.setattr(ledger.database, "write", None)
    assert ledger.tokens.bound(token, ASKED, run="nightly").labels["run"] == "bot/nightly"
    monkeypatch.undo()


HASH = "sha256-[0-9a-f]{40}"


@pytest.mark.parametrize(
    ("run", "label", "budget"),
    [
        ("nightly", "bot/nightly", "run/bot/nightly"),
        ("2026-11-27T09:43+00:00", r"bot/2026-11-27T09:43\+00:00", f"run/{HASH}"),
        ("n" * 60, f"bot/{'n' * 60}", f"run/{HASH}"),
        ("n" * 200, f"bot/{HASH}", f"run/bot/{HASH}"),
        ("a/b", f"bot/{HASH}", f"run/bot/{HASH}"),
        ("Nacht läuft", f"bot/{HASH}", f"run/bot/{HASH}"),
        ("a,b=c", f"bot/{HASH}", f"run/bot/{HASH}"),
        ("../../etc", f"bot/{HASH}", f"run/bot/{HASH}"),
        ("sha256-" + "0" * 40, f"bot/{HASH}", f"run/bot/{HASH}"),
    ],
)
def test_whatever_a_run_is_called_has_a_label_and_a_budget(ledger, run, label, budget):
    token = create(ledger, run_limit=usd("3"))
    reserve(ledger, token, "3", run=run)
    (made,) = ledger.reservations.latest()
    (kept,) = ledger.budgets.all()
    assert re.fullmatch(label, made.labels["run"])
    assert re.fullmatch(budget, kept.budget.name)
    assert kept.budget.scope.label == f"run={made.labels['run']}"
    with pytest.raises(BudgetError):
        reserve(ledger, token, "0.000001", run=run)


@pytest.mark.parametrize("run", ["n" * 201, "a\nb", "a\0b", "\ud800", "a\x7fb", "\u202e"])
def test_what_cannot_name_a_run_is_refused(ledger, run):
    token = create(ledger, run_limit=usd("3"))
    with unchanged(ledger), pytest.raises(ConfigError, match="printable characters"):
        reserve(ledger, token, run=run)


def test_two_runs_never_share_a_cap(ledger):
    """Names that a careless join would make one: of tokens, of runs, and of their hashes."""
    pairs = [("a", "b/c"), ("a/b", "c"), ("a", "b"), ("a", "B"), ("a", " b"), ("a", "b ")]
    one = "x" * 100
    pairs += [("a", one), ("a", f"sha256-{sha256(one.encode()).hexdigest()[:40]}")]
    names = {name for name, _ in pairs}
    made = {name: create(ledger, name, run_limit=usd("1")) for name in names}
    for name, run in pairs:
        reserve(ledger, made[name], run=run)
    assert len(ledger.budgets.all()) == len(pairs)


def test_a_budget_that_a_person_set_under_that_name_is_never_taken_for_a_cap(ledger):
    token = create(ledger, run_limit=usd("3"))
    ledger.budgets.set("run/bot/nightly", usd("999"), scope=Scope(project="film/"))
    with unchanged(ledger), pytest.raises(ConflictError, match="run/bot/nightly"):
        reserve(ledger, token, run="nightly")


def test_a_person_may_give_one_run_more(ledger):
    token = create(ledger, run_limit=usd("3"))
    reserve(ledger, token, "3", run="nightly")
    ledger.budgets.set("run/bot/nightly", usd("5"), scope=Scope(label="run=bot/nightly"))
    reserve(ledger, token, "2", run="nightly")


def test_many_threads_that_see_a_new_run_at_once_share_one_cap(ledger, empty_url, clock):
    token = create(ledger, run_limit=usd("5"))
    second = Ledger(empty_url, clock=clock, actor="ben")

    def one(number: int) -> str:
        try:
            return reserve((ledger, second)[number % 2], token, run="new") and "admitted"
        except RefusedError as error:
            return error.code

    with ThreadPoolExecutor(16) as pool:
        told = Counter(pool.map(one, range(32)))
    second.close()
    assert told == {"admitted": 5, "budget": 27}
    (kept,) = ledger.budgets.all()
    assert (kept.left, len(ledger.budgets.history(kept.budget.name))) == (usd("0"), 1)


def test_many_processes_that_see_a_new_run_at_once_share_one_cap(ledger, nursery):
    create(ledger, run_limit=usd("10"))
    command = {"do": "reserve_in_run", "path": ledger.database.url, "token": "bot"}
    command |= {"amount": "1 USD", "runs": ["one", "two", "three"], "tries": 12, "threads": 4}
    told = sum((Counter(answer) for answer in nursery.run([command] * 8)), Counter())
    # Eight processes try each run 32 times: ten jobs of each are admitted.
    assert told == {"admitted": 30, "budget": 66}
    assert [status.left for status in ledger.budgets.all()] == [usd("0")] * 3


# --- runs that have rested -----------------------------------------------------------------------


def test_a_run_that_has_rested_gives_up_its_budget_and_still_keeps_its_cap(ledger, clock):
    token = create(ledger, run_limit=usd("3"))
    ledger.commit(reserve(ledger, token, "2", run="nightly"), usd("1.5"))
    clock.forward(days=1)
    assert ledger.tokens.rest_runs(clock.now) == ["run/bot/nightly"]
    assert ledger.budgets.all() == []
    clock.forward(days=1)
    with pytest.raises(BudgetError) as caught:
        reserve(ledger, token, "1.500001", run="nightly")
    assert (caught.value.spent, caught.value.left) == (usd("1.5"), usd("1.5"))
    reserve(ledger, token, "1.5", run="nightly")


def test_a_run_rests_once_nothing_of_it_is_open_or_late(ledger, clock):
    token = create(ledger, run_limit=usd("3"))
    opened = reserve(ledger, token, run="open")
    clock.forward(days=1)
    day = clock.now
    ledger.roll_back(reserve(ledger, token, run="late"), "not wanted")
    with unchanged(ledger):
        assert ledger.tokens.rest_runs(day) == []
    clock.forward(days=1)
    # A job in doubt may yet be charged: it is open.
    ledger.mark_submitting(opened)
    ledger.mark_in_doubt(opened, "no answer")
    assert ledger.tokens.rest_runs(clock.now) == ["run/bot/late"]
    ledger.commit(opened, usd("1"))
    assert ledger.tokens.rest_runs(clock.now) == ["run/bot/open"]


def test_a_late_charge_of_a_run_that_has_rested_counts_when_it_comes_back(ledger, clock):
    token = create(ledger, run_limit=usd("3"))
    job = reserve(ledger, token, "2", run="nightly")
    ledger.roll_back(job, "it failed")
    clock.forward(days=1)
    ledger.tokens.rest_runs(clock.now)
    ledger.commit(job, usd("2"))
    with pytest.raises(BudgetError):
        reserve(ledger, token, "1.000001", run="nightly")


def test_what_a_person_has_set_or_changed_does_not_rest(ledger, clock):
    token = create(ledger, run_limit=usd("3"))
    for run in ("raised", "changed"):
        ledger.roll_back(reserve(ledger, token, run=run), "not wanted")
    soon = clock.now + timedelta(days=9)
    ledger.budgets.raise_limit("run/bot/raised", usd("1"), until=soon, reason="a long night")
    ledger.budgets.set("run/bot/changed", usd("4"), scope=Scope(label="run=bot/changed"))
    for run in ("own", "bot/hers"):
        ledger.budgets.set(f"run/{run}", usd("4"), scope=Scope(label=f"run={run}"))
    ledger.budgets.set("other", usd("4"), scope=Scope(label="run=bot/other"))
    clock.forward(days=1)
    with unchanged(ledger):
        assert ledger.tokens.rest_runs(clock.now) == []


def test_a_job_whose_cap_rests_before_it_is_reserved_counts_all_the_same(ledger, empty_url, clock):
    token = create(ledger, run_limit=usd("3"))
    ledger.commit(reserve(ledger, token, "2", run="nightly"), usd("2"))
    clock.forward(days=1)
    over = ledger.tokens.bound(token, replace(ASKED, amount=usd("1.000001")), run="nightly")
    with Ledger(empty_url, clock=clock, actor="ben") as other:
        assert other.tokens.rest_runs(clock.now) == ["run/bot/nightly"]
    with pytest.raises(BudgetError) as caught:
        ledger.reserve_many([over])
    assert (caught.value.spent, caught.value.left) == (usd("2"), usd("1"))
    reserve(ledger, token, "1", run="nightly")


def test_a_job_that_is_refused_leaves_no_cap_behind(ledger):
    token = create(ledger, run_limit=usd("3"))
    with unchanged(ledger), pytest.raises(BudgetError):
        reserve(ledger, token, "3.000001", run="nightly")


def test_jobs_of_many_new_runs_are_reserved_together_or_each(ledger):
    token = create(ledger, run_limit=usd("1"))
    runs = ["a", "b", "a", "c"]
    asked = [ledger.tokens.bound(token, ASKED, run=run) for run in runs]
    with unchanged(ledger), pytest.raises(BudgetError):
        ledger.reserve_many(asked)
    told = ledger.reserve_each(asked)
    assert [isinstance(one, BudgetError) for one in told] == [False, False, True, False]
    assert [one.left for one in ledger.budgets.all()] == [usd("0")] * 3


def test_runs_that_rest_while_others_come_back_never_pass_their_cap(ledger, empty_url, clock):
    token = create(ledger, run_limit=usd("4"))
    ledger.commit(reserve(ledger, token, "1", run="r"), usd("1"))
    clock.forward(days=1)
    resting = Ledger(empty_url, clock=clock, actor="ben")

    def one(number: int) -> str:
        if number % 4 == 0:
            resting.tokens.rest_runs(clock.now + timedelta(seconds=1))
            return "rested"
        try:
            job = reserve(ledger, token, "1", run="r")
        except RefusedError as error:
            return error.code
        ledger.commit(job, usd("1"))
        return "admitted"

    with ThreadPoolExecutor(8) as pool:
        told = Counter(pool.map(one, range(80)))
    resting.close()
    assert told == {"admitted": 3, "budget": 57, "rested": 20}
    assert ledger.wallets.get("film").spent == usd("4")


# --- the whole ledger with it --------------------------------------------------------------------


def test_a_backup_brings_tokens_approvals_and_caps_back(
    ledger, database_url, tmp_path: Path, clock
):
    made, secret = ledger.tokens.create(
        "bot", wallet="film", labels={"team": "fx"}, models=("kling-*",), run_limit=usd("3")
    )
    reserve(ledger, made, "2", run="nightly")
    asked = ledger.approvals.ask(ASKED, said="a clip", asked_by="bot")
    granted = ledger.approvals.grant(asked.id)
    file = tmp_path / "copy.sqlite"
    copied = backup(ledger.database.url, file)
    assert copied.findings == ()
    assert (copied.facts.rows["token"], copied.facts.rows["approval"]) == (1, 1)
    target = address_of(database_url.replace("ledger.sqlite", "restored.sqlite"))
    assert restore(file, target).findings == ()
    with Ledger(target, clock=clock) as again:
        assert again.tokens.of_secret(secret) == made
        assert again.approvals.get(asked.id) == granted
        with pytest.raises(BudgetError):
            reserve(again, made, "1.000001", run="nightly")
        assert again.verify().is_clean


def test_a_ledger_of_the_first_release_has_tokens_once_it_is_upgraded(database_url):
    url = address_of(database_url)
    make_first_release(url)
    with closing(Database(url, create=False, any_version=True)) as database:
        database.upgrade()
    with Ledger(url, create=False) as ledger:
        made, secret = ledger.tokens.create("bot", wallet="team", run_limit=usd("1"))
        approval = ledger.approvals.ask(replace(ASKED, wallet="team"), said="a clip", asked_by="x")
        ledger.approvals.grant(approval.id)
        reserve(ledger, made, "1", run="nightly")
        with pytest.raises(BudgetError):
            reserve(ledger, made, "0.000001", run="nightly")
        assert ledger.verify().is_clean
        before = dump(ledger)
    # What is current already is left as it is, whatever the tables hold.
    with closing(Database(url, create=False, any_version=True)) as database:
        assert database.upgrade() == SCHEMA_VERSION
    with Ledger(url, create=False) as ledger:
        assert dump(ledger) == before
        assert ledger.tokens.of_secret(secret) == made
