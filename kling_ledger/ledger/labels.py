"""Labels: `name=value` words on a reservation, for budgets to count and reports to add up by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from kling_ledger.errors import ConfigError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_VALUE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./@:+-]{0,127}")

Labels = Mapping[str, str]


def read_label(written: str) -> tuple[str, str]:
    """Read `name=value`; ConfigError for anything else."""
    name, _, value = written.partition("=")
    if not _is_label(name, value):
        raise _no_label(written)
    return name, value


def check(labels: Labels) -> None:
    """Raise ConfigError unless every name and value is a plain word."""
    if not isinstance(labels, Mapping):
        raise ConfigError(f"labels are a mapping, got {labels!r}", hint="labels={'shot': 's1'}")
    for name, value in labels.items():
        if not _is_label(name, value):
            raise _no_label(f"{name}={value}")


def to_text(labels: Labels) -> str | None:
    """Write labels for the database, sorted and between commas; None if there are none."""
    if not labels:
        return None
    check(labels)
    return "".join(f",{name}={labels[name]}" for name in sorted(labels)) + ","


def from_text(text: str | None) -> dict[str, str]:
    """Read labels as the database stores them."""
    words = (text or "").strip(",").split(",")
    return {name: value for name, _, value in (word.partition("=") for word in words) if name}


def within(label: str) -> str:
    """Return text that the stored labels contain if this label is among them."""
    return f",{label},"


def _is_label(name: object, value: object) -> bool:
    if not (isinstance(name, str) and isinstance(value, str)):
        return False
    return _NAME.fullmatch(name) is not None and _VALUE.fullmatch(value) is not None


def _no_label(written: str) -> ConfigError:
    return ConfigError(
        f"invalid label: {written}",
        hint="write name=value in letters, digits and _ . - (in the value also / @ : +)",
    )
