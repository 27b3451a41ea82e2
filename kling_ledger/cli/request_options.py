"""Requests on the command line: a provider's own body, or the options of a clip."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

import click

from kling_ledger.cli.clip_options import Resolution, Seconds, clip_fields
from kling_ledger.cli.inputs import read_text, strict_option
from kling_ledger.cli.known_words import meant, with_near_names
from kling_ledger.cli.output import say
from kling_pricing.clip import ACTIONS
from kling_pricing.errors import NoPriceError
from kling_pricing.gateways import GATEWAYS

if TYPE_CHECKING:
    from kling_ledger.jobs.saved_quotes import SavedQuote

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option(
        "--provider", type=click.Choice(GATEWAYS), required=True, help="Who makes the clip."
    ),
    click.option(
        "--request",
        "request_file",
        type=click.File("rb"),
        help="The provider's own JSON body; - for stdin.",
    ),
    click.option(
        "--action",
        type=click.Choice(ACTIONS),
        help="What the request is for, if the body does not say.",
    ),
    click.option("--model", help="Instead of --request: the model that makes the clip."),
    click.option("--prompt", help="Instead of --request: what the clip shows."),
    click.option("--image-url", help="Instead of --request: the first frame."),
    click.option("--seconds", type=Seconds(), help="Instead of --request: the length of the clip."),
    click.option(
        "--resolution",
        type=Resolution(),
        help="Instead of --request: the resolution of the clip.",
    ),
    click.option(
        "--sound/--no-sound", default=None, help="Instead of --request: with sound or not."
    ),
    strict_option,
)


def request_options(command: Command) -> Command:
    """Add the options of a request: --provider, --request, --action, a clip's own, --strict."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_body(
    provider: str,
    request_file: BinaryIO | None,
    action: str | None,
    options: dict[str, Any],
    saved: SavedQuote | None = None,
) -> tuple[dict[str, Any], str | None]:
    """Return the provider's own body, and report undocumented fields."""
    from kling_pricing.gateways import read_request

    clip = {name: value for name, value in options.items() if name != "strict"}
    body, action = _written(provider, request_file, action, clip, saved)
    request = read_request(provider, body, action=action, strict=options["strict"])
    for note in request.unheard:
        say(f"note: {note}")
    return body, action


def _written(
    provider: str,
    request_file: BinaryIO | None,
    action: str | None,
    clip: dict[str, Any],
    saved: SavedQuote | None,
) -> tuple[dict[str, Any], str | None]:
    """Return the provider's own body: as given, as quoted, or built from the options of a clip."""
    from kling_pricing.clip import Clip
    from kling_pricing.gateways import parse_body, write_request
    from kling_pricing.library import at_hand

    given = {name: value for name, value in clip_fields(clip).items() if value is not None}
    if request_file is not None:
        if given:
            raise click.UsageError(
                f"the body of --request already says it: leave out {_first(given)}"
            )
        return parse_body(read_text(request_file)), action
    if saved is not None and saved.body is not None and not given:
        return dict(saved.body), action or saved.told["action"]
    for needed in ("model", "prompt"):
        if needed not in given:
            raise click.UsageError(f"give --request, or --{needed} and the other options of a clip")
    inputs = {name: given.pop(name) for name in ("prompt", "image_url") if name in given}
    asked: dict[str, Any] = {"action": action} if action else {}
    model = meant(given.pop("model"), at_hand().book(provider).models) or clip["model"]
    try:
        request = write_request(Clip(provider, model, **given, **asked), **inputs)
    except NoPriceError as error:
        raise with_near_names(error, model) from None
    return request.body, request.clip.action


def _first(given: dict[str, Any]) -> str:
    return "--" + next(iter(given)).replace("_", "-")
