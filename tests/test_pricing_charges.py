"""What a job that came to nothing costs: what a book may say, and what the bundled ones do."""

from __future__ import annotations

import pytest

from kling_pricing import BookError, PriceBook, bundled_book, bundled_providers, library_of
from kling_pricing.book_reader import BookText, book_schema, read_book
from kling_pricing.charges import on_failure
from kling_pricing.library import Library
from kling_pricing.own_rates import charges_set_by

BOOK = """
format = 1
provider = "tiny"
name = "Tiny"
unit = "USD"

[sources.page]
url = "https://tiny.example/prices"
checked = 2026-01-31
evidence = "published"

[rates.one]
family = "tiny"
models = { m = ["text_to_video"] }
from = 2026-01-01
source = "page"
per = "second"
prices = "0.5"
request = { min_s = 3, max_s = 15 }
"""
KINDS = ("failure", "refusal", "invalid_input")


def read(charges: str) -> PriceBook:
    return read_book(f"{BOOK}\n[charges]\n{charges}\n", name="tiny.toml")


def said(book: PriceBook) -> tuple[str, ...]:
    assert tuple(book.charges.by_kind) == KINDS
    return tuple(charge.charged for charge in book.charges.by_kind.values())


def test_what_a_book_does_not_say_is_unknown() -> None:
    assert said(read_book(BOOK, name="tiny.toml")) == ("unknown", "unknown", "unknown")
    assert said(read('failure = { charged = "no", source = "page" }'))[1:] == ("unknown",) * 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("charged", ["yes", "no", "unknown"])
def test_each_kind_may_be_charged_or_not_or_unknown(kind: str, charged: str) -> None:
    book = read(f'{kind} = {{ charged = "{charged}", source = "page", note = "so it says" }}')
    charge = book.charges.by_kind[kind]
    assert (charge.charged, charge.source_name, charge.note) == (charged, "page", "so it says")


@pytest.mark.parametrize(
    ("charges", "key", "problem"),
    [
        ('failure = { charged = "no" }', "charges.failure", "source is required"),
        ('refusal = { charged = "yes" }', "charges.refusal", "source is required"),
        (
            'failure = { charged = "no", source = "gone" }',
            "charges.failure.source",
            "no source is called 'gone'",
        ),
        ('failure = { charged = "maybe" }', "charges.failure.charged", "'yes', 'no' or 'unknown'"),
        ("failure = { charged = false }", "charges.failure.charged", "'yes', 'no' or 'unknown'"),
        ('timeout = { charged = "unknown" }', "charges.timeout", "Extra inputs"),
    ],
)
def test_a_charge_that_nobody_vouches_for_is_refused(charges: str, key: str, problem: str) -> None:
    with pytest.raises(BookError) as refused:
        read(charges)
    assert (refused.value.key, problem in str(refused.value)) == (key, True)


def test_an_unknown_charge_may_name_who_left_it_open() -> None:
    charge = read('refusal = { source = "page", note = "may be" }').charges.refusal
    assert (charge.charged, charge.source_name) == ("unknown", "page")


def test_a_users_own_book_overrides_a_charge_and_is_named() -> None:
    own = """
    provider = "runapi"
    sources.bill = { url = "https://example.com/bill", checked = 2026-11-27, evidence = "user" }
    charges.refusal = { charged = "yes", source = "bill" }
    """
    library = library_of([BookText("mine.toml", own)])
    assert said(library.book("runapi")) == ("no", "yes", "unknown")
    assert charges_set_by("runapi", library) == ("charges.refusal is set by mine.toml",)
    assert charges_set_by("fal", library) == ()


def test_what_a_provider_of_the_users_own_charges_is_the_users_word() -> None:
    text = BOOK + '[charges]\nfailure = { charged = "yes", source = "page" }\n'
    library = library_of([BookText("tiny.toml", text)])
    assert charges_set_by("tiny", library) == ("charges.failure is set by tiny.toml",)


def test_a_charge_changes_the_digest_of_its_book() -> None:
    assert read('failure = { charged = "no", source = "page" }').digest != read("").digest


def test_the_schema_names_the_kinds_and_the_words() -> None:
    defs = book_schema()["$defs"]
    assert set(defs["Charges"]["properties"]) == set(KINDS)
    assert set(defs["Charge"]["properties"]) == {"charged", "source", "note"}
    assert defs["Charge"]["properties"]["charged"]["enum"] == ["yes", "no", "unknown"]


# What the bundled books say, written down again by hand: failure, refusal, invalid input.
SAID = {
    "apimart": ("no", "unknown", "unknown"),
    "comfy": ("unknown", "unknown", "no"),
    "evolink": ("no", "unknown", "unknown"),
    "fal": ("no", "unknown", "unknown"),
    "runapi": ("no", "unknown", "unknown"),
}


@pytest.mark.parametrize("provider", bundled_providers())
def test_the_bundled_books_say_what_their_sources_say(provider: str) -> None:
    assert said(bundled_book(provider)) == SAID.get(provider, ("unknown",) * 3)


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        (
            "runapi",
            (
                "RunAPI does not charge for a job that failed"
                " (https://runapi.ai/zh-CN/openclaw-kling.md, checked 2026-11-20)"
            ),
        ),
        ("crun", "whether Crun charges for a job that failed is not known: its bill tells"),
    ],
)
def test_what_a_failure_costs_is_said_with_its_source(provider: str, said: str) -> None:
    assert on_failure(provider, Library()) == said
