"""Files: the clips behind the links of completed jobs, for as long as the provider keeps them.

GET /files/{id}.mp4 needs no key; takes `Range: bytes=N-` and `bytes=N-M`

Each gateway says how long; if it is undocumented, the clip stays. The 410 for an expired link is
our own decision.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kling_ledger.sandbox.desk import Desk
from kling_ledger.sandbox.jobs import Job, JobState
from kling_ledger.sandbox.replies import ApiError, spoiled

_RANGE: Final = re.compile(r"bytes=([0-9]{1,15})-([0-9]{1,15})?")
# A file type box, a movie box with only a length, then a box that players skip: a file that they
# recognise, with nothing to play.
_TYPE_BOX: Final = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41"
_PARTS_OF_A_SECOND: Final = 1000
_REST_OF_A_HEADER: Final = 80
_FREE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Files:
    """The clips of every account."""

    desks: tuple[Desk, ...]

    def routes(self) -> list[Route]:
        """Return the address for downloading clips."""
        return [Route("/files/{id}.mp4", self._answer, methods=["GET"])]

    async def _answer(self, request: Request) -> Response:
        try:
            return self._file(request)
        except ApiError as error:
            return error.reply()

    def _file(self, request: Request) -> Response:
        desk, job = self._completed(request.path_params["id"])
        life_s = desk.settings.link_s
        life_s = desk.gateway.link_s if life_s is None else life_s
        if life_s is not None and desk.store.age_s(job) >= life_s:
            raise ApiError(410, "the link has expired", code="expired")
        number = desk.store.count_download(job)
        fault = None if job.is_plain else job.order.markers.file_fault(number)
        reply = _part(clip_bytes(job), request.headers.get("Range", ""))
        return reply if fault is None else spoiled(fault, reply, desk.patience)

    def _completed(self, job_id: str) -> tuple[Desk, Job]:
        for desk in self.desks:
            job = desk.store.find(job_id)
            if job is not None and desk.store.state(job) is JobState.COMPLETED:
                return desk, job
        raise ApiError(404, "no such file")


def clip_bytes(job: Job) -> bytes:
    """Return the file of a job: different for every job, the same every time.

    The movie is as long as the billed seconds. The order of its boxes is our own decision.
    """
    filling = (job.id.encode() * (_FREE_BYTES // len(job.id) + 1))[:_FREE_BYTES]
    return _TYPE_BOX + _movie(job.order.seconds or 0) + _box(b"free", filling)


def _movie(seconds: int) -> bytes:
    """Return a movie box with a length: only its header, in the older of two versions."""
    numbers = (0, 0, 0, _PARTS_OF_A_SECOND, seconds * _PARTS_OF_A_SECOND)
    header = b"".join(number.to_bytes(4, "big") for number in numbers)
    return _box(b"moov", _box(b"mvhd", header + bytes(_REST_OF_A_HEADER)))


def _box(name: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + name + content


def _part(content: bytes, wanted: str) -> Response:
    """Return a whole file, or the part that a Range header asks for."""
    headers = {"Accept-Ranges": "bytes"}
    match = _RANGE.fullmatch(wanted)
    if match is None:
        return Response(content, media_type="video/mp4", headers=headers)
    first, last = int(match[1]), min(int(match[2] or len(content)), len(content) - 1)
    if first > last:
        headers["Content-Range"] = f"bytes */{len(content)}"
        return Response(status_code=416, headers=headers)
    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    return Response(content[first : last + 1], 206, media_type="video/mp4", headers=headers)
