"""Other Pythons of this machine, for whoever needs one that is not the one that runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def python_of(version: str) -> str | None:
    """Return where the Python of a version is, such as of `3.13`; None where there is none.

    It is the one that `PYTHON313` names, else `python3.13`, of all that pyenv has where it is used.
    """
    name = os.environ.get(f"PYTHON{version.replace('.', '')}", f"python{version}")
    # Which one a name means may be decided by a program in front of it: what runs can say.
    asked = [name, "-c", "import sys; print(sys.executable)"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=True, env=_with_all())
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _with_all() -> dict[str, str]:
    """Return an environment in which pyenv finds every version that it has, where it is used."""
    return {**os.environ, "PYENV_VERSION": os.environ.get("PYENV_VERSION", _every_pyenv())}


def _every_pyenv() -> str:
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    names = sorted(path.name for path in versions.glob("3.*")) if versions.is_dir() else []
    return ":".join([*names, "system"])
