"""Downloads: the clips of a job brought to a folder, each whole or not at all, each once.

What has come of a clip stands in `NAME-1.part` and is continued where the server says that it is
still the same clip; the file gets its name when it is complete and on the disk. Links are followed
as anybody would follow them: no key of ours is ever sent.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import count
from pathlib import Path, PurePosixPath
from types import NoneType
from typing import IO, Final

import httpx

from kling_ledger.errors import DownloadError, FolderError, LinkExpiredError

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

_CAN_LOCK: Final[bool] = fcntl is not None

ATTEMPTS: Final = 5
"""How often in a row a link is tried without a byte more than before."""

MOST_ATTEMPTS: Final = 50
"""How often a link is tried at all: a server may send a little more each time, and cut."""

LONGEST_PAUSE_S: Final = 30.0
"""The longest that a download waits by itself; a server that asks for more ends it."""

LARGEST_CLIP: Final = 16 * 1024**3
"""The most bytes that are taken for one clip: a server that never stops shall not fill a disk."""

_FIRST_PAUSE_S: Final = 0.5
_REDIRECTS: Final = 5
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+)")
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
"""What Kling makes, where neither the link nor the server says."""


class _AgainError(Exception):
    """An attempt that failed and says nothing of the next one."""

    def __init__(self, problem: str, *, after_s: float = 0.0) -> None:
        super().__init__(problem)
        self.problem = problem
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class _Origin:
    """What a part was fetched from: enough to ask whether it is still the same clip.

    `link` is without its query, which a provider signs anew; `validator` None means that the
    server gave no way to tell two versions apart.
    """

    link: str
    suffix: str
    validator: str | None
    length: int | None


def download(
    videos: Sequence[str],
    folder: Path,
    *,
    name: str,
    timeout_s: float = 60.0,
    expire_at: datetime | None = None,
    sleep: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> list[Path]:
    """Fetch clips to `NAME-1.mp4`, `NAME-2.mp4`, ... in a folder, and return the files.

    A file that is there is never fetched again. `timeout_s` is the longest wait for an answer or
    for more bytes, not for the whole. A link that fails does not keep the others from being
    fetched; the first error is raised after them. Raises LinkExpiredError for a link that leads
    nowhere any more (`expire_at` is what was promised), FolderError where nothing can be written,
    and DownloadError for anything else, `retryable` where another call may continue.
    """
    stems = _stems(name, len(videos))
    with _disk_errors_told(folder):
        there = [file for stem in stems if (file := _finished(folder, stem)) is not None]
        if len(there) == len(stems):
            return there
        folder.mkdir(parents=True, exist_ok=True)
        with _client(timeout_s) as client:
            fetchings = (_Fetching(client, link, name, expire_at, sleep, chance) for link in videos)
            return _all_fetched(fetchings, folder, stems)


def _all_fetched(fetchings: Iterable[_Fetching], folder: Path, stems: Sequence[str]) -> list[Path]:
    files: list[Path] = []
    failures: list[DownloadError] = []
    for fetching, stem in zip(fetchings, stems, strict=True):
        try:
            files.append(fetching.to(folder, stem))
        except DownloadError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return files


def _stems(name: str, count: int) -> list[str]:
    if not _NAME.fullmatch(name):
        allowed = "1 to 100 letters, digits, - and _"
        raise DownloadError(repr(name), "cannot be the name of a file", hint=f"use {allowed}")
    return [f"{name}-{number}" for number in range(1, count + 1)]


def _client(timeout_s: float) -> httpx.Client:
    return httpx.Client(
        timeout=timeout_s,
        follow_redirects=True,
        max_redirects=_REDIRECTS,
        # What is compressed on the way could not be counted, nor continued.
        headers={"Accept": "video/*, */*;q=0.5", "Accept-Encoding": "identity"},
    )


@contextmanager
def _disk_errors_told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FolderError(folder, error.strerror or str(error)) from None


# --- one link ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fetching:
    """One link that is fetched until its clip is whole, or until trying again is no use."""

    client: httpx.Client
    link: str
    name: str
    expire_at: datetime | None
    sleep: Callable[[float], None]
    chance: Callable[[], float]

    def to(self, folder: Path, stem: str) -> Path:
        """Return the file of the clip; fetch it unless it is there."""
        there = _finished(folder, stem)
        if there is not None:
            return there
        with _opened(folder, stem) as part:
            # Whoever held the part before may have finished it meanwhile.
            there = _finished(folder, stem)
            if there is not None:
                return there
            if part.origin is None or part.origin.link != self._shown:
                part.forget()
            self._fill(part)
            return part.finish()

    def _fill(self, part: _Part) -> None:
        most, fruitless = part.size, 0
        for attempt in count(1):
            failure = None if part.is_whole else self._tried(part)
            if failure is None:
                return
            fruitless = 0 if part.size > most else fruitless + 1
            most = max(most, part.size)
            is_enough = fruitless >= ATTEMPTS or attempt >= MOST_ATTEMPTS
            if is_enough or failure.after_s > LONGEST_PAUSE_S:
                raise self._failed(failure.problem, retryable=True)
            self._pause(fruitless, failure.after_s)

    def _tried(self, part: _Part) -> _AgainError | None:
        try:
            self._attempt(part)
        except _AgainError as failure:
            return failure
        return None

    def _pause(self, fruitless: int, after_s: float) -> None:
        jittered_s = _FIRST_PAUSE_S * 2**fruitless * (0.75 + self.chance() / 2)
        self.sleep(min(LONGEST_PAUSE_S, max(after_s, jittered_s)))

    def _attempt(self, part: _Part) -> None:
        """Ask once for what is missing; _AgainError where the next attempt may do better."""
        try:
            with self.client.stream("GET", self.link, headers=part.wanted()) as reply:
                self._receive(part, reply)
        except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise self._failed(f"leads nowhere that can be followed: {error}") from None
        except httpx.TimeoutException:
            raise _AgainError("no answer in time") from None
        except httpx.HTTPError as error:
            raise _AgainError(f"{type(error).__name__}: {error}") from None

    def _receive(self, part: _Part, reply: httpx.Response) -> None:
        self._judge(part, reply)
        if reply.status_code == httpx.codes.PARTIAL_CONTENT:
            self._continue(part, reply)
        else:
            part.begin(_origin(self._shown, reply))
        # As they come: chunks of one size would lose what came before a cut.
        for chunk in reply.iter_raw():
            part.add(chunk)
            if part.size > LARGEST_CLIP:
                part.forget()
                raise self._failed(f"sends more than {LARGEST_CLIP} bytes: that is no clip")
        if not part.is_complete:
            raise _AgainError(f"{part.size} bytes came, and that is not the whole clip")

    def _judge(self, part: _Part, reply: httpx.Response) -> None:
        """Tell an answer that brings no clip: for now, or for good."""
        status = reply.status_code
        if status in _EXPIRED:
            raise LinkExpiredError(
                self._shown, status=status, name=self.name, expired_at=self.expire_at
            )
        if status in _PASSING:
            raise _AgainError(f"HTTP {status}", after_s=_asked_pause_s(reply))
        if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.forget()
            raise _AgainError("the clip is no longer as long as it was")
        if status not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
            raise self._failed(f"answers HTTP {status}")
        kind = _kind(reply)
        if kind.startswith(_NO_CLIP):
            raise self._failed(f"leads to {kind}, which is no clip")
        if reply.headers.get("Content-Encoding", "identity") != "identity":
            raise self._failed("sends a compressed file, which was not asked for")

    def _continue(self, part: _Part, reply: httpx.Response) -> None:
        """Tell where the answer is not the rest of what is there."""
        said = _CONTENT_RANGE.fullmatch(reply.headers.get("Content-Range", ""))
        is_rest = said is not None and int(said[1]) == part.size and part.is_of(reply, int(said[2]))
        if not is_rest:
            part.forget()
            raise _AgainError("the server went on with another clip")

    def _failed(self, problem: str, *, retryable: bool = False) -> DownloadError:
        hint = "run it again: what is there is continued" if retryable else None
        return DownloadError(self._shown, problem, hint=hint, retryable=retryable)

    @property
    def _shown(self) -> str:
        """The link without what may open it for anybody: its query, and a name and password."""
        try:
            url = httpx.URL(self.link)
        except httpx.InvalidURL:
            return "a link that is no address"
        port = f":{url.port}" if url.port else ""
        return f"{url.scheme}://{url.host}{port}{url.path}"


def _origin(link: str, reply: httpx.Response) -> _Origin:
    length = reply.headers.get("Content-Length", "")
    return _Origin(
        link, _suffix(link, reply), _validator(reply), int(length) if length.isdigit() else None
    )


def _suffix(link: str, reply: httpx.Response) -> str:
    suffix = PurePosixPath(link).suffix.lower()
    return suffix if suffix in _SUFFIX_OF.values() else _SUFFIX_OF.get(_kind(reply), _USUAL_SUFFIX)


def _kind(reply: httpx.Response) -> str:
    content_type: str = reply.headers.get("Content-Type", "")
    return content_type.partition(";")[0].strip().lower()


def _validator(reply: httpx.Response) -> str | None:
    """Return what tells this version from any other, byte by byte; None where nothing does.

    Source: RFC 9110, sections 8.8.2.2 and 13.1.5: a weak ETag does not, nor a date of which the
    same second may have seen two versions.
    """
    etag: str = reply.headers.get("ETag", "")
    if etag:
        return etag if etag.startswith('"') else None
    modified: str = reply.headers.get("Last-Modified", "")
    try:
        age = parsedate_to_datetime(reply.headers["Date"]) - parsedate_to_datetime(modified)
    except (KeyError, TypeError, ValueError):
        return None
    return modified if age >= timedelta(seconds=1) else None


def _asked_pause_s(reply: httpx.Response) -> float:
    asked = reply.headers.get("Retry-After", "")
    return float(asked) if asked.isascii() and asked.isdigit() else 0.0


# --- one file ---------------------------------------------------------------------------------


class _Part:
    """What has come of a clip: a file that only one download at a time holds, and its origin."""

    def __init__(self, file: IO[bytes], path: Path, stem: str) -> None:
        self._file = file
        self._path = path
        self._stem = stem
        self._notes = path.with_name(f"{path.name}.json")
        self.origin = _read_origin(self._notes)
        self.size = file.seek(0, os.SEEK_END)

    @property
    def is_complete(self) -> bool:
        """Whether there is something, and as much as the server said."""
        length = self.origin.length if self.origin else None
        return self.size > 0 and length in {None, self.size}

    @property
    def is_whole(self) -> bool:
        """Whether nothing has to be asked for: an earlier download had only not finished."""
        is_known = self.origin is not None and self.origin.length is not None
        return is_known and self.is_complete

    def wanted(self) -> dict[str, str]:
        """Return the headers that ask for the rest, none where all is asked for."""
        if not self.size or self.origin is None or self.origin.validator is None:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.origin.validator}

    def is_of(self, reply: httpx.Response, length: int) -> bool:
        """Whether a part of a clip of that length comes from the clip that is there."""
        if self.origin is None or self.origin.length not in {None, length}:
            return False
        validator = self.origin.validator or ""
        header = "ETag" if validator.startswith('"') else "Last-Modified"
        return bool(reply.headers.get(header, validator) == validator)

    def begin(self, origin: _Origin) -> None:
        """Start over with another origin. What is there goes first: it belongs to the old one."""
        self.forget()
        self._notes.write_text(json.dumps(asdict(origin)), encoding="utf-8")
        self.origin = origin

    def forget(self) -> None:
        """Throw away what is there."""
        self._file.seek(0)
        self._file.truncate()
        self.origin, self.size = None, 0

    def add(self, chunk: bytes) -> None:
        """Put more bytes at the end."""
        self._file.write(chunk)
        self.size += len(chunk)

    def finish(self) -> Path:
        """Give the file its name, once every byte of it is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        suffix = self.origin.suffix if self.origin else _USUAL_SUFFIX
        final = self._path.with_name(self._stem + suffix)
        if not _CAN_LOCK:
            self._file.close()  # Windows renames no file that is open
        self._path.replace(final)
        _sync_folder(final.parent)
        self._notes.unlink(missing_ok=True)
        return final

    def remove(self) -> None:
        """Leave nothing behind."""
        for file in (self._path, self._notes):
            with suppress(OSError):
                file.unlink()


@contextmanager
def _opened(folder: Path, stem: str) -> Iterator[_Part]:
    """Hold the part of a clip; whoever comes second waits until the first one lets it go."""
    # Without locks, a part of one's own at least spoils nobody's.
    own = "" if _CAN_LOCK else f".{os.getpid()}-{time.monotonic_ns()}"
    path = folder / f"{stem}{own}.part"
    with _locked(path) as file:
        part = _Part(file, path, stem)
        try:
            yield part
        finally:
            if not part.size:
                part.remove()


def _locked(path: Path) -> IO[bytes]:
    while True:
        file = os.fdopen(os.open(path, _FLAGS, 0o666), "r+b")
        try:
            if _CAN_LOCK:
                fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(path, file):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


_FLAGS: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def _is_at(path: Path, file: IO[bytes]) -> bool:
    """Whether a file still has its name: who held it before may have given it another one."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _finished(folder: Path, stem: str) -> Path | None:
    candidates = (folder / f"{stem}{suffix}" for suffix in _SUFFIX_OF.values())
    return next((file for file in candidates if file.is_file()), None)


def _read_origin(notes: Path) -> _Origin | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        said = json.loads(notes.read_text(encoding="utf-8"))
        return _Origin(**said) if _is_ours(said) else None
    return None


def _is_ours(said: dict[str, object]) -> bool:
    """Whether the notes beside a part say what this module writes into them."""
    return (
        said["suffix"] in _SUFFIX_OF.values()
        and isinstance(said["validator"], (str, NoneType))
        and isinstance(said["length"], (int, NoneType))
    )


def _sync_folder(folder: Path) -> None:
    if not _CAN_LOCK:
        return  # a folder cannot be opened there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
