"""Reading: receives the body of a submission whole, in time and within bounds, or refuses it."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import ClientDisconnect, Request

from kling_ledger.errors import ConfigError
from kling_ledger.gateway.settings import LARGEST_BODY

BODY_S: Final = 15.0
"""How long the body of a submission may take to arrive."""


class LateError(ConfigError):
    """A body that came too slowly or incompletely."""


class LargeError(ConfigError):
    """A body that is larger than any documented one."""


async def text_of(request: Request) -> str:
    """Return the body of a submission. Raises LateError, LargeError, and ConfigError if packed."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ConfigError(
            "compressed submissions are not accepted", hint="send the JSON uncompressed"
        )
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                content += part
                if len(content) > LARGEST_BODY:
                    raise LargeError(
                        f"the body is larger than {LARGEST_BODY} bytes",
                        hint="send images as URLs",
                    )
    except TimeoutError:
        problem = f"the body did not arrive within {BODY_S:g} s"
        raise LateError(problem, hint="send it again") from None
    except ClientDisconnect:
        raise LateError("the body was cut short", hint="send it again") from None
    return content.decode("utf-8", "surrogateescape")
