"""Evidence: what providers' records say about our money, compared with our journal, and the
corrections that follow.

It flows one way: bills are read into entries, entries are matched with reservations by task, a plan
proposes corrections or asks questions, and apply makes exactly those corrections.
"""
