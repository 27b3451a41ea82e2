"""A sandbox whose time a test moves by hand, and a plain caller for each of its dialects.

The callers know only what the providers document: addresses, headers, where the id, the state and
the cost stand. They are written apart from the sandbox, so that both must agree with the source.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from kling_ledger.sandbox import Sandbox, SandboxSettings

PROVIDERS = ("runapi", "crun", "evolink", "uniall")
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

PATHS = {
    "runapi": ("/api/v1/kling/text_to_video", "/api/v1/kling/text_to_video/{id}"),
    "crun": ("/api/v1/client/job/CreateTask", "/api/v1/client/job/TaskInfo?task_id={id}"),
    "evolink": ("/v1/videos/generations", "/v1/tasks/{id}"),
    "uniall": ("/v1/video/generations", "/v1/videos/{id}"),
}
BALANCES = {
    "runapi": "/api/v1/me/balance",
    "crun": "/api/v1/client/account/balance",
    "evolink": "/v1/credits",
}
WORDS = {
    "runapi": ("pending", "processing", "completed", "failed"),
    "crun": ("pending", "running", "success", "failed"),
    "evolink": ("pending", "processing", "completed", "failed"),
    "uniall": ("pending", "processing", "completed", "failed"),
}
PRICES = {"runapi": "0.675", "crun": "135", "evolink": "54", "uniall": "0.84"}
"""What five seconds of 1080p with sound cost, by our books and by the sandbox's tariffs alike."""

HOLDS = {**PRICES, "runapi": "1.35"}
"""What is held for them without a live estimate: the higher of RunAPI's two figures."""

UNITS = {"runapi": "USD", "crun": "crun-credit", "evolink": "evolink-credit", "uniall": "USD"}


def body(provider: str, prompt: str = "a lake", **fields: Any) -> dict[str, Any]:
    """Five seconds of 1080p with sound, in a provider's own words."""
    clip: dict[str, dict[str, Any]] = {
        "runapi": {
            "model": "kling-3.0",
            "prompt": prompt,
            "duration_seconds": 5,
            "output_resolution": "1080p",
            "enable_sound": True,
        },
        "crun": {
            "model": "kling/v3",
            "input": {
                "mode": "pro",
                "multi_shots": False,
                "prompt": prompt,
                "duration": 5,
                "audio": True,
            },
        },
        "evolink": {
            "model": "kling-v3-text-to-video",
            "prompt": prompt,
            "duration": 5,
            "quality": "1080p",
            "sound": "on",
        },
        "uniall": {"model": "kling-v3-pro-audio", "prompt": prompt, "duration": 5},
    }
    return {**clip[provider], **fields}


def plain_client(**options: Any) -> httpx.Client:
    """Return a client that loads no certificates, which would take longer than most tests."""
    return httpx.Client(verify=False, trust_env=False, **options)  # noqa: S501 - only plain HTTP


class Clock:
    """The seconds that jobs take, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class Caller:
    """One provider's account, called as its documentation says."""

    provider: str
    url: str
    key: str
    http: httpx.Client

    @property
    def headers(self) -> dict[str, str]:
        if self.provider == "crun":
            return {"x-api-key": self.key}
        return {"Authorization": f"Bearer {self.key}"}

    def post(self, path: str, content: object, **headers: str) -> httpx.Response:
        return self.http.post(self.url + path, json=content, headers={**self.headers, **headers})

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.http.get(self.url + path, headers={**self.headers, **headers})

    def send(self, content: object, **headers: str) -> httpx.Response:
        """Send the body of a create."""
        return self.post(PATHS[self.provider][0], content, **headers)

    def create(self, prompt: str = "a lake", **headers: str) -> httpx.Response:
        return self.send(body(self.provider, prompt), **headers)

    def poll(self, task_id: str) -> httpx.Response:
        return self.get(PATHS[self.provider][1].format(id=task_id))

    def made(self, prompt: str = "a lake") -> str:
        """Create a job that must be taken, and return its id."""
        reply = self.create(prompt)
        assert self.status_of(reply) == 200, reply.text
        return self.id_of(reply)

    def id_of(self, reply: httpx.Response) -> str:
        content = reply.json()
        if self.provider == "crun":
            return str(content["data"]["task_id"])
        return str(content["id"])

    def task(self, task_id: str) -> dict[str, Any]:
        """Return what a poll says about a task, without Crun's envelope."""
        reply = self.poll(task_id)
        assert self.status_of(reply) == 200, reply.text
        content = reply.json()
        return dict(content["data"] if self.provider == "crun" else content)

    def state(self, task_id: str) -> str:
        return str(self.task(task_id)["status"])

    def status_of(self, reply: httpx.Response) -> int:
        """Return what the provider itself calls the outcome: at Crun the code in the JSON."""
        is_json = reply.headers.get("Content-Type", "").startswith("application/json")
        if self.provider == "crun" and is_json:
            assert reply.status_code == 200
            return int(reply.json()["code"])
        return reply.status_code

    def links(self, task: dict[str, Any]) -> list[str]:
        """Return the links in a completed task."""
        if self.provider == "runapi":
            return [video["url"] for video in task["videos"]]
        if self.provider == "crun":
            return list(task["result"]["media_urls"])
        return list(task["results"]) if self.provider == "evolink" else [task["video_url"]]


@dataclass(frozen=True)
class Rig:
    """A running sandbox whose clock stands still, and a caller for each dialect."""

    sandbox: Sandbox
    clock: Clock
    callers: dict[str, Caller]
    http: httpx.Client

    def __getitem__(self, provider: str) -> Caller:
        return self.callers[provider]

    def wait(self, seconds: float) -> None:
        """Let time pass in the sandbox."""
        self.clock.now_s += seconds

    def truth(self, provider: str) -> dict[str, Any]:
        """Return what the sandbox itself says of one provider."""
        reply = self.http.get(f"{self.sandbox.url}/sandbox/truth?provider={provider}")
        content: dict[str, Any] = reply.raise_for_status().json()
        return {**content["providers"][provider], "tasks": content["tasks"]}

    def only_task(self, provider: str) -> dict[str, Any]:
        """Return the truth about a provider's one task."""
        [task] = self.truth(provider)["tasks"]
        return dict(task)


class Complaints(logging.Handler):
    """Keeps what a logger is told, as text."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@contextmanager
def nothing_broken() -> Iterator[None]:
    """Fail where the server met an error of its own: a 500 that nobody asked for."""
    handler = Complaints(logging.ERROR)
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    assert handler.texts == []


@contextmanager
def rigged(settings: SandboxSettings | None = None) -> Iterator[Rig]:
    """Run a sandbox and close every connection to it in the end."""
    clock = Clock()
    running = Sandbox(settings, clock=clock, now=lambda: AT)
    with nothing_broken(), running as sandbox, plain_client() as http:
        keys = {provider: sandbox.settings.key_of(provider) for provider in PROVIDERS}
        callers = {name: Caller(name, sandbox.url, key, http) for name, key in keys.items()}
        yield Rig(sandbox, clock, callers, http)
