"""Guard: who may see the gateway's own pages, and how little a browser may do with them.

On loopback no secret is needed, so the `Host` of a request must be this machine's: otherwise a site
whose name points here could read the page as its own. Elsewhere a secret is required. Other sites
get nothing in either case.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from kling_pricing.errors import KlingError

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""The security headers of every guarded page."""

METHODS: Final = ["GET"]
"""The methods of a guarded page; HEAD is included."""

HERE: Final = ("localhost", "127.0.0.1", "[::1]")
"""The names of this machine in a `Host` header from local callers."""

_DEFAULT_PORTS: Final = (80, 443)
_ASK: Final = {"WWW-Authenticate": 'Basic realm="kling-ledger gateway", charset="UTF-8"'}
_OWN: Final = frozenset({"same-origin", "none"})


class ForeignError(KlingError):
    """A request made by another website in a local user's browser."""

    code = "foreign"

    def __init__(self) -> None:
        super().__init__(
            "requests from web pages, or under another host name, are refused here",
            hint="call 127.0.0.1 or localhost from a program, or send a token",
        )


@dataclass(frozen=True, slots=True)
class Guard:
    """Decides who may see a page.

    `admits` checks a secret; None requires none, for loopback only. `hosts` are further host names
    of this machine, `NAME` or `NAME:PORT`.
    """

    admits: Callable[[str], bool] | None = None
    hosts: tuple[str, ...] = ()

    @classmethod
    def of_secret(cls, secret: str, hosts: tuple[str, ...] = ()) -> Guard:
        """Return a guard with one secret, compared in constant time."""
        digest = hashlib.sha256(secret.encode()).digest()

        def admits(given: str) -> bool:
            return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), digest)

        return cls(admits, hosts)

    def refusal(self, request: Request, *, is_page: bool = False) -> Response | None:
        """Return the refusal of a request, None to admit it.

        A page, unlike the files it loads, may be opened from a link on another site.
        """
        if self.admits is None and not self._is_known_host(request):
            return _answer(421, "this page is not served under that name\n")
        if not _is_own(request) and not (is_page and _is_opened(request)):
            return _answer(403, "other websites cannot read this\n")
        if self.admits is not None and not _is_let_in(request, self.admits):
            return _answer(401, "this page needs its password\n", _challenge(request))
        return None

    def check_caller(self, request: Request) -> None:
        """Raise ForeignError for a request that a web page of another site has a browser send.

        Only browsers send `Origin` or fetch metadata; a page whose name points here is recognised
        by its `Host`. Callers with a token need no such check: no other site has it.
        """
        origin = request.headers.get("origin")
        if origin is not None or not _is_own(request) or not self._is_known_host(request):
            raise ForeignError

    def _is_known_host(self, request: Request) -> bool:
        given = request.headers.getlist("host")
        address, port = request.scope.get("server") or ("", None)
        here = (*HERE, f"[{address}]" if ":" in address else address)
        known = {f"{name}:{port}" for name in (*here, *self.hosts)} | set(self.hosts)
        if port in _DEFAULT_PORTS:
            known.update(here)
        return len(given) == 1 and given[0].lower() in {name.lower() for name in known}


def _is_own(request: Request) -> bool:
    """Whether the page itself asks, or a person or a program: not another site in a browser."""
    return request.headers.get("sec-fetch-site", "none") in _OWN


def _is_opened(request: Request) -> bool:
    """Whether the page will fill a whole window: then only its reader sees it."""
    headers = request.headers
    return (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == (
        "navigate",
        "document",
    )


def _challenge(request: Request) -> Mapping[str, str]:
    """Ask for the password, unless a script asks: no person would expect the prompt."""
    is_of_a_script = request.headers.get("sec-fetch-mode") == "cors"
    return {} if is_of_a_script else _ASK


def _is_let_in(request: Request, admits: Callable[[str], bool]) -> bool:
    secret = _secret(request.headers.get("authorization", ""))
    return secret is not None and admits(secret)


def _secret(authorization: str) -> str | None:
    """Return the secret in a header: a bearer token, or the password beside any user name."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(given.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return decoded.partition(":")[2] or None


def _answer(status: int, said: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(said, status, {**HEADERS, **(headers or {})})
