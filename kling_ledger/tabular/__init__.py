"""Tabular: one reader and one writer for files of rows, whatever the rows are about."""
