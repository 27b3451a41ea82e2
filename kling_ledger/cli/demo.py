"""`kling-ledger demo`: the whole idea in a few seconds, with no key and no network."""

from __future__ import annotations

import tempfile
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kling_ledger.cli import EXIT_DIFFERENCES
from kling_ledger.cli.output import print_table
from kling_ledger.cli.reservation_rows import reservation_dict
from kling_ledger.errors import RefusedError
from kling_pricing.money import Money, plain

if TYPE_CHECKING:
    from kling_ledger.ledger import Ledger
    from kling_ledger.ledger.verify import Verification

_FUNDS: Final = "2 USD"
_WALLET: Final = "studio"
_SPENT: Final = ("project", "unit", "clips", "failed", "seconds", "spent", "per_clip")
_COLUMNS: Final = ("project", "clip", "quoted", "committed", "state", "why")


def _body(prompt: str, seconds: int, resolution: str, *, sound: bool) -> dict[str, Any]:
    return {
        "model": "kling-3.0",
        "prompt": prompt,
        "duration_seconds": seconds,
        "output_resolution": resolution,
        "enable_sound": sound,
    }


_CLIPS: Final = (
    ("film/opening", _body("mist over a lake at sunrise", 5, "1080p", sound=True)),
    ("film/opening", _body("a heron takes off", 5, "720p", sound=False)),
    ("film/teaser", _body("a storm over the city [fail]", 5, "720p", sound=True)),
    ("film/teaser", _body("a storm over the city, again", 3, "720p", sound=True)),
    ("ads/spring", _body("a watch in close-up", 3, "4k", sound=False)),
)


@click.command()
def demo() -> int:
    """Run a handful of clips against a sandbox on this machine, then report and verify.

    Everything but the clips is real: HTTP, RunAPI's own client, a ledger in a temporary file. One
    clip fails and is rolled back; one is refused because the wallet is too low.
    """
    from kling_ledger.ledger import Ledger
    from kling_ledger.sandbox import Sandbox, SandboxSettings

    settings = SandboxSettings(job_s=0.3)
    with (
        tempfile.TemporaryDirectory(prefix="kling-ledger-demo-") as folder,
        Sandbox(settings) as sandbox,
        Ledger(str(Path(folder) / "demo.sqlite")) as ledger,
    ):
        click.echo(f"a sandbox of RunAPI listens on {sandbox.url}; no clip is made")
        ledger.wallets.create(_WALLET, "USD")
        ledger.wallets.fund(_WALLET, Money.parse(_FUNDS))
        click.echo(f"wallet {_WALLET} is funded with {_FUNDS}\n")
        rows = [
            _run(ledger, project, body, sandbox.url, settings.api_key) for project, body in _CLIPS
        ]
        print_table(rows, _COLUMNS, title="Five clips, one after the other")
        return _close(ledger)


def _run(
    ledger: Ledger, project: str, body: dict[str, Any], url: str, api_key: str
) -> dict[str, Any]:
    from kling_ledger.jobs.meter import Meter
    from kling_ledger.jobs.watch import Patience
    from kling_ledger.providers.runapi import dialect as runapi

    patience = Patience(poll_every_s=0.1, longest_s=15)
    clip = f"{body['duration_seconds']} s {body['output_resolution']}"
    clip += " with sound" if body["enable_sound"] else ""
    try:
        with closing(runapi.connect(api_key, base_url=url)) as provider:
            ended = Meter(ledger, provider, _WALLET, project=project, patience=patience).run(body)
    except RefusedError as refusal:
        return {"project": project, "clip": clip, "state": "refused", "why": str(refusal)}
    return {**reservation_dict(ended), "clip": clip, "why": ended.problem}


def _close(ledger: Ledger) -> int:
    from kling_reports.doors import reservations
    from kling_reports.groups import read_groups
    from kling_reports.spend import spend

    table = spend(reservations.spending(ledger.database, by=["project"]), read_groups(["project"]))
    keys = [column.key for column in table.columns]
    rows = [dict(zip(keys, map(_plain, row), strict=True)) for row in table.rows("UTC")]
    print_table(rows, _SPENT, title="What was spent: kling-ledger report spend")
    wallet = ledger.wallets.get(_WALLET)
    click.echo(f"wallet {wallet.name}: funded {wallet.funded}, spent {wallet.spent},")
    click.echo(f"reserved {wallet.reserved}, available {wallet.available}\n")
    checked = ledger.verify()
    click.echo(_verdict(checked))
    return 0 if checked.is_clean else EXIT_DIFFERENCES


def _plain(value: object) -> object:
    return plain(value) if isinstance(value, Decimal) else value


def _verdict(checked: Verification) -> str:
    if not checked.is_clean:
        return f"kling-ledger verify found differences: {checked.findings}"
    return (
        f"kling-ledger verify: {checked.transfers} transfers balance, and the wallet matches "
        "them to the last millionth"
    )
