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
"""How long one poll may take, while the sender of the callback waits."""


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
    """Receive callbacks at /callbacks/PROVIDER, and settle their jobs.

    A callback is a hint: the provider is polled before credits move, unless the callback is signed
    and contains the outcome and the cost. Repeated and out-of-order callbacks are harmless. Set a
    job's callback_url to this address, through a tunnel or a proxy that the provider can reach.
    `resume` finishes jobs that get no callback.

    Once it listens, it prints its address on standard output; the effect of each callback goes to
    standard error. Stop it with Ctrl-C.

    \b
    Answers to callbacks:
      200  the job has ended, now or earlier
      202  understood, nothing to change
      400  not a callback of that provider (408: too slow, 413: too long)
      401  not signed with the secret, or signed too long ago
      404  unknown provider, or no reservation for this task
      409  the job runs at another address than --base-url
      503  the provider could not be polled now: send it again
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
    """Print how to use it, then the address for programs as the last line."""
    say("Callbacks are received at:")
    for provider in GATEWAYS:
        say(f"  {listener.address(provider)}")
    say(
        "Only signed callbacks are accepted."
        if is_signed
        else "Callbacks are hints: the provider is polled before credits move."
    )
    say("Stop it with Ctrl-C.")
    click.echo(listener.url)


def _tell(receipt: Receipt) -> None:
    say(str(receipt))
