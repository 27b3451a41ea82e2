"""Moves: what each kind of transfer does to a wallet, as every report that adds them up sees it."""

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
"""The kinds of transfers that change what a wallet holds: in which figure, up or down. The others
move credits between available and reserved, inside the wallet."""

FIGURES: Final = tuple(dict.fromkeys(figure for figure, _ in MOVES.values()))
"""The figures of a statement, which lead from its opening balance to the closing one."""

CHARGING: Final = tuple(kind for kind, (figure, _) in MOVES.items() if figure == "spent")
"""What charges a wallet for a job: at its end, beyond what it held, or after it was over."""

CORRECTING: Final = ("adjust", "adjust_down", "overrun", "late_commit", "refund")
"""What is posted beside the plain course of a job."""

_SETTING_ASIDE: Final = ("reserve", "reopen")
_FREEING: Final = ("commit", "return", "roll_back", "expire")


def into_wallets(transfers: pd.DataFrame) -> pd.Series[Any]:
    """Return what each transfer of MOVES put into its wallet: below zero what it took out."""
    signs = transfers["kind"].map({kind: sign for kind, (_, sign) in MOVES.items()})
    return transfers["amount_micro"] * signs.astype("Int64")


def into_reserved(transfers: pd.DataFrame) -> pd.Series[Any]:
    """Return what each transfer set aside: below zero what it freed, zero for any other."""
    amount, kind = transfers["amount_micro"], transfers["kind"]
    return amount.where(kind.isin(_SETTING_ASIDE), (-amount).where(kind.isin(_FREEING), 0))
