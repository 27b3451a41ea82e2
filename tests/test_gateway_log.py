"""The log: one line an exchange, whole and alone, whatever a caller sent; never what is secret."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
from typing import Any

import pytest

from kling_ledger.errors import InsufficientCreditsError
from kling_ledger.gateway.events import Kind
from kling_ledger.gateway.log import Log, line
from kling_pricing.errors import AmountError, ClipError, NoPriceError, Problem
from tests.gateway_exchanges import HOSTILE, PROMPT, SECRETS, body_error, exchange, refused, usd


def written(*exchanges: Any) -> str:
    stream = io.StringIO()
    log = Log(stream)
    for one in exchanges:
        log(one)
    return stream.getvalue()


def test_a_line_tells_what_was_asked_by_whom_and_what_it_costs_in_exact_texts():
    told = json.loads(written(exchange(committed=usd("0.54"), settled_by="provider")))
    assert told == {
        "time": "2026-11-27T09:30:15.250+00:00",
        "provider": "runapi",
        "kind": "submit",
        "status": 200,
        "took_ms": 125,
        "upstream_ms": 100,
        "caller": "openclaw",
        "wallet": "team",
        "project": "film/teaser",
        "model": "kling-3.0",
        "action": "text_to_video",
        "reservation": "res_1",
        "quoted": "0.675 USD",
        "held": "0.675 USD",
        "committed": "0.54 USD",
        "settled_by": "provider",
    }


def test_what_is_not_known_is_left_out_and_never_zero():
    told = json.loads(
        written(
            exchange(
                kind=Kind.POLL,
                caller=None,
                reservation_id=None,
                quoted=None,
                held=None,
                model=None,
                action=None,
                project=None,
            )
        )
    )
    assert set(told) == {
        "time",
        "provider",
        "kind",
        "status",
        "took_ms",
        "upstream_ms",
        "wallet",
    }


def test_a_refusal_is_told_with_its_code_and_its_sentence():
    short = InsufficientCreditsError("team", needed=usd("0.675"), available=usd("0.5"))
    told = json.loads(written(refused(short)))
    assert told["refusal"] == "insufficient_credits"
    assert told["reason"] == (
        "wallet team: needed 0.675 USD, available 0.5 USD, short by 0.175 USD"
    )


def test_what_has_no_price_is_told_without_all_that_has_one():
    error = NoPriceError("kling-9 at runapi", known=["kling-3.0", "kling-2.6"])
    assert json.loads(line(refused(error)))["reason"] == "no price known for kling-9 at runapi"


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("field", ["project", "model", "caller", "provider", "action"])
def test_hostile_values_cannot_break_a_line_or_forge_another(hostile: str, field: str):
    text = written(exchange(**{field: hostile}), exchange())
    assert text.count("\n") == 2
    first, second, rest = text.split("\n")
    assert rest == ""
    # Nothing but printable ASCII: no terminal, pager or line reader sees more than a line.
    assert re.fullmatch(r"[ -~]+", first)
    assert "forged" not in json.loads(first)["time"]
    assert json.loads(second)["project"] == "film/teaser"


@pytest.mark.parametrize("quoted", [PROMPT, *SECRETS])
@pytest.mark.parametrize(
    "error",
    [
        body_error,
        lambda got: ClipError([Problem("$.x", got, "a length")]),
        lambda got: AmountError("amount", got=got, allowed="a number"),
    ],
)
def test_what_an_error_of_a_body_quotes_is_in_no_line(quoted: str, error: Any):
    text = line(refused(error(quoted)))
    # An error quotes the beginning of what it got.
    assert quoted[:20] not in text
    assert "allowed" in json.loads(text)["reason"]


def test_a_reason_and_a_name_of_any_length_fit_on_a_line():
    text = line(refused(body_error(*["x"] * 15), model="m" * 100_000, project="p" * 100_000))
    assert len(text) < 1500


def test_lines_of_many_threads_are_whole():
    stream = io.StringIO()
    log = Log(stream)

    def work() -> None:
        for _ in range(200):
            log(exchange())

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1600
    assert {json.loads(one)["reservation"] for one in lines} == {"res_1"}


def test_without_a_stream_lines_go_to_the_logger_of_the_gateway(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, logger="kling_ledger.gateway"):
        Log()(exchange(project="100%s"))
    (record,) = caplog.records
    assert json.loads(record.getMessage())["project"] == "100%s"
