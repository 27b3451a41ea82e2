"""Files: opens a file of rows, tells its kind, and writes files that appear whole."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Final, Literal

from kling_ledger.errors import ConfigError

Kind = Literal["csv", "jsonl", "json", "parquet"]

SUFFIXES: Final[dict[str, Kind]] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
}
"""The kinds of file that can be read and written, by extension."""

STDIN: Final = "-"
"""The name of standard input."""

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_SNIFFED: Final = 4096


def kind_by_name(name: str) -> Kind:
    """Return the kind that a file's extension stands for; ConfigError for an unknown extension."""
    suffix = Path(name).suffix
    try:
        return SUFFIXES[suffix.lower()]
    except KeyError:
        allowed = "allowed: .csv, .jsonl, .json or .parquet"
        raise ConfigError(f"{name}: got {suffix}, {allowed}") from None


def kind_by_content(file: IO[bytes], *, suffix: str = "") -> Kind:
    """Return a file's kind from its first character, or else from `suffix`.

    `.jsonl` is always read line by line, so that a line that is not an object is reported by its
    number.
    """
    promised = SUFFIXES.get(suffix.lower(), "csv")
    start = file.read(_SNIFFED)
    file.seek(0)
    if promised == "jsonl":
        return promised
    if start.startswith(b"PAR1"):
        return "parquet"
    first = start.removeprefix(BYTE_ORDER_MARK).lstrip()[:1]
    found: dict[bytes, Kind] = {b"{": "jsonl", b"[": "json"}
    return found.get(first, promised)


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """Open a file, or standard input for `-`; ConfigError says why it cannot be.

    A stream that cannot be rewound, such as a pipe, is copied to disk first: rows may be read
    twice.
    """
    with _bytes_of(name) as file:
        if name != STDIN and file.seekable():
            yield file
            return
        with tempfile.TemporaryFile() as copy:
            while block := file.read(1 << 20):
                copy.write(block)
            copy.seek(0)
            yield copy


def _bytes_of(name: str) -> AbstractContextManager[IO[bytes]]:
    if name == STDIN:
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from None


@contextmanager
def whole_file(path: Path, *, is_private: bool = False) -> Iterator[Path]:
    """Yield a file beside `path` to write; it replaces `path` once the block is done.

    A reader finds either the old file or the whole new one; if the block raises, the old one stays.
    A private file can be read only by its owner. A link is replaced, never its target. Raises
    ConfigError if the file cannot be written, and for anything but a file or a link: a rename in
    /dev would replace the device.
    """
    if path.exists() and not (path.is_symlink() or path.is_file()):
        raise ConfigError(f"{path} is not a file and is not replaced")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(descriptor)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    beside = Path(name)
    try:
        yield beside
        if not is_private:
            # A temporary file is for its owner only; this one gets the usual permissions.
            beside.chmod(0o666 & ~_umask())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path, *, keeps: bool = False) -> Iterator[Path]:
    """Yield a folder beside `folder` to fill; it takes its place once the block is done.

    An existing folder must be empty, unless it `keeps` its files: then those with the same names
    are replaced, each in one step. If the block raises, nothing changes.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    is_kept = keeps and folder.exists()
    # On the same disk, because a rename is one step only there.
    place = folder if is_kept else folder.parent
    with tempfile.TemporaryDirectory(dir=place, prefix=f".{folder.name}-") as found:
        made = Path(found) / "made"
        made.mkdir()
        yield made
        if is_kept:
            for file in sorted(made.iterdir()):
                file.replace(folder / file.name)
            return
        if folder.exists():
            folder.rmdir()
        made.rename(folder)


def _umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
