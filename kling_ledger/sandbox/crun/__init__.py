"""Crun: its contract and its tariff; dialect.py is its HTTP."""

from __future__ import annotations

from typing import Final

from kling_ledger.sandbox.crun.contract import read
from kling_ledger.sandbox.crun.tariff import TARIFF
from kling_ledger.sandbox.gateway import Gateway

_KEY_LENGTH: Final = 32


def _key_of(key: str) -> str:
    """Return a key in Crun's form: `ak_` and 32 characters.

    Source: https://github.com/CrunTeam/crun-agent-skills runtime/crun_cli.py, checked 2026-11-20.
    """
    return "ak_" + (key * _KEY_LENGTH)[:_KEY_LENGTH]


GATEWAY: Final = Gateway(
    name="crun",
    tariff=TARIFF,
    read=read,
    key_of=_key_of,
)
