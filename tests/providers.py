"""The four providers over real HTTP on loopback, with time and chance in the test's hands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from kling_ledger.providers.base import Pacing, Provider
from kling_ledger.providers.registry import connect
from tests.loopback import Answer, Loopback, answering

KEY: Final = "ak_do-not-tell-0123456789abcdefghij"
NOW: Final = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NAMES: Final = ("runapi", "crun", "evolink", "uniall")
TASK_ID: Final = "task-1"
BODIES: Final[dict[str, dict[str, Any]]] = {
    "runapi": {"model": "kling-3.0", "prompt": "a lake", "duration_seconds": 5},
    "crun": {
        "model": "kling/v3",
        "input": {"mode": "std", "multi_shots": False, "prompt": "a lake", "duration": 5},
    },
    "evolink": {"model": "kling-v3-text-to-video", "prompt": "a lake", "duration": 5},
    "uniall": {"model": "kling-v3-std-silent", "prompt": "a lake", "duration": 5},
}


@dataclass
class Rig:
    """A provider, the server that it speaks to, and how long it wanted to pause."""

    provider: Provider
    server: Loopback
    pauses: list[float] = field(default_factory=list)

    def submit(self, **more: Any) -> Any:
        body = {**BODIES[self.provider.name], **more}
        return self.provider.submit("text_to_video", body, key="res_1")

    def poll(self) -> Any:
        return self.provider.poll("text_to_video", TASK_ID)

    def estimate(self) -> Any:
        return self.provider.estimate("text_to_video", BODIES[self.provider.name])


@contextmanager
def speaking(name: str, *answers: Answer, timeout_s: float = 2) -> Iterator[Rig]:
    """Connect a provider to a server that gives these answers."""
    pauses: list[float] = []
    pacing = Pacing(sleep=pauses.append, chance=lambda: 0.5, now=lambda: NOW)
    with answering(*answers) as server:
        opened = connect(name, api_key=KEY, base_url=server.url, timeout_s=timeout_s, pacing=pacing)
        with closing(opened) as provider:
            yield Rig(provider, server, pauses)


def created(name: str, task_id: object = TASK_ID) -> dict[str, Any]:
    """Return the documented reply to a submission."""
    if name == "crun":
        return {"code": 200, "message": "success", "data": {"task_id": task_id}}
    return {"id": task_id, "status": "pending"}


def task(name: str, word: object, **more: Any) -> dict[str, Any]:
    """Return the documented reply to a poll, with a state's word and more fields of the task."""
    if name == "crun":
        data = {"task_id": TASK_ID, "status": word, **more}
        return {"code": 200, "message": "success", "data": data}
    return {"id": TASK_ID, "status": word, **more}
