"""Findings: what a check of the ledger reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: which law, where, and the figures that disagree."""

    law: str
    subject: str
    problem: str
