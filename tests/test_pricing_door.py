"""One door to prices: a script and a shell command under the same settings quote the same."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_ledger import Clip, Library, Meter, afford, compare, open_library, quote, read_request
from kling_ledger.cli import cli
from kling_pricing import library as door
from kling_pricing.errors import BookError, ClipError, NoPriceError, PricingError

AT = datetime(2026, 11, 1, tzinfo=UTC)
CLIP = Clip("runapi", "kling-3.0", "text_to_video", seconds=5, resolution="720p", sound=True)
FLAGS = ("--provider", "runapi", "--model", "kling-3.0", "--seconds", "5", "--resolution", "720p")
WANTED = (*FLAGS, "--sound", "--at", "2026-11-01")
BODY = {
    "model": "kling-3.0",
    "prompt": "a lake",
    "duration_seconds": 5,
    "output_resolution": "720p",
    "enable_sound": True,
}
BUNDLED = Decimal("0.5")
"""Five seconds at 0.10, as the bundled book has it."""


def own_book(price: str) -> str:
    """A book of two lines over RunAPI's own."""
    return f'provider = "runapi"\n[rates."kling-3.0".prices.720p]\non = "{price}"\n'


@contextmanager
def surroundings(variables: Mapping[str, str]) -> Iterator[None]:
    """A new process under other settings, as far as prices are concerned."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"KLING_LEDGER_BOOKS", "XDG_CONFIG_HOME"}
    }
    with mock.patch.dict(os.environ, {**kept, **variables}, clear=True):
        door.at_hand.cache_clear()
        yield
    door.at_hand.cache_clear()


def shell(*words: str) -> Any:
    result = CliRunner().invoke(cli, [*words, "--format", "json"], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


PRICES = st.none() | st.sampled_from(("0.2", "0.27", "1.35"))
PLACES = st.fixed_dictionaries({"settings": PRICES, "folder": PRICES, "is_named": st.booleans()})


@given(PLACES)
@settings(max_examples=40)
def test_script_and_shell_quote_the_same_whatever_books_lie_where(places: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as home:
        lying = {
            "settings": Path(home, "config", "kling-ledger", "books"),
            "folder": Path(home, "folder"),
        }
        for name, folder in lying.items():
            folder.mkdir(parents=True)
            if places[name] is not None:
                (folder / "mine.toml").write_text(own_book(places[name]), encoding="utf-8")
        variables = {"XDG_CONFIG_HOME": str(Path(home, "config"))}
        if places["is_named"]:
            variables["KLING_LEDGER_BOOKS"] = str(lying["folder"])
        answering = places["folder"] if places["is_named"] else places["settings"]
        right = BUNDLED if answering is None else Decimal(answering) * 5
        with surroundings(variables):
            assert Decimal(shell("quote", *WANTED)["amount"]) == right
            assert quote(CLIP, at=AT).amount.amount == right
            assert read_request("runapi", BODY).quote(at=AT).amount.amount == right
            assert quote(CLIP, at=AT, library=open_library()).amount.amount == right
            [ours] = [
                one
                for one in compare(CLIP, family="kling-3.0", at=AT).offers
                if one.clip.provider == "runapi"
            ]
            [theirs] = [
                one
                for one in shell("compare", "--model", *FLAGS[3:], "--sound", "--at", "2026-11-01")
                if one["provider"] == "runapi"
            ]
            assert (ours.amount.amount, Decimal(theirs["amount"])) == (right, right)


def test_two_processes_quote_the_same(tmp_path: Path) -> None:
    (tmp_path / "mine.TOML").write_text("\ufeff" + own_book("1.35"), encoding="utf-8")
    script = (
        "from datetime import UTC, datetime\n"
        "from kling_ledger import Clip, quote\n"
        f"clip = {CLIP!r}\n"
        "print(quote(clip, at=datetime(2026, 11, 1, tzinfo=UTC)).amount.amount)"
    )
    command = "from kling_ledger.cli import main; main()"
    environment = {**os.environ, "KLING_LEDGER_BOOKS": str(tmp_path)}
    said = [
        subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
        for words in (
            [sys.executable, "-c", script],
            [sys.executable, "-c", command, "quote", *WANTED, "--format", "json"],
        )
    ]
    assert Decimal(said[0]) == Decimal(json.loads(said[1])["amount"]) == Decimal("6.75")


def test_whatever_prices_looks_at_hand_unless_it_is_told_where() -> None:
    assert Meter.__dataclass_fields__["library"].default_factory is door.at_hand
    for one in (quote, compare, afford):
        assert inspect.signature(one).parameters["library"].default is None


@pytest.mark.parametrize("at", ["2026-11-26", None, datetime(2026, 11, 26)])  # noqa: DTZ001
def test_what_is_no_instant_is_said_to_be_none(at: Any) -> None:
    with pytest.raises(ClipError, match="an instant: a datetime with its time zone"):
        quote(CLIP, at=at)


# --- what is given, and what became of it -------------------------------------------------------


def told(*words: str) -> str:
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stderr


def test_a_given_book_that_gave_no_price_is_named(tmp_path: Path) -> None:
    other, typo = tmp_path / "crun.toml", tmp_path / "typo.toml"
    other.write_text('provider = "crun"\n', encoding="utf-8")
    typo.write_text(
        door.bundled_text("runapi").text.replace('"runapi"', '"run-api"', 1), encoding="utf-8"
    )
    said = told("quote", *WANTED, "--book", str(other), "--book", str(typo))
    assert f"note: {other} was not used: it has prices of crun" in said
    meant = "it has prices of run-api, and nobody else has: did you mean runapi?"
    assert f"note: {typo} was not used: {meant}" in said


def test_a_given_book_that_gave_the_price_is_not(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(own_book("0.2"), encoding="utf-8")
    assert "was not used" not in told("quote", *WANTED, "--book", str(own))


def test_a_given_book_is_checked_also_where_nobody_asks_for_its_prices(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('provider = "crun"\nunits = "nonsense"\n', encoding="utf-8")
    with pytest.raises(BookError, match="units"):
        told("quote", *WANTED, "--book", str(own))
    with pytest.raises(BookError, match="units"):
        open_library(own)


def test_a_folder_that_is_named_and_not_there_is_refused(tmp_path: Path) -> None:
    missing = str(tmp_path / "boks")
    with surroundings({"KLING_LEDGER_BOOKS": missing}):
        for quoting in (lambda: told("quote", *WANTED), lambda: quote(CLIP, at=AT)):
            with pytest.raises(BookError, match="KLING_LEDGER_BOOKS names this folder"):
                quoting()


def test_no_folder_in_the_settings_is_as_good_as_an_empty_one(tmp_path: Path) -> None:
    with surroundings({"XDG_CONFIG_HOME": str(tmp_path)}):
        assert quote(CLIP, at=AT).amount.amount == BUNDLED


def test_what_lies_in_the_folder_and_is_not_read_is_named(tmp_path: Path) -> None:
    for name in ("own.toml.txt", "runapi.toml.etag", ".hidden"):
        (tmp_path / name).write_text("", encoding="utf-8")
    with surroundings({"KLING_LEDGER_BOOKS": str(tmp_path)}):
        said = told("quote", *WANTED)
        assert open_library().notes == (
            f"{tmp_path / 'own.toml.txt'} is not read: a price book ends in .toml",
        )
    assert said.count("is not read") == 1


def test_a_file_that_is_given_takes_the_place_of_one_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    lying, given_one = folder / "mine.toml", tmp_path / "given.toml"
    lying.write_text(own_book("0.2"), encoding="utf-8")
    given_one.write_text(own_book("0.3"), encoding="utf-8")
    with surroundings({"KLING_LEDGER_BOOKS": str(folder)}):
        library = open_library(given_one)
    assert quote(CLIP, at=AT, library=library).amount.amount == Decimal("1.5")
    assert library.notes == (f"{lying} is ignored: another book of its provider was given",)


def test_a_library_of_nothing_is_the_bundled_books_alone() -> None:
    assert quote(CLIP, at=AT, library=Library()).amount.amount == BUNDLED
    with pytest.raises(NoPriceError, match="no price known for provider nobody"):
        Library().book("nobody")
    assert issubclass(BookError, PricingError)
