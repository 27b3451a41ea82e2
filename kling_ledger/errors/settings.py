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
            hint=f"ask at {address}",
        )
        self.reservation_id = reservation_id
        self.address = address
        self.asked = asked


class ColumnError(ConfigError):
    """A bill has a column that is needed under a name that nobody could guess."""

    code = "column"

    def __init__(self, bill: str, *, needed: str, there: str) -> None:
        super().__init__(
            f"{bill}: which column is the {needed}? There are {there}",
            hint=f"name it: {needed}=NAME",
        )
        self.bill = bill
        self.needed = needed


class BillQuestionError(ConfigError):
    """A bill can be read in more than one way, and only a person can say in which.

    `settles` names what settles it: columns, zone, numbers, dates, words, encoding or itemised;
    `example` is such an answer.
    """

    code = "bill_question"

    def __init__(
        self, question: str, *, settles: str, example: str, hint: str | None = None
    ) -> None:
        super().__init__(question, hint=hint or f"say it ({settles}), for example {example}")
        self.settles = settles
        self.example = example
