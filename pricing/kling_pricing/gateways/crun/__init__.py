"""Crun: its request bodies, models and limits."""
