"""What it means: reports over the ledger, exact to the last millionth."""

from typing import Final

GROUPS: Final = ("project", "wallet", "provider", "model", "resolution", "sound", "day", "month")
"""What spend may be asked by. Days and months are UTC. Here, because the command line offers them
before anybody needs pandas."""
