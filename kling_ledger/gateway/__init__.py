"""The gateway: the meter as an HTTP endpoint that speaks the gateways' own dialects."""
