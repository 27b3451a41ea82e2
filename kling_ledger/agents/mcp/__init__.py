"""The ledger as an MCP server: a few tools for prices and for spending within limits.

`desk.py` implements the tools without MCP; `server.py` speaks MCP, both the stateless version and
the one before.
"""
