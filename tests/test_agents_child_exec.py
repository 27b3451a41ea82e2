"""`kling-ledger exec` with real programs: each job is reserved once, bounded and settled."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from kling_ledger import Ledger, State
from kling_ledger.agents.child.leftovers import Leftovers
from kling_ledger.jobs.meter import Meter
from kling_ledger.ledger import Reservation
from kling_ledger.providers.registry import connect
from kling_ledger.sandbox import Sandbox
from kling_pricing import Money
from tests.children import Stranger
from tests.cli import API_KEY, BODY, COMMAND, Cli, Said, finish
from tests.sweeps import sampled
from tests.waiting import until

ONE_CLIP: Final = Decimal("0.675")
SUBMIT: Final = "/api/v1/kling/text_to_video"

POSTING: Final = """
import json, os, sys, time
KEY = os.environ.get("RUNAPI_API_KEY", "") if len(sys.argv) < 4 else sys.argv[3]
URL, BODY = sys.argv[1], sys.argv[2].encode()
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
def ended(ask):
    task = {}
    while task.get("status") not in {"completed", "failed"}:
        time.sleep(0.05)
        task = ask()
    return task
"""
"""What small programs begin with: `URL BODY [KEY]` are their words."""

URLLIB: Final = (
    POSTING
    + """
from urllib.error import HTTPError
from urllib.request import Request, urlopen
try:
    made = json.load(urlopen(Request(URL, BODY, HEADERS)))
    found = ended(lambda: json.load(urlopen(Request(f"{URL}/{made['id']}", headers=HEADERS))))
    print(json.dumps(found))
except HTTPError as error:
    sys.exit(f"{error.code} {error.read().decode()}")
"""
)

HTTPX: Final = (
    POSTING
    + """
import httpx
with httpx.Client(headers=HEADERS) as client:
    made = client.post(URL, content=BODY)
    if made.is_error:
        sys.exit(f"{made.status_code} {made.text}")
    print(json.dumps(ended(lambda: client.get(f"{URL}/{made.json()['id']}").json())))
"""
)

REQUESTS: Final = (
    POSTING
    + """
import requests
with requests.Session() as client:
    made = client.post(URL, data=BODY, headers=HEADERS)
    if not made.ok:
        sys.exit(f"{made.status_code} {made.text}")
    asked = lambda: client.get(f"{URL}/{made.json()['id']}", headers=HEADERS).json()
    print(json.dumps(ended(asked)))
"""
)

CLIENT: Final = (
    POSTING
    + """
from runapi.core import InsufficientCreditsError
from runapi.kling import KlingClient
base = URL.partition("/api/")[0]
client = KlingClient(api_key=KEY, base_url=base)
try:
    done = client.text_to_video.run(**json.loads(BODY))
    print(json.dumps({"status": done.status}))
except InsufficientCreditsError as error:
    sys.exit(f"402 {type(error).__name__} {error}")
"""
)

NODE: Final = """
const [url, body, given] = process.argv.slice(1);
const key = given ?? process.env.RUNAPI_API_KEY;
const headers = {Authorization: `Bearer ${key}`, "Content-Type": "application/json"};
const made = await fetch(url, {method: "POST", headers, body});
if (!made.ok) { console.error(`${made.status} ${await made.text()}`); process.exit(1); }
const {id} = await made.json();
let task = {};
while (!["completed", "failed"].includes(task.status)) {
  await new Promise((done) => setTimeout(done, 50));
  task = await (await fetch(`${url}/${id}`, {headers})).json();
}
console.log(JSON.stringify(task));
"""

CURL: Final = """
set -e
key="${3-$RUNAPI_API_KEY}"
call() { curl -sS --fail-with-body -H "Authorization: Bearer $key" "$@"; }
made=$(call -H 'Content-Type: application/json' -d "$2" "$1") || { echo "402 $made" >&2; exit 1; }
id=$(echo "$made" | sed 's/.*"id": *"\\([^"]*\\)".*/\\1/')
until call "$1/$id" | grep -Eq '"(completed|failed)"'; do sleep 0.05; done
call "$1/$id"
"""


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def node_that_takes_proxies() -> str | None:
    """A Node whose `fetch` follows NODE_USE_ENV_PROXY: 24, or 22 from 22.21 on."""
    for found in filter(None, (os.environ.get("KLING_TEST_NODE"), shutil.which("node"))):
        told = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
        version = tuple(map(int, told.stdout.strip().lstrip("v").split(".")[:2]))
        if version >= (24, 5) or (22, 21) <= version < (23, 0):
            return found
    return None


NEW_NODE: Final = node_that_takes_proxies()
PROGRAMS: Final = {
    "curl": ["bash", "-c", CURL, "curl"],
    "urllib": python(URLLIB),
    "httpx": python(HTTPX),
    "requests": python(REQUESTS),
    "runapi": python(CLIENT),
    "node": [NEW_NODE or "node", "--input-type=module", "-e", NODE, "--"],
}


@pytest.fixture(params=sampled(PROGRAMS, every=4))
def program(request: pytest.FixtureRequest) -> list[str]:
    """A program that makes a clip: it takes an address, a body, and perhaps a key of its own."""
    if request.param == "requests":
        pytest.importorskip("requests")
    if request.param == "curl" and shutil.which("curl") is None:
        pytest.skip("there is no curl")
    if request.param == "node" and NEW_NODE is None:
        pytest.skip("no Node whose fetch follows NODE_USE_ENV_PROXY: 22.21 or later, or 24.5")
    return PROGRAMS[request.param]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A ledger whose wallet `team` holds 2 USD."""
    folders = tmp_path / "folders"
    folders.mkdir()
    cli = Cli(tmp_path, {"RUNAPI_API_KEY": API_KEY, "TMPDIR": str(folders)})
    cli.fund("2 USD")
    return cli


def words(sandbox: Sandbox, *more: str) -> list[str]:
    return ["exec", "--wallet", "team", "--upstream", f"runapi={sandbox.url}", *more, "--"]


def body(prompt: str = "a lake") -> str:
    return json.dumps({**BODY, "prompt": prompt})


def run(cli: Cli, sandbox: Sandbox, program: list[str], *more: str) -> Said:
    """Run a program under guard; it asks RunAPI itself, which is the sandbox."""
    given = [f"https://runapi.ai{SUBMIT}", body()]
    return finish(cli.start(*words(sandbox, *more), *program, *given))


def reservations(cli: Cli) -> list[Reservation]:
    with Ledger(str(cli.database)) as ledger:
        assert ledger.verify().findings == ()
        return ledger.reservations.latest()


def truth(sandbox: Sandbox) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{sandbox.url}/sandbox/truth").json()["tasks"]
    return found


def left_behind(cli: Cli) -> list[str]:
    return [one.name for one in Path(cli.environ["TMPDIR"]).iterdir()]


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> str:
    def written() -> str:
        assert process.poll() is None, finish(process).err
        text = path.read_text() if path.exists() else ""
        return text.strip() if text.endswith("\n") else ""

    return until(written)


# --- jobs --------------------------------------------------------------------------------------


def test_a_program_books_one_reservation_and_settles_it(
    cli: Cli, sandbox: Sandbox, program: list[str]
):
    said = run(cli, sandbox, program)
    assert said.code == 0, said.err
    assert json.loads(said.out)["status"] == "completed"
    [ours] = reservations(cli)
    [task] = truth(sandbox)
    assert (ours.state, ours.task_id) == (State.COMMITTED, task["id"])
    assert ours.committed is not None
    assert ours.committed.amount == ONE_CLIP == Decimal(task["charged"])
    assert "1 job, spent 0.675 USD, held 0 USD, refused 0" in said.err
    assert left_behind(cli) == []


def test_a_program_is_refused_past_its_limit_in_the_providers_words(
    cli: Cli, sandbox: Sandbox, program: list[str]
):
    said = run(cli, sandbox, program, "--max-total", "0.5 USD")
    assert said.code == 1
    assert "402" in said.err
    assert "InsufficientCreditsError" in said.err or program != PROGRAMS["runapi"]
    assert "limit 0.5 USD" in said.err
    assert "0 jobs, spent 0 USD, held 0 USD, refused 1" in said.err
    assert "--max-total" in said.err
    assert reservations(cli) == []
    assert truth(sandbox) == []


@pytest.mark.parametrize("name", ["curl", "httpx"])
def test_a_key_in_a_file_of_the_programs_own_is_metered_too(cli: Cli, sandbox: Sandbox, name: str):
    del cli.environ["RUNAPI_API_KEY"]
    given = [*PROGRAMS[name], f"https://runapi.ai{SUBMIT}", body(), API_KEY]
    said = finish(cli.start(*words(sandbox), *given))
    assert said.code == 0, said.err
    [ours] = reservations(cli)
    assert ours.state is State.COMMITTED
    assert len(truth(sandbox)) == 1


def test_an_old_node_goes_around_and_has_no_key_to_spend(cli: Cli, sandbox: Sandbox):
    """Without NODE_USE_ENV_PROXY it would reach the provider, where the token is no key."""
    if shutil.which("node") is None:
        pytest.skip("there is no Node")
    around = ["env", "-u", "NODE_USE_ENV_PROXY", "-u", "HTTPS_PROXY", "-u", "HTTP_PROXY"]
    given = [*around, "node", *PROGRAMS["node"][1:], f"{sandbox.url}{SUBMIT}", body()]
    said = finish(cli.start(*words(sandbox), *given))
    assert said.code == 1
    assert "401" in said.err
    assert truth(sandbox) == []


def test_the_sandboxs_own_address_is_guarded_too(cli: Cli, sandbox: Sandbox):
    """As where a program names its provider's address itself."""
    localhost = sandbox.url.replace("127.0.0.1", "localhost")
    for url in (sandbox.url, localhost):
        done = finish(cli.start(*words(sandbox), *python(HTTPX), f"{url}{SUBMIT}", body()))
        assert done.code == 0, done.err
    assert [one.state for one in reservations(cli)] == [State.COMMITTED] * 2


def test_it_is_the_same_on_each_engine(cli: Cli, sandbox: Sandbox, url: str):
    cli.environ["KLING_LEDGER_DB"] = url
    with Ledger(url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", Money.parse("2 USD"))
    assert run(cli, sandbox, PROGRAMS["httpx"], "--max-total", "0.7").code == 0
    assert run(cli, sandbox, PROGRAMS["httpx"], "--max-total", "0.6").code == 1
    with Ledger(url) as ledger:
        assert ledger.verify().findings == ()
        [ours] = ledger.reservations.latest()
        assert ledger.wallets.get("team").spent.amount == ONE_CLIP
        assert ledger.budgets.all() == []
    assert [ours.task_id] == [task["id"] for task in truth(sandbox)]


WAITING: Final = (
    POSTING
    + """
import httpx
first = httpx.post(URL, content=BODY, headers=HEADERS)
print(first.json()["error"]["problem"]["approval"], flush=True)
sys.stdin.readline()
print(httpx.post(URL, content=BODY, headers=HEADERS).status_code)
"""
)


def test_a_dear_job_waits_for_a_person(cli: Cli, sandbox: Sandbox):
    """The program only asks again: it need not say which approval it means."""
    given = [*python(WAITING), f"https://runapi.ai{SUBMIT}", body()]
    command = [COMMAND, *words(sandbox, "--approve-above", "0.5"), *given]
    with started(cli, command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        approval = process.stdout.readline().decode().strip()
        with Ledger(str(cli.database)) as ledger:
            ledger.approvals.grant(approval)
        out, err = process.communicate(b"\n")
    assert out == b"200\n", err
    assert len(truth(sandbox)) == 1


def test_every_provider_is_guarded(cli: Cli, sandbox: Sandbox):
    with Ledger(str(cli.database)) as ledger:
        ledger.wallets.create("crun", "crun-credit")
        ledger.wallets.fund("crun", Money.parse("1000 crun-credit"))
    cli.environ["CRUN_API_KEY"] = sandbox.settings.key_of("crun")
    asked = {
        "model": "kling/v3",
        "input": {
            "mode": "std",
            "multi_shots": False,
            "prompt": "a lake",
            "duration": 5,
            "audio": True,
        },
    }
    program = POSTING + (
        "import httpx\n"
        "KEY = os.environ['CRUN_API_KEY']\n"
        "print(httpx.post(URL, content=BODY, headers={'x-api-key': KEY}).text)\n"
    )
    for host in ("api.crun.ai", "api.crunai.com"):
        url = f"https://{host}/api/v1/client/job/CreateTask"
        options = ["exec", "--wallet", "crun", "--upstream", sandbox.url, "--"]
        said = finish(cli.start(*options, *python(program), url, json.dumps(asked)))
        assert said.code == 0, said.err
        assert json.loads(said.out)["code"] == 200, said.out
    assert [one.job.provider for one in reservations(cli)] == ["crun", "crun"]
    assert len(truth(sandbox)) == 2


def test_labels_and_project_are_the_runs(cli: Cli, sandbox: Sandbox):
    run(cli, sandbox, python(HTTPX), "--project", "film/teaser", "--label", "team=a")
    [ours] = reservations(cli)
    assert ours.project == "film/teaser"
    assert ours.labels["team"] == "a"
    assert re.fullmatch(r"exec/[0-9a-f]{12}", ours.labels["run"])


def test_the_cap_of_a_run_counts_this_run_alone_and_is_gone_with_it(cli: Cli, sandbox: Sandbox):
    for _ in range(2):
        assert run(cli, sandbox, python(HTTPX), "--max-total", "0.7").code == 0
    with Ledger(str(cli.database)) as ledger:
        assert ledger.budgets.all() == []


def test_a_job_past_the_ceiling_is_refused(cli: Cli, sandbox: Sandbox):
    said = run(cli, sandbox, python(HTTPX), "--max-cost", "0.6")
    assert said.code == 1
    assert "402" in said.err
    assert truth(sandbox) == []


def test_our_key_is_spent_on_nothing_else(cli: Cli, sandbox: Sandbox):
    """What is not metered would be spent unseen: a key of the program's own may do it."""
    program = python(HTTPX)
    url = "https://runapi.ai/api/v1/music/generate"
    said = finish(cli.start(*words(sandbox), *program, url, body()))
    assert "is not metered" in said.err
    said = finish(cli.start(*words(sandbox), *program, url, body(), API_KEY))
    assert "unknown address or method" in said.err


def test_a_ledger_that_is_away_refuses_and_everything_else_works(
    cli: Cli, sandbox: Sandbox, tmp_path: Path
):
    stranger = Stranger(tmp_path)
    (tmp_path / "authority.pem").write_bytes(stranger.authority)
    program = POSTING + (
        "import pathlib, ssl, httpx\n"
        "database = pathlib.Path(sys.argv[4])\n"
        "for one in database.parent.glob(database.name + '*'): one.unlink()\n"
        "database.mkdir()\n"
        "print(httpx.post(URL, content=BODY, headers=HEADERS, timeout=60).text)\n"
        "context = ssl.create_default_context(cafile=sys.argv[6])\n"
        "print(httpx.get(sys.argv[5], verify=context).status_code)\n"
    )
    with stranger.listening() as port:
        given = [f"https://runapi.ai{SUBMIT}", body(), API_KEY, str(cli.database)]
        given += [f"https://localhost:{port}/", str(tmp_path / "authority.pem")]
        said = finish(cli.start(*words(sandbox, "--max-total", "2"), *python(program), *given))
    assert said.code == 0
    assert "the summary cannot be read" in said.err
    refused, other = said.out.splitlines()
    assert json.loads(refused)["error"]["problem"]["status"] == 503, refused
    assert other == "200"
    assert truth(sandbox) == []


FORGETFUL: Final = (
    POSTING
    + """
import httpx
print(httpx.post(URL, content=BODY, headers=HEADERS).json()["id"], flush=True)
"""
)


def test_jobs_that_a_program_leaves_running_are_settled_after_it(cli: Cli, sandbox: Sandbox):
    """Under our key and under its own: each is asked for with the key that it was sent with."""
    for key in ([], [API_KEY]):
        given = [*python(FORGETFUL), f"https://runapi.ai{SUBMIT}", body(), *key]
        said = finish(cli.start(*words(sandbox, "--wait", "60"), *given))
        assert said.code == 0, said.err
        assert "1 job, spent 0.675 USD, held 0 USD" in said.err
    assert [one.state for one in reservations(cli)] == [State.COMMITTED] * 2


def test_a_job_that_nobody_asks_for_is_settled_while_its_program_runs(
    ledger: Ledger, team: str, sandbox: Sandbox
):
    provider = connect("runapi", api_key=API_KEY, base_url=sandbox.url)
    meter = Meter(ledger, provider, wallet=team)
    reserved = meter.reserve(BODY, action="text_to_video")
    meter.submit(reserved, BODY)
    leftovers = Leftovers(ledger, poll_every_s=0.05, look_every_s=0.05)
    leftovers.expect(reserved, meter)
    with leftovers.looked_after():
        until(lambda: not ledger.reservations.get(reserved.id).is_open)
    assert ledger.wallets.get(team).spent.amount == ONE_CLIP
    provider.close()


def test_a_job_that_still_runs_is_told_with_what_to_do(cli: Cli, sandbox: Sandbox):
    given = [f"https://runapi.ai{SUBMIT}", body("a lake [never]")]
    said = finish(cli.start(*words(sandbox), *python(FORGETFUL), *given))
    assert "1 job, spent 0 USD, held 0.675 USD" in said.err
    assert "1 open, with credits still reserved: kling-ledger resume" in said.err
    [ours] = reservations(cli)
    assert ours.state is State.SUBMITTED


def test_a_signal_ends_the_waiting_and_not_the_putting_away(cli: Cli, sandbox: Sandbox):
    given = [f"https://runapi.ai{SUBMIT}", body("a lake [never]")]
    command = [COMMAND, *words(sandbox, "--wait", "600"), *python(FORGETFUL), *given]
    with started(cli, command, start_new_session=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        # The program ends by itself; its folder of certificates goes before the waiting begins.
        until(lambda: not left_behind(cli))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert b"1 open" in err


# --- everything else ---------------------------------------------------------------------------


def test_another_host_is_reached_untouched(cli: Cli, sandbox: Sandbox, tmp_path: Path):
    """The program sees that server's own certificate, whose authority it alone trusts."""
    stranger = Stranger(tmp_path)
    (tmp_path / "authority.pem").write_bytes(stranger.authority)
    authority = str(tmp_path / "authority.pem")
    with stranger.listening() as port:
        url = f"https://localhost:{port}/x"
        program = ["curl", "-sS", "--cacert", authority, "-v", url]
        said = finish(cli.start(*words(sandbox), *program))
        assert said.code == 0, said.err
        assert "issuer: CN=an authority of the test" in said.err
        assert said.out.startswith("GET /x HTTP/1.1")
        # Nobody else vouches for it: ours cannot either.
        assert finish(cli.start(*words(sandbox), "curl", "-sS", url)).code == 60


def test_the_program_has_no_real_key_and_no_way_to_another(cli: Cli, sandbox: Sandbox):
    said = finish(cli.start(*words(sandbox), "env"))
    assert said.code == 0
    assert API_KEY not in said.out
    assert re.search(r"^RUNAPI_API_KEY=klr_[A-Za-z0-9_-]{43}$", said.out, re.MULTILINE)


def test_another_process_without_the_credentials_is_refused(
    cli: Cli, sandbox: Sandbox, tmp_path: Path
):
    told = tmp_path / "told"
    program = (
        "import os, sys\n"
        f"print(os.environ['HTTPS_PROXY'], file=open({str(told)!r}, 'w'), flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [COMMAND, *words(sandbox), sys.executable, "-c", program]
    with started(cli, command) as process:
        proxy = wait_for(told, process)
        bare = re.sub(r"//.*@", "//", proxy)
        with (
            httpx.Client(proxy=bare, trust_env=False) as client,
            pytest.raises(httpx.ProxyError, match="407"),
        ):
            client.get("https://runapi.ai/")
        process.communicate(b"")
    assert process.returncode == 0


# --- ends --------------------------------------------------------------------------------------


def started(cli: Cli, command: list[str], **more: Any) -> subprocess.Popen[bytes]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("KLING_", "RUNAPI_"))}
    return subprocess.Popen(
        command,
        stdin=more.pop("stdin", subprocess.PIPE),
        stderr=more.pop("stderr", subprocess.PIPE),
        env={**environ, "KLING_LEDGER_DB": str(cli.database), **cli.environ},
        cwd=cli.folder,
        **more,
    )


@pytest.mark.parametrize(("ends", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_code_is_the_programs(cli: Cli, sandbox: Sandbox, ends: str, code: int):
    said = finish(cli.start(*words(sandbox), "sh", "-c", ends))
    assert said.code == code
    assert left_behind(cli) == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--wallet", "other"], "no such wallet"),
        (["--wallet", "team", "--upstream", "runapi=ftp://x"], "ftp://x"),
        (["--wallet", "team", "--upstream", "http://127.0.0.1:1/path"], "no path"),
        (["--wallet", "team", "--max-total", "one"], "one"),
        (["--wallet", "team", "--label", "x"], "invalid label"),
    ],
)
def test_what_cannot_be_set_up_is_said_before_the_program_starts(
    cli: Cli, options: list[str], problem: str
):
    said = finish(cli.start("exec", *options, "--", "touch", "started"))
    assert said.code == 2, said.err
    assert problem in said.err
    assert not (cli.folder / "started").exists()
    assert left_behind(cli) == []


def test_a_program_that_is_not_there_is_said_to_be_so(cli: Cli, sandbox: Sandbox):
    said = finish(cli.start(*words(sandbox, "--max-total", "1"), "no-such-program"))
    assert said.code == 2
    assert "cannot run no-such-program" in said.err
    assert left_behind(cli) == []
    with Ledger(str(cli.database)) as ledger:
        assert ledger.budgets.all() == []


COUNTING: Final = """
import os, signal, sys, time
told = open(sys.argv[1], "a", buffering=1)
def taken(number, frame):
    told.write(f"{signal.Signals(number).name}\\n")
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
    signal.signal(number, taken)
open(sys.argv[1] + ".ready", "w").write("ready\\n")
while not os.path.exists(sys.argv[1] + ".end"):
    time.sleep(0.02)
"""


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Path]:
    """Where a program writes each signal that reaches it."""
    yield tmp_path / "signals"
    (tmp_path / "signals.end").touch()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_to_us_reaches_the_program_once(
    cli: Cli, sandbox: Sandbox, counted: Path, name: str
):
    command = [COMMAND, *words(sandbox), *python(COUNTING), str(counted)]
    # A session of its own has no terminal, from which the program would have the signal as well.
    with started(cli, command, start_new_session=True) as process:
        wait_for(counted.with_name("signals.ready"), process)
        process.send_signal(getattr(signal, name))
        assert wait_for(counted, process) == name
        counted.with_name("signals.end").touch()
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert counted.read_text() == f"{name}\n"
    assert left_behind(cli) == []


def test_ctrl_c_in_a_terminal_reaches_the_program_once(cli: Cli, sandbox: Sandbox, counted: Path):
    command = [COMMAND, *words(sandbox), *python(COUNTING), str(counted)]
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("KLING_", "RUNAPI_"))}
    environ |= {"KLING_LEDGER_DB": str(cli.database), **cli.environ}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, environ)  # noqa: S606
    ready = counted.with_name("signals.ready")

    def is_ready() -> bool:
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
        return ready.exists()

    until(is_ready)
    os.write(terminal, b"\x03")
    until(lambda: counted.exists() and counted.read_text())
    os.write(terminal, b"\x1c")
    until(lambda: "SIGQUIT" in counted.read_text())
    counted.with_name("signals.end").touch()
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert counted.read_text() == "SIGINT\nSIGQUIT\n"
    assert left_behind(cli) == []


def test_a_program_that_a_signal_ends_leaves_nothing_behind(cli: Cli, sandbox: Sandbox):
    ready = cli.folder / "ready"
    command = [COMMAND, *words(sandbox), "sh", "-c", f"echo ready > {ready}; exec sleep 600"]
    with started(cli, command, start_new_session=True) as process:
        wait_for(ready, process)
        assert len(left_behind(cli)) == 1
        process.terminate()
        process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert left_behind(cli) == []


def test_no_private_key_lies_on_the_disk_while_the_program_runs(cli: Cli, sandbox: Sandbox):
    shown = "ls -ld $TMPDIR/*; cat $TMPDIR/*/* | grep -c 'PRIVATE KEY'; true"
    said = finish(cli.start(*words(sandbox), "sh", "-c", shown))
    folder, keys = said.out.splitlines()
    assert folder.startswith("drwx------")
    assert keys == "0"


KILLING: Final = (
    POSTING
    + """
import httpx, signal
made = httpx.post(URL, content=BODY, headers=HEADERS)
print(made.status_code, flush=True)
os.kill(os.getppid(), signal.SIGKILL)
while os.getppid() == int(sys.argv[4]):
    time.sleep(0.01)
try:
    httpx.post(URL, content=BODY, headers=HEADERS)
except httpx.HTTPError as error:
    print("unreached", flush=True)
os.environ.clear()
print(httpx.post(sys.argv[5], content=BODY, headers=HEADERS).status_code, flush=True)
"""
)


def test_kill_9_leaves_the_hold_and_no_way_to_the_provider(cli: Cli, sandbox: Sandbox):
    """The orphan tries again, by the proxy and around it: nothing is sent without a reservation."""
    program = ["bash", "-c", 'exec "$0" -c "$1" "$2" "$3" "$RUNAPI_API_KEY" "$PPID" "$4"']
    given = [sys.executable, KILLING, f"https://runapi.ai{SUBMIT}", body(), sandbox.url + SUBMIT]
    command = [COMMAND, *words(sandbox, "--max-total", "1"), *program, *given]
    with started(cli, command, stdout=subprocess.PIPE) as process:
        out, err = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert out.decode().split() == ["200", "unreached", "401"], err
    [held] = reservations(cli)
    assert (held.state, len(truth(sandbox))) == (State.SUBMITTED, 1)
    assert held.held.amount == ONE_CLIP
    said = cli("resume", "--poll-every", "0.05", "--grace", "0")
    assert said.code == 0, said.err
    [ours] = reservations(cli)
    [task] = truth(sandbox)
    assert ours.committed is not None
    assert (ours.task_id, ours.committed.amount) == (task["id"], Decimal(task["charged"]))
    assert cli.wallet()["reserved"] == "0"
