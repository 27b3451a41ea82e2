"""The only way from the database to pandas: one door per subject, each with its own columns.

`reservations`, `journal`, `budgets`, `months` and `evidence` are doors; `sums` and `times` help
them write SQL. Amounts stay integers of millionths inside a frame, so that sums are exact; they
become decimals when they are rendered.
"""
