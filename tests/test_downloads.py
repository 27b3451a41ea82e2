"""Downloads over real HTTP: whole or not at all, and never again once they are there."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.errors import DownloadError, FolderError, LinkExpiredError
from kling_ledger.jobs import downloads
from kling_ledger.jobs.downloads import download
from kling_ledger.providers.attempts import ATTEMPTS
from tests.waiting import until

CLIP = random.Random(7).randbytes(300_000)  # noqa: S311 - clips, not secrets
NAME = "res_000sgbzmdnrdtz47t069vdh058"


# --- a server that can misbehave --------------------------------------------------------------


@dataclass
class Shelf:
    """What the server has, how it behaves next, and what it was asked."""

    url: str = ""
    content: bytes = CLIP
    kind: str | None = "video/mp4"
    script: list[Callable[[Handler], None]] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def link(self) -> str:
        return f"{self.url}/clips/out.mp4?signature=secret"


class Handler(BaseHTTPRequestHandler):
    """Answers like a file server, unless the script says otherwise."""

    shelf: Shelf

    def do_GET(self) -> None:
        self.shelf.seen.append(dict(self.headers))
        step = self.shelf.script.pop(0) if self.shelf.script else Handler.whole
        with suppress(ConnectionError):
            step(self)

    def whole(self) -> None:
        self.send()

    def send(self, *, stop: int | None = None, claim: int | None = None) -> None:
        """Send the content up to stop, and claim so much of it."""
        content = self.shelf.content
        self.send_response_only(200)
        self.send_header("Content-Length", str(claim or len(content)))
        self.end_with_facts()
        self.wfile.write(memoryview(content)[:stop])

    def end_with_facts(self) -> None:
        if self.shelf.kind is not None:
            self.send_header("Content-Type", self.shelf.kind)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def cut(at: int) -> Callable[[Handler], None]:
    """Close the connection when so many bytes of the content were sent."""
    return lambda handler: handler.send(stop=at)


def hang_up(handler: Handler) -> None:
    handler.close_connection = True


def claim(length: int) -> Callable[[Handler], None]:
    return lambda handler: handler.send(claim=length)


def without_length(handler: Handler) -> None:
    handler.send_response_only(200)
    handler.end_with_facts()
    handler.wfile.write(handler.shelf.content)


def answer(status: int, **headers: str) -> Callable[[Handler], None]:
    def step(handler: Handler) -> None:
        handler.send_response_only(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return step


def stall(at: int) -> Callable[[Handler], None]:
    """Send so many bytes, and nothing more until the test says so."""

    def step(handler: Handler) -> None:
        handler.send(stop=at)
        handler.wfile.flush()
        handler.shelf.go_on.wait(30)
        handler.wfile.write(memoryview(handler.shelf.content)[at:])

    return step


@contextmanager
def serving(shelf: Shelf) -> Iterator[Shelf]:
    handler = type("ShelfHandler", (Handler,), {"shelf": shelf})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    shelf.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield shelf
    finally:
        shelf.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with serving(Shelf()) as served:
        yield served


@dataclass
class Pauses:
    """Takes the place of sleep: keeps what was asked for, and lasts no time."""

    asked_s: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.asked_s.append(seconds)


def fetched(shelf: Shelf, folder: Path, **more: Any) -> Path:
    (file,) = download([shelf.link], folder, name=NAME, **{"sleep": Pauses(), **more})
    return file


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def fails(shelf: Shelf, folder: Path, **more: Any) -> DownloadError:
    with pytest.raises(DownloadError) as failure:
        fetched(shelf, folder, **more)
    return failure.value


# --- a file is whole and fetched once ---------------------------------------------------------


def test_a_clip_is_fetched_whole_under_its_reservations_name(shelf: Shelf, tmp_path: Path):
    file = fetched(shelf, tmp_path / "new" / "folder")
    assert file == tmp_path / "new" / "folder" / f"{NAME}-1.mp4"
    assert file.read_bytes() == CLIP
    assert names(file.parent) == [file.name]


def test_clips_are_numbered_in_their_order(shelf: Shelf, tmp_path: Path):
    shelf.script = [Handler.whole, lambda handler: handler.send(stop=5, claim=5)]
    files = download([shelf.link, f"{shelf.url}/b.webm"], tmp_path, name=NAME)
    assert [file.name for file in files] == [f"{NAME}-1.mp4", f"{NAME}-2.webm"]
    assert [file.read_bytes() for file in files] == [CLIP, CLIP[:5]]


def test_a_clip_that_is_there_is_never_fetched_again(shelf: Shelf, tmp_path: Path):
    first = fetched(shelf, tmp_path)
    assert fetched(shelf, tmp_path) == first
    assert len(shelf.seen) == 1


def test_a_clip_that_is_there_needs_no_link_that_works(shelf: Shelf, tmp_path: Path):
    first = fetched(shelf, tmp_path)
    assert download(["https://gone.invalid/x"], tmp_path, name=NAME) == [first]


def test_clips_of_which_some_are_there_cost_only_the_others(shelf: Shelf, tmp_path: Path):
    first = fetched(shelf, tmp_path)
    files = download([shelf.link, shelf.link], tmp_path, name=NAME)
    assert files == [first, tmp_path / f"{NAME}-2.mp4"]
    assert len(shelf.seen) == 2


def test_a_clip_without_a_known_length_is_taken_as_it_ends(shelf: Shelf, tmp_path: Path):
    shelf.script = [without_length]
    assert fetched(shelf, tmp_path).read_bytes() == CLIP


def test_no_link_is_no_file(tmp_path: Path):
    assert download([], tmp_path, name=NAME) == []


def test_a_large_clip_takes_little_memory(shelf: Shelf, tmp_path: Path):
    shelf.content = bytes(48 * 1024 * 1024)
    tracemalloc.start()
    try:
        file = fetched(shelf, tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert file.stat().st_size == len(shelf.content)
    assert peak < 8 * 1024 * 1024


# --- what is cut is fetched anew --------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_server_does_on_the_way_the_file_is_the_clip(
    shelf: Shelf, tmp_path: Path, seed: int
):
    chance = random.Random(seed)  # noqa: S311 - a script, not a secret
    shelf.script = [
        chance.choice([
            cut(chance.randrange(len(CLIP))),
            hang_up,
            answer(chance.choice([429, 500, 503])),
            claim(len(CLIP) + 9),
        ])
        for _ in range(ATTEMPTS - 1)
    ]  # fmt: skip
    assert fetched(shelf, tmp_path).read_bytes() == CLIP
    assert names(tmp_path) == [f"{NAME}-1.mp4"]


# --- what fails, fails clearly ----------------------------------------------------------------


def test_a_server_that_promises_more_than_it_sends_gives_no_file(shelf: Shelf, tmp_path: Path):
    shelf.script = [claim(len(CLIP) + 1)] * ATTEMPTS
    assert fails(shelf, tmp_path).retryable
    assert names(tmp_path) == []


def test_an_empty_answer_is_no_clip(shelf: Shelf, tmp_path: Path):
    shelf.content = b""
    assert "0 bytes arrived" in fails(shelf, tmp_path).problem
    assert names(tmp_path) == []


def test_a_link_is_tried_three_times_with_longer_and_longer_pauses(shelf: Shelf, tmp_path: Path):
    shelf.script = [hang_up] * 20
    pauses = Pauses()
    assert fails(shelf, tmp_path, sleep=pauses).retryable
    assert len(shelf.seen) == 3
    assert pauses.asked_s[0] < pauses.asked_s[1]
    assert names(tmp_path) == []


def test_a_server_that_falls_silent_is_asked_again(shelf: Shelf, tmp_path: Path):
    shelf.script = [stall(100_000)]
    assert fetched(shelf, tmp_path, timeout_s=0.3).read_bytes() == CLIP
    assert len(shelf.seen) == 2


def test_a_server_is_left_alone_as_long_as_it_asks(shelf: Shelf, tmp_path: Path):
    shelf.script = [answer(503, Retry_After="7")]
    pauses = Pauses()
    fetched(shelf, tmp_path, sleep=pauses)
    assert pauses.asked_s == [7.0]


def test_a_server_that_asks_for_too_long_ends_the_call(shelf: Shelf, tmp_path: Path):
    shelf.script = [answer(429, Retry_After="3600")]
    pauses = Pauses()
    assert fails(shelf, tmp_path, sleep=pauses).retryable
    assert pauses.asked_s == []


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_link_that_expired_says_until_when_it_was_promised(
    shelf: Shelf, tmp_path: Path, status: int
):
    shelf.script = [answer(status)]
    failure = fails(shelf, tmp_path, expire_at=datetime(2026, 11, 20, 9, 30, tzinfo=UTC))
    assert isinstance(failure, LinkExpiredError)
    assert f"HTTP {status}, it was valid until 2026-11-20 09:30 UTC" in failure.message
    assert not failure.retryable
    assert NAME in str(failure.hint)
    assert len(shelf.seen) == 1
    assert names(tmp_path) == []


def test_a_link_that_expired_unpromised_says_no_time(shelf: Shelf, tmp_path: Path):
    shelf.script = [answer(404)]
    assert "promised" not in fails(shelf, tmp_path).message


@pytest.mark.parametrize("status", [204, 304, 400, 402, 501])
def test_an_answer_that_brings_no_clip_is_told(shelf: Shelf, tmp_path: Path, status: int):
    shelf.script = [answer(status)]
    assert f"answers HTTP {status}" in fails(shelf, tmp_path).problem


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json", "Text/Plain"])
def test_a_page_is_no_clip(shelf: Shelf, tmp_path: Path, kind: str):
    shelf.kind = kind
    assert "instead of a clip" in fails(shelf, tmp_path).problem
    assert names(tmp_path) == []


def test_a_compressed_answer_is_refused(shelf: Shelf, tmp_path: Path):
    shelf.script = [answer(200, Content_Encoding="gzip")]
    assert "compressed" in fails(shelf, tmp_path).problem


def test_a_clip_without_an_end_does_not_fill_the_disk(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(downloads, "LARGEST_CLIP", 100_000)
    assert "more than 100000 bytes" in fails(shelf, tmp_path).problem
    assert names(tmp_path) == []


def test_one_link_that_fails_does_not_keep_the_others_away(shelf: Shelf, tmp_path: Path):
    shelf.script = [answer(410)]
    with pytest.raises(LinkExpiredError):
        download([shelf.link, shelf.link], tmp_path, name=NAME)
    assert names(tmp_path) == [f"{NAME}-2.mp4"]


def test_an_error_does_not_tell_what_opens_the_link(shelf: Shelf, tmp_path: Path):
    shelf.script = [answer(403)]
    failure = fails(shelf, tmp_path)
    assert "secret" not in f"{failure.message} {failure.hint} {failure.link}"
    assert failure.link == f"{shelf.url}/clips/out.mp4"


# --- where a link may lead --------------------------------------------------------------------


def test_a_redirect_is_followed(shelf: Shelf, tmp_path: Path):
    shelf.script = [answer(302, Location="/elsewhere"), answer(307, Location="/here")]
    assert fetched(shelf, tmp_path).read_bytes() == CLIP
    assert len(shelf.seen) == 3


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.com/x.mp4"])
def test_a_redirect_out_of_the_web_is_not_followed(shelf: Shelf, tmp_path: Path, target: str):
    shelf.script = [answer(302, Location=target)]
    failure = fails(shelf, tmp_path)
    assert "cannot be fetched" in failure.problem
    assert not failure.retryable
    assert len(shelf.seen) == 1


def test_redirects_in_a_circle_end(shelf: Shelf, tmp_path: Path):
    shelf.script = [answer(302, Location="/round")] * 30
    assert "cannot be fetched" in fails(shelf, tmp_path).problem
    assert len(shelf.seen) < 10


@pytest.mark.parametrize("link", ["file:///etc/passwd", "/etc/passwd", "", "http://a:b:c", "x:y"])
def test_a_link_out_of_the_web_is_refused(tmp_path: Path, link: str):
    with pytest.raises(DownloadError) as failure:
        download([link], tmp_path, name=NAME, sleep=Pauses())
    assert not failure.value.retryable
    assert names(tmp_path) == []


def test_no_key_of_ours_is_sent(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for provider in ("RUNAPI", "CRUN", "EVOLINK", "UNIALL"):
        monkeypatch.setenv(f"{provider}_API_KEY", "key-of-ours")
    shelf.script = [answer(302, Location="/elsewhere", Set_Cookie="a=b")]
    fetched(shelf, tmp_path)
    for headers in shelf.seen:
        assert {"authorization", "x-api-key"}.isdisjoint(name.lower() for name in headers)
        assert "key-of-ours" not in str(headers)


# --- names and folders ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind", "suffix"),
    [
        ("/a.webm", "video/mp4", ".webm"),
        ("/a.MOV", None, ".mov"),
        ("/a", "video/webm; codecs=vp9", ".webm"),
        ("/a.php", "video/quicktime", ".mov"),
        ("/a.exe", "application/octet-stream", ".mp4"),
        ("/a.part", None, ".mp4"),
        ("/..%2f..%2fa.mp4", None, ".mp4"),
    ],
)
def test_the_ending_is_the_links_or_the_servers_and_always_that_of_a_clip(
    shelf: Shelf, tmp_path: Path, path: str, kind: str | None, suffix: str
):
    shelf.kind = kind
    folder = tmp_path / "clips"
    (file,) = download([shelf.url + path], folder, name=NAME)
    assert file == folder / f"{NAME}-1{suffix}"
    assert names(tmp_path) == ["clips"]


@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", "a\\b", "a\0b", "a b", "ä", "a" * 101])
def test_a_name_that_could_leave_the_folder_is_refused(shelf: Shelf, tmp_path: Path, name: str):
    with pytest.raises(DownloadError, match="cannot be the name of a file"):
        download([shelf.link], tmp_path, name=name)
    assert shelf.seen == []


def test_a_folder_that_cannot_be_made_is_told(shelf: Shelf, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="Not a directory") as failure:
        fetched(shelf, tmp_path / "file" / "clips")
    assert failure.value.hint is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_written_is_told(shelf: Shelf, tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(FolderError, match="Permission denied"):
        fetched(shelf, tmp_path)
    tmp_path.chmod(0o700)


def test_a_disk_that_takes_no_more_is_told_and_nothing_is_left(shelf: Shelf, tmp_path: Path):
    _, most = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, most))
    try:
        with pytest.raises(FolderError, match="File too large"):
            fetched(shelf, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == []


# --- several at once, and stopped on the way --------------------------------------------------

FETCH = """
import sys
from pathlib import Path
from kling_ledger.jobs.downloads import download
print(*download([sys.argv[1]], Path(sys.argv[2]), name=sys.argv[3]))
"""


def another_process(shelf: Shelf, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FETCH, shelf.link, str(folder), NAME]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_who_is_stopped_leaves_no_half_clip_under_its_name(
    shelf: Shelf, tmp_path: Path, stop: signal.Signals
):
    shelf.script = [stall(200_000)]
    with another_process(shelf, tmp_path) as process:
        until(lambda: any(file.stat().st_size for file in tmp_path.iterdir()))
        process.send_signal(stop)
        process.communicate(timeout=30)
    assert [name for name in names(tmp_path) if not name.startswith(".")] == []
    assert fetched(shelf, tmp_path).read_bytes() == CLIP


def test_two_at_once_spoil_nothing_for_each_other(shelf: Shelf, tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(lambda _: fetched(shelf, tmp_path), range(16)))
    assert {file.read_bytes() for file in files} == {CLIP}
    assert names(tmp_path) == [f"{NAME}-1.mp4"]
