"""Engines: how the ledger reaches a disk."""
