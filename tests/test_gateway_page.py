"""The live page as it is sent: what it tells, what it must not, and to whom."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from kling_ledger import Ledger
from kling_ledger.gateway import page
from kling_ledger.gateway.guard import HEADERS, Guard
from kling_ledger.gateway.page import words
from kling_ledger.gateway.recent import Recent
from kling_ledger.ledger import Asked, Job, Scope
from kling_pricing.money import Money
from tests.gateway_exchanges import (
    HOSTILE,
    PROMPT,
    SECRETS,
    body_error,
    exchange,
    over_budget,
    refused,
    served,
    usd,
)
from tests.ledgers import Clock

PATHS = ("/", "/page/now", "/page/page.css", "/page/page.js", "/page/icon.svg")
NOW = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)


class Reader(HTMLParser):
    """Reads the tables of a page as rows of texts, and every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._is_in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self._is_in_cell = True
        if tag in {"small", "br"} and self._is_in_cell:
            self.rows[-1][-1] += " "

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._is_in_cell = False

    def handle_data(self, data: str) -> None:
        if self._is_in_cell:
            self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]}{data}".split(" "))

    def row(self, first: str) -> list[str]:
        """The cells of the one row that begins with a text, spaces made single."""
        rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]
        (found,) = [row for row in rows if row[0] == first]
        return found


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def ledger(url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger(url, clock=clock) as opened:
        yield opened


def shown(ledger: Ledger, recent: Recent | None = None, path: str = "/") -> str:
    with served(page.routes(ledger, recent or Recent(), guard=Guard())) as address:
        answer = httpx.get(f"{address}{path}")
    assert answer.status_code == 200
    return answer.text


def test_a_wallet_stands_with_what_it_holds_beside_its_balance(ledger: Ledger):
    ledger.wallets.create("team", "USD")
    ledger.wallets.fund("team", usd("1234.5"))
    ledger.commit(ledger.reserve("team", usd("0.675")).id)
    ledger.reserve("team", usd("2.000001"))
    found = Reader(shown(ledger))
    # 1234.5 - 0.675, what is held, and their difference.
    assert found.row("team USD") == ["team USD", "1,233.825", "2.000001", "1,231.824999"]
    assert "<b>0.675</b>" in shown(ledger)
    assert "0.675 USD this month" in shown(ledger)


def test_a_budget_says_what_is_left_and_when_it_begins_anew(ledger: Ledger):
    ledger.wallets.create("team", "USD")
    ledger.wallets.fund("team", usd("100"))
    ledger.budgets.set("daily", usd("2"), window="day", scope=Scope(project="film/"))
    ledger.budgets.set("ever", usd("50"), mode="warn")
    ledger.commit(ledger.reserve("team", usd("1.5"), project="film/a").id)
    ledger.reserve("team", usd("0.25"), project="film/a")
    found = Reader(shown(ledger))
    assert found.row("daily USD")[1:] == [
        "0.25",
        "2.00",
        "1.50",
        "0.25",
        "in 14 h 30 min day, 2026-11-28 00:00",
        "project film/",
    ]
    assert found.row("ever USD (only warns)")[5:] == ["never", "every job"]


def test_an_open_job_says_its_state_age_and_what_it_holds(ledger: Ledger, clock: Clock):
    ledger.wallets.create("team", "USD")
    ledger.wallets.fund("team", usd("100"))
    job = Job(provider="crun", model="kling-2.6", request=f'{{"prompt": "{PROMPT}"}}')
    made = ledger.reserve("team", usd("0.675"), job=job, project="film/a")
    ledger.mark_submitting(made.id)
    clock.now += timedelta(minutes=65)
    assert Reader(shown(ledger)).row("kling-2.6 crun")[1:] == [
        "being sent",
        "1 h 5 min",
        "0.675 USD",
        "team",
        "film/a",
        made.id,
    ]
    ledger.mark_in_doubt(made.id, "the line went dead")
    told = shown(ledger)
    assert Reader(told).row("kling-2.6 crun")[1] == "in doubt"
    assert "kling-ledger resume" in told
    assert PROMPT not in told


def test_a_refusal_says_why_who_and_what_would_fit(ledger: Ledger):
    recent = Recent()
    recent(exchange())
    recent(refused())
    told = shown(ledger, recent)
    refusal = (
        "budget daily: limit 2 USD, spent 1.5 USD, reserved 0 USD, asked 0.675 USD,"
        " left 0.5 USD, frees at 2026-11-28 00:00 UTC"
    )
    assert Reader(told).row("09:30:15")[1:] == [
        f"{refusal} up to 0.5 USD would be admitted now; or raise it temporarily",
        "runapi kling-3.0 text_to_video 0.675 USD",
        "token openclaw project film/teaser",
    ]
    assert "2 jobs requested, 1 refused" in told


def test_an_empty_ledger_says_what_to_do_next(ledger: Ledger):
    told = shown(ledger)
    assert "kling-ledger wallet create team --unit USD" in told
    assert "kling-ledger wallet fund team &quot;100 USD&quot;" in told
    assert "kling-ledger budget set daily --limit &quot;20 USD&quot; --window day" in told
    assert "<table" not in told


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_are_only_text(ledger: Ledger, hostile: str):
    ledger.wallets.create("team", "USD")
    ledger.wallets.fund("team", usd("100"))
    name = hostile.encode("utf-8", "replace").decode().replace("\0", "")
    project = " ".join(name.replace("/", " ").split())
    ledger.reserve("team", usd("1"), job=Job(provider="runapi", model=name), project=project)
    recent = Recent()
    recent(refused(over_budget(), model=hostile, project=hostile, caller=hostile, action=hostile))
    told = shown(ledger, recent)
    tags = [tag for tag, _ in Reader(told).tags]
    assert tags.count("script") == 1
    assert "img" not in tags
    assert not [name for _, given in Reader(told).tags for name in given if name.startswith("on")]
    assert all(character.isprintable() or character == "\n" for character in told)


@pytest.mark.parametrize("quoted", [PROMPT, *SECRETS])
def test_what_a_body_held_is_on_no_page(ledger: Ledger, quoted: str):
    recent = Recent()
    recent(refused(body_error(quoted)))
    for path in ("/", "/page/now"):
        assert quoted[:20] not in shown(ledger, recent, path)


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_keeps_browsers_from_more_than_showing_it(ledger: Ledger, path: str):
    with served(page.routes(ledger, Recent(), guard=Guard())) as address:
        answer = httpx.get(f"{address}{path}")
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert httpx.head(f"{address}{path}").status_code == 200
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert httpx.request(method, f"{address}{path}").status_code == 405


def test_the_page_asks_for_nothing_elsewhere_and_runs_nothing_inline(ledger: Ledger):
    tags = Reader(shown(ledger)).tags
    asked = [
        given[name] for _, given in tags for name in ("src", "href") if given.get(name) is not None
    ]
    assert all(one and one[0] in "/#" and not one.startswith("//") for one in asked)
    assert not [tag for tag, given in tags if tag == "style" or "style" in given]
    assert [given for tag, given in tags if tag == "script"] == [
        {"src": "/page/page.js", "defer": None}
    ]
    refresh = [given for tag, given in tags if given.get("http-equiv") == "refresh"]
    assert refresh == [{"http-equiv": "refresh", "content": "10"}]


@pytest.mark.parametrize("path", PATHS)
def test_the_guard_stands_before_everything(ledger: Ledger, path: str):
    with served(page.routes(ledger, Recent(), guard=Guard.of_secret("s3cret"))) as address:
        assert httpx.get(f"{address}{path}").status_code == 401
        assert httpx.get(f"{address}{path}", auth=("any", "s3cret")).status_code == 200
    with served(page.routes(ledger, Recent(), guard=Guard())) as address:
        rebound = {"Host": "rebound.example"}
        assert httpx.get(f"{address}{path}", headers=rebound).status_code == 421
        other = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        assert httpx.get(f"{address}{path}", headers=other).status_code == 403


def test_a_ledger_that_cannot_be_read_is_said_and_no_figure_is_made_up(ledger: Ledger):
    ledger.wallets.create("team", "USD")
    with served(page.routes(ledger, Recent(), guard=Guard())) as address:
        ledger.close()
        for path in ("/", "/page/now"):
            answer = httpx.get(f"{address}{path}")
            assert answer.status_code == 503
            assert "The ledger cannot be read right now" in answer.text
            assert "<table" not in answer.text


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("0 USD", "0.00"),
        ("0.000001 USD", "0.000001"),
        ("-0.000001 USD", "-0.000001"),
        ("7.1982 USD", "7.1982"),
        ("1234567.5 USD", "1,234,567.50"),
        ("-1234 USD", "-1,234.00"),
        ("9007199254.740991 USD", "9,007,199,254.740991"),
    ],
)
def test_amounts_are_exact(written: str, told: str):
    assert words.amount(Money.parse(written)) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3_599, "59 min"),
        (3_600, "1 h"),
        (3_660, "1 h 1 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (90_000, "1 d 1 h"),
        (86_460, "1 d"),
    ],
)
def test_how_long_something_is_has_two_parts_at_most(seconds: Any, told: str):
    assert words.span(seconds) == told


def test_what_waits_for_a_person_is_told_with_the_command_that_lets_it_run(ledger: Ledger):
    ledger.wallets.create("team", "USD")
    ledger.wallets.fund("team", usd("100"))
    assert "Waiting for approval" not in shown(ledger)
    job = Job(provider="runapi", model="kling-3.0", payload_hash="a" * 64)
    asked = Asked("team", usd("6.75"), job, "film/a")
    waiting = ledger.approvals.ask(asked, said="kling-3.0, 50 s <b>", asked_by="openclaw")
    assert Reader(shown(ledger)).row("kling-3.0, 50 s <b> team film/a")[1:] == [
        "6.75 USD",
        "openclaw",
        "in 1 h",
        f"kling-ledger approval grant {waiting.id}",
    ]
    ledger.approvals.deny(waiting.id)
    assert "Waiting for approval" not in shown(ledger)
