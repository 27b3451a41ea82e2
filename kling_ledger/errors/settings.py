"""Settings: what was given to work with and cannot be used."""

from __future__ import annotations

from kling_pricing.errors import KlingError


class ConfigError(KlingError):
    """A setting that cannot be used."""

    code = "config"


class NoKeyError(ConfigError):
    """There is no API key: none was given, and `variable` does not hold one."""

    code = "no_api_key"

    def __init__(self, variable: str) -> None:
        super().__init__("no API key", hint=f"set {variable}, or give one")
        self.variable = variable


class PortError(ConfigError):
    """Nobody can listen on a port: it is taken, or is not ours to take."""

    code = "port"

    def __init__(self, problem: str, *, host: str, port: int, reason: object) -> None:
        super().__init__(
            f"{problem} on {host} port {port}: {reason}",
            hint="choose another port, or port 0 for any that is free",
        )
        self.host = host
        self.port = port


class OtherAddressError(ConfigError):
    """A job was submitted at one address of its provider and is asked for at another."""

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

    `known` is the account that the key belongs to, None where the key was never seen and the named
    account is known by another one.
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
    """A job runs on another account than the one whose key is at hand: that one cannot ask for it.

    `account` is the job's, None where nobody knows it: it was made before accounts were known.
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
    """A bill can be read in more than one way, and only a person can say in which.

    `settles` names what settles it: columns, zone, numbers, dates, words, encoding or itemised;
    `example` is such an answer.
    """

    code = "bill_question"

    def __init__(
        self, question: str, *, settles: str, example: str, hint: str | None = None
    ) -> None:
        super().__init__(question, hint=hint or f"answer with {settles}, for example {example}")
        self.settles = settles
        self.example = example
