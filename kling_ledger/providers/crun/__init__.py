"""Crun: its facts and its API."""
