"""The parts of a page: its tables, the figures above them, its data, its style and its script."""
