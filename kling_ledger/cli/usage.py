"""Usage: click's usage errors, rewritten in the form of our own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import click
from click.exceptions import NoSuchCommand

_EXTRA: Final = re.compile(r"extra arguments? \((.*)\)")
_UNIT: Final = re.compile(r"[A-Za-z][A-Za-z-]{2,31}")
_KNOWN_UNIT: Final = re.compile(r"(?i)usd|[a-z]+-credit")
_AMOUNT: Final = re.compile(r"\$?[0-9][0-9.,]* ?[A-Za-z][A-Za-z-]*|\$[0-9][0-9.,]*")
_OF_COMMANDS: Final = ("--db", "--format")


def did_you_mean(words: Sequence[str]) -> str | None:
    """Return a "did you mean" question for a few words; None if there are none."""
    return f"did you mean {' or '.join(words)}?" if words else None


def told_usage(error: click.ClickException) -> tuple[str, str | None]:
    """Return a usage error's message and its hint."""
    match error:
        case NoSuchCommand():
            return f"no such command: {error.command_name}", _near_command(error)
        case click.NoSuchOption():
            return f"no such option: {error.option_name}", _near_option(error)
        case click.MissingParameter():
            return f"{_name_of(error)} is missing", _usage(error)
        case click.BadParameter():
            return _bad_value(error), _near_value(error) or _more(error)
        case click.BadOptionUsage() if "requires an argument" in error.message:
            return f"{error.option_name} needs a value", _more(error)
        case click.UsageError():
            return _sentence(error.message), _said_hint(error)
        case _:
            return _sentence(error.format_message()), None


def _near_command(error: NoSuchCommand) -> str | None:
    from kling_ledger.cli.known_words import alike

    if error.ctx is None or not isinstance(error.ctx.command, click.Group):
        return None
    names = error.ctx.command.list_commands(error.ctx)
    return did_you_mean(alike(error.command_name, names)) or _more(error)


def _near_option(error: click.NoSuchOption) -> str | None:
    is_group = error.ctx is not None and isinstance(error.ctx.command, click.Group)
    if is_group and error.option_name in _OF_COMMANDS:
        return f"{error.option_name} goes after the command"
    return did_you_mean(error.possibilities or ()) or _more(error)


def _near_value(error: click.BadParameter) -> str | None:
    from kling_ledger.cli.known_words import alike

    choices = _choices(error)
    written = _value_of(error.message)
    return did_you_mean(alike(written, choices)) if choices and written else None


def _bad_value(error: click.BadParameter) -> str:
    """Return the message for a bad value: the option or argument, the value, the allowed ones."""
    choices, written = _choices(error), _value_of(error.message)
    if choices and written is not None:
        return f"{_name_of(error)}: got {written}, allowed: {', '.join(choices)}"
    told = _in_range(error) or re.sub(r"'([^' ]*)'", r"\1", _sentence(error.message))
    return f"{_name_of(error)}: {told}" if error.param or error.param_hint else told


def _in_range(error: click.BadParameter) -> str | None:
    """Return the message for a number out of range, with the allowed range."""
    kind = None if error.param is None else error.param.type
    if not isinstance(kind, (click.IntRange, click.FloatRange)):
        return None
    written = _value_of(error.message) or error.message.split(" ")[0]
    least = "above" if kind.min_open else "at least"
    edges = [f"{least} {kind.min:g}" if kind.min is not None else ""]
    edges += [f"at most {kind.max:,}" if kind.max is not None else ""]
    return f"got {written}, allowed: a number, {', '.join(filter(None, edges))}"


def _choices(error: click.BadParameter) -> Sequence[str]:
    kind = None if error.param is None else error.param.type
    return [str(one) for one in kind.choices] if isinstance(kind, click.Choice) else ()


def _value_of(message: str) -> str | None:
    """Return the value that click quotes at the start of its message."""
    quoted = re.match(r"""(['"])(.*?)\1 """, message)
    return None if quoted is None else quoted[2]


def _name_of(error: click.BadParameter) -> str:
    """Name an option as it is typed, and an argument as its help shows it."""
    parameter: Any = error.param
    if parameter is None:
        return str(error.param_hint or "a value").strip("'\"")
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    return str(parameter.make_metavar(error.ctx)).strip("[]").removesuffix("...")


def _said_hint(error: click.UsageError) -> str | None:
    extra = _EXTRA.search(error.message)
    if extra is None:
        return _more(error)
    option = _option_for(extra[1], error.ctx)
    if option is not None:
        return f'did you mean {option} "{extra[1]}"?'
    takes_amount = error.ctx is not None and "AMOUNT" in error.ctx.get_usage()
    if takes_amount and _UNIT.fullmatch(extra[1]):
        return f'an amount and its unit are one word: "10 {extra[1]}" or 10{extra[1]}'
    return _more(error)


def _option_for(word: str, context: click.Context | None) -> str | None:
    """Return the option that a word without one was probably meant for, if a command has it."""
    parameters = [] if context is None else context.command.params
    options = [one for one in parameters if isinstance(one, click.Option)]
    if _KNOWN_UNIT.fullmatch(word):
        return next((name for one in options for name in one.opts if name == "--unit"), None)
    if _AMOUNT.fullmatch(word):
        return next((one.opts[0] for one in options if one.metavar == "AMOUNT"), None)
    return None


def _usage(error: click.UsageError) -> str | None:
    """Return a command's usage line, which shows missing arguments in place."""
    if error.ctx is None:
        return None
    choices = _choices(error) if isinstance(error, click.BadParameter) else ()
    if choices:
        return f"one of {', '.join(choices)}"
    if isinstance(getattr(error, "param", None), click.Argument):
        return " ".join(error.ctx.get_usage().removeprefix("Usage: ").split())
    return _more(error)


def _more(error: click.UsageError) -> str | None:
    return None if error.ctx is None else f"{error.ctx.command_path} --help"


def _sentence(message: str) -> str:
    """Return click's message in the style of our errors: no capital, no full stop."""
    told = " ".join(message.split()).removesuffix(".")
    return told[:1].lower() + told[1:] if told[:2].istitle() or told[:1] == "G" else told
