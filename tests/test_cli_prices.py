"""`kling-ledger prices`: what it lists, what it finds, what it pulls, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import pytest

from kling_ledger.errors import ConfigError, LivePricesError
from kling_ledger.providers.crun.live_prices import CrunEstimates, crun_body
from kling_ledger.providers.runapi.live_prices import fetch_schedule
from kling_pricing.clip import Clip
from tests.loopback import HANG_UP, answering
from tests.test_cli_compare import run

KEY = "ak_" + "s" * 32
BOOK = """
format = 1
provider = "crun"
name = "Crun"
unit = "crun-credit"
[sources.page]
url = "https://example.com/crun"
checked = 2026-01-01
evidence = "published"
[rates.one]
family = "kling-3.0"
models = { "kling/one" = ["text_to_video"] }
from = 2026-01-01
source = "page"
per = "second"
dimensions = ["resolution", "sound"]
request = { min_s = 3, max_s = 15 }
[rates.one.prices]
720p = { off = "14", on = "20" }
1080p = { any = "27" }
"""
OLD = ["--max-age", "100000"]


def schedule(cents: float, as_of: str = "2026-11-21T00:00:00.000000Z") -> dict[str, Any]:
    row = {
        "service": "kling",
        "action": "text_to_video",
        "model": "kling-3.0",
        "pricing_status": "available",
        "currency": "USD",
        "billing_unit": "per_second",
        "unit_price_cents": 99,
        "billing_config": {
            "keys": ["output_resolution", "enable_sound"],
            "matrix": {"720p": {"true": cents, "false": 7}, "1080p": {"true": 13.5, "false": 9}},
        },
    }
    return {"as_of": as_of, "price_schedules": [row]}


@dataclass
class Tagged:
    """A server of one schedule with an ETag, and the If-None-Match of each request."""

    content: dict[str, Any]
    tag: str = '"one"'
    url: str = ""
    asked: list[str | None] = field(default_factory=list)


@contextmanager
def tagged(content: dict[str, Any]) -> Iterator[Tagged]:
    served = Tagged(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(lambda: served))
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(of: Callable[[], Tagged]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served = of()
            served.asked.append(self.headers.get("If-None-Match"))
            body = json.dumps(served.content).encode()
            is_held = served.asked[-1] == served.tag
            self.send_response(304 if is_held else 200)
            self.send_header("ETag", served.tag)
            self.send_header("Content-Length", "0" if is_held else str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if is_held else body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler


@pytest.fixture(autouse=True)
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of own books that has none yet, and no key."""
    folder = tmp_path / "books"
    folder.mkdir()
    monkeypatch.setenv("KLING_LEDGER_BOOKS", str(folder))
    monkeypatch.delenv("CRUN_API_KEY", raising=False)
    return folder


def listed(*arguments: str) -> list[dict[str, Any]]:
    parsed = json.loads(run("prices", *arguments, "--format", "json").stdout)
    assert isinstance(parsed, list)
    return parsed


# list, show, schema


def test_list_tells_the_range_of_each_models_prices() -> None:
    [found] = [
        one
        for one in listed("list", "--provider", "evolink")
        if one["model"].endswith("v3-text-to-video")
    ]
    assert (found["low"], found["high"], found["unit"], found["per"]) == (
        "5.4",
        "10.8",
        "evolink-credit",
        "second",
    )
    assert (found["evidence"], found["family"]) == ("published", "kling-3.0")


def test_show_tells_every_price_with_its_dollars_and_its_source() -> None:
    found = listed("show", "evolink", "kling-v3-text-to-video")
    prices = {one["clip"]: (one["price"], one["usd"]) for one in found}
    # 5.4 x 1.333 = 7.1982 credits, at 72 to the dollar
    assert prices["1080p without sound"] == ("7.1982 evolink-credit", "0.099975")
    assert len(prices) == 4
    assert all(one["source"].startswith("https://evolink.ai/") for one in found)


def test_show_tells_a_price_that_is_the_same_for_any_option_once(tmp_path: Path) -> None:
    own = tmp_path / "crun.toml"
    own.write_text(BOOK)
    found = listed("show", "crun", "kling/one", "--book", str(own))
    assert [one["clip"] for one in found] == [
        "720p without sound",
        "720p with sound",
        "1080p any sound",
    ]
    assert found[0]["set_by"] == [f"rates.one is set by {own}"]


def test_each_price_says_whether_it_is_the_users_own(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('provider = "runapi"\n[rates."kling-3.0".prices]\n1080p = { on = "0.2" }\n')
    shown = {
        one["clip"]: (one["evidence"], one["set_by"])
        for one in listed("show", "runapi", "kling-3.0", "--book", str(own))
    }
    line = f"rates.kling-3.0.prices.1080p.on is set by {own}"
    assert shown["1080p with sound"] == ("user", [line])
    assert shown["1080p without sound"] == ("disputed", [])
    table = run("prices", "show", "runapi", "kling-3.0", "--book", str(own))
    assert table.stderr.count(line) == 1
    told = listed("list", "--provider", "runapi", "--book", str(own))
    evidence = {(one["model"], one["action"]): one["evidence"] for one in told}
    assert evidence["kling-3.0", "text_to_video"] == "disputed, user"
    assert evidence["kling-3.0", "motion_control"] == "disputed"


def test_show_tells_what_a_job_that_came_to_nothing_costs(tmp_path: Path) -> None:
    rows = listed("show", "runapi")
    assert {one["charged_on_failure"] for one in rows} == {"no"}
    assert {one["charged_on_refusal"] for one in rows} == {"unknown"}
    assert {one["charged_on_invalid_input"] for one in rows} == {"unknown"}
    told = run("prices", "show", "runapi").stderr
    source = "published, https://runapi.ai/zh-CN/openclaw-kling.md, checked 2026-11-20"
    assert f"charged on failure: no ({source})" in told
    assert "charged on invalid input: unknown\n" in told
    own = tmp_path / "own.toml"
    own.write_text('provider = "runapi"\ncharges.failure.charged = "yes"\n')
    told = run("prices", "show", "runapi", "--book", str(own)).stderr
    assert f"charges.failure is set by {own}" in told
    header = run("prices", "show", "runapi", "--format", "csv").stdout.splitlines()[0]
    assert header.endswith("charged_on_failure,charged_on_refusal,charged_on_invalid_input")


def test_show_of_a_model_without_prices_has_exit_code_7_and_of_no_provider_2() -> None:
    assert run("prices", "show", "evolink", "kling-99").exit_code == 7
    assert run("prices", "show", "nobody").exit_code == 2


def test_schema_is_a_json_schema() -> None:
    assert "rates" in json.loads(run("prices", "schema").stdout)["properties"]


# check


def test_check_is_clean_while_every_source_is_young_enough() -> None:
    result = run("prices", "check", *OLD)
    assert result.exit_code == 0


def test_check_finds_a_source_that_nobody_looked_at_for_long(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(BOOK.replace('"crun"', '"old"').replace("checked = 2026-", "checked = 2001-"))
    result = run("prices", "check", "--max-age", "9000", "--book", str(own), "--format", "json")
    assert result.exit_code == 6
    [found] = [one for one in json.loads(result.stdout) if one["is_difference"]]
    assert (found["kind"], found["provider"], found["subject"]) == ("stale", "old", "one")


def test_check_live_lists_each_difference_from_runapis_schedule() -> None:
    with answering((200, schedule(10.5))) as server:
        result = run(
            *("prices", "check", *OLD, "--live", "runapi", "--base-url", server.url),
            *("--format", "json"),
        )
    found = [one for one in json.loads(result.stdout) if one["kind"] == "differs"]
    assert result.exit_code == 6
    assert [(one["subject"], one["ours"], one["theirs"]) for one in found] == [
        ("kling-3.0 text_to_video 720p with sound", "0.1 per second", "0.105 per second")
    ]
    assert server.seen[0].path == "/api/v1/price_schedules?service=kling"
    assert "Authorization" not in server.seen[0].headers


# crun


def estimate(amount: Any) -> tuple[int, Any]:
    data = {"estimated_credits": amount, "balance": 1, "affordable": False}
    return 200, {"code": 200, "message": "success", "data": data}


def test_crun_is_asked_with_its_key_for_a_body_of_its_own() -> None:
    clip = Clip("crun", "kling/v3", seconds=5, resolution="1080p", sound=True)
    with answering(estimate(67.5)) as server, CrunEstimates(KEY, base_url=server.url) as crun:
        assert crun.credits_for(crun_body(clip)) == Decimal("67.5")
    [seen] = server.seen
    assert (seen.method, seen.path) == ("POST", "/api/v1/client/job/EstimateTask")
    assert {name.lower(): value for name, value in seen.headers.items()}["x-api-key"] == KEY
    assert seen.body["model"] == "kling/v3"
    told = {name: seen.body["input"][name] for name in ("mode", "duration", "audio", "multi_shots")}
    assert told == {"mode": "pro", "duration": 5, "audio": True, "multi_shots": False}


def test_cruns_code_decides_and_not_the_http_status() -> None:
    refused = (200, {"code": 422, "message": f"no such mode for {KEY}"})
    body = estimate(67.5)[1]
    with (
        answering(refused, (500, body), estimate(None)) as server,
        CrunEstimates(KEY, base_url=server.url) as crun,
    ):
        told = [crun.credits_for({}) for _ in range(3)]
    assert told == [
        "422 no such mode for ***",
        Decimal("67.5"),
        "the reply has no estimated_credits",
    ]


def test_check_live_asks_crun_for_each_price_and_tells_no_key(tmp_path: Path) -> None:
    own = tmp_path / "crun.toml"
    own.write_text(BOOK)
    with answering(estimate(1)) as server:
        result = run(
            *("prices", "check", *OLD, "--live", "crun", "--base-url", server.url),
            *("--api-key", KEY, "--book", str(own), "--format", "json"),
        )
    found = {
        one["subject"]: (one["ours"], one["theirs"])
        for one in json.loads(result.stdout)
        if one["kind"] == "differs"
    }
    assert result.exit_code == 6
    # 5 s at 20, and 5 s at 27 with sound or without
    assert found["kling/one text_to_video 720p with sound, 5 s"] == (
        "100 crun-credit",
        "1 crun-credit",
    )
    assert found["kling/one text_to_video 1080p without sound, 5 s"][0] == "135 crun-credit"
    assert KEY not in result.output


@pytest.mark.parametrize(
    "answer", [(404, {"detail": f"no route for {KEY}"}), (200, {}), (500, {"code": "dead"})]
)
def test_another_server_than_cruns_is_one_clear_error(answer: Any) -> None:
    with answering(answer) as server:
        result = run(
            *("prices", "check", *OLD, "--live", "crun", "--base-url", server.url),
            *("--api-key", KEY),
        )
    assert isinstance(result.exception, LivePricesError)
    status, body = answer
    told = json.dumps(body).replace(KEY, "***")
    assert f"answered {status} to /api/v1/client/job/EstimateTask" in str(result.exception)
    assert told in str(result.exception)


def test_crun_says_no_without_a_message() -> None:
    with (
        answering((200, {"code": 500})) as server,
        CrunEstimates(KEY, base_url=server.url) as crun,
    ):
        assert crun.credits_for({}) == "500 without a message"


def test_crun_needs_a_key_and_a_refused_one_is_said() -> None:
    assert isinstance(run("prices", "check", "--live", "crun").exception, ConfigError)
    with answering((200, {"code": 401, "message": KEY})) as server:
        result = run(
            *("prices", "check", "--live", "crun", "--base-url", server.url, "--api-key", KEY)
        )
    assert result.exit_code == 1
    assert KEY not in str(result.exception)


# pull


def test_pull_writes_the_live_schedule_as_a_book_that_quotes_use(books: Path) -> None:
    with tagged(schedule(10.5)) as server:
        assert run("prices", "pull", "runapi", "--base-url", server.url).exit_code == 0
    assert sorted(path.name for path in books.iterdir()) == [
        "runapi.toml",
        "runapi.toml.etag",
        "superseded",
    ]
    asked = ["quote", "--provider", "runapi", "--model", "kling-3.0", "--seconds", "5"]
    asked += ["--resolution", "720p", "--sound", "--format", "json"]
    before, after = (
        json.loads(run(*asked, "--at", day).stdout) for day in ("2026-11-20", "2026-11-21")
    )
    # 5 s at the bundled 10 cents, and at 10.5
    assert (before["amount"], after["amount"]) == ("0.5", "0.525")
    assert (after["evidence"], after["checked"]) == ("live", "2026-11-21")


def test_pull_asks_with_the_tag_of_the_last_and_says_unchanged(books: Path) -> None:
    with tagged(schedule(10.5)) as server:
        pull = ("prices", "pull", "runapi", "--base-url", server.url)
        run(*pull)
        written = (books / "runapi.toml").read_bytes()
        assert "unchanged" in run(*pull).stderr
        assert (books / "runapi.toml").read_bytes() == written
        server.content, server.tag = schedule(11, "2026-11-22T00:00:00.000000Z"), '"two"'
        assert "wrote" in run(*pull).stderr
        (books / "runapi.toml").unlink()
        run(*pull)
    assert server.asked == [None, '"one"', '"one"', None]


def test_the_tag_of_another_address_is_not_used(books: Path) -> None:
    with tagged(schedule(10.5)) as one, tagged(schedule(10.5)) as other:
        run("prices", "pull", "runapi", "--base-url", one.url)
        run("prices", "pull", "runapi", "--base-url", other.url)
    assert other.asked == [None]


@pytest.mark.parametrize(("days", "code"), [(1, 0), (2, 1)])
def test_a_schedule_of_a_day_to_come_is_refused(days: int, code: int, books: Path) -> None:
    day = (datetime.now(UTC) + timedelta(days=days)).date().isoformat()
    with answering((200, schedule(10.5, f"{day}T00:00:00Z"))) as server:
        result = run("prices", "pull", "runapi", "--base-url", server.url)
    assert result.exit_code == code
    assert bool([*books.iterdir()]) == (code == 0)
    if code:
        assert f"the schedule is dated {day}, and today is" in str(result.exception)


def test_pull_makes_the_folder_that_is_named_and_not_there(
    books: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLING_LEDGER_BOOKS", str(books / "new"))
    with tagged(schedule(14, "2026-08-01T00:00:00Z")) as served:
        assert run("prices", "pull", "--base-url", served.url).exit_code == 0
    assert (books / "new" / "runapi.toml").exists()


def test_pull_never_replaces_a_file_of_the_users(books: Path, tmp_path: Path) -> None:
    own = books / "runapi.toml"
    own.write_text('provider = "runapi"\n')
    with tagged(schedule(10.5)) as server:
        pull = ("prices", "pull", "runapi", "--base-url", server.url)
        assert run(*pull).exit_code == 2
        own.rename(books / "mine.toml")
        assert "mine.toml" in str(run(*pull).exception)
        elsewhere = tmp_path / "live.toml"
        assert run(*pull, "--out", str(elsewhere)).exit_code == 0
    assert elsewhere.exists()
    assert not own.exists()


@pytest.mark.parametrize(
    "answer",
    [
        HANG_UP,
        (500, {}),
        (304, ""),
        (200, "<html>"),
        (200, []),
        (200, {"price_schedules": 7}),
        (200, {"price_schedules": []}),
        (200, {"price_schedules": [], "as_of": "yesterday"}),
    ],
)
def test_what_is_no_schedule_is_one_clear_error(answer: Any, books: Path) -> None:
    with answering(answer) as server:
        result = run("prices", "pull", "runapi", "--base-url", server.url)
    assert isinstance(result.exception, LivePricesError)
    assert result.exit_code == 1
    assert not [*books.iterdir()]


def test_nobody_there_is_one_clear_error() -> None:
    with answering((200, {})) as server:
        gone = server.url
    with pytest.raises(LivePricesError, match="could not be reached"):
        fetch_schedule(gone)


@pytest.mark.parametrize("address", ["", "runapi.ai", "ftp://runapi.ai", "https://a:b@runapi.ai"])
def test_an_address_that_is_none_is_bad_input(address: str) -> None:
    with pytest.raises(ConfigError):
        fetch_schedule(address)


def test_live_alone_needs_no_address_of_its_own() -> None:
    result = run("prices", "check", *OLD, "--live", "--base-url", "http://127.0.0.1:9")
    assert isinstance(result.exception, click.UsageError)
    assert "--base-url goes with --live runapi" in str(result.exception)
