"""A busy program under guard, a provider that misbehaves, and a kill -9 in the middle."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Final

import httpx
import pytest

from kling_ledger import Ledger, State
from kling_ledger.sandbox import Sandbox, SandboxSettings
from kling_pricing import Money
from tests.cli import API_KEY, COMMAND, Cli
from tests.waiting import until

THREADS: Final = 32
LASTS_S: Final = 20
ONE_CLIP: Final = Decimal("0.675")
CAPS: Final = (Decimal(20), Decimal(30))
"""What the first run may spend, which is killed, and what the second one may."""

BUSY: Final = """
import httpx, itertools, os, random, sys, threading, time
URL, NAME, THREADS, LASTS_S = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
HEADERS = {"Authorization": f"Bearer {os.environ['RUNAPI_API_KEY']}"}
TROUBLES = ["", "", "[fail]", "[lose cut]", "[lose 500]", "[lose half]", "[refuse 429]",
            "[refuse 503 2]", "[malformed]", "[poll cut]", "[poll 500 2]", "[state odd 2]",
            "[latency 0.2]", "[fail moderation]", "[lose malformed]"]
UNTIL = time.monotonic() + LASTS_S

def busy(number):
    chance = random.Random(f"{NAME} {number}")
    for count in itertools.count():
        if time.monotonic() >= UNTIL:
            return
        prompt = f"{NAME} {number} {count} {chance.choice(TROUBLES)}"
        body = {"model": "kling-3.0", "prompt": prompt, "duration_seconds": 5,
                "output_resolution": "1080p", "enable_sound": True}
        try:
            one(body, chance.random() < 0.8)
        except (httpx.HTTPError, ValueError, KeyError):
            time.sleep(0.05)

def one(body, asks):
    with httpx.Client(headers=HEADERS, timeout=20) as client:
        made = client.post(URL, json=body)
        if made.status_code != 200:
            time.sleep(0.1)
            return
        task = made.json()
        for _ in range(40 if asks else 0):
            if task["status"] in {"completed", "failed"}:
                return
            time.sleep(0.05)
            task = client.get(f"{URL}/{made.json()['id']}").json()

threads = [threading.Thread(target=busy, args=(number,)) for number in range(THREADS)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def start(cli: Cli, url: str, name: str, cap: Decimal) -> subprocess.Popen[bytes]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("KLING_", "RUNAPI_"))}
    options = ["--wallet", "team", "--upstream", f"runapi={url}", "--max-total", str(cap)]
    program = [sys.executable, "-c", BUSY, "https://runapi.ai/api/v1/kling/text_to_video"]
    given = [name, str(THREADS), str(LASTS_S)]
    return subprocess.Popen(
        [COMMAND, "exec", *options, "--label", f"stress={name}", "--", *program, *given],
        env={**environ, "KLING_LEDGER_DB": str(cli.database), **cli.environ},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def tasks(url: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = httpx.get(f"{url}/sandbox/truth", timeout=60).json()["tasks"]
    return found


@pytest.mark.slow
def test_no_cap_is_passed_and_the_ledger_is_the_truth(tmp_path: Path):
    cli = Cli(tmp_path, {"RUNAPI_API_KEY": API_KEY})
    cli.fund("45 USD")
    settings = SandboxSettings(job_s=0.2, hang_s=1.0, balance=Money.parse("100000 USD"))
    with Sandbox(settings) as sandbox:
        first = start(cli, sandbox.url, "first", CAPS[0])

        def is_busy() -> bool:
            assert first.poll() is None, first.communicate()
            return len(tasks(sandbox.url)) >= THREADS // 2

        until(is_busy)
        # Alone: its program lives on, and reaches nobody any more.
        first.send_signal(signal.SIGKILL)
        first.wait()
        in_flight = len(tasks(sandbox.url))
        _, err = start(cli, sandbox.url, "second", CAPS[1]).communicate()
        assert b"Traceback" not in err, err.decode()
        refused = re.search(rb"refused (\d+)", err)
        assert refused is not None
        assert int(refused[1]) > 0, "the cap was not reached"
        # What the second program started may not have been seen to its end by anybody.
        # A submission that is sent again may be answered oddly once more, as its marker says.
        resume = ("resume", "--poll-every", "0.1", "--grace", "0", "--base-url", sandbox.url)
        for _ in range(3):
            cli(*resume)
        truth = tasks(sandbox.url)
        decide_what_nobody_can_know(cli, truth)
        last = cli(*resume)
        assert last.code == 0, last.err
        first.communicate()
    said_by_first = [one for one in truth if one["prompt"].startswith("first")]
    assert len(said_by_first) >= in_flight >= THREADS // 2
    check(cli, truth)


def decide_what_nobody_can_know(cli: Cli, truth: list[dict[str, str]]) -> None:
    """Do what a person has to, and only where a person has to.

    A sender was killed while it sent, and each repeat is refused: whether the first arrived, only
    the provider knows. Such jobs are few, and each is one that the provider refuses.
    """
    made = {one["prompt"] for one in truth}
    with Ledger(str(cli.database)) as ledger:
        left = list(ledger.reservations.open())
    assert len(left) <= THREADS
    for one in left:
        assert one.state is State.IN_DOUBT
        prompt = json.loads(one.job.request or "{}")["prompt"]
        assert "[refuse" in prompt, prompt
        assert prompt not in made, prompt
        cli("reservation", "rollback", one.id, "--reason", "the provider has no such task")


def check(cli: Cli, truth: list[dict[str, str]]) -> None:
    """Each charge is a reservation's, once, and neither a run nor the wallet is beyond its cap."""
    charged = {one["id"]: Decimal(one["charged"]) for one in truth if Decimal(one["charged"])}
    assert max(Counter(one["prompt"] for one in truth).values()) == 1, "a job was made twice"
    with Ledger(str(cli.database)) as ledger:
        assert ledger.verify().findings == ()
        wallet = ledger.wallets.get("team")
        ours = ledger.reservations.latest(limit=100_000)
    assert [one.id for one in ours if one.is_open] == []
    paid = {one.task_id: one.committed.amount for one in ours if one.committed is not None}
    assert paid == charged
    assert wallet.spent.amount == sum(charged.values()) <= Decimal(45)
    assert wallet.reserved.micro == 0
    for name, cap in zip(("first", "second"), CAPS, strict=True):
        mine = [one for one in ours if one.labels["stress"] == name]
        committed = [one for one in mine if one.state is State.COMMITTED]
        assert len(committed) > THREADS // 4
        assert len(committed) * ONE_CLIP <= cap
