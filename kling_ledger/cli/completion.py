"""`kling-ledger completion`: the script that lets a shell complete our commands and options."""

from __future__ import annotations

from typing import Final

import click

_VARIABLE: Final = "_KLING_LEDGER_COMPLETE"
"""The variable that the script sets when it calls us: click derives it from our name."""

_SHELLS: Final = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for SHELL: commands, options and their values.

    \b
    bash: kling-ledger completion bash > ~/.local/share/bash-completion/completions/kling-ledger
    zsh:  kling-ledger completion zsh > ~/.zfunc/_kling-ledger     # a folder in your fpath
    fish: kling-ledger completion fish > ~/.config/fish/completions/kling-ledger.fish

    For the current session only, in bash or zsh: eval "$(kling-ledger completion bash)"
    """
    from click.shell_completion import get_completion_class

    from kling_ledger.cli import cli

    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click knows the three
    script = found(cli, {}, "kling-ledger", _VARIABLE)
    # Not `source()`: it checks the version of the bash found here, which need not be yours.
    click.echo(script.source_template % script.source_vars())
