"""Revisions: the files that differ between two states of a git repository, with both contents.

A state is a revision, what is staged for the next commit, or the working tree. Files are selected
with git's own patterns, in which `**` stands for any folders.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kling_ledger.errors import ConfigError

_NOWHERE: Final = {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
"""Read-only: git takes no lock, and its output is in one language."""
_FILE: Final = "100"
"""How the mode of a file begins; those of links and submodules differ."""
_NONE: Final = "000000"


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that differs.

    A side that does not exist is None. `old_name` is its former name. Names are relative to the top
    of the repository.
    """

    name: str
    old_name: str
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True, slots=True)
class States:
    """Two states of the repository that a folder is in: a base, and what is compared with it.

    `base` is a tree. `head` is one too; None stands for what is staged, or for the working tree
    with its untracked files.
    """

    folder: Path
    top: Path
    base: str
    head: str | None
    is_staged: bool

    def changed(self, patterns: Sequence[str]) -> tuple[ChangedFile, ...]:
        """Return the differing files under the patterns, in the order of their names."""
        found = [*self._known(patterns), *self._unknown(patterns)]
        return tuple(sorted(found, key=lambda file: file.name))

    def _known(self, patterns: Sequence[str]) -> Iterator[ChangedFile]:
        against = ["--cached"] if self.is_staged else []
        trees = [self.base] if self.head is None else [self.base, self.head]
        words = ["diff", "--raw", "-z", "--no-abbrev", "--find-renames", *against, *trees]
        told = iter(_names(self._git(*words, "--", *_pathspecs(patterns))))
        for facts in told:
            old_mode, mode, old_blob, blob, status = facts.removeprefix(":").split(" ")
            old_name = next(told)
            name = next(told) if status[0] in "RC" else old_name
            before = None if old_mode == _NONE else self._side(old_name, old_mode, old_blob)
            after = None if mode == _NONE else self._side(name, mode, blob)
            yield ChangedFile(_shown(name), _shown(old_name), before, after)

    def _unknown(self, patterns: Sequence[str]) -> Iterator[ChangedFile]:
        if self.head is not None or self.is_staged:
            return
        words = ["ls-files", "--others", "--exclude-standard", "--full-name", "-z"]
        for name in _names(self._git(*words, "--", *_pathspecs(patterns))):
            yield ChangedFile(_shown(name), _shown(name), None, self._in_tree(name))

    def _side(self, name: str, mode: str, blob: str) -> bytes:
        if not mode.startswith(_FILE):
            raise ConfigError(f"{name}: a link or a submodule, not a file")
        # Git has no object yet for content that it has not seen: that of the working tree.
        if not blob.strip("0"):
            return self._in_tree(name)
        # As checked out: with line endings converted and large files fetched.
        return self._git("cat-file", "--filters", f"--path={name}", blob)

    def _in_tree(self, name: str) -> bytes:
        path = self.top / name
        if path.is_symlink():
            raise ConfigError(f"{name}: a link or a submodule, not a file")
        try:
            return path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{name}: {error.strerror}") from None

    def _git(self, *words: str) -> bytes:
        return _git(self.folder, *words)


def states_of(
    folder: Path, base: str, head: str | None = None, *, is_staged: bool = False
) -> States:
    """Find two states; ConfigError if git, the repository or a revision is missing."""
    top = _git(folder, "rev-parse", "--show-toplevel").decode(errors="surrogateescape")
    trees = [None if one is None else _tree(folder, one) for one in (base, head)]
    if trees[0] is None:
        raise AssertionError("a base is always a tree")
    return States(folder, Path(top.removesuffix("\n")), trees[0], trees[1], is_staged)


def _tree(folder: Path, revision: str) -> str:
    words = ("rev-parse", "--verify", "--end-of-options", f"{revision}^{{tree}}")
    try:
        return _git(folder, *words).decode().strip()
    except ConfigError:
        if revision == "HEAD" and not _git(folder, "rev-list", "--all", "--max-count=1"):
            # Before the first commit: the empty tree, which git always has.
            return _git(folder, "hash-object", "-t", "tree", os.devnull).decode().strip()
        hint = "in a shallow clone, fetch it first: git fetch --depth=1 origin REVISION"
        raise ConfigError(f"no such revision: {revision}", hint=hint) from None


def _git(folder: Path, *words: str) -> bytes:
    environment = {**os.environ, **_NOWHERE}
    try:
        done = subprocess.run(  # noqa: S603 - git itself, with words of ours and checked trees
            ["git", *words],  # noqa: S607 - whichever git is on the path
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise ConfigError(f"git cannot be run: {error.strerror}") from None
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise ConfigError(f"git {words[0]}: {told[-1].removeprefix('fatal: ')}")
    return done.stdout


def _pathspecs(patterns: Sequence[str]) -> list[str]:
    return [f":(glob){pattern}" for pattern in patterns]


def _names(told: bytes) -> list[str]:
    """Split git's zero-separated output; a name may contain any other bytes."""
    return os.fsdecode(told).split("\0")[:-1]


def _shown(name: str) -> str:
    """Write a name so that it can be printed, whatever its bytes."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")
