"""EvoLink: its request bodies, models and limits."""
