"""RunAPI's request bodies: `POST /api/v1/kling/{action}`.

Source: https://runapi.ai/zh-CN/openclaw-kling.md and the published client `runapi-kling` 0.5.1,
checked 2026-11-20.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from kling_pricing.clip import Clip, Resolution
from kling_pricing.errors import MISSING, NoPriceError, Problem, RequestError
from kling_pricing.requests.checks import RequestBody, validate

_PROVIDER = "runapi"
_SILENT_BY_DEFAULT = (
    "enable_sound is not given: RunAPI documents sound as something that you turn on, "
    "so the clip is priced without"
)


class _TextToVideo(RequestBody):
    """Kling 3.0 from a text, with the length, resolution and sound that its price depends on."""

    model: str
    prompt: Annotated[
        str | None, Field(description="a text, required unless multi_shots is true")
    ] = None
    duration_seconds: Annotated[
        int, Field(ge=3, le=15, description="whole seconds, 3 to 15 (no default is documented)")
    ]
    output_resolution: Annotated[
        Resolution, Field(description="720p, 1080p, 4k (no default is documented)")
    ]
    enable_sound: Annotated[bool | None, Field(description="true or false")] = None
    aspect_ratio: Annotated[
        Literal["16:9", "9:16", "1:1"] | None, Field(description="16:9, 9:16, 1:1")
    ] = None
    negative_prompt: Annotated[str | None, Field(description="a text")] = None
    first_frame_image_url: Annotated[str | None, Field(description="an address")] = None
    last_frame_image_url: Annotated[str | None, Field(description="an address")] = None
    cfg_scale: Annotated[float | None, Field(ge=0, le=1, description="a number, 0 to 1")] = None
    multi_shots: Annotated[bool | None, Field(description="true or false")] = None
    shot_type: Annotated[str | None, Field(description="a text")] = None
    multi_prompt: Annotated[list[Any] | None, Field(description="a list of shots")] = None
    kling_elements: Annotated[list[Any] | None, Field(description="a list of elements")] = None
    callback_url: Annotated[str | None, Field(description="an address")] = None


def read(body: dict[str, Any], action: str | None) -> tuple[Clip, tuple[str, ...]]:
    """Read a body for one of RunAPI's actions, `text_to_video` unless another is named."""
    action = action or "text_to_video"
    model = body.get("model", MISSING)
    if not isinstance(model, str):
        raise RequestError([Problem("model", model, "the id of a model, such as kling-3.0")])
    if (model, action) != ("kling-3.0", "text_to_video"):
        raise NoPriceError(f"runapi {model} {action}", known=["kling-3.0 text_to_video"])
    request = validate(_TextToVideo, body, _prompt_problems(body))
    clip = Clip(
        provider=_PROVIDER,
        model=request.model,
        action="text_to_video",
        seconds=request.duration_seconds,
        resolution=request.output_resolution,
        sound=bool(request.enable_sound),
        multi_shot=bool(request.multi_shots),
    )
    return clip, (() if request.enable_sound is not None else (_SILENT_BY_DEFAULT,))


def _prompt_problems(body: dict[str, Any]) -> list[Problem]:
    prompt = body.get("prompt")
    if body.get("multi_shots") is True or (prompt is not None and prompt != ""):
        return []
    got = prompt if "prompt" in body else MISSING
    return [Problem("prompt", got, "a text, required unless multi_shots is true")]
