"""The command line: `kling-ledger`. One file per noun; each command imports what it needs.

Exit codes live here and nowhere else in the program.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from kling_ledger import errors
from kling_ledger.cli.telling import tell_error, tell_programs, tell_usage
from kling_pricing import errors as pricing_errors
from kling_pricing.errors import KlingError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

EXIT_OURS: Final = 1
EXIT_USAGE: Final = 2
EXIT_REFUSED: Final = 3
EXIT_JOB_FAILED: Final = 4
EXIT_IN_DOUBT: Final = 5
EXIT_DIFFERENCES: Final = 6
EXIT_NO_PRICE: Final = 7
EXIT_CHARGED_WITHOUT_CLIP: Final = 8
EXIT_NOT_DOWNLOADED: Final = 9
EXIT_NOT_SENT: Final = 10
EXIT_PIPE: Final = 141
_EXIT_STOPPED: Final = 130

_EXIT_CODES: Final[tuple[tuple[type[KlingError], int], ...]] = (
    (pricing_errors.NoPriceError, EXIT_NO_PRICE),
    (pricing_errors.PricingError, EXIT_USAGE),
    (errors.ConfigError, EXIT_USAGE),
    (errors.InputChangedError, EXIT_USAGE),
    (errors.NoLedgerError, EXIT_USAGE),
    (errors.NotEmptyError, EXIT_USAGE),
    (errors.TaskNotWrittenError, EXIT_IN_DOUBT),
    (errors.NotFoundError, EXIT_USAGE),
    (errors.ConflictError, EXIT_USAGE),
    (errors.WalletKeptError, EXIT_USAGE),
    (errors.StateError, EXIT_USAGE),
    (errors.ApprovalClosedError, EXIT_USAGE),
    (errors.TokenError, EXIT_USAGE),
    (errors.LedgerMovedError, EXIT_DIFFERENCES),
    (errors.PlanUndoneError, EXIT_USAGE),
    (errors.PeriodError, EXIT_USAGE),
    (errors.OlderSchemaError, EXIT_USAGE),
    (errors.NewerSchemaError, EXIT_USAGE),
    (errors.RefusedError, EXIT_REFUSED),
    (errors.JobRefusedError, EXIT_JOB_FAILED),
    # These three only query: no job was sent, so nothing is in doubt.
    (errors.LivePricesError, EXIT_OURS),
    (errors.NoAnswerError, EXIT_OURS),
    (errors.CallbackError, EXIT_OURS),
    (errors.ProviderError, EXIT_IN_DOUBT),
)

_COMMANDS: Final[Mapping[str, str]] = {
    "quote": "price a clip before you spend anything",
    "compare": "price one clip at every provider that makes it, cheapest first",
    "afford": "see what a budget buys: how many clips, the longest, the best",
    "plan": "estimate a storyboard with its takes and failures, or the cost of a change",
    "changes": "show what a change in a git repository adds, for a pull request or a commit",
    "prices": "list, show, check and pull the prices behind quotes",
    "wallet": "create, fund, buy credits for, adjust, show and remove wallets",
    "account": "show and name the accounts whose API keys jobs run on",
    "budget": "set, raise, remove and show limits over projects, providers, labels, ...",
    "token": "create, show and revoke the tokens that let callers spend through a gateway",
    "approval": "grant or deny the jobs that wait for a person",
    "check": "see whether a request would be admitted, and what would fit",
    "run": "quote, reserve, submit, poll, then commit or roll back one request",
    "batch": "run a whole manifest, many jobs at once and each one only once",
    "resume": "finish what a crash, a time-out or a lost reply left open",
    "mcp": "let agents quote, check and run within limits, over MCP",
    "gateway": "serve the providers' APIs on this machine and meter every job",
    "exec": "run any program and hold every job it starts to your limits",
    "callbacks": "receive the providers' callbacks and settle the jobs that ended",
    "reconcile": "compare the ledger with a provider's own record, and correct it",
    "reservation": "create, commit, roll back, refund and show reservations",
    "report": "report what was spent, and on what",
    "export": "export the ledger as Parquet files for DuckDB, polars and others",
    "close": "close a month, seal it, and list what is closed",
    "verify": "recompute every balance from the journal",
    "db": "back the database up, restore it, and bring it up to date",
    "config": "show every setting and where it comes from; edit your settings file",
    "doctor": "check the installation, the ledger and the keys, and say what to fix",
    "explain": "explain an error code and what to do about it",
    "completion": "print the script that completes commands in your shell",
    "hook": "check an agent's tool call before it runs; deny what would get around the limits",
    "sandbox": "serve the providers on this machine as a rehearsal: no clips, no cost",
    "demo": "see the whole idea in a few seconds, without a key or a network",
}


_LOOK_THEMSELVES: Final = ("config", "doctor")
"""Commands that run even when the settings file is invalid."""


class _Commands(click.Group):
    """Commands by name, each imported when it is called: `quote` starts without a database."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(f"kling_ledger.cli.{cmd_name}"), cmd_name)
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the requested command, with its defaults from the settings file."""
        name, command, rest = super().resolve_command(ctx, args)
        is_run = not (ctx.resilient_parsing or _asks_help(rest))
        if name is not None and command is not None and is_run:
            ctx.default_map = _defaults(name, command, ctx.params.get("config"))
        return name, command, rest

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name without importing all of them."""
        from click.shell_completion import CompletionItem

        named = [
            CompletionItem(name, help=said)
            for name, said in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*named, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _as_we_write_it(word: str) -> str:
    """Return an option, a choice or a command as we write them: `--max_cost` is `--max-cost`."""
    return word.lower().replace("_", "-").replace(" ", "-")


@click.group(
    cls=_Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": _as_we_write_it,
    },
)
@click.version_option(package_name="kling-ledger", message="%(version)s")
@click.option(
    "--config",
    metavar="FILE",
    help="Read your settings from this file. [env: KLING_LEDGER_CONFIG]",
)
def cli(config: str | None) -> None:
    """Know what a Kling clip costs, spend within a limit, see what was spent.

    \b
    Exit codes: 0 done, 1 internal error, 2 usage or bad input, 3 refused by wallet, budget or
    ceiling, 4 the job failed and its credits were rolled back, 5 in doubt and its credits stay
    reserved, 6 differences found, 7 no price known, 8 the job was charged but made no clip, 9 done
    and booked, but a clip could not be downloaded, 10 nothing was sent: the provider refused the
    API key or could not be reached, 130 stopped by Ctrl-C, 141 the reader of the output closed it.
    """


def _defaults(name: str, command: click.Command, file: str | None) -> dict[str, Any] | None:
    """Return a command's defaults from the settings file; the usual case, none, is quick."""
    from kling_ledger.settings_file import FILE_VARIABLE, settings_path

    if file is not None:
        # The library reads it too, and so do the programs that `exec` starts.
        os.environ[FILE_VARIABLE] = os.path.abspath(file)  # noqa: PTH100
    is_there = FILE_VARIABLE in os.environ or os.path.exists(settings_path())  # noqa: PTH110
    if not is_there or name in _LOOK_THEMSELVES:
        return None
    from kling_ledger.cli.defaults import defaults_of

    return defaults_of(name, command)


def _asks_help(words: list[str]) -> bool:
    own = words[: words.index("--")] if "--" in words else words
    return "-h" in own or "--help" in own


def main() -> NoReturn:
    """Run the command line and exit with the code of its outcome."""
    _open_what_is_closed()
    _let_waiting_be_told()
    stdout = sys.stdout
    try:
        code = _outcome()
        # Flush here, where an error can be reported: at interpreter exit it cannot.
        sys.stdout.flush()
    except BrokenPipeError:
        _end_of_pipe()
    except SystemExit:
        # click catches a broken pipe itself and replaces the stream.
        if sys.stdout is not stdout:
            _end_of_pipe()
        raise
    except OSError as error:
        code = _told_system(error)
    except KeyboardInterrupt:
        code = _EXIT_STOPPED
    sys.exit(code)


def _outcome() -> int:
    """Run the requested command, report what went wrong, and return the exit code."""
    try:
        outcome = cli.main(standalone_mode=False, prog_name="kling-ledger")
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_USAGE
    except click.ClickException as error:
        tell_usage(error)
        return error.exit_code
    except KlingError as error:
        tell_error(error, exit_code(error))
        return exit_code(error)
    except ModuleNotFoundError as error:
        return _told_missing(error)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return _EXIT_STOPPED
    return outcome if isinstance(outcome, int) else 0


def _told_missing(error: ModuleNotFoundError) -> int:
    """Report a missing library and return the exit code; re-raise for our own modules."""
    name = (error.name or "").partition(".")[0]
    if not name or name.startswith("kling_"):
        raise error
    message, hint = f"the library {name} is not installed", "pip install kling-ledger installs it"
    click.echo(f"error: {message}\nhint: {hint}", err=True)
    facts = {"code": "not_installed", "message": message, "hint": hint}
    tell_programs({**facts, "retryable": False, "exit_code": EXIT_OURS})
    return EXIT_OURS


def _told_system(error: OSError) -> int:
    """Report what the system refused, such as a full disk, and return the exit code."""
    with suppress(OSError):
        click.echo(f"error: {error}", err=True)
        facts = {"code": "os", "message": str(error), "hint": None}
        tell_programs({**facts, "retryable": False, "exit_code": EXIT_OURS})
        sys.stdout.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_OURS


def _let_waiting_be_told() -> None:
    """Print why nothing happens: the database is unreachable, or another process holds it."""
    told = logging.StreamHandler()
    told.setFormatter(logging.Formatter("note: %(message)s"))
    logging.getLogger("kling_ledger.database").addHandler(told)


def _open_what_is_closed() -> None:
    """Open closed standard streams on the null device.

    Otherwise the next file opened, such as the ledger's, would get the stream's number and
    everything that is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _end_of_pipe() -> NoReturn:
    """The reader of our output, such as `head`, has closed it: exit with the code for that."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(EXIT_PIPE)


def exit_code(error: KlingError) -> int:
    """Return the exit code of an error on the command line."""
    if isinstance(error, errors.JobRefusedError) and error.nothing_was_sent:
        return EXIT_NOT_SENT
    return exit_code_of(type(error))


def exit_code_of(kind: type[KlingError]) -> int:
    """Return the exit code of a class of errors; a single error may have its own."""
    return next((code for family, code in _EXIT_CODES if issubclass(kind, family)), EXIT_OURS)
