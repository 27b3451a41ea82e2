"""The live page in a real browser: it follows the ledger, says when it cannot, and is readable."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from kling_ledger import Ledger
from kling_ledger.gateway import page
from kling_ledger.gateway.guard import Guard
from kling_ledger.gateway.recent import Recent
from kling_ledger.ledger import Asked, Job, Scope
from kling_ledger.serving import Served, bind
from tests.browser import Browser, chromium
from tests.gateway_exchanges import HOSTILE, body_error, refused, served, usd

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

PATIENCE_S = 60
CONTRAST = """(() => {
const read = css => { const n = css.match(/[0-9.]+/g).map(Number); return [...n, 1].slice(0, 4); };
const linear = v => v <= 10.31475 ? v / 3294.6 : ((v / 255 + .055) / 1.055) ** 2.4;
const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
const behind = e => {
  for (; e; e = e.parentElement) {
    const c = read(getComputedStyle(e).backgroundColor);
    if (c[3] === 1) return c;
  }
  return [255, 255, 255];
};
const contrast = e => {
  const both = [light(read(getComputedStyle(e).color)), light(behind(e))];
  return (Math.max(...both) + .05) / (Math.min(...both) + .05);
};
return [...document.querySelectorAll('body *')]
  .filter(e => e.getClientRects().length
    && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
  .map(e => [contrast(e), e.textContent.trim().slice(0, 40)]).sort((x, y) => x[0] - y[0])[0];
})()"""
"""The least contrast of a text with what is behind it, as WCAG 2 works it out, and which it is."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger with something of everything that the page shows."""
    path = tmp_path_factory.mktemp("live") / "ledger.sqlite"
    with Ledger(str(path)) as opened:
        opened.wallets.create("team", "USD")
        opened.wallets.fund("team", usd("1000"))
        opened.budgets.set("daily", usd("200"), window="day")
        opened.budgets.set("long", usd("500"), scope=Scope(project="film/" + "autumn/" * 12))
        opened.budgets.set("over", usd("1"), mode="warn")
        for number in range(30):
            job = Job(provider="runapi", model="kling-3.0", action="text_to_video")
            made = opened.reserve("team", usd("0.5"), job=job, project="film/teaser")
            opened.mark_submitting(made.id)
            opened.mark_submitted(made.id, f"task-{number}")
            if number % 3 == 0:
                opened.commit(made.id, usd("0.5"))
        opened.mark_in_doubt(made.id, "nobody answers")
        yield opened


@pytest.fixture
def recent() -> Recent:
    made = Recent()
    for _ in range(20):
        made(refused())
    made(refused(body_error("x", "y")))
    return made


@pytest.fixture
def url(ledger: Ledger, recent: Recent) -> Iterator[str]:
    with served(page.routes(ledger, recent, guard=Guard())) as address:
        yield address


def until(browser: Browser, script: str, wanted: Any) -> None:
    """Wait until a script comes to a value; fail where it never does."""
    give_up_at = time.monotonic() + PATIENCE_S
    while (found := browser.evaluate(script)) != wanted:
        assert time.monotonic() < give_up_at, found
        time.sleep(0.02)


STATE = "document.getElementById('state').textContent"
LIVE = "Live: refreshed every 3 seconds."
AVAILABLE = "document.querySelector('#wallets tr[data-key=team]').cells[3].textContent"
AT_ONCE = "document.dispatchEvent(new Event('visibilitychange'))"


def opened(browser: Browser, url: str, *, width: int = 1200, scheme: str = "light") -> None:
    browser.ask(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    browser.open(f"{url}/", width=width)
    until(browser, STATE, LIVE)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_asks_only_its_own_origin_and_the_console_stays_empty(
    browser: Browser, url: str, scheme: str
):
    opened(browser, url, scheme=scheme)
    assert browser.complaints() == []
    assert {address.removeprefix(url) for address in browser.requested()} <= {
        "/",
        "/page/page.css",
        "/page/page.js",
        "/page/icon.svg",
        "/page/now",
    }
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(int(part) for part in paper.strip("rgb()").split(","))
    assert (lightness < 200) == (scheme == "dark")


@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(
    browser: Browser, url: str, scheme: str, width: int
):
    opened(browser, url, scheme=scheme, width=width)
    least, text = browser.evaluate(CONTRAST)
    assert least >= 4.5, text


def test_a_change_is_shown_and_focus_scroll_and_selection_stay(
    browser: Browser, url: str, ledger: Ledger, recent: Recent
):
    opened(browser, url)
    browser.evaluate(
        "window.jobs = document.querySelector('#jobs .scroll'); jobs.focus(); jobs.scrollTop = 120;"
        "window.row = document.querySelector('#wallets tr[data-key=team]');"
        "getSelection().selectAllChildren(row.cells[0]); scrollTo(0, 150)"
    )
    before = browser.evaluate(AVAILABLE)
    ledger.reserve("team", usd("7"), job=Job(provider="crun", model="brand-new"))
    recent(refused())
    # Nobody does anything: the page finds out by itself.
    until(browser, f"{AVAILABLE} === {before!r}", False)
    assert browser.evaluate(AVAILABLE) == f"{float(before) - 7:,.2f}"
    assert browser.evaluate("[...document.querySelectorAll('#jobs tbody th')][1].textContent") == (
        "brand-new crun"
    )
    assert "22 refused" in browser.evaluate("document.getElementById('refusals').textContent")
    assert browser.evaluate("row === document.querySelector('#wallets tr[data-key=team]')")
    assert browser.evaluate("document.activeElement === jobs && jobs.isConnected")
    assert browser.evaluate("jobs.scrollTop") >= 120
    assert browser.evaluate("scrollY") == 150
    assert browser.evaluate("getSelection().toString()").startswith("team")
    assert browser.complaints() == []


def test_rows_that_are_gone_leave_and_the_others_are_not_made_anew(
    browser: Browser, url: str, ledger: Ledger
):
    made = [ledger.reserve("team", usd("1"), job=Job(model=f"m{number}")) for number in range(3)]
    opened(browser, url)
    browser.evaluate(
        "window.kept = [...document.querySelectorAll('#jobs tbody tr')].map(r => r.dataset.key)"
        ".map(key => document.querySelector(`#jobs tr[data-key=${key}]`))"
    )
    ledger.roll_back(made[1].id, "not wanted")
    browser.evaluate(AT_ONCE)
    gone = f"!document.querySelector('#jobs tr[data-key={made[1].id}]')"
    until(browser, gone, True)
    told = browser.evaluate(
        "[kept.filter(r => !r.isConnected).length,"
        " [...document.querySelectorAll('#jobs tbody tr')].filter(r => !kept.includes(r)).length,"
        " new Set([...document.querySelectorAll('#jobs tbody tr')].map(r => r.dataset.key)).size"
        " === document.querySelectorAll('#jobs tbody tr').length]"
    )
    assert told == [1, 0, True]


def test_a_part_that_comes_and_goes_moves_nothing_else(browser: Browser, url: str, ledger: Ledger):
    opened(browser, url)
    browser.evaluate(
        "window.region = document.querySelector('#jobs .scroll'); region.focus();"
        "region.scrollTop = 90"
    )
    job = Job(provider="runapi", payload_hash="b" * 64)
    waiting = ledger.approvals.ask(Asked("team", usd("5"), job), said="dear", asked_by="agent")
    for is_there in (True, False):
        browser.evaluate(AT_ONCE)
        until(browser, "!!document.getElementById('approvals')", is_there)
        assert browser.evaluate("document.activeElement === region && region.isConnected")
        assert browser.evaluate("region.scrollTop") == 90
        if is_there:
            ledger.approvals.deny(waiting.id)
    order = browser.evaluate("[...document.querySelectorAll('section')].map(s => s.id)")
    assert order == ["wallets", "budgets", "jobs", "refusals"]


def test_a_gateway_that_is_gone_is_said_and_comes_back(
    browser: Browser, ledger: Ledger, recent: Recent
):
    with on_port(0, ledger, recent) as (url, port):
        opened(browser, url)
        as_of = browser.evaluate("document.querySelector('#as-of time').textContent")
    browser.evaluate(AT_ONCE)
    shown = browser.evaluate("document.querySelector('#as-of time').textContent")
    until(
        browser,
        STATE,
        f"No connection to the gateway. The figures below are of {shown}.",
    )
    assert shown >= as_of
    assert browser.evaluate("document.querySelectorAll('#wallets tbody tr').length") == 1
    assert browser.evaluate("document.getElementById('state').getAttribute('role')") == "status"
    with on_port(port, ledger, recent):
        browser.evaluate(AT_ONCE)
        until(browser, STATE, LIVE)


@contextmanager
def on_port(
    port: int, ledger: Ledger, recent: Recent, guard: Guard | None = None
) -> Iterator[tuple[str, int]]:
    async def nothing() -> None:
        pass

    bound = bind("127.0.0.1", port, problem="the page cannot be served")
    app = Starlette(routes=list(page.routes(ledger, recent, guard=guard or Guard())))
    running = Served(app, bound, name="page", stopping=nothing, timeout_graceful_shutdown=1)
    try:
        yield running.url, bound.getsockname()[1]
    finally:
        running.close(10)
        bound.close()


def test_who_is_no_longer_let_in_is_told_once_and_not_asked_again(
    browser: Browser, ledger: Ledger, recent: Recent
):
    with on_port(0, ledger, recent) as (url, port):
        opened(browser, url)
    with on_port(port, ledger, recent, Guard(lambda _: False)):
        browser.evaluate(AT_ONCE)
        until(browser, f"{STATE}.startsWith('You are no longer let in: reload this page.')", True)
        browser.evaluate("window.asked = 0; window.fetch = () => { asked++; };" + AT_ONCE)
        assert browser.evaluate("asked") == 0


def test_who_gives_the_password_once_sees_the_page_live(
    browser: Browser, ledger: Ledger, recent: Recent
):
    with on_port(0, ledger, recent, Guard.of_secret("pa55")) as (_, port):
        opened(browser, f"http://me:pa55@127.0.0.1:{port}")
        assert browser.evaluate("document.querySelectorAll('#wallets tbody tr').length") == 1
        assert browser.complaints() == []


def test_a_ledger_that_cannot_be_read_is_said_and_the_last_figures_stay(
    browser: Browser, tmp_path: Path
):
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    ledger.wallets.create("team", "USD")
    with served(page.routes(ledger, Recent(), guard=Guard())) as url:
        opened(browser, url)
        ledger.close()
        shown = browser.evaluate("document.querySelector('#as-of time').textContent")
        until(browser, f"{STATE}.startsWith('The ledger cannot be read right now.')", True)
        assert browser.evaluate(STATE).endswith(".")
        assert shown <= browser.evaluate("document.querySelector('#as-of time').textContent")
        assert browser.evaluate("document.querySelectorAll('#wallets tbody tr').length") == 1
        # Opened only then, it has no figures to show, and shows none.
        browser.open(f"{url}/")
        assert browser.evaluate("document.querySelectorAll('table').length") == 0
        assert "cannot be read" in browser.evaluate("document.querySelector('main').textContent")


def test_nothing_is_asked_for_while_nobody_looks(browser: Browser, url: str):
    opened(browser, url)
    browser.evaluate(
        "window.asked = 0; window.own = fetch;"
        "window.fetch = (...given) => { asked++; return own(...given); };"
        "Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});"
        + AT_ONCE
    )
    assert browser.evaluate("asked") == 0
    browser.evaluate(
        "Object.defineProperty(document, 'hidden', {configurable: true, get: () => false});"
        + AT_ONCE
    )
    assert browser.evaluate("asked") == 1
    until(browser, STATE, LIVE)


@pytest.mark.parametrize("width", [400, 320])
def test_a_narrow_screen_shows_the_page_without_scrolling_it_sideways(
    browser: Browser, url: str, width: int
):
    opened(browser, url, width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    sizes = browser.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => e.textContent.trim()"
        " && e.getClientRects().length).map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 12
    # What a wallet has is read without scrolling its table.
    box = "document.querySelector('#wallets tbody tr').cells[3].getBoundingClientRect()"
    assert browser.evaluate(f"{box}.right") <= width


def tab(browser: Browser) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.ask("Input.dispatchKeyEvent", type=kind, key="Tab", windowsVirtualKeyCode=9)


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(browser: Browser, url: str):
    opened(browser, url)
    reached = []
    for _ in range(9):
        tab(browser)
        reached.append(
            browser.evaluate(
                "(e => [e.getAttribute('href') || e.getAttribute('aria-labelledby'),"
                " parseFloat(getComputedStyle(e).outlineWidth) > 0])(document.activeElement)"
            )
        )
    assert reached == [
        ["#live", True],
        ["#wallets", True],
        ["#budgets", True],
        ["#jobs", True],
        ["#refusals", True],
        ["wallets-h", True],
        ["budgets-h", True],
        ["jobs-h", True],
        ["refusals-h", True],
    ]


def test_a_screen_reader_is_told_what_everything_is(browser: Browser, url: str):
    opened(browser, url)
    loose = browser.evaluate(
        "[...document.querySelectorAll('table')].filter(t => !t.caption?.textContent.trim() ||"
        " [...t.querySelectorAll('th')].some(h => !h.scope)).length"
    )
    assert loose == 0
    heads = browser.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map(h => [h.tagName, h.textContent])"
    )
    assert heads == [
        ["H1", "kling-ledger gateway"],
        ["H2", "Wallets"],
        ["H2", "Budgets"],
        ["H2", "Open jobs"],
        ["H2", "Refused lately"],
    ]
    assert browser.evaluate("document.documentElement.lang") == "en"
    # Figures that change every few seconds are not read aloud each time.
    live = browser.evaluate("document.querySelectorAll('[aria-live], [role=status]').length")
    assert live == 1
    named = browser.evaluate(
        "[...document.querySelectorAll('[aria-labelledby]')].every(e =>"
        " document.getElementById(e.getAttribute('aria-labelledby')).textContent.trim())"
    )
    assert named


def test_without_scripts_the_page_is_whole_and_asks_for_itself_again(browser: Browser, url: str):
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(f"{url}/")
        document = browser.ask("DOM.getDocument", depth=-1)
        found = str(document)
        assert "Available is posted minus reserved" in found
        assert "'http-equiv', 'refresh', 'content', '10'" in found
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)


def test_hostile_names_run_nothing_when_they_come_by_a_refresh(
    browser: Browser, url: str, recent: Recent
):
    opened(browser, url)
    for text in HOSTILE:
        recent(refused(model=text, project=text, caller=text))
    browser.evaluate(AT_ONCE)
    until(browser, "document.querySelectorAll('#refusals tbody tr').length", 29)
    assert browser.complaints() == []
    assert browser.evaluate("document.querySelectorAll('img, #refusals script').length") == 0


def test_an_empty_ledger_says_what_to_do(browser: Browser, tmp_path: Path):
    with (
        Ledger(str(tmp_path / "ledger.sqlite")) as ledger,
        served(page.routes(ledger, Recent(), guard=Guard())) as url,
    ):
        opened(browser, url, width=400)
        commands = browser.evaluate("[...document.querySelectorAll('pre')].map(p => p.textContent)")
        assert commands[0] == "kling-ledger wallet create team --unit USD"
        # A wallet that is made then appears by itself.
        ledger.wallets.create("team", "USD")
        browser.evaluate(AT_ONCE)
        until(browser, "document.querySelectorAll('#wallets tbody tr').length", 1)
        assert browser.complaints() == []
