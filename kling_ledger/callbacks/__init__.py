"""Callbacks: what providers post to us, and how it is known to be theirs."""
