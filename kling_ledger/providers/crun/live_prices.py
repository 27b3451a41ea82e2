"""What Crun estimates for a body, and sample bodies to send. An estimate costs nothing.

Source: https://github.com/CrunTeam/crun-agent-skills runtime/crun_cli.py, checked 2026-11-20.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Final, Self

import httpx

from kling_ledger.errors import LivePricesError
from kling_ledger.providers.crun.facts import FACTS
from kling_ledger.providers.http import checked_address
from kling_ledger.providers.live_prices import TIMEOUT, json_of, sent
from kling_ledger.providers.surroundings import naming_the_variable
from kling_pricing.book_values import Count
from kling_pricing.clip import Clip
from kling_pricing.errors import AmountError
from kling_pricing.money import read_decimal

_ESTIMATE: Final = "/api/v1/client/job/EstimateTask"
_SUCCESS: Final = 200
_SHOWN: Final = 120
_IMAGE: Final = "https://example.com/image.jpg"
_VIDEO: Final = "https://example.com/video.mp4"
_MODES: Final[Mapping[str | None, str]] = {"720p": "std", "1080p": "pro", "4k": "4K"}


class CrunEstimates:
    """Crun's EstimateTask. The key is sent as a header and kept nowhere else."""

    def __init__(self, api_key: str, *, base_url: str = FACTS.base_url) -> None:
        self._url = f"{checked_address(base_url)}{_ESTIMATE}"
        self._key = api_key
        with naming_the_variable():
            self._http = httpx.Client(timeout=TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def credits_for(self, body: Mapping[str, Any]) -> Decimal | str:
        """Return the credits that a body would cost, or Crun's reason for giving no estimate.

        The JSON `code` decides, whatever the HTTP status. Raises LivePricesError if there is no
        answer, the answer has no code, or the key is refused.
        """
        asked = httpx.Request("POST", self._url, json=body, headers={"x-api-key": self._key})
        answer = sent(self._http, "crun", asked)
        reply = json_of(answer, "crun")
        code = reply.get("code")
        if not isinstance(code, int):
            raise LivePricesError("crun", self._hidden(_no_envelope(answer, reply)))
        if code == httpx.codes.UNAUTHORIZED:
            raise LivePricesError("crun", "the key was refused", hint=f"check {FACTS.key_variable}")
        if code != _SUCCESS:
            return self._hidden(f"{code} {reply.get('message') or 'without a message'}")
        data = reply.get("data")
        written = data.get("estimated_credits") if isinstance(data, dict) else None
        try:
            return read_decimal(written)
        except AmountError:
            return "the reply has no estimated_credits"

    def _hidden(self, text: str) -> str:
        return text.replace(self._key, "***")


def crun_body(clip: Clip, *, count: Count = "requested") -> dict[str, Any]:
    """Return a sample body that asks Crun for a clip, with a made-up prompt.

    Source: https://docs.crun.ai/zh/models/kling/v3, checked 2026-11-20.
    """
    written: dict[str, Any] = {
        "prompt": "A paper boat on a quiet lake.",
        "mode": _MODES.get(clip.resolution),
        "duration": _json_number(clip.seconds) if count == "requested" else None,
        "audio": clip.sound,
        "multi_shots": clip.multi_shot if clip.action != "motion_control" else None,
        "img_urls": _images(clip),
        "video_urls": [_VIDEO] if clip.action == "motion_control" else None,
        "character_orientation": clip.orientation,
    }
    given = {name: value for name, value in written.items() if value is not None}
    return {"model": clip.model, "input": given}


def _images(clip: Clip) -> list[str] | None:
    needs_one = clip.action in {"image_to_video", "motion_control"} or clip.multi_shot
    if clip.frames == "first_last":
        return [_IMAGE, _IMAGE]
    return [_IMAGE] if needs_one or clip.frames == "first" else None


def _json_number(seconds: int | Decimal | None) -> int | float | None:
    return int(seconds) if seconds is not None and seconds == int(seconds) else None


def _no_envelope(answer: httpx.Response, reply: Mapping[str, Any]) -> str:
    """Say what came instead of Crun's envelope: most likely another server's error."""
    written = json.dumps(reply, default=str, ensure_ascii=False)
    shown = written if len(written) <= _SHOWN else f"{written[: _SHOWN - 3]}..."
    return f"answered {answer.status_code} to {_ESTIMATE} without a code: {shown}"
