"""`kling-ledger callbacks`: receive what providers post when jobs end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from kling_ledger.cli.connections import Connection, address_option, key_option
from kling_ledger.cli.output import database_option, listening_options, say
from kling_pricing.gateways import GATEWAYS

if TYPE_CHECKING:
    from kling_ledger.callbacks.listener import Listener
    from kling_ledger.callbacks.receiver import Receipt

_CALL_TIMEOUT_S: Final = 5.0
"""How long one question to a provider may take, while the sender of the callback waits."""


@click.command()
@listening_options(port=8766)
@click.option(
    "--webhook-secret",
    "secrets",
    multiple=True,
    envvar="KLING_LEDGER_WEBHOOK_SECRET",
    metavar="WHSEC",
    help="Accept only callbacks signed with this secret (Standard Webhooks), and trust them. It"
    " applies to every provider: run another receiver for those that do not sign. While you"
    " replace a secret, give both. "
    "[env, preferred: KLING_LEDGER_WEBHOOK_SECRET, several with spaces between]",
)
@key_option
@address_option
@database_option
def callbacks(
    *,
    host: str,
    port: int,
    secrets: tuple[str, ...],
    api_key: str | None,
    base_url: str | None,
    db: str | None,
) -> None:
    """Receive callbacks at /callbacks/PROVIDER, and settle the jobs that they tell of.

    A callback is a hint: the provider is asked before credits move, unless the callback is signed
    and says how the job ended and what it cost. The same callback may come any number of times,
    and in any order. Give its address to jobs as their callback_url; a tunnel or a proxy makes it
    one that a provider can reach. Jobs that no callback tells of are finished by resume.

    The address is printed on standard output once it listens, and what each callback did on
    standard error. Stop it with Ctrl-C.

    \b
    How callbacks are answered:
      200  the job has ended, now or before
      202  it was understood, and there was nothing to change
      400  it is no callback of that provider (408: it came too slowly, 413: it is too long)
      401  it was not signed by the secret, or not lately
      404  there is no such provider, or no reservation has its task
      409  its job is at another address than --base-url
      503  nobody could be asked now: send it again
    """
    from kling_ledger.callbacks.listener import Listener
    from kling_ledger.callbacks.receiver import Receiver
    from kling_ledger.ledger import Ledger

    connection = Connection(api_key=api_key, base_url=base_url, timeout_s=_CALL_TIMEOUT_S)
    with Ledger(db, create=False) as ledger, connection.meters(ledger) as meters:
        receiver = Receiver(ledger, meters, secrets)
        try:
            with Listener(receiver, host=host, port=port, on_receipt=_tell) as listener:
                _announce(listener, is_signed=bool(secrets))
                listener.wait()
        except KeyboardInterrupt:
            say("stopped: no more callbacks are received")


def _announce(listener: Listener, *, is_signed: bool) -> None:
    """Tell people how to use it, then programs the address: who has that line has it all."""
    say("Callbacks are received at:")
    for provider in GATEWAYS:
        say(f"  {listener.address(provider)}")
    say(
        "Only signed callbacks are accepted."
        if is_signed
        else "Each is a hint: the provider is asked before credits move."
    )
    say("Stop it with Ctrl-C.")
    click.echo(listener.url)


def _tell(receipt: Receipt) -> None:
    say(str(receipt))
