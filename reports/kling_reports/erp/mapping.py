"""Mapping: which account of an ERP stands for which of ours, and how its file is written.

The first rule that fits is the one that counts, in the order of the file. Where none fits there is
no account: nothing is booked on a default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Words
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from kling_ledger.ledger import labels
from kling_ledger.ledger.scopes import is_within
from kling_reports.exports.lines import Line

KINDS: Final = ("available", "reserved", "provider", "funding", "adjustment")
"""Our accounts: what a wallet has and has set aside, what a provider was paid, where credits come
from, and what corrects them."""

FIELD: Final = re.compile(r"\{([^{}]*)\}")
"""A field of a template, such as `{date}`."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a rule asks of a transfer: all that is named here has to agree.

    A project that ends in `/` stands for itself and everything below it; `label` is `name=value`.
    """

    of: str | None = None
    provider: str | None = None
    project: str | None = None
    wallet: str | None = None
    unit: str | None = None
    model: str | None = None
    label: str | None = None

    def fits(self, line: Line, of: str) -> bool:
        """Whether a transfer, seen from one of its two accounts, is meant."""
        return (
            self.of in {None, of}
            and self.provider in {None, line.provider_name}
            and (self.project is None or is_within(line.project, self.project))
            and self.wallet in {None, line.wallet}
            and self.unit in {None, line.unit}
            and self.model in {None, line.model}
            and (self.label is None or labels.within(self.label) in (line.labels or ""))
        )


@dataclass(frozen=True, slots=True)
class AccountRule:
    """The account of the ERP for what a condition means."""

    condition: Condition
    code: str


@dataclass(frozen=True, slots=True)
class CostCenterRule:
    """The cost centre for what a condition means: a code, or the value of a label."""

    condition: Condition
    code: str | None
    from_label: str | None

    def code_of(self, line: Line) -> str | None:
        """Return the cost centre of a transfer, None where it has no such label."""
        return self.code or labels.from_text(line.labels).get(self.from_label or "")


@dataclass(frozen=True, slots=True)
class FileColumn:
    """A column of the file: its header, and what a row has in it, with fields in braces.

    `quoted` puts every cell in quotation marks, for readers that tell texts by them.
    """

    name: str
    value: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class FileForm:
    """How the file is written; `decimals` is None for amounts with as many as they have."""

    layout: str = "lines"
    separator: str = ","
    decimal: str = "."
    decimals: int | None = None
    date: str = "%Y-%m-%d"
    encoding: str = "utf-8"
    line_end: str = "\r\n"
    header: bool = True
    first_lines: tuple[str, ...] = ()
    quote: str = "needed"
    debit: str = "debit"
    credit: str = "credit"
    columns: tuple[FileColumn, ...] = ()


@dataclass(frozen=True, slots=True)
class Mapping:
    """All that a mapping file says. `split` are the words by which lines are kept apart."""

    form: FileForm
    each: str
    number: str
    split: tuple[str, ...]
    accounts: tuple[AccountRule, ...]
    cost_centers: tuple[CostCenterRule, ...]
    currencies: Words[str, tuple[str, Decimal]]

    def account(self, line: Line, of: str) -> str | None:
        """Return the account of the ERP for one side of a transfer, None where no rule fits."""
        return next((rule.code for rule in self.accounts if rule.condition.fits(line, of)), None)

    def cost_center(self, line: Line) -> str | None:
        """Return the cost centre of what was spent or corrected, None where no rule fits."""
        for rule in self.cost_centers:
            if rule.condition.fits(line, "provider") and (code := rule.code_of(line)):
                return code
        return None


def kind_of(path: str) -> str:
    """Return which of KINDS an account of the journal is, by its path."""
    first, _, rest = path.partition("/")
    return rest.rpartition("/")[2] if first == "wallet" else first


def filled(template: str, said: Words[str, str]) -> str:
    """Return a template with each field in braces as it is said."""
    return FIELD.sub(lambda match: said[match[1]], template)
