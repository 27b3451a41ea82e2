"""RunAPI: its request bodies, models and limits, and its live schedule."""
