"""`kling-ledger mcp`: serve agents as an MCP server, over standard input or HTTP."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from kling_ledger.cli.books import book_option
from kling_ledger.cli.connections import (
    Connection,
    approve_option,
    ceiling_of,
    connection_options,
    silent,
)
from kling_ledger.cli.hints import hint_for
from kling_ledger.cli.inputs import gathered, label_option, read_labels
from kling_ledger.cli.output import database_option, listening_options
from kling_ledger.cli.report_options import Edge, query_of
from kling_ledger.cli.reservation_rows import reservation_dict
from kling_ledger.errors import ConfigError
from kling_pricing.gateways import GATEWAYS

if TYPE_CHECKING:
    from kling_ledger.agents.mcp.settings import McpSettings
    from kling_ledger.jobs.meter import Meter
    from kling_ledger.ledger import Ledger
    from kling_pricing.library import Library

_PORT: Final = 8771


@dataclass(frozen=True, slots=True)
class _Listening:
    """Whether to serve over HTTP, and where."""

    http: bool
    host: str
    port: int
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Spending:
    """Which wallet may be spent from, how much, and on what."""

    wallet: str | None
    project: str | None
    provider: str | None
    max_cost: str | None
    approve_above: str | None
    labels: tuple[str, ...]
    token: str | None
    run: str | None


@click.command()
@click.option("--wallet", help="The wallet that pays. [default: that of the --token]")
@click.option("--project", help="The project for jobs without one.")
@click.option(
    "--provider",
    type=click.Choice(GATEWAYS),
    help="The provider for jobs without one.",
)
@click.option(
    "--max-cost",
    metavar="AMOUNT",
    help="The most that one job may cost; agents may set less. Without it, every job must set "
    "its own limit.",
)
@approve_option
@label_option
@click.option("--http", is_flag=True, help="Serve over HTTP instead of standard input and output.")
@listening_options(port=_PORT)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Another host name that clients may use over HTTP.",
)
@click.option(
    "--token",
    metavar="NAME",
    help="The token whose limits apply to every job; over HTTP callers send its secret as a"
    " bearer token.",
)
@click.option("--run", metavar="NAME", help="The run that the jobs of the token belong to.")
@book_option
@connection_options
@database_option
@gathered(_Listening, "listening")
@gathered(_Spending, "spending")
def mcp(
    spending: _Spending,
    listening: _Listening,
    connection: Connection,
    library: Library,
    db: str | None,
) -> None:
    """Let agents quote, check and run clips within your limits, as MCP tools.

    \b
    kling-ledger mcp --wallet team --max-cost "1 USD" --approve-above "0.50 USD"
    kling-ledger mcp --wallet team --http

    The tools are quote, compare, afford, check, run, status and spend; only run spends. A refusal
    says what would fit. If a person must approve a job, the agent's client asks if it can;
    otherwise the refusal names the command that grants it. While the server runs it settles jobs,
    whether or not agents poll them. For jobs still open when it stops: kling-ledger resume.

    With --http it prints its address. Callers on other machines need the secret of its --token.
    Stop it with Ctrl-C.
    """
    _check_installed()
    if connection.api_key and spending.provider is None:
        raise click.UsageError("--api-key belongs to one provider: name it with --provider")
    from kling_ledger.agents.mcp.desk import Desk
    from kling_ledger.agents.mcp.following import Following
    from kling_ledger.agents.mcp.server import server_for
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        settings = _settings(ledger, spending, connection, library)
        with Following() as following, closing(Desk(ledger, settings, following)) as desk:
            _serve(server_for(desk, settings), ledger, listening, spending.token)


def _settings(
    ledger: Ledger, spending: _Spending, connection: Connection, library: Library
) -> McpSettings:
    from kling_ledger.agents.mcp.settings import McpSettings

    token, provider = spending.token, spending.provider
    wallet = _payer(ledger, spending.wallet, token)
    return McpSettings(
        wallet=wallet,
        connect=_Connect(ledger, connection, wallet, provider, library),
        describe=reservation_dict,
        hint_for=hint_for,
        spent=_Spent(ledger, wallet, token),
        project=spending.project,
        labels=read_labels(spending.labels),
        ceiling=ceiling_of(ledger, wallet, spending.max_cost),
        approve_above=ceiling_of(ledger, wallet, spending.approve_above),
        provider=provider,
        library=library,
        token=token,
        run=spending.run,
    )


def _serve(server: Any, ledger: Ledger, listening: _Listening, token: str | None) -> None:
    from kling_ledger.agents.mcp.serving import serve_http, serve_stdio

    if not listening.http:
        # A thread is blocked reading the next line: only this ends it before a line comes.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        serve_stdio(server)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serve_http(
        server,
        host=listening.host,
        port=listening.port,
        lets_in=None if token is None else partial(_lets_in, ledger, token),
        hosts=listening.hosts,
        announce=click.echo,
    )


def _check_installed() -> None:
    try:
        import mcp  # noqa: F401 - whether it is there is the question
    except ImportError:
        raise ConfigError(
            "the package mcp is not installed", hint="pip install 'kling-ledger[agents]'"
        ) from None
    # It would log client messages, contents included, on its own.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)


def _payer(ledger: Ledger, wallet: str | None, token: str | None) -> str:
    """Return the wallet that pays; UsageError if none is named, or another than the token's."""
    of_token = None if token is None else ledger.tokens.get(token).wallet
    payer = wallet or of_token
    if payer is None:
        raise click.UsageError("give --wallet, or a --token")
    if of_token not in {None, payer}:
        raise click.UsageError(f"token {token} spends from wallet {of_token}, not from {payer}")
    return payer


def _lets_in(ledger: Ledger, token: str, secret: str) -> bool:
    from kling_ledger.errors import TokenError

    try:
        return ledger.tokens.of_secret(secret).name == token
    except TokenError:
        return False


@dataclass(frozen=True, slots=True)
class _Connect:
    """Connects to providers as the options say, for one wallet.

    An --api-key belongs to the one provider named with it.
    """

    ledger: Ledger
    connection: Connection
    wallet: str
    provider: str | None
    library: Library

    def __call__(self, provider: str, address: str | None = None) -> Meter:
        given = self.connection
        key = given.api_key if provider == self.provider else None
        there = replace(given, api_key=key, base_url=given.base_url or address)
        return there.meter(
            self.ledger,
            provider,
            self.wallet,
            library=self.library,
            on_change=silent,
            on_trouble=silent,
        )


@dataclass(frozen=True, slots=True)
class _Spent:
    """Reports the spending of one wallet, or of one token: an agent sees only its own jobs."""

    ledger: Ledger
    wallet: str
    token: str | None

    def __call__(
        self,
        by: Sequence[str],
        where: Sequence[str],
        since: str | None,
        until: str | None,
    ) -> dict[str, Any]:
        from kling_reports import spend
        from kling_reports.render import json as form

        if any(one.startswith(("wallet", "label:token")) for one in where):
            raise ConfigError("this server reports only its own jobs", hint="leave it out")
        own = [f"wallet={self.wallet}"]
        own += [] if self.token is None else [f"label:token={self.token}"]
        query = query_of(
            by=tuple(by),
            where=(*where, *own),
            starts_at=_edge(since, "since"),
            ends_at=_edge(until, "until"),
        )
        answer = json.loads(form.render(spend.report(self.ledger.database, query)))
        table = answer["tables"]["spend"]
        return {
            "from": answer["from"],
            "to": answer["to"],
            "rows": table["rows"],
            "totals": table["totals"],
            "notes": answer["notes"],
        }


def _edge(written: str | None, name: str) -> datetime | None:
    if written is None:
        return None
    try:
        return Edge().convert(written, None, None)
    except click.UsageError as error:
        raise ConfigError(f"{name}: {error.message}") from None
