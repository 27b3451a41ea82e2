"""Manifests: tables of clips, as people and programs write them, priced or read as jobs."""
