"""Hooks: what an agent's tool call would send, judged before it runs; a seat belt, not a wall.

Nothing heavy is imported here: an agent asks before every call of its tools.
"""
