"""`kling-ledger quote`: price a clip from flags or from a provider's own request body."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from kling_ledger.cli.books import book_option
from kling_ledger.cli.clip_options import clip_fields, clip_options
from kling_ledger.cli.defaults import is_from_file
from kling_ledger.cli.inputs import strict_option
from kling_ledger.cli.known_words import priced_model, priced_provider
from kling_ledger.cli.output import format_option, print_one, print_table, say
from kling_pricing.clip import ACTIONS, Clip
from kling_pricing.errors import ClipError, NoPriceError, Problem
from kling_pricing.library import Library, bundled_providers
from kling_pricing.own_rates import set_by
from kling_pricing.quote import quote as price

if TYPE_CHECKING:
    from kling_pricing.quote import Quote


@click.command()
@click.option("--provider", metavar="NAME", help=f"One of {', '.join(bundled_providers())}.")
@click.option("--model", metavar="ID", help="The model id, as the provider writes it.")
@clip_options
@click.option(
    "--request",
    "request_file",
    type=click.File("rb"),
    help="The provider's own JSON body, instead of clip options; - for stdin.",
)
@click.option(
    "--manifest",
    metavar="FILE",
    help="Price a table of clips: .csv, .jsonl or .parquet; - for CSV or JSONL on stdin.",
)
@click.option(
    "--out", metavar="FILE", help="Write the priced table here; the extension selects the format."
)
@strict_option
@click.option("--save", is_flag=True, help="Save the quote and print its id, for `run --quote`.")
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
    *,
    save: bool,
    strict: bool,
    **options: Any,
) -> int | None:
    """Price a clip, from flags or from a provider's own request body; or a table of clips.

    \b
    kling-ledger quote --provider runapi --model kling-3.0 --seconds 5 --resolution 1080p --sound
    kling-ledger quote --provider runapi --request body.json --format json
    kling-ledger quote --manifest clips.csv --out priced.csv
    kling-ledger quote --provider runapi --request body.json --save

    \b
    A manifest has a column for each option: provider, model, action, seconds, resolution, sound,
    multi_shot, voice, video_input, elements, frames, orientation, input_seconds. A line of JSONL
    may hold {"provider": ..., "request": {its own body}} instead. Other columns are kept, except
    those named like an answer (amount, notes, error, ...): new answers replace them.
    Exit codes: 0 every row has a price, 2 some rows are bad input, 7 some rows have no known price.
    """
    instant = at or datetime.now(UTC)
    if manifest is not None:
        if save:
            raise click.UsageError("--save keeps the quote of one clip: leave out --manifest")
        named = None if is_from_file("provider") else provider
        others = {"--provider": named, "--model": model, "--action": options["action"]}
        _refuse_flags({**others, "--request": request_file, **_flags(options)}, "--manifest")
        from kling_ledger.cli.manifest import quote_manifest

        return quote_manifest(manifest, at=instant, form=form, out=out, library=library)
    if out is not None:
        raise click.UsageError("--out goes with --manifest")
    if provider is None:
        raise click.UsageError("give --provider, or --manifest FILE")
    provider = priced_provider(provider, library)
    body: dict[str, Any] | None = None
    if request_file is not None:
        _refuse_flags({"--model": model, **_flags(options)}, "the body of --request")
        body = _read_body(request_file)
        answer = _quote_request(provider, body, options["action"], instant, library, strict=strict)
    elif model is None:
        raise click.UsageError("give --model and its options, or --request FILE")
    else:
        answer = _quote_clip(provider, model, options, instant, library)
    if save:
        answer = _saved(answer, body)
    print_one(answer, form, table=lambda: _print_table(answer))
    return None


def _saved(answer: dict[str, Any], body: dict[str, Any] | None) -> dict[str, Any]:
    """Save an answer and return it with its id."""
    from kling_ledger.jobs.saved_quotes import save_quote

    return {"id": save_quote(answer, body=body), **answer}


def _read_body(file: BinaryIO) -> dict[str, Any]:
    from kling_ledger.cli.inputs import read_text
    from kling_pricing.gateways import parse_body

    return parse_body(read_text(file))


def _answer(quoted: Quote, library: Library) -> dict[str, Any]:
    """Return a quote for JSON, including where a whole rate is the user's own."""
    told = quoted.as_dict()
    own = [line for line in set_by(quoted.rate, library) if line not in told["assumptions"]]
    return {**told, "assumptions": [*told["assumptions"], *own]}


def _quote_clip(
    provider: str, model: str, options: dict[str, Any], at: datetime, library: Library
) -> dict[str, Any]:
    book = library.book(provider)
    model = priced_model(model, book)
    try:
        return _answer(price(_clip(provider, model, options, library), at=at, book=book), library)
    except ClipError as error:
        raise ClipError([_as_flag(problem) for problem in error.problems]) from None


def _quote_request(
    provider: str,
    body: dict[str, Any],
    action: str | None,
    at: datetime,
    library: Library,
    *,
    strict: bool,
) -> dict[str, Any]:
    from kling_pricing.gateways import read_request

    request = read_request(provider, body, action=action, strict=strict)
    try:
        quoted: Quote = request.quote(at=at, book=library.book(provider))
    except NoPriceError as error:
        raise _with_a_way(error, provider) from None
    told = _answer(quoted, library)
    return {
        **told,
        "assumptions": list(dict.fromkeys([*request.assumptions, *told["assumptions"]])),
        "payload_hash": request.payload_hash,
    }


def _with_a_way(error: NoPriceError, provider: str) -> NoPriceError:
    """Return the error with a hint if the provider itself estimates prices."""
    from kling_ledger.providers.registry import FACTS

    if error.hint or not FACTS[provider].estimates:
        return error
    hint = f"kling-ledger run gets a free estimate from {provider} and reserves that"
    return NoPriceError(error.subject, known=error.known, hint=hint)


def _clip(provider: str, model: str, options: dict[str, Any], library: Library) -> Clip:
    actions = library.book(provider).actions_of(model)
    unsaid = {"action": actions[0] if actions else ACTIONS[0]}
    return Clip(provider, model, **{**unsaid, **clip_fields(options)})


def _as_flag(problem: Problem) -> Problem:
    """Return the flag of a problem, as it is typed."""
    flag = "--sound/--no-sound" if problem.path == "sound" else f"--{problem.path}"
    return replace(problem, path=flag.replace("_", "-"))


def _flags(options: dict[str, Any]) -> dict[str, Any]:
    return {
        f"--{name.replace('_', '-')}": given for name, given in options.items() if name != "action"
    }


def _refuse_flags(flags: dict[str, Any], source: str) -> None:
    given = [name for name, value in flags.items() if value is not None]
    if given:
        raise click.UsageError(f"{source} already says it: leave out {given[0]}")


def _print_table(answer: dict[str, Any]) -> None:
    unit = answer["unit"]
    lines = [
        {
            "item": line["label"],
            "quantity": _counted(line["quantity"], line["per"]),
            "unit_price": line["unit_price"],
            "amount": line["amount"],
        }
        for line in answer["lines"]
    ]
    total = {"item": f"total {unit}", "amount": answer["amount"]}
    length = "" if answer["seconds"] is None else f", {answer['seconds']} s"
    title = f"{answer['provider']} {answer['model']} {answer['action']}{length}"
    print_table([*lines, total], ["item", "quantity", "unit_price", "amount"], title=title)
    if answer["usd"] is not None and unit != "USD":
        click.echo(f"in US dollars: {answer['usd']}")
    # A user's price has its own note; the seller's page never listed it.
    over = "your own price, replacing that of " if answer["evidence"] == "user" else ""
    click.echo(f"{answer['evidence']}, {over}{answer['source']}, checked {answer['checked']}")
    if "id" in answer:
        click.echo(f"saved as {answer['id']}, until {answer['expires_at']}")
    for note in (*answer["warnings"], *answer["assumptions"], answer["note"]):
        if note:
            say(f"note: {note}")


def _counted(quantity: str, per: str) -> str:
    """Format a count: `1 clip`, `3 blocks of 5 seconds`, `0.5 of what is above`."""
    word, *rest = per.split(" ")
    is_share = word == "of"
    return " ".join([quantity, word if is_share or quantity == "1" else f"{word}s", *rest])
