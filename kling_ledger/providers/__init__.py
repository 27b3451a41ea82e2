"""The providers: submit a job, poll its state. They do not use the ledger."""
