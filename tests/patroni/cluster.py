"""etcd and three PostgreSQL servers under Patroni, on loopback, in a folder of their own.

One standby confirms each commit before its client is told (`synchronous_mode`), so a leader that is
killed takes nothing with it that was acknowledged. Everything runs as a user who is not root.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tests.folders import memory_folder

NODES: Final = 3
PASSWORD: Final = "secret"
SETTINGS: Final = {
    "ttl": 20,
    "loop_wait": 5,
    "retry_timeout": 5,
    "synchronous_mode": True,
    "postgresql": {"use_pg_rewind": True, "parameters": {"max_connections": 100}},
}
"""`loop_wait + 2 * retry_timeout <= ttl`: a leader that is gone for 20 s is replaced."""
VARIABLE: Final = "KLING_LEDGER_TEST_PATRONI"
"""A folder with Patroni in it (`pip install --target`), to save half a minute of installing."""

_BINARIES: Final = Path("/usr/lib/postgresql/15/bin")
_REQUIREMENTS: Final = ("patroni[etcd3]", "psycopg[binary]")
_USER: Final = "nobody"
_WRITABLE: Final = "target_session_attrs=read-write&connect_timeout=3"
_HEALTHY_S: Final = 120


def missing() -> str | None:
    """Say what the cluster needs and this machine has not; None where nothing is missing."""
    if shutil.which("etcd") is None:
        return "etcd is not installed: apt-get install etcd-server"
    if not (_BINARIES / "postgres").exists():
        return "PostgreSQL 15 is not installed: apt-get install postgresql-15"
    return None


@dataclass(frozen=True)
class Node:
    """One server: its place, and the process that looks after it and whatever that started."""

    name: str
    port: int
    api_port: int
    process: subprocess.Popen[bytes]
    data: Path

    def is_leader(self) -> bool:
        """Whether it takes writes, by its own word."""
        return self._answers("/primary")

    def is_synchronous(self) -> bool:
        """Whether it is the standby that confirms each commit."""
        return self._answers("/synchronous")

    def kill(self) -> None:
        """End it with all its processes, as a power cut would: nothing is told to anybody."""
        # The server is no child of Patroni, so that it lives on when that is started anew.
        for first in (self.process.pid, *_postmaster(self.data)):
            _kill_all(first)

    def _answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.api_port}{path}", timeout=2
            ) as said:
                return bool(said.status == 200)
        except OSError:
            return False


@dataclass(frozen=True)
class Cluster:
    """Servers that agree on who leads."""

    nodes: Sequence[Node]

    def address(self, database: str = "postgres") -> str:
        """Return the address that finds whichever server takes writes."""
        ports = ",".join(str(node.port) for node in self.nodes)
        hosts = ",".join("127.0.0.1" for _ in self.nodes)
        return f"postgresql://postgres:{PASSWORD}@/{database}?host={hosts}&port={ports}&{_WRITABLE}"

    def short_address(self, database: str = "postgres") -> str:
        """Return the same address with each port beside its host."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"postgresql://postgres:{PASSWORD}@{hosts}/{database}?{_WRITABLE}"

    def leader(self) -> Node | None:
        """Return who leads, None while nobody does."""
        return next((node for node in self.nodes if node.is_leader()), None)

    def wait_until_healthy(self) -> None:
        """Wait until one leads and another confirms what it commits."""
        give_up_at = time.monotonic() + _HEALTHY_S
        while not (self.leader() and any(node.is_synchronous() for node in self.nodes)):
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"the cluster was not healthy within {_HEALTHY_S} s")
            time.sleep(0.5)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a cluster, wait until it is healthy, and stop all of it at the end."""
    with ExitStack() as to_undo:
        made = tempfile.TemporaryDirectory(prefix="patroni-", dir=memory_folder())
        folder = Path(to_undo.enter_context(made))
        folder.chmod(0o755)
        etcd_port, peer_port, *ports = _free_ports(2 + 2 * NODES)
        program, environ = _patroni(folder)
        to_undo.enter_context(_running(_etcd(folder, etcd_port, peer_port), folder / "etcd.log"))
        nodes = []
        for number in range(NODES):
            name, port, api_port = f"node{number}", ports[2 * number], ports[2 * number + 1]
            written = _write_settings(folder, name, port, api_port, etcd_port)
            log = folder / f"{name}.log"
            process = to_undo.enter_context(_running([*program, str(written)], log, environ))
            node = Node(name, port, api_port, process, folder / name / "data")
            to_undo.callback(node.kill)
            nodes.append(node)
        found = Cluster(tuple(nodes))
        try:
            found.wait_until_healthy()
        except TimeoutError:
            for log in folder.glob("*.log"):
                sys.stderr.write(f"--- {log.name}\n{log.read_text()[-3000:]}\n")
            raise
        yield found


def _patroni(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return how Patroni is called and in what environment; it is installed unless it is there."""
    packages = os.environ.get(VARIABLE) or str(folder / "packages")
    python = _python()
    if VARIABLE not in os.environ:
        pip = [sys.executable, "-m", "pip", "--quiet", "--quiet", "--python", python]
        subprocess.run([*pip, "install", "--target", packages, *_REQUIREMENTS], check=True)
    return [python, "-m", "patroni"], {"PYTHONPATH": packages}


def _python() -> str:
    """Return a Python that others than root may run: ours may lie in root's own folder."""
    ours = Path(sys.executable).resolve()
    if os.geteuid() != 0 or all(place.stat().st_mode & 0o001 for place in ours.parents):
        return str(ours)
    return "/usr/bin/python3"


def _etcd(folder: Path, port: int, peer_port: int) -> list[str]:
    clients, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    options = {
        "name": "etcd0",
        "data-dir": str(folder / "etcd"),
        "listen-client-urls": clients,
        "advertise-client-urls": clients,
        "listen-peer-urls": peers,
        "initial-advertise-peer-urls": peers,
        "initial-cluster": f"etcd0={peers}",
    }
    _own_folder(folder / "etcd")
    return ["etcd", *(f"--{name}={value}" for name, value in options.items())]


def _write_settings(folder: Path, name: str, port: int, api_port: int, etcd_port: int) -> Path:
    """Write the settings of one server: YAML, of which JSON is a part."""
    data, sockets = folder / name / "data", folder / name / "sockets"
    for place in (folder / name, data, sockets):
        _own_folder(place)
    logins = {
        "superuser": {"username": "postgres", "password": PASSWORD},
        "replication": {"username": "replicator", "password": PASSWORD},
    }
    settings: dict[str, Any] = {
        "scope": "ledger",
        "name": name,
        "restapi": {"listen": f"127.0.0.1:{api_port}", "connect_address": f"127.0.0.1:{api_port}"},
        "etcd3": {"hosts": f"127.0.0.1:{etcd_port}"},
        "bootstrap": {"dcs": SETTINGS, "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}]},
        "postgresql": {
            "listen": f"127.0.0.1:{port}",
            "connect_address": f"127.0.0.1:{port}",
            "data_dir": str(data),
            "bin_dir": str(_BINARIES),
            "pgpass": str(folder / name / "pgpass"),
            "authentication": logins,
            "parameters": {"unix_socket_directories": str(sockets)},
            "pg_hba": [
                "local all all trust",
                "host all all 127.0.0.1/32 scram-sha-256",
                "host replication all 127.0.0.1/32 scram-sha-256",
            ],
        },
    }
    written = folder / f"{name}.yml"
    written.write_text(json.dumps(settings, indent=2))
    return written


def _own_folder(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    if os.geteuid() == 0:
        shutil.chown(folder, _USER)


@contextmanager
def _running(
    command: Sequence[str], log: Path, environ: Mapping[str, str] = MappingProxyType({})
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program as somebody who is not root; end it and all that it started."""
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = pwd.getpwnam(_USER)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with log.open("wb") as written:
        process = subprocess.Popen(
            command,
            stdout=written,
            stderr=written,
            start_new_session=True,
            cwd="/",
            env={"PATH": os.environ["PATH"], "HOME": "/", "LANG": "C.UTF-8", **environ},
            **as_user,
        )
        try:
            yield process
        finally:
            _kill_all(process.pid)
            process.wait()


def _postmaster(data: Path) -> list[int]:
    """Return the first process of the server in a folder, if it runs."""
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        # The file outlives a server that was killed, and its number may be somebody else's by now.
        is_there = str(data) in Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return []
    return [pid] if is_there else []


def _kill_all(first: int) -> None:
    """End a process and all that it started, at once; those that are gone are left out."""
    for pid in (first, *_descendants(first)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they did."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [one for child in map(int, children) for one in (child, *_descendants(child))]


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on just now."""
    with ExitStack() as taken:
        sockets = [taken.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
