"""The options for reading a bill; they reach a command as `form_of_bill`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import click

from kling_ledger.cli.inputs import gathered
from kling_ledger.cli.output import Command, say

if TYPE_CHECKING:
    from kling_ledger.evidence.reading import Answers
    from kling_ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class BillForm:
    """A person's answers about the form of a bill, as typed."""

    columns: str | None = None
    zone: str | None = None
    numbers: Literal["point", "comma"] | None = None
    dates: Literal["ymd", "dmy", "mdy"] | None = None
    words: str | None = None
    encoding: str | None = None
    itemised: bool = False
    profile: str | None = None
    save_profile: str | None = None

    def answers(self, ledger: Ledger) -> Answers:
        """Return the answers from the options and the profile; options win.

        Saves them if requested. Raises ConfigError and NotFoundError.
        """
        from kling_ledger.evidence.reading import Answers

        before = (
            Answers()
            if self.profile is None
            else Answers.from_text(ledger.evidence.profile(self.profile))
        )
        now = replace(
            before,
            columns={**before.columns, **_pairs(self.columns, "--columns")},
            words={**before.words, **_pairs(self.words, "--words")},
            zone=self.zone or before.zone,
            numbers=self.numbers or before.numbers,
            dates=self.dates or before.dates,
            encoding=self.encoding or before.encoding,
            itemised=self.itemised or before.itemised,
        )
        if self.save_profile is not None:
            ledger.evidence.save_profile(self.save_profile, now.to_text())
            say(f"saved: use --profile {self.save_profile} next time")
        return now

    @property
    def says_anything(self) -> bool:
        """Whether any answer was given."""
        return self != BillForm()


def bill_options(command: Command) -> Command:
    """Add the options for reading a bill."""
    wrapped: Any = gathered(BillForm, "form_of_bill")(command)
    for option in (
        click.option(
            "--save-profile",
            metavar="NAME",
            help="Save these answers under a name for the next bill.",
        ),
        click.option(
            "--profile",
            metavar="NAME",
            help="Read the bill with the answers saved under this name.",
        ),
        click.option(
            "--itemised", is_flag=True, help="Several rows of one task add up to its cost."
        ),
        click.option(
            "--encoding", metavar="NAME", help="The text encoding, such as gb18030 or windows-1252."
        ),
        click.option(
            "--words",
            metavar="THEIRS=MEANING,...",
            help="What the bill's words mean: charge, refund, adjustment, reservation, item, "
            "total, payment, completed, failed, running or ignore.",
        ),
        click.option(
            "--dates",
            type=click.Choice(("ymd", "dmy", "mdy")),
            help="The order of day, month and year in dates.",
        ),
        click.option(
            "--numbers",
            type=click.Choice(("point", "comma")),
            help="The decimal mark in its numbers.",
        ),
        click.option(
            "--zone",
            metavar="ZONE",
            help="The time zone of the bill, such as Asia/Shanghai or +08:00.",
        ),
        click.option(
            "--columns",
            metavar="OURS=THEIRS,...",
            help="The bill's columns for task_id, amount, unit, state, kind, created_at, model.",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


def _pairs(written: str | None, option: str) -> dict[str, str]:
    """Read `a=b,c=d`. ConfigError for anything that is not a pair."""
    from kling_ledger.errors import ConfigError

    pairs: dict[str, str] = {}
    for word in filter(None, (part.strip() for part in (written or "").split(","))):
        one, separator, other = word.partition("=")
        if not separator or not one.strip() or not other.strip():
            raise ConfigError(f"{word!r} is not a mapping", hint=f"write {option} ONE=OTHER,...")
        pairs[one.strip()] = other.strip()
    return pairs
