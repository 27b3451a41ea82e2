"""What it means: reports over the ledger, exact to the last millionth."""
