"""`kling-ledger sandbox`: the four providers on this machine, to try scripts without spending."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kling_ledger.cli.inputs import Wait
from kling_ledger.cli.output import listening_options

if TYPE_CHECKING:
    from kling_ledger.sandbox import SandboxSettings

_EXAMPLES: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "runapi": (
        "/api/v1/kling/text_to_video",
        "Authorization: Bearer {key}",
        {
            "model": "kling-3.0",
            "prompt": "a lake [poll 500]",
            "duration_seconds": 5,
            "output_resolution": "720p",
        },
    ),
    "crun": (
        "/api/v1/client/job/CreateTask",
        "x-api-key: {key}",
        {
            "model": "kling/v3",
            "input": {
                "mode": "std",
                "multi_shots": False,
                "prompt": "a lake [cost 120%]",
                "duration": 5,
                "audio": True,
            },
        },
    ),
    "evolink": (
        "/v1/videos/generations",
        "Authorization: Bearer {key}",
        {"model": "kling-v3-text-to-video", "prompt": "a lake [fail]", "duration": 5},
    ),
    "uniall": (
        "/v1/video/generations",
        "Authorization: Bearer {key}",
        {"model": "kling-v3-std-silent", "prompt": "a lake [lose cut]", "duration": 5},
    ),
}


@click.command()
@listening_options(port=8765)
@click.option(
    "--job-seconds", default=2.0, show_default=True, type=Wait(), help="How long a job takes."
)
@click.option(
    "--api-key", default="sandbox-key", show_default=True, help="The key that callers must bring."
)
@click.option(
    "--balance",
    default="100 USD",
    show_default=True,
    help="The balance of each provider account: in US dollars, or the credits they buy.",
)
@click.option(
    "--reply",
    default="sdk",
    show_default=True,
    type=click.Choice(["sdk", "page"]),
    help="Answer a RunAPI create as its client expects, or as its documentation shows.",
)
@click.option(
    "--misbehave",
    "--seed",
    metavar="SEED",
    help="Draw random misbehaviour for every job without markers: the same seed and prompt "
    "give the same.",
)
@click.option(
    "--show-script",
    metavar="PROMPT",
    help="Only print the markers that --misbehave draws for a prompt.",
)
@click.option(
    "--callbacks-to",
    metavar="URL",
    help="Send every callback to this address on this machine; if it has no path, the job's "
    "own path is kept; {provider} is replaced by the provider. Without this option, only "
    "loopback addresses are called.",
)
@click.option(
    "--webhook-secret",
    metavar="WHSEC",
    help="Sign callbacks with this secret, as Standard Webhooks.",
)
@click.option(
    "--hang-seconds",
    default=30.0,
    show_default=True,
    type=Wait(),
    help="How long the fault `hang` keeps a connection open without an answer.",
)
@click.option(
    "--link-seconds",
    type=Wait(),
    help="How long clips can be downloaded. [default: as the provider documents]",
)
@click.option(
    "--prices",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Your own prices as JSON, replacing the sandbox's: from a contract, or for models "
    "without a published price.",
)
def sandbox(
    *,
    host: str,
    port: int,
    job_seconds: float,
    api_key: str,
    balance: str,
    reply: str,
    misbehave: str | None,
    show_script: str | None,
    callbacks_to: str | None,
    webhook_secret: str | None,
    hang_seconds: float,
    link_seconds: float | None,
    prices: Path | None,
) -> None:
    """Serve RunAPI, Crun, EvoLink and UniAll on this machine, with independently read prices.

    Once it listens, it prints its address on standard output; all four answer there. Nothing is
    stored: stop it with Ctrl-C and every job is gone.

    Markers in a prompt control that one job, and can be combined.

    \b
      [fail] [fail moderation]       the job fails, uncharged
      [revive] [revive 2]            it fails, then succeeds 2 seconds later
      [takes 5] [never]              it takes 5 seconds; it never ends
      [cost 0.8] [cost 120%]         it is charged this, whatever was quoted
      [charge twice]                 it is charged twice
      [refuse 429] [refuse 503 2]    the create gets this status, always or twice; no job is made
      [lose cut]                     the job is made, but its create gets this fault
      [poll 500] [poll cut 3]        the first poll, the first 3 polls get this fault
      [file half]                    the first download gets this fault
      [estimate 500] [estimate 150%] an estimate gets this status; another price
      [malformed]                    the create and the first poll are not JSON
      [state archived] [state odd 2] every poll, the first 2 polls return this state
      [latency 0.5]                  every answer comes half a second late
      [callback twice]               also: [callback reordered] [callback never]

    Possible faults: any status from 400 to 599, or

    \b
      cut         the connection is closed without an answer
      half        the connection is closed in the middle of the answer
      hang        no answer ever comes
      malformed   the answer is not JSON
      moderation  the content is refused (not after lose)

    What was really accepted and charged, to compare with a ledger:

    \b
      GET  /sandbox/truth                  every account and every task
      GET  /sandbox/statement?provider=P   that provider's bill, as CSV or with &format=json
      POST /sandbox/finish                 ends every open job and every misbehaviour
    """
    if show_script is not None:
        return _show_script(misbehave, show_script)
    from kling_ledger.sandbox import SandboxSettings, serve
    from kling_ledger.sandbox.own_prices import read_own_prices
    from kling_pricing.money import USD, Money

    settings = SandboxSettings(
        api_key=api_key,
        job_s=job_seconds,
        balance=Money.parse(balance, default_unit=USD),
        create_reply="page" if reply == "page" else "sdk",
        misbehave=misbehave,
        callbacks_to=callbacks_to,
        webhook_secret=webhook_secret,
        hang_s=hang_seconds,
        link_s=link_seconds,
        prices=read_own_prices(prices.read_text("utf-8")) if prices else {},
    )
    serve(
        settings,
        host=host,
        port=port,
        announce=lambda url: _announce(url, settings),
    )
    click.echo("sandbox stopped", err=True)
    return None


def _show_script(seed: str | None, prompt: str) -> None:
    from kling_ledger.sandbox.scripts import job_seed, script

    if seed is None:
        raise click.UsageError("--show-script needs a seed: add --misbehave SEED")
    click.echo(" ".join(script(job_seed(seed, prompt))))


def _announce(url: str, settings: SandboxSettings) -> None:
    """Print how to use it, then the address for programs as the last line."""
    lines = ["The sandbox listens; nothing sent to it costs money. Use it with:"]
    for provider, (path, header, content) in _EXAMPLES.items():
        key = settings.key_of(provider)
        lines += [
            f"\n  {provider}: base URL {url}",
            f"  export {provider.upper()}_API_KEY={key}",
            f"  curl {url}{path} -H '{header.format(key=key)}' -d '{json.dumps(content)}'",
        ]
    lines += [
        f"\n  kling-ledger run --base-url {url} ...",
        f"  curl {url}/sandbox/truth",
        "Markers in a prompt control its job: kling-ledger sandbox --help lists them.",
        "Stop it with Ctrl-C.",
    ]
    click.echo("\n".join(lines), err=True)
    click.echo(url)
