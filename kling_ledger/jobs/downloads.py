"""Downloads: fetch the clips of a job to a folder, each whole or not at all.

A clip is a few megabytes. It is fetched into a temporary file beside its final name, synced to the
disk, and only then renamed; a failure leaves nothing behind. Links are opened without any key of
ours.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Final

import httpx

from kling_ledger.errors import DownloadError, FolderError, LinkExpiredError
from kling_ledger.providers.attempts import Attempts
from kling_ledger.providers.base import Pacing
from kling_ledger.providers.surroundings import naming_the_variable

LARGEST_CLIP: Final = 16 * 1024**3
"""The most bytes taken for one clip: a server that never stops must not fill a disk."""

_REDIRECTS: Final = 5
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_EXPIRED: Final = frozenset({401, 403, 404, 410})
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_NO_CLIP: Final = ("text/", "application/json", "application/xml")
_SUFFIX_OF: Final = {
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "video/x-m4v": ".m4v",
}
_USUAL_SUFFIX: Final = ".mp4"
"""What Kling makes, if neither the link nor the server says."""


class _AgainError(Exception):
    """An attempt that failed; the next one may succeed."""

    def __init__(self, problem: str, *, after_s: float = 0.0) -> None:
        super().__init__(problem)
        self.problem = problem
        self.after_s = after_s


def download(
    videos: Sequence[str],
    folder: Path,
    *,
    name: str,
    timeout_s: float = 60.0,
    expire_at: datetime | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> list[Path]:
    """Fetch clips to `NAME-1.mp4`, `NAME-2.mp4`, ... in a folder, and return the files.

    An existing file is not fetched again. `timeout_s` is the longest wait for an answer or for more
    bytes, not for the whole clip. If a link fails, the others are still fetched, and then the first
    error is raised. Raises LinkExpiredError for a link that no longer works (`expire_at` is what
    was promised), FolderError if nothing can be written, and DownloadError for anything else,
    `retryable` if another call may succeed.
    """
    if not _NAME.fullmatch(name):
        allowed = "1 to 100 letters, digits, - and _"
        raise DownloadError(repr(name), "cannot be the name of a file", hint=f"use {allowed}")
    files: list[Path] = []
    failures: list[DownloadError] = []
    with _client(timeout_s) as client:
        for number, link in enumerate(videos, 1):
            fetch = _Fetch(client, link, name, expire_at, Pacing(sleep=sleep))
            try:
                files.append(fetch.to(folder, f"{name}-{number}"))
            except DownloadError as error:
                failures.append(error)
    if failures:
        raise failures[0]
    return files


def _client(timeout_s: float) -> httpx.Client:
    with naming_the_variable():
        return httpx.Client(
            timeout=timeout_s,
            follow_redirects=True,
            max_redirects=_REDIRECTS,
            # The length of a clip that is compressed on the way could not be checked.
            headers={"Accept": "video/*, */*;q=0.5", "Accept-Encoding": "identity"},
        )


@dataclass(frozen=True, slots=True)
class _Fetch:
    """One link, fetched until its clip is whole or another try is pointless."""

    client: httpx.Client
    link: str
    name: str
    expire_at: datetime | None
    pacing: Pacing

    def to(self, folder: Path, stem: str) -> Path:
        """Return the file of the clip; fetch it unless it exists."""
        there = _finished(folder, stem)
        if there is not None:
            return there
        attempts = Attempts(self.pacing)
        while True:
            try:
                return self._attempt(folder, stem)
            except _AgainError as failure:
                if not attempts.pause(failure.after_s):
                    raise self._failed(failure.problem, retryable=True) from None

    def _attempt(self, folder: Path, stem: str) -> Path:
        """Fetch the clip once; _AgainError if the next attempt may succeed."""
        try:
            with self.client.stream("GET", self.link) as reply, _scratch(folder) as file:
                self._judge(reply)
                self._copy(reply, file)
                return _named(file, folder / f"{stem}{_suffix(self._shown, reply)}")
        except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise self._failed(f"cannot be fetched: {error}") from None
        except httpx.TimeoutException:
            raise _AgainError("no answer in time") from None
        except httpx.HTTPError as error:
            raise _AgainError(f"{type(error).__name__}: {error}") from None

    def _judge(self, reply: httpx.Response) -> None:
        """Raise for an answer without a clip: _AgainError if it may pass, or DownloadError."""
        status = reply.status_code
        if status in _EXPIRED:
            raise LinkExpiredError(
                self._shown, status=status, name=self.name, expired_at=self.expire_at
            )
        if status in _PASSING:
            raise _AgainError(f"HTTP {status}", after_s=_asked_pause_s(reply))
        if status != httpx.codes.OK:
            raise self._failed(f"answers HTTP {status}")
        kind = _kind(reply)
        if kind.startswith(_NO_CLIP):
            raise self._failed(f"returns {kind} instead of a clip")
        if reply.headers.get("Content-Encoding", "identity") != "identity":
            raise self._failed("sends an unrequested compressed file")

    def _copy(self, reply: httpx.Response, file: IO[bytes]) -> None:
        size = 0
        for chunk in reply.iter_raw():
            size += file.write(chunk)
            if size > LARGEST_CLIP:
                raise self._failed(f"sends more than {LARGEST_CLIP} bytes, too many for a clip")
        length = reply.headers.get("Content-Length", "")
        # Without a length, the end of the answer is the end of the clip; an empty answer is no
        # clip.
        if size == 0 or (length.isdigit() and int(length) != size):
            raise _AgainError(f"{size} bytes arrived, less than the whole clip")

    def _failed(self, problem: str, *, retryable: bool = False) -> DownloadError:
        hint = "run it again later" if retryable else None
        return DownloadError(self._shown, problem, hint=hint, retryable=retryable)

    @property
    def _shown(self) -> str:
        """The link without its query, user name and password, which may be secrets."""
        try:
            url = httpx.URL(self.link)
        except httpx.InvalidURL:
            return "an invalid link"
        port = f":{url.port}" if url.port else ""
        return f"{url.scheme}://{url.host}{port}{url.path}"


@contextmanager
def _scratch(folder: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file in a folder; it is removed afterwards unless it was renamed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Its own name: two downloads of one clip at once must not write into each other.
        path = folder / f".{secrets.token_hex(8)}.part"
        with path.open("xb") as file:
            try:
                yield file
            finally:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise FolderError(folder, error.strerror or str(error)) from None


def _named(file: IO[bytes], final: Path) -> Path:
    """Rename a clip to its final name, once all of it is on the disk."""
    file.flush()
    os.fsync(file.fileno())
    # Windows cannot rename an open file.
    file.close()
    return Path(file.name).replace(final)


def _finished(folder: Path, stem: str) -> Path | None:
    candidates = (folder / f"{stem}{suffix}" for suffix in _SUFFIX_OF.values())
    try:
        return next((file for file in candidates if file.is_file()), None)
    except OSError as error:
        raise FolderError(folder, error.strerror or str(error)) from None


def _suffix(link: str, reply: httpx.Response) -> str:
    suffix = PurePosixPath(link).suffix.lower()
    return suffix if suffix in _SUFFIX_OF.values() else _SUFFIX_OF.get(_kind(reply), _USUAL_SUFFIX)


def _kind(reply: httpx.Response) -> str:
    content_type: str = reply.headers.get("Content-Type", "")
    return content_type.partition(";")[0].strip().lower()


def _asked_pause_s(reply: httpx.Response) -> float:
    asked = reply.headers.get("Retry-After", "")
    return float(asked) if asked.isascii() and asked.isdigit() else 0.0
