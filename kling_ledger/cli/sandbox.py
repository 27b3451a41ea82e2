"""`kling-ledger sandbox`: RunAPI on this machine, for trying scripts without spending money."""

from __future__ import annotations

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8765,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 is any that is free.",
)
@click.option(
    "--job-seconds", default=2.0, show_default=True, type=float, help="How long a job takes."
)
@click.option(
    "--api-key", default="sandbox-key", show_default=True, help="The key that callers must bring."
)
@click.option(
    "--balance", default="100 USD", show_default=True, help="What the provider account holds."
)
@click.option(
    "--reply",
    default="sdk",
    show_default=True,
    type=click.Choice(["sdk", "page"]),
    help="Answer a create as RunAPI's client expects it, or as its page shows it.",
)
def sandbox(
    *, host: str, port: int, job_seconds: float, api_key: str, balance: str, reply: str
) -> None:
    """Serve RunAPI's Kling endpoints here, at the prices of the bundled book.

    The address is printed on standard output once the sandbox listens. Nothing is kept: stop it
    with Ctrl-C and every job is forgotten.

    Markers in a prompt steer that one job:

    \b
      [fail]         the job fails and is not charged
      [takes 5]      the job takes 5 seconds; decimals are allowed
      [cost 0.8]     the job is charged 0.8 USD, whatever was quoted
      [never]        the job stays in progress for ever
      [refuse 429]   the create is answered with that HTTP status (400 to 599)
    """
    from kling_ledger.sandbox import SandboxSettings, serve
    from kling_pricing.money import USD, Money

    settings = SandboxSettings(
        api_key=api_key,
        job_s=job_seconds,
        balance=Money.parse(balance, default_unit=USD),
        create_reply="page" if reply == "page" else "sdk",
    )
    serve(settings, host=host, port=port, announce=lambda url: _announce(url, api_key))
    click.echo("sandbox stopped", err=True)


def _announce(url: str, api_key: str) -> None:
    """Tell people how to use it, then programs the address: who has that line has it all."""
    click.echo(
        "The sandbox listens; nothing sent to it costs money. Use it with:\n"
        f"  export RUNAPI_API_KEY={api_key}\n"
        f"  kling-ledger run --base-url {url} ...\n"
        "Markers in a prompt steer its job: [fail] [takes 5] [cost 0.8] [never] [refuse 429]\n"
        "Stop it with Ctrl-C.",
        err=True,
    )
    click.echo(url)
