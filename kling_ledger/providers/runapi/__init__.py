"""RunAPI: its facts and its API."""
