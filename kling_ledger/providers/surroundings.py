"""Surroundings: finds the environment variable that prevents any connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx

from kling_ledger.config import set_variables
from kling_ledger.errors import ConfigError

_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_EXCEPTIONS: Final = ("NO_PROXY",)
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@contextmanager
def naming_the_variable() -> Iterator[None]:
    """Name the variable at fault if a client cannot be made.

    Raises ConfigError. The variable's value is not shown: a proxy's address may contain a password.
    """
    try:
        yield
    except OSError as error:
        name = next(iter(set_variables(_CERTIFICATES)), "the certificates of this machine")
        raise ConfigError(
            f"{name} cannot be used: {error.strerror or type(error).__name__}",
            hint="set it to an existing file of certificates, or unset it",
        ) from None
    except ImportError:
        raise ConfigError(
            f"{_of_a_proxy()} names a SOCKS proxy, which needs the package socksio",
            hint="pip install 'httpx[socks]', or unset it",
        ) from None
    except (ValueError, httpx.InvalidURL):
        raise ConfigError(
            f"{_of_a_proxy()} cannot be used: it contains an invalid address",
            hint="correct it or unset it; write names and addresses in NO_PROXY without brackets",
        ) from None


def _of_a_proxy() -> str:
    """Return the variable that prevents any client from being made."""
    proxies = set_variables(_PROXIES)
    unusable = [name for name, value in proxies.items() if not _is_usable(value)]
    return next(
        iter([*unusable, *set_variables(_EXCEPTIONS), *proxies]), "the proxy of this system"
    )


def _is_usable(proxy: str) -> bool:
    try:
        httpx.HTTPTransport(
            proxy=proxy if "://" in proxy else f"http://{proxy}", verify=False
        ).close()
    except (ImportError, ValueError, httpx.InvalidURL):
        return False
    return True
