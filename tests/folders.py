"""Where the tests keep their files: in memory, if this machine has room for that."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - looked at and never trusted: pytest and tempfile make folders of their own in it
_NEEDED: Final = 4 * 2**30


def memory_folder() -> str | None:
    """Return a folder in memory that holds whatever all tests write, None if there is none."""
    if not _MEMORY.is_dir() or not os.access(_MEMORY, os.W_OK):
        return None
    return str(_MEMORY) if shutil.disk_usage(_MEMORY).free > _NEEDED else None
