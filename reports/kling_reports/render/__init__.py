"""A report as people and programs read it: one module per form; none of them reads the ledger.

`render(report) -> bytes` in each of them; the terminal's is `render(report, *, width, is_terminal)
-> str`.
"""
