"""Mapping: which account of an ERP corresponds to which of ours, and how its file is written.

The first matching rule counts, in the order of the file. If none matches there is no account:
nothing is booked on a default.
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
"""Our accounts: a wallet's available and reserved credits, what a provider was paid, where credits
come from, and what corrects them."""

FIELD: Final = re.compile(r"\{([^{}]*)\}")
"""A field of a template, such as `{date}`."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a rule requires of a transfer: everything named here must match.

    A project that ends in `/` includes everything below it; `label` is `name=value`.
    """

    of: str | None = None
    provider: str | None = None
    project: str | None = None
    wallet: str | None = None
    unit: str | None = None
    model: str | None = None
    label: str | None = None

    def fits(self, line: Line, of: str) -> bool:
        """Whether a transfer, seen from one of its two accounts, matches."""
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
    """The account of the ERP for everything that matches a condition."""

    condition: Condition
    code: str


@dataclass(frozen=True, slots=True)
class CostCenterRule:
    """The cost centre for everything that matches a condition: a code, or the value of a label."""

    condition: Condition
    code: str | None
    from_label: str | None

    def code_of(self, line: Line) -> str | None:
        """Return the cost centre of a transfer, None if it lacks the label."""
        return self.code or labels.from_text(line.labels).get(self.from_label or "")


@dataclass(frozen=True, slots=True)
class FileColumn:
    """A column of the file: its header, and the template of its cells, with fields in braces.

    `quoted` puts every cell in quotation marks, for readers that recognise text by them.
    """

    name: str
    value: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class FileForm:
    """How the file is written; with `decimals` None, amounts have all their decimals."""

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
    """Everything in a mapping file. `split` are the words by which lines are kept apart."""

    form: FileForm
    each: str
    number: str
    split: tuple[str, ...]
    accounts: tuple[AccountRule, ...]
    cost_centers: tuple[CostCenterRule, ...]
    currencies: Words[str, tuple[str, Decimal]]

    def account(self, line: Line, of: str) -> str | None:
        """Return the account of the ERP for one side of a transfer, None if no rule matches."""
        return next((rule.code for rule in self.accounts if rule.condition.fits(line, of)), None)

    def cost_center(self, line: Line) -> str | None:
        """Return the cost centre of what was spent or corrected, None if no rule matches."""
        for rule in self.cost_centers:
            if rule.condition.fits(line, "provider") and (code := rule.code_of(line)):
                return code
        return None


def kind_of(path: str) -> str:
    """Return the kind, one of KINDS, of an account of the journal, from its path."""
    first, _, rest = path.partition("/")
    return rest.rpartition("/")[2] if first == "wallet" else first


def filled(template: str, said: Words[str, str]) -> str:
    """Return a template with each field in braces replaced by its value."""
    return FIELD.sub(lambda match: said[match[1]], template)
