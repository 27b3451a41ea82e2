"""The only way from the database to pandas: one door a subject, each with its own columns.

`reservations`, `journal`, `budgets`, `months` and `evidence` are doors; `sums` and `times` are what
they write their SQL with. Amounts stay integers of millionths inside a frame, so that sums are
exact; they become decimals when they are rendered.
"""
