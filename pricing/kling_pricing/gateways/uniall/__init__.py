"""UniAll: its request bodies, models and limits."""
