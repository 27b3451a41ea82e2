"""The gateway: the meter over HTTP, with the providers' own APIs."""
