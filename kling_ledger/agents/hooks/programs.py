"""Programs: what is known of those that a command line may start."""

from __future__ import annotations

from typing import Final

OURS: Final = "kling-ledger"
SHELLS: Final = frozenset(("sh", "bash", "zsh", "dash", "ksh"))

_READING: Final = """
    grep egrep fgrep rg ag cat bat less more head tail wc echo printf ls cd pwd git gh jq yq cut
    sort uniq diff tee touch mkdir cp mv rm chmod stat file find which type man true false test [ [[
    pip tree export set unset alias history nl od hexdump strings tr fold column code open sed awk
    ed patch apply_patch psql sqlite3
"""
READS: Final = frozenset(_READING.split())
"""Programs that do not call the addresses in their arguments: writing or searching for one starts
no job."""

_NONE: Final[frozenset[str]] = frozenset()
_OF_PYTHONS: Final = frozenset(
    (
        *("--with", "--with-editable", "--with-requirements", "--python", "-p", "--extra"),
        *("--group", "--env-file", "--project", "--directory", "--package", "--index"),
    )
)
PREFIXES: Final = {
    **dict.fromkeys(("time", "nohup", "command", "exec", "setsid", "caffeinate"), _NONE),
    **dict.fromkeys(("npx", "bunx", "pnpm", "yarn"), frozenset(("-p", "--package"))),
    **dict.fromkeys(("sudo", "doas"), frozenset(("-u", "-g", "-C", "-D"))),
    "env": frozenset(("-u", "-C")),
    "nice": frozenset(("-n",)),
    "ionice": frozenset(("-c", "-n", "-p")),
    "parallel": frozenset(("-j", "-n", "-a")),
    "stdbuf": frozenset(("-i", "-o", "-e")),
    "timeout": frozenset(("-s", "-k")),
    "watch": frozenset(("-n",)),
    "xargs": frozenset(("-n", "-I", "-P", "-L", "-a", "-d")),
    "uvx": _OF_PYTHONS,
}
"""Programs that start the one after them, each with its options that have a value of their own."""

RUNNERS: Final = {
    **dict.fromkeys(("poetry", "pipenv", "hatch", "rye", "dotenv", "doppler", "coverage"), _NONE),
    **dict.fromkeys(("uv", "pdm"), _OF_PYTHONS),
    "conda": frozenset(("-n", "-p")),
}
"""The same, if the word `run` follows."""

EXEC: Final = frozenset(("-exec", "-execdir", "-ok", "-okdir"))
"""The words after which `find` starts a program."""


def program(word: str) -> str:
    """Return a program's name, without the folder and the ending that a call may give it."""
    return word.rpartition("/")[2].removesuffix(".exe")
