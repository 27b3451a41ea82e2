"""Hostile price books: whatever a file holds, one sentence, soon, in little memory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from kling_pricing.book_reader import DEEPEST, LARGEST, read_book
from kling_pricing.errors import BookError
from kling_pricing.library import bundled_text
from tests.hostile import MOST_MB, measured

BOOKS: Final = {
    "an open list": ("a = " + "[" * 100_000, "nested"),
    "lists in lists": ("a = " + "[" * 90 + "]" * 90, "nested"),
    "tables in tables": ("a = " + "{a=" * 500 + "1" + "}" * 500, "nested"),
    "a dotted key": (".".join("a" * 50_000) + " = 1", "line 1: a key of more than 16 parts"),
    "a spaced one": ("\n\n" + ' "a" . b .' * 5_000 + "c = 1", "line 3: a key of more than"),
    "a dotted header": ("\n[" + ".".join(["'a'"] * 20_000) + "]", "line 2: a key of more than"),
    "many dotted keys": (
        "\n".join(f"a{n}." + ".".join("b" * 14) + "=1" for n in range(6_000)),
        "a0: Extra inputs",
    ),
    "5,000 digits": ("a = " + "9" * 5_000, "a number has thousands of digits"),
    "digits of base 16": ("provider = 0x" + "f" * 200_000, "provider: Input should be"),
    "many tables": ("\n".join(f"[a{n}]" for n in range(30_000)), "more"),
    "one long word": ("a" * LARGEST, "Expected '='"),
    "quotes": ('"' * LARGEST, "Expected '='"),
    "too long a text": ("# " + "x" * LARGEST, "it is longer than 262,144 characters"),
    "a long key": ("a" * 200_000 + " = 1", "Extra inputs"),
    "no TOML": ("\0" * 10, "Invalid statement"),
}


@pytest.mark.parametrize("what", BOOKS)
def test_a_hostile_book_is_one_sentence(what: str) -> None:
    text, told = BOOKS[what]
    with pytest.raises(BookError) as caught:
        read_book(text, name="own.toml")
    assert caught.value.message.startswith("own.toml: ")
    assert told in caught.value.message
    assert len(caught.value.message) < 10_000
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "what", ["an open list", "a dotted key", "many dotted keys", "5,000 digits", "many tables"]
)
def test_a_hostile_book_takes_little_memory(what: str, tmp_path: Path) -> None:
    text, _ = BOOKS[what]
    (tmp_path / "own.toml").write_text(text)
    clip = ("--provider", "runapi", "--model", "kling-3.0", "--seconds", "5")
    ran = measured(tmp_path, "quote", *clip, "--book", "own.toml")
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert "error: own.toml: " in ran.err
    assert ran.megabytes < MOST_MB


def test_a_file_of_any_length_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "own.toml").open("wb") as file:
        file.truncate(1 << 30)
    ran = measured(tmp_path, "prices", "list", "--book", "own.toml")
    assert (ran.code, ran.out) == (2, "")
    assert "it is longer than 262,144 characters" in ran.err
    assert ran.megabytes < MOST_MB


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_a_book_in_another_encoding_says_so(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "own.toml").write_bytes('provider = "runapi" # für'.encode(encoding))
    ran = measured(tmp_path, "prices", "list", "--book", "own.toml")
    assert ran.code == 2
    assert "own.toml: cannot be read: it is not UTF-8 text" in ran.err


def test_a_byte_order_mark_is_no_part_of_a_book(tmp_path: Path) -> None:
    text = 'provider = "runapi"\nrates."kling-3.0".prices.1080p.on = "0.2"\n'
    (tmp_path / "own.toml").write_bytes(text.encode("utf-8-sig"))
    clip = ("--provider", "runapi", "--model", "kling-3.0", "--seconds", "5", "--sound")
    ran = measured(tmp_path, "quote", *clip, "--resolution", "1080p", "--book", "own.toml")
    assert ran.code == 0, ran.err
    over = bundled_text("runapi")
    plain, marked = (read_book(one, name="own.toml", over=over) for one in (text, "\ufeff" + text))
    assert plain.digest == marked.digest


def test_a_key_of_as_many_parts_as_there_may_be_is_read_as_toml() -> None:
    parts = ".".join(["a"] * DEEPEST)
    with pytest.raises(BookError, match="a: Extra inputs"):
        read_book(f"{parts} = 1", name="own.toml")
    with pytest.raises(BookError, match="a key of more than 16 parts"):
        read_book(f"{parts}.a = 1", name="own.toml")
