"""The ledger as an MCP server: few tools, with which an agent asks for prices and spends in limits.

`desk.py` says what each tool does and knows no MCP; `server.py` speaks it, to clients of the
stateless era and of the one before.
"""
