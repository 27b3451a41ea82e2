"""Reports over the ledger, exact to the millionth."""
