"""`kling-ledger quote`: price a clip from flags or from a provider's own request body."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli.books import book_option, set_by
from kling_ledger.cli.output import format_option, print_one, print_table, say
from kling_pricing.clip import ACTIONS, RESOLUTIONS, Clip
from kling_pricing.library import Library, bundled_providers
from kling_pricing.quote import quote as price

if TYPE_CHECKING:
    from kling_pricing.quote import Quote


class Seconds(click.ParamType[Decimal]):
    """A length in seconds: a number above 0."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        """Return the number; a usage error for anything else."""
        try:
            number = Decimal(str(value))
        except ArithmeticError:
            number = Decimal("NaN")
        if not number.is_finite() or number <= 0:
            self.fail(f"got {value}, allowed: a number of seconds above 0", param, ctx)
        return number


@click.command()
@click.option("--provider", metavar="NAME", help=f"One of {', '.join(bundled_providers())}.")
@click.option("--model", metavar="ID", help="The provider's own id of the model.")
@click.option("--action", type=click.Choice(ACTIONS), help="What the model is asked to do.")
@click.option("--seconds", type=Seconds(), help="The length of the clip.")
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
@click.option(
    "--manifest",
    metavar="FILE",
    help="Price a table of clips: .csv, .jsonl or .parquet; - for CSV or JSONL on stdin.",
)
@click.option("--out", metavar="FILE", help="Write the priced table there, by its extension.")
@book_option
@format_option
def quote(
    provider: str | None,
    model: str | None,
    request_file: Any,
    at: datetime | None,
    form: str,
    manifest: str | None,
    out: str | None,
    library: Library,
    **options: Any,
) -> int | None:
    """Price a clip, from flags or from a provider's own request body; or a table of clips.

    \b
    kling-ledger quote --provider runapi --model kling-3.0 --seconds 5 --resolution 1080p --sound
    kling-ledger quote --provider runapi --request body.json --format json
    kling-ledger quote --manifest clips.csv --out priced.csv

    \b
    A manifest has a column for each option: provider, model, action, seconds, resolution, sound,
    multi_shot, voice, video_input, elements, frames, orientation, input_seconds. A line of JSONL
    may hold {"provider": ..., "request": {its own body}} instead. Other columns are kept.
    Exit codes: 0 every row has a price, 2 some rows are bad input, 7 for some no price is known.
    """
    instant = at.replace(tzinfo=UTC) if at else datetime.now(UTC)
    if manifest is not None:
        others = {"--provider": provider, "--model": model, "--action": options["action"]}
        _refuse_flags({**others, "--request": request_file, **_flags(options)}, "--manifest")
        from kling_ledger.cli.manifest import quote_manifest

        return quote_manifest(manifest, at=instant, form=form, out=out, library=library)
    if out is not None:
        raise click.UsageError("--out goes with --manifest")
    if provider is None:
        raise click.UsageError("give --provider, or --manifest FILE")
    if request_file is not None:
        _refuse_flags({"--model": model, **_flags(options)}, "the body of --request")
        answer = _quote_request(provider, request_file.read(), options["action"], instant, library)
    elif model is None:
        raise click.UsageError("give --model and its options, or --request FILE")
    else:
        clip = _clip(provider, model, options, library)
        answer = _answer(price(clip, at=instant, book=library.book(provider)), library)
    print_one(answer, form, table=lambda: _print_table(answer))
    return None


def _answer(quoted: Quote, library: Library) -> dict[str, Any]:
    """Return a quote for JSON, which says too where a whole rate is the user's own."""
    told = quoted.as_dict()
    own = [line for line in set_by(quoted.rate, library) if line not in told["assumptions"]]
    return {**told, "assumptions": [*told["assumptions"], *own]}


def _quote_request(
    provider: str, text: str, action: str | None, at: datetime, library: Library
) -> dict[str, Any]:
    from kling_pricing.requests import parse_body, read_request

    request = read_request(provider, parse_body(text), action=action)
    quoted: Quote = request.quote(at=at, book=library.book(provider))
    told = _answer(quoted, library)
    return {
        **told,
        "assumptions": list(dict.fromkeys([*request.assumptions, *told["assumptions"]])),
        "payload_hash": request.payload_hash,
    }


def _clip(provider: str, model: str, options: dict[str, Any], library: Library) -> Clip:
    actions = library.book(provider).actions_of(model)
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


def _refuse_flags(flags: dict[str, Any], source: str) -> None:
    given = [name for name, value in flags.items() if value is not None]
    if given:
        raise click.UsageError(f"{source} says it already: leave out {given[0]}")


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
