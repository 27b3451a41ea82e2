"""Errors of settings and input."""

from __future__ import annotations

from kling_pricing.errors import KlingError


class ConfigError(KlingError):
    """A setting that cannot be used."""

    code = "config"


class NoKeyError(ConfigError):
    """There is no API key: none was given, and `variable` is not set."""

    code = "no_api_key"

    def __init__(self, variable: str) -> None:
        super().__init__("no API key", hint=f"set {variable}, or give one")
        self.variable = variable


class PortError(ConfigError):
    """A port cannot be listened on: it is in use or not permitted."""

    code = "port"

    def __init__(self, problem: str, *, host: str, port: int, reason: object) -> None:
        super().__init__(
            f"{problem} on {host} port {port}: {reason}",
            hint="choose another port, or port 0 for any that is free",
        )
        self.host = host
        self.port = port


class OtherAddressError(ConfigError):
    """A job was submitted to one address of its provider and is polled at another."""

    code = "other_address"

    def __init__(self, reservation_id: str, *, address: str | None, asked: str) -> None:
        super().__init__(
            f"reservation {reservation_id} belongs to {address}, not {asked}",
            hint=f"use {address}",
        )
        self.reservation_id = reservation_id
        self.address = address
        self.asked = asked


class AccountError(ConfigError):
    """An API key and the name of an account do not belong together, as far as the ledger knows.

    `known` is the account of the key, None if the key is new and the named account has another one.
    """

    code = "account"

    def __init__(self, provider: str, *, asked: str, known: str | None) -> None:
        super().__init__(
            f"account {asked} at {provider} has another API key than this one"
            if known is None
            else f"this API key of {provider} belongs to account {known}, not to {asked}",
            hint="use the account's own key, or adopt this one if it is the account's new key",
        )
        self.provider = provider
        self.asked = asked
        self.known = known


class OtherAccountError(ConfigError):
    """A job runs on another account than that of the current key, which cannot poll it.

    `account` is the job's, None for jobs from before accounts were recorded.
    """

    code = "other_account"

    def __init__(
        self, reservation_id: str, *, provider: str, account: str | None, asked: str | None
    ) -> None:
        whose = "its account is unknown" if account is None else account
        super().__init__(
            f"reservation {reservation_id} at {provider}: {whose}, this key belongs to {asked}"
            if account is None
            else f"reservation {reservation_id} runs on account {account} of {provider},"
            f" this key belongs to {asked}",
            hint="use the account's own key, or adopt the job if it does belong to this account",
        )
        self.reservation_id = reservation_id
        self.provider = provider
        self.account = account
        self.asked = asked


class BillQuestionError(ConfigError):
    """A bill can be read in more than one way, and only a person can decide.

    `settles` names the option that decides it: columns, zone, numbers, dates, words, encoding or
    itemised; `example` is an example of its value.
    """

    code = "bill_question"

    def __init__(
        self, question: str, *, settles: str, example: str, hint: str | None = None
    ) -> None:
        super().__init__(question, hint=hint or f"answer with {settles}, for example {example}")
        self.settles = settles
        self.example = example
