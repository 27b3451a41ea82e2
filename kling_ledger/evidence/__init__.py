"""Evidence: what others say of our money, and what follows from it."""
