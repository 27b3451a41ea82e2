"""The ledger for other programs: FOCUS for finance, beancount and hledger for bookkeepers."""
