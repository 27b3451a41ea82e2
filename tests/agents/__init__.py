"""Real agents: the model that plays a script for them, and how they are started."""
