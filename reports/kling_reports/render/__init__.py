"""Frames as people and programs read them."""
