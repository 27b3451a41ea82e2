"""`python -m kling_ledger`: the command line, where its own name is not on the PATH."""

from __future__ import annotations

from kling_ledger.cli import main

if __name__ == "__main__":
    main()
