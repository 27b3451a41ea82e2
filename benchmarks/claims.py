"""Claims: the figures that documents promise, and the benchmark that measures each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Entry:
    """A benchmark of this folder; `quick` are its options for a short run, None if it has none."""

    name: str
    measures: str
    quick: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of a document, by a part of it, and the entry that measures it."""

    document: str
    words: str
    entry: str


ENTRIES: Final = (
    Entry("cold_start", "the CPU time of a cold command, beside importing click and pydantic", ()),
    Entry("quotes", "quotes, one and in bulk"),
    Entry("ledger", "pairs of reserve and commit, beside plain SQL that writes the same rows"),
    Entry("fairness", "how processes share one SQLite file, beside SQLite's own waiting"),
    Entry("gateway", "what the gateway adds to a submission, beside the sandbox alone"),
    Entry("batch", "a thousand jobs at once in one process"),
    Entry("closing", "how long others wait while a month is sealed"),
    Entry("reports", "reports over many jobs, beside a bare GROUP BY"),
    Entry("forms", "each form of a long table, beside csv.writer", ("--rows", "20000")),
    Entry("pages", "pages of a long report"),
    Entry("glance", "the live page's figures in a small and in a large ledger", ("20000",)),
    Entry("rivals", "four trials of one cap, beside whoever else promises to hold one"),
    Entry(
        "sizes",
        "daily work with a thousand rows to a million, in a table and a plot",
        ("--largest", "100000", "--runs", "3"),
    ),
)

CLAIMS: Final = (
    Claim("reports/README.md", "a million lines", "forms"),
    Claim("reports/README.md", "with a bare `GROUP BY`", "reports"),
    Claim("ARCHITECTURE.md", "`benchmarks/gateway.py`", "gateway"),
    Claim("CHANGELOG.md", "A million rows are priced", "quotes"),
    Claim("CHANGELOG.md", "A page of 190,000 lines took", "forms"),
    Claim(
        "docs/explanation/decisions/bodies.md", "doubles the cold start of a quote", "cold_start"
    ),
    Claim("docs/explanation/decisions/engines.md", "took 200 to 300 ms", "pages"),
    Claim("docs/explanation/decisions/reports.md", "20 seconds for 190,000", "forms"),
)
