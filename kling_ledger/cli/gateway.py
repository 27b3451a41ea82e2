"""`kling-ledger gateway`: the providers' APIs on this machine, with every job metered."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from kling_ledger.cli.books import book_option
from kling_ledger.cli.connections import approve_option, ceiling_of, estimate_option
from kling_ledger.cli.inputs import Wait, label_option, read_labels
from kling_ledger.cli.output import database_option, listening_options, say

if TYPE_CHECKING:
    from kling_ledger.gateway.events import Observer
    from kling_ledger.gateway.server import Gateway
    from kling_ledger.gateway.settings import GatewaySettings, Upstream
    from kling_ledger.ledger import Ledger
    from kling_pricing.library import Library

_PORT: Final = 8770


@click.command()
@listening_options(port=_PORT)
@click.option(
    "--wallet",
    help="The wallet for callers without a token. Without it every caller needs one.",
)
@click.option("--project", help="The project of jobs without X-Kling-Project.")
@label_option
@click.option("--max-cost", metavar="AMOUNT", help="The most that one job may cost.")
@approve_option
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="[PROVIDER=]URL",
    help="A provider's address, or one address for all, for a sandbox.",
)
@click.option(
    "--own-keys",
    is_flag=True,
    help="Callers send their own provider keys; keys in this environment are ignored.",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="The public address of this gateway, for the providers' callbacks.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Another host name that browsers may use for the live page.",
)
@click.option(
    "--page-password",
    envvar="KLING_LEDGER_PAGE_PASSWORD",
    metavar="TEXT",
    help="The password of the live page and /metrics. Without one they answer only on this machine."
    " [env, preferred: KLING_LEDGER_PAGE_PASSWORD]",
)
@click.option(
    "--log/--no-log",
    "writes_log",
    default=False,
    help="Write a line of JSON for each request to standard error.",
)
@click.option(
    "--spans/--no-spans",
    "makes_spans",
    default=False,
    help="Create an OpenTelemetry span for each request; run the command under "
    "opentelemetry-instrument.",
)
@estimate_option
@click.option(
    "--poll-every",
    "poll_every_s",
    type=Wait(0.05),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to poll a job that no client polls.",
)
@click.option(
    "--polls-per-second",
    "polls_per_s",
    type=click.FloatRange(0.1),
    default=20.0,
    show_default=True,
    help="The most polls per second of one provider, for jobs that no client polls.",
)
@click.option(
    "--timeout",
    "longest_s",
    type=Wait(0.1),
    default=900.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a job before it counts as in doubt (credits stay reserved).",
)
@book_option
@database_option
def gateway(
    *,
    host: str,
    port: int,
    wallet: str | None,
    project: str | None,
    labels: tuple[str, ...],
    max_cost: str | None,
    approve_above: str | None,
    upstreams: tuple[str, ...],
    own_keys: bool,
    public_url: str | None,
    hosts: tuple[str, ...],
    page_password: str | None,
    writes_log: bool,
    makes_spans: bool,
    estimate: bool,
    poll_every_s: float,
    polls_per_s: float,
    longest_s: float,
    library: Library,
    db: str | None,
) -> None:
    """Serve /runapi, /crun, /evolink and /uniall: the providers' own APIs, within your limits.

    Clients change only their base URL. Each job is quoted and reserved before it is sent on. If
    wallet or budget are too low, it is refused in the provider's own error format. Every job is
    settled when it ends, whether or not its client polls it. If the ledger cannot be reached,
    nothing is sent.

    \b
    export RUNAPI_API_KEY=...
    kling-ledger gateway --wallet team
    curl http://127.0.0.1:8770/runapi/api/v1/kling/text_to_video -d @body.json ...

    If this environment has a provider's key, that key is used, and callers need none. Otherwise the
    caller's key is passed through and never stored.

    \b
    Requests may have  X-Kling-Project, X-Kling-Labels (name=value,...), X-Kling-Run,
                      X-Kling-Token, X-Kling-Approval, Idempotency-Key
    Answers have       X-Kling-Reservation, -Quote, -Held, -Committed, -Wallet-Left, -Budget-Left

    Once it listens, it prints its address on standard output. Stop it with Ctrl-C.
    """
    from kling_ledger.gateway.server import Gateway
    from kling_ledger.gateway.settings import GatewaySettings
    from kling_ledger.ledger import Ledger
    from kling_ledger.providers.http import Secret

    with Ledger(db, create=False) as ledger:
        settings = GatewaySettings(
            upstreams=read_upstreams(upstreams, uses_keys=not own_keys),
            wallet=wallet,
            project=project,
            labels=read_labels(labels),
            ceiling=_amount(ledger, wallet, max_cost, "--max-cost"),
            approve_above=_amount(ledger, wallet, approve_above, "--approve-above"),
            asks_estimate=estimate,
            public_url=public_url,
            hosts=hosts,
            page_secret=Secret(page_password) if page_password else None,
            library=library,
            poll_every_s=poll_every_s,
            polls_per_s=polls_per_s,
            longest_s=longest_s,
        )
        observers = [*_observers(writes_log=writes_log, makes_spans=makes_spans)]
        _serve(Gateway(ledger, settings, host=host, port=port, observers=observers), settings)


def read_upstreams(written: tuple[str, ...], *, uses_keys: bool) -> dict[str, Upstream]:
    """Return the address and the key of each provider. UsageError for an invalid --upstream."""
    from kling_ledger import config
    from kling_ledger.gateway.settings import PROVIDERS, Upstream
    from kling_ledger.providers.http import Secret, checked_address
    from kling_ledger.providers.registry import FACTS

    addresses = {
        name: checked_address(config.base_url(None, default=FACTS[name].base_url, provider=name))
        for name in PROVIDERS
    }
    for one in written:
        name, equals, address = one.partition("=")
        if not equals or name.startswith(("http:", "https:")):
            addresses = dict.fromkeys(PROVIDERS, checked_address(one))
        elif name in PROVIDERS:
            addresses[name] = checked_address(address)
        else:
            raise click.UsageError(f"--upstream: got {name}, allowed: {', '.join(PROVIDERS)}")
    found = {}
    for name, address in addresses.items():
        variable = FACTS[name].key_variable
        has_key = uses_keys and config.has_api_key(variable, None)
        key = Secret(config.api_key(variable, None)) if has_key else None
        found[name] = Upstream(name, address, key)
    return found


def _observers(*, writes_log: bool, makes_spans: bool) -> Iterator[Observer]:
    """Return further listeners for requests, beside the live page and the metrics."""
    if writes_log:
        from kling_ledger.gateway.log import Log

        yield Log(sys.stderr)
    if makes_spans:
        from kling_ledger.gateway.spans import Spans

        yield Spans()


def _amount(ledger: Ledger, wallet: str | None, written: str | None, option: str) -> Any:
    if written is not None and wallet is None:
        raise click.UsageError(f"{option} is for callers without a token: give their --wallet")
    return None if wallet is None else ceiling_of(ledger, wallet, written)


def _serve(serving: Gateway, settings: GatewaySettings) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with serving:
            _announce(serving, settings)
            serving.wait()
    except KeyboardInterrupt:
        say("stopped: the gateway no longer listens")


def _announce(serving: Gateway, settings: GatewaySettings) -> None:
    """Print how to use it, then the address for programs as the last line."""
    say("The gateway listens; give clients these base URLs:")
    for name, upstream in settings.upstreams.items():
        whose = (
            "callers send their own key" if upstream.key is None else "with this environment's key"
        )
        say(f"  {name}: {serving.url}/{name} -> {upstream.address}, {whose}")
    if settings.wallet is None:
        say("Every caller needs a token: kling-ledger token create NAME --wallet WALLET")
    else:
        say(f"Callers without a token spend from wallet {json.dumps(settings.wallet)}.")
    if serving.shows_page:
        say(f"Live page: {serving.url}/ and figures for Prometheus: {serving.url}/metrics")
    else:
        say("For other machines the live page needs a password: KLING_LEDGER_PAGE_PASSWORD")
    say("Stop it with Ctrl-C.")
    click.echo(serving.url)
