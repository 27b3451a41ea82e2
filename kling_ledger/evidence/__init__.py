"""Evidence: what others say of our money, beside our journal, and what would mend our side.

It flows one way: bills and tasks are read into charges, charges are matched with reservations, a
plan proposes changes, and apply makes exactly those.
"""
