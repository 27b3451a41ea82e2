"""One program for each rival: the same trials, each by that rival's own documented calls.

A driver runs in an environment of its own, as `python of_NAME.py TRIAL PLACE`, where PLACE is a
file or the address of a database. It prints one line of JSON. A cap of 5 USD has room for fifty
jobs.
"""
