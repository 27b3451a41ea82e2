"""Child: runs one program behind its own proxy, which meters what it sends to providers."""
