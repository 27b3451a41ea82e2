"""How commands reach providers: their options, and the meters built from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kling_ledger.cli.inputs import Wait, gathered
from kling_ledger.cli.next_steps import to_do
from kling_ledger.cli.output import Command, say
from kling_ledger.config import SENDING_S

if TYPE_CHECKING:
    from kling_ledger.errors import ProviderError
    from kling_ledger.jobs.meter import Meter
    from kling_ledger.jobs.recovery import Meters, Recovered
    from kling_ledger.ledger import Ledger, Reservation
    from kling_pricing.money import Money

_LOOKED_AT: Final = 50
"""How many open reservations every start looks at."""

_TOLD_WHOLE: Final = 3
"""How many jobs that need a person are printed in full at a start; `resume` prints all."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach providers and how long to wait for them, in seconds."""

    api_key: str | None = None
    base_url: str | None = None
    poll_every_s: float = 2.0
    timeout_s: float = 900.0
    asks_estimate: bool = True
    account: str | None = None

    def meter(self, ledger: Ledger, provider: str, wallet: str, **more: Any) -> Meter:
        """Return a meter; the key goes to the provider's client and nowhere else."""
        from kling_ledger.jobs.meter import Meter
        from kling_ledger.jobs.watch import Patience
        from kling_ledger.providers import registry

        call_timeout_s = max(1.0, min(registry.CALL_TIMEOUT_S, self.timeout_s))
        given: dict[str, Any] = {"on_change": say_state, "on_trouble": say_trouble, **more}
        return Meter(
            ledger,
            registry.connect(
                provider,
                api_key=self.api_key,
                base_url=self.base_url,
                timeout_s=call_timeout_s,
            ),
            wallet=wallet,
            patience=Patience(poll_every_s=self.poll_every_s, longest_s=self.timeout_s),
            asks_estimate=self.asks_estimate,
            account=self.account,
            **given,
        )

    def address_of(self, provider: str) -> str:
        """Return the address of a provider."""
        from kling_ledger import config
        from kling_ledger.providers.http import checked_address
        from kling_ledger.providers.registry import provider_facts

        default = provider_facts(provider).base_url
        return checked_address(config.base_url(self.base_url, default=default, provider=provider))

    def account_at(self, ledger: Ledger, provider: str) -> str:
        """Return the account to compare: the one named, the key's, or the only one.

        Raises UsageError if several are possible, and for one on which no job ran.
        """
        known = ledger.accounts.of_jobs(provider)
        if self.account is not None:
            if known and None not in known and self.account not in known:
                told = ", ".join(one for one in known if one) or "none"
                raise click.UsageError(f"no job ran on account {self.account}; known: {told}")
            return self.account
        if has_key(provider, self.api_key):
            return ledger.accounts.of_key(provider, fingerprint(provider, self.api_key)) or ""
        if len(known) == 1 and known[0] is not None:
            return known[0]
        if not known:
            return ""
        told = ", ".join(
            "jobs from before accounts were recorded" if one is None else one for one in known
        )
        raise click.UsageError(f"whose record is it? Name the account with --account: {told}")

    @contextmanager
    def meters(self, ledger: Ledger) -> Iterator[Meters]:
        """Yield meters for existing reservations: each job is polled where it was submitted."""
        from kling_ledger.jobs.recovery import Meters

        def connect(provider: str, address: str | None) -> Meter:
            there = replace(self, base_url=self.base_url or address)
            return there.meter(ledger, provider, "", on_change=silent)

        meters = Meters(connect)
        try:
            yield meters
        finally:
            meters.close()


def has_key(provider: str, given: str | None) -> bool:
    """Whether an API key is set."""
    from kling_ledger import config
    from kling_ledger.providers.registry import provider_facts

    return config.has_api_key(provider_facts(provider).key_variable, given)


def fingerprint(provider: str, given: str | None) -> Callable[[str], str]:
    """Return the function that fingerprints the current API key. Raises ConfigError without one."""
    from kling_ledger import config
    from kling_ledger.providers.http import Secret
    from kling_ledger.providers.registry import provider_facts

    key = Secret(config.api_key(provider_facts(provider).key_variable, given))
    return lambda secret: key.fingerprint(secret, provider)


def silent(_: object) -> None:
    """Report nothing."""


key_option = click.option(
    "--api-key",
    help="The provider's API key. [env, preferred: RUNAPI_API_KEY, CRUN_API_KEY, EVOLINK_API_KEY,"
    " UNIALL_API_KEY]",
)
"""Add --api-key."""

address_option = click.option(
    "--base-url", metavar="URL", help="The provider's address, for a sandbox or a proxy."
)
"""Add --base-url."""

approve_option = click.option(
    "--approve-above",
    metavar="AMOUNT",
    help="Ask a person before starting a job that costs more than this.",
)
"""Add --approve-above."""

estimate_option = click.option(
    "--estimate/--no-estimate", default=True, help="Ask the provider for its own estimate first."
)
"""Add --estimate."""

account_option = click.option(
    "--account",
    metavar="NAME",
    help="Your name for the account of the API key. [default: the key's fingerprint]",
)
"""Add --account."""

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Download the clips to this folder.",
)
"""Add --out."""


def grace_option(said: str) -> Callable[[Command], Command]:
    """Return what adds --grace, with its help."""
    return click.option(
        "--grace",
        type=Wait(0),
        default=SENDING_S,
        show_default=True,
        metavar="SECONDS",
        help=said,
    )


def connection_options(command: Command) -> Command:
    """Add the connection options of a provider; they reach the command as `connection`."""

    wrapped: Any = gathered(Connection, "connection")(command)
    for option in (
        click.option(
            "--poll-every",
            "poll_every_s",
            type=Wait(0.05),
            default=2.0,
            show_default=True,
            metavar="SECONDS",
            help="How often to poll the job.",
        ),
        click.option(
            "--timeout",
            "timeout_s",
            type=Wait(0.1),
            default=900.0,
            show_default=True,
            metavar="SECONDS",
            help="How long to wait for a job before it counts as in doubt (credits stay reserved).",
        ),
        key_option,
        account_option,
        address_option,
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


def recover_first(ledger: Ledger, meter: Meter) -> None:
    """Before new jobs, check the open jobs of this wallet's earlier runs at the same address."""
    from kling_ledger.jobs.recovery import Recovery

    take_down_tasks(ledger)
    quiet = _quiet(meter)
    recovery = Recovery(ledger, lambda _: quiet, now=meter.clock())
    untold = 0
    for recovered in recovery.run(_left_open(ledger, meter)):
        needs_a_person = recovered.reservation.is_open and recovered.next_step is not None
        if recovered.reservation.is_open and not needs_a_person:
            continue
        untold += needs_a_person
        if not needs_a_person or untold <= _TOLD_WHOLE:
            say_recovered(recovered)
    if untold > _TOLD_WHOLE:
        say(f"{untold - _TOLD_WHOLE} more jobs need a person: kling-ledger resume")


def take_down_tasks(ledger: Ledger) -> None:
    """Record the tasks that were kept in files while the database was away, and say so."""
    from kling_ledger.ledger.unwritten import take_down

    for found in take_down(ledger):
        say(f"recorded: {found.id} is task {found.task_id}")


def _left_open(ledger: Ledger, meter: Meter) -> list[Reservation]:
    """Return the open jobs to check; other wallets are checked by their own runs."""
    place = meter.place
    found = ledger.reservations.some_open(
        wallet=meter.wallet,
        provider=place.provider,
        address=place.address,
        account=place.account,
        limit=_LOOKED_AT + 1,
    )
    if len(found) > _LOOKED_AT:
        say(
            f"more than {_LOOKED_AT} earlier jobs are open; to check all of them: kling-ledger "
            "resume"
        )
    return sorted(found[:_LOOKED_AT], key=lambda one: (one.created_at, one.id))


def _quiet(meter: Meter) -> Meter:
    return replace(meter, on_change=silent, on_trouble=silent)


def say_recovered(recovered: Recovered) -> None:
    """Print what happened to a reservation left open, and what is left to do."""
    say(f"earlier job {recovered.reservation.id}: {recovered.did}")
    for line in (recovered.problem, to_do(recovered)):
        if line:
            say(f"  {line}")


def say_trouble(error: ProviderError) -> None:
    """Report a call that the provider refused or did not answer."""
    say(f"note: {error}")


def say_state(reservation: Reservation) -> None:
    """Print a reservation's present state."""
    from kling_ledger.cli.reservation_rows import say_warnings

    problem = f" ({reservation.problem})" if reservation.problem else ""
    amount = reservation.committed or reservation.amount
    say(f"{reservation.state} {amount}{problem}")
    say_warnings(reservation)


def ceiling_of(ledger: Ledger, wallet: str, max_cost: str | None) -> Money | None:
    """Read the highest cost of a job, in the wallet's unit unless another is given."""
    from kling_pricing.money import Money

    unit = ledger.wallets.get(wallet).unit
    return None if max_cost is None else Money.parse(max_cost, default_unit=unit)
