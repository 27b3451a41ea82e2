"""How fast quotes are: one by one, a million at once, from a cold process and from a file.

After `pip install .` run it as `python benchmarks/quotes.py`. Every figure but that of a file is
the median of several rounds in one run; what is compared takes turns, so that a busy machine slows
both.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter

import pandas as pd

from kling_pricing import Clip, PricingError, bundled_book, bundled_providers, quote
from kling_pricing.bulk import quote_table

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROUNDS = 9
COLD_ROUNDS = 15
SINGLE = 20_000
BULK = 1_000_000
TEXTS = ("provider", "model", "action", "resolution")
COLD_QUOTE = (
    str(Path(sys.executable).with_name("kling-ledger")),
    *("quote", "--provider", "runapi", "--model", "kling-3.0", "--seconds", "5"),
    *("--resolution", "1080p", "--sound", "--format", "json"),
)
COLD_IMPORT = (sys.executable, "-c", "import click, pydantic")
MEASURED = """
import resource, subprocess, sys, time
began = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, capture_output=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - began, used.ru_utime, used.ru_maxrss)
"""
"""Run by a small process: a child counts the memory of the one that it was forked of."""

Work = Callable[[], object]


def main() -> None:
    clips = ready_clips()
    frame = table_of(clips)
    categorical = frame.astype(dict.fromkeys(TEXTS, "category"))
    works: dict[str, Work] = {
        "single": partial(quote_each, clips),
        "amounts": partial(read_each, clips),
        "categorical": partial(quote_table, categorical, at=AT),
        "strings": partial(quote_table, frame, at=AT),
    }
    other = genai_prices_work()
    if other is not None:
        works["genai"] = other
    took = medians(works, ROUNDS)
    single, categories = SINGLE / took["single"], BULK / took["categorical"]
    show("single quotes, mixed providers", f"{single:,.0f} /s", "250,000 /s")
    show("  with their amounts", f"{SINGLE / took['amounts']:,.0f} /s", "")
    if "genai" in took:
        rate = SINGLE / took["genai"]
        show("  genai-prices calc_price", f"{rate:,.0f} /s", "")
        show("  times as fast", f"{single / rate:.1f}", "10")
    show("bulk, 1M rows, categorical", f"{categories:,.0f} rows/s", "5,000,000 rows/s")
    show("bulk, 1M rows, strings", f"{BULK / took['strings']:,.0f} rows/s", "")
    show("  bulk to single", f"{categories / single:.0f}", "")
    cold()
    manifest(frame)


def manifest(frame: pd.DataFrame) -> None:
    """Price a million rows of CSV into another file, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder) / "clips.csv"
        frame.assign(id=range(len(frame)), prompt="a lake at sunrise, slow").to_csv(clips)
        words = ("quote", "--manifest", str(clips), "--out", str(Path(folder) / "priced.csv"))
        command = (COLD_QUOTE[0], *words, "--at", f"{AT:%Y-%m-%d}")
        ran = subprocess.run(
            (sys.executable, "-c", MEASURED, *command), check=True, capture_output=True, text=True
        )
    took, used, memory = map(float, ran.stdout.split())
    show("manifest, 1M rows, CSV to CSV", f"{took:.1f} s", "at most 12 s")
    show("  of it in its own code", f"{used:.1f} s", "")
    show("  memory", f"{memory / 1024:.0f} MB", "at most 250 MB")


def cold() -> None:
    took = medians({"quote": run(COLD_QUOTE), "import": run(COLD_IMPORT)}, COLD_ROUNDS)
    show("cold kling-ledger quote", f"{took['quote'] * 1e3:.0f} ms", "")
    show("cold import click, pydantic", f"{took['import'] * 1e3:.0f} ms", "")
    show("  ratio", f"{took['quote'] / took['import']:.2f}", "at most 1.3")


def medians(works: dict[str, Work], rounds: int) -> dict[str, float]:
    """Return the median seconds of each work; they take turns after one round to warm up."""
    took: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            began = perf_counter()
            work()
            if turn:
                took[name].append(perf_counter() - began)
    return {name: statistics.median(times) for name, times in took.items()}


def ready_clips() -> list[Clip]:
    """Return clips of every bundled provider that have a price, shuffled."""
    clips = [
        clip
        for provider in bundled_providers()
        for model, action in bundled_book(provider).offers
        for seconds in (5, 10)
        for resolution in ("720p", "1080p")
        for sound in (True, False)
        if is_priced(
            clip := Clip(provider, model, action, seconds, resolution=resolution, sound=sound)
        )
    ]
    pick = random.Random(1)  # noqa: S311
    return pick.choices(clips, k=SINGLE)


def is_priced(clip: Clip) -> bool:
    try:
        quote(clip, at=AT)
    except PricingError:
        return False
    return True


def quote_each(clips: Sequence[Clip]) -> None:
    for clip in clips:
        quote(clip, at=AT)


def read_each(clips: Sequence[Clip]) -> None:
    for clip in clips:
        _ = quote(clip, at=AT).amount


def table_of(clips: Sequence[Clip], rows: int = BULK) -> pd.DataFrame:
    names = (*TEXTS, "seconds", "sound")
    few = pd.DataFrame({name: [getattr(clip, name) for clip in clips] for name in names})
    return pd.concat([few] * -(-rows // len(few)), ignore_index=True)[:rows]


def genai_prices_work() -> Work | None:
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        print("genai-prices is not installed; to compare: pip install genai-prices")
        return None
    usage = Usage(input_tokens=1_000, output_tokens=100)
    price = partial(calc_price, usage, "gpt-4o", provider_id="openai", genai_request_timestamp=AT)
    return lambda: [price() for _ in range(SINGLE)]


def run(command: Sequence[str]) -> Work:
    # An installed package is compiled: the round to warm up compiles ours, whatever the shell says.
    compiled = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    return partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL, env=compiled)


def show(what: str, figure: str, goal: str) -> None:
    print(f"{what:<34}{figure:>22}{'   goal ' + goal if goal else ''}", flush=True)


if __name__ == "__main__":
    main()
