"""How the cells of a workbook look, by content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_INK: Final = "#1F2933"
_RULE: Final = "#9AA5B1"
_SHADE: Final = "#EEF2F6"
_AMOUNT: Final = '#,##0.00????_);[Red](#,##0.00????);"–"??????_)'
_COUNT: Final = '#,##0_);[Red](#,##0);"–"_)'
_HEAD: Final = {"bold": True, "bg_color": _SHADE, "bottom": 1, "text_wrap": True, "valign": "top"}
_TOTAL: Final = {"bold": True, "top": 1}

_OF_KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "text": {},
    "flag": {},
    "integer": {"num_format": _COUNT},
    "seconds": {"num_format": _COUNT},
    "money": {"num_format": _AMOUNT},
    "percent": {"num_format": "0.0%"},
    "instant": {"num_format": "yyyy-mm-dd hh:mm:ss", "align": "left"},
    "date": {"num_format": "yyyy-mm-dd", "align": "left"},
    "month": {"num_format": "yyyy-mm", "align": "left"},
    "exact": {"align": "right"},
}
_FIGURES: Final = ("money", "integer", "seconds", "percent", "exact")

_FORMATS: Final[Mapping[str, Mapping[str, Any]]] = {
    "title": {"bold": True, "font_size": 16},
    "question": {"italic": True, "font_color": "#52606D"},
    "head": _HEAD,
    "head_figure": {**_HEAD, "align": "right"},
    "label": {"bold": True, "valign": "top"},
    "wrapped": {"text_wrap": True, "valign": "top"},
    **_OF_KINDS,
    "total": _TOTAL,
    **{f"total_{kind}": {**_TOTAL, **_OF_KINDS[kind]} for kind in _FIGURES},
}


def formats() -> dict[str, dict[str, Any]]:
    """Return every format by its name, as XlsxWriter takes it: one for each kind of column.

    Also: `exact` for digits written as text, `total_...` for rows of totals, and those of headings
    and notes.
    """
    return {
        name: {"font_color": _INK, "border_color": _RULE, **form} for name, form in _FORMATS.items()
    }
