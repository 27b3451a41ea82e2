"""Child: one program is run behind a proxy of its own, which guards what it sends to providers."""
