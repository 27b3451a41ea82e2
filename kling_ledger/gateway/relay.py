"""Relay: posts a provider's callback on to the address that the job's client named.

A client may name any address, and the gateway runs inside its own network. So only public hosts are
called, over HTTPS, at the address that was checked; no redirect is followed, none of this machine's
settings is used, and each call is bounded in time and size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ssl import SSLContext
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore
import httpx

from kling_ledger.gateway.hosts import (
    ForbiddenError,
    Hosts,
    LookUp,
    UnreachableError,
    look_up,
    may_be_public,
)
from kling_ledger.providers.callback_rules import is_loopback
from kling_ledger.providers.http import bound, in_words
from kling_pricing.errors import KlingError, on_one_line
from kling_pricing.gateways.addresses import web_address

TIMEOUT_S: Final = 5.0
"""How long a client's server may take: the provider behind it waits ten seconds at most."""

LONGEST_ADDRESS: Final = 2048
"""The most characters of a client's address."""

AT_ONCE_EACH: Final = 8
"""The most calls to one host at the same time: one that hangs does not delay the others."""

Headers = Sequence[tuple[bytes, bytes]]
"""The names and values of headers, as in a request."""

_WEB: Final = 443
_LEAST_OTHER: Final = 1024
_PUBLIC: Final = web_address("https", most=LONGEST_ADDRESS)
ALLOWED: Final = "a public https address at port 443 or from 1024 on, without a user name"
"""The client addresses that are called, in words."""


class RelayError(KlingError):
    """A callback could not be passed on; only the `host` of its address is disclosed."""

    code = "relay"
    retryable = True

    def __init__(self, host: str, problem: str) -> None:
        super().__init__(f"the callback is not passed on to {host}: {problem}")
        self.host = host
        self.problem = problem


class RelayRefusedError(RelayError):
    """The gateway does not call the client's address: nothing was sent."""

    code = "relay_refused"
    retryable = False


def check_address(url: object, *, may_be_local: bool = False) -> None:
    """Raise RelayRefusedError for an address that is visibly not to be called.

    Names are looked up only when they are called. With `may_be_local`, an address on this machine
    is allowed too.
    """
    if isinstance(url, str) and len(url) <= LONGEST_ADDRESS and "\\" not in url:
        if may_be_local and is_loopback(url) and _is_plain(url, ("https", "http"), least_port=1):
            return
        is_reachable = _PUBLIC.allows(url) and may_be_public(host_of(url))
        if is_reachable and _is_plain(url, ("https",), least_port=_LEAST_OTHER):
            return
    raise RelayRefusedError(host_of(url), f"allowed: {ALLOWED}")


def host_of(url: object) -> str:
    """Return the part of an address that may be shown: its path and query may be secret."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        host = parts.hostname if parts is not None else None
    except ValueError:
        host = None
    return on_one_line(host[:80]) if host else "the address given"


class Relay:
    """Posts to clients' addresses. Safe to share between threads; close it after use.

    `look_up` finds the addresses of a host, `network` connects to them, and `trust` says which
    certificates are trusted: by default this machine's.
    """

    def __init__(
        self,
        *,
        look_up: LookUp = look_up,
        network: httpcore.NetworkBackend | None = None,
        trust: SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._hosts = Hosts(look_up)
        self._under_way: dict[str, int] = {}
        self._lock = Lock()
        self._network = network or httpcore.SyncBackend()
        self._trust = trust or httpx.create_ssl_context(trust_env=False)
        self._timeout_s = timeout_s

    def post(
        self, url: str, content: bytes, headers: Headers, *, may_be_local: bool = False
    ) -> int:
        """Post bytes to an address once, and return the status of the answer.

        Raises RelayRefusedError for an address that is not called, and RelayError if no complete
        answer comes in time.
        """
        check_address(url, may_be_local=may_be_local)
        host = host_of(url)
        self._begin(host)
        try:
            with self._client(may_be_local=may_be_local) as client:
                reply = client.post(url, content=content, headers=[*headers])
        except ForbiddenError as error:
            raise RelayRefusedError(host, str(error)) from None
        except UnreachableError as error:
            raise RelayError(host, str(error)) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The transport's message may quote the address.
            problem = in_words(error) if isinstance(error, httpx.TimeoutException) else "no answer"
            raise RelayError(host, problem) from None
        finally:
            self._end(host)
        return reply.status_code

    def close(self) -> None:
        """Stop looking up hosts."""
        self._hosts.close()

    def _client(self, *, may_be_local: bool) -> httpx.Client:
        """Return a client for one call: a shared pool may close a connection under another call."""
        transport = httpx.HTTPTransport(verify=self._trust, trust_env=False)
        # The transport has no public way to set its network.
        transport._pool._network_backend = _Checked(
            self._network, self._hosts, may_be_local=may_be_local
        )
        client = httpx.Client(transport=transport, trust_env=False, follow_redirects=False)
        # The client adds nothing: what is posted is exactly what was posted to us.
        client.headers.clear()
        return bound(client, self._timeout_s)

    def _begin(self, host: str) -> None:
        with self._lock:
            if self._under_way.get(host, 0) >= AT_ONCE_EACH:
                raise RelayError(host, "it is busy with other callbacks")
            self._under_way[host] = self._under_way.get(host, 0) + 1

    def _end(self, host: str) -> None:
        with self._lock:
            self._under_way[host] -= 1
            if not self._under_way[host]:
                del self._under_way[host]


class _Checked(httpcore.NetworkBackend):
    """The network: a host is looked up here and called at the address that was checked."""

    def __init__(self, inner: httpcore.NetworkBackend, hosts: Hosts, *, may_be_local: bool) -> None:
        self._inner = inner
        self._hosts = hosts
        self._may_be_local = may_be_local

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        found = self._hosts.addresses(host, port, may_be_local=self._may_be_local, within_s=timeout)
        for address in found[:-1]:
            try:
                return self._inner.connect_tcp(
                    address, port, _share(timeout, len(found)), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._inner.connect_tcp(found[-1], port, timeout, local_address, socket_options)


def _share(timeout_s: float | None, count: int) -> float | None:
    return None if timeout_s is None else timeout_s / count


def _is_plain(url: str, schemes: tuple[str, ...], *, least_port: int) -> bool:
    """Whether an address has no user name, and a port for web servers."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    has_user = "@" in parts.netloc
    is_web = port is None or port == _WEB or port >= least_port
    return parts.scheme in schemes and not has_user and is_web and url.isprintable()
