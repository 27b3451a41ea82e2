"""Labels: plain words, written one way, read back as they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_ledger.errors import ConfigError
from kling_ledger.ledger.labels import from_text, read_label, to_text, within

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
VALUES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_./@:+-]{0,127}", fullmatch=True)
LABELS = st.dictionaries(NAMES, VALUES, max_size=5)


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("shot=7", ("shot", "7")),
        ("a.b_c-d=E/f@g:h+i", ("a.b_c-d", "E/f@g:h+i")),
        ("n" * 64 + "=" + "v" * 128, ("n" * 64, "v" * 128)),
    ],
)
def test_a_label_is_read_as_name_and_value(written, label):
    assert read_label(written) == label


@pytest.mark.parametrize(
    "written",
    [
        "",
        "shot",
        "=7",
        "shot=",
        "shot=a=b",
        "a,b=c",
        "a=b,c",
        "two words=1",
        "-a=b",
        "a=-b",
        "é=1",
        "a=b\n",
        "a\0=b",
        "n" * 65 + "=v",
        "n=" + "v" * 129,
    ],
)
def test_anything_else_is_no_label_and_the_error_says_how_to_write_one(written):
    with pytest.raises(ConfigError, match="invalid label") as caught:
        read_label(written)
    assert "name=value" in (caught.value.hint or "")


def test_no_labels_are_kept_as_nothing():
    assert to_text({}) is None
    assert from_text(None) == {}


def test_labels_are_kept_in_order_whatever_order_they_came_in():
    assert to_text({"b": "2", "a": "1"}) == to_text({"a": "1", "b": "2"}) == ",a=1,b=2,"


@given(LABELS)
def test_labels_come_back_as_they_were(labels):
    assert from_text(to_text(labels)) == labels


@given(LABELS, NAMES, VALUES)
def test_a_label_is_found_among_others_exactly_where_it_is(labels, name, value):
    text = to_text(labels) or ""
    assert (within(f"{name}={value}") in text) == (labels.get(name) == value)
    for own, its in labels.items():
        assert within(f"{own}={its}") in text
