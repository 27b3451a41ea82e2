"""`kling-ledger quote`: price a clip from flags or from a provider's own request body."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli.output import format_option, print_one, print_table, say
from kling_pricing.library import bundled_book, bundled_providers
from kling_pricing.clip import ACTIONS, RESOLUTIONS, Clip
from kling_pricing.quote import quote as price

if TYPE_CHECKING:
    from kling_pricing.quote import Quote


class _Seconds(click.ParamType[Decimal]):
    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        try:
            number = Decimal(str(value))
        except ArithmeticError:
            number = Decimal("NaN")
        if not number.is_finite() or number <= 0:
            self.fail(f"got {value}, allowed: a number of seconds above 0", param, ctx)
        return number


@click.command()
@click.option(
    "--provider", required=True, metavar="NAME", help=f"One of {', '.join(bundled_providers())}."
)
@click.option("--model", metavar="ID", help="The provider's own id of the model.")
@click.option("--action", type=click.Choice(ACTIONS), help="What the model is asked to do.")
@click.option("--seconds", type=_Seconds(), help="The length of the clip.")
@click.option("--resolution", type=click.Choice(RESOLUTIONS), help="The size of the picture.")
@click.option("--sound/--no-sound", default=None, help="With the model's own sound, or silent.")
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Price it as on that day (00:00 UTC) instead of now.",
)
@click.option(
    "--request",
    "request_file",
    type=click.File(encoding="utf-8"),
    help="The provider's own JSON body instead of a model and its options; - for stdin.",
)
@format_option
def quote(
    provider: str,
    model: str | None,
    request_file: Any,
    at: datetime | None,
    form: str,
    **options: Any,
) -> None:
    """Price a clip, from flags or from a provider's own request body.

    \b
    kling-ledger quote --provider runapi --model kling-3.0 --seconds 5 --resolution 1080p --sound
    kling-ledger quote --provider runapi --request body.json --format json
    """
    instant = at.replace(tzinfo=UTC) if at else datetime.now(UTC)
    if request_file is not None:
        _refuse_flags({"--model": model, **_flags(options)})
        answer = _quote_request(provider, request_file.read(), options["action"], instant)
    elif model is None:
        raise click.UsageError("give --model and its options, or --request FILE")
    else:
        quoted = price(_clip(provider, model, options), at=instant)
        answer = {**quoted.as_dict(), "assumptions": []}
    print_one(answer, form, table=lambda: _print_table(answer))


def _quote_request(provider: str, text: str, action: str | None, at: datetime) -> dict[str, Any]:
    from kling_pricing.requests import parse_body, read_request

    request = read_request(provider, parse_body(text), action=action)
    quoted: Quote = request.quote(at=at)
    return {
        **quoted.as_dict(),
        "assumptions": list(request.assumptions),
        "payload_hash": request.payload_hash,
    }


def _clip(provider: str, model: str, options: dict[str, Any]) -> Clip:
    actions = bundled_book(provider).actions_of(model)
    seconds = options["seconds"]
    return Clip(
        provider=provider,
        model=model,
        action=options["action"] or (actions[0] if actions else ACTIONS[0]),
        seconds=int(seconds) if seconds is not None and seconds == int(seconds) else seconds,
        resolution=options["resolution"],
        sound=options["sound"],
    )


def _flags(options: dict[str, Any]) -> dict[str, Any]:
    return {f"--{name}": given for name, given in options.items() if name != "action"}


def _refuse_flags(flags: dict[str, Any]) -> None:
    given = [name for name, value in flags.items() if value is not None]
    if given:
        raise click.UsageError(f"the body of --request says it already: leave out {given[0]}")


def _print_table(answer: dict[str, Any]) -> None:
    unit = answer["unit"]
    lines = [
        {
            "item": line["label"],
            "quantity": f"{line['quantity']} {line['per']}s",
            "unit_price": line["unit_price"],
            "amount": line["amount"],
        }
        for line in answer["lines"]
    ]
    total = {"item": f"total {unit}", "amount": answer["amount"]}
    title = f"{answer['provider']} {answer['model']} {answer['action']}, {answer['seconds']} s"
    print_table([*lines, total], ["item", "quantity", "unit_price", "amount"], title=title)
    if answer["usd"] is not None and unit != "USD":
        click.echo(f"in US dollars: {answer['usd']}")
    click.echo(f"{answer['evidence']}, {answer['source']}, checked {answer['checked']}")
    for note in (*answer["warnings"], *answer["assumptions"], answer["note"]):
        if note:
            say(f"note: {note}")
