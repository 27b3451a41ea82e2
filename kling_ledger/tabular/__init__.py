"""Tabular: files of rows."""
