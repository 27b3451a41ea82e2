"""Routes: the addresses of the live page: itself, the part that is refreshed, its files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kling_ledger.gateway.glance import Glance, Glances
from kling_ledger.gateway.guard import HEADERS, METHODS, Guard
from kling_ledger.gateway.page import document
from kling_ledger.gateway.recent import Recent
from kling_ledger.ledger import Ledger
from kling_pricing.errors import KlingError

log: Final = logging.getLogger("kling_ledger.gateway")

_HTML: Final = "text/html; charset=utf-8"
_FILES: Final = (
    ("page.css", "text/css; charset=utf-8"),
    ("page.js", "text/javascript; charset=utf-8"),
    ("icon.svg", "image/svg+xml"),
)
_UNREADABLE: Final = 503


def routes(ledger: Ledger, recent: Recent, *, guard: Guard) -> Sequence[Route]:
    """Return the addresses of a ledger's live page; the guard decides who may see them.

    All of them answer GET and HEAD, and 503 if the ledger cannot be read.
    """
    page = _Page(Glances(ledger), recent, guard)
    return [
        Route("/", page.whole, methods=METHODS),
        Route("/page/now", page.now, methods=METHODS),
        *(
            Route(f"/page/{name}", _file(name, kind, guard), methods=METHODS)
            for name, kind in _FILES
        ),
    ]


class _Page:
    """The page of one ledger."""

    def __init__(self, glances: Glances, recent: Recent, guard: Guard) -> None:
        self._glances = glances
        self._recent = recent
        self._guard = guard

    def whole(self, request: Request) -> Response:
        """Answer with the page; without JavaScript it reloads itself."""
        refusal = self._guard.refusal(request, is_page=True)
        return refusal or self._answer(document.whole)

    def now(self, request: Request) -> Response:
        """Answer with the part of the page that changes."""
        return self._guard.refusal(request) or self._answer(document.live)

    def _answer(self, write: Callable[[Glance | None, Recent], str]) -> Response:
        glance = self._glance()
        status = _UNREADABLE if glance is None else 200
        return _response(write(glance, self._recent).encode(), _HTML, status)

    def _glance(self) -> Glance | None:
        try:
            return self._glances.read()
        except KlingError as error:
            log.warning("the live page cannot read the ledger: %s", error)
            return None


def _file(name: str, kind: str, guard: Guard) -> Callable[[Request], Response]:
    content = files(__package__).joinpath(name).read_bytes()

    def answer(request: Request) -> Response:
        return guard.refusal(request) or _response(content, kind, 200)

    return answer


def _response(content: bytes, kind: str, status: int) -> Response:
    return Response(content, status, {**HEADERS, "Content-Type": kind})
