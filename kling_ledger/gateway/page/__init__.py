"""The live page at `/`: the current state of wallets, budgets and jobs, and recent refusals."""

from kling_ledger.gateway.page.routes import routes

__all__ = ["routes"]
