"""`kling-ledger exec`: run any program within a spending limit, without changing it."""

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
from kling_pricing.counting import counted

if TYPE_CHECKING:
    from kling_ledger.agents.child.run import Run, Summary
    from kling_ledger.gateway.settings import GatewaySettings
    from kling_ledger.ledger import Ledger
    from kling_pricing.library import Library


@dataclass(frozen=True, slots=True)
class Options:
    """The wallet and the limits of the program's jobs."""

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
        """Return the settings of the run's gateway."""
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
    help="A provider's address, or one address for all, for a sandbox: requests to it or to "
    "the provider's own address are guarded and sent there.",
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
    """Run a program; every Kling job that it starts counts against your limits.

    \b
    kling-ledger exec --wallet team --max-total "5 USD" -- python make_clips.py

    The program is not changed. It gets its own proxy on this machine, and a certificate authority
    made for this run that is valid only for the providers' hosts. Each job that it sends to them is
    quoted and reserved before it goes on. If wallet, budget or limit are too low, the job is
    refused in the provider's own error format. Jobs are settled when the program polls them, or
    after it ends. All other traffic is passed through byte for byte. The program never sees the
    provider keys of this environment: it gets a token that is useless elsewhere.

    If the ledger is unreachable or this process is killed, the program cannot reach any provider;
    its credits stay reserved until kling-ledger resume finishes the jobs.

    \b
    What it cannot do:
      A program that ignores HTTPS_PROXY is not guarded. It gets no key from the environment, but a
      key in a file of its own works.
      A program that pins its provider's certificate fails.
      A program that uses kling-ledger itself is metered twice.

    The exit code is the program's own (128 and the number for a signal), or 2 if it could not be
    started.
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
        f"kling-ledger exec: {counted(summary.jobs, 'job')}, spent {summary.spent},"
        f" held {summary.held}, refused {summary.refusals.count} ({run.label})"
    )
    last = summary.refusals.last
    if last is not None:
        # The run's budget ended with the run: it can no longer be raised.
        is_own = getattr(last, "budget", None) == run.name
        hint = "run it again with a higher --max-total" if is_own else hint_for(last)
        say(f"  last refusal: {last.message}" + (f"; {hint}" if hint else ""))
    if summary.open:
        say(
            f"  {summary.open} open, with credits still reserved: kling-ledger resume, or"
            f" kling-ledger reservation list --label {run.label}"
        )
