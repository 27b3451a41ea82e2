"""UniAll: its facts, and how it is spoken to."""
