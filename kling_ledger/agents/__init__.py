"""Agents: the ledger as an MCP server, as hooks of agents, and around one child process."""
