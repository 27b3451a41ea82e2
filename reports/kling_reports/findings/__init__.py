"""Findings: what a reader has to know first, in words, each by a rule that is written down.

A rule is a function from a frame to sentences; its docstring states it with its threshold, and
docs/reference/findings.md lists them all. Pure: no database, no clock. A rule says nothing without
evidence: each finding names the row of the table that it was read from.
"""
