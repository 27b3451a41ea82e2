"""The providers: submit a job, ask for its state. They know no ledger."""
