"""`kling-ledger check`: what `run` would do, what stands in its way, and what would fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kling_ledger.jobs.fitting import would_fit
from kling_ledger.ledger import Ledger
from kling_ledger.ledger.scopes import Scope
from kling_pricing import Money
from kling_pricing.gateways import read_request
from kling_pricing.library import Library, library_of
from tests.cli import API_KEY, BODY, Cli, SandboxProcess, body, sandbox_process
from tests.ledgers import unchanged

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
CLIP = ("--model", "kling-3.0", "--resolution", "1080p", "--sound", "--seconds")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A ledger whose wallet `team` holds 2 USD; nowhere is there a key."""
    cli = Cli(tmp_path)
    cli.fund("2 USD")
    return cli


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with sandbox_process(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def checked(*more: str) -> list[str]:
    return ["check", "--provider", "runapi", "--wallet", "team", "--format", "json", *more]


def test_what_is_admitted_exits_0_and_leaves_the_ledger_as_it_was(cli):
    with Ledger(str(cli.database)) as ledger, unchanged(ledger):
        said = cli(*checked("--request", "-", "--project", "film/a"), stdin=body())
    assert said.code == 0
    # 0.675 by one figure of the seller and twice that by another: without a key the higher is held.
    told = {name: said.json[name] for name in ("admitted", "quoted", "held", "unit", "refusal")}
    assert told == {
        "admitted": True,
        "quoted": "0.675",
        "held": "1.35",
        "unit": "USD",
        "refusal": None,
    }
    assert said.json["would_fit"]["amount"] == "2"


def test_what_is_refused_exits_3_and_says_what_would_fit(cli):
    said = cli(*checked(*CLIP, "10"))
    assert said.code == 3
    answer = said.json
    assert answer["admitted"] is False
    assert answer["refusal"]["code"] == "insufficient_credits"
    assert answer["refusal"]["short"] == "0.7 USD"
    assert answer["refusal"]["hint"] == 'fund it with: kling-ledger wallet fund team "0.7 USD"'
    # Each second holds 0.27 USD: seven of them are 1.89, eight 2.16.
    assert answer["would_fit"]["max_seconds"] == "7"
    # 0.09 a second without sound, and as much again held: 1.8 USD.
    assert answer["would_fit"]["without_sound"]["held"] == "1.8"
    assert answer["would_fit"]["lower_resolution"]["options"] == "720p with sound"
    assert answer["would_fit"]["other_seller"]["provider"] == "crun"
    assert cli.wallet()["reserved"] == "0"


def test_each_suggestion_would_be_admitted_and_a_second_more_would_not(cli):
    fit = cli(*checked(*CLIP, "10")).json["would_fit"]
    most = int(fit["max_seconds"])
    smaller = ("--model", "kling-3.0", "--seconds", "10", "--resolution", "720p")
    assert fit["lower_resolution"]["options"] == "720p with sound"
    assert cli(*checked(*CLIP, str(most))).code == 0
    assert cli(*checked(*CLIP, str(most + 1))).code == 3
    assert cli(*checked(*smaller, "--sound")).json["held"] == fit["lower_resolution"]["held"]
    silent = ("--model", "kling-3.0", "--seconds", "10", "--resolution", "1080p", "--no-sound")
    assert cli(*checked(*silent)).json["held"] == fit["without_sound"]["held"]


def test_a_table_says_the_same_in_words(cli):
    said = cli("check", "--provider", "runapi", "--wallet", "team", *CLIP, "10")
    assert said.code == 3
    assert "admitted     no" in said.out
    assert "7 s of the same clip for 1.89 USD" in said.out
    assert "wallet fund team" in said.out


def test_a_ceiling_is_refused_by_the_option_that_raises_it(cli):
    answer = cli(*checked("--request", "-", "--max-cost", "1"), stdin=body())
    assert (answer.code, answer.json["refusal"]["code"]) == (3, "ceiling")
    assert "--max-cost" in answer.json["refusal"]["hint"]
    assert answer.json["would_fit"]["amount"] == "1"


def test_a_budget_by_label_and_project_is_asked(cli):
    with Ledger(str(cli.database)) as ledger:
        ledger.budgets.set("red", Money.parse("1 USD"), scope=Scope(label="team=red"), window="day")
    admitted = cli(*checked("--request", "-", "--label", "team=blue"), stdin=body())
    refused = cli(*checked("--request", "-", "--label", "team=red"), stdin=body())
    assert (admitted.code, refused.code) == (0, 3)
    facts = refused.json["refusal"]
    assert facts["budget"] == "red"
    assert facts["left"] == {"amount": "1", "unit": "USD"}
    assert facts["frees_at"] is not None


def test_with_a_key_the_providers_own_estimate_decides_as_it_does_for_run(cli, sandbox):
    keyed = Cli(cli.folder, {"RUNAPI_API_KEY": API_KEY})
    said = keyed(*checked(*CLIP, "10", "--base-url", sandbox.url))
    # The estimate says that 10 s cost 1.35: the wallet has that, and 14 s would be 1.89.
    assert (said.code, said.json["held"]) == (0, "1.35")
    assert said.json["would_fit"]["max_seconds"] == "14"
    assert sandbox.spent_cents() == 0


def test_bad_input_and_unknown_prices_are_told_as_run_tells_them(cli):
    too_long = json.dumps({**BODY, "duration_seconds": 99})
    assert cli(*checked("--request", "-"), stdin=too_long).code == 2
    assert cli(*checked("--model", "kling-9", "--seconds", "5")).code == 7
    assert cli("check", "--provider", "runapi", "--wallet", "nobody", *CLIP, "5").code == 2


# --- what would fit ------------------------------------------------------------------------


def fitting(fits: str, held: str | None = None, **fields: object) -> dict[str, object]:
    request = read_request("runapi", {**BODY, **fields})
    library: Library = library_of([])
    asked = None if held is None else Money.parse(held)
    return would_fit(request, Money.parse(fits), at=NOON, library=library, held=asked).as_dict()


def test_exactly_what_a_length_costs_fits_and_a_millionth_less_does_not():
    # 4 s hold 1.08 USD.
    assert fitting("1.08 USD")["max_seconds"] == "4"
    assert fitting("1.079999 USD")["max_seconds"] == "3"


def test_an_estimate_that_halves_what_is_held_halves_it_for_every_length():
    assert fitting("0.54 USD", held="0.675 USD")["max_seconds"] == "4"


def test_nothing_fits_nothing():
    assert fitting("0 USD") == {
        "amount": "0",
        "unit": "USD",
        "max_seconds": None,
        "lower_resolution": None,
        "without_sound": None,
        "other_seller": None,
    }


def test_of_what_no_book_prices_only_the_sum_is_known():
    request, long_ago = read_request("runapi", BODY), datetime(2020, 1, 1, tzinfo=UTC)
    fit = would_fit(request, Money.parse("1 USD"), at=long_ago, library=library_of([]))
    assert (fit.max_seconds, fit.told) == (None, ("up to 1 USD",))
