"""A cluster of PostgreSQL servers that replace their leader by themselves, to test on."""
