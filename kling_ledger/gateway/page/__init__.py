"""The live page at `/`: how wallets, budgets and jobs stand now, and what was refused lately."""

from kling_ledger.gateway.page.routes import routes

__all__ = ["routes"]
