"""Evidence: what others say of our money, beside our journal, and what would mend our side.

It flows one way: bills are read into entries, entries are matched with reservations by what names
the task, a plan proposes corrections or asks, and apply makes exactly those.
"""
