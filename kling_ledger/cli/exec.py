"""`kling-ledger exec`: a program that cannot be configured spends within a limit too."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from kling_ledger.cli.books import book_option
from kling_ledger.cli.connections import approve_option, ceiling_of, estimate_option
from kling_ledger.cli.defaults import project_option, wallet_option
from kling_ledger.cli.gateway import read_upstreams
from kling_ledger.cli.hints import hint_for
from kling_ledger.cli.inputs import Wait, gathered, label_option, read_labels
from kling_ledger.cli.output import database_option, say

if TYPE_CHECKING:
    from kling_ledger.agents.child.run import Run, Summary
    from kling_ledger.gateway.settings import GatewaySettings
    from kling_ledger.ledger import Ledger
    from kling_pricing.library import Library


@dataclass(frozen=True, slots=True)
class Options:
    """Who pays for the program's jobs, and how much they may cost."""

    wallet: str
    project: str | None
    labels: tuple[str, ...]
    max_cost: str | None
    max_total: str | None
    approve_above: str | None
    upstreams: tuple[str, ...]
    estimate: bool
    library: Library

    def settings(self, ledger: Ledger) -> GatewaySettings:
        """Return what the run's gateway does."""
        from kling_ledger.gateway.settings import GatewaySettings

        return GatewaySettings(
            upstreams=read_upstreams(self.upstreams, uses_keys=True),
            wallet=ledger.wallets.get(self.wallet).name,
            project=self.project,
            labels=read_labels(self.labels),
            ceiling=ceiling_of(ledger, self.wallet, self.max_cost),
            approve_above=ceiling_of(ledger, self.wallet, self.approve_above),
            asks_estimate=self.estimate,
            library=self.library,
        )


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
@wallet_option
@project_option("The project of the program's jobs.")
@label_option
@click.option("--max-cost", metavar="AMOUNT", help="The most that one job may cost.")
@click.option("--max-total", metavar="AMOUNT", help="The most that the whole run may cost.")
@approve_option
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="[PROVIDER=]URL",
    help="A provider's address, or one address for all, for a sandbox: requests to it and to the"
    " provider's own address are guarded and sent there.",
)
@estimate_option
@click.option(
    "--wait",
    "wait_s",
    type=Wait(0),
    default=0.0,
    metavar="SECONDS",
    help="How long to wait afterwards for jobs that the program left running. [default: poll each"
    " once]",
)
@book_option
@database_option
@gathered(Options)
def exec(program: tuple[str, ...], options: Options, *, wait_s: float, db: str | None) -> int:  # noqa: A001
    """Run a program; every Kling job that it starts is within your limits.

    \b
    kling-ledger exec --wallet team --max-total "5 USD" -- python make_clips.py

    Nothing of the program is changed. It is given a proxy on this machine, for itself alone, and a
    certificate authority that is made for this run and can vouch for the providers' hosts alone.
    What it sends to them is quoted and reserved before it goes on, refused in the provider's own
    words where wallet, budget or limit do not hold enough, and settled when the program asks how
    its job ended, or after the program. Everything else is passed on byte for byte. The providers'
    keys of this environment stay here: the program has a token that is worth nothing elsewhere.

    Where the ledger cannot be reached, or this process is killed, the program reaches no provider;
    what it had reserved stays reserved, and is finished by kling-ledger resume.

    \b
    What it cannot do:
      A program that ignores HTTPS_PROXY is not guarded. It has no key from the environment then,
      but one that it has in a file of its own works.
      A program that knows its provider's certificate by heart trusts no other, and fails.
      A program that talks through kling-ledger itself would be metered twice.

    The exit code is the program's own (128 and the number for a signal), or 2 where it could not
    be started.
    """
    from kling_ledger.agents.child.run import Run
    from kling_ledger.agents.child.running import child
    from kling_ledger.errors import DatabaseError
    from kling_ledger.ledger import Ledger

    with child() as one, Ledger(db, create=False) as ledger:
        run = Run(ledger, options.settings(ledger))
        most = ceiling_of(ledger, options.wallet, options.max_total)
        code = run.start(one, program, os.environ, most=most, wait_s=wait_s)
        try:
            _tell(run, run.summary())
        except DatabaseError as error:
            say(f"kling-ledger exec: the summary cannot be read: {error} ({run.label})")
        return code


def _tell(run: Run, summary: Summary) -> None:
    say(
        f"kling-ledger exec: {summary.jobs} jobs, spent {summary.spent}, held {summary.held},"
        f" refused {summary.refusals.count} ({run.label})"
    )
    last = summary.refusals.last
    if last is not None:
        # The budget of the run is gone with it: it can be raised no more.
        is_own = getattr(last, "budget", None) == run.name
        hint = "run it again with a higher --max-total" if is_own else hint_for(last)
        say(f"  refused last: {last.message}" + (f"; {hint}" if hint else ""))
    if summary.open:
        say(
            f"  {summary.open} open, with credits still reserved: kling-ledger resume, or"
            f" kling-ledger reservation list --label {run.label}"
        )
