"""UniAll: its facts and its API."""
