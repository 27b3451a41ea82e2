"""Hooks: checks an agent's tool call before it runs; prevents accidents, is not a hard limit.

Nothing heavy is imported here: an agent asks before every tool call.
"""
