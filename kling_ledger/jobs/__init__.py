"""Jobs: where money and providers meet."""
