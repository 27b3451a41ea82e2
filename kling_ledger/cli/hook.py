"""`kling-ledger hook`: check an agent's tool call before it runs, or install the hook."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from kling_ledger.cli.inputs import Wait
from kling_ledger.cli.output import say

if TYPE_CHECKING:
    from kling_ledger.agents.hooks.costs import AskAbove
    from kling_ledger.agents.hooks.dialects import Dialect
    from kling_ledger.agents.hooks.verdicts import Verdict

_AGENTS: Final = ("claude-code", "hermes", "openclaw")
_LONGEST: Final = 4 * 1024 * 1024
_UNDER_EXEC: Final = "klr_"
"""The prefix of the token that a program under `exec` gets instead of a provider's key."""
_SPENDING: Final = ("run", "batch")
_OF_A_PERSON: Final = frozenset(
    (
        *("wallet create", "wallet fund", "wallet purchase", "wallet adjust"),
        *("budget set", "budget raise", "budget remove", "token create", "token revoke"),
        *("approval grant", "approval deny", "account adopt", "db restore", "db slots"),
        *("reservation commit", "reservation rollback", "reservation refund"),
        *("reservation correct", "reservation resolve", "config set", "config unset"),
    )
)
"""Commands for the person responsible for the money, never for an agent."""
_HELP: Final = frozenset(("-h", "--help"))
_CLIP: Final = ("model", "prompt", "image_url", "seconds", "resolution", "sound")


@click.command()
@click.argument("name", type=click.Choice(_AGENTS))
@click.option(
    "--ask-above",
    metavar="AMOUNT",
    help="Ask a person before a kling-ledger command that would reserve more than this, such "
    'as "1 USD".',
)
@click.option("--gateway", metavar="URL", help="The gateway's address, to mention in the answers.")
@click.option(
    "--timeout",
    "timeout_s",
    default=8.0,
    show_default=True,
    type=Wait(min=0, min_open=True),
    help="Deny a call if checking it takes longer than this.",
)
@click.option(
    "--show",
    "--install",
    "show",
    is_flag=True,
    help="Only print what to paste into the agent's settings.",
)
@click.option(
    "--write",
    "place",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Write the hook to Claude Code's settings file, keeping other entries, or to a "
    "plugin's folder.",
)
def hook(
    name: str,
    ask_above: str | None,
    gateway: str | None,
    timeout_s: float,
    place: Path | None,
    *,
    show: bool,
) -> int | None:
    """Check the tool call that an agent sends on standard input, before it runs.

    \b
    A command that would send a job to RunAPI, Crun, EvoLink or UniAll without the gateway,
    `kling-ledger run` or `kling-ledger exec` is denied; the answer says what to do instead. A
    person is asked before a kling-ledger command above --ask-above, and before one that changes a
    limit, such as `wallet fund` or `approval grant`. Everything else is allowed. Any error
    denies.

    The hook prevents accidents, not deliberate evasion: it can miss a hidden address, and does not
    read makefiles, package scripts, aliases or imported modules. For a hard limit, keep the
    provider's key from the agent (gateway tokens), or run the agent under `kling-ledger exec`.

    \b
    kling-ledger hook claude-code --show --ask-above "1 USD"
    kling-ledger hook claude-code --write .claude/settings.json
    """
    if show or place is not None:
        words = _installed_words(name, ask_above, gateway)
        _shown(name, words) if place is None else _written(name, words, place)
        return None
    from kling_ledger.agents.hooks.dialects import DIALECTS

    answering = _Answering(DIALECTS[name])
    # A daemon thread: the interpreter exits without waiting for it.
    timer = threading.Timer(timeout_s, answering.give_up, [timeout_s])
    timer.daemon = True
    timer.start()
    try:
        return answering.answer(lambda: _judged(answering, ask_above, gateway))
    finally:
        timer.cancel()


@dataclass
class _Answering:
    """Answers an agent exactly once: from the check or from its timer, whichever is first."""

    dialect: Dialect
    told: dict[str, Any] = field(default_factory=dict)
    is_answered: bool = False
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, judged: Callable[[], Verdict]) -> int:
        """Print the answer and return the exit code; a call without a verdict is denied."""
        from kling_ledger.agents.hooks.verdicts import broken
        from kling_pricing.errors import KlingError

        try:
            verdict, code = judged(), 0
        except KlingError as error:
            verdict, code = broken(error.message), self.dialect.blocking_code
        except Exception as error:  # noqa: BLE001 - whatever it is, the call must not run
            problem = f"{type(error).__name__}: {error}"
            verdict, code = broken(problem), self.dialect.blocking_code
        with self._turn:
            self.is_answered = True
            self._say(verdict, code)
        return code

    def give_up(self, timeout_s: float) -> None:
        """Deny a call whose check takes too long, and end this process."""
        from kling_ledger.agents.hooks.verdicts import broken

        with self._turn:
            if self.is_answered:
                return
            self._say(broken(f"it took longer than {timeout_s:g} s"), self.dialect.blocking_code)
            sys.stdout.flush()
            os._exit(self.dialect.blocking_code)

    def _say(self, verdict: Verdict, code: int) -> None:
        said = self.dialect.answer(verdict, self.told)
        if said is not None:
            click.echo(json.dumps(said))
        if code:
            say(verdict.reason)


def _judged(answering: _Answering, ask_above: str | None, gateway: str | None) -> Verdict:
    from kling_ledger.agents.hooks.calls import CallError
    from kling_ledger.agents.hooks.costs import AskAbove
    from kling_ledger.agents.hooks.dialects import read_call
    from kling_ledger.agents.hooks.judging import Rules, judge
    from kling_pricing.library import at_hand
    from kling_pricing.money import USD, Money

    told = sys.stdin.buffer.read(_LONGEST + 1)
    if len(told) > _LONGEST:
        raise CallError(f"the call is longer than {_LONGEST:,} bytes")
    most = None if ask_above is None else Money.parse(ask_above, default_unit=USD)
    costs = AskAbove(most, at_hand(), datetime.now(UTC))
    call, answering.told = read_call(told)
    rules = Rules(
        of_run=lambda words, folder: _of_run(costs, words, folder),
        of_tool=lambda tool, arguments: _of_tool(costs, tool, arguments),
        gateway=gateway,
        is_under_exec=any(value.startswith(_UNDER_EXEC) for value in os.environ.values()),
    )
    return judge(call, rules)


def _of_run(costs: AskAbove, words: Sequence[str], folder: Path) -> Verdict:
    """Check a kling-ledger command by the most that it would reserve."""
    from kling_ledger.agents.hooks.programs import OURS
    from kling_ledger.agents.hooks.verdicts import LEAVE, ask

    if not _HELP.isdisjoint(words):
        return LEAVE
    called = _called(words)
    path = called.command_path.removeprefix(f"{OURS} ")
    if path in _OF_A_PERSON:
        return ask(f"{OURS} {path} is for the person responsible for the money")
    if costs.most is None or path not in _SPENDING:
        return LEAVE
    with chdir(folder), called:
        called.command.parse_args(called, called.args)
        given = called.params
        by_ceiling = costs.of_ceiling(given.get("max_cost") or given.get("max_total"))
        if by_ceiling is not None:
            return by_ceiling
        if path == "batch":
            return ask(f"a batch may cost more than {costs.most}: limit it with --max-total")
        return _of_request(costs, given, given["request_file"])


def _called(words: Sequence[str]) -> click.Context:
    """Return the context of the command that these words call; its `args` are not parsed yet.

    The words are read as our command line does, which forgives spellings and options before a name.
    """
    from kling_ledger.agents.hooks.programs import OURS
    from kling_ledger.cli import cli

    context = _unparsed(cli, OURS, words)
    while isinstance(group := context.command, click.Group):
        _, rest, _ = group.make_parser(context).parse_args(context.args)
        command = group.resolve_command(context, rest)[1] if rest else None
        if command is None:
            break
        context = _unparsed(command, command.name, rest[1:], context)
    return context


def _unparsed(
    command: click.Command,
    name: str | None,
    words: Sequence[str],
    parent: click.Context | None = None,
) -> click.Context:
    context = click.Context(
        command, parent, name, resilient_parsing=True, **command.context_settings
    )
    context.args = list(words)
    return context


def _of_request(costs: AskAbove, given: Mapping[str, Any], file: BinaryIO | None) -> Verdict:
    """Check a request, from the options of `run` or the arguments of our MCP server."""
    from kling_ledger.agents.hooks.verdicts import ask
    from kling_ledger.cli.request_options import read_body
    from kling_ledger.jobs.saved_quotes import load_quote
    from kling_pricing.errors import KlingError

    clip = {**{name: given.get(name) for name in _CLIP}, "strict": False}
    provider = str(given.get("provider"))
    try:
        saved = load_quote(given["quote_id"]) if given.get("quote_id") else None
        body, action = read_body(provider, file, given.get("action"), clip, saved)
    except (KlingError, click.ClickException) as error:
        return ask(f"the cost of this job is unknown before it runs: {error}")
    return costs.of_body(provider, body, action)


def _of_tool(costs: AskAbove, tool: str, arguments: Mapping[str, Any]) -> Verdict:
    """Check a call of our MCP server by the most that it would reserve."""
    from kling_ledger.agents.hooks.verdicts import LEAVE

    if tool != "run":
        return LEAVE
    by_ceiling = costs.of_ceiling(arguments.get("max_cost"))
    if by_ceiling is not None:
        return by_ceiling
    body = arguments.get("body")
    file = None if body is None else BytesIO(json.dumps(body).encode())
    return _of_request(costs, arguments, file)


def _installed_words(name: str, ask_above: str | None, gateway: str | None) -> list[str]:
    """Return the hook's command with its full path: an agent has its own PATH."""
    program = shutil.which("kling-ledger") or shutil.which(sys.argv[0]) or "kling-ledger"
    words = [str(Path(program).absolute()), "hook", name]
    given = {"--ask-above": ask_above, "--gateway": gateway}
    return [*words, *(word for flag, value in given.items() if value for word in (flag, value))]


def _shown(name: str, words: Sequence[str]) -> None:
    from kling_ledger.agents.hooks.installing import STEPS, claude_code_entry, plugin_files

    if name == "claude-code":
        click.echo(json.dumps({"hooks": {"PreToolUse": [claude_code_entry(words)]}}, indent=2))
    else:
        for file, text in plugin_files(name, words).items():
            click.echo(f"== {file}\n{text}")
    say(STEPS[name])


def _written(name: str, words: Sequence[str], place: Path) -> None:
    from kling_ledger.agents.hooks.installing import STEPS, write

    for file in write(name, words, place.expanduser()):
        click.echo(f"wrote {file}")
    say(STEPS[name].partition("\n")[2])
