"""Moves: what each kind of transfer does to a wallet, for every report that sums transfers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

MOVES: Final[Mapping[str, tuple[str, int]]] = {
    "fund": ("funded", 1),
    "adjust": ("adjusted", 1),
    "adjust_down": ("adjusted", -1),
    "commit": ("spent", -1),
    "overrun": ("spent", -1),
    "late_commit": ("spent", -1),
    "refund": ("refunded", 1),
}
"""The kinds of transfers that change what a wallet holds: the figure of the statement, and whether
it rises or falls. The others only move credits between available and reserved."""

FIGURES: Final = tuple(dict.fromkeys(figure for figure, _ in MOVES.values()))
"""The figures of a statement, from its opening balance to its closing balance."""

CHARGING: Final = tuple(kind for kind, (figure, _) in MOVES.items() if figure == "spent")
"""The kinds that charge a wallet for a job: at its end, beyond what it held, or after its end."""

CORRECTING: Final = ("adjust", "adjust_down", "overrun", "late_commit", "refund")
"""The kinds posted outside the normal course of a job."""

_SETTING_ASIDE: Final = ("reserve", "reopen")
_FREEING: Final = ("commit", "return", "roll_back", "expire")


def into_wallets(transfers: pd.DataFrame) -> pd.Series[Any]:
    """Return what each transfer of MOVES put into its wallet; negative if it took something out."""
    signs = transfers["kind"].map({kind: sign for kind, (_, sign) in MOVES.items()})
    return transfers["amount_micro"] * signs.astype("Int64")


def into_reserved(transfers: pd.DataFrame) -> pd.Series[Any]:
    """Return what each transfer reserved; negative if it released, zero for any other."""
    amount, kind = transfers["amount_micro"], transfers["kind"]
    return amount.where(kind.isin(_SETTING_ASIDE), (-amount).where(kind.isin(_FREEING), 0))
