"""What no book has a price for, and its provider estimates for nothing: held at that, and said.

The amounts are worked out by hand from the sandbox's own tariff: Crun's std is 20 credits a second,
4K 67, motion control at pro 27 for the five seconds that it measures; 200 credits are a dollar.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runapi.kling import KlingClient

from kling_ledger import Ledger, metered
from kling_ledger.errors import CeilingError, ConflictError, InsufficientCreditsError
from kling_ledger.jobs.batch import Batch
from kling_ledger.jobs.batch_jobs import BatchJob, attempts_to_do
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.quoting import quoted_by
from kling_ledger.ledger import State
from kling_ledger.providers.base import Pacing
from kling_ledger.providers.registry import connect
from kling_ledger.providers.runapi.dialect import RunApi
from kling_ledger.sandbox import Sandbox
from kling_pricing import AmountError, Money, NoPriceError, RequestError
from kling_pricing.book_reader import BookText
from kling_pricing.gateways import read_request
from kling_pricing.library import library_of
from tests.cli import API_KEY, Cli, SandboxProcess, sandbox_process
from tests.metering import QUICK
from tests.test_pricing_bodies import LEFT_TO_AN_ESTIMATE, body_of, inside

HELD = {"crun_frames": "160", "crun_elements_4k": "402", "crun_motion": "135"}
"""Eight seconds at 20, six at 67, five at 27."""
WORTH = {"crun_frames": "0.8", "crun_elements_4k": "2.01", "crun_motion": "0.675"}

# RunAPI's book without the price of the one clip that the sandbox's tariff has.
WITHOUT = """
format = 1
provider = "runapi"
[rates."kling-3.0"]
until = 2026-06-04
"""


def credits_(amount: str) -> Money:
    return Money.parse(f"{amount} crun-credit")


@pytest.fixture
def open_things() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def meter(ledger: Ledger, sandbox: Sandbox, open_things: ExitStack) -> Meter:
    """A meter at Crun whose wallet has a thousand credits; its notes stand in `told`."""
    ledger.wallets.create("crun", "crun-credit")
    ledger.wallets.fund("crun", credits_("1000"))
    key = sandbox.settings.key_of("crun")
    pacing = Pacing(sleep=lambda _: None)
    provider = connect("crun", api_key=key, base_url=sandbox.url, pacing=pacing)
    open_things.enter_context(closing(provider))
    return Meter(ledger, provider, wallet="crun", patience=QUICK)


# --- one job ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEFT_TO_AN_ESTIMATE)
def test_what_only_the_book_cannot_price_is_held_at_the_live_estimate(meter: Meter, name: str):
    told: list[str] = []
    ended = replace(meter, on_note=told.append).run(body_of(name))
    assert (ended.state, ended.amount) == (State.COMMITTED, credits_(HELD[name]))
    assert ended.committed == ended.amount
    assert ended.job.usd == Money.parse(f"{WORTH[name]} USD")
    [note] = told
    assert LEFT_TO_AN_ESTIMATE[name] in note
    assert note.endswith(f"crun itself estimates {HELD[name]} crun-credit")


def test_the_reservation_keeps_how_its_amount_is_known(meter: Meter):
    held = meter.reserve(body_of("crun_elements_4k"))
    kept = json.loads(held.job.quote or "")
    assert (kept["evidence"], kept["amount"], kept["unit"]) == ("live", "402", "crun-credit")
    assert (kept["resolution"], kept["seconds"], kept["sound"]) == ("4k", 6, False)
    assert "crun itself estimates" in kept["assumptions"][0]
    assert "4K is not documented" in kept["assumptions"][1]
    assert (held.job.resolution, held.job.seconds, held.job.action) == ("4k", "6", "text_to_video")


@pytest.mark.parametrize(("share", "held"), [("50%", "80"), ("200%", "320")])
def test_whatever_is_estimated_is_held(meter: Meter, share: str, held: str):
    reserved = meter.reserve(inside("crun_frames", prompt=f"a door [estimate {share}]"))
    assert reserved.amount == credits_(held)


@pytest.mark.parametrize("marker", ["[estimate 0%]", "[estimate 500]", "[estimate 422]"])
def test_without_an_estimate_the_missing_price_stands_and_nothing_is_sent(
    meter: Meter, sandbox: Sandbox, marker: str
):
    with pytest.raises(NoPriceError, match="720p without sound"):
        meter.run(inside("crun_frames", prompt=f"a door {marker}"))
    assert meter.ledger.wallets.get("crun").available == credits_("1000")
    assert sandbox.stores["crun"].jobs() == ()


def test_who_does_not_ask_for_estimates_has_no_price(meter: Meter):
    with pytest.raises(NoPriceError, match="720p without sound"):
        replace(meter, asks_estimate=False).reserve(body_of("crun_frames"))


def test_what_is_set_aside_under_a_key_goes_on_without_another_estimate(meter: Meter):
    held = meter.reserve(body_of("crun_frames"), key="mine")
    told: list[str] = []
    blind = replace(meter, asks_estimate=False, on_note=told.append)
    ended = blind.run(body_of("crun_frames"), key="mine")
    assert (ended.id, ended.state, ended.amount) == (held.id, State.COMMITTED, credits_("160"))
    assert told == []
    with pytest.raises(ConflictError):
        blind.reserve(body_of("crun_motion"), key="mine")


def test_a_body_that_is_wrong_is_refused_whatever_would_be_estimated(meter: Meter):
    with pytest.raises(RequestError, match=r"input\.duration"):
        meter.reserve(inside("crun_frames", duration=99))


def test_a_live_estimate_meets_the_ceiling_and_the_wallet_like_any_price(meter: Meter):
    at_the_ceiling = replace(meter, ceiling=credits_("160"))
    assert at_the_ceiling.reserve(body_of("crun_frames")).amount == credits_("160")
    with pytest.raises(CeilingError):
        replace(meter, ceiling=credits_("159.999999")).reserve(body_of("crun_frames"))
    for _ in range(5):
        meter.reserve(body_of("crun_frames"))
    with pytest.raises(InsufficientCreditsError):
        meter.reserve(body_of("crun_frames"))


def test_a_wallet_in_another_unit_does_not_pay_for_it(meter: Meter, team: str):
    with pytest.raises(AmountError):
        replace(meter, wallet=team).reserve(body_of("crun_frames"))


# --- a batch, and a client of RunAPI's own ----------------------------------------------------


def test_a_batch_holds_the_live_estimate_by_the_same_way(meter: Meter):
    jobs = []
    for place, name in enumerate(LEFT_TO_AN_ESTIMATE, 1):
        request = read_request("crun", body_of(name))
        quoted = quoted_by(meter.library.book("crun"), request, meter.clock())
        jobs.append(BatchJob(place, request, quoted, f"clips/{place}"))
    ended = Batch({"crun": meter}, attempts_to_do(jobs, {})).run()
    reserved = [ended[place].reservation for place in sorted(ended)]
    assert [one and one.committed for one in reserved] == list(map(credits_, HELD.values()))


def test_a_metered_client_holds_what_runapi_quotes_where_its_book_has_no_price(
    ledger: Ledger, team: str, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", logger="kling_ledger.jobs")
    plain = KlingClient(api_key="sandbox-key", base_url=sandbox.url)
    library = library_of([BookText("without", WITHOUT)])
    clip: dict[str, Any] = {
        "model": "kling-3.0",
        "prompt": "a quiet lake",
        "duration_seconds": 5,
        "output_resolution": "1080p",
        "enable_sound": True,
    }
    kling = metered(plain, ledger, wallet=team, library=library)
    kling.text_to_video.run(**clip)
    blind = metered(plain, ledger, wallet=team, library=library, asks_estimate=False)
    with pytest.raises(NoPriceError):
        blind.text_to_video.create(**clip)
    RunApi(plain).close()
    [held] = ledger.reservations.latest()
    assert (str(held.amount), str(held.job.usd), str(held.spent)) == ("0.675 USD",) * 3
    assert "runapi itself estimates 0.675 USD" in caplog.text
    assert "a quiet lake" not in caplog.text


# --- the command line -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with sandbox_process(tmp_path_factory.mktemp("sandbox"), "--balance", "1000") as running:
        yield running


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    key = "ak_" + (API_KEY * 32)[:32]
    cli = Cli(tmp_path, {"CRUN_API_KEY": key})
    cli("wallet", "create", "credits", "--unit", "crun-credit")
    cli("wallet", "fund", "credits", "1000")
    return cli


def at(process: SandboxProcess) -> list[str]:
    return ["--wallet", "credits", "--base-url", process.url, "--format", "json"]


def test_run_says_that_it_holds_the_live_estimate(cli: Cli, process: SandboxProcess):
    words = ["run", "--provider", "crun", "--request", "-", "--poll-every", "0.1", *at(process)]
    said = cli(*words, stdin=json.dumps(body_of("crun_frames")))
    assert (said.code, said.json["amount"], said.json["committed"]) == (0, "160", "160"), said.err
    assert (said.json["quoted"], said.json["estimated"]) == (None, "160")
    assert "note: no price known for crun kling/v3 720p without sound: crun itself" in said.err


def test_quote_says_that_run_can_ask(cli: Cli):
    said = cli(
        "quote", "--provider", "crun", "--request", "-", stdin=json.dumps(body_of("crun_frames"))
    )
    assert said.code == 7
    assert "hint: kling-ledger run gets a free estimate from crun" in said.err


def batch_of(cli: Cli, *bodies: dict[str, Any]) -> None:
    rows = [json.dumps({"provider": "crun", "request": body}) for body in bodies]
    (cli.folder / "clips.jsonl").write_text("\n".join(rows))


def test_batch_adds_live_estimates_to_its_cost_and_says_so(cli: Cli, process: SandboxProcess):
    batch_of(cli, body_of("crun_text"), body_of("crun_frames"))
    words = ["batch", "clips.jsonl", "--poll-every", "0.1", *at(process)]
    said = cli(*words)
    assert said.code == 0, said.err
    assert "note: row 2: no price known for crun kling/v3 720p without sound: crun" in said.err
    # 5 x 27 by the book, and 160
    assert "2 jobs, 295 crun-credit; 2 to do, 295 crun-credit to reserve" in said.err
    assert cli.wallet("credits")["spent"] == "295"
    again = cli(*words)
    assert (again.code, cli.wallet("credits")["spent"]) == (0, "295"), again.err


def test_a_batch_with_a_row_that_nobody_prices_starts_nothing(cli: Cli, process: SandboxProcess):
    batch_of(cli, body_of("crun_text"), inside("crun_frames", prompt="a door [estimate 422]"))
    said = cli("batch", "clips.jsonl", *at(process))
    assert said.code == 7
    assert "error: row 2: no price known for crun kling/v3 720p without sound" in said.err
    assert "nothing was started: 1 row cannot be run" in said.err
    assert cli.wallet("credits")["available"] == "1000"


def test_without_a_key_a_dry_run_names_the_rows_that_no_book_prices(tmp_path: Path, cli: Cli):
    batch_of(cli, body_of("crun_text"), body_of("crun_frames"))
    nobody = Cli(tmp_path, {})
    said = nobody("batch", "clips.jsonl", "--wallet", "credits", "--dry-run")
    assert (said.code, "row 2: no price known" in said.err) == (7, True), said.err
