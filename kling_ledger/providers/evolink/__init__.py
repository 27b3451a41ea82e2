"""EvoLink: its facts and its API."""
