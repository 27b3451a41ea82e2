"""A process that forks while it writes: every child ends, and no money is lost or doubled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kling_ledger import Ledger
from kling_ledger.errors import DatabaseError
from tests.ledgers import found, usd

CHILDREN = 100
FORKS = """
import json, os, sys, threading, time, warnings
warnings.simplefilter("ignore")
from kling_ledger import Ledger
from kling_pricing import Money

url, children = sys.argv[1], int(sys.argv[2])
unit = Money.parse("0.001 USD")
inherited = Ledger(url)
done, errors, stop = [0] * 4, [], threading.Event()

def write(place):
    while not stop.is_set():
        try:
            inherited.reserve("team", unit)
            done[place] += 1
        except BaseException as error:
            errors.append(repr(error))

def child(number):
    if number % 2:
        try:
            inherited.reserve("team", unit)
        except BaseException as error:
            return 3 if "before the process forked" in str(error) else 4
        return 5
    with Ledger(url, create=False) as own:
        own.reserve("team", unit)
    return 6

threads = [threading.Thread(target=write, args=(place,)) for place in range(4)]
for thread in threads:
    thread.start()
time.sleep(0.3)
codes = []
for number in range(children):
    pid = os.fork()
    if pid == 0:
        code = 7
        try:
            code = child(number)
        finally:
            os._exit(code)
    give_up_at = time.monotonic() + 60
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > give_up_at:
            os.kill(pid, 9)
        time.sleep(0.002)
    codes.append(os.waitstatus_to_exitcode(ended[1]))
stop.set()
for thread in threads:
    thread.join()
inherited.close()
print(json.dumps({"codes": codes, "done": sum(done), "errors": errors}))
"""


def test_children_of_a_process_that_writes_all_come_to_their_end(empty_url: str):
    with Ledger(empty_url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("1000"))
    ran = subprocess.run(
        [sys.executable, "-c", FORKS, empty_url, str(CHILDREN)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["errors"] == []
    # One of two was refused what it inherited, the other opened its own and wrote.
    assert told["codes"] == [6, 3] * (CHILDREN // 2)
    with Ledger(empty_url) as ledger:
        [row] = found(
            ledger,
            "SELECT COUNT(*) AS jobs, COALESCE(SUM(amount_micro), 0) AS micro"
            " FROM transfer WHERE kind = 'reserve'",
        )
        assert row["jobs"] == told["done"] + CHILDREN // 2
        assert int(row["micro"]) == 1000 * row["jobs"]
        assert ledger.verify().is_clean


def test_a_child_is_told_where_somebody_was_reading_as_the_process_forked(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    code = """
import os, sys, warnings
warnings.simplefilter("ignore")
from kling_ledger import Ledger
from kling_ledger.ledger.engines import forks
forks._WAIT_S = 0.1
with Ledger(sys.argv[1]) as ledger, ledger.database.read() as transaction:
    transaction.rows("SELECT 1 AS one")
    pid = os.fork()
    if pid == 0:
        try:
            Ledger(sys.argv[1], create=False)
        except BaseException as error:
            print(error, flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    ledger.wallets.create("team", "USD")
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "was being read while the process forked" in ran.stdout
    with Ledger(str(path)) as ledger:
        assert [one.name for one in ledger.wallets.all()] == ["team"]


OPENED_MEANWHILE = """
import os, sys, threading, time, warnings
warnings.simplefilter("ignore")
from kling_ledger import Ledger
from kling_pricing import Money

older = [Ledger(f"{sys.argv[1]}-{number}") for number in range(4)]
for ledger in older:
    ledger.wallets.create("team", "USD")
newer = []

def read():
    with older[0].database.read() as transaction:
        transaction.rows("SELECT 1 AS one")
        time.sleep(1)

def open_others():
    for number in range(20):
        newer.append(Ledger(f"{sys.argv[1]}-newer-{number}"))

threads = [threading.Thread(target=read), threading.Thread(target=open_others)]
for thread in threads:
    thread.start()
time.sleep(0.2)
pid = os.fork()
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
for thread in threads:
    thread.join()
for ledger in older:
    ledger.wallets.fund("team", Money.parse("1 USD"))
    print(ledger.wallets.get("team").posted)
"""


def test_ledgers_go_on_though_others_were_opened_while_a_fork_waited(tmp_path: Path):
    ran = subprocess.run(
        [sys.executable, "-c", OPENED_MEANWHILE, str(tmp_path / "ledger")],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("1 USD\n" * 4, "")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "ledger.sqlite"
    with Ledger(str(made)) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("10"))
    return made


def test_a_file_with_two_names_is_refused(path: Path):
    os.link(path, path.with_name("other.sqlite"))
    for name in ("ledger.sqlite", "other.sqlite"):
        with pytest.raises(DatabaseError, match="has 2 hard links"):
            Ledger(str(path.with_name(name)))


def test_a_link_to_a_folder_or_file_is_the_same_ledger(path: Path):
    path.with_name("link.sqlite").symlink_to(path)
    with Ledger(str(path)) as one, Ledger(str(path.with_name("link.sqlite"))) as other:
        one.reserve("team", usd("1"))
        assert other.wallets.get("team").reserved == usd("1")


def test_a_file_that_is_mounted_by_itself_is_refused(path: Path):
    inside = path.parent / "inside" / "ledger.sqlite"
    script = f"""
set -e
mount --make-rprivate / 2>/dev/null || true
mkdir -p {inside.parent} && touch {inside}
mount --bind {path} {inside}
exec {sys.executable} -c 'from kling_ledger import Ledger; Ledger("{inside}")'
"""
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "Operation not permitted" in ran.stderr or "permission denied" in ran.stderr.lower():
        pytest.skip("nothing can be mounted here")
    assert "is mounted without" in ran.stderr


@pytest.mark.parametrize("becomes", ["removed", "replaced"])
def test_a_file_that_is_no_longer_there_swallows_nothing(path: Path, becomes: str):
    with Ledger(str(path)) as ledger:
        ledger.reserve("team", usd("1"))
        path.rename(path.with_name("away.sqlite"))
        if becomes == "replaced":
            path.touch()
        for call in (
            lambda: ledger.reserve("team", usd("1")),
            lambda: ledger.wallets.get("team"),
        ):
            with pytest.raises(DatabaseError, match=f"was {becomes} while it was open"):
                call()
