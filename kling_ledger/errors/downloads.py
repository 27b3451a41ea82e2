"""Downloads: a clip could not be downloaded."""

from __future__ import annotations

from datetime import datetime

from kling_pricing.errors import KlingError


class DownloadError(KlingError):
    """A clip could not be downloaded from its link; nothing of it is kept.

    `link` is the link without its query, which may contain a signature that grants access.
    """

    code = "download"

    def __init__(
        self, link: str, problem: str, *, hint: str | None = None, retryable: bool = False
    ) -> None:
        super().__init__(f"{link}: {problem}", hint=hint)
        self.link = link
        self.problem = problem
        self.retryable = retryable


class LinkExpiredError(DownloadError):
    """A link has expired; `expired_at` is None if its life was not documented."""

    code = "link_expired"

    def __init__(self, link: str, *, status: int, name: str, expired_at: datetime | None) -> None:
        until = f", it was valid until {expired_at:%Y-%m-%d %H:%M} UTC" if expired_at else ""
        super().__init__(
            link,
            f"the link has expired or needs a login: HTTP {status}{until}",
            hint=f"get a new link for {name} from your account at the provider; if it has no "
            "copy, run the job again",
        )
        self.status = status
        self.expired_at = expired_at


class FolderError(DownloadError):
    """The folder for the clips cannot be written, or its disk is full."""

    code = "folder"

    def __init__(self, folder: object, problem: str) -> None:
        super().__init__(
            str(folder), problem, hint="free some space or choose another folder, then run it again"
        )
