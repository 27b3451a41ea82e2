"""Findings: what a reader should know first, in words, each by a written rule.

A rule is a function from a frame to sentences; its docstring states it with its threshold, and
docs/reference/findings.md lists them all. Pure: no database, no clock. Nothing is said without
evidence: each finding names the row of the table that it comes from.
"""
